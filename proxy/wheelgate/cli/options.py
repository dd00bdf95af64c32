"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wheelgate.config import Config, load


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--data``: which settings, which store."""
    command = click.option(
        "--data", type=click.Path(file_okay=False, path_type=Path), help="Folder for the store and the spool."
    )(command)
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        envvar="WHEELGATE_CONFIG",
        help="The TOML file with the settings. Without one: uploads and public PyPI, on this machine only.",
    )(command)


def settings(config: Path | None, data: Path | None, **flags: object) -> Config:
    """The settings that a command works with.

    Raises:
        ConfigurationError: with every problem found.
    """
    return load(config, flags={"data": _absolute(data), **flags})


def settings_without_folder(config: Path | None, data: Path | None) -> Config:
    """The same, where the connections folder need not be there yet: for the command that makes it.

    Raises:
        ConfigurationError: with every problem found.
    """
    return load(config, flags={"data": _absolute(data)}, new_folder=True)


def _absolute(data: Path | None) -> Path | None:
    return Path(os.path.abspath(data)) if data is not None else None  # noqa: PTH100 - may not exist yet

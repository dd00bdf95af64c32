"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from proxy.config import Config, load


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
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
    absolute = Path(os.path.abspath(data)) if data is not None else None  # noqa: PTH100 - may not exist yet
    return load(config, flags={"data": absolute, **flags})

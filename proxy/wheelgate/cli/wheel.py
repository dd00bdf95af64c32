"""`wheelgate wheel add`, `list`, `yank`, `unyank`, `delete`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.options import config_options, load_settings, run_with_services, url_option
from wheelgate.cli.wheel_add import add
from wheelgate.cli.wheel_list import list_
from wheelgate.config import read_client_settings

if TYPE_CHECKING:
    from wheelgate.services import Services


@click.group()
def wheel() -> None:
    """Put wheels and sdists into the index, and see what is there."""


wheel.add_command(add)
wheel.add_command(list_)


def file_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add what the commands that change a file have in common."""
    return config_options(click.argument("filename")(url_option(command)))


@wheel.command()
@file_options
@click.option("--reason", default="", help="Why; installers show it.")
def yank(config: Path | None, data: Path | None, filename: str, url: str | None, reason: str) -> None:
    """Yank a file: from now on it installs only where its exact version is requested."""
    _apply("yank", filename, url, config, data, reason)
    print(f"yanked {filename}")


@wheel.command()
@file_options
def unyank(config: Path | None, data: Path | None, filename: str, url: str | None) -> None:
    """Undo a yank."""
    _apply("unyank", filename, url, config, data)
    print(f"{filename} is no longer yanked")


@wheel.command()
@file_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(config: Path | None, data: Path | None, filename: str, url: str | None, yes: bool) -> None:
    """Delete a file permanently.

    Builds that pin it will fail. Its name stays taken: only the same bytes can return under it. The project stays private.
    """
    question = f"Delete {filename}? Builds that pin it will fail; yanking does not break them."
    if not yes and not click.confirm(question, err=True):
        print("wheelgate: nothing was deleted", file=sys.stderr)
        sys.exit(1)
    _apply("delete", filename, url, config, data)
    print(f"deleted {filename}")


def _apply(action: str, filename: str, url: str | None, config: Path | None, data: Path | None, reason: str = "") -> None:
    default_url, token = read_client_settings()
    if (url := url or default_url) is not None:
        from wheelgate.client.wheelgate_client import WheelgateClient

        asyncio.run(WheelgateClient(url, token).act(action, filename, reason))
        return

    async def apply(services: Services) -> None:
        match action:
            case "yank":
                await services.packages.yank(filename, reason)
            case "unyank":
                await services.packages.unyank(filename)
            case _:
                await services.packages.delete(filename)

    run_with_services(load_settings(config, data), apply)

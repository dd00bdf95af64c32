"""`wheelgate wheel add`, `list`, `yank`, `unyank`, `delete`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click

from wheelgate.cli.options import config_options, load_settings
from wheelgate.cli.wheel_add import add
from wheelgate.cli.wheel_list import list_
from wheelgate.config import Config, read_client_settings


@click.group()
def wheel() -> None:
    """Put wheels and sdists into the index, and see what is there."""


wheel.add_command(add)
wheel.add_command(list_)


def changing(command: Callable[..., object]) -> Callable[..., object]:
    """What the commands that change a file have in common."""
    command = click.option("--url", help="A running server (or WHEELGATE_URL), with the token in WHEELGATE_TOKEN.")(command)
    return config_options(click.argument("filename")(command))


@wheel.command()
@changing
@click.option("--reason", default="", help="Why, for whoever sees it in their installer.")
def yank(config: Path | None, data: Path | None, filename: str, url: str | None, reason: str) -> None:
    """Mark a file as not to be chosen any more: it still installs where its exact version is asked for."""
    _act("yank", filename, url, config, data, reason)
    print(f"yanked {filename}")


@wheel.command()
@changing
def unyank(config: Path | None, data: Path | None, filename: str, url: str | None) -> None:
    """Take a yank back."""
    _act("unyank", filename, url, config, data)
    print(f"{filename} is no longer yanked")


@wheel.command()
@changing
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(config: Path | None, data: Path | None, filename: str, url: str | None, yes: bool) -> None:
    """Delete a file for good.

    Builds that pin it will fail. Its name stays taken: only the same bytes can return under it. The project stays private.
    """
    question = f"Delete {filename}? Builds that pin it will fail; yanking does not break them."
    if not yes and not click.confirm(question, err=True):
        print("wheelgate: nothing was deleted", file=sys.stderr)
        sys.exit(1)
    _act("delete", filename, url, config, data)
    print(f"deleted {filename}")


def _act(action: str, filename: str, url: str | None, config: Path | None, data: Path | None, reason: str = "") -> None:
    default_url, token = read_client_settings()
    url = url or default_url
    if url is None:
        asyncio.run(_act_on_store(load_settings(config, data), action, filename, reason))
    else:
        from wheelgate.client.wheelgate_client import WheelgateClient

        asyncio.run(WheelgateClient(url, token).act(action, filename, reason))


async def _act_on_store(config: Config, action: str, filename: str, reason: str) -> None:
    from wheelgate.wiring import open_services

    async with open_services(config) as gate:
        match action:
            case "yank":
                await gate.packages.yank(filename, reason)
            case "unyank":
                await gate.packages.unyank(filename)
            case _:
                await gate.packages.delete(filename)

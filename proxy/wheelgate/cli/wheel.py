"""`wheelgate wheel add`, `list`, `yank`, `unyank`, `delete`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.json_rows import printing_rows
from wheelgate.cli.options import (
    ask_to_go_on,
    config_options,
    json_option,
    load_settings,
    parse_project,
    run_to_end,
    run_with_services,
    url_option,
)
from wheelgate.cli.wheel_add import add
from wheelgate.config import read_client_settings
from wheelgate.core.model import File
from wheelgate.core.names import version_of

if TYPE_CHECKING:
    from wheelgate.services import Services
    from wheelgate.uploads.manage import DamagedUpload


@click.group()
def wheel() -> None:
    """Put wheels and sdists into the index, and see what is there."""


wheel.add_command(add)


@wheel.command(name="list")
@config_options
@click.argument("project", required=False)
@url_option
@json_option
def list_(config: Path | None, data: Path | None, project: str | None, url: str | None, as_json: bool) -> None:
    """List the uploaded files, all of them or those of one PROJECT.

    With --url: the files on the pages of that server, for all names of its private sources.
    """
    name = None if project is None else parse_project(project)
    default_url, token = read_client_settings()
    print_all = _print_as_json if as_json else _print_lines
    if (url := url or default_url) is None:
        count = run_with_services(
            load_settings(config, data), lambda services: print_all(services.packages.files(name)), to_read=True
        )
    else:
        from wheelgate.client.wheelgate_client import WheelgateClient

        count = run_to_end(print_all(WheelgateClient(url, token).files(name)))
    if not count and not as_json:
        print(f"wheelgate: {'no files yet' if name is None else f'no files of {name}'}", file=sys.stderr)


async def _print_as_json(files: AsyncIterator[File | DamagedUpload]) -> int:
    """Print the files as they come; return how many there were."""
    count = 0
    with printing_rows() as rows:
        async for file in _leave_out_damaged(files):
            rows.print(_build_row(file))
            count += 1
    return count


async def _print_lines(files: AsyncIterator[File | DamagedUpload]) -> int:
    count = 0
    async for file in _leave_out_damaged(files):
        print(_format_line(file))
        count += 1
    return count


async def _leave_out_damaged(files: AsyncIterator[File | DamagedUpload]) -> AsyncIterator[File]:
    """Leave out what cannot be believed, and say so."""
    async for file in files:
        if isinstance(file, File):
            yield file
        else:
            print(f"wheelgate: {_make_printable(file.sentence)}", file=sys.stderr)


def _build_row(file: File) -> dict[str, object]:
    return {
        "project": file.project,
        "file": file.filename,
        "version": version_of(file.filename, file.project),
        "size": file.size,
        "uploaded": None if file.upload_time is None else f"{file.upload_time:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": file.hashes.get("sha256"),
        "yanked": file.yanked,
    }


def _format_line(file: File) -> str:
    row = _build_row(file)
    size = "unknown size" if file.size is None else f"{file.size} bytes"
    yanked = "" if file.yanked is None else f"  yanked{': ' if file.yanked else ''}{file.yanked}"
    digest = f"sha256:{row['sha256']}" if row["sha256"] else "no sha256"
    facts = (file.project, file.filename, row["version"] or "no version", size, row["uploaded"] or "unknown time", digest)
    return _make_printable("  ".join(map(str, facts)) + yanked)


def _make_printable(line: str) -> str:
    """Leave out what a terminal would obey: a reason, or a name in the store, must not send codes to it."""
    return "".join(character for character in line if character.isprintable())


def file_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add what the commands that change a file have in common."""
    return config_options(click.argument("filename")(url_option(command)))


@wheel.command()
@file_options
@click.option("--reason", default="", help="Why; installers show it.")
def yank(config: Path | None, data: Path | None, filename: str, url: str | None, reason: str) -> None:
    """Yank a file: from now on it installs only where its exact version is requested."""
    _apply("yank", filename, url, config, data, lambda services: services.packages.yank(filename, reason), reason)
    print(f"yanked {filename}")


@wheel.command()
@file_options
def unyank(config: Path | None, data: Path | None, filename: str, url: str | None) -> None:
    """Undo a yank."""
    _apply("unyank", filename, url, config, data, lambda services: services.packages.unyank(filename))
    print(f"{filename} is no longer yanked")


@wheel.command()
@file_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(config: Path | None, data: Path | None, filename: str, url: str | None, yes: bool) -> None:
    """Delete a file permanently.

    Builds that pin it will fail. Its name stays taken: only the same bytes can return under it. The project stays private.
    """
    question = f"Delete {filename}? Builds that pin it will fail; yanking does not break them."
    if not yes and not ask_to_go_on(question):
        print("wheelgate: nothing was deleted", file=sys.stderr)
        sys.exit(1)
    _apply("delete", filename, url, config, data, lambda services: services.packages.delete(filename))
    print(f"deleted {filename}")


def _apply(
    action: str,
    filename: str,
    url: str | None,
    config: Path | None,
    data: Path | None,
    in_store: Callable[[Services], Awaitable[None]],
    reason: str = "",
) -> None:
    """Ask a running server for the action, or do what ``in_store`` does to the configured one."""
    default_url, token = read_client_settings()
    if (url := url or default_url) is None:
        run_with_services(load_settings(config, data), in_store)
        return
    from wheelgate.client.wheelgate_client import WheelgateClient

    run_to_end(WheelgateClient(url, token).act(action, filename, reason))

"""`wheelgate wheel add`, `list`, `yank`, `unyank`, `delete`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from proxy.cli.options import configured, settings
from proxy.cli.progress import transfer
from proxy.config import Config, client_settings
from proxy.errors import FileExists, UploadRefused, WheelgateError

# Puts one file somewhere, reporting the bytes on their way: whether it is new there, and its URL.
Adder = Callable[[Path, Callable[[int], None]], Awaitable[tuple[bool, str]]]


@click.group()
def wheel() -> None:
    """Put wheels and sdists into the index, and see what is there."""


@wheel.command()
@configured
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--url", help="A running server to upload to (or WHEELGATE_URL), with the token in WHEELGATE_TOKEN.")
@click.option("--exist-ok", is_flag=True, help="Succeed if these very bytes are there already; other bytes are refused.")
@click.option("--take-over", is_flag=True, help="Own the name although another source answers for it: its files vanish.")
def add(
    config: Path | None,
    data: Path | None,
    files: tuple[Path, ...],
    url: str | None,
    exist_ok: bool,
    take_over: bool,
) -> None:
    """Add wheels or sdists: to a running server by --url, else straight to the local store.

    Prints a permanent URL for each, which works in a requirements file. A running server shows the file within seconds.
    """
    default_url, token = client_settings()
    url = url or default_url
    if url is None:
        failed = asyncio.run(_add_to_store(settings(config, data), files, exist_ok=exist_ok, take_over=take_over))
    elif take_over:
        raise click.UsageError("--take-over needs the store itself: run it where the server's configuration is, without --url")
    else:
        failed = asyncio.run(_add_to_server(url, token, files, exist_ok=exist_ok))
    sys.exit(1 if failed else 0)


async def _add_to_store(config: Config, files: tuple[Path, ...], *, exist_ok: bool, take_over: bool) -> bool:
    from proxy.digests import pieces
    from proxy.wiring import wheelgate

    async with wheelgate(config) as gate:

        async def adder(path: Path, progress: Callable[[int], None]) -> tuple[bool, str]:
            # A copy, since what is accepted may be linked into the store: the file here is its owner's to change.
            with gate.spool.holding() as spooled:
                async for piece in pieces(path):
                    await spooled.append(piece)
                    progress(len(piece))
                accepted = await gate.uploads.accept(spooled.path, path.name, take_over=take_over)
            url = f"{config.base_url}/files/{accepted.project}/{path.name}#sha256={accepted.sha256}"
            return accepted.new, url

        return await _add_all(adder, files, exist_ok=exist_ok)


async def _add_to_server(url: str, token: str | None, files: tuple[Path, ...], *, exist_ok: bool) -> bool:
    from proxy.digests import sha256_of
    from proxy.uploads import project_of
    from proxy.upstream.remote import RemoteGate

    remote = RemoteGate(url, token)

    async def adder(path: Path, progress: Callable[[int], None]) -> tuple[bool, str]:
        project = project_of(path.name)
        new = await remote.add(path, progress)
        sha256 = await asyncio.to_thread(sha256_of, path)
        return new, f"{remote.file_url(project, path.name)}#sha256={sha256}"

    return await _add_all(adder, files, exist_ok=exist_ok)


async def _add_all(adder: Adder, files: tuple[Path, ...], *, exist_ok: bool) -> bool:
    """Add one after the other; whether any failed. One that cannot be added does not stop the rest."""
    failed = False
    for path in files:
        try:
            if not path.is_file():
                raise UploadRefused(f"{path}: there is no such file")
            with transfer(path.name, path.stat().st_size) as progress:
                new, url = await adder(path, progress)
            if not new and not exist_ok:
                raise FileExists(f"{path.name} is there already, with the same bytes; --exist-ok accepts that")
        except (WheelgateError, OSError) as error:
            print(f"wheelgate: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            failed = True
        else:
            print(url)
    return failed


def changing(command: Callable[..., object]) -> Callable[..., object]:
    """What the commands that change a file have in common."""
    command = click.option("--url", help="A running server (or WHEELGATE_URL), with the token in WHEELGATE_TOKEN.")(command)
    return configured(click.argument("filename")(command))


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
    if not yes:
        click.confirm(f"Delete {filename}? Builds that pin it will fail; yanking does not break them.", abort=True, err=True)
    _act("delete", filename, url, config, data)
    print(f"deleted {filename}")


def _act(action: str, filename: str, url: str | None, config: Path | None, data: Path | None, reason: str = "") -> None:
    default_url, token = client_settings()
    url = url or default_url
    if url is None:
        asyncio.run(_act_on_store(settings(config, data), action, filename, reason))
    else:
        from proxy.upstream.remote import RemoteGate

        asyncio.run(RemoteGate(url, token).act(action, filename, reason))


async def _act_on_store(config: Config, action: str, filename: str, reason: str) -> None:
    from proxy.wiring import wheelgate

    async with wheelgate(config) as gate:
        match action:
            case "yank":
                await gate.packages.yank(filename, reason)
            case "unyank":
                await gate.packages.unyank(filename)
            case _:
                await gate.packages.delete(filename)


@wheel.command(name="list")
@configured
@click.argument("project", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(config: Path | None, data: Path | None, project: str | None, as_json: bool) -> None:
    """List the files of the store, or of one PROJECT in it."""
    from proxy.names import normalised

    if client_settings()[0] is not None:
        print("wheelgate: WHEELGATE_URL is set, but this lists the local store", file=sys.stderr)
    name = None if project is None else normalised(project)
    if project is not None and name is None:
        raise click.UsageError(f"{project!r} is not a project name")
    entries = asyncio.run(_list(settings(config, data), name))
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    if not entries:
        print("wheelgate: nothing yet", file=sys.stderr)
    for entry in entries:
        yanked = "" if entry["yanked"] is None else f"  yanked{': ' if entry['yanked'] else ''}{entry['yanked']}"
        print(
            f"{entry['project']}  {entry['file']}  {entry['size']} bytes  {entry['uploaded']}  sha256:{entry['sha256']}{yanked}"
        )


async def _list(config: Config, project: str | None) -> list[dict[str, object]]:
    from proxy.storage import layout
    from proxy.wiring import wheelgate

    prefix = layout.PACKAGES if project is None else f"{layout.PACKAGES}{project}/"
    async with wheelgate(config) as gate:
        blobs = [info async for info in gate.store.list(prefix)]
    return [
        {
            "project": info.path.split("/")[1],
            "file": info.path.split("/")[2],
            "size": info.size,
            "uploaded": info.facts.get("upload_time", info.created.isoformat())[:19] + "Z",
            "sha256": info.facts.get("sha256"),
            "yanked": info.facts.get("yanked"),
        }
        for info in sorted(blobs, key=lambda info: info.path)
    ]

"""`wheelgate wheel add`, `wheel list`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from proxy.cli.options import configured, settings
from proxy.config import Config
from proxy.errors import FileExists, WheelgateError


@click.group()
def wheel() -> None:
    """Put wheels and sdists into the store, and see what is there."""


@wheel.command()
@configured
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--exist-ok", is_flag=True, help="Succeed if the store has these very bytes already; other bytes are refused.")
@click.option("--take-over", is_flag=True, help="Own the name although another source answers for it: its files vanish.")
def add(config: Path | None, data: Path | None, files: tuple[Path, ...], exist_ok: bool, take_over: bool) -> None:
    """Add wheels or sdists to the local store. A running server shows them within seconds."""
    loaded = settings(config, data)
    failed = asyncio.run(_add(loaded, files, exist_ok=exist_ok, take_over=take_over))
    sys.exit(1 if failed else 0)


async def _add(config: Config, files: tuple[Path, ...], *, exist_ok: bool, take_over: bool) -> bool:
    from proxy.wiring import wheelgate

    failed = False
    async with wheelgate(config) as gate:
        for path in files:
            if not path.is_file():
                print(f"wheelgate: {path}: there is no such file", file=sys.stderr)
                failed = True
                continue
            try:
                accepted = await gate.uploads.accept(path, path.name, take_over=take_over)
                if not accepted.new and not exist_ok:
                    raise FileExists(f"{path.name} is in the store already, with the same bytes; --exist-ok accepts that")
            except WheelgateError as error:
                print(f"wheelgate: {error}", file=sys.stderr)
                failed = True
                continue
            print(f"{'added' if accepted.new else 'has'} {path.name}")
            print(f"  /files/{accepted.project}/{path.name}#sha256={accepted.sha256}")
    return failed


@wheel.command(name="list")
@configured
@click.argument("project", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(config: Path | None, data: Path | None, project: str | None, as_json: bool) -> None:
    """List the files of the store, or of one PROJECT in it."""
    entries = asyncio.run(_list(settings(config, data), project))
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    for entry in entries:
        print(f"{entry['project']}  {entry['file']}  {entry['size']} bytes  {entry['uploaded']}  sha256:{entry['sha256']}")


async def _list(config: Config, project: str | None) -> list[dict[str, object]]:
    from proxy.names import normalised
    from proxy.storage import layout
    from proxy.wiring import wheelgate

    wanted = ""
    if project is not None:
        name = normalised(project)
        if name is None:
            raise click.UsageError(f"{project!r} is not a project name")
        wanted = f"{name}/"
    async with wheelgate(config) as gate:
        blobs = [info async for info in gate.store.list(layout.PACKAGES + wanted)]
    return [
        {
            "project": info.path.split("/")[1],
            "file": info.path.split("/")[2],
            "size": info.size,
            "uploaded": info.facts.get("upload_time", info.created.isoformat())[:19] + "Z",
            "sha256": info.facts.get("sha256"),
        }
        for info in sorted(blobs, key=lambda info: info.path)
    ]

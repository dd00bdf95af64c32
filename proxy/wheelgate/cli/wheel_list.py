"""`wheelgate wheel list`: what a running server, or the configured store, has."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import Config, read_client_settings
from wheelgate.core.model import File
from wheelgate.core.names import normalise_name, version_of


@click.command(name="list")
@config_options
@click.argument("project", required=False)
@click.option("--url", help="A running server (or WHEELGATE_URL), with the token in WHEELGATE_TOKEN if it wants one to read.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(config: Path | None, data: Path | None, project: str | None, url: str | None, as_json: bool) -> None:
    """List the files that were uploaded, or those of one PROJECT.

    Of a running server (--url): the files on its pages, for every name that its private sources hold.
    """
    name = None if project is None else normalise_name(project)
    if project is not None and name is None:
        raise click.UsageError(f"{project!r} is not a project name")
    default_url, token = read_client_settings()
    url = url or default_url
    files = asyncio.run(_of_store(load_settings(config, data), name) if url is None else _of_server(url, token, name))
    if as_json:
        print(json.dumps([_row(file) for file in files], indent=2))
        return
    if not files:
        print(f"wheelgate: {'nothing yet' if name is None else f'no file of {name}'}", file=sys.stderr)
    for file in files:
        print(_line(file))


async def _of_store(config: Config, project: str | None) -> Sequence[File]:
    from wheelgate.wiring import open_services

    async with open_services(config, to_read=True) as gate:
        return await gate.packages.files(project)


async def _of_server(url: str, token: str | None, project: str | None) -> Sequence[File]:
    from wheelgate.client.wheelgate_client import WheelgateClient

    return await WheelgateClient(url, token).files(project)


def _row(file: File) -> dict[str, object]:
    return {
        "project": file.project,
        "file": file.filename,
        "version": version_of(file.filename, file.project),
        "size": file.size,
        "uploaded": None if file.upload_time is None else _moment(file.upload_time),
        "sha256": file.hashes.get("sha256"),
        "yanked": file.yanked,
    }


def _line(file: File) -> str:
    row = _row(file)
    size = "size unknown" if file.size is None else f"{file.size} bytes"
    yanked = "" if file.yanked is None else f"  yanked{': ' if file.yanked else ''}{file.yanked}"
    digest = f"sha256:{row['sha256']}" if row["sha256"] else "no sha256"
    facts = (file.project, file.filename, row["version"] or "no version", size, row["uploaded"] or "time unknown", digest)
    line = "  ".join(map(str, facts)) + yanked
    return "".join(character for character in line if character.isprintable())  # whoever wrote a reason writes no terminal codes


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

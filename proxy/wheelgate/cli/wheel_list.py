"""`wheelgate wheel list`: the files of a running server or of the configured store."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from wheelgate.cli.options import config_options, json_option, load_settings, parse_project, run_with_services, url_option
from wheelgate.config import read_client_settings
from wheelgate.core.model import File
from wheelgate.core.names import version_of


@click.command(name="list")
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
    if (url := url or default_url) is None:
        files = run_with_services(load_settings(config, data), lambda services: services.packages.files(name), to_read=True)
    else:
        from wheelgate.client.wheelgate_client import WheelgateClient

        files = asyncio.run(WheelgateClient(url, token).files(name))
    if as_json:
        print(json.dumps([_build_row(file) for file in files], indent=2))
        return
    if not files:
        print(f"wheelgate: {'no files yet' if name is None else f'no files of {name}'}", file=sys.stderr)
    for file in files:
        print(_format_line(file))


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
    line = "  ".join(map(str, facts)) + yanked
    return "".join(character for character in line if character.isprintable())  # a reason must not send terminal codes

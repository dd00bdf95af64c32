"""`wheelgate cache`: what is kept of files of remote sources."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.json_rows import printing_rows
from wheelgate.cli.options import ask_to_go_on, config_options, json_option, load_settings, parse_project, run_with_services

if TYPE_CHECKING:
    from wheelgate.config import Config
    from wheelgate.files.forgetting import RememberedFile
    from wheelgate.services import Services


@click.group()
def cache() -> None:
    """Manage what is kept of the files of indexes and feeds."""


@cache.command()
@config_options
@click.argument("project")
@click.argument("filename", metavar="FILE")
@click.option("--source", "sources", multiple=True, help="Only what is kept of this source. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten, and forget nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def forget(
    config: Path | None,
    data: Path | None,
    project: str,
    filename: str,
    sources: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget FILE of PROJECT: our copy, the digests and times that are remembered of it, its core metadata.

    Whatever its source sends and states next is then taken for it. This is for a file that was first seen when its index sent or
    stated something else, and that is withheld since. Every replica hears of it within seconds. Uploads are not touched.

    Exit status 1 if nothing is remembered of it.
    """
    name, settings = parse_project(project), load_settings(config, data)
    remote = _choose_sources(settings, sources)

    async def find(services: Services) -> Sequence[RememberedFile]:
        from wheelgate.files.forgetting import find_remembered

        return await find_remembered(services.store, remote, name, filename)

    found = run_with_services(settings, find, to_read=dry_run)
    if not found:
        print(f"wheelgate: nothing is remembered of {filename} of project {name}", file=sys.stderr)
        sys.exit(1)
    if not dry_run:
        if not yes:
            _confirm(found, filename)
        run_with_services(settings, partial(_forget_all, found))
    if as_json:
        with printing_rows() as rows:
            for one in found:
                rows.print({**one.describe(), "forgotten": not dry_run})
    else:
        _print(found, "would forget" if dry_run else "forgot")


def _choose_sources(settings: Config, named: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Choose the sources that are asked over HTTP, each with its URL: those that are named, or all."""
    remote = {one.name: one.index_url for one in settings.source if one.is_remote}
    for name in named:
        if name not in remote:
            raise click.UsageError(f"{name!r} is no source that is asked over HTTP: {', '.join(remote) or 'there is none'}")
    return [(name, url) for name, url in remote.items() if not named or name in named]


async def _forget_all(found: Sequence[RememberedFile], services: Services) -> None:
    from wheelgate.files.forgetting import forget_file

    for one in found:
        await forget_file(services.store, services.changes, one, services.clock.now())


def _confirm(found: Sequence[RememberedFile], filename: str) -> None:
    _print(found, "would forget", to_stderr=True)
    if not ask_to_go_on(f"Forget {filename}, so that other bytes may come under its name?"):
        raise click.Abort


def _print(found: Sequence[RememberedFile], does: str, *, to_stderr: bool = False) -> None:
    for one in found:
        parts = []
        if one.copy is not None:
            parts.append(f"our copy ({one.copy.size:,} bytes, sha256 {one.copy.facts.get('sha256', 'unknown')})")
        if one.record is not None:
            digests = ", ".join(f"{algorithm} {digest}" for algorithm, digest in one.digests.items()) or "no digest"
            standing = "" if not one.digests else " as observed" if one.is_observed else " as stated"
            parts.append(f"what was first seen on {one.record.at:%Y-%m-%d} ({digests}{standing})")
        stream = sys.stderr if to_stderr else sys.stdout
        print(f"{does} {one.filename} of source {one.source}: {' and '.join(parts)}", file=stream)

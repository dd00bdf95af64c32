"""`wheelgate mirror`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from wheelgate.cli.destinations import parse_location
from wheelgate.cli.mirror_copy import copy_mirror, mirror_inputs
from wheelgate.cli.mirror_job import MirrorJob
from wheelgate.cli.mirror_verify import verify_inputs
from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import copy_environment
from wheelgate.mirror.targets import PLATFORMS


@click.command()
@config_options
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--project", "projects", multiple=True, metavar="SPEC", help="A project, as in 'pandas>=2'; may be repeated.")
@click.option(
    "--to", "to", required=True, metavar="STORE", help="file:./folder or https://ACCOUNT.blob.core.windows.net/CONTAINER"
)
@click.option("--from", "origin", metavar="STORE", help="Another mirror to copy from, instead of inputs; no index is asked.")
@click.option("--python", "pythons", multiple=True, metavar="3.11", help="For this Python; may be repeated.")
@click.option("--platform", "platforms", multiple=True, metavar="NAME", help=f"For this platform: {', '.join(PLATFORMS)}.")
@click.option("--all-files", is_flag=True, help="Every file of the versions needed, for whatever machine.")
@click.option("--verify", is_flag=True, help="Copy nothing: prove that the mirror satisfies the inputs.")
@click.option("--dry-run", is_flag=True, help="Copy nothing: say how many files and bytes it would be.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at once.")
@click.option("--account-key", metavar="env:NAME", help="For containers where an identity cannot be had.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def mirror(
    config: Path | None,
    data: Path | None,
    inputs: tuple[Path, ...],
    projects: tuple[str, ...],
    to: str,
    origin: str | None,
    pythons: tuple[str, ...],
    platforms: tuple[str, ...],
    all_files: bool,
    verify: bool,
    dry_run: bool,
    jobs: int,
    account_key: str | None,
    as_json: bool,
) -> None:
    """Copy what INPUTS need to where builds can reach it.

    An input is a requirements.txt, a pylock.toml, a uv.lock, a conda environment.yml, or a folder with an Azure ML environment.
    What is not pinned is resolved by uv from the configured sources. The mirror is a plain tree, <project>/<file>, with a
    manifest; a source of type blob or directory serves it. Run it again to complete, repair or extend it.
    """
    if origin is not None and (inputs or projects or verify or pythons or platforms or all_files):
        raise click.UsageError("--from copies a whole mirror: it takes neither inputs nor targets")
    if origin is None and not inputs and not projects:
        raise click.UsageError("name an input (a requirements.txt, a lock, an environment.yml), --project, or --from")
    job = MirrorJob(
        config=load_settings(config, data),
        environment=copy_environment(),
        to=parse_location(to, "--to", account_key),
        inputs=inputs,
        projects=projects,
        pythons=pythons,
        platforms=platforms,
        all_files=all_files,
        dry_run=dry_run,
        jobs=jobs,
    )
    if origin is not None:
        result = asyncio.run(copy_mirror(job, parse_location(origin, "--from", account_key)))
    elif verify:
        result = asyncio.run(verify_inputs(job))
    else:
        result = asyncio.run(mirror_inputs(job))
    for problem in result.problems:
        print(f"wheelgate: {problem}", file=sys.stderr)
    print(json.dumps(result.as_json(), indent=2) if as_json else result.sentence)
    sys.exit(1 if result.problems else 0)

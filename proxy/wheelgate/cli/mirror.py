"""The `wheelgate mirror` command."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from wheelgate.cli import make_printable
from wheelgate.cli.destinations import parse_location
from wheelgate.cli.mirror_job import MirrorJob, copy_mirror, mirror_inputs, verify_inputs
from wheelgate.cli.options import config_options, load_settings
from wheelgate.cli.stopping import stop_as_by_ctrl_c
from wheelgate.config.load import copy_environment
from wheelgate.mirror.platforms import PLATFORMS

_PLATFORM_HELP = (
    f"For this platform: {', '.join(PLATFORMS)}, or as pip (win_amd64) or conda (linux-64) names it; may be repeated."
)


@click.command()
@config_options
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--project", "projects", multiple=True, metavar="SPEC", help="A project, as in 'pandas>=2'; may be repeated.")
@click.option("--to", required=True, metavar="STORE", help="./folder or https://ACCOUNT.blob.core.windows.net/CONTAINER")
@click.option("--from", "origin", metavar="STORE", help="Copy from another mirror instead of inputs; no index is asked.")
@click.option("--python", "pythons", multiple=True, metavar="3.11", help="For this Python; may be repeated.")
@click.option("--platform", "platforms", multiple=True, metavar="NAME", help=_PLATFORM_HELP)
@click.option("--all-files", is_flag=True, help="Every file of the versions needed, for whatever machine.")
@click.option("--verify", is_flag=True, help="Copy nothing: verify that the mirror satisfies the inputs.")
@click.option("--dry-run", is_flag=True, help="Copy nothing: print how many files and bytes it would be.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at once.")
@click.option("--account-key", metavar="env:NAME", help="For containers where no identity is available.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def mirror(
    config: Path | None,
    data: Path | None,
    to: str,
    origin: str | None,
    verify: bool,
    account_key: str | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Copy what INPUTS need to where builds can reach it.

    An input is a requirements.txt, a lock (pylock.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock), a conda environment.yml,
    or a folder with an Azure ML environment.
    What is not pinned is resolved by uv from the configured sources. The mirror is a plain tree, <project>/<file>, with a
    manifest; a source of type blob or directory serves it. Run it again to complete, repair or extend it.
    """
    named = choices["inputs"] or choices["projects"]
    if origin is not None and (named or verify or any(choices[name] for name in ("pythons", "platforms", "all_files"))):
        raise click.UsageError("--from copies a whole mirror: it takes neither inputs nor targets")
    if origin is None and not named:
        raise click.UsageError("name an input (a requirements.txt, a lock, an environment.yml), --project, or --from")
    job = MirrorJob(
        config=load_settings(config, data),
        environment=copy_environment(),
        to=parse_location(to, "--to", account_key),
        **choices,
    )
    if origin is not None:
        action = copy_mirror(job, parse_location(origin, "--from", account_key))
    else:
        action = verify_inputs(job) if verify else mirror_inputs(job)
    with stop_as_by_ctrl_c():
        result = asyncio.run(action)
    for problem in result.problems:
        print(f"wheelgate: {make_printable(problem)}", file=sys.stderr)
    answer = msgspec.structs.asdict(result)
    sentence = answer.pop("sentence")
    print(json.dumps(answer, indent=2) if as_json else make_printable(sentence))
    sys.exit(1 if result.problems else 0)

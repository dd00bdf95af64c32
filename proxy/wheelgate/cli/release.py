"""`wheelgate release`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import Config
from wheelgate.core.errors import NameTaken, ProjectNotFound


@click.command()
@config_options
@click.argument("project")
@click.option("--reason", required=True, help="Why the name may be public from now on; it is kept.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def release(config: Path | None, data: Path | None, project: str, reason: str, yes: bool) -> None:
    """Let public sources answer for PROJECT again, a name that was claimed as private.

    Whoever owns the name in public can then put code into every build that asks for it. This is for names that were claimed by
    mistake: a source marked private that is not, or a package that moved to the public index.
    """
    from wheelgate.core.names import normalise_name

    name = normalise_name(project)
    if name is None:
        raise click.UsageError(f"{project!r} is not a project name")
    if not yes:
        click.confirm(f"Let public sources answer for {name} from now on?", abort=True, err=True)
    asyncio.run(_release(load_settings(config, data), name, reason))
    print(f"released {name}")


async def _release(config: Config, project: str, reason: str) -> None:
    from wheelgate.wiring import open_services

    async with open_services(config) as gate:
        decision = await gate.index.decide(project, learn=False)
        lister = next((answer.source for answer in decision.answers if answer.private and answer.page is not None), None)
        if lister is not None:
            raise NameTaken(f"source {lister} lists {project}, so it would be claimed again at once: remove it there first")
        if not await gate.claims.release(project, reason):
            raise ProjectNotFound(f"{project} is not claimed, so there is nothing to release")

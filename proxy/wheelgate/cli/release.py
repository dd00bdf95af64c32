"""`wheelgate release`: end the claim on a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.options import ask_to_go_on, config_options, load_settings, parse_project, run_with_services
from wheelgate.core.errors import NameTaken, ProjectNotFound

if TYPE_CHECKING:
    from wheelgate.services import Services


@click.command()
@config_options
@click.argument("project")
@click.option("--reason", required=True, help="Why the name may be public from now on; it is kept.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def release(config: Path | None, data: Path | None, project: str, reason: str, yes: bool) -> None:
    """Let public sources answer for PROJECT again, a name that was claimed as private.

    Whoever owns the name in public can then put code into every build that asks for it. This is for names that were claimed by
    mistake: a source marked private that is not, or a package that moved to the public index.
    """
    name = parse_project(project)
    if not yes and not ask_to_go_on(f"Let public sources answer for {name} from now on?"):
        raise click.Abort

    async def release_claim(services: Services) -> None:
        decision = await services.index.decide(name, learn=False)
        owner = next((answer.source for answer in decision.answers if answer.private and answer.page is not None), None)
        if owner is not None:
            raise NameTaken(f"source {owner} lists {name}, so the name would be claimed again at once: remove it there first")
        if not await services.claims.release(name, reason):
            raise ProjectNotFound(f"{name} is not claimed, so there is nothing to release")

    run_with_services(load_settings(config, data), release_claim)
    print(f"released {name}")

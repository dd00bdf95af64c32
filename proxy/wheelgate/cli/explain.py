"""The command `wheelgate explain`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import Config


@click.command()
@config_options
@click.argument("project")
@click.option("--version", "only", help="Explain each file of this version.")
@click.option("--json", "as_json", is_flag=True, help="The whole decision as JSON.")
def explain(config: Path | None, data: Path | None, project: str, only: str | None, as_json: bool) -> None:
    """Explain why PROJECT is answered as it is: who was asked, who owns the name, what is withheld and what to do about it."""
    from wheelgate.core.names import normalise_name
    from wheelgate.index.explain import format_explanation

    name = normalise_name(project)
    if name is None:
        raise click.UsageError(f"{project!r} is not a project name")
    logging.getLogger().addHandler(logging.NullHandler())  # the decision has all that a log would say
    explanation = asyncio.run(_explain(load_settings(config, data), name, only))
    print(json.dumps(explanation, indent=2) if as_json else format_explanation(explanation))
    sys.exit(0 if explanation["error"] is None and explanation.get("listed", True) else 1)


async def _explain(config: Config, project: str, version: str | None) -> dict[str, Any]:
    from wheelgate.index.explain import explain_decision
    from wheelgate.wiring import open_services

    async with open_services(config, to_read=True) as gate:
        decision = await gate.index.decide(project, learn=False)
        waivers = gate.rules.rules.waivers_for(project, gate.clock.now())
        return explain_decision(decision, await gate.claims.get(project), waivers, version)

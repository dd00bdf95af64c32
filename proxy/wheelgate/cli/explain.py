"""`wheelgate explain`: the decision about one project, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wheelgate.cli.options import config_options, json_option, load_settings, parse_project, run_with_services

if TYPE_CHECKING:
    from wheelgate.services import Services


@click.command()
@config_options
@click.argument("project")
@click.option("--version", help="Also show each file of this version, served or withheld.")
@json_option
def explain(config: Path | None, data: Path | None, project: str, version: str | None, as_json: bool) -> None:
    """Explain the answer for PROJECT: which sources were asked, who owns the name, what is withheld and what to do about it."""
    from wheelgate.index.explain import explain_decision, format_explanation
    from wheelgate.runtime.cooperative import in_slices

    name = parse_project(project)
    logging.getLogger().addHandler(logging.NullHandler())  # the decision says what a log would say

    async def explain_project(services: Services) -> dict[str, Any]:
        decision = await services.index.decide(name, learn=False)
        waivers = services.rules.rules.waivers_for(name, services.clock.now())
        return await in_slices(explain_decision(decision, await services.claims.get(name), waivers, version))

    explanation = run_with_services(load_settings(config, data), explain_project, to_read=True)
    print(json.dumps(explanation, indent=2) if as_json else format_explanation(explanation))
    sys.exit(0 if explanation["error"] is None and explanation.get("listed", True) else 1)

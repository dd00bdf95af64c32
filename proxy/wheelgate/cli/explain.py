"""`wheelgate explain`: the decision about one project, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wheelgate.cli.options import config_options, json_option, load_settings, parse_project, run_with_services
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamError

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
        claim = await services.claims.get(name)
        manners = {source: absence.known.manner.sentences() for source, absence in services.absences.items()}
        explanation = await in_slices(explain_decision(decision, claim, waivers, version, manners))
        if isinstance(decision.error, ProjectNotFound) and (close := await _find_close_name(services, name)) is not None:
            explanation["error"] += f"; did you mean {close}?"
        return explanation

    explanation = run_with_services(load_settings(config, data), explain_project, to_read=True)
    print(json.dumps(explanation, indent=2) if as_json else format_explanation(explanation))
    sys.exit(0 if explanation["error"] is None and explanation.get("listed", True) else 1)


async def _find_close_name(services: Services, name: str) -> str | None:
    """Find a name like this one among those that are claimed or held; ``None``: there is none, or they cannot be listed."""
    try:
        listed = await services.index.list_projects()
    except (StoreError, UpstreamError):
        return None
    names = (held.decode() for part in listed.merge() for held in part if held[:1] == name[:1].encode())
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.8)), None)

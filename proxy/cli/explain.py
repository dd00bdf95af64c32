"""`wheelgate explain`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import configured, settings
from proxy.config import Config


@click.command()
@configured
@click.argument("project")
@click.option("--json", "as_json", is_flag=True, help="The whole decision as JSON.")
def explain(config: Path | None, data: Path | None, project: str, as_json: bool) -> None:
    """Why PROJECT is answered as it is: who was asked, who owns the name, what is withheld and what to do about it."""
    from proxy.names import normalised

    name = normalised(project)
    if name is None:
        raise click.UsageError(f"{project!r} is not a project name")
    told = asyncio.run(_told(settings(config, data), name))
    print(json.dumps(told, indent=2) if as_json else _prose(told))
    sys.exit(0 if told["error"] is None else 1)


async def _told(config: Config, project: str) -> dict[str, Any]:
    from proxy.explanation import explanation
    from proxy.wiring import wheelgate

    async with wheelgate(config) as gate:
        decision = await gate.index.decide(project, learn=False)
        return explanation(decision, await gate.claims.get(project))


def _prose(told: dict[str, Any]) -> str:
    lines = [f"{told['project']}: {told['error'] or told['reason']}"]
    if told["claim"]:
        lines.append(f"  private since {told['claim']['since'][:19]}Z, first listed by {told['claim']['source']}")
        if not told["files"] and told["error"] is None:
            lines.append(f"  if that was a mistake: wheelgate release {told['project']} --reason ...")
    if told["reserved_by"]:
        lines.append(f"  reserved by the pattern {told['reserved_by']}")
    for answer in told["sources"]:
        kind = "private" if answer["private"] else "public"
        lines.append(f"  {answer['source']} ({kind}): {answer['outcome']}{_detail(answer)}")
    lines += [f"  withheld: {entry['file']} of {entry['source']}: {entry['reason']}" for entry in told["withheld"]]
    return "\n".join(lines)


def _detail(answer: dict[str, Any]) -> str:
    return "" if answer["outcome"] == "not there" or not answer["detail"] else f", {answer['detail']}"

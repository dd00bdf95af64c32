"""`wheelgate explain`."""

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

_MOST_SHOWN = 20


@click.command()
@config_options
@click.argument("project")
@click.option("--version", "only", help="What became of each file of this version.")
@click.option("--json", "as_json", is_flag=True, help="The whole decision as JSON.")
def explain(config: Path | None, data: Path | None, project: str, only: str | None, as_json: bool) -> None:
    """Why PROJECT is answered as it is: who was asked, who owns the name, what is withheld and what to do about it."""
    from wheelgate.core.names import normalise_name

    name = normalise_name(project)
    if name is None:
        raise click.UsageError(f"{project!r} is not a project name")
    logging.getLogger().addHandler(logging.NullHandler())  # what a log would say stands in the decision
    told = asyncio.run(_told(load_settings(config, data), name, only))
    print(json.dumps(told, indent=2) if as_json else _prose(told))
    sys.exit(0 if told["error"] is None and told.get("listed", True) else 1)


async def _told(config: Config, project: str, version: str | None) -> dict[str, Any]:
    from wheelgate.index.explain import explain_decision
    from wheelgate.wiring import open_services

    async with open_services(config, to_read=True) as gate:
        decision = await gate.index.decide(project, learn=False)
        waivers = gate.rules.rules.waivers_for(project, gate.clock.now())
        return explain_decision(decision, await gate.claims.get(project), waivers, version)


def _prose(told: dict[str, Any]) -> str:
    lines = [f"{told['project']}: {told['error'] or told['reason']}"]
    if told["owner"]:
        since = f" since {_moment(told['owner_since'])}" if told["owner_since"] else ""
        lines.append(f"  owner: {told['owner']}{since}; {told['files']} files, {len(told['withheld'])} withheld")
    if told["status"]:
        lines.append(f"  status: {told['status']}")
    if told["claim"]:
        lines.append(f"  private since {_moment(told['claim']['since'])}, first listed by {told['claim']['source']}")
        if not told["files"] and not told["withheld"] and told["error"] is None:
            lines.append(f"  if that was a mistake: wheelgate release {told['project']} --reason ...")
    if told["reserved_by"]:
        lines.append(f"  reserved by the pattern {told['reserved_by']}")
    for answer in told["sources"]:
        kind = "private" if answer["private"] else "public"
        lines.append(f"  {answer['source']} ({kind}): {answer['outcome']}{_detail(answer)}")
    lines += [
        f"  waiver: {waiver['version']} until {_moment(waiver['until'])}, by {waiver['by']}: {waiver['reason']}"
        for waiver in told["waivers"]
    ]
    if "listed" in told:
        lines += [f"  served: {entry['file']} of {entry['source']}{_uploaded(entry)}" for entry in told["listed"]]
        if not told["listed"] and not told["withheld"]:
            lines.append(f"  no source that may answer has a file of version {told['version']}")
    shown = told["withheld"][:_MOST_SHOWN]
    lines += [f"  withheld ({entry['rule']}): {entry['file']} of {entry['source']}: {entry['reason']}" for entry in shown]
    if len(shown) < len(told["withheld"]):
        lines.append(f"  and {len(told['withheld']) - len(shown)} more withheld: --version X shows one, --json all")
    return "\n".join(lines)


def _detail(answer: dict[str, Any]) -> str:
    said = "" if answer["outcome"] == "not there" or not answer["detail"] else f", {answer['detail']}"
    when = f" (asked at {_moment(answer['as_of'])})" if answer["as_of"] and answer["outcome"] != "has it" else ""
    return said + when


def _uploaded(entry: dict[str, Any]) -> str:
    return f", uploaded {_moment(entry['uploaded'])}" if entry["uploaded"] else ""


def _moment(text: str) -> str:
    return f"{text[:10]} {text[11:19]}Z"

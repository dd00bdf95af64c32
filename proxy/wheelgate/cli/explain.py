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

_MOST_SHOWN = 20


@click.command()
@config_options
@click.argument("project")
@click.option("--version", help="Also show each file of this version, served or withheld.")
@json_option
def explain(config: Path | None, data: Path | None, project: str, version: str | None, as_json: bool) -> None:
    """Explain the answer for PROJECT: which sources were asked, who owns the name, what is withheld and what to do about it."""
    from wheelgate.index.explain import explain_decision

    name = parse_project(project)
    logging.getLogger().addHandler(logging.NullHandler())  # the decision says what a log would say

    async def explain_project(services: Services) -> dict[str, Any]:
        decision = await services.index.decide(name, learn=False)
        waivers = services.rules.rules.waivers_for(name, services.clock.now())
        return explain_decision(decision, await services.claims.get(name), waivers, version)

    explanation = run_with_services(load_settings(config, data), explain_project, to_read=True)
    print(json.dumps(explanation, indent=2) if as_json else _format_text(explanation))
    sys.exit(0 if explanation["error"] is None and explanation.get("listed", True) else 1)


def _format_text(facts: dict[str, Any]) -> str:
    lines = [f"{facts['project']}: {facts['error'] or facts['reason']}"]
    if facts["owner"]:
        since = f" since {_format_moment(facts['owner_since'])}" if facts["owner_since"] else ""
        lines.append(f"  owner: {facts['owner']}{since}; {facts['files']} files, {len(facts['withheld'])} withheld")
    if facts["status"]:
        lines.append(f"  status: {facts['status']}")
    if facts["claim"]:
        lines.append(f"  private since {_format_moment(facts['claim']['since'])}, first listed by {facts['claim']['source']}")
        if not facts["files"] and not facts["withheld"] and facts["error"] is None:
            lines.append(f"  if this is a mistake: wheelgate release {facts['project']} --reason ...")
    if facts["reserved_by"]:
        lines.append(f"  reserved by the pattern {facts['reserved_by']}")
    for answer in facts["sources"]:
        kind = "private" if answer["private"] else "public"
        lines.append(f"  {answer['source']} ({kind}): {answer['outcome']}{_format_detail(answer)}")
    lines += [
        f"  waiver: {waiver['version']} until {_format_moment(waiver['until'])}, by {waiver['by']}: {waiver['reason']}"
        for waiver in facts["waivers"]
    ]
    if "listed" in facts:
        lines += [f"  served: {entry['file']} of {entry['source']}{_format_upload_time(entry)}" for entry in facts["listed"]]
        if not facts["listed"] and not facts["withheld"]:
            lines.append(f"  no source that may answer has a file of version {facts['version']}")
    shown = facts["withheld"][:_MOST_SHOWN]
    lines += [f"  withheld ({entry['rule']}): {entry['file']} of {entry['source']}: {entry['reason']}" for entry in shown]
    if len(shown) < len(facts["withheld"]):
        lines.append(
            f"  and {len(facts['withheld']) - len(shown)} more withheld: pass --version X for one version, --json for all"
        )
    return "\n".join(lines)


def _format_detail(answer: dict[str, Any]) -> str:
    detail = "" if answer["outcome"] == "not there" or not answer["detail"] else f", {answer['detail']}"
    when = f" (asked at {_format_moment(answer['as_of'])})" if answer["as_of"] and answer["outcome"] != "has it" else ""
    return detail + when


def _format_upload_time(entry: dict[str, Any]) -> str:
    return f", uploaded {_format_moment(entry['uploaded'])}" if entry["uploaded"] else ""


def _format_moment(text: str) -> str:
    return f"{text[:10]} {text[11:19]}Z"

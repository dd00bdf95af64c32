"""Explanations of a decision: plain values for ``/explain`` and ``--json``, and the text of ``wheelgate explain``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.core.names import same_version_key, version_of
from wheelgate.index.decision import Decision, Outcome
from wheelgate.index.rules import Waiver
from wheelgate.runtime.cooperative import Steps
from wheelgate.simple_api import JSON
from wheelgate.simple_api.render import render_page
from wheelgate.storage.claims import Claim

_MAX_WITHHELD_LINES = 20
_TOGETHER = 200
"""Files that are looked at before anybody else gets his turn."""
_OUTCOMES = {
    Outcome.LISTED: "has it",
    Outcome.ABSENT: "not there",
    Outcome.ABSENT_BEFORE_OUTAGE: "not there before the outage",
    Outcome.FAILED: "failed",
    Outcome.NOT_ASKED: "not asked",
}


def explain_decision(
    decision: Decision,
    claim: Claim | None,
    waivers: Sequence[Waiver] = (),
    version: str | None = None,
    manners: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Steps[dict[str, Any]]:
    """Explain a decision as plain values; with a ``version``, each of its files, served or withheld.

    ``manners``: sentences about the habits of indexes, by the source.
    """
    page = decision.page
    withheld = []
    for number, entry in enumerate(page.withheld if page else ()):
        if version is None or _is_of_version(entry.filename, decision.project, version):
            withheld.append(_describe_withheld(entry))
        if number % _TOGETHER == 0:
            yield
    # A private source owns the name since it was claimed, a public one since we first saw its page.
    since = claim.since if claim else page.known_since if page and decision.owner is not None else None
    explanation = {
        "project": decision.project,
        "owner": decision.owner,
        "owner_since": _stamp(since),
        "reason": decision.reason,
        "error": None if decision.error is None else str(decision.error),
        "files": len(page.files) if page else 0,
        "digest": (yield from _digest(page)) if page else None,
        "unread": page.unread if page else 0,
        "stale": page.stale if page else False,
        "status": page.status.status if page and page.status else None,
        "changes_at": _stamp(page.freshness.valid_until) if page else None,
        "reserved_by": decision.reserved_by,
        "merge": None if decision.merge is None else list(decision.merge.sources),
        "claim": None if claim is None else {"source": claim.source, "since": claim.since.isoformat()},
        "sources": [
            {
                "source": answer.source,
                "private": answer.private,
                "outcome": answer.outcome.value,
                "detail": answer.detail,
                "world": None if answer.judgement is None else answer.judgement.ownership.value,
                "world_reason": None if answer.judgement is None else answer.judgement.reason,
                "as_of": _stamp(answer.asked_at),
                "manner": list(manners.get(answer.source, ())),
            }
            for answer in decision.answers
        ],
        "withheld": withheld,
        "waivers": [
            {"version": waiver.version, "reason": waiver.reason, "by": waiver.by, "until": waiver.until.isoformat()}
            for waiver in waivers
        ],
    }
    if version is not None:
        explanation["version"] = version
        explanation["listed"] = (yield from _list_files(page, decision.project, version)) if page else []
    return explanation


def _digest(page: ProjectPage) -> Steps[str]:
    """Digest what the page says in JSON below no prefix: equal for equal pages, whichever replica says so, and when."""
    digest = hashlib.sha256()
    for part in render_page(page, JSON, ""):
        digest.update(part)
        yield
    return digest.hexdigest()


def _describe_withheld(entry: Withheld) -> dict[str, Any]:
    return {
        "file": entry.filename,
        "source": entry.source,
        "rule": entry.rule,
        "reason": entry.reason,
        "until": _stamp(entry.until),
    }


def _list_files(page: ProjectPage, project: str, version: str) -> Steps[list[dict[str, Any]]]:
    listed = []
    for number, file in enumerate(page.files):
        if _is_of_version(file.filename, project, version):
            uploaded = _stamp(file.upload_time)
            standing = "stated" if file.stated_hashes else "observed" if file.hashes else None
            listed.append(
                {
                    "file": file.filename,
                    "source": file.source,
                    "uploaded": uploaded,
                    "yanked": file.yanked,
                    "digest": standing,
                    "observed": list(file.observed),
                }
            )
        if number % _TOGETHER == 0:
            yield
    return listed


def _is_of_version(filename: str, project: str, version: str) -> bool:
    stated = version_of(filename, project)
    return stated is not None and same_version_key(stated) == same_version_key(version)


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def format_explanation(explanation: dict[str, Any]) -> str:
    """Format an explanation as the text people read."""
    project, files, withheld, claim = (explanation[key] for key in ("project", "files", "withheld", "claim"))
    lines = [f"{project}: {explanation['error'] or explanation['reason']}"]
    if explanation["owner"]:
        since = f" since {_format_time(explanation['owner_since'])}" if explanation["owner_since"] else ""
        lines.append(f"  owner: {explanation['owner']}{since}; {files} files, {len(withheld)} withheld")
    if explanation["digest"]:
        unread = explanation["unread"]
        rest = f"; {unread} files are still to be read for what their source leaves out" if unread else "; complete"
        lines.append(f"  page: sha256 {explanation['digest']}{rest}")
    if explanation["status"]:
        lines.append(f"  status: {explanation['status']}")
    if claim:
        lines.append(f"  private since {_format_time(claim['since'])}, first listed by {claim['source']}")
    if explanation["reserved_by"]:
        lines.append(f"  reserved by the pattern {explanation['reserved_by']}")
    lines += map(_format_answer, explanation["sources"])
    lines += [
        f"  waiver: {waiver['version']} until {_format_time(waiver['until'])}, by {waiver['by']}: {waiver['reason']}"
        for waiver in explanation["waivers"]
    ]
    for file in explanation.get("listed", ()):
        uploaded = f", uploaded {_format_time(file['uploaded'])}" if file["uploaded"] else ""
        digest = (
            ""
            if file["digest"] == "stated"
            else "; its source states no digest" + (", that of the first whole body is shown" if file["digest"] else "")
        )
        size = "; its source states no size, that of the bytes is shown" if "size" in file["observed"] else ""
        lines.append(f"  served: {file['file']} of {file['source']}{uploaded}{digest}{size}")
    if explanation.get("listed") == [] and not withheld:
        lines.append(f"  no source that may answer has a file of version {explanation['version']}")
    shown = withheld[:_MAX_WITHHELD_LINES]
    lines += [f"  withheld ({entry['rule']}): {entry['file']} of {entry['source']}: {entry['reason']}" for entry in shown]
    if len(shown) < len(withheld):
        lines.append(f"  and {len(withheld) - len(shown)} more withheld: --version X shows those of one version, --json all")
    return "\n".join(lines)


def _format_answer(answer: dict[str, Any]) -> str:
    outcome, said = Outcome(answer["outcome"]), _OUTCOMES[Outcome(answer["outcome"])]
    kind = "private" if answer["private"] else "public"
    detail = f", {answer['detail']}" if answer["detail"] and outcome is not Outcome.ABSENT else ""
    asked = f" (asked at {_format_time(answer['as_of'])})" if answer["as_of"] and outcome is not Outcome.LISTED else ""
    if answer["world"] == "public":
        said, detail = "nothing of its own", f", {answer['world_reason']}"
    elif answer["world"] == "own":
        detail += f"; its own: {answer['world_reason']}"
    manner = "".join(f"\n    {habit}" for habit in answer["manner"])
    return f"  {answer['source']} ({kind}): {said}{detail}{asked}{manner}"


def _format_time(stamp: str) -> str:
    return f"{stamp[:10]} {stamp[11:19]}Z"

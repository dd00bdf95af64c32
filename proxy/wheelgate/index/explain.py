"""A decision, in the words people read: for ``/explain`` and for ``wheelgate explain``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from wheelgate.core.model import ProjectPage
from wheelgate.core.names import same_version_key, version_of
from wheelgate.index.decision import Decision
from wheelgate.index.rules import Waiver
from wheelgate.storage.claims import Claim


def explain_decision(
    decision: Decision, claim: Claim | None, waivers: Sequence[Waiver] = (), version: str | None = None
) -> dict[str, Any]:
    """The whole of a decision as plain values; with a ``version``, what became of each of its files."""
    page = decision.page
    withheld = [
        {
            "file": entry.filename,
            "source": entry.source,
            "rule": entry.rule,
            "reason": entry.reason,
            "until": _text(entry.until),
        }
        for entry in (page.withheld if page else ())
        if version is None or _has_version(entry.filename, decision.project, version)
    ]
    told = {
        "project": decision.project,
        "owner": decision.owner,
        "owner_since": _text(_owner_since(decision, claim)),
        "reason": decision.reason,
        "error": None if decision.error is None else str(decision.error),
        "files": len(page.files) if page else 0,
        "stale": page.stale if page else False,
        "status": page.status.status if page and page.status else None,
        "changes_at": _text(page.freshness.valid_until) if page else None,
        "reserved_by": decision.reserved_by,
        "merge": None if decision.merge is None else list(decision.merge.sources),
        "claim": None if claim is None else {"source": claim.source, "since": claim.since.isoformat()},
        "sources": [
            {
                "source": answer.source,
                "private": answer.private,
                "outcome": answer.outcome,
                "detail": answer.detail,
                "as_of": _text(answer.asked_at),
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
        told["version"] = version
        told["listed"] = _listed(page, decision.project, version) if page else []
    return told


def _listed(page: ProjectPage, project: str, version: str) -> list[dict[str, Any]]:
    return [
        {"file": file.filename, "source": file.source, "uploaded": _text(file.upload_time), "yanked": file.yanked}
        for file in page.files
        if _has_version(file.filename, project, version)
    ]


def _has_version(filename: str, project: str, version: str) -> bool:
    stated = version_of(filename, project)
    return stated is not None and same_version_key(stated) == same_version_key(version)


def _owner_since(decision: Decision, claim: Claim | None) -> datetime | None:
    """A private name has its owner since it was claimed, a public one since we first saw its page."""
    if claim is not None:
        return claim.since
    return decision.page.known_since if decision.page is not None and decision.owner is not None else None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()

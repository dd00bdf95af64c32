"""A decision, in the words people read: for ``/explain`` and for ``wheelgate explain``."""

from __future__ import annotations

from typing import Any

from proxy.sources.decision import Decision
from proxy.storage.claims import Claim


def explanation(decision: Decision, claim: Claim | None) -> dict[str, Any]:
    """The whole of a decision as plain values."""
    page = decision.page
    return {
        "project": decision.project,
        "owner": decision.owner,
        "reason": decision.reason,
        "error": None if page is not None or decision.error is None else str(decision.error),
        "files": len(page.files) if page else 0,
        "stale": page.stale if page else False,
        "reserved_by": decision.reserved_by,
        "claim": None if claim is None else {"source": claim.source, "since": claim.since.isoformat()},
        "sources": [
            {
                "source": answer.source,
                "private": answer.private,
                "outcome": answer.outcome,
                "detail": answer.detail,
            }
            for answer in decision.answers
        ],
        "withheld": [
            {"file": entry.filename, "source": entry.source, "rule": entry.rule, "reason": entry.reason}
            for entry in (page.withheld if page else ())
        ],
    }

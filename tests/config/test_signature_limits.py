"""Signatures that were pasted whole, have ended or lack a right: told by what they say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wheelgate.config.signature_limits import find_signature_problem

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
GOOD = "sv=2024-08-04&sr=c&sp=rl&st=2026-11-01T00:00:00Z&se=2026-12-31T00:00:00Z&sig=canary-s3cret%3D"

CASES = {
    "good": (GOOD, None),
    "with a question mark": (f"?{GOOD}", None),
    "of an account": ("sv=1&ss=bf&srt=sco&sp=rwdl&se=2027-01-01&sig=x", None),
    "with a stored policy": ("sv=1&sr=c&si=readers&sig=x", None),
    "a moment nobody can read": (GOOD.replace("2026-12-31T00:00:00Z", "soon"), None),
    "a whole URL": (f"https://a.blob.core.windows.net/c?{GOOD}", "is a whole URL: give only what follows the ? in it"),
    "a token of another kind": ("ghp_canary", "is none: it has no sig="),
    "ended": (GOOD.replace("2026-12-31", "2026-11-30"), "ended on 2026-11-30 00:00Z (se): make a new one"),
    "ended by the day alone": (GOOD.replace("2026-12-31T00:00:00Z", "2026-11-29"), "ended on 2026-11-29 00:00Z (se)"),
    "not yet": (GOOD.replace("2026-11-01", "2026-12-01"), "begins only on 2026-12-01 00:00Z (st)"),
    "of a blob": (GOOD.replace("sr=c", "sr=b"), "is for one blob (sr=b)"),
    "without list": (GOOD.replace("sp=rl", "sp=r"), "has no right to list (sp=r): make one with r and l"),
    "to write alone": (GOOD.replace("sp=rl", "sp=cw"), "has no right to read or list (sp=cw)"),
    "of queues": ("sv=1&ss=q&srt=sco&sp=rl&sig=x", "is not for blobs (ss=q)"),
    "of services alone": ("sv=1&ss=b&srt=s&sp=rl&sig=x", "is not for containers and what is in them (srt=s)"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_signature_says_what_it_is_not_good_for(case: str) -> None:
    signature, expected = CASES[case]
    found = find_signature_problem(signature, NOW)
    assert found is None if expected is None else found is not None and found.startswith(expected)
    assert "canary" not in (found or "")

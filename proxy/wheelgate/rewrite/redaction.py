"""Redacted diffs, for people and for logs: no credential or signature can be read in them."""

from __future__ import annotations

import difflib
import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s\"'`<>]*)")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]*(?::[0-9]{0,5})?")
_HIDDEN = "***"


def redact(text: str) -> str:
    """Redact a text: its URLs without user information and query; of an ambiguous URL only the scheme is left."""
    return _URL.sub(_redact_url, text)


def _redact_url(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    authority, tail = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr] # it matches anything
    user, at, host = authority.rpartition("@")
    if not _PLAIN_HOST.fullmatch(host):
        return f"{scheme}{_HIDDEN}"
    path, query, after = tail.partition("?")
    fragment = after[after.index("#") :] if "#" in after else ""
    if "#" in path:  # the question mark belongs to the fragment
        path, query, fragment = tail, "", ""
    return f"{scheme}{_HIDDEN + '@' if at or user else ''}{host}{path}{'?' + _HIDDEN if query else ''}{fragment}"


def format_diff(name: str, before: str, after: str) -> str:
    """Format a unified diff of the changed lines alone: what stands beside them may be anybody's secret in any form."""
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, n=0, lineterm="")
    return "\n".join(map(redact, changes))

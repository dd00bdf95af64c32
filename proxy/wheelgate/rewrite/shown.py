"""Texts as they are shown to people and kept in logs: no credential or signature can be read in them."""

from __future__ import annotations

import difflib
import re

from wheelgate.rewrite.leftovers import holds_any_secret

_URL = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]{0,30})?://)([^\s\"'`<>]*)")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]*(?::[0-9]{0,5})?")
_HIDDEN = "***"
_LONGEST = 1_000


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
    path, fragment = (re.sub(r"(?<=://).*", _HIDDEN, part, flags=re.DOTALL) for part in (path, fragment))  # a URL within the URL
    return f"{scheme}{_HIDDEN + '@' if at or user else ''}{host}{path}{'?' + _HIDDEN if query else ''}{fragment}"


def format_diff(name: str, before: str, after: str) -> str:
    """Format a unified diff of the changed lines alone: what stands beside them may be anybody's secret in any form."""
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, n=0, lineterm="")
    return "\n".join(map(_show_line, changes))


def _show_line(line: str) -> str:
    shown = redact(line)
    if holds_any_secret(shown.replace(f"{_HIDDEN}@", "").replace(f"?{_HIDDEN}", "")):  # in no URL
        return f"{line[:1]}{_HIDDEN}"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."

"""Conditional and range requests (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec
from aiohttp import web

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


def parse_if_none_match(request: web.BaseRequest) -> frozenset[str]:
    """Read which ETags the client has already, without quotes, for the weak comparison of 13.1.2; ``*``: whatever there is."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return frozenset("*")
    return frozenset(etag.value for etag in request.if_none_match or ()) - {"*"}


def is_held(held: frozenset[str], etags: Collection[str]) -> bool:
    """True if one of these ETags is among those that a client has."""
    return bool(held) and ("*" in held or not held.isdisjoint(etags))


class Range(msgspec.Struct, frozen=True):
    """One byte range as asked for: from ``first`` to ``last`` (both included), or the last ``suffix`` bytes."""

    first: int = 0
    last: int | None = None
    suffix: int | None = None

    def within(self, size: int) -> tuple[int, int] | None:
        """``(start, end)``, end excluded, within a body of that size; ``None``: it cannot be satisfied (416)."""
        if self.suffix is not None:
            return (max(0, size - self.suffix), size) if self.suffix and size else None
        if self.first >= size:
            return None
        return self.first, size if self.last is None else min(self.last + 1, size)


def parse_range(request: web.BaseRequest, etag: str | None) -> Range | None:
    """Read the range a GET asks for, if there is one to honour.

    Several ranges, malformed ones, and an If-Range that does not match are ignored: 14.2 allows it, and the whole file is
    always a right answer.
    """
    if request.method != "GET":
        return None
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and (etag is None or condition.strip() != f'"{etag}"'):
        return None
    if not match[1]:
        return Range(suffix=int(match[2]))
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        return None
    return Range(first, int(match[2]) if match[2] else None)

"""Known heads: what each request head seen before means, and the finished bytes that answer it now."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import format_datetime

import msgspec
from aiohttp import HttpVersion11, web

from wheelgate.core.protocols import Clock
from wheelgate.runtime.logs import AnsweredRequest
from wheelgate.web.auth import Permission
from wheelgate.web.paths import ParsedPath, Route
from wheelgate.web.prepared_response import PreparedResponse, parse_if_none_match
from wheelgate.web.request_log import RequestLog

HEAD = web.RequestKey("wheelgate.head", bytes)
"""The key under which a request holds its own bytes, if it came alone and as one whole head without a body."""
_MAX_HEADS = 4_096
_ONE_WRITE_BYTES = 64 * 1024  # copying that much costs less than a second system call
_NEVER_LEARNED = ("Content-Length", "Transfer-Encoding", "X-Request-ID", "Upgrade", "Expect", "Range")
"""Headers that announce a body, make an answer another one each time, or need more than a page."""

Found = tuple[PreparedResponse, float | None]
"""An answer, and when its page was confirmed, by the monotonic clock, if that is to be said (``Age``)."""
Finder = Callable[[], Found | None]
"""Finds what a request is answered with, if that and its page are in memory and may be served now."""


class KnownHead(msgspec.Struct, frozen=True):
    """The meaning of a request head."""

    method: str
    route: str
    target: ParsedPath
    find: Finder
    etags: frozenset[str]
    """Of what the client has (``*``: anything)."""
    is_permitted: Permission
    agent: str
    path: str


class KnownHeads:
    """Remembers what heads mean, and answers them with what the caches hold now."""

    def __init__(
        self, finders: Mapping[Route, Callable[[web.BaseRequest, ParsedPath], Finder]], log: RequestLog, clock: Clock
    ) -> None:
        """``finders``: by each route that may be answered from memory, what builds the finder for a request."""
        self._finders = finders
        self._request_log = log
        self._clock = clock
        self._known: dict[bytes, KnownHead] = {}
        self._second = -1
        self._date = b""

    def learn(self, request: web.BaseRequest, target: ParsedPath, permission: Permission) -> None:
        """Remember what a head meant that a handler has just answered."""
        head = request.get(HEAD)
        if head is None or head in self._known or target.route not in self._finders:
            return
        if not request.keep_alive or request.version != HttpVersion11 or any(name in request.headers for name in _NEVER_LEARNED):
            return
        if len(self._known) >= _MAX_HEADS:
            del self._known[next(iter(self._known))]
        self._known[head] = KnownHead(
            request.method,
            target.route.name.lower(),
            target,
            self._finders[target.route](request, target),
            parse_if_none_match(request),
            permission,
            request.headers.get("User-Agent", "")[:200],
            request.rel_url.raw_path[:200],
        )

    def answer(self, head: bytes, client: str) -> tuple[bytes] | tuple[bytes, memoryview] | None:
        """Build what to write for a request of exactly these bytes; ``None``: aiohttp has to answer it."""
        began = time.perf_counter()
        known = self._known.get(head)
        if known is None:
            return None
        if not known.is_permitted():
            del self._known[head]  # to be learned again, if it is permitted anew
            return None
        if (found := known.find()) is None:
            return None
        prepared, confirmed_s = found
        status = prepared.choose_status(known.etags)
        body = b"" if status == 304 or known.method == "HEAD" else prepared.body
        request_id = self._request_log.new_id()
        start = b"%b%bX-Request-ID: %b\r\n\r\n" % (prepared.heads[status], self._build_varying(confirmed_s), request_id.encode())
        answered = AnsweredRequest(
            known.method,
            known.route,
            known.target.project,
            known.target.filename,
            status,
            time.perf_counter() - began,
            client,
            known.agent,
            request_id,
            known.path,
        )
        self._request_log.record(answered, warm=True)
        # As a view: a socket takes a large body in parts, and asyncio copies what remains of bytes each time.
        return (start + body,) if len(body) <= _ONE_WRITE_BYTES else (start, memoryview(body))

    def _build_varying(self, confirmed_s: float | None) -> bytes:
        """Date, which stays the same for a second, and Age, of what has one."""
        now = self._clock.monotonic()
        if int(now) != self._second:
            self._second = int(now)
            self._date = f"Date: {format_datetime(self._clock.now(), usegmt=True)}\r\n".encode("ascii")
        if confirmed_s is None:
            return self._date
        return b"%bAge: %d\r\n" % (self._date, max(0, now - confirmed_s))

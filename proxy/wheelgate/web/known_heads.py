"""Known heads: what each request head seen before means, and the finished bytes that answer it now."""

from __future__ import annotations

import time
from email.utils import format_datetime

import msgspec
from aiohttp import HttpVersion11, web

from wheelgate.core.protocols import Clock
from wheelgate.runtime.logs import AnsweredRequest
from wheelgate.simple_api import negotiate
from wheelgate.web.auth import Authentication, Permission
from wheelgate.web.conditions import parse_if_none_match
from wheelgate.web.files import FileHandlers
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import ParsedPath, Route
from wheelgate.web.request_log import RequestLog
from wheelgate.web.simple import SimpleHandlers, negotiate_type

HEAD = web.RequestKey("wheelgate.head", bytes)
"""The key under which a request holds its own bytes, if it came alone and as one whole head without a body."""
_MAX_HEADS = 4_096
_ONE_WRITE_BYTES = 64 * 1024  # copying that much costs less than a second system call
_NEVER_LEARNED = ("Content-Length", "Transfer-Encoding", "X-Request-ID", "Upgrade", "Expect", "Range")
"""Headers that announce a body, make an answer another one each time, or need more than a page."""
_ROUTES = {route: route.name.lower() for route in (Route.PROJECT, Route.FILE, Route.METADATA)}
"""What may be answered from memory, and its name in log lines and metrics."""


class KnownHead(msgspec.Struct, frozen=True):
    """The meaning of a request head."""

    method: str
    target: ParsedPath
    kind: str
    """The content type, of a page."""
    gzip: bool
    etags: frozenset[str]
    """Of what the client has (``*``: anything)."""
    permission: Permission
    agent: str


class KnownHeads:
    """Remembers what heads mean, and answers them with what the caches hold now."""

    def __init__(
        self,
        pages: PageCache,
        simple: SimpleHandlers,
        files: FileHandlers,
        authentication: Authentication,
        log: RequestLog,
        clock: Clock,
    ) -> None:
        self._pages = pages
        self._simple = simple
        self._files = files
        self._authentication = authentication
        self._request_log = log
        self._clock = clock
        self._known: dict[bytes, KnownHead] = {}
        self._second = -1
        self._date = b""

    def for_pages(self, pages: PageCache, simple: SimpleHandlers, log: RequestLog) -> KnownHeads:
        """Begin anew for other pages: of the self-test."""
        return type(self)(pages, simple, self._files, self._authentication, log, self._clock)

    def learn(self, request: web.BaseRequest, target: ParsedPath, permission: Permission) -> None:
        """Remember what a head meant that a handler has just answered."""
        head = request.get(HEAD)
        if head is None or head in self._known or target.route not in _ROUTES:
            return
        if not request.keep_alive or request.version != HttpVersion11 or any(name in request.headers for name in _NEVER_LEARNED):
            return
        if len(self._known) >= _MAX_HEADS:
            del self._known[next(iter(self._known))]
        self._known[head] = KnownHead(
            request.method,
            target,
            negotiate_type(request),
            negotiate.accepts_gzip(request.headers.get("Accept-Encoding")),
            parse_if_none_match(request),
            permission,
            request.headers.get("User-Agent", "")[:200],
        )

    def answer(self, head: bytes, client: str) -> tuple[bytes | memoryview, ...] | None:
        """Build what to write for a request of exactly these bytes; ``None``: aiohttp has to answer it."""
        began = time.perf_counter()
        known = self._known.get(head)
        if known is None or not self._authentication.still_holds(known.permission):
            return None
        target, confirmed_s = known.target, None
        if target.route is Route.PROJECT:
            entry = self._pages.find_servable(target.project)
            if entry is None:
                return None
            prepared, confirmed_s = self._simple.find_prepared(entry, known.kind, gzip=known.gzip), entry.confirmed_s
        else:
            metadata, is_head = target.route is Route.METADATA, known.method == "HEAD"
            prepared = self._files.find_prepared(target.project, target.filename, metadata=metadata, head=is_head)
        if prepared is None:
            return None
        not_modified = known.etags and ("*" in known.etags or not known.etags.isdisjoint(prepared.etags))
        status = 304 if not_modified else prepared.status
        body = b"" if not_modified or known.method == "HEAD" else prepared.body
        request_id = self._request_log.new_id()
        start = b"%b%bX-Request-ID: %b\r\n\r\n" % (prepared.heads[status], self._build_varying(confirmed_s), request_id.encode())
        answered = AnsweredRequest(
            known.method,
            _ROUTES[target.route],
            target.project,
            target.filename,
            status,
            time.perf_counter() - began,
            client,
            known.agent,
            request_id,
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

"""The warm path: a request head that was seen before is answered with finished bytes, in one look-up and one write.

A build asks for the same pages with the same headers as the build before it, byte for byte. So what a head means (which page, in
which format, compressed or not, held by the client already, allowed by which token) is worked out once, by aiohttp's parser and
the application, and remembered under the bytes themselves. When the same bytes arrive again they mean the same, and there is no
second HTTP parser that could ever read them otherwise than the first. What may have changed since, the page and the token, is
looked at each time. Everything that is not exactly this goes the application's way.

Looking a token up by the bytes of its header tells nobody anything by its timing: Python's keyed hash decides, and bytes are only
compared once the whole hash agrees.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import format_datetime

import msgspec
from aiohttp import __version__ as aiohttp_version
from aiohttp import web

from wheelgate.core.protocols import Clock
from wheelgate.simple_api import negotiate
from wheelgate.web.auth import Authentication, Permission
from wheelgate.web.conditions import held_etags
from wheelgate.web.files import FileHandlers
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import ParsedPath, Route
from wheelgate.web.request_log import RequestLog
from wheelgate.web.simple import SimpleHandlers, wanted_type

_MAX_HEADS = 4_096
_MAX_HEAD_BYTES = 2_048
_END = b"\r\n\r\n"
_ONE_WRITE_BYTES = 64 * 1024  # copying that much costs less than a second system call
_TELLS_MORE = ("X-Request-ID", "Upgrade", "Expect", "Range")
"""Headers that make an answer another one each time, or need more than a page."""
_ROUTES = {route: route.name.lower() for route in (Route.PROJECT, Route.FILE, Route.METADATA)}
"""What may be answered here, and its name in log lines and metrics."""
NEEDS = (
    "_close",
    "_force_close",
    "_keepalive_timeout",
    "_loop",
    "_messages",
    "_next_keepalive_close_time",
    "_upgraded",
    "finish_response",
    "peername",
    "transport",
    "writing_paused",
)
"""What :class:`FastPathProtocol` looks at in aiohttp's own connections, most of it promised by nobody."""
_SERVER_NEEDS = ("_kwargs", "_loop")
_log = logging.getLogger(__name__)
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class KnownHead(msgspec.Struct, frozen=True):
    """What a request head means."""

    method: str
    target: ParsedPath
    kind: str
    """The content type, of a page."""
    gzip: bool
    held: frozenset[str]
    """ETags of what the client has (``*``: anything)."""
    permission: Permission
    agent: str


class FastPath:
    """Knows what heads mean, and what to answer now."""

    def __init__(
        self,
        pages: PageCache,
        simple: SimpleHandlers,
        files: FileHandlers,
        authentication: Authentication,
        tally: RequestLog,
        clock: Clock,
    ) -> None:
        self._pages = pages
        self._simple = simple
        self._files = files
        self._authentication = authentication
        self._tally = tally
        self._clock = clock
        self._known: dict[bytes, KnownHead] = {}
        self._second = -1
        self._date = b""

    def learn(self, request: web.BaseRequest, target: ParsedPath, permission: Permission) -> None:
        """Remember what a head meant that the application has just answered."""
        head = request.protocol.head if isinstance(request.protocol, FastPathProtocol) else None
        if head is None or head in self._known or target.route not in _ROUTES:
            return
        if not request.keep_alive or any(name in request.headers for name in _TELLS_MORE):
            return
        if len(self._known) >= _MAX_HEADS:
            del self._known[next(iter(self._known))]
        self._known[head] = KnownHead(
            request.method,
            target,
            wanted_type(request),
            negotiate.accepts_gzip(request.headers.get("Accept-Encoding")),
            held_etags(request),
            permission,
            request.headers.get("User-Agent", "")[:200],
        )

    def answer(self, head: bytes, client: str) -> tuple[bytes | memoryview, ...] | None:
        """What to write for a request of exactly these bytes; ``None``: the application has to answer it."""
        began = time.perf_counter()
        known = self._known.get(head)
        if known is None or not self._authentication.still_holds(known.permission):
            return None
        target = known.target
        if target.route is Route.PROJECT:
            entry = self._pages.at_once(target.project)
            made = None if entry is None else self._simple.ready(entry, known.kind, gzip=known.gzip)
            confirmed_s = None if entry is None else entry.confirmed_s
        else:
            metadata = target.route is Route.METADATA
            made = self._files.ready(target.project, target.filename, metadata=metadata, head=known.method == "HEAD")
            confirmed_s = None
        if made is None:
            return None
        held = known.held and ("*" in known.held or not known.held.isdisjoint(made.etags))
        status = 304 if held else made.status
        body = b"" if held or known.method == "HEAD" else made.body
        request_id = self._tally.identifier()
        start = b"%b%bX-Request-ID: %b\r\n\r\n" % (made.heads[status], self._changing(confirmed_s), request_id.encode())
        self._tally.requests.warm += 1
        self._tally.tell(
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
        # As a view: a socket takes a large body in parts, and asyncio copies what remains of bytes each time.
        return (start + body,) if len(body) <= _ONE_WRITE_BYTES else (start, memoryview(body))

    def _changing(self, confirmed_s: float | None) -> bytes:
        """Date, which stays the same for a second, and Age, of what has one."""
        now = self._clock.monotonic()
        if int(now) != self._second:
            self._second = int(now)
            self._date = f"Date: {format_datetime(self._clock.now(), usegmt=True)}\r\n".encode("ascii")
        if confirmed_s is None:
            return self._date
        return b"%bAge: %d\r\n" % (self._date, max(0, now - confirmed_s))


class FastPathProtocol(web.RequestHandler):
    """One client's connection: knows where a request begins, and takes what the front can answer out of aiohttp's hands.

    That is only done between requests: everything that came before was one whole head after another, each was answered, and the
    parser is waiting for the first byte of the next. A connection on which that is no longer certain (a body, a head in
    pieces, several at once) is left to aiohttp for good.
    """

    __slots__ = ("_client", "_front", "_open", "_whole_heads", "head")

    def __init__(self, *arguments: object, front: FastPath, **settings: object) -> None:
        super().__init__(*arguments, **settings)  # type: ignore[arg-type]
        self._front = front
        self._whole_heads = True
        self._open = 0
        """Requests in aiohttp's hands."""
        self._client: str | None = None
        self.head: bytes | None = None
        """The bytes of the request that is being answered, if it came alone and as one whole head."""

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._whole_heads:
            super().data_received(data)
            return
        # Whoever asks and does not take the answers waits in aiohttp's queue, which ends.
        alone = not self._open and not self.writing_paused and not self._upgraded and not self._close and not self._force_close
        if alone:
            if self._client is None:
                self._client = _host(self.peername)
            answer = self._front.answer(data, self._client)
            if answer is not None and self.transport is not None:
                for piece in answer:
                    self.transport.write(piece)
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                return
        self._whole_heads = _is_one_head(data)
        self.head = data if alone and self._whole_heads else None
        before = len(self._messages)
        super().data_received(data)
        self._open += 1
        if len(self._messages) != before + 1:  # aiohttp read it otherwise: as part of something, or as several
            self._whole_heads, self.head = False, None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """See aiohttp."""
        answered = await super().finish_response(request, resp, start_time)
        self._open -= 1
        if not request.content.is_eof() or not answered[0].keep_alive:  # the rest of a body may follow, or nothing
            self._whole_heads = False
        return answered


class FastPathServer(web.Server):
    """aiohttp's server, with our connections."""

    def __init__(self, handler: Handler, *, front: FastPath, **settings: object) -> None:
        super().__init__(handler, **settings)  # type: ignore[arg-type]
        self._front = front

    def __call__(self) -> web.RequestHandler:
        """A protocol for one connection."""
        return FastPathProtocol(self, loop=self._loop, front=self._front, **self._kwargs)


def server_for(handler: Handler, *, front: FastPath, needs: Sequence[str] = NEEDS, **settings: object) -> web.Server:
    """A server with the warm path or, on an aiohttp that lacks what it needs, without: slower, and right. The log says which."""
    plain = web.Server(handler, **settings)  # type: ignore[arg-type]
    connection = plain()  # never connected: what it has is only known of one that was made
    missing = [name for name in _SERVER_NEEDS if not hasattr(plain, name)]
    missing += [name for name in needs if not hasattr(connection, name)]
    if not missing:
        return FastPathServer(handler, front=front, **settings)
    _log.warning(
        "this aiohttp (%s) has no %s: pages asked for before are served without the short way, slower; install the version that "
        "Wheelgate was released with",
        aiohttp_version,
        ", ".join(missing),
    )
    return plain


def _is_one_head(data: bytes) -> bool:
    return (
        len(data) <= _MAX_HEAD_BYTES
        and data.startswith((b"GET ", b"HEAD "))
        and data.endswith(_END)
        and data.find(_END) == len(data) - len(_END)
    )


def _host(peer: object) -> str:
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""

"""Fast path: a request head seen before is answered from memory, in one look-up and one write, in front of aiohttp.

A build asks for the same pages with the same headers as the build before it, byte for byte. So what a head means (which page, in
which format, compressed or not, held by the client already, allowed by which token) is worked out once, by aiohttp's parser and
the dispatcher, and remembered under the bytes themselves. When the same bytes arrive again they mean the same, and there is no
second HTTP parser that could ever read them otherwise than the first. What may have changed since, the page and the token, is
looked at each time. A head that announces a body is never remembered, and everything that is not exactly this goes to aiohttp.

It stands on what asyncio and aiohttp document: a protocol of ours owns the connection and hands what it does not answer to the
protocol that :class:`aiohttp.web.Server` makes; aiohttp's access logger is called once an answer has been written, which is when
the next one may follow. At start one page is asked for both ways, and where the answers differ the server does without.

Looking a token up by the bytes of its header tells nobody anything by its timing: Python's keyed hash decides, and bytes are only
compared once the whole hash agrees.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import __version__ as aiohttp_version
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from wheelgate.core.protocols import Clock
from wheelgate.runtime.logs import AnsweredRequest
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import JSON
from wheelgate.web.auth import permit_everybody
from wheelgate.web.client_connection import ClientConnection, ClientLimits
from wheelgate.web.known_heads import HEAD, KnownHeads
from wheelgate.web.paths import ParsedPath, Route
from wheelgate.web.prepared_response import LARGE_BYTES, SERVER, SLICE_BYTES, build_headers, prepare_response, slice_body
from wheelgate.web.request_log import RequestLog

_MAX_HEAD_BYTES = 2_048
_END = b"\r\n\r\n"
_NOT_PLAIN = (b"content-length", b"transfer-encoding", b"\nupgrade:")
"""In a head in lower case: a body may follow, or another protocol."""
_UNREADABLE = "this is no request that can be read: send HTTP/1.1, no line of it longer than 8 KiB, to the port that speaks it"
_NEVER_S = 366 * 86_400.0
_SELF_TEST_S = 5.0
_VARYING = (b"date:", b"x-request-id:", b"server:")
"""Headers in which both ways may differ."""
_SETTINGS: dict[str, Any] = {
    "keepalive_timeout": _NEVER_S,
    "auto_decompress": False,  # an upload's gzip could inflate to anything
}
_log = logging.getLogger(__name__)
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class FastPathProtocol(ClientConnection):
    """One client's connection: answers from memory what it can, and hands everything else to aiohttp's protocol behind it.

    Memory answers only between requests: every byte that came before belonged to one whole head after another, and aiohttp has
    written its answer to each. A connection on which that is no longer certain (a body, a head in pieces, several at once) is
    left to aiohttp for good.
    """

    def __init__(self, behind: asyncio.Protocol, limits: ClientLimits, known_heads: KnownHeads) -> None:
        super().__init__(behind, limits)
        self._known_heads = known_heads
        self._whole_heads = True
        self._writing_paused = False
        self._rest: memoryview | None = None
        """Of an answer from memory, what the client has not made room for yet; until then nothing more is read."""
        self._head: bytes | None = None
        """The bytes of the request that is handled next, if it came alone and as one whole head."""

    def pause_writing(self) -> None:
        self._writing_paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused = False
        super().resume_writing()
        if self._rest is not None:
            self._write_rest(self._rest)

    def data_received(self, data: bytes) -> None:
        if self._whole_heads:
            # Whoever asks and does not take the answers waits in aiohttp's queue, which ends.
            alone = not self._open and not self._writing_paused and not self._transport.is_closing()
            if alone and (answer := self._known_heads.answer(data, self._client)) is not None:
                self._transport.write(answer[0])
                if len(answer) == 2:
                    if len(answer[1]) > LARGE_BYTES:
                        self._write_rest(answer[1])
                    else:
                        self._transport.write(answer[1])
                self._idle_since = self._loop.time()
                return
            self._whole_heads = _is_plain_head(data)
            self._head = data if alone and self._whole_heads else None
            self._open += 1
        super().data_received(data)

    def _write_rest(self, rest: memoryview) -> None:
        """Write as much as the client takes: what asyncio keeps for each slow reader of a large page would be that page."""
        while rest and not self._writing_paused:
            piece, rest = rest[:SLICE_BYTES], rest[SLICE_BYTES:]
            self._transport.write(piece)
        if rest and self._rest is None:
            self._transport.pause_reading()
        elif not rest and self._rest is not None:
            self._transport.resume_reading()
            self._idle_since = self._loop.time()
        self._rest = rest or None

    def begin(self, request: web.BaseRequest) -> None:
        super().begin(request)
        if self._head is not None:
            request[HEAD], self._head = self._head, None


class _AnswerEnd(AbstractAccessLogger):
    """Called by aiohttp once an answer has been written: tells the connection."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 - aiohttp's
        if (connection := _find_connection(request)) is not None:
            body = request.content
            connection.end_request(keep_alive=bool(response.keep_alive), unwanted=None if body.is_eof() else body)


class _AnsweringProtocol(web.RequestHandler):
    """aiohttp's protocol, which says in our words what it cannot read, and nothing of what it was sent or of itself."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, message)  # raises where an answer has begun
        sentence = _UNREADABLE if status < 500 else "internal error"
        answer = web.Response(status=status, text=f"{sentence}\n", headers={**SERVER, "Cache-Control": "no-store"})
        answer.force_close()
        return answer


class ConnectionServer(web.Server):
    """aiohttp's server, with a protocol of ours in front of each of its own."""

    def __init__(self, handler: Handler, limits: ClientLimits, known_heads: KnownHeads | None) -> None:
        """``known_heads``: what answers from memory; ``None``: nothing does."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if (connection := _find_connection(request)) is not None:
                connection.begin(request)
            response = await handler(request)
            if (connection is not None and connection.over_limit) or not request.content.is_eof():
                response.force_close()
            slice_body(response)
            return response

        lingering_s = limits.unwanted_s + 1.0  # the connection ends earlier by itself
        super().__init__(handle)
        self._answering: dict[str, Any] = {
            "access_log": _log,
            "access_log_class": _AnswerEnd,
            "lingering_time": lingering_s,
            **_SETTINGS,
        }
        self._limits = limits
        self._known_heads = known_heads

    def __call__(self) -> ClientConnection:  # type: ignore[override] # a factory of protocols, whichever they are
        behind = _AnsweringProtocol(self, loop=asyncio.get_running_loop(), **self._answering)
        if self._known_heads is None:
            return ClientConnection(behind, self._limits)
        return FastPathProtocol(behind, self._limits, self._known_heads)


async def build_server(
    handler: Handler, known_heads: KnownHeads, clock: Clock, *, fast_path: bool, limits: ClientLimits | None = None
) -> ConnectionServer:
    """Build a server with the fast path; without where that is not wanted or fails its self-test: slower, and right."""
    limits = limits or ClientLimits()
    if fast_path:
        problem = await _find_disagreement(type(known_heads), clock)
        if problem is None:
            return ConnectionServer(handler, limits, known_heads)
        _log.warning(
            "the fast path is off, and warm pages are served several times slower: its self-test failed with aiohttp %s (%s); "
            "install the version of aiohttp that Wheelgate was released with",
            aiohttp_version,
            problem,
        )
    return ConnectionServer(handler, limits, None)


def _find_connection(request: web.BaseRequest) -> ClientConnection | None:
    transport = request.transport
    protocol = None if transport is None else transport.get_protocol()
    return protocol if isinstance(protocol, ClientConnection) else None


def _is_plain_head(data: bytes) -> bool:
    """True if these bytes are one whole request head without a body, however strictly or loosely they are read."""
    if len(data) > _MAX_HEAD_BYTES or not data.startswith((b"GET ", b"HEAD ")) or not data.endswith(_END):
        return False
    lines, text = data.count(b"\r\n"), data.lower()
    return (
        data.find(_END) == len(data) - len(_END)
        and data.count(b"\n") == lines == data.count(b"\r")
        and not any(sign in text for sign in _NOT_PLAIN)
    )


async def _find_disagreement(heads: type[KnownHeads], clock: Clock) -> str | None:
    """Self-test: ask for one page from aiohttp and from memory, over a socket pair; what went wrong, if anything did."""
    etag = "self-test"
    page = prepare_response(b"{}", build_headers(JSON, "no-cache", (etag,)), (etag,))
    log = _WarmCount(Metrics())
    tested = heads({Route.PROJECT: lambda _, __: lambda: (page, None)}, log, clock)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        tested.learn(request, ParsedPath(Route.PROJECT, etag), permit_everybody)
        return page.respond(request)

    try:
        async with asyncio.timeout(_SELF_TEST_S):
            first, *others = await _ask_three_times(ConnectionServer(handle, ClientLimits(), tested))
    except Exception as error:  # whatever it is: a server without the fast path is right all the same
        return repr(error)
    if any(other != first for other in others):
        return f"{first!r} became {others!r}"
    return None if log.warm == 1 else f"{log.warm} answers came from memory instead of 1"


class _WarmCount(RequestLog):
    """A log of the self-test's answers, which only counts those from memory."""

    warm = 0

    def record(self, answer: AnsweredRequest, *, warm: bool = False) -> None:  # noqa: ARG002 - not written down
        self.warm += warm


async def _ask_three_times(server: web.Server) -> list[tuple[bytes, list[bytes], bytes]]:
    """Ask for the same page from aiohttp, from memory, and from aiohttp behind that (by a head it does not know)."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(server, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        answers = []
        for more in (b"", b"", b"X-Other: 1\r\n"):
            writer.write(b"GET /simple/self-test/ HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % more)
            status, *headers = (await reader.readuntil(_END)).split(b"\r\n")[:-2]
            kept = sorted(header for header in headers if not header.lower().startswith(_VARYING))
            answers.append((status, kept, await reader.readexactly(2)))
        return answers
    finally:
        writer.close()
        transport.abort()

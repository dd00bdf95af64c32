"""One client's connection, and what it may hold before and between its requests: time, bytes, and answers that it does not take.

Whoever connects has proved nothing. So a head has a deadline from its first byte, a connection one from when it was made and from
its last answer, and what is sent ahead has a bound. Bytes that come late do not put a deadline off.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from enum import StrEnum, auto
from typing import cast

import msgspec
from aiohttp import StreamReader, web

OVER_LIMIT = web.RequestKey("wheelgate.over_limit", bool)
"""The key that a request has which came on a connection beyond the limit: only probes are answered there."""
_CHECK_S = 15.0
_STALLED_S = 15.0
"""A client that takes nothing for that long may have to make room for another."""
_BEFORE_A_HANDLER = 1024 * 1024
_CLOSE_S = 2.0
_PROGRESS_BYTES = 8 * 1024
"""Whoever takes less than that in ``stall_s`` takes nothing."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 59\r\n"
    b"Connection: close\r\n\r\nthe head of this request is larger than the 32 KiB allowed\n"
)


class ClientLimits(msgspec.Struct, frozen=True):
    """The bounds of each connection."""

    head_s: float = 15.0
    """From its first byte, or from the connection, until a request's head is whole."""
    idle_s: float = 75.0
    """From an answer to the next request."""
    stall_s: float = 60.0
    """How long a client may take next to nothing of what is written for it."""
    over_limit_s: float = 2.0
    """Instead of ``head_s``, on a connection beyond the limit."""
    head_bytes: int = 32 * 1024
    ahead_bytes: int = 64 * 1024
    """How much may be sent behind a request before its answer, unless that is its body."""
    unwanted_s: float = 30.0
    """How long a client may go on with a body after its answer."""
    unwanted_bytes: int = 1024 * 1024 * 1024
    """And how much of it may come."""


class Ended(StrEnum):
    """Why we ended a connection, for the metric."""

    NO_HEAD = auto()
    """Nothing came, or not all of a head."""
    IDLE = auto()
    UNREAD = auto()
    """The client took nothing of its answer."""
    TOO_MUCH = auto()
    """A head too large, or too much ahead of an answer or behind it."""
    MADE_ROOM = auto()
    """It was quiet, and another one needed its place."""
    NO_HANDSHAKE = auto()
    """TLS was not agreed upon, or not in time."""
    OVER_LIMIT = auto()
    """It was beyond the limit, and others came."""
    STOPPING = auto()
    """The server stops, and owed it nothing."""


class Quiet(StrEnum):
    """The ways in which a connection can be closed without harm to an answer."""

    SILENT = auto()
    """It has not sent a whole head."""
    STALLED = auto()
    """It takes nothing of its answer."""
    IDLE = auto()
    """It is between requests."""


def _ignore(_: ClientConnection, __: Ended | None) -> None:
    pass


class ClientConnection(asyncio.Protocol):
    """Bounds of one connection, in front of aiohttp's protocol, which answers.

    Ends a connection that is idle for too long, since only here are seen all of its answers.
    """

    _transport: asyncio.Transport
    _timer: asyncio.TimerHandle

    def __init__(self, behind: asyncio.Protocol, limits: ClientLimits) -> None:
        self._behind = behind
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._is_made = False
        """Whether there is a transport: with TLS, once its handshake is done."""
        self.over_limit = False
        """Whether it came when there were as many as there may be."""
        self.ended: Callable[[ClientConnection, Ended | None], object] = _ignore
        """Called once when the connection is over, with the reason if it was ours."""
        self.opening: asyncio.Task[None] | None = None
        """Makes the connection: with TLS, as long as its handshake takes."""
        self._made_at = self._loop.time()
        self._idle_since: float | None = None
        """When the last answer was written; ``None`` before the first."""
        self._head_since: float | None = None
        """When the first byte of a head came that no handler has begun with."""
        self._received = 0
        """Bytes since then, or behind the request that a handler is at work on."""
        self._head_end = b""
        """The last bytes of a head that is not whole; empty once it is."""
        self._handling = False
        """Whether a handler is at work on a request."""
        self._takes_body = False
        self._unwanted: StreamReader | None = None
        """The body of a request that was answered before it had come whole."""
        self._unwanted_since: float | None = None
        """When a request was answered whose body had not come whole; the rest of it is thrown away."""
        self._whole_heads = False
        """Whether every byte so far belonged to one whole head without a body after another."""
        self._open = 0
        """Requests handed to aiohttp whose answer is not written yet, as long as there are whole heads alone."""
        self._unread_since: float | None = None
        self._untaken = 0
        self._why: Ended | None = None

    # --- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._is_made = cast("asyncio.Transport", transport), True
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._made_at = self._loop.time()
        if self.over_limit:
            self._whole_heads = False
        self._timer = self._loop.call_later(self._head_s, self._check)
        self._behind.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._unwanted is not None:
            self._unwanted.feed_eof()  # or aiohttp's task would wait for it as long as for somebody who is there
        self._behind.connection_lost(exc)
        self.ended(self, self._why)

    def eof_received(self) -> bool | None:
        return self._behind.eof_received()

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        self._behind.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._why is not None:
            return  # more may be on its way while a connection is being closed
        if self._unwanted_since is not None:
            self._received += len(data)
            if self._received > self._limits.unwanted_bytes:
                self.end(Ended.TOO_MUCH)
            return
        if self._handling or (self._head_since is not None and not self._head_end):
            self._received += len(data)
            if self._received > self._find_allowed():
                self.end(Ended.TOO_MUCH)
                return
        elif not self._read_head(data):
            return
        self._behind.data_received(data)

    def _find_allowed(self) -> float:
        """How many bytes may come behind a head that is whole."""
        if not self._handling:
            return _BEFORE_A_HANDLER  # it has one in a moment, which knows if this is a body
        return math.inf if self._takes_body else self._limits.ahead_bytes  # aiohttp holds up what comes faster than it is read

    def _read_head(self, data: bytes) -> bool:
        """Find the end of a head, its size and its first byte; ``False``: it is too large, and was refused."""
        if self._head_since is None:
            start = data.lstrip(b"\r\n")  # as some clients send after a body, and every server skips
            if not start:
                return True
            self._head_since = self._loop.time()
            self._received = 0
        else:
            start = data
        searched = self._head_end + start
        at = min((found for end in (b"\n\r\n", b"\n\n") if (found := searched.find(end)) >= 0), default=None)
        head_bytes = self._received + (len(start) if at is None else at - len(self._head_end))
        self._received += len(start)
        self._head_end = b"" if at is not None else searched[-3:]
        if self._received - head_bytes > self._limits.ahead_bytes and searched.startswith((b"GET ", b"HEAD ")):
            self.end(Ended.TOO_MUCH)
            return False
        if head_bytes <= self._limits.head_bytes:
            return True
        self._transport.write(_TOO_LARGE)
        self._why = Ended.TOO_MUCH
        self._transport.close()
        return False

    # --- of requests

    def begin(self, request: web.BaseRequest) -> None:
        """Note that a handler begins to answer a request."""
        self._handling = True
        self._takes_body = announces_body(request)
        self._head_since, self._received = None, 0
        if self.over_limit:
            request[OVER_LIMIT] = True

    def end_request(self, *, keep_alive: bool, unwanted: StreamReader | None = None) -> None:
        """Note that an answer of aiohttp's has been written. ``unwanted``: the request's body, if it has not come whole."""
        self._handling = False
        self._idle_since = self._loop.time()
        self._head_since, self._received = None, 0
        self._open -= 1
        if not keep_alive:
            self._whole_heads = False
        if unwanted is not None:
            self._throw_rest_away(unwanted)

    def _throw_rest_away(self, unwanted: StreamReader) -> None:
        """Take in what still comes of a body that was answered, for a while, so that its client gets to read the answer.

        Many send all of a body before they read. Closed at once, the connection would be reset under them, and the answer lost.
        """
        self._unwanted, self._unwanted_since = unwanted, self._loop.time()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()  # after a reset, too, whoever was told that nothing more comes finds the answer (Linux)
        self._timer.cancel()
        self._check()

    # --- deadlines

    @property
    def _head_s(self) -> float:
        return self._limits.over_limit_s if self.over_limit else min(self._limits.head_s, self._limits.idle_s)

    @property
    def _is_busy(self) -> bool:
        # A request that was just handed on has no handler yet; closed now, it would be carried out, and its answer lost.
        return self._handling or (self._whole_heads and self._open > 0)

    def _find_deadline(self) -> tuple[float, Ended] | None:
        """The moment at which the connection has been quiet for too long; ``None`` while a request is being answered."""
        if self._is_busy:
            return None
        if self._unwanted_since is not None:
            unwanted_s = self._limits.over_limit_s if self.over_limit else self._limits.unwanted_s
            return self._unwanted_since + unwanted_s, Ended.TOO_MUCH
        if self._head_since is not None:
            return self._head_since + self._head_s, Ended.NO_HEAD
        if self._idle_since is None:
            return self._made_at + self._head_s, Ended.NO_HEAD
        return self._idle_since + self._limits.idle_s, Ended.IDLE

    def _check(self) -> None:
        """End the connection if it is past its deadline, or look again in time."""
        now = self._loop.time()
        deadline = self._find_deadline()
        if self._count_unread() > 0:
            untaken = self._count_untaken()
            if self._unread_since is None or untaken < self._untaken - _PROGRESS_BYTES:
                self._unread_since, self._untaken = now, untaken
            deadline = self._unread_since + self._limits.stall_s, Ended.UNREAD
        else:
            self._unread_since = None
        left_s = self._limits.idle_s if deadline is None else deadline[0] - now
        if left_s > 0:
            self._timer = self._loop.call_later(min(left_s, _CHECK_S), self._check)
        elif deadline is not None:
            self.end(deadline[1])

    def _count_unread(self) -> int:
        """Bytes that were written and that the client has not made room for."""
        return self._transport.get_write_buffer_size() if self._is_made else 0

    def _count_untaken(self) -> int:
        """The same, and what the system holds of it: up to 4 MB, and it asks for more only once a third of that is gone."""
        try:
            from fcntl import ioctl
            from termios import TIOCOUTQ

            (queued,) = struct.unpack("i", ioctl(self._transport.get_extra_info("socket").fileno(), TIOCOUTQ, b"\0\0\0\0"))
        except (ImportError, AttributeError, OSError):  # a system that does not tell, or no socket any more
            queued = 0
        return self._count_unread() + int(queued)

    def find_quiet(self, now: float) -> tuple[Quiet, float] | None:
        """The reason for which it could be closed to make room, and since when that holds; ``None``: it is being answered."""
        if self._unread_since is not None and now - self._unread_since >= _STALLED_S and self._count_unread():
            return Quiet.STALLED, self._unread_since
        if self._is_busy or self._count_unread():
            return None
        if self._head_since is not None or self._idle_since is None:
            return Quiet.SILENT, self._head_since or self._made_at
        return Quiet.IDLE, self._idle_since

    def end(self, why: Ended) -> None:
        """Close the connection, whatever has not been read of it."""
        self._why = self._why or why
        if not self._is_made:
            if self.opening is not None:
                self.opening.cancel()
        elif why in (Ended.IDLE, Ended.STOPPING):
            self._transport.close()
            self._timer = self._loop.call_later(_CLOSE_S, self._transport.abort)  # TLS waits for the client's farewell
        else:
            self._transport.abort()  # closed in order, it would stay until its client has taken what was written

    @property
    def owes_answer(self) -> bool:
        """True while a request is answered here, and until its client has taken the answer.

        What the system holds of it counts too: of a container that ends, the connections end at once with all that is in them.
        """
        has_whole_head = self._head_since is not None and not self._head_end
        return self._is_busy or has_whole_head or self._count_untaken() > 0

    @property
    def why(self) -> Ended | None:
        """Why we ended it, if we did."""
        return self._why


def announces_body(request: web.BaseRequest) -> bool:
    """True if a request says that a body follows its head."""
    return "Transfer-Encoding" in request.headers or request.headers.get("Content-Length", "0").strip("0") != ""

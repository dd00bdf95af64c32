"""Requests that are answered before all of their body has come: whoever first sends, then reads, gets to read the answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trustme
from aiohttp import web

from tests.support.clock import FakeClock
from wheelgate.runtime.metrics import Metrics
from wheelgate.web.acceptor import Acceptor
from wheelgate.web.client_connection import ClientLimits
from wheelgate.web.fast_path import build_server
from wheelgate.web.known_heads import KnownHeads
from wheelgate.web.open_connections import OpenConnections
from wheelgate.web.request_log import RequestLog

MIB = 1024 * 1024
SENT_BYTES = 12 * MIB
PIECE = (b"x" * 1_000 + b"\r\n\r\n") * 60
"""Something of everything: longer than a head may be without an end of line, and ends of heads."""
SENTENCE = b"the token is not known here"


async def refuse(request: web.BaseRequest) -> web.Response:
    """Refuse, after as much of the body as the path says."""
    left = int(request.path.strip("/"))
    while left > 0:
        left -= len(await request.content.read(min(left, 65_536)))
    return web.Response(status=401, body=SENTENCE)


class Site:
    """Refuses everything at a port."""

    def __init__(self, port: int, metrics: Metrics, trust: ssl.SSLContext | None) -> None:
        self.port = port
        self.trust = trust
        self._metrics = metrics
        self.stack = ExitStack()

    def count_ended(self, why: str) -> int:
        line = f'wheelgate_client_connections_ended_total{{why="{why}"}} '
        return sum(int(float(found.removeprefix(line))) for found in self._lines() if found.startswith(line))

    def count_open(self) -> int:
        (line,) = [line for line in self._lines() if line.startswith("wheelgate_client_connections ")]
        return int(float(line.split()[1]))

    def _lines(self) -> list[str]:
        return self._metrics.exposition().decode().splitlines()

    async def connect(self) -> socket.socket:
        def connect() -> socket.socket:
            made = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            return made if self.trust is None else self.trust.wrap_socket(made, server_hostname="localhost")

        return self.stack.enter_context(await asyncio.to_thread(connect))


@asynccontextmanager
async def serving(limits: ClientLimits | None = None, *, secure: bool = False, most: int = 40) -> AsyncIterator[Site]:
    clock, metrics, limits = FakeClock(), Metrics(), limits or ClientLimits()
    server = await build_server(refuse, KnownHeads({}, RequestLog(metrics), clock), clock, fast_path=True, limits=limits)
    listener = socket.create_server(("127.0.0.1", 0))
    tls = trust = None
    if secure:
        authority, tls, trust = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(tls)
        authority.configure_trust(trust)
    acceptor = Acceptor(listener, server, OpenConnections(most, metrics), limits, tls)
    port = listener.getsockname()[1]
    acceptor.start()
    site = Site(port, metrics, trust)
    try:
        with site.stack:
            yield site
    finally:
        await acceptor.stop()
        await server.shutdown(0.1)


def build_head(read: int = 0, announced: str = f"Content-Length: {SENT_BYTES}") -> bytes:
    return f"POST /{read} HTTP/1.1\r\nHost: x\r\n{announced}\r\n\r\n".encode()


def send_all(connection: socket.socket, head: bytes, *, chunked: bool = False, sent_bytes: int = SENT_BYTES) -> None:
    """Send a request as urllib does: to its end, or to the first failure, before anything is read."""
    connection.sendall(head)
    for start in range(0, sent_bytes, len(PIECE)):
        piece = PIECE[: sent_bytes - start]
        connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        connection.sendall(b"0\r\n\r\n")


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(SENTENCE) and (piece := connection.recv(65_536)):
        answer += piece
    connection.close()
    return answer


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("read", [0, 1, 100_000, 3 * MIB])
async def test_the_answer_is_read_by_whoever_first_sends_everything(secure: bool, chunked: bool, read: int) -> None:
    async with serving(secure=secure) as site:
        connection = await site.connect()
        head = build_head(read, *(["Transfer-Encoding: chunked"] if chunked else []))
        await asyncio.to_thread(send_all, connection, head, chunked=chunked)
        answer = await asyncio.to_thread(read_all, connection)
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(SENTENCE)
        await until_none_is_open(site)


async def until_none_is_open(site: Site) -> None:
    async with asyncio.timeout(5):
        while site.count_open():
            await asyncio.sleep(0.01)


async def test_a_body_that_comes_whole_costs_nobody_the_connection() -> None:
    async with serving() as site:
        connection = await site.connect()
        for _ in range(3):
            await asyncio.to_thread(connection.sendall, build_head(announced="Content-Length: 5") + b"x" * 5)
            answer = b""
            while not answer.endswith(SENTENCE):
                answer += await asyncio.to_thread(connection.recv, 65_536)
            assert b"Connection: close" not in answer
        connection.close()


async def test_what_comes_later_is_no_request() -> None:
    """What a body holds is never answered, nor is what follows it."""
    async with serving() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(build_head(announced="Content-Length: 5000"))
        await asyncio.sleep(0.1)
        writer.write(b"GET /0 HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        assert (await reader.read()).count(b"HTTP/1.1") == 1
        writer.close()


async def send_for_ever(site: Site, piece: bytes = PIECE, pause_s: float = 0.0) -> tuple[float, bytes]:
    """The seconds until the server has enough, and what can be read then."""
    connection = await site.connect()

    def send() -> float:
        began = time.monotonic()
        connection.sendall(build_head(announced="Content-Length: 9999999999999"))
        with contextlib.suppress(OSError):
            while time.monotonic() < began + 10:
                connection.sendall(piece)
                time.sleep(pause_s)
        return time.monotonic() - began

    took = await asyncio.to_thread(send)
    return took, await asyncio.to_thread(read_all, connection)


async def test_whoever_goes_on_for_ever_is_cut_off_after_its_time_and_finds_the_answer_all_the_same() -> None:
    async with serving(ClientLimits(unwanted_s=0.5, unwanted_bytes=10**15)) as site:
        for piece, pause_s in ((PIECE, 0.0), (b"x", 0.01)):
            took, answer = await send_for_ever(site, piece, pause_s)
            assert 0.4 < took < 8
            assert answer.endswith(SENTENCE)
        assert site.count_ended("too_much") == 2


async def test_whoever_goes_on_for_ever_is_cut_off_after_so_much() -> None:
    async with serving(ClientLimits(unwanted_bytes=20 * MIB)) as site:
        took, answer = await send_for_ever(site)
        assert took < 8
        assert answer.endswith(SENTENCE)
        assert site.count_ended("too_much") == 1


async def test_whoever_sends_nothing_more_is_gone_in_time() -> None:
    async with serving(ClientLimits(unwanted_s=0.3)) as site:
        silent = [await site.connect() for _ in range(3)]
        for connection in silent:
            await asyncio.to_thread(connection.sendall, build_head())
        await until_none_is_open(site)
        for connection in silent:
            assert (await asyncio.to_thread(read_all, connection)).endswith(SENTENCE)


async def test_whoever_was_refused_makes_room_for_others() -> None:
    async with serving(most=16) as site:
        refused = [await site.connect() for _ in range(14)]
        for connection in refused:
            await asyncio.to_thread(connection.sendall, build_head())
            assert (await asyncio.to_thread(connection.recv, 65_536)).startswith(b"HTTP/1.1 401")
        others = [await site.connect() for _ in range(3)]
        for connection in others:
            await asyncio.to_thread(connection.sendall, build_head(announced="Content-Length: 0"))
            assert (await asyncio.to_thread(read_all, connection)).endswith(SENTENCE)
        assert site.count_ended("made_room") == 3

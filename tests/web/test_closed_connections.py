"""Connections that are over leave nothing behind, however they ended."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trustme
from aiohttp.web_protocol import RequestHandler

from tests.web.test_fast_path_protocol import PLAIN, Site, ask
from wheelgate.runtime.metrics import Metrics
from wheelgate.web.acceptor import Acceptor
from wheelgate.web.client_connection import ClientConnection, ClientLimits
from wheelgate.web.open_connections import OpenConnections

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
COUNT = 40


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Site, OpenConnections, tuple[str, int]]]:
    site = await Site().open(fast_path=True)
    listener = socket.create_server(("127.0.0.1", 0))
    connections = OpenConnections(COUNT, Metrics())
    acceptor = Acceptor(listener, site.server, connections, ClientLimits(), tls)
    acceptor.start()
    try:
        yield site, connections, listener.getsockname()[:2]
    finally:
        await acceptor.stop()
        await site.server.shutdown()
        await site.close()


async def end_without_a_word(connect: Open) -> None:
    _, writer = await connect()
    writer.close()


async def end_after(packets: list[bytes], connect: Open) -> None:
    """Send, read some of each answer, and close."""
    reader, writer = await connect()
    for packet in packets:
        writer.write(packet)
        await reader.read(65_536)
    writer.close()


async def end_within(packet: bytes, connect: Open, *, reset: bool = False) -> None:
    """Send, wait for nothing, and close or reset."""
    _, writer = await connect()
    writer.write(packet)
    await writer.drain()
    if reset:
        taken: socket.socket = writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()


def count_alive() -> int:
    gc.collect()
    return sum(isinstance(found, ClientConnection | RequestHandler) for found in gc.get_objects())


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "end",
    [
        end_without_a_word,
        partial(end_after, [PLAIN.sent]),
        partial(end_after, [PLAIN.sent] * 3),
        partial(end_after, [ask(version="1.0").sent]),
        partial(end_after, [b"no HTTP at all\r\n\r\n"]),
        partial(end_within, PLAIN.sent[:20]),
        partial(end_within, PLAIN.sent[:20], reset=True),
        partial(end_within, ask("POST", headers=["Content-Length: 5000"], body=b"x").sent),
        partial(end_within, ask(project="other").sent, reset=True),
        partial(end_within, PLAIN.sent * 5, reset=True),
    ],
    ids=["nothing", "request", "requests", "old", "malformed", "half a head", "cut head", "half a body", "cut", "cut ahead"],
)
async def test_a_connection_that_is_over_leaves_nothing(end: Callable[[Open], Awaitable[None]], secure: bool) -> None:
    authority = trustme.CA()
    tls, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(trust)
    async with serving(tls if secure else None) as (site, connections, address):
        more = {"ssl": trust, "server_hostname": "localhost"} if secure else {}

        async def end_one() -> None:
            with suppress(OSError):
                await end(partial(asyncio.open_connection, *address, **more))

        await end_one()
        before = count_alive()
        for _ in range(COUNT // 8):
            await asyncio.gather(*(end_one() for _ in range(8)))
        async with asyncio.timeout(10):
            while len(connections) or site.server.connections or count_alive() > before:
                await asyncio.sleep(0.05)
        assert connections._held == {}

"""The link keeps what it promises: never faster than the distance allows, nothing lost, nothing changed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.link import Link, linked

_LATE_S = 5.0
"""What a busy machine may add. That nothing comes too early holds whatever else it does."""
_BODY = random.Random(30).randbytes(10_000_000)


@asynccontextmanager
async def _linked(link: Link, *, body: bytes = b"", read_all: bool = False) -> AsyncIterator[int]:
    """The near port of a link to a server that answers each line with the body, or with all it got, once that has ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if read_all:
            writer.write(await reader.read())
        else:
            while await reader.readline():
                writer.write(body)
                await writer.drain()
        writer.close()
        await writer.wait_closed()

    answers: list[asyncio.Task[None]] = []
    far = await asyncio.start_server(lambda *ends: answers.append(asyncio.create_task(answer(*ends))), "127.0.0.1", 0)
    async with far:
        async with linked(0, far.sockets[0].getsockname()[1], link) as near:
            yield near.sockets[0].getsockname()[1]
        await asyncio.gather(*answers)


async def _asked_s(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> tuple[float, bytes]:
    began_s = time.perf_counter()
    writer.write(b"GET\n")
    body = await reader.readexactly(size)
    return time.perf_counter() - began_s, body


def _round_trips(size: int, window: int) -> int:
    """How many it takes from the question to the last byte: as much as the window each time, which doubles."""
    trips = 0
    while size > 0:
        trips, size, window = trips + 1, size - window, window * 2
    return trips


async def test_a_new_connection_pays_its_handshakes_and_a_used_one_a_round_trip() -> None:
    link = Link(round_trip_s=0.05, handshakes=2)
    async with _linked(link, body=b"pong") as port:
        began_s = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _asked_s(reader, writer, 4)
        first_s = time.perf_counter() - began_s
        again_s, _ = await _asked_s(reader, writer, 4)
        writer.close()
    assert 0.149 <= first_s < 0.15 + _LATE_S
    assert 0.049 <= again_s < 0.05 + _LATE_S


async def test_a_body_takes_the_round_trips_of_a_slow_start_and_arrives_as_it_was() -> None:
    link = Link(round_trip_s=0.05)
    trips = _round_trips(len(_BODY), link.window)
    async with _linked(link, body=_BODY) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.15)  # its handshakes
        took_s, body = await _asked_s(reader, writer, len(_BODY))
        again_s, _ = await _asked_s(reader, writer, len(_BODY))
        writer.close()
    assert body == _BODY
    assert trips == 10
    assert trips * 0.05 - 0.001 <= took_s < trips * 0.05 + _LATE_S
    assert 0.049 <= again_s < took_s  # the window has grown, and is kept


async def test_what_fits_the_first_window_takes_one_round_trip() -> None:
    link = Link(round_trip_s=0.1, handshakes=0)
    async with _linked(link, body=_BODY[:14_600]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        took_s, _ = await _asked_s(reader, writer, 14_600)
        writer.close()
    assert 0.099 <= took_s < 0.1 + _LATE_S
    async with _linked(link, body=_BODY[:14_601]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        took_s, _ = await _asked_s(reader, writer, 14_601)
        writer.close()
    assert took_s >= 0.199


async def test_connections_share_a_bounded_rate() -> None:
    link = Link(round_trip_s=0.01, handshakes=0, rate=20e6)
    async with _linked(link, body=_BODY[:2_000_000]) as port:
        both = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        took = [took_s for took_s, _ in await asyncio.gather(*(_asked_s(*one, 2_000_000) for one in both))]
        for _, writer in both:
            writer.close()
    assert 0.2 <= max(took) < 0.2 + _LATE_S


async def test_one_way_may_end_before_the_other() -> None:
    async with _linked(Link(round_trip_s=0.02), read_all=True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_BODY[:1_000_000])
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == _BODY[:1_000_000]
        writer.close()


async def test_nobody_there_is_a_closed_connection() -> None:
    far = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    gone = far.sockets[0].getsockname()[1]
    far.close()
    await far.wait_closed()
    async with linked(0, gone, Link()) as near:
        reader, writer = await asyncio.open_connection("127.0.0.1", near.sockets[0].getsockname()[1])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

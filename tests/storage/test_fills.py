"""When a fill goes on without anybody who waits for it, and when it ends: by size, by pace, by room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from wheelgate.core.errors import StoreError, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile
from wheelgate.storage.fills import Fill, FillLimits
from wheelgate.storage.room import MARGIN_BYTES
from wheelgate.storage.spool import Spool

PIECE = 100_000
ALONE, MOST = 10 * PIECE, 50 * PIECE
LIMITS = FillLimits(max_bytes=MOST, alone_bytes=ALONE, grace_s=0.3, pace_s=0.2, pace_bytes=1_000, alone_pace_bytes=50_000)


class TightSpool(Spool):
    """A spool whose disk has so many bytes left."""

    left = 10**12

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free=lambda _: self.left, wait_s=0.05)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[TightSpool]:
    made = TightSpool(tmp_path / "spool")
    made.prepare()
    yield made
    made.close()


async def vouch(file: File, body: Path) -> None:
    """Of what these bodies are nobody asks."""


def fill_of(spool: Spool, total: int | None) -> Fill:
    file = File(
        filename="acme_huge-1.0-py3-none-any.whl",
        project="acme-huge",
        source="public",
        location=RemoteFile("https://example.org/x", "public"),
        hashes={},
        size=total,
    )
    return Fill(file, spool.new(), LIMITS, prove=vouch)


async def pieces(count: int = 10**9, *, size: int = PIECE, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause_s)
        yield bytes(size)


async def receive(spool: Spool, fill: Fill, chunks: AsyncIterator[bytes]) -> None:
    try:
        await fill.spooled.promise.obtain(fill.total)
        await fill.receive(chunks, None)
    finally:
        fill.finish()


async def test_a_body_without_an_end_ends_soon_if_nobody_follows_it(spool: Spool) -> None:
    fill = fill_of(spool, None)
    with pytest.raises(UpstreamUnavailable, match=r"nobody waits for acme_huge\S+ of source public any more"):
        await receive(spool, fill, pieces())
    assert fill.spooled.size == ALONE + PIECE


async def test_a_body_without_an_end_ends_also_while_somebody_follows_it(spool: Spool) -> None:
    fill = fill_of(spool, None)
    with fill.followed(), pytest.raises(UpstreamBadAnswer, match=f"sent more than {MOST} bytes, which no file has"):
        await receive(spool, fill, pieces())
    assert fill.spooled.size == MOST


async def test_it_ends_once_the_last_follower_has_left(spool: Spool) -> None:
    fill = fill_of(spool, None)
    receiving = asyncio.create_task(receive(spool, fill, pieces(pause_s=0.001)))
    async with aclosing(fill.follow(0, None)) as chunks:
        async for _ in chunks:
            if fill.spooled.size > 2 * ALONE:
                break
    assert not receiving.done()
    with pytest.raises(UpstreamUnavailable, match="nobody waits"):
        await asyncio.wait_for(receiving, 5)


@pytest.mark.parametrize("total", [ALONE, None])
async def test_what_is_small_is_fetched_to_its_end_for_whoever_comes_later(spool: Spool, total: int | None) -> None:
    fill = fill_of(spool, total)
    await receive(spool, fill, pieces(10, pause_s=0.01))
    assert fill.verified


async def test_a_large_body_ends_without_followers_unless_a_good_part_has_come(spool: Spool) -> None:
    early = fill_of(spool, 200 * PIECE)
    with pytest.raises(UpstreamUnavailable, match="nobody waits"):
        await receive(spool, early, pieces(200, pause_s=0.02))
    assert early.spooled.size < 50 * PIECE
    far = fill_of(spool, 40 * PIECE)
    receiving = asyncio.create_task(receive(spool, far, pieces(40, pause_s=0.01)))
    with far.followed():
        while far.spooled.size <= 10 * PIECE:
            await asyncio.sleep(0.005)
    await receiving
    assert far.verified


async def test_who_was_cut_off_has_a_moment_to_come_back(spool: Spool) -> None:
    fill = fill_of(spool, 40 * PIECE)
    receiving = asyncio.create_task(receive(spool, fill, pieces(40, pause_s=0.01)))
    for _ in range(20):
        with fill.followed():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
    await receiving
    assert fill.verified


async def test_without_followers_an_upstream_must_be_quicker(spool: Spool) -> None:
    followed, alone = fill_of(spool, 60_000), fill_of(spool, 60_000)
    drip = pieces(60, size=1_000, pause_s=0.01)
    with followed.followed():
        await receive(spool, followed, drip)
    with pytest.raises(UpstreamUnavailable, match="too slowly"):
        await receive(spool, alone, pieces(60, size=1_000, pause_s=0.01))


async def test_room_is_looked_at_on_the_way(spool: TightSpool) -> None:
    """Others may fill the disk meanwhile; what was promised to them is not there for a body that said nothing."""
    fill = fill_of(spool, None)
    others = spool.new()
    await others.promise.obtain(10**9)
    spool.left = MARGIN_BYTES + 10**9 + 40 * 1024 * 1024

    async def filling() -> AsyncIterator[bytes]:
        async for piece in pieces(60, size=1024 * 1024):
            spool.left -= len(piece)
            yield piece

    fill = Fill(fill.file, fill.spooled, prove=vouch)
    with fill.followed(), pytest.raises(StoreError, match="the spool is full: make room at"):
        await receive(spool, fill, filling())
    assert 16 * 1024 * 1024 <= fill.spooled.size < 34 * 1024 * 1024
    others.close()
    assert spool.room.promised_bytes == spool.room.used_bytes == 0

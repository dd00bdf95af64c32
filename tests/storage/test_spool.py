"""Where bytes wait until they are known to be right."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from wheelgate.core.errors import StoreError, StoreFull, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile
from wheelgate.storage.fills import Fill
from wheelgate.storage.room import MARGIN_BYTES
from wheelgate.storage.spool import HOLD_BYTES, Spool

BODY = os.urandom(500_000)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool")
    made.prepare()
    yield made
    made.close()


def listed(body: bytes = BODY, **known: object) -> File:
    facts: dict[str, object] = {"hashes": {"sha256": sha256(body).hexdigest()}, "size": len(body), **known}
    location = RemoteFile("http://127.0.0.1/demo-1.0.tar.gz", "upstream")
    return File(filename="demo-1.0.tar.gz", project="demo", source="upstream", location=location, **facts)  # type: ignore[arg-type]


async def nobody(file: File, body: Path) -> None:
    raise AssertionError("its digest is stated")


def fill_of(spool: Spool, file: File) -> Fill:
    return Fill(file, spool.new(file.hashes), prove=nobody)


async def pieces(body: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


async def followed(fill: Fill, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in fill.follow(start, end)])


async def seen_until_it_failed(fill: Fill) -> tuple[int, Exception]:
    seen = 0
    try:
        async for chunk in fill.follow(0, None):
            seen += len(chunk)
    except (UpstreamUnavailable, UpstreamBadAnswer) as error:
        return seen, error
    raise AssertionError("it did not fail")


async def test_everybody_gets_the_whole_body_whenever_they_come(spool: Spool) -> None:
    fill = fill_of(spool, listed())
    early = [asyncio.create_task(followed(fill)) for _ in range(20)]
    middle = asyncio.create_task(followed(fill, 100_000, 200_000))
    await fill.receive(pieces(BODY), len(BODY))
    late = await followed(fill)
    fill.finish()
    assert {*(await asyncio.gather(*early)), late} == {BODY}
    assert await middle == BODY[100_000:200_000]


async def test_the_last_64_kib_wait_until_all_is_known_to_be_right(spool: Spool) -> None:
    fill, gate = fill_of(spool, listed()), asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield BODY[:-1]
        await gate.wait()
        yield BODY[-1:]

    receiving = asyncio.create_task(fill.receive(held(), len(BODY)))
    reader = fill.follow(0, None)
    seen = b""
    while len(seen) < len(BODY) - 1 - HOLD_BYTES:
        seen += await anext(reader)
    assert len(seen) == len(BODY) - 1 - HOLD_BYTES
    more = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0.05)
    assert not more.done()
    gate.set()
    await receiving
    assert seen + await more + b"".join([chunk async for chunk in reader]) == BODY
    fill.finish()


@pytest.mark.parametrize(
    ("file", "body", "announced"),
    [
        (listed(), BODY[:-1] + b"x", len(BODY)),
        (listed(size=None), BODY[:-1] + b"x", None),
        (listed(), BODY + bytes(HOLD_BYTES), None),
        (listed(hashes={"md5": "0" * 32}), BODY, len(BODY)),
        (listed(hashes={}), BODY + b"x", None),
    ],
    ids=["other bytes", "other bytes, size unknown", "longer", "md5", "longer, without a digest"],
)
async def test_what_is_not_the_listed_file_is_never_seen_whole(
    spool: Spool, file: File, body: bytes, announced: int | None
) -> None:
    """Nor so much of it that only a cut at the announced length hides the rest."""
    fill = fill_of(spool, file)
    reading = [asyncio.create_task(seen_until_it_failed(fill)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(UpstreamBadAnswer) as caught:
        await fill.receive(pieces(body, 250_000), announced)
    fill.fail(caught.value)
    fill.finish()
    for seen, error in await asyncio.gather(*reading):
        assert seen <= len(BODY) - HOLD_BYTES
        assert error is caught.value
    assert list(fill.spooled.path.parent.glob("[0-9a-f]*")) == []


async def test_a_body_that_ends_early_is_no_wrong_answer_but_an_interrupted_one(spool: Spool) -> None:
    fill = fill_of(spool, listed())
    with pytest.raises(UpstreamUnavailable, match="after 499000 of 500000 bytes"):
        await fill.receive(pieces(BODY[:-1_000]), None)
    fill.finish()


async def test_an_announced_length_that_is_not_the_listed_one_is_refused_before_a_byte(spool: Spool) -> None:
    fill = fill_of(spool, listed())
    with pytest.raises(UpstreamBadAnswer, match="announced 7 bytes, not 500000"):
        await fill.receive(pieces(BODY), 7)
    assert fill.spooled.size == 0
    fill.finish()


async def test_a_file_goes_with_its_last_reader(spool: Spool) -> None:
    fill = fill_of(spool, listed())
    await fill.receive(pieces(BODY), None)
    reader = fill.follow(0, None)
    first = await anext(reader)
    fill.finish()
    assert not fill.spooled.path.exists(), "nobody else may come"
    assert first + b"".join([chunk async for chunk in reader]) == BODY
    with pytest.raises(ValueError, match="closed"):
        await fill.spooled.read(0, 1)


async def test_whoever_asks_for_the_size_waits_until_it_is_known(spool: Spool) -> None:
    fill = fill_of(spool, listed(size=None))
    asking = asyncio.create_task(fill.known_total())
    await asyncio.sleep(0)
    assert not asking.done()
    await fill.receive(pieces(BODY), None)
    assert await asking == len(BODY)
    fill.finish()


async def test_whoever_waits_for_the_size_of_what_fails_hears_of_it(spool: Spool) -> None:
    fill = fill_of(spool, listed(size=None))
    asking = asyncio.create_task(fill.known_total())
    await asyncio.sleep(0)
    fill.fail(UpstreamUnavailable("gone"))
    fill.finish()
    with pytest.raises(UpstreamUnavailable, match="gone"):
        await asking


def test_the_folders_of_dead_processes_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    living = Spool(tmp_path)
    living.prepare()
    on_its_way = living.new()
    script = (
        "import sys, os, pathlib; from wheelgate.storage.spool import Spool; s = Spool(pathlib.Path(sys.argv[1])); s.prepare()"
    )
    script += "; s.new().path.write_bytes(b'half'); os._exit(9)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script, tmp_path], cwd=root, check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 2
    another = Spool(tmp_path)
    another.prepare()
    assert len(list(tmp_path.iterdir())) == 2
    assert len(list(tmp_path.glob("*/[0-9a-f]*"))) == 1
    on_its_way.close()
    living.close()
    another.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        Spool(tmp_path / "spool").prepare()


async def test_room_is_counted_with_what_is_promised(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", free=lambda _: MARGIN_BYTES + 10_000, wait_s=0.05)
    spool.prepare()
    with pytest.raises(StoreFull, match=f"the spool is full: make room at {tmp_path}"):
        async with spool.holding(size=10_001):
            pass
    async with spool.holding(size=10_000):
        with pytest.raises(StoreFull):
            async with spool.holding(size=1):
                pass
    async with spool.holding(size=10_000):
        pass
    assert spool.room.promised_bytes == spool.room.used_bytes == 0
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def test_a_full_disk_is_the_stores_trouble_and_not_the_upstreams(small_disk: Path) -> None:
    """Somebody else filled it after room had been promised."""
    spool = Spool(small_disk, free=lambda _: 10**12)
    spool.prepare()
    body = bytes(2_000_000)
    fill = fill_of(spool, listed(body))
    with pytest.raises(StoreFull, match="the spool is full: make room at"):
        await fill.receive(pieces(body, 256 * 1024), len(body))
    fill.finish()
    spool.close()
    assert list(small_disk.iterdir()) == []
    assert spool.room.promised_bytes == spool.room.used_bytes == 0


def test_what_takes_nothing_in_says_why(spool: Spool, small_disk: Path) -> None:
    assert spool.problem() is None
    full = Spool(small_disk / "spool")
    full.prepare()
    assert full.problem() == f"the spool is full: make room at {small_disk / 'spool'}"
    full.close()
    assert full.problem() == "the spool cannot be used: no such file or directory"

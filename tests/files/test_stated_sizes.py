"""Sizes that somebody states before a byte has come: they cost no copy and no fill unless that makes room for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.files.test_delivery import NoCredentials
from tests.support import lies
from tests.support.clock import FakeClock
from tests.support.lies import Liar, running
from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.core.errors import StoreError
from wheelgate.core.model import File, RemoteFile
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage import layout
from wheelgate.storage.eviction import CacheLimit
from wheelgate.storage.fills import FillLimits
from wheelgate.storage.local import LocalStore
from wheelgate.storage.room import MARGIN_BYTES, MAX_FILE_BYTES
from wheelgate.storage.spool import Spool
from wheelgate.upstream.client import SourceClient

COPIES, COPY_BYTES, FREE_BYTES = 20, 10_000, 100_000
DISK_BYTES = FREE_BYTES + COPIES * COPY_BYTES
IMPOSSIBLE = [2**53 - 1, MAX_FILE_BYTES + 1, MAX_FILE_BYTES, DISK_BYTES + 1]


class House:
    """A delivery with copies in a folder, whose disk holds them, the spool, and little else."""

    def __init__(self, folder: Path, liar: Liar) -> None:
        self.liar, self.disk_bytes = liar, DISK_BYTES
        self.store = LocalStore(folder / "store")
        self.store.prepare()
        self.spool = Spool(folder / "store/.spool", free=self._count_free, wait_s=0.05)
        self.spool.prepare()
        self.client = SourceClient(
            source="upstream",
            url=liar.origin + "/",
            file_hosts=(),
            credentials=NoCredentials(),
            clock=FakeClock(),
            metrics=Metrics(),
            user_agent="test",
        )
        self.delivery = Delivery(
            store=self.store,
            store_mode=DeliveryMode.STREAM,
            modes={"upstream": DeliveryMode.CACHE},
            clients={"upstream": self.client},
            spool=self.spool,
            metrics=Metrics(),
            cache_limit=CacheLimit(self.store, limit_bytes=10**9, clock=FakeClock()),
            fill_limits=FillLimits(grace_s=0),
        )

    async def furnish(self) -> None:
        for number in range(COPIES):
            path = layout.cache_copy("upstream", "old", f"old-{number}.0.tar.gz")
            await self.store.put_if_absent(path, b"x" * COPY_BYTES, {"sha256": "0" * 64})

    def count_copies(self) -> int:
        return sum(1 for _ in (self.store.root / layout.CACHE).rglob("old-*"))

    def _count_free(self, _: Path) -> int:
        return MARGIN_BYTES + self.disk_bytes - COPY_BYTES * self.count_copies() - self.spool.room.used_bytes

    def file(self, size: int | None) -> File:
        filename = wheel_name("demo", "1.0")
        location = RemoteFile(f"{self.liar.origin}/demo/files/{filename}", "upstream")
        return File(filename=filename, project="demo", source="upstream", location=location, size=size)

    async def close(self) -> None:
        await self.delivery.close()
        await self.client.close()
        self.spool.close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    with running(Liar(sizes={"demo": 300})) as made:
        yield made


@pytest.fixture
async def here(tmp_path: Path, liar: Liar) -> AsyncIterator[House]:
    made = House(tmp_path, liar)
    await made.furnish()
    yield made
    await made.close()


async def state_on_a_page(here: House, size: int | None) -> None:
    opened = await here.delivery.open(here.file(size), plain=True)
    assert not isinstance(opened, Redirect)
    async for _ in opened.chunks(0, None):
        pass


async def state_in_an_upstreams_header(here: House, size: int) -> None:
    async def announce(talk: lies.Talk) -> None:
        await talk.head(f"Content-Length: {size}", kind="application/octet-stream")
        talk.writer.close()

    here.liar.files["demo"] = announce
    await state_on_a_page(here, None)


async def state_in_an_uploads_header(here: House, size: int) -> None:
    await here.spool.room.wait_for(size)


async def state_in_a_containers_listing(here: House, size: int) -> None:
    async with here.spool.holding(size=size):
        pass


STATED = [state_on_a_page, state_in_an_upstreams_header, state_in_an_uploads_header, state_in_a_containers_listing]


async def test_a_size_that_was_only_observed_hinders_nothing(here: House) -> None:
    body = wheel_bytes("demo", "1.0")

    async def send(talk: lies.Talk) -> None:
        await talk.head(f"Content-Length: {len(body)}", kind="application/octet-stream")
        talk.writer.write(body)
        await talk.writer.drain()
        talk.writer.close()

    here.liar.files["demo"], here.disk_bytes = send, 10**9
    file = msgspec.structs.replace(here.file(2**53 - 1), observed=("size",))
    opened = await here.delivery.open(file, plain=True)
    assert not isinstance(opened, Redirect)
    assert b"".join([chunk async for chunk in opened.chunks(0, None)]) == body


@pytest.mark.parametrize("size", IMPOSSIBLE)
@pytest.mark.parametrize("state", STATED)
async def test_a_size_that_cannot_fit_evicts_nothing(
    here: House, state: Callable[[House, int], Awaitable[None]], size: int
) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - each is refused in its own words
        await state(here, size)
    assert here.count_copies() == COPIES


@pytest.mark.parametrize(("size", "gone"), [(FREE_BYTES, 0), (FREE_BYTES + 1, 1), (FREE_BYTES + 25_000, 3), (DISK_BYTES, 20)])
async def test_a_size_that_fits_evicts_what_it_needs_and_no_more(here: House, size: int, gone: int) -> None:
    async with here.spool.holding(size=size):
        assert here.count_copies() == COPIES - gone


async def test_a_size_that_cannot_fit_ends_no_fill_that_nobody_follows(here: House) -> None:
    """And one that fits with what copies make free leaves it alone where there is room already."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    body = here.liar.body("demo")

    async def send_in_halves(talk: lies.Talk) -> None:
        await talk.head(f"Content-Length: {len(body)}", kind="application/octet-stream")
        await talk.send(body[:100])
        loop.call_soon_threadsafe(begun.set)
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        await talk.send(body[100:])

    here.liar.files["demo"] = send_in_halves
    await here.delivery.open(here.file(len(body)), plain=True)
    await asyncio.wait_for(begun.wait(), 5)
    with pytest.raises(StoreError):
        async with here.spool.holding(size=DISK_BYTES + 1):
            pass
    async with here.spool.holding(size=1_000):
        pass
    go_on.set()
    async with asyncio.timeout(5):
        while here.delivery.fills_under_way:
            await asyncio.sleep(0.01)
    await here.store.info(layout.cache_copy("upstream", "demo", wheel_name("demo", "1.0")))

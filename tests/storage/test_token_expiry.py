"""Expired tokens leave the store, late and never too early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.protocols import BlobInfo
from wheelgate.storage import layout, token_expiry
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.token_expiry import EVERY, KEPT, ExpiredTokens
from wheelgate.storage.tokens import Tokens

DAY = timedelta(days=1)


class DatedStore(MemoryStore):
    """A store whose own clock is another one."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def _put(self, path: str, body: bytes, facts: object, created: datetime) -> BlobInfo:
        return super()._put(path, body, facts, self.clock.now())  # type: ignore[arg-type]


class Process:
    """One process over a store."""

    def __init__(self, store: WatchedStore, clock: FakeClock) -> None:
        self.tokens = Tokens(store, clock, StoreChanges(store, clock))
        self.expired = ExpiredTokens(store, clock, self.tokens)

    async def remaining(self) -> list[str]:
        return [identifier async for identifier, _ in self.tokens.all()]


@pytest.fixture
def stores_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(stores_clock: FakeClock) -> WatchedStore:
    return WatchedStore(DatedStore(stores_clock))


async def test_a_token_goes_a_week_after_its_end(store: WatchedStore, clock: FakeClock, stores_clock: FakeClock) -> None:
    process = Process(store, clock)
    _, short = await process.tokens.new(("read",), DAY)
    _, long = await process.tokens.new(("read",), 30 * DAY)
    for day in range(8):
        assert await process.expired.remove() == 0, day
        clock.move(DAY.total_seconds())
        stores_clock.move(DAY.total_seconds())
    clock.move(1)
    stores_clock.move(1)
    store.calls.clear()
    assert await process.expired.remove() == 1
    assert ("delete", layout.token(short.id)) in store.calls
    assert store.count("read") == 0, "the listing says when each expires"
    assert await process.remaining() == [long.id]


@pytest.mark.parametrize("wrong", ["ours", "the store's"])
async def test_a_clock_that_is_ahead_costs_nobody_a_token(
    store: WatchedStore, clock: FakeClock, stores_clock: FakeClock, wrong: str
) -> None:
    process = Process(store, clock)
    await process.tokens.new(("read",), 30 * DAY)
    (clock if wrong == "ours" else stores_clock).move(365 * DAY.total_seconds())
    assert await process.expired.remove() == 0
    assert len(await process.remaining()) == 1


async def test_of_several_processes_one_looks_each_day(store: WatchedStore, clock: FakeClock, stores_clock: FakeClock) -> None:
    processes = [Process(store, clock) for _ in range(3)]
    for _ in range(2):
        store.calls.clear()
        for process in processes:
            await process.expired.remove()
        assert store.count("list") == 1
        clock.move(EVERY.total_seconds() + 1)
        stores_clock.move(EVERY.total_seconds() + 1)


async def test_records_of_earlier_releases_are_read_and_damaged_ones_stay(
    store: WatchedStore, clock: FakeClock, stores_clock: FakeClock
) -> None:
    process = Process(store, clock)
    _, old = await process.tokens.new(("read",), DAY)
    _, valid = await process.tokens.new(("read",), 300 * DAY)
    for token in (old, valid):
        await store.delete(layout.token(token.id))
        await store.put_if_absent(layout.token(token.id), msgspec.json.encode(token), {})
    await store.put_if_absent(layout.token("damaged0"), b"{", {})
    await store.put_if_absent(layout.token("damaged1"), b"{", {"expires": "soon"})
    clock.move((KEPT + 2 * DAY).total_seconds())
    stores_clock.move((KEPT + 2 * DAY).total_seconds())
    assert await process.expired.remove() == 1
    assert sorted(await process.remaining()) == sorted([valid.id, "damaged0", "damaged1"])


async def test_one_day_removes_no_more_than_so_many(
    store: WatchedStore, clock: FakeClock, stores_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_expiry, "_MOST", 3)
    process = Process(store, clock)
    for _ in range(5):
        await process.tokens.new(("read",), DAY)
    for _ in range(20):
        clock.move(DAY.total_seconds())
        stores_clock.move(DAY.total_seconds())
    assert await process.expired.remove() == 3
    assert stores_clock.now() > datetime(2026, 1, 20, tzinfo=UTC)

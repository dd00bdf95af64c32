"""How every process hears of a change: always, and not twice."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.support.sources import LONG_AGO
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.background import run_beside
from wheelgate.storage import changes as changes_module
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges


class Replica:
    """One process's view."""

    def __init__(self, store: WatchedStore) -> None:
        self.changes = StoreChanges(store)
        self.told = 0
        self.changes.subscribe(self._hear)

    def _hear(self) -> None:
        self.told += 1


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


async def test_a_change_is_heard_here_at_once_and_elsewhere_at_the_next_look(store: WatchedStore) -> None:
    one, other = Replica(store), Replica(store)
    await one.changes.announce()
    assert (one.told, other.told) == (1, 0)
    await other.changes.look()
    assert other.told == 1
    for _ in range(3):
        await one.changes.look()
        await other.changes.look()
    assert (one.told, other.told) == (1, 1)


async def test_each_change_is_heard(store: WatchedStore) -> None:
    one, other = Replica(store), Replica(store)
    for number in range(1, 6):
        await one.changes.announce()
        await other.changes.look()
        assert other.told == number


async def test_everybody_who_subscribed_is_told(store: WatchedStore) -> None:
    changes = StoreChanges(store)
    told: list[str] = []
    for name in ("first", "second", "third"):
        changes.subscribe(lambda name=name: told.append(name))  # type: ignore[misc]
    await changes.announce()
    assert told == ["first", "second", "third"]


async def test_a_store_in_which_nothing_ever_changed_tells_nothing(store: WatchedStore) -> None:
    one = Replica(store)
    await one.changes.look()
    await one.changes.look()
    assert one.told == 0
    assert store.count("info") == 2, "a look costs one question"


async def test_a_change_that_only_others_need_to_hear_of_is_not_told_here(store: WatchedStore) -> None:
    one, other = Replica(store), Replica(store)
    await one.changes.announce(here=False)
    await one.changes.look()
    await other.changes.look()
    assert (one.told, other.told) == (0, 1)


async def test_a_change_by_another_between_two_looks_is_heard_although_we_announce_over_it(store: WatchedStore) -> None:
    one, other = Replica(store), Replica(store)
    await one.changes.announce()
    await other.changes.look()
    await other.changes.announce()  # `one` has not looked since
    told = one.told
    await one.changes.announce(here=False)
    await one.changes.look()
    assert one.told > told
    await one.changes.look()
    assert one.told == told + 1


async def test_two_announcements_at_once_are_both_heard_by_both(store: WatchedStore) -> None:
    """Each tells its own caches first and writes later: the other's change may fall in between."""
    one, other = Replica(store), Replica(store)
    await StoreChanges(store).announce()
    for replica in (one, other):
        await replica.changes.look()
    store.calls.clear()
    store.holds["info"] = asyncio.Event()  # both have told themselves, and read the same ETag
    announcing = [asyncio.create_task(replica.changes.announce()) for replica in (one, other)]
    await asyncio.sleep(0.01)
    before = (one.told, other.told)
    store.holds.pop("info").set()
    await asyncio.gather(*announcing)
    assert store.count("replace_if") == 3, "the loser says it again"
    await one.changes.look()
    await other.changes.look()
    assert one.told > before[0]
    assert other.told > before[1]


async def test_a_change_that_cannot_be_announced_is_an_error(store: WatchedStore) -> None:
    one = Replica(store)
    store.fails = lambda method, path: method == "replace_if"
    with pytest.raises(StoreError):
        await one.changes.announce()
    assert one.told == 1, "this process knows nevertheless"


async def test_losing_for_ever_is_an_error_too() -> None:
    inner = MemoryStore()
    store = WatchedStore(inner)
    one = Replica(store)
    count = 0

    def overtake(method: str, path: str) -> None:
        nonlocal count
        if method == "replace_if":
            count += 1
            inner.blobs[layout.CHANGED] = (b"", BlobInfo(layout.CHANGED, 0, f"rival{count}", LONG_AGO, {}))

    store.before = overtake
    with pytest.raises(StoreError, match="too many writers"):
        await one.changes.announce()
    assert count == changes_module._TRIES


async def test_watching_outlives_a_store_that_cannot_be_asked(store: WatchedStore) -> None:
    one, other = Replica(store), Replica(store)
    await other.changes.announce()
    store.down()
    watching = asyncio.create_task(one.changes.watch())
    await asyncio.sleep(0.05)
    assert store.count("info") > 0
    assert one.told == 0
    store.up()
    await asyncio.sleep(changes_module.WATCH_INTERVAL_S + 0.2)
    assert one.told == 1
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_many_changes_at_once_are_announced_together_and_none_is_lost(store: WatchedStore) -> None:
    """A build that asks for a hundred private names for the first time claims them all at once."""
    one, other = Replica(store), Replica(store)
    store.holds["replace_if"] = asyncio.Event()
    first = asyncio.create_task(one.changes.announce())
    while not store.count("replace_if"):
        await asyncio.sleep(0)
    await other.changes.look()  # hears of the first
    later = [asyncio.create_task(one.changes.announce()) for _ in range(100)]
    await asyncio.sleep(0)
    store.holds["replace_if"].set()
    await asyncio.gather(first, *later)
    assert store.count("replace_if", layout.CHANGED) == 2, "those who came while it was written share one more"
    heard = other.told
    await other.changes.look()
    assert other.told == heard + 1


async def test_an_announcement_goes_on_when_who_asked_for_it_leaves(store: WatchedStore) -> None:
    one, other = Replica(store), Replica(store)
    store.holds["replace_if"] = asyncio.Event()
    left = asyncio.create_task(one.changes.announce())
    while not store.count("replace_if"):
        await asyncio.sleep(0)
    left.cancel()
    stays = asyncio.create_task(one.changes.announce())
    store.holds["replace_if"].set()
    await stays
    await other.changes.look()
    assert other.told == 1


async def test_watching_goes_on_whatever_fails(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stopped looking would let in revoked tokens for ever."""
    monkeypatch.setattr(changes_module, "WATCH_INTERVAL_S", 0.0)
    store, looks = WatchedStore(), []

    def fail_once(method: str, path: str) -> None:
        looks.append(path)
        if len(looks) == 1:
            raise RuntimeError("nobody expected this")

    store.before = fail_once
    with caplog.at_level(logging.ERROR):
        async with run_beside(StoreChanges(store).watch()):
            while len(looks) < 3:
                await asyncio.sleep(0)
    assert "nobody expected this" in caplog.text

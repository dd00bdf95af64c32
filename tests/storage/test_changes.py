"""How every process hears of a change: by its key, always, and until it must have been made."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.support.clock import FakeClock
from tests.support.sources import LONG_AGO
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import BlobDamaged, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.background import run_beside
from wheelgate.storage import change_log, layout
from wheelgate.storage import changes as changes_module
from wheelgate.storage.change_log import EVERYTHING, Change, ChangeEntry, Kind
from wheelgate.storage.changes import UNSETTLED_S, StoreChanges

LIB, OTHER, TOKEN = Change(Kind.PACKAGE, "acme-lib"), Change(Kind.CLAIM, "acme-other"), Change(Kind.TOKEN, "abcdefgh")


class Replica:
    """One process's view."""

    def __init__(self, store: WatchedStore, clock: FakeClock) -> None:
        self.changes = StoreChanges(store, clock)
        self.told: list[Change] = []
        for kind in Kind:
            self.changes.subscribe(kind, lambda key, kind=kind: self.told.append(Change(kind, key)))  # type: ignore[misc]

    async def change(self, *changes: Change) -> None:
        async with self.changes.changing(*changes):
            pass

    async def hear(self) -> list[Change]:
        """Look once, and forget what was told before."""
        self.told.clear()
        await self.changes.look()
        return self.told


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def replicas(store: WatchedStore, clock: FakeClock) -> tuple[Replica, Replica]:
    """Two that have looked at a store in which something happened long ago."""
    one, other = Replica(store, clock), Replica(store, clock)
    await one.change(LIB)
    await other.hear()
    clock.move(UNSETTLED_S + 1)
    for replica in (one, other):
        await replica.hear()
        assert await replica.hear() == []
    return one, other


async def test_a_change_is_announced_before_it_is_made_and_told_here_after_it(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    async with one.changes.changing(LIB):
        assert await other.hear() == [LIB]
        assert one.told == []
    assert one.told == [LIB]


async def test_what_is_heard_is_heard_again_until_it_was_made(replicas: tuple[Replica, Replica]) -> None:
    """Whoever read the old state between announcement and change reads again."""
    one, other = replicas
    async with one.changes.changing(LIB):
        for _ in range(3):
            assert await other.hear() == [LIB]
    assert await other.hear() == [LIB]
    assert await other.hear() == []
    assert await one.hear() == []


async def test_of_two_who_change_one_key_both_are_waited_for(
    replicas: tuple[Replica, Replica], store: WatchedStore, clock: FakeClock
) -> None:
    one, other = replicas
    third = Replica(store, clock)
    await third.hear()
    async with one.changes.changing(LIB):
        await other.change(LIB)
        for _ in range(3):
            assert set(await third.hear()) == {LIB}
    await third.hear()
    assert await third.hear() == []


async def test_what_nobody_says_was_made_is_heard_again_until_it_must_have_been(
    replicas: tuple[Replica, Replica], clock: FakeClock
) -> None:
    one, other = replicas
    with pytest.raises(StoreError):
        async with one.changes.changing(LIB):
            raise StoreError("no answer")
    for _ in range(15):
        assert await other.hear() == [LIB]
        assert await one.hear() == [LIB]
        clock.move(2)
    clock.move(1)
    assert await other.hear() == [LIB], "once more when its time is over"
    assert await other.hear() == []


async def test_what_could_not_be_said_to_be_made_is_said_later(
    replicas: tuple[Replica, Replica], store: WatchedStore, clock: FakeClock
) -> None:
    """A release that hears of changes once they were made has to be told; so has whoever waited in vain."""
    one, other = replicas
    async with one.changes.changing(LIB):
        await other.hear()
        clock.move(UNSETTLED_S + 1)
        await other.hear()
        store.fails = lambda method, path: method == "replace_if"
    store.up()
    assert await other.hear() == []
    await one.hear()
    assert await other.hear() == [LIB]


@pytest.mark.parametrize("error", [StoreError("no answer"), asyncio.CancelledError()])
async def test_a_change_that_failed_may_have_been_made_all_the_same(
    replicas: tuple[Replica, Replica], error: BaseException
) -> None:
    one, other = replicas

    async def fail(*, here: bool) -> None:
        async with one.changes.changing(LIB, here=here):
            raise error

    for here in (True, False):
        one.told.clear()
        with pytest.raises(type(error)):
            await fail(here=here)
        assert one.told == [LIB]
        assert await one.hear() == [LIB]
        assert await other.hear() == [LIB]


async def test_each_change_is_heard_by_its_key(replicas: tuple[Replica, Replica], clock: FakeClock) -> None:
    one, other = replicas
    for change in (LIB, OTHER, TOKEN):
        await one.change(change)
        assert await other.hear() == [change]
        clock.move(UNSETTLED_S + 1)
        await other.hear()
    await one.change(LIB, OTHER)
    await one.change(TOKEN)
    assert await other.hear() == [LIB, OTHER, TOKEN]


async def test_a_change_that_the_block_tells_of_is_not_told_here(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    async with one.changes.changing(LIB, here=False):
        pass
    assert one.told == []
    assert await one.hear() == []
    assert await other.hear() == [LIB]


async def test_a_store_in_which_nothing_ever_changed_tells_nothing(store: WatchedStore, clock: FakeClock) -> None:
    one = Replica(store, clock)
    assert await one.hear() == []
    assert await one.hear() == []
    assert store.calls == [("info", layout.CHANGED)] * 2, "a look costs one question"


async def test_the_first_change_of_a_new_store_is_heard_by_its_key(store: WatchedStore, clock: FakeClock) -> None:
    one, other = Replica(store, clock), Replica(store, clock)
    for replica in (one, other):
        await replica.hear()
    await one.change(LIB)
    assert await other.hear() == [LIB]
    assert await other.hear() == []
    assert await one.hear() == []


async def test_who_knew_no_record_and_finds_the_second_one_takes_everything_for_changed(
    store: WatchedStore, clock: FakeClock
) -> None:
    """What the first one told, between two looks, is lost with it."""
    one, other = Replica(store, clock), Replica(store, clock)
    for replica in (one, other):
        await replica.hear()
    await one.change(LIB)
    await store.delete(layout.CHANGED)
    await one.change(OTHER)
    assert set(await other.hear()) >= set(EVERYTHING)


async def test_who_comes_later_takes_everything_for_changed_and_the_last_changes_for_unsettled(
    replicas: tuple[Replica, Replica], store: WatchedStore, clock: FakeClock
) -> None:
    async with replicas[0].changes.changing(OTHER):
        late = Replica(store, clock)
        assert await late.hear() == [*EVERYTHING, LIB, OTHER]
        assert await late.hear() == [OTHER]


async def test_who_missed_more_than_the_record_holds_takes_everything_for_changed(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    monkeypatch.setattr(change_log, "_MAX_ENTRIES", 6)
    for number in range(3):
        await one.change(Change(Kind.PACKAGE, f"acme-{number}"))
    assert await other.hear() == [Change(Kind.PACKAGE, f"acme-{number}") for number in range(3)]
    for number in range(4):
        await one.change(Change(Kind.PACKAGE, f"acme-{number}"))
    assert set(await other.hear()) >= set(EVERYTHING)


async def test_the_record_stays_small(replicas: tuple[Replica, Replica], store: WatchedStore) -> None:
    for number in range(60):
        await replicas[0].change(*(Change(Kind.PACKAGE, f"{number}-{at}-" + "x" * 1_000) for at in range(20)))
    body, _ = await store.read(layout.CHANGED)
    assert len(body) < 64 * 1024
    assert set(await replicas[1].hear()) >= set(EVERYTHING)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"format":2,"epoch":"x","sequence":1,"recent":[]}', b"0" * 32])
async def test_a_record_that_cannot_be_read_is_everything_and_mended_by_the_next(
    replicas: tuple[Replica, Replica], store: WatchedStore, clock: FakeClock, body: bytes
) -> None:
    """Damaged, empty, of a newer release, or of one of the first ones."""
    one, other = replicas
    await store.replace_if(layout.CHANGED, body, (await store.info(layout.CHANGED)).etag)
    assert await other.hear() == list(EVERYTHING) * 2
    assert await other.hear() == list(EVERYTHING), "what was announced there and is not made yet is not known"
    await one.change(LIB)
    assert set(await other.hear()) == {*EVERYTHING, LIB}, "a log of another epoch"
    clock.move(UNSETTLED_S + 1)
    await other.hear()
    await one.change(OTHER)
    assert await other.hear() == [OTHER]


async def test_a_record_that_somebody_deletes_is_everything(replicas: tuple[Replica, Replica], store: WatchedStore) -> None:
    await store.delete(layout.CHANGED)
    assert set(await replicas[0].hear()) == set(EVERYTHING)
    await replicas[1].change(LIB)
    assert set(await replicas[0].hear()) == {*EVERYTHING, LIB}


async def test_an_announcement_by_a_release_that_knows_no_keys_hides_none_of_ours(
    replicas: tuple[Replica, Replica], store: WatchedStore
) -> None:
    """It writes its own record over ours, between our announcement and our change."""
    one, other = replicas
    async with one.changes.changing(LIB):
        await store.replace_if(layout.CHANGED, b"0" * 32, (await store.info(layout.CHANGED)).etag)
        await other.hear()
        assert set(await other.hear()) == set(EVERYTHING)


@pytest.mark.parametrize("method", ["info", "read", "replace_if"])
async def test_a_record_that_cannot_be_opened_stops_nobody(
    replicas: tuple[Replica, Replica], store: WatchedStore, method: str
) -> None:
    damaged = True

    def refuse(called: str, path: str) -> None:
        nonlocal damaged
        damaged = damaged and called != "delete"
        if damaged and called == method and path == layout.CHANGED:
            raise BlobDamaged("it is a link")

    store.before = refuse
    await store.replace_if("state/other", b"", None)
    one, other = replicas
    if method == "replace_if":
        await one.change(LIB)
    else:
        await store.inner.replace_if(layout.CHANGED, b"x", (await store.inner.info(layout.CHANGED)).etag)
    assert set(await other.hear()) >= set(EVERYTHING)


async def test_a_kind_of_a_newer_release_is_passed_over_and_kept(replicas: tuple[Replica, Replica], store: WatchedStore) -> None:
    one, other = replicas
    body, info = await store.read(layout.CHANGED)
    newer = change_log.decode_log(body)
    newer = newer.extend([ChangeEntry("recall", "acme-lib", "x", is_made=True)])
    await store.replace_if(layout.CHANGED, newer.encode(), info.etag)
    assert await other.hear() == [Change(Kind.OTHER, "acme-lib")]
    await one.change(LIB)
    body, _ = await store.read(layout.CHANGED)
    assert ChangeEntry("recall", "acme-lib", "x", is_made=True) in change_log.decode_log(body).recent


async def test_a_change_by_another_between_two_looks_is_heard_although_we_announce_over_it(
    replicas: tuple[Replica, Replica],
) -> None:
    one, other = replicas
    await other.change(OTHER)  # `one` has not looked since
    async with one.changes.changing(LIB, here=False):
        pass
    assert OTHER in await one.hear()


async def test_two_announcements_at_once_are_both_heard_by_both(replicas: tuple[Replica, Replica], store: WatchedStore) -> None:
    one, other = replicas
    store.calls.clear()
    await asyncio.gather(one.change(LIB), other.change(OTHER))
    assert store.count("replace_if") > 4, "the loser says it again"
    assert OTHER in await one.hear()
    assert LIB in await other.hear()


async def test_announcing_costs_two_requests_where_nobody_else_did(
    replicas: tuple[Replica, Replica], store: WatchedStore
) -> None:
    store.calls.clear()
    await replicas[0].change(LIB)
    assert store.calls == [("replace_if", layout.CHANGED)] * 2


async def test_a_change_that_cannot_be_announced_is_not_made(replicas: tuple[Replica, Replica], store: WatchedStore) -> None:
    store.fails = lambda method, path: method == "replace_if"
    with pytest.raises(StoreError):
        async with replicas[0].changes.changing(LIB):
            pytest.fail("nobody would hear of it")


async def test_losing_for_ever_is_an_error_too(clock: FakeClock) -> None:
    inner = MemoryStore()
    store = WatchedStore(inner)
    one = Replica(store, clock)
    count = 0

    def overtake(method: str, path: str) -> None:
        nonlocal count
        if method == "replace_if":
            count += 1
            inner.blobs[layout.CHANGED] = (b"", BlobInfo(layout.CHANGED, 0, f"rival{count}", LONG_AGO, {}))

    store.before = overtake
    with pytest.raises(StoreError, match="too many writers"):
        await one.change(LIB)
    assert count == changes_module._TRIES


async def test_a_write_that_comes_late_is_announced_again_right_before_it(
    replicas: tuple[Replica, Replica], store: WatchedStore, clock: FakeClock
) -> None:
    one, other = replicas
    async with one.changes.changing(LIB) as announcement:
        await announcement.renew()
        before = store.count("replace_if", layout.CHANGED)
        clock.move(UNSETTLED_S)
        await other.hear()
        await announcement.renew()
        assert await other.hear() == [LIB]
        assert store.count("replace_if", layout.CHANGED) == before + 1


async def test_a_write_that_came_later_than_anybody_waits_for_is_announced_after_it(
    replicas: tuple[Replica, Replica], store: WatchedStore, clock: FakeClock
) -> None:
    one, other = replicas
    async with one.changes.changing(LIB):
        clock.move(UNSETTLED_S + 1)
        await other.hear()
    assert await other.hear() == [LIB]


async def test_whether_this_process_hears_is_known(store: WatchedStore, clock: FakeClock) -> None:
    one = Replica(store, clock)
    assert not one.changes.is_heard
    await one.hear()
    assert one.changes.is_heard
    store.down()
    clock.move(60)
    with pytest.raises(StoreError):
        await one.hear()
    assert not one.changes.is_heard
    assert one.changes.silent_s == 60


async def test_what_a_writer_finds_before_it_has_ever_looked_is_heard_all_the_same(store: WatchedStore, clock: FakeClock) -> None:
    """Its first look found nothing, and was followed by an announcement that it read in order to write its own."""
    one, other = Replica(store, clock), Replica(store, clock)
    store.holds = {"info": asyncio.Event()}
    look = asyncio.create_task(one.hear())
    while not store.count("info"):
        await asyncio.sleep(0)
    await other.change(OTHER)
    store.holds["read"] = asyncio.Event()
    store.calls.clear()
    write = asyncio.create_task(one.change(LIB))
    while not store.count("read"):
        await asyncio.sleep(0)
    store.holds["info"].set()
    assert await look == []
    store.holds["read"].set()
    await write
    assert OTHER in await one.hear()


async def test_a_record_that_is_replaced_for_its_damage_may_have_said_anything(store: WatchedStore, clock: FakeClock) -> None:
    one, other = Replica(store, clock), Replica(store, clock)
    await one.hear()
    await other.change(OTHER)
    damaged = iter([True])

    def damage(method: str, path: str) -> None:
        if method == "replace_if" and next(damaged, False):
            raise BlobDamaged(f"{path} is damaged")

    store.before = damage
    await one.change(LIB)
    assert set(EVERYTHING) <= set(await one.hear())


async def test_many_changes_at_once_are_announced_together_and_none_is_lost(
    replicas: tuple[Replica, Replica], store: WatchedStore
) -> None:
    """A build that asks for a hundred private names for the first time claims them all at once."""
    one, other = replicas
    store.calls.clear()
    store.holds["replace_if"] = asyncio.Event()
    first = asyncio.create_task(one.change(LIB))
    while not store.count("replace_if"):
        await asyncio.sleep(0)
    many = [Change(Kind.CLAIM, f"acme-{number}") for number in range(100)]
    later = [asyncio.create_task(one.change(change)) for change in many]
    await asyncio.sleep(0)
    store.holds["replace_if"].set()
    await asyncio.gather(first, *later)
    assert store.count("replace_if", layout.CHANGED) <= 6, "those who came while it was written share one more"
    assert set(await other.hear()) == {LIB, *many}


async def test_an_announcement_goes_on_when_who_asked_for_it_leaves(
    replicas: tuple[Replica, Replica], store: WatchedStore
) -> None:
    one, other = replicas
    store.calls.clear()
    store.holds["replace_if"] = asyncio.Event()
    left = asyncio.create_task(one.change(LIB))
    while not store.count("replace_if"):
        await asyncio.sleep(0)
    left.cancel()
    stays = asyncio.create_task(one.change(OTHER))
    store.holds["replace_if"].set()
    await stays
    assert set(await other.hear()) == {LIB, OTHER}


async def test_watching_outlives_a_store_that_cannot_be_asked(
    replicas: tuple[Replica, Replica], store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "WATCH_INTERVAL_S", 0.01)
    one, other = replicas
    await other.change(LIB)
    store.down()
    async with run_beside(one.changes.watch()):
        await asyncio.sleep(0.05)
        assert one.told == []
        store.up()
        while not one.told:
            await asyncio.sleep(0)


async def test_watching_goes_on_whatever_fails(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    """A process that stopped looking would let in revoked tokens for ever."""
    monkeypatch.setattr(changes_module, "WATCH_INTERVAL_S", 0.0)
    store, looks = WatchedStore(), []

    def fail_once(method: str, path: str) -> None:
        looks.append(path)
        if len(looks) == 1:
            raise RuntimeError("nobody expected this")

    store.before = fail_once
    with caplog.at_level(logging.ERROR):
        async with run_beside(StoreChanges(store, clock).watch()):
            while len(looks) < 3:
                await asyncio.sleep(0)
    assert "nobody expected this" in caplog.text

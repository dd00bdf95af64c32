"""Claims: a name that was private once is private for ever, whatever the store does meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import WatchedStore
from wheelgate.core.errors import StoreError
from wheelgate.core.model import STALE_IF_ERROR_S
from wheelgate.storage import layout
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import UNSETTLED_S, StoreChanges
from wheelgate.storage.claims import Claims


class Replica:
    """One process's claims, and how it hears of others'."""

    def __init__(self, store: WatchedStore, clock: FakeClock) -> None:
        self.changes = StoreChanges(store, clock)
        self.claims = Claims(store, clock, self.changes)


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def replica(store: WatchedStore, clock: FakeClock) -> Replica:
    made = Replica(store, clock)
    await made.changes.look()
    return made


@pytest.fixture
def claims(replica: Replica) -> Claims:
    return replica.claims


async def test_a_claim_says_who_and_since_when_and_outlives_the_process(
    store: WatchedStore, claims: Claims, clock: FakeClock
) -> None:
    assert not await claims.holds("acme-lib")
    assert await claims.get("acme-lib") is None
    await claims.claim("acme-lib", "team")
    assert await claims.holds("acme-lib")
    assert not await claims.holds("acme-lib2")
    later = Replica(store, clock).claims
    assert await later.holds("acme-lib")
    claim = await later.get("acme-lib")
    assert claim is not None
    assert (claim.project, claim.source, claim.since) == ("acme-lib", "team", datetime(2026, 1, 1, tzinfo=UTC))


async def test_the_first_claim_stays(store: WatchedStore, claims: Claims, clock: FakeClock) -> None:
    await claims.claim("acme-lib", "team")
    clock.move(60)
    await claims.claim("acme-lib", "uploads")
    await Replica(store, clock).claims.claim("acme-lib", "another-replica")
    claim = await claims.get("acme-lib")
    assert claim is not None
    assert (claim.source, claim.since) == ("team", datetime(2026, 1, 1, tzinfo=UTC))


async def test_of_two_replicas_that_claim_at_once_both_hold_the_name(store: WatchedStore, clock: FakeClock) -> None:
    one, other = Replica(store, clock).claims, Replica(store, clock).claims
    await asyncio.gather(one.claim("acme-lib", "team"), other.claim("acme-lib", "uploads"))
    assert await one.holds("acme-lib")
    assert await other.holds("acme-lib")
    kept = await one.get("acme-lib")
    assert kept is not None
    assert kept.source in ("team", "uploads")


async def test_a_name_is_looked_up_once_by_its_key_and_remembered(store: WatchedStore, claims: Claims) -> None:
    await claims.claim("acme-lib", "team")
    assert claims.recall("requests") is None
    answers = await asyncio.gather(*(claims.holds("requests") for _ in range(200)))
    assert not any(answers)
    assert store.count("info", layout.claim("requests")) == 1
    assert store.count("list") == 0
    store.calls.clear()
    for _ in range(100):
        assert await claims.holds("acme-lib")
        assert not await claims.holds("requests")
        assert (claims.recall("acme-lib"), claims.recall("requests")) == (True, False)
        await claims.claim("acme-lib", "team")
    assert store.calls == []


async def test_without_the_store_nothing_is_concluded_about_an_unknown_name(store: WatchedStore, claims: Claims) -> None:
    store.down()
    with pytest.raises(StoreError):
        await claims.holds("requests")
    store.up()
    assert not await claims.holds("requests")


async def test_that_a_name_is_not_claimed_is_believed_only_while_others_are_heard(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    assert not await replica.claims.holds("requests")
    clock.move(60)
    assert replica.claims.recall("requests") is None
    await Replica(store, clock).claims.claim("requests", "team")
    assert await replica.claims.holds("requests")


async def test_a_claim_that_was_just_heard_of_stands_in_while_the_store_is_silent(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    """What is announced may be a release, and is looked up; where nobody can look, the name was private a moment ago."""
    await replica.claims.claim("acme-lib", "uploads")
    another = Replica(store, clock)
    async with another.changes.changing(Change(Kind.CLAIM, "acme-lib")):
        pass
    await replica.changes.look()
    assert replica.claims.recall("acme-lib") is None
    store.down()
    assert await replica.claims.holds("acme-lib")
    await replica.claims.claim("acme-lib", "uploads", listed=True)
    assert replica.claims.unrecorded == 1, "and is looked at again"
    with pytest.raises(StoreError):
        await replica.claims.claim("acme-lib2", "uploads", listed=True)
    store.up()
    await replica.claims.claim("acme-lib", "uploads", listed=True)
    assert replica.claims.unrecorded == 1, "the other one"
    await another.claims.release("acme-lib", "a mistake")
    await replica.changes.look()
    assert not await Replica(store, clock).claims.holds("acme-lib")


async def test_what_was_known_stands_in_for_a_day_while_the_store_is_silent(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    assert not await replica.claims.holds("requests")
    await replica.claims.claim("acme-lib", "team")
    store.down()
    clock.move(STALE_IF_ERROR_S - 60)
    assert not await replica.claims.holds("requests")
    assert await replica.claims.holds("acme-lib")
    clock.move(61)
    with pytest.raises(StoreError):
        await replica.claims.holds("requests")
    assert await replica.claims.holds("acme-lib"), "private for ever"


@pytest.mark.parametrize("method", ["put_if_absent", "info", "replace_if"])
async def test_a_listed_name_that_cannot_be_recorded_is_private_all_the_same_and_recorded_later(
    store: WatchedStore, replica: Replica, clock: FakeClock, method: str
) -> None:
    claims = replica.claims
    store.fails = lambda called, path: called == method
    with pytest.raises(StoreError):
        await claims.claim("acme-lib", "team", listed=True)
    assert claims.unrecorded == 1
    assert await claims.holds("acme-lib")
    store.up()
    await replica.changes.look()
    await claims._recording.wait("record")
    assert await claims.holds("acme-lib")
    await claims.claim("acme-lib", "team", listed=True)
    assert claims.unrecorded == 0
    assert await Replica(store, clock).claims.holds("acme-lib")
    assert store.written[-3:-1] == [layout.CHANGED, layout.claim("acme-lib")], "the other replicas are told before it is there"


async def test_a_name_that_nobody_lists_yet_is_private_only_if_that_was_recorded(store: WatchedStore, claims: Claims) -> None:
    """An upload that was refused for it leaves nothing behind."""
    store.fails = lambda method, path: method == "put_if_absent"
    with pytest.raises(StoreError):
        await claims.claim("acme-lib", "uploads")
    assert not await claims.holds("acme-lib")


async def test_a_claim_whose_answer_was_lost_is_found(store: WatchedStore, claims: Claims) -> None:
    assert not await claims.holds("acme-lib")
    store.loses_answer = lambda method, path: method == "put_if_absent"
    with pytest.raises(StoreError):
        await claims.claim("acme-lib", "uploads")
    assert await claims.holds("acme-lib")


async def test_an_answer_older_than_the_change_it_was_forgotten_for_is_not_kept(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    store.holds["info"] = asyncio.Event()
    question = asyncio.create_task(replica.claims.holds("acme-lib"))
    await asyncio.sleep(0.01)
    assert store.count("info", layout.claim("acme-lib")) == 1  # looked up, and on its way to us
    await Replica(WatchedStore(store.inner), clock).claims.claim("acme-lib", "another-replica")
    hearing = asyncio.create_task(replica.changes.look())
    await asyncio.sleep(0.01)
    store.holds.pop("info").set()
    await asyncio.gather(question, hearing)
    assert await replica.claims.holds("acme-lib")


async def test_another_replica_learns_of_a_claim_from_the_announcement(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    other = Replica(store, clock)
    await other.changes.look()
    assert not await other.claims.holds("acme-lib")
    await replica.claims.claim("acme-lib", "team")
    store.calls.clear()
    assert await replica.claims.holds("acme-lib")
    assert store.calls == [], "who made the claim need not read it again"
    await other.changes.look()
    assert await other.claims.holds("acme-lib")


async def test_a_claim_made_between_announcement_and_look_up_is_found_all_the_same(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    other = Replica(store, clock)
    await other.changes.look()
    store.holds["put_if_absent"] = asyncio.Event()
    store.fails = lambda method, path: method == "put_if_absent"
    with pytest.raises(StoreError):
        await replica.claims.claim("acme-lib", "team")  # announced
    await other.changes.look()
    assert not await other.claims.holds("acme-lib")
    store.up()
    await store.inner.put_if_absent(layout.claim("acme-lib"), b"{}", {})  # and on its way all the time
    await other.changes.look()
    assert await other.claims.holds("acme-lib")
    clock.move(UNSETTLED_S + 1)
    await other.changes.look()
    assert await other.claims.holds("acme-lib")


@pytest.mark.parametrize(
    "body", [b"", b"\xff{", b"{}", b"[1]", b'{"project":"other","source":"x","since":"2026-01-01T00:00:00Z"}']
)
async def test_a_damaged_record_keeps_its_name_private_and_can_be_released(
    store: WatchedStore, claims: Claims, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    await claims.claim("acme-other", "team")
    await store.put_if_absent(layout.claim("acme-lib"), body, {})
    assert await claims.holds("acme-lib")
    claim = await claims.get("acme-lib")
    assert claim is not None
    assert claim.source == "unknown (its record is damaged)"
    assert "claims/acme-lib is damaged; the name stays private" in caplog.text
    assert await claims.release("acme-lib", "it was a mistake")
    assert not await claims.holds("acme-lib")
    assert await claims.holds("acme-other")


async def test_every_claimed_name_is_listed_as_it_is_claimed_and_released(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    other = Replica(store, clock)
    await other.changes.look()
    await other.claims.claim("acme-a", "team")
    await store.put_if_absent("claims/No Name", b"", {})
    await replica.changes.look()
    assert await replica.claims.names() == {"acme-a"}
    await replica.claims.claim("acme-b", "team")
    assert await replica.claims.names() == {"acme-a", "acme-b"}
    await other.claims.claim("acme-c", "team")
    await other.claims.release("acme-a", "given up")
    await replica.changes.look()
    assert await replica.claims.names() == {"acme-b", "acme-c"}
    store.fails = lambda method, path: method == "put_if_absent"
    with pytest.raises(StoreError):
        await replica.claims.claim("acme-d", "team", listed=True)
    replica.claims._forget(None)
    assert await replica.claims.names() == {"acme-b", "acme-c", "acme-d"}, "private here, also while it cannot be recorded"
    assert store.count("list_folder") == 2
    for each in (replica, other):
        await each.claims.close()


async def test_what_could_not_be_recorded_is_recorded_once_the_store_is_back(
    store: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    """Nobody asks for the names again, and a restart would forget that they are private."""
    store.fails = lambda method, path: method in ("put_if_absent", "replace_if")
    for number in range(120):
        with pytest.raises(StoreError):
            await replica.claims.claim(f"acme-{number}", "team", listed=True)
    store.calls.clear()
    await replica.changes.look()
    await replica.claims._recording.wait("record")
    assert store.count("replace_if") == 1, "one that fails ends it until the next look"
    store.up()
    for _ in range(3):
        before = replica.claims.unrecorded
        await replica.changes.look()
        await replica.claims._recording.wait("record")
        assert before - replica.claims.unrecorded <= 50
    assert replica.claims.unrecorded == 0
    assert await Replica(store, clock).claims.holds("acme-119")
    store.calls.clear()
    await replica.changes.look()
    assert [method for method, _ in store.calls] == ["info"]
    await replica.claims.close()


async def test_what_was_released_meanwhile_is_not_recorded_again(store: WatchedStore, replica: Replica) -> None:
    await replica.claims.claim("acme-b", "team")
    store.fails = lambda method, path: method == "info" and path.startswith("claims/")
    replica.claims._forget(None)
    for name in ("acme-a", "acme-b"):
        with pytest.raises(StoreError):
            await replica.claims.claim(name, "team", listed=True)
    store.up()
    await replica.changes.look()
    assert await replica.claims.release("acme-b", "given up")
    await replica.claims._recording.wait("record")
    assert [await replica.claims.holds(name) for name in ("acme-a", "acme-b")] == [True, False]
    await replica.claims.close()


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("answer", ["put_if_absent", "info"])
async def test_what_was_released_before_the_answer_came_is_no_longer_recorded(
    store: WatchedStore, replica: Replica, clock: FakeClock, answer: str, listed: bool, elsewhere: bool
) -> None:
    """A late answer says what was true before: whoever believed it would serve a private name that nothing records."""
    if answer == "info":
        await Replica(WatchedStore(store.inner), clock).claims.claim("acme-lib", "team")
        replica.changes.looked.emit(None)
        replica.claims._forget(None)
    else:
        assert not await replica.claims.holds("acme-lib")
    store.holds[answer] = asyncio.Event()
    claiming = asyncio.create_task(replica.claims.claim("acme-lib", "team", listed=listed))
    for _ in range(20):
        await asyncio.sleep(0)
    arrives = store.holds.pop(answer)
    releasing = Replica(WatchedStore(store.inner), clock) if elsewhere else replica
    await releasing.claims.release("acme-lib", "given up")
    await replica.changes.look()
    arrives.set()
    await claiming
    if listed:
        await replica.claims.claim("acme-lib", "team", listed=True)
    recorded = layout.claim("acme-lib") in {info.path async for info in store.inner.list(layout.CLAIMS)}
    assert (await replica.claims.holds("acme-lib"), recorded) == (listed, listed)
    await replica.claims.close()


async def test_all_claims_are_listed_by_name_without_a_look_at_each(
    store: WatchedStore, claims: Claims, clock: FakeClock
) -> None:
    for number in range(120):
        await claims.claim(f"acme-{number:03}", "team")
    await store.put_if_absent("claims/acme-old", b'{"project":"acme-old","source":"feed","since":"2025-01-01T00:00:00Z"}', {})
    await store.put_if_absent("claims/acme-zz", b"{", {})
    await store.put_if_absent("claims/No Name", b"{}", {})
    store.calls.clear()
    listed = [claim async for claim in claims.all()]
    assert [claim.project for claim in listed] == [*(f"acme-{number:03}" for number in range(120)), "acme-old", "acme-zz"]
    assert {claim.source for claim in listed} == {"team", "feed", "unknown (its record is damaged)"}
    assert listed[0].since == datetime(2026, 1, 1, tzinfo=UTC)
    assert [path for method, path in store.calls if method == "read"] == ["claims/acme-old", "claims/acme-zz"]


async def test_claims_that_end_together_are_announced_together(store: WatchedStore, claims: Claims) -> None:
    for name in ("acme-a", "acme-b"):
        await claims.claim(name, "team")
    store.calls.clear()
    assert await claims.release_all(["acme-a", "acme-b", "acme-c"], "passed through") == ["acme-a", "acme-b"]
    assert store.written.count(layout.CHANGED) == 2
    assert [claim async for claim in claims.all()] == []

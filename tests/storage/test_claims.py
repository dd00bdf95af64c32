"""Claims: a name that was private once is private for ever, whatever the store does meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import WatchedStore
from wheelgate.core.errors import StoreError
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def claims(store: WatchedStore, clock: FakeClock) -> Claims:
    return Claims(store, clock)


async def test_a_claim_says_who_and_since_when_and_outlives_the_process(
    store: WatchedStore, claims: Claims, clock: FakeClock
) -> None:
    assert not await claims.holds("acme-lib")
    assert await claims.get("acme-lib") is None
    await claims.claim("acme-lib", "team")
    assert await claims.holds("acme-lib")
    assert not await claims.holds("acme-lib2")
    later = Claims(store, clock)
    assert await later.holds("acme-lib")
    assert await later.names() == {"acme-lib"}
    claim = await later.get("acme-lib")
    assert claim is not None
    assert (claim.project, claim.source, claim.since) == ("acme-lib", "team", datetime(2026, 1, 1, tzinfo=UTC))


async def test_the_first_claim_stays(store: WatchedStore, claims: Claims, clock: FakeClock) -> None:
    await claims.claim("acme-lib", "team")
    clock.move(60)
    await claims.claim("acme-lib", "uploads")
    await Claims(store, clock).claim("acme-lib", "another-replica")
    claim = await claims.get("acme-lib")
    assert claim is not None
    assert (claim.source, claim.since) == ("team", datetime(2026, 1, 1, tzinfo=UTC))


async def test_of_two_replicas_that_claim_at_once_both_hold_the_name(store: WatchedStore, clock: FakeClock) -> None:
    one, other = Claims(store, clock), Claims(store, clock)
    await asyncio.gather(one.claim("acme-lib", "team"), other.claim("acme-lib", "uploads"))
    assert await one.holds("acme-lib")
    assert await other.holds("acme-lib")
    kept = await one.get("acme-lib")
    assert kept is not None
    assert kept.source in ("team", "uploads")


async def test_a_decision_costs_no_round_trip_once_the_names_are_known(store: WatchedStore, claims: Claims) -> None:
    await claims.claim("acme-lib", "team")
    store.calls.clear()
    for _ in range(100):
        assert await claims.holds("acme-lib")
        assert not await claims.holds("requests")
        await claims.claim("acme-lib", "team")
    assert store.calls == []


async def test_however_many_ask_at_once_the_names_are_listed_once(store: WatchedStore, claims: Claims) -> None:
    answers = await asyncio.gather(*(claims.holds(f"name-{number}") for number in range(200)))
    assert not any(answers)
    assert store.count("list") == 1


async def test_without_the_store_nothing_is_concluded(store: WatchedStore, claims: Claims) -> None:
    store.down()
    with pytest.raises(StoreError):
        await claims.holds("requests")
    with pytest.raises(StoreError):
        await claims.names()
    store.up()
    assert not await claims.holds("requests")


@pytest.mark.parametrize("method", ["list", "put_if_absent", "info", "replace_if"])
async def test_a_claim_that_cannot_be_written_holds_all_the_same_and_is_written_later(
    store: WatchedStore, clock: FakeClock, method: str
) -> None:
    claims = Claims(store, clock, StoreChanges(store))
    store.fails = lambda called, path: called == method
    with pytest.raises(StoreError):
        await claims.claim("acme-lib", "team")
    assert await claims.holds("acme-lib")
    claims.forget()
    assert await claims.holds("acme-lib")
    store.up()
    assert "acme-lib" in await claims.names()
    await claims.claim("acme-lib", "team")
    assert await Claims(store, clock).holds("acme-lib")
    assert store.written[-1] == layout.CHANGED, "and the other replicas are told"


async def test_a_listing_older_than_the_change_it_was_forgotten_for_is_not_kept(
    store: WatchedStore, claims: Claims, clock: FakeClock
) -> None:
    store.holds["list"] = asyncio.Event()
    question = asyncio.create_task(claims.holds("acme-lib"))
    await asyncio.sleep(0)
    assert store.count("list") == 1  # listed, and on its way to us
    await Claims(WatchedStore(store.inner), clock).claim("acme-lib", "another-replica")
    claims.forget()  # as its announcement makes us
    store.holds.pop("list").set()
    await question
    assert await claims.holds("acme-lib")


async def test_a_claim_made_while_the_names_are_listed_is_not_lost(store: WatchedStore, claims: Claims) -> None:
    store.holds["list"] = asyncio.Event()
    question = asyncio.create_task(claims.holds("requests"))
    await asyncio.sleep(0)
    claim = asyncio.create_task(claims.claim("acme-lib", "team"))
    await asyncio.sleep(0)
    store.holds.pop("list").set()
    await asyncio.gather(question, claim)
    assert await claims.holds("acme-lib")
    assert await claims.names() == {"acme-lib"}


async def test_a_claim_written_at_the_second_try_while_the_names_are_listed_is_not_lost(
    store: WatchedStore, claims: Claims
) -> None:
    store.fails = lambda method, path: method == "put_if_absent"
    with pytest.raises(StoreError):
        await claims.claim("acme-lib", "team")
    store.up()
    claims.forget()
    store.holds["list"] = asyncio.Event()
    question = asyncio.create_task(claims.holds("requests"))
    await asyncio.sleep(0)
    await claims.claim("acme-lib", "team")
    store.holds.pop("list").set()
    await question
    assert await claims.holds("acme-lib")


async def test_another_replica_learns_of_a_claim_from_the_announcement(store: WatchedStore, clock: FakeClock) -> None:
    here, there = StoreChanges(store), StoreChanges(store)
    claims, others = Claims(store, clock, here), Claims(store, clock, there)
    here.subscribe(claims.forget)
    there.subscribe(others.forget)
    assert not await others.holds("acme-lib")
    await claims.claim("acme-lib", "team")
    store.calls.clear()
    assert await claims.holds("acme-lib")
    assert store.calls == [], "who made the claim need not read it again"
    await there.look()
    assert await others.holds("acme-lib")


async def test_a_damaged_record_is_a_sentence_and_the_name_stays_private(store: WatchedStore, claims: Claims) -> None:
    await store.put_if_absent(layout.claim("acme-lib"), b"\xff{", {})
    assert await claims.holds("acme-lib")
    with pytest.raises(StoreError, match="the claim of acme-lib is damaged"):
        await claims.get("acme-lib")

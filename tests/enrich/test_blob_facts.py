"""Found: what was found out is never lost to a race, and never written for nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.support.stores import WatchedStore
from wheelgate.core.errors import BlobChanged, StoreError
from wheelgate.enrich.blob_facts import BlobFact, BlobFacts
from wheelgate.storage import layout

PATH = layout.record("curated", "acme-lib")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def known(sha256: str, seen: datetime = NOW, etag: str = "e1") -> BlobFact:
    return BlobFact(etag, sha256, seen, "m" + sha256, ">=3.9", f"a/{sha256}")


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def records(store: WatchedStore) -> BlobFacts:
    return BlobFacts(store, "curated")


async def test_what_is_added_is_known_also_to_the_next_process(store: WatchedStore, records: BlobFacts) -> None:
    assert await records.of("acme-lib") == {}
    assert await records.add("acme-lib", {"a": known("1")}) == {"a": known("1")}
    assert await records.add("acme-lib", {"b": known("2")}) == {"a": known("1"), "b": known("2")}
    assert await BlobFacts(store, "curated").of("acme-lib") == {"a": known("1"), "b": known("2")}
    assert await records.of("other") == {}
    assert await BlobFacts(store, "another").of("acme-lib") == {}
    assert (await records.of("acme-lib"))["a"].seen.tzinfo is not None


async def test_nothing_new_is_not_written(store: WatchedStore, records: BlobFacts) -> None:
    await records.add("acme-lib", {"a": known("1")})
    store.calls.clear()
    assert await records.add("acme-lib", {"a": known("1")}) == {"a": known("1")}
    assert await records.add("acme-lib", {}) == {"a": known("1")}
    assert store.written == []


async def test_the_first_time_stays_whoever_comes_later_and_an_earlier_one_wins(records: BlobFacts) -> None:
    await records.add("acme-lib", {"a": known("1")})
    later = await records.add("acme-lib", {"a": known("2", NOW + timedelta(days=1), "e2")})
    assert later["a"] == known("2", NOW, "e2")
    earlier = await records.add("acme-lib", {"a": known("2", NOW - timedelta(days=1), "e2")})
    assert earlier["a"].seen == NOW - timedelta(days=1)


async def test_many_replicas_that_add_at_once_lose_nothing(store: WatchedStore) -> None:
    store.holds["read"] = asyncio.Event()  # all read before any writes
    tasks = [asyncio.create_task(BlobFacts(store, "curated").add("acme-lib", {str(n): known(str(n))})) for n in range(6)]
    await asyncio.sleep(0.01)
    store.holds.pop("read").set()
    await asyncio.gather(*tasks)
    assert await BlobFacts(store, "curated").of("acme-lib") == {str(n): known(str(n)) for n in range(6)}
    assert store.count("replace_if") > 6, "nobody lost, so nothing was tested"


async def test_a_loser_knows_what_the_winner_wrote(store: WatchedStore, records: BlobFacts) -> None:
    theirs = msgspec.json.encode({"b": known("2"), "a": known("9", NOW - timedelta(days=3), "e0")})

    def somebody_is_faster(method: str, path: str) -> None:
        if method == "replace_if":
            store.before = lambda method, path: None
            store.inner._put(path, theirs, {}, NOW)  # type: ignore[attr-defined]

    store.before = somebody_is_faster
    merged = await records.add("acme-lib", {"a": known("1")})
    assert merged == {"a": known("1", NOW - timedelta(days=3)), "b": known("2")}
    assert await records.of("acme-lib") == merged


async def test_one_who_always_loses_says_so(store: WatchedStore, records: BlobFacts) -> None:
    def always(method: str, path: str) -> None:
        if method == "replace_if":
            raise BlobChanged("changed")

    store.before = always
    with pytest.raises(StoreError, match="the record of acme-lib is being written by somebody else all the time"):
        await records.add("acme-lib", {"a": known("1")})
    assert store.count("replace_if") < 20


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": {}}',
        b'{"\xff": 1}',
        b"\xff\xfe\x00",
        b'{"a": {"etag": "e", "sha256": "1", "seen": "yesterday"}}',
        b'{"a": {"etag": "e", "sha256": "1", "seen": "2026-01-01T00:00:00"}}',
    ],
)
async def test_a_damaged_record_is_an_empty_one_and_is_replaced(store: WatchedStore, records: BlobFacts, damage: bytes) -> None:
    await store.replace_if(PATH, damage, None)
    assert await records.of("acme-lib") == {}
    assert await records.add("acme-lib", {"a": known("1")}) == {"a": known("1")}
    assert await BlobFacts(store, "curated").of("acme-lib") == {"a": known("1")}


async def test_a_record_of_an_older_kind_is_still_read(store: WatchedStore, records: BlobFacts) -> None:
    await store.replace_if(PATH, b'{"a": {"etag": "e", "sha256": "1", "seen": "2026-01-01T00:00:00Z"}}', None)
    assert await records.of("acme-lib") == {"a": BlobFact("e", "1", NOW)}


async def test_a_store_that_is_down_is_not_an_empty_record(store: WatchedStore, records: BlobFacts) -> None:
    await records.add("acme-lib", {"a": known("1")})
    store.down()
    with pytest.raises(StoreError):
        await records.of("acme-lib")
    with pytest.raises(StoreError):
        await records.add("acme-lib", {"b": known("2")})
    store.up()
    assert await records.of("acme-lib") == {"a": known("1")}


async def test_a_lost_answer_may_be_asked_for_again(store: WatchedStore, records: BlobFacts) -> None:
    store.loses_answer = lambda method, path: method == "replace_if"
    with pytest.raises(StoreError):
        await records.add("acme-lib", {"a": known("1")})
    assert await records.add("acme-lib", {"a": known("1")}) == {"a": known("1")}
    assert store.count("replace_if") == 1

"""Kept listings: read as they were written or not at all, rewritten where they changed, and never in anybody's way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.sources.test_packed_listing import NOW, big, pack
from tests.support.fake_container import project_of
from tests.support.steps import straight
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.sources.kept_listing import _VERSION, KeptListing, Scan
from wheelgate.storage import layout

URL = "https://acct.blob.core.windows.net/curated"
HEAD = layout.listing_head("box")


def scan(count: int, *, without: int | None = None) -> Scan:
    files = big(count)
    if without is not None:
        del files[without]
    return Scan(pack(files)[0], NOW, 3.5, count, "container-1")


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def kept(store: WatchedStore) -> KeptListing:
    return KeptListing("box", url=URL, store=store)


async def test_what_was_kept_is_read_by_another_process(store: WatchedStore, kept: KeptListing) -> None:
    assert await kept.load() is None
    written = scan(20_000)
    await kept.keep(written)
    read = await KeptListing("box", url=URL, store=store).load()
    assert read is not None
    assert (read.at, read.took_s, read.blobs, read.place) == (NOW, 3.5, 20_000, "container-1")
    assert read.listing.blocks == written.listing.blocks
    assert read.listing.find(project_of(777)) == written.listing.find(project_of(777))
    assert straight(read.listing.names()) == straight(written.listing.names())


async def test_what_is_the_same_is_not_written_again_and_what_nobody_names_is_removed(
    store: WatchedStore, kept: KeptListing
) -> None:
    await kept.keep(scan(40_000))
    parts = {path for path in store.inner.blobs if path != HEAD}  # type: ignore[attr-defined]
    assert len(parts) > 2
    store.calls.clear()
    await kept.keep(scan(40_000, without=20_000))
    assert len(store.written) <= 3
    assert sum(len(body) for body, _ in map(store.inner.blobs.get, store.written)) < 1_000_000  # type: ignore[attr-defined, misc]
    later = scan(40_000, without=10_000)
    later = Scan(later.listing, store.inner.blobs[HEAD][1].created + timedelta(hours=2), 1.0, 1, None)  # type: ignore[attr-defined]
    await kept.keep(later)
    assert len(store.inner.blobs) == len(parts) + 1  # type: ignore[attr-defined]
    assert (await kept.load()) is not None


def _cut(store: MemoryStore, path: str) -> None:
    body, info = store.blobs[path]
    store.blobs[path] = (body[:-1] + bytes([body[-1] ^ 1]), info)


def _spoil_head(store: MemoryStore) -> None:
    _cut(store, HEAD)


def _spoil_part(store: MemoryStore) -> None:
    _cut(store, next(path for path in store.blobs if path != HEAD))


def _lose_part(store: MemoryStore) -> None:
    del store.blobs[next(path for path in store.blobs if path != HEAD)]


def _write_newer(store: MemoryStore) -> None:
    body, info = store.blobs[HEAD]
    store.blobs[HEAD] = (body.replace(b"listing %d " % _VERSION, b"listing %d " % (_VERSION + 1), 1), info)


def _write_older(store: MemoryStore) -> None:
    body, info = store.blobs[HEAD]
    store.blobs[HEAD] = (body.replace(b"listing %d " % _VERSION, b"listing %d " % (_VERSION - 1), 1), info)


def _empty_head(store: MemoryStore) -> None:
    store.blobs[HEAD] = (b"", store.blobs[HEAD][1])


DAMAGES: dict[str, tuple[Callable[[MemoryStore], None], bool]] = {
    # damage, may be written over
    "a head with a flipped bit": (_spoil_head, True),
    "an empty head": (_empty_head, True),
    "a part with a flipped bit": (_spoil_part, True),
    "a part that is missing": (_lose_part, True),
    "a later release's": (_write_newer, False),
    "an earlier release's": (_write_older, True),
}


@pytest.mark.parametrize(("damage", "heals"), DAMAGES.values(), ids=DAMAGES)
async def test_what_is_damaged_is_ignored_said_and_written_anew(
    kept: KeptListing, store: WatchedStore, damage: Callable[[MemoryStore], None], heals: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await kept.keep(scan(20_000))
    assert isinstance(store.inner, MemoryStore)
    damage(store.inner)
    assert await kept.load() is None
    assert "source box is listed anew, since its listing that was kept cannot be used: state/listings/box/" in caplog.text or (
        "the store has no state/listings/box/" in caplog.text
    )
    before = store.inner.blobs[HEAD][0]
    await kept.keep(scan(20_000, without=3))
    assert (store.inner.blobs[HEAD][0] != before) is heals
    assert (await kept.load() is not None) is heals


async def test_a_listing_of_another_container_is_none_of_this_one(store: WatchedStore, kept: KeptListing) -> None:
    await kept.keep(scan(100))
    assert await KeptListing("box", url=URL + "2", store=store).load() is None


AGES: dict[str, tuple[str, float, float, bool]] = {
    # url, seconds after the other began, seconds that it took, takes its place
    "one that began earlier and took long": (URL, -840, 800, False),
    "one that began a moment earlier": (URL, -1, 6, False),
    "one that began later": (URL, 1, 6, True),
    "of another container": (URL + "2", -840, 800, True),
    "after one of a time to come": (URL, -86_400, 6, True),
}


@pytest.mark.parametrize(("url", "after_s", "took_s", "replaces"), AGES.values(), ids=AGES)
async def test_an_older_listing_never_takes_the_place_of_a_newer_one(
    store: WatchedStore, kept: KeptListing, url: str, after_s: float, took_s: float, replaces: bool
) -> None:
    await kept.keep(scan(200))
    before = store.inner.blobs[HEAD]  # type: ignore[attr-defined]
    other = scan(100)
    await KeptListing("box", url=url, store=store).keep(Scan(other.listing, NOW + timedelta(seconds=after_s), took_s, 100, None))
    assert (store.inner.blobs[HEAD] != before) is replaces  # type: ignore[attr-defined]


async def test_of_two_replicas_one_wins_and_nothing_fails(store: WatchedStore, kept: KeptListing) -> None:
    await kept.keep(scan(100))
    other = KeptListing("box", url=URL, store=store.inner)

    async def race() -> None:
        await other.keep(scan(300))

    store.fails = lambda method, path: False
    first = scan(200)
    head, etag = await kept._read_head()
    await race()

    async def old() -> object:
        return head, etag

    kept._read_head = old  # type: ignore[method-assign, assignment]
    await kept.keep(first)
    read = await other.load()
    assert read is not None
    assert read.blobs == 300


async def test_a_store_that_is_away_costs_the_record_alone(
    store: WatchedStore, kept: KeptListing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.down()
    await kept.keep(scan(100))
    assert await kept.load() is None
    assert "the listing of source box was not kept: the store cannot be reached" in caplog.text

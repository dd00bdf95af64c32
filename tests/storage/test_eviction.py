"""The bound of a local cache: what nobody asked for longest goes first, uploads never."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.blob_store_contract import paths
from tests.support.clock import FakeClock
from wheelgate.storage import layout
from wheelgate.storage.eviction import CacheLimit, choose_evicted
from wheelgate.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.prepare()
    return made


class Cache:
    def __init__(self, store: LocalStore, clock: FakeClock, limit_bytes: int) -> None:
        self.store, self.clock = store, clock
        self.limit = CacheLimit(store, limit_bytes=limit_bytes, clock=clock)

    async def add(self, name: str, size: int = 100) -> None:
        self.clock.move(60)
        path = layout.cache_copy("public", "demo", name)
        await self.store.put_if_absent(path, b"x" * size, {"sha256": "0" * 64})
        await self.limit.note_added(path, size)

    async def use(self, name: str) -> None:
        self.clock.move(60)
        await self.limit.note_use(layout.cache_copy("public", "demo", name))

    async def free(self, wanted: int, *, disk_bytes: int) -> bool:
        """Make room on a disk that holds nothing but these copies of 100 bytes."""
        folder = self.store.root / "cache/public/demo"
        return await self.limit.free(lambda: wanted - (disk_bytes - 100 * len(list(folder.glob("*")))), self.store.root)

    async def names(self) -> set[str]:
        return {path.rpartition("/")[2] for path in await paths(self.store, layout.CACHE)}


async def test_the_least_recently_used_go_first(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 500)
    for name in "abcde":
        await cache.add(name)
    assert await cache.names() == set("abcde")
    await cache.use("a")
    before = await store.info(layout.cache_copy("public", "demo", "a"))
    await cache.add("f")
    assert await cache.names() == set("adef")  # down to nine tenths of the bound
    assert await store.info(layout.cache_copy("public", "demo", "a")) == before  # looking at it changed nothing that counts


async def test_what_lay_there_before_counts_and_keeps_its_rank(store: LocalStore, clock: FakeClock) -> None:
    first = Cache(store, clock, 10_000)
    for name in "abc":
        await first.add(name)
    await first.use("a")
    again = Cache(store, clock, 250)  # a restart, with less room
    await again.add("d")
    assert await again.names() == {"a", "d"}


async def test_nothing_but_copies_is_ever_removed(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 100)
    for path in ("packages/demo/demo-1.0.tar.gz", "records/public/demo", "metadata/abc", "claims/demo"):
        await store.put_if_absent(path, b"x" * 1_000, {})
    for name in "abcdef":
        await cache.add(name)
    assert await cache.names() <= {"f"}
    for path in ("packages/demo/demo-1.0.tar.gz", "records/public/demo", "metadata/abc", "claims/demo"):
        await store.info(path)


async def test_a_file_larger_than_the_bound_does_not_stay(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 100)
    await cache.add("huge", 1_000)
    assert await cache.names() == set()
    await cache.add("small", 10)
    assert await cache.names() == {"small"}


async def test_what_is_gone_already_is_no_error(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 100)
    await cache.limit.note_use("cache/public/demo/never")
    await cache.add("a", 10)
    await store.delete(layout.cache_copy("public", "demo", "a"))
    await cache.add("b", 95)
    assert await cache.names() == {"b"}


async def test_as_many_go_as_a_full_disk_needs_and_no_more(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 10_000)
    for name in "abcde":
        await cache.add(name)
    await cache.use("a")
    left = [0]

    async def free(wanted: int) -> None:
        kept = len(await cache.names())
        assert await cache.free(wanted, disk_bytes=500)
        left.append(kept - len(await cache.names()))

    await free(150)
    assert await cache.names() == set("ade"), "the least recently used"
    await free(150)
    assert left == [0, 2, 0], "what somebody else made room for is enough"


async def test_none_goes_where_all_would_not_be_enough(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 10_000)
    for name in "abcde":
        await cache.add(name)
    for wanted in (501, 2**53 - 1):
        assert not await cache.free(wanted, disk_bytes=500)
    assert await cache.names() == set("abcde")
    assert await cache.free(500, disk_bytes=500)


@pytest.mark.parametrize("place", ["/proc", "/nowhere"])
async def test_copies_on_another_disk_stay(store: LocalStore, clock: FakeClock, place: str) -> None:
    cache = Cache(store, clock, 10_000)
    await cache.add("a")
    assert not await cache.limit.free(lambda: 50, Path(place))
    assert await cache.names() == {"a"}


async def test_a_copy_that_is_too_large_takes_no_others_along(store: LocalStore, clock: FakeClock) -> None:
    cache = Cache(store, clock, 500)
    for name in "abcd":
        await cache.add(name)
    await cache.add("huge", 2_000)
    assert await cache.names() == set("abcd")


@given(sizes=st.lists(st.integers(0, 50), max_size=12), wanted=st.integers(-5, 400))
def test_never_more_goes_than_is_needed_and_nothing_in_vain(sizes: list[int], wanted: int) -> None:
    copies = [(used, size, f"{used}") for used, size in enumerate(sizes)]
    chosen = choose_evicted(copies, wanted)
    made = sum(size for _, size, _ in chosen)
    assert chosen == sorted(chosen)
    assert not chosen if wanted <= 0 or sum(sizes) < wanted else made >= wanted
    assert all(made - size < wanted for _, size, _ in chosen), "one that could have stayed"
    same = [copy for copy in copies if copy[1] == 10]
    assert same[: len(choose_evicted(same, wanted))] == choose_evicted(same, wanted), "of equals the least recently used"

"""Write-behind: coalesced, later, bounded, and all of it before the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.support.bounds import AT_ONCE_S
from wheelgate.core.errors import StoreError
from wheelgate.enrich.write_behind import WriteBehind


class Store:
    """Takes items, or not."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.attempts = 0
        self.before: Callable[[str], Awaitable[None]] | None = None

    async def write(self, key: str, item: list[str]) -> None:
        self.attempts += 1
        if self.before is not None:
            await self.before(key)
        if self.error is not None:
            raise self.error
        self.written.append((key, "".join(item)))


@pytest.fixture
def store() -> Store:
    return Store()


def queue(
    store: Store, *, delay_s: float = 0.01, much_bytes: int = 1_000, max_bytes: int = 10_000, closing_s: float = 5
) -> WriteBehind[list[str]]:
    return WriteBehind(
        store.write,
        size_of=lambda item: sum(map(len, item)),
        subject="the news",
        delay_s=delay_s,
        much_bytes=much_bytes,
        max_bytes=max_bytes,
        closing_s=closing_s,
    )


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():
            await asyncio.sleep(0.001)


async def test_items_are_written_later_once_a_key_and_as_they_are_then(store: Store) -> None:
    behind = queue(store)
    item = ["a"]
    for _ in range(5):
        behind.put("one", item)
        behind.put("two", ["x"])
    item.append("b")
    assert store.written == []
    assert (len(behind), behind._waiting.currsize) == (2, 2)
    assert behind.find("one") is item
    assert "one" in behind
    await until(lambda: not len(behind))
    assert sorted(store.written) == [("one", "ab"), ("two", "x")]
    assert behind.find("one") is None
    behind.put("one", ["c"])
    await until(lambda: len(store.written) == 3)
    await behind.close()


async def test_a_burst_is_written_when_it_is_over(store: Store) -> None:
    behind = queue(store, delay_s=0.05)
    for number in range(10):
        behind.put("one", [str(number)])
        await asyncio.sleep(0.01)
    assert store.written == []
    await until(lambda: store.written == [("one", "9")])
    await behind.close()


async def test_a_burst_that_does_not_end_is_written_too(store: Store) -> None:
    behind = queue(store, delay_s=0.01)
    async with asyncio.timeout(5):
        while not store.written:
            behind.put("one", ["a"])
            await asyncio.sleep(0.001)
    await behind.close()


async def test_much_is_written_at_once(store: Store) -> None:
    behind = queue(store, delay_s=60, much_bytes=10)
    behind.put("one", ["a"])
    await asyncio.sleep(0.05)
    assert store.written == []
    behind.put("two", ["b" * 10])
    await until(lambda: len(store.written) == 2)
    await behind.close()


async def test_a_store_that_is_down_is_tried_again_said_once_and_not_asked_all_the_time(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    behind = queue(store, delay_s=0.02, much_bytes=1)
    store.error = StoreError("it is down")
    for number in range(5):
        behind.put(str(number), ["a"])
    await asyncio.sleep(0.2)
    assert 2 <= store.attempts <= 40
    assert len(behind) == 5
    assert caplog.text.count("the news cannot be written: it is down") == 1
    store.error = None
    await until(lambda: not len(behind))
    assert len(store.written) == 5
    store.error = StoreError("it is down")
    behind.put("again", ["a"])
    await until(lambda: caplog.text.count("the news cannot be written: it is down") == 2)
    await behind.close()


async def test_memory_is_bounded_and_the_least_recently_changed_is_lost(store: Store) -> None:
    behind = queue(store, max_bytes=30)
    store.error = StoreError("it is down")
    for number in range(10):
        behind.put(str(number), ["a" * 10])
        await asyncio.sleep(0.002)
    assert behind._waiting.currsize <= 30
    assert behind.find("0") is None
    assert behind.find("9") is not None
    behind.put("huge", ["a" * 100])
    assert behind._waiting.currsize <= 30
    assert behind.find("huge") is not None
    await behind.close()


async def test_what_comes_while_a_key_is_being_written_is_written_after_it(store: Store) -> None:
    behind = queue(store)
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(key: str) -> None:
        begun.set()
        await go.wait()

    store.before = hold
    first = ["a"]
    behind.put("one", first)
    await begun.wait()
    assert behind.find("one") is first, "it is not written yet"
    assert "one" not in behind
    behind.put("one", ["b"])
    store.error = StoreError("it is down")
    go.set()
    await until(lambda: store.attempts >= 2)
    store.error = None
    await until(lambda: not len(behind))
    assert store.written == [("one", "b")], "the older state does not come back"
    await behind.close()


async def test_an_item_that_cannot_be_written_is_dropped_and_the_others_are_not(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    behind = queue(store)

    async def odd(key: str) -> None:
        if key == "odd":
            raise RuntimeError("a word of the library")

    store.before = odd
    for key in ("odd", "one", "two", "three"):
        behind.put(key, ["a"])
    await until(lambda: len(store.written) == 3)
    await behind.close()
    assert "a word of the library" in caplog.text
    assert store.attempts == 4


async def test_closing_writes_what_waits(store: Store) -> None:
    behind = queue(store, delay_s=60)
    behind.put("one", ["a"])
    behind.put("two", ["b"])
    await behind.close()
    assert sorted(store.written) == [("one", "a"), ("two", "b")]


async def test_closing_while_it_writes_loses_nothing(store: Store) -> None:
    behind = queue(store)
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(key: str) -> None:
        begun.set()
        await go.wait()

    store.before = hold
    behind.put("one", ["a"])
    await begun.wait()
    go.set()
    await behind.close()
    assert store.written == [("one", "a")]


async def test_closing_is_not_held_up_by_a_store_that_is_slow(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    behind = queue(store, delay_s=60, closing_s=0.05)

    async def hold(key: str) -> None:
        await asyncio.sleep(60)

    store.before = hold
    behind.put("one", ["a"])
    began = time.monotonic()
    await behind.close()
    assert time.monotonic() - began < AT_ONCE_S
    assert "the news: 1 records were not written before the end" in caplog.text


async def test_who_puts_slowly_waits_while_much_waits_and_nothing_is_lost(store: Store) -> None:
    behind = queue(store, much_bytes=20, max_bytes=60)
    for number in range(50):
        await behind.put_slowly(f"item-{number}", ["0123456789"])
    await behind.close()
    assert len(store.written) == 50


async def test_nobody_waits_for_a_store_that_fails(store: Store) -> None:
    behind = queue(store, much_bytes=20, max_bytes=60)
    store.error = StoreError("down")
    behind.put("first", ["x"])
    await until(lambda: behind._is_failing)
    async with asyncio.timeout(AT_ONCE_S):
        for number in range(50):
            await behind.put_slowly(f"item-{number}", ["0123456789"])

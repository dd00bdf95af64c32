"""Promises of room on a disk: never more than there is, each given back once, and a moment's wait for the others'."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.bounds import AT_ONCE_S
from wheelgate.core.errors import StoreError, StoreFull
from wheelgate.storage.room import MARGIN_BYTES, MAX_FILE_BYTES, STEP_BYTES, Promise, Room

MIB = 1024 * 1024


class Disk:
    """A disk that is written by bodies with promises, and by strangers without."""

    def __init__(self, left: int, wait_s: float = 0.0) -> None:
        self.left = left + MARGIN_BYTES
        self.room = Room(lambda: self.left, lambda: StoreFull("the spool", "/spool"), wait_s)

    def is_within(self) -> bool:
        return self.room.promised_bytes <= self.left - MARGIN_BYTES


class Body:
    """A body on its way onto the disk, as the spool writes it."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.promise, self.size, self.is_open = disk, Promise(disk.room), 0, True

    async def write(self, more: int) -> None:
        await self.promise.cover(self.size + more)
        await asyncio.sleep(0)
        self.disk.left -= more
        self.size += more
        self.promise.note_written(self.size)

    def cut(self) -> None:
        self.disk.left += self.size
        self.size = 0
        self.promise.note_written(0)

    def end(self) -> None:
        if self.is_open:
            self.disk.left += self.size
            self.size, self.is_open = 0, False
        self.promise.give_back()


SIZES = st.integers(0, 60 * MIB)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("obtain"), st.integers(0, 5), st.none() | SIZES),
        st.tuples(st.just("resize"), st.integers(0, 5), SIZES),
        st.tuples(st.just("write"), st.integers(0, 5), st.integers(1, 8 * MIB)),
        st.tuples(st.just("cut"), st.integers(0, 5), st.none()),
        st.tuples(st.just("end"), st.integers(0, 5), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(left=st.integers(0, 200 * MIB), steps=STEPS)
def test_promises_never_exceed_the_disk_and_return_to_nothing(left: int, steps: list[tuple[str, int, int | None]]) -> None:
    async def play() -> None:
        disk = Disk(left)
        bodies = [Body(disk) for _ in range(6)]
        for step, which, size in steps:
            body = bodies[which]
            try:
                match step:
                    case "obtain":
                        await body.promise.obtain(size)
                    case "resize":
                        body.promise.resize(size or 0)
                    case "write" if body.is_open:
                        await body.write(size or 0)
                    case "cut":
                        body.cut()
                    case "end":
                        body.end()
            except StoreFull:
                pass
            assert disk.is_within()
            assert disk.room.promised_bytes >= 0
            assert disk.room.used_bytes == sum(body.size for body in bodies)
        for body in [*bodies, *bodies]:  # a second time, it changes nothing
            body.end()
        assert (disk.room.promised_bytes, disk.room.used_bytes, disk.left) == (0, 0, left + MARGIN_BYTES)

    asyncio.run(play())


@settings(max_examples=60, deadline=None)
@given(
    left=st.integers(20 * MIB, 120 * MIB),
    bodies=st.lists(st.tuples(st.none() | SIZES, st.integers(0, 12), st.booleans()), max_size=12),
)
def test_it_holds_also_where_many_wait_and_some_are_cancelled(left: int, bodies: list[tuple[int | None, int, bool]]) -> None:
    async def fetch(disk: Disk, size: int | None, pieces: int) -> None:
        body = Body(disk)
        try:
            await body.promise.obtain(size)
            for _ in range(pieces):
                await body.write(2 * MIB)
                assert disk.is_within()
            await asyncio.sleep(0)
        except StoreFull:
            pass
        finally:
            body.end()

    async def play() -> None:
        disk = Disk(left, wait_s=0.02)
        tasks = [(asyncio.create_task(fetch(disk, size, pieces)), cancelled) for size, pieces, cancelled in bodies]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task, cancelled in tasks:
            if cancelled:
                task.cancel()
        for outcome in await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        assert (disk.room.promised_bytes, disk.room.used_bytes, disk.left) == (0, 0, left + MARGIN_BYTES)

    asyncio.run(play())


async def test_whoever_finds_no_room_waits_for_what_others_give_back() -> None:
    disk = Disk(100, wait_s=60.0)
    first, second = Body(disk), Body(disk)
    await first.promise.obtain(80)
    waiting = asyncio.create_task(second.promise.obtain(50))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    first.promise.resize(50)
    await asyncio.wait_for(waiting, AT_ONCE_S)
    assert disk.room.promised_bytes == 100


async def test_nobody_waits_for_room_that_cannot_come() -> None:
    disk = Disk(100, wait_s=60.0)
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(StoreFull):
            await Body(disk).promise.obtain(101)


async def test_who_waits_in_vain_waits_a_moment() -> None:
    disk = Disk(100, wait_s=0.05)
    await Body(disk).promise.obtain(80)
    with pytest.raises(StoreFull, match="the spool is full: make room at /spool") as caught:
        await Body(disk).promise.obtain(50)
    assert "/spool" not in caught.value.public
    assert disk.room.promised_bytes == 80


async def test_relief_is_asked_for_before_anybody_waits() -> None:
    disk = Disk(100)

    async def relieve(more_bytes: int) -> None:
        disk.left += more_bytes

    disk.room.relief = relieve
    await Body(disk).promise.obtain(500)
    assert disk.room.promised_bytes == 500


async def test_nothing_gives_way_to_what_no_file_is() -> None:
    disk, asked = Disk(100), []

    async def relieve(more_bytes: int) -> None:
        asked.append(more_bytes)

    disk.room.relief = relieve
    for size in (MAX_FILE_BYTES + 1, 2**53 - 1):
        with pytest.raises(StoreError, match=f"a file of {size} bytes is not taken in"):
            await Body(disk).promise.obtain(size)
    assert not asked
    with pytest.raises(StoreFull):
        await Body(disk).promise.obtain(MAX_FILE_BYTES)
    assert asked == [MAX_FILE_BYTES]


async def test_a_body_may_grow_up_to_the_size_of_the_largest_file() -> None:
    disk = Disk(2 * MAX_FILE_BYTES)
    promise = Promise(disk.room)
    await promise.cover(MAX_FILE_BYTES)
    assert disk.room.promised_bytes == MAX_FILE_BYTES


async def test_a_body_of_unknown_size_gets_an_estimate_that_grows() -> None:
    disk = Disk(3 * STEP_BYTES)
    body = Body(disk)
    await body.promise.obtain(None)
    assert disk.room.promised_bytes == STEP_BYTES
    await body.write(STEP_BYTES)
    await body.write(1)
    assert (disk.room.promised_bytes, disk.room.used_bytes) == (STEP_BYTES, STEP_BYTES + 1)
    body.promise.resize(body.size)
    assert disk.room.promised_bytes == 0

"""Turns that clients share: who is served next, and that none is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextvars import copy_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheelgate.runtime.asker import BACKGROUND, open_context, set_asker
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.fair_slots import FairSlots, NoTurn, Slot
from wheelgate.runtime.singleflight import SingleFlight

LIMIT = 8


def run_as(asker: str, work: Coroutine[None, None, Slot]) -> asyncio.Task[Slot]:
    context = copy_context()
    context.run(set_asker, asker)
    return asyncio.create_task(work, context=context)


def take(slots: FairSlots, asker: str, wait_s: float = 60) -> asyncio.Task[Slot]:
    return run_as(asker, slots.take(Deadline.after(wait_s)))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def served(tasks: list[asyncio.Task[Slot]]) -> int:
    return sum(task.done() for task in tasks)


@pytest.fixture
def slots() -> FairSlots:
    return FairSlots(LIMIT, max_waiting=100)


async def drain(*tasks: asyncio.Task[Slot]) -> None:
    """Give back what is held until everybody was served."""
    while pending := [task for task in tasks if not task.cancelled()]:
        for task in pending:
            if task.done():
                task.result().release()
        tasks = tuple(task for task in pending if not task.done())
        await settle()


async def test_one_client_never_holds_all(slots: FairSlots) -> None:
    many = [take(slots, "a") for _ in range(50)]
    await settle()
    assert served(many) == LIMIT * 3 // 4
    one = take(slots, "b")
    await settle()
    assert one.done()
    await drain(*many, one)
    assert slots.is_idle


async def test_clients_are_served_one_after_the_other_and_each_in_its_order(slots: FairSlots) -> None:
    holders = [take(slots, str(number)) for number in range(LIMIT)]
    await settle()
    waiting = [take(slots, asker) for asker in "aaabbc"]
    await settle()
    order = []
    for holder in holders[:6]:
        holder.result().release()
        await settle()
        order += [number for number, task in enumerate(waiting) if task.done() and number not in order]
    assert order == [0, 3, 5, 1, 4, 2]
    await drain(*holders[6:], *waiting)


async def test_one_name_of_one_client_waits_for_one_turn_and_not_for_thousands(slots: FairSlots) -> None:
    many = [take(slots, "a") for _ in range(90)]
    others = [take(slots, str(number)) for number in range(2)]
    await settle()
    one = take(slots, "b")
    await settle()
    assert not one.done()
    next(task for task in many if task.done()).result().release()
    await settle()
    assert one.done()
    for task in many:
        if not task.done():
            task.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    assert slots.waiting == 0
    del others


async def test_what_nobody_waits_for_holds_half_at_most(slots: FairSlots) -> None:
    behind = [take(slots, BACKGROUND) for _ in range(20)]
    await settle()
    assert served(behind) == LIMIT // 2
    await drain(*behind)


async def test_what_nobody_waits_for_comes_after_all_clients(slots: FairSlots) -> None:
    holders = [take(slots, str(number)) for number in range(LIMIT)]
    await settle()
    behind = take(slots, BACKGROUND)
    await settle()
    client = take(slots, "a")
    await settle()
    holders[0].result().release()
    await settle()
    assert client.done()
    assert not behind.done()
    holders[1].result().release()
    await settle()
    assert behind.done()
    await drain(*holders[2:], client, behind)


async def test_who_waits_too_long_hears_so_and_leaves_the_line(slots: FairSlots) -> None:
    holders = [take(slots, str(number)) for number in range(LIMIT)]
    await settle()
    with pytest.raises(NoTurn):
        await take(slots, "a", 0.02)
    assert slots.waiting == 0
    await drain(*holders)
    assert slots.is_idle


async def test_the_line_is_bounded_and_leaves_room_for_others(slots: FairSlots) -> None:
    many = [take(slots, "a") for _ in range(300)]
    await settle()
    refused = [task for task in many if task.done() and task.exception()]
    assert slots.waiting == 75
    assert len(refused) == 300 - 75 - LIMIT * 3 // 4
    others = [take(slots, str(number)) for number in range(20)]
    await settle()
    assert not any(task.done() and task.exception() for task in others)
    await drain(*(task for task in many if task not in refused), *others)
    assert slots.is_idle


async def test_a_turn_that_comes_as_its_owner_leaves_is_not_lost(slots: FairSlots) -> None:
    holders = [take(slots, str(number)) for number in range(LIMIT)]
    await settle()
    leaving = take(slots, "a")
    await settle()
    holders[0].result().release()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await drain(*holders[1:])
    assert slots.is_idle


async def test_giving_back_twice_gives_back_once(slots: FairSlots) -> None:
    slot = await take(slots, "a")
    slot.release()
    slot.release()
    assert served([take(slots, str(number)) for number in range(LIMIT + 1)]) == 0
    await settle()
    assert slots.waiting == 1


async def test_it_is_the_turn_of_whoever_joins_the_work(slots: FairSlots) -> None:
    """Else a client whose one name is among another's thousands would wait as long as that one."""
    many = [take(slots, "a") for _ in range(40)]
    filler = [take(slots, str(number)) for number in range(2)]
    await settle()
    inner: SingleFlight[Slot] = SingleFlight()
    outer: SingleFlight[Slot] = SingleFlight()

    async def fetch() -> Slot:
        return await inner.run("name", lambda: slots.take(Deadline.after(60)))

    first = run_as("a", outer.run("page", fetch))
    await settle()
    joined = run_as("b", outer.run("page", fetch))
    await settle()
    next(task for task in many if task.done()).result().release()
    await settle()
    assert first.done()
    assert joined.done()
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    assert slots.waiting == 0
    del filler


async def test_a_few_askers_of_one_piece_of_work_are_enough() -> None:
    askers, _ = open_context()
    for number in range(100):
        askers.add(str(number))
    assert len(askers.names) == 8


STEPS = st.one_of(
    st.tuples(st.just("take"), st.sampled_from(["a", "a", "a", "b", "c", BACKGROUND])),
    st.tuples(st.just("release"), st.integers(0, 30)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
)


class Clients:
    """Clients that take, give back and leave, one step at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.slots = FairSlots(limit, max_waiting=1_000)
        self.tasks: list[tuple[str, asyncio.Task[Slot]]] = []

    def step(self, what: str, which: str | int) -> None:
        if what == "take":
            self.tasks.append((str(which), take(self.slots, str(which))))
            return
        able = [entry for entry in self.tasks if entry[1].done() == (what == "release")]
        if able:
            entry = able[int(which) % len(able)]
            self.tasks.remove(entry)
            if what == "release":
                entry[1].result().release()
            else:
                entry[1].cancel()

    def check(self) -> None:
        held_by = Counter(asker for asker, task in self.tasks if task.done())
        free = self.limit - held_by.total()
        waiting = [asker for asker, task in self.tasks if not task.done()]
        assert free >= 0
        assert self.slots.waiting == len(waiting)
        for asker in waiting:
            assert held_by[asker] >= free * (1 if asker == BACKGROUND else 3), "it could have one"

    async def leave(self) -> None:
        for _, task in self.tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.tasks), return_exceptions=True)
        for _, task in self.tasks:
            if not task.cancelled():
                task.result().release()


@settings(deadline=None, max_examples=200)
@given(st.lists(STEPS, max_size=80), st.integers(1, 9))
def test_no_slot_is_lost_and_nobody_waits_beside_a_free_one(steps: list[tuple[str, str | int]], limit: int) -> None:
    async def run() -> None:
        clients = Clients(limit)
        for what, which in steps:
            clients.step(what, which)
            await settle()
            clients.check()
        await clients.leave()
        assert clients.slots.is_idle

    asyncio.run(run())

"""Who may hold how many bytes, who waits for whom, and that everybody's turn comes."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest

from tests.support.bounds import AT_ONCE_S
from wheelgate.runtime.byte_budget import BudgetExhausted, ByteBudget, ByteClaim

SMALL, ROOM = 10, 100


def budget(*, wait_s: float = 5.0, max_waiting: int = 64) -> ByteBudget:
    """One with room for two small claims, and for ten times that in large ones."""
    return ByteBudget(
        small_bytes=SMALL, small_room_bytes=2 * SMALL, large_room_bytes=ROOM, max_waiting=max_waiting, wait_s=wait_s
    )


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def held(shared: ByteBudget, to_bytes: int) -> ByteClaim:
    claim = shared.claim()
    await claim.grow(to_bytes)
    return claim


async def test_who_does_not_fit_waits_until_somebody_lets_go() -> None:
    shared = budget()
    first, second = await held(shared, SMALL), await held(shared, SMALL)
    third = asyncio.create_task(held(shared, SMALL))
    await settle()
    assert not third.done()
    second.release()
    claim = await third
    assert claim.waited_s > 0
    assert shared.used_bytes == 2 * SMALL
    first.release()
    claim.release()
    assert shared.used_bytes == 0


async def test_however_many_large_ones_wait_a_small_one_may_wait_too() -> None:
    shared = budget(max_waiting=2)
    oldest = await held(shared, ROOM)
    large = [asyncio.create_task(held(shared, ROOM)) for _ in range(2)]
    small = [await held(shared, SMALL) for _ in range(2)]
    third = asyncio.create_task(held(shared, SMALL))
    await settle()
    small[0].release()
    claim = await third
    for waiting in large:
        waiting.cancel()
    await asyncio.wait(large)
    for held_by in (oldest, small[1], claim):
        held_by.release()
    assert shared.used_bytes == 0


async def test_the_oldest_grows_beyond_the_room_and_the_others_wait_for_it() -> None:
    shared = budget()
    oldest, other = await held(shared, 60), await held(shared, 40)
    waiting = asyncio.create_task(other.grow(50))
    await oldest.grow(300)
    await settle()
    assert not waiting.done()
    oldest.release()
    await waiting  # it is the oldest now
    await other.grow(500)
    assert shared.used_bytes == 500


async def test_a_small_one_does_not_wait_behind_large_ones() -> None:
    shared = budget()
    claims = [await held(shared, 50), await held(shared, 50)]
    waiting = [asyncio.create_task(held(shared, 30)) for _ in range(20)]
    await settle()
    small = await asyncio.wait_for(held(shared, SMALL), AT_ONCE_S)
    assert not any(task.done() for task in waiting)
    assert small.waited_s < AT_ONCE_S
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert shared.used_bytes == 100 + SMALL
    del claims


async def test_who_holds_least_comes_first() -> None:
    shared = budget()
    oldest, much, little = await held(shared, 20), await held(shared, 60), await held(shared, 20)
    order: list[str] = []

    async def grow(claim: ByteClaim, to_bytes: int, name: str) -> None:
        await claim.grow(to_bytes)
        order.append(name)

    tasks = [asyncio.create_task(grow(much, 70, "much")), asyncio.create_task(grow(little, 30, "little"))]
    await settle()
    oldest.release()
    await asyncio.gather(*tasks)
    assert order == ["much", "little"], "the oldest of all comes before"
    third = asyncio.create_task(grow(await held(shared, 11 - SMALL), 40, "new"))
    tasks = [asyncio.create_task(grow(little, 60, "little again")), third]
    await settle()
    much.release()
    await asyncio.gather(*tasks)


async def test_whoever_waits_too_long_or_finds_too_many_waiting_is_told() -> None:
    shared = budget(wait_s=1.0, max_waiting=1)
    claims = [await held(shared, SMALL), await held(shared, SMALL)]
    late = asyncio.create_task(held(shared, SMALL))
    await settle()
    with pytest.raises(BudgetExhausted):
        await held(shared, SMALL)
    assert not late.done()
    with pytest.raises(BudgetExhausted):
        await late
    claims.pop().release()
    await held(shared, SMALL)


async def test_a_claim_waits_no_longer_in_all_than_it_may() -> None:
    shared = budget(wait_s=0.1)
    first, second, third = await held(shared, SMALL), await held(shared, SMALL - 1), shared.claim()
    asyncio.get_running_loop().call_later(0.08, first.release)
    await third.grow(SMALL - 1)
    await held(shared, 1)
    began = asyncio.get_running_loop().time()
    refused = shared.claim()
    refused.waited_s = 0.08
    with pytest.raises(BudgetExhausted):
        await refused.grow(SMALL)
    assert asyncio.get_running_loop().time() - began < 0.06
    del second


async def test_a_claim_that_nobody_holds_any_more_gives_its_bytes_back() -> None:
    shared = budget()
    first, second = await held(shared, SMALL), await held(shared, SMALL)
    third = asyncio.create_task(held(shared, SMALL))
    await settle()
    del first
    gc.collect()
    await third

    def let_go(held: list[ByteClaim]) -> None:
        held.clear()

    others = [second]
    del second
    await asyncio.to_thread(let_go, others)
    await settle()
    assert shared.used_bytes == SMALL


@pytest.mark.parametrize("seed", range(40))
async def test_everybody_ends_and_the_bound_holds(seed: int) -> None:
    """Any number of claims of any size, some cancelled on the way: all end, at no moment more than the bound is held."""
    chance = random.Random(seed)
    shared, most = budget(), 0
    sizes = [chance.choice((3, 8, 30, 90, 400)) for _ in range(60)]

    async def work(size: int) -> None:
        nonlocal most
        claim = shared.claim()
        try:
            for to_bytes in range(3, size + 3, 3):
                await claim.grow(to_bytes)
                most = max(most, shared.used_bytes)
                await asyncio.sleep(0)
        finally:
            claim.release()

    tasks = [asyncio.create_task(work(size)) for size in sizes]
    for task in chance.sample(tasks, 10):
        await asyncio.sleep(0)
        task.cancel()
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
    assert most <= 2 * SMALL + SMALL + ROOM + max(sizes) + 3
    assert shared.used_bytes == 0

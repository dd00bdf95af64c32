"""Long computations that let others in."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.steps import straight
from wheelgate.runtime.cooperative import SLICE_S, Steps, in_slices


def counting(steps: int, each_s: float = 0.0) -> Steps[int]:
    for _ in range(steps):
        until = time.perf_counter() + each_s
        while time.perf_counter() < until:
            pass
        yield
    return steps


def failing() -> Steps[int]:
    yield
    raise ValueError("half-way")


def test_straight_through_gives_the_result() -> None:
    assert straight(counting(3)) == 3
    assert straight(counting(0)) == 0


async def test_slices_give_the_same_result() -> None:
    assert await in_slices(counting(3)) == 3
    assert await in_slices(counting(0)) == 0


async def test_an_error_comes_through_either_way() -> None:
    with pytest.raises(ValueError, match="half-way"):
        straight(failing())
    with pytest.raises(ValueError, match="half-way"):
        await in_slices(failing())


async def ticks_during(steps: Steps[int]) -> int:
    """How often somebody else had a turn."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    other = asyncio.create_task(tick())
    await asyncio.sleep(0)
    before = ticks
    await in_slices(steps)
    other.cancel()
    return ticks - before


async def test_others_have_their_turn_meanwhile() -> None:
    assert await ticks_during(counting(20, SLICE_S * 1.5)) >= 15


async def test_short_steps_are_not_paused_after_each() -> None:
    assert await ticks_during(counting(200)) < 20


async def test_whoever_waits_may_leave() -> None:
    steps = counting(10_000, SLICE_S)
    waiting = asyncio.create_task(in_slices(steps))
    await asyncio.sleep(SLICE_S * 3)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert next(steps, "left where it was") is None

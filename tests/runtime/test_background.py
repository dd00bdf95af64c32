"""Background tasks: one a key, held until they end, gone when their owner is."""

from __future__ import annotations

import asyncio
import logging

import pytest

from wheelgate.runtime.background import BackgroundTasks, run_beside


async def test_a_key_has_one_task_at_a_time() -> None:
    tasks, runs, go = BackgroundTasks(), [], asyncio.Event()

    async def work() -> None:
        runs.append(1)
        await go.wait()

    first = tasks.start("a", work)
    assert tasks.start("a", work) is first
    assert tasks.start("b", work) is not first
    assert "a" in tasks
    assert len(tasks) == 2
    go.set()
    await first
    await asyncio.sleep(0)
    assert "a" not in tasks
    assert len(runs) == 2
    await tasks.start("a", work)
    assert len(runs) == 3


async def test_closing_cancels_and_waits() -> None:
    tasks, ended = BackgroundTasks(), []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    tasks.start("a", work)
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == [1]
    assert not len(tasks)


async def test_an_error_that_escapes_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    tasks = BackgroundTasks()

    async def work() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR):
        task = tasks.start("a", work)
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert "background work on a failed" in caplog.text
    assert "broken" in caplog.text
    assert "a" not in tasks


async def test_work_beside_a_block_ends_with_it() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    async with run_beside(work()):
        await asyncio.sleep(0)
        assert not seen
    assert seen == ["ended"]


async def test_a_task_that_has_just_ended_is_not_taken_for_one_under_way() -> None:
    tasks, runs = BackgroundTasks(), []

    async def work() -> None:
        runs.append(1)

    task = tasks.start("a", work)
    while not task.done():
        await asyncio.sleep(0)
    again = tasks.start("a", work)
    task.cancel()
    await asyncio.sleep(0)
    await again
    assert len(runs) == 2

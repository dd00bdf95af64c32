"""Background tasks: work that outlives the call that started it, and ends with whoever owns it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from wheelgate.runtime.chain import leave_chain
from wheelgate.runtime.deadline import context_without_deadline

_log = logging.getLogger(__name__)
Work = Coroutine[Any, Any, None]


class BackgroundTasks:
    """The running tasks of one owner, by key. Close it to cancel them.

    A task is held until it ends, since the event loop itself holds tasks weakly. Its errors are its own business; one that it
    lets escape is logged, and harms nobody else. The deadline of the request that started it is not its own.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._tasks

    def start(self, key: Hashable, work: Callable[[], Work]) -> asyncio.Task[None]:
        """The task under way for ``key``, or a new one that runs ``work()``."""
        task = self._tasks.get(key)
        if task is None or task.done():  # and its callback is on the way
            context = context_without_deadline()
            leave_chain(context)
            task = self._tasks[key] = asyncio.create_task(work(), context=context)
            task.add_done_callback(partial(self._forget, key))
        return task

    def _forget(self, key: Hashable, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background work on %s failed", key, exc_info=error)

    async def wait(self, *keys: Hashable, within_s: float | None = None) -> None:
        """Wait until the tasks under way for ``keys`` have ended, or ``within_s`` are over. Who waits may leave: they go on."""
        if tasks := [self._tasks[key] for key in keys if key in self._tasks]:
            await asyncio.wait(tasks, timeout=within_s)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        await cancel_all(self._tasks.values())


async def cancel_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended, whatever with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def run_beside(work: Work) -> AsyncIterator[None]:
    """Run ``work`` beside the block; it is cancelled, and has ended, when the block is left."""
    task = asyncio.create_task(work)
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        await cancel_all([task])


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background work has ended before its time", exc_info=error)

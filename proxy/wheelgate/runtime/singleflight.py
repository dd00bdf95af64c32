"""One piece of work per key at a time, shared by everyone who asks for it meanwhile.

The work is a task of its own, so whoever asked first may leave without harming the others; an error goes to everyone who
waited and is then forgotten, so the next request tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class _Flight(Generic[T]):
    """Outcome and waiters. An Event, not shields on one task: thousands of cancelled shields stall the loop."""

    def __init__(self) -> None:
        self.landed = asyncio.Event()
        self.result: T
        self.error: BaseException | None = None
        self.trace: TracebackType | None = None


class SingleFlight(Generic[T]):
    """Runs at most one call per key at a time. Close it to cancel what is still under way."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    async def run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work()``, from the flight under way for ``key`` or a new one.

        Raises:
            Whatever the work raised. Cancelling one caller cancels neither the work nor the other callers.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            task = asyncio.create_task(_fly(work))
            self._tasks.add(task)
            task.add_done_callback(partial(self._land, key, flight))
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error.with_traceback(flight.trace)  # one object, many raisers: each starts from the work's trace
        return flight.result

    def _land(self, key: Hashable, flight: _Flight[T], task: asyncio.Task[T]) -> None:
        """A callback, not a ``finally`` of the work: a task that is cancelled before its first step never enters it."""
        self._tasks.discard(task)
        del self._flights[key]
        if task.cancelled():
            flight.error = asyncio.CancelledError("the server is stopping")
        elif (error := task.exception()) is not None:  # handed to every waiter, who raise it
            flight.error, flight.trace = error, error.__traceback__
        else:
            flight.result = task.result()
        flight.landed.set()

    async def close(self) -> None:
        """Cancel what is under way and wait until it is gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _fly(work: Callable[[], Awaitable[T]]) -> T:
    return await work()

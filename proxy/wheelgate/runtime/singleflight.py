"""One piece of work per key at a time, shared by everyone who asks for it meanwhile.

The work is a task of its own, so whoever asked first may leave without harming the others; an error goes to everyone who
waited and is then forgotten, so the next request tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from wheelgate.runtime.asker import Askers, get_askers, open_context
from wheelgate.runtime.background import cancel_all

T = TypeVar("T")


class _Flight(Generic[T]):
    """A task and its waiters. An Event, not shields on the task: thousands of cancelled shields stall the loop."""

    def __init__(self, task: asyncio.Task[T], askers: Askers) -> None:
        self.task = task
        self.askers = askers
        self.landed = asyncio.Event()
        self.trace: TracebackType | None = None


class SingleFlight(Generic[T]):
    """Runs at most one call per key at a time. Close it to cancel what is still under way."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work()``, from the flight under way for ``key`` or a new one; or whatever the work raised.

        Cancelling one caller cancels neither the work nor the other callers. Where the work waits in a line, it is the turn of
        each of them.
        """
        flight = self._flights.get(key)
        if flight is None:
            askers, context = open_context()
            flight = self._flights[key] = _Flight(asyncio.create_task(work(), context=context), askers)
            # Not a `finally` of the work: a task that is cancelled before its first step never enters it.
            flight.task.add_done_callback(partial(self._land, key, flight))
        else:
            flight.askers.follow(get_askers())
        await flight.landed.wait()
        if not flight.task.cancelled() and (error := flight.task.exception()) is not None:
            raise error.with_traceback(flight.trace)  # one object, many raisers: each starts from the work's trace
        return flight.task.result()

    def _land(self, key: Hashable, flight: _Flight[T], task: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            flight.trace = error.__traceback__
        flight.landed.set()

    async def close(self) -> None:
        """Cancel what is under way and wait until it is gone."""
        await cancel_all([flight.task for flight in self._flights.values()])

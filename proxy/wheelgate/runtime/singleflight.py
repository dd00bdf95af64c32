"""One piece of work per key at a time, shared by everyone who asks for it meanwhile.

The work is a task of its own, so whoever asked first may leave without harming the others; an error goes to everyone who
waited and is then forgotten, so the next request tries again. The work has the deadline of whoever began it, and comes from the
servers that request came from. What failed for want of that time, or for that way, alone is nobody else's failure: whoever joined
and has more, or came otherwise, asks anew.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from wheelgate.runtime.asker import Askers, get_askers, open_context
from wheelgate.runtime.background import cancel_all
from wheelgate.runtime.chain import RefusedForChain, get_chain
from wheelgate.runtime.deadline import RequestDeadline, get_request_deadline

T = TypeVar("T")
_HURRY_S = 2.5
"""Work with no more time than that left may give up for it: who has to wait for a connection does so 2 s early."""
_MORE_S = 1.0
"""Whoever has so much more time than the work had asks anew."""


class _Flight(Generic[T]):
    """A task and its waiters. An Event, not shields on the task: thousands of cancelled shields stall the loop."""

    def __init__(self, task: asyncio.Task[T], askers: Askers) -> None:
        self.task = task
        self.askers = askers
        self.landed = asyncio.Event()
        self.trace: TracebackType | None = None
        self.deadline = get_request_deadline()
        self.chain = get_chain()
        self.latest_s = math.inf
        """The moment until which it had time, as it was when it failed."""

    def failed_for_its_beginner(self, own: RequestDeadline | None) -> bool:
        """Tell whether it failed for its way, or when its time was nearly up, and the request that is at work has another."""
        if self.task.cancelled() or (error := self.task.exception()) is None:
            return False
        if isinstance(error, RefusedForChain) and self.chain != get_chain():
            return True
        if own is self.deadline:
            return False
        now_s, own_latest_s = asyncio.get_running_loop().time(), math.inf if own is None else own.latest_s
        return self.latest_s - now_s <= _HURRY_S and own_latest_s - max(self.latest_s, now_s) >= _MORE_S


class SingleFlight(Generic[T]):
    """Runs at most one call per key at a time. Close it to cancel what is still under way."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work()``, from the flight under way for ``key`` or a new one; or whatever the work raised.

        Cancelling one caller cancels neither the work nor the other callers. Where the work waits in a line, it is the turn of
        each of them.
        """
        own = get_request_deadline()
        while (flight := await self._join(key, work, own)).failed_for_its_beginner(own):
            pass
        if not flight.task.cancelled() and (error := flight.task.exception()) is not None:
            raise error.with_traceback(flight.trace)  # one object, many raisers: each starts from the work's trace
        return flight.task.result()

    async def _join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]], own: RequestDeadline | None) -> _Flight[T]:
        """Wait for the flight under way for ``key``, or a new one."""
        flight = self._flights.get(key)
        if flight is None:
            askers, context = open_context()
            flight = self._flights[key] = _Flight(asyncio.create_task(work(), context=context), askers)
            # Not a `finally` of the work: a task that is cancelled before its first step never enters it.
            flight.task.add_done_callback(partial(self._land, key, flight))
        else:
            flight.askers.follow(get_askers())
        try:
            await flight.landed.wait()
        except asyncio.CancelledError:
            if own is not None and flight.deadline is not None:  # for the sentence, if it was its time that was up
                own.asked = own.asked or flight.deadline.asked
            raise
        return flight

    def _land(self, key: Hashable, flight: _Flight[T], task: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            flight.trace = error.__traceback__
            flight.latest_s = math.inf if flight.deadline is None else flight.deadline.latest_s
        flight.landed.set()

    async def close(self) -> None:
        """Cancel what is under way and wait until it is gone."""
        await cancel_all([flight.task for flight in self._flights.values()])

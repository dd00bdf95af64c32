"""An event loop under virtual time: it never waits, and runs the same way for the same seed."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, TypeVar, cast

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_CALLS = 1_000_000


class Stuck(BaseException):
    """Nothing can ever happen any more (a deadlock), or the same happens for ever (a livelock)."""


class _Call(list[Any]):
    """A callback, its arguments and its context; nothing of it is left once it was cancelled. Stands in for asyncio's handles.

    A list is made in a third of the time that an object with attributes takes, and there are thousands in each world.
    """

    def cancel(self) -> None:
        self[0] = None

    def cancelled(self) -> bool:
        return self[0] is None


_NEVER_CALLED_OFF = _Call((None, (), None))


class VirtualLoop(asyncio.AbstractEventLoop):
    """A loop of callbacks and moments, and nothing else: no sockets, no signals, and threads are calls.

    asyncio's own loop asks its selector between any two turns, and takes 2 to 3 times as long for the same work.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._ready: deque[Any] = deque()
        self._timers: list[tuple[float, int, _Call | asyncio.Future[None]]] = []
        self._number = 0

    def time(self) -> float:
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Call:
        if context is not None:  # futures and tasks, which never call one off
            self._ready.append((callback, args, context))
            return _NEVER_CALLED_OFF
        call = _Call((callback, args, copy_context()))
        self._ready.append(call)
        return call

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Call:
        call = _Call((callback, args, context or copy_context()))
        self._number += 1
        heappush(self._timers, (when, self._number, call))
        return call

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Call:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def pause(self, delay_s: float) -> asyncio.Future[None]:
        """A cheaper :func:`asyncio.sleep`."""
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        self._number += 1
        heappush(self._timers, (self.now_s + delay_s, self._number, future))
        return future

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:  # type: ignore[override]
        return asyncio.Task(coro, loop=self, context=context, name=name or "a task")

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Let tasks that died with their replica rest."""

    def run_until_complete(self, future: Any) -> Any:
        """The result of a coroutine.

        Raises:
            Stuck: it cannot end.
        """
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            task = asyncio.Task(future, loop=self)
            self._run_until_done(task)
            return task.result()
        finally:
            events._set_running_loop(before)

    def _run_until_done(self, task: asyncio.Task[Any]) -> None:
        ready, take, is_done, calls = self._ready, self._ready.popleft, task.done, 0
        while not is_done():
            if not ready:
                self._wait()
                continue
            calls += 1
            if calls > _MOST_CALLS:
                raise Stuck(f"still busy after {_MOST_CALLS} calls")
            callback, args, context = take()
            if callback is not None:
                context.run(callback, *args)

    def _wait(self) -> None:
        """Let the time pass until something is due."""
        timers = self._timers
        if not timers:
            raise Stuck("every task waits, and nothing is scheduled")
        self.now_s = now_s = max(self.now_s, timers[0][0])
        while timers and timers[0][0] <= now_s:
            due = heappop(timers)[2]
            if type(due) is _Call:
                self._ready.append(due)
            elif not due.done():  # type: ignore[union-attr]
                due.set_result(None)  # type: ignore[union-attr]


def get_loop() -> VirtualLoop:
    """The loop that runs now."""
    loop = events._get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def pause(delay_s: float) -> asyncio.Future[None]:
    """Wait for so many virtual seconds."""
    return get_loop().pause(delay_s)


def get_now_s() -> float:
    """The virtual moment."""
    return get_loop().now_s


class VirtualClock:
    """The clock of one replica: the loop's time, and a wall clock that may be wrong by so many seconds."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self._loop = get_loop()
        self._now = EPOCH + timedelta(seconds=skew_s)

    def monotonic(self) -> float:
        return self._loop.now_s

    def now(self) -> datetime:
        return self._now + timedelta(seconds=self._loop.now_s)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, run to its end without waiting for anything. Whatever else still runs then is left as it is.

    Raises:
        Stuck: it cannot end.
    """
    return cast(T, VirtualLoop().run_until_complete(work))

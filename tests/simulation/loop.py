"""An event loop under virtual time: it never waits, and runs the same way for the same seed."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


_MOST_TURNS = 300_000


class Stuck(BaseException):
    """Nothing can ever happen any more (a deadlock), or the same happens for ever (a livelock)."""


class _NoWaiting(selectors.SelectSelector):
    """A selector on which nothing ever happens; waiting on it moves the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        self._turns += 1
        if timeout is None:
            raise Stuck("every task waits, and nothing is scheduled")
        if self._turns > _MOST_TURNS:
            raise Stuck(f"still busy after {_MOST_TURNS} turns of the loop")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop; only its clock and its waiting are ours, and threads are calls."""

    def __init__(self) -> None:
        self._virtual = _NoWaiting()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class VirtualClock:
    """The clock of one replica: the loop's time, and a wall clock that may be wrong by so many seconds."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic() + self.skew_s)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, run to its end without waiting for anything. Whatever else still runs then is left as it is.

    Raises:
        Stuck: it cannot end.
    """
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _loop, _context: None)  # of tasks that died with their replica
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()

"""Deadline: the moment by which an answer is wanted, handed down to everything that is waited for on its way.

A request has one, which a context variable carries: whatever is asked for its sake asks no longer than it has left. It ends with
the first byte of the answer, stands still while the client itself is sending, and begins anew whenever a large body has come a
piece further. Work in the background (:mod:`wheelgate.runtime.background`) has none.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context

import msgspec

REQUEST_S = 10.0
"""From a request to the first byte of its answer: pip gives up after 15 s of silence."""
_GRACE_S = 1.0
"""Whoever is asked says by itself that time is up; this much later the request is cut off whatever it waits for."""
_LOOK_S = 1.0
"""A deadline that stood still is followed again that soon once it moves."""


class Deadline(msgspec.Struct, frozen=True):
    """A moment on the event loop's clock. Real time: the injected clock is for lifetimes, not for latencies."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment so many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    @classmethod
    def within(cls, seconds: float, whom: str = "") -> Deadline:
        """The moment so many seconds from now, or the request's that this task works for, if that is earlier.

        ``whom``: who is asked until then, for the sentence if the answer never comes.
        """
        own, request = cls.after(seconds), _request.get()
        if request is None or request.is_met:
            return own
        request.asked = whom or request.asked
        return cls(min(own.at_s, request.at_s))

    def left_s(self) -> float:
        """Seconds that are left; negative once it is past."""
        return self.at_s - asyncio.get_running_loop().time()

    def limit(self) -> asyncio.Timeout:
        """A context manager that raises ``TimeoutError`` at that moment."""
        return asyncio.timeout_at(self.at_s)

    def earlier(self, seconds: float) -> Deadline:
        """The moment so many seconds before it."""
        return Deadline(self.at_s - seconds)


class TooLate(Exception):
    """A request that was cut off; ``asked``: who was asked last for its sake, if anybody was."""

    def __init__(self, asked: str) -> None:
        super().__init__(asked)
        self.asked = asked


class RequestDeadline:
    """The deadline of a request, which moves."""

    def __init__(self, seconds: float, has_begun: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._has_begun = has_begun
        self.asked = ""
        self.at_s = 0.0
        self.renew()

    @property
    def is_met(self) -> bool:
        """True once the answer has begun."""
        return self._has_begun()

    @property
    def latest_s(self) -> float:
        """The moment, on the event loop's clock, by which an answer is wanted; infinite once it has begun."""
        return math.inf if self.is_met else self.at_s

    def renew(self, more_s: float = 0.0) -> None:
        self.at_s = asyncio.get_running_loop().time() + self._seconds + more_s

    def pause(self) -> None:
        self.at_s = math.inf


_request: ContextVar[RequestDeadline | None] = ContextVar("request_deadline", default=None)


def get_request_deadline() -> RequestDeadline | None:
    """Return the deadline of the request that this task works for; ``None``: it works for none."""
    return _request.get()


def has_time() -> bool:
    """Tell whether this task may go on: nobody's request has to be answered by now for whose sake it works."""
    return (request := _request.get()) is None or request.latest_s > asyncio.get_running_loop().time()


def renew_deadline() -> None:
    """Count the request's time anew: a large body has come a piece further, or has arrived."""
    if (request := _request.get()) is not None:
        request.renew()


def extend_deadline(seconds: float) -> None:
    """Count the request's time anew, and so much longer: a large body goes in one piece to where nobody tells how far it is."""
    if (request := _request.get()) is not None:
        request.renew(seconds)


def pause_deadline() -> None:
    """Let the request's time stand still until it is renewed: the client is sending, and is not the one who waits."""
    if (request := _request.get()) is not None:
        request.pause()


def context_without_deadline() -> Context:
    """Copy this task's context for work that outlives the request."""
    context = copy_context()
    context.run(_request.set, None)
    return context


@asynccontextmanager
async def limiting_request(has_begun: Callable[[], bool], seconds: float = REQUEST_S) -> AsyncIterator[None]:
    """Run the block as the answering of one request. ``has_begun``: tells whether the first byte of the answer has left.

    Raises :class:`TooLate` in the place of a block that lets the deadline pass with nothing answered.
    """
    deadline = RequestDeadline(seconds, has_begun)
    former = _request.set(deadline)
    try:
        async with asyncio.timeout(None) as cut:
            guard = _Guard(deadline, cut)
            try:
                yield
            finally:
                guard.handle.cancel()
    except TimeoutError:
        if cut.expired():
            raise TooLate(deadline.asked) from None
        raise
    finally:
        _request.reset(former)


class _Guard:
    """A timer that follows a deadline, wherever that moves, and cuts off what is late."""

    def __init__(self, deadline: RequestDeadline, cut: asyncio.Timeout) -> None:
        self._deadline = deadline
        self._cut = cut
        self._loop = asyncio.get_running_loop()
        # A timer that was cancelled keeps its context until its time, and the request with it.
        self._context = Context()
        self.handle = self._loop.call_at(deadline.at_s + _GRACE_S, self._look, context=self._context)

    def _look(self) -> None:
        left_s = self._deadline.at_s + _GRACE_S - self._loop.time()
        if left_s > 0:
            self.handle = self._loop.call_later(min(left_s, _LOOK_S), self._look, context=self._context)
        elif not self._deadline.is_met:
            self._cut.reschedule(self._loop.time())

"""Breaker for silence: a service that accepts and says nothing, or cannot be reached, costs its callers seconds once.

It opens when somebody was met with silence and nobody was answered meanwhile; a service that is silent about one thing alone, or
fails quickly, costs the others nothing and is asked by them as before. While it is open callers are told at once, probes ask in
the background, and the first answer closes it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from wheelgate.runtime.background import BackgroundTasks, cancel_all
from wheelgate.runtime.deadline import Deadline

SILENCE_S = 6.0
"""An answer that takes longer counts as silence."""
_PAUSE_S = 0.5
"""A probe that was begun in the silence may never be answered, so that others are begun beside it: the end is noticed soon."""
_PROBE_S = 2.5
"""A service that takes 2 s an answer is slow, not silent."""
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Unanswered(TimeoutError):
    """A service that was not asked: it answers nobody just now."""


class SilenceBreaker:
    """Circuit breaker of one service. Close it to stop probing."""

    def __init__(
        self,
        subject: str,
        *,
        probe: Callable[[], Awaitable[object]],
        unreachable: tuple[type[Exception], ...],
        silence_s: float = SILENCE_S,
        pause_s: float = _PAUSE_S,
        probe_s: float = _PROBE_S,
    ) -> None:
        """A closed breaker.

        Args:
            subject: the service, in the two lines of the log.
            probe: asks for something small; whoever hears an answer calls :meth:`note_answer`, and success is one.
            unreachable: what is raised where there was no connection, or one that broke.
            silence_s: how long a caller waits for an answer.
            pause_s: between the beginnings of two probes.
            probe_s: how long one of them waits.
        """
        self.is_open = False
        self._subject = subject
        self._probe = probe
        self._unreachable = unreachable
        self._silence_s = silence_s
        self._pause_s = pause_s
        self._probe_s = probe_s
        self._answered_s = -math.inf
        self._limits: set[asyncio.Timeout] = set()
        self._tasks = BackgroundTasks()
        self._is_closed = False

    async def close(self) -> None:
        self._is_closed = True
        await self._tasks.close()

    def check(self) -> None:
        """Raise :class:`Unanswered` if nobody is to be kept waiting for the service now."""
        if self.is_open:
            raise Unanswered

    async def ask(self, question: Callable[[], Awaitable[T]], *, within_s: float | None = None, whom: str = "") -> T:
        """The answer to a question, or whatever it raises, as far as the request's deadline lets it ask.

        Args:
            question: asks the service.
            within_s: how long it may take: longer than usual for a large body (``None``: as long as any answer).
            whom: the service, for the client that gets no answer.

        Raises:
            Unanswered: it was not asked.
            TimeoutError: no answer in time, or others were met with silence meanwhile.
        """
        self.check()
        within_s = self._silence_s if within_s is None else within_s
        began_s = asyncio.get_running_loop().time()
        try:
            async with Deadline.within(within_s, whom).limit() as limit:
                if within_s <= self._silence_s:  # a large body may be on its way although nobody else is heard
                    self._limits.add(limit)
                try:
                    answer = await question()
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            if asyncio.get_running_loop().time() - began_s >= within_s:  # else its request was in a hurry
                self._note_silence(began_s)
            raise
        except self._unreachable:
            self._note_silence(began_s)
            raise
        self.note_answer()
        return answer

    def note_answer(self) -> None:
        """The service said something, whatever it was."""
        self._answered_s = asyncio.get_running_loop().time()
        if self.is_open:
            self.is_open = False
            _log.info("%s answers again", self._subject)

    def _note_silence(self, since_s: float) -> None:
        """Open, unless somebody was answered since that moment."""
        if self.is_open or self._answered_s >= since_s:
            return
        self.is_open = True
        # No warning: a command would print it beside its own sentence. What fails for want of the service is one.
        _log.info("%s does not answer: nobody waits for it until it does", self._subject)
        now_s = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now_s)
        if not self._is_closed:
            self._tasks.start("probe", self._probe_until_answered)

    async def _probe_until_answered(self) -> None:
        while self.is_open:  # again where it fell silent anew while probes of before were ending
            probes: set[asyncio.Task[None]] = set()
            try:
                while self.is_open:
                    probes.add(probe := asyncio.create_task(self._probe_once()))
                    probe.add_done_callback(probes.discard)
                    await asyncio.sleep(self._pause_s)
            finally:
                await cancel_all(tuple(probes))

    async def _probe_once(self) -> None:
        try:
            async with asyncio.timeout(self._probe_s):
                await self._probe()
        except Exception as error:  # whatever it is, the next one may be answered
            _log.debug("%s is still silent: %s", self._subject, type(error).__name__)
        else:
            self.note_answer()

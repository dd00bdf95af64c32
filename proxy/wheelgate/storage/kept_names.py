"""Kept names: the names in one place of a store, listed once and then kept up by the key of each change."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from wheelgate.core.errors import StillListing, StoreError
from wheelgate.core.name_table import NameTable
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import Clock
from wheelgate.runtime.background import BackgroundTasks, Work

RELISTED_S = 3600.0
"""Time after which a list that is told of every change is listed once more all the same, beside whoever asks for it."""
_FIRST_S = 8.0
"""Time that a request waits for the first listing: others answer within ten seconds."""
_PATIENCE_S = 1.0
"""Time that a request waits for what is newer than the list of before."""
_MAX_DOUBTFUL = 1_000
_AT_ONCE = 16
_log = logging.getLogger(__name__)


class KeptNames:
    """The names in one place, as of the last change that was told.

    Nothing is listed or looked up before somebody asks for the names, nor once nobody has for an hour. A list that cannot be made
    anew stands in.
    """

    def __init__(
        self,
        title: str,
        *,
        find_all: Callable[[], AsyncIterator[Sequence[str]]],
        holds: Callable[[str], Awaitable[bool]],
        clock: Clock,
        relisted_s: float = RELISTED_S,
        table: NameTable | None = None,
    ) -> None:
        """Names that can be listed, or looked up one by one.

        Args:
            title: what has the names, for sentences.
            find_all: lists them, many at a time; may raise StoreError.
            holds: looks one up; may raise StoreError.
            clock: of the list's age.
            relisted_s: the age from which on the list is made anew.
            table: keeps them, beside what others know of the same names; ``None``: nobody else does.
        """
        self._title = title
        self._find_all = find_all
        self._holds = holds
        self._clock = clock
        self._relisted_s = relisted_s
        self._column = (table or NameTable()).column()
        self._is_listed = False
        self._error: StoreError | None = None
        """Why the list could not be made last time."""
        self._asked_s = -math.inf
        self._fresh_until_s = -math.inf
        self._upheavals = 0
        """How often it was told that anything may have changed."""
        self._listed_after = -1
        """How many of those there had been when the list was begun."""
        self._doubtful: dict[str, None] = {}
        """Names that changed, and are to be looked up."""
        self._settled: set[str] | None = None
        """Those that were looked up since a listing began, which may have seen them as they were before; ``None``: none runs."""
        self._tasks = BackgroundTasks()

    async def close(self) -> None:
        """Stop listing, for good."""
        await self._tasks.close()

    def forget(self, name: str | None = None) -> None:
        """A name may have come or gone; ``None``: any may."""
        if self._clock.monotonic() - self._asked_s > RELISTED_S:
            self._is_listed, self._listed_after = False, -1
            self._column.clear()
            self._doubtful.clear()
            return
        if name is None or len(self._doubtful) >= _MAX_DOUBTFUL:
            self._upheavals += 1
            self._doubtful.clear()
        else:
            self._doubtful[name] = None
            self._tasks.start("settle", self._settle)

    async def get(self) -> PackedNames:
        """The names.

        Raises:
            StoreError: they could not be listed, or not yet.
        """
        self._asked_s = self._clock.monotonic()
        is_first = not self._is_listed
        if self._listed_after != self._upheavals or self._clock.monotonic() >= self._fresh_until_s:
            await self._wait("list", self._list, _FIRST_S if is_first else _PATIENCE_S)
        for _ in range(2):  # what is being looked up, and what was doubtful before this question
            if self._doubtful or "settle" in self._tasks:
                await self._wait("settle", self._settle, _PATIENCE_S)
        if not self._is_listed:
            raise self._error or StillListing(
                f"the names of {self._title} are still being listed: try again",
                wait=lambda: asyncio.wait([self._tasks.start("list", self._list)]),
            )
        return self._column.names

    async def _wait(self, key: str, work: Callable[[], Work], within_s: float) -> None:
        """Wait for a task until it ends, but not long: it goes on."""
        await asyncio.wait([self._tasks.start(key, work)], timeout=within_s)

    async def _list(self) -> None:
        upheavals, settled = self._upheavals, set[str]()
        self._settled = settled
        try:
            await self._column.fill(self._find_all())
        except StoreError as error:
            _log.info("the names of %s cannot be listed: %s", self._title, error)
            self._error = error.with_traceback(None)  # one object, many raisers
            return
        finally:
            self._settled = None
        self._is_listed, self._error, self._listed_after = True, None, upheavals
        self._fresh_until_s = self._clock.monotonic() + self._relisted_s
        self._doubtful.update(dict.fromkeys(settled))

    async def _settle(self) -> None:
        """Look up what has changed by now: what changes meanwhile is for the next time, and so is what cannot be looked up."""
        doubtful = list(self._doubtful)
        for start in range(0, len(doubtful), _AT_ONCE):
            if not self._is_listed:
                return
            batch = [name for name in doubtful[start : start + _AT_ONCE] if name in self._doubtful]
            for name in batch:
                del self._doubtful[name]
            answers = await asyncio.gather(*map(self._holds, batch), return_exceptions=True)
            held = dict(zip(batch, answers, strict=True))
            found, gone = ({name for name, answer in held.items() if answer is side} for side in (True, False))
            if self._is_listed:
                self._column.update(found, gone)
            if self._settled is not None:
                self._settled |= found | gone
            failed = {name: answer for name, answer in held.items() if isinstance(answer, BaseException)}
            self._doubtful.update(dict.fromkeys(failed))
            for error in failed.values():
                if not isinstance(error, StoreError):
                    raise error
            if failed:
                return

"""Write-behind: what changes is written to a store some moments later, coalesced by key, and in nobody's way.

What is put under one key before it is written counts once, in its last state. A burst of changes is written when it is over; when
it has lasted long; or as soon as so much waits that it is better written than held (back-pressure). While the store fails, what
waits is tried again now and then, and its memory stays bounded: the least recently changed is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from cachetools import LRUCache

from wheelgate.core.errors import StoreError
from wheelgate.runtime.background import BackgroundTasks

_BURST = 10
"""A burst is written once it has lasted so many delays; a store that fails is tried again as seldom."""
_AT_ONCE = 2
_BREATH_S = 0.1
"""Much is written after this pause: the answer that brought the change leaves first."""
_log = logging.getLogger(__name__)
T = TypeVar("T")


class WriteBehind(Generic[T]):
    """A queue of items to write, one for each key. Close it to write what is left."""

    def __init__(
        self,
        write: Callable[[str, T], Awaitable[None]],
        *,
        size_of: Callable[[T], int],
        subject: str,
        delay_s: float,
        much_bytes: int,
        max_bytes: int,
        closing_s: float = 5.0,
    ) -> None:
        """An empty queue.

        Args:
            write: writes one item, retrying by itself where another process was faster (compare-and-swap). Raises StoreError
                when the store does not take it now: the item is tried again. After another error it is dropped.
            size_of: an item's size in bytes.
            subject: the items in the log: "<subject> cannot be written: ...", once until the store takes them again.
            delay_s: how long no item may have come before a burst is over; ten times that is long.
            much_bytes: from so much on, nothing waits for the end of a burst.
            max_bytes: the bound of the queue.
            closing_s: how long the end may take.
        """
        self._write = write
        self._subject = subject
        self._delay_s = delay_s
        self._much_bytes = much_bytes
        self._closing_s = closing_s
        self._waiting: LRUCache[str, T] = LRUCache(max_bytes, getsizeof=lambda item: min(size_of(item), max_bytes))
        self._writing: dict[str, T] = {}
        self._has_news = False
        self._is_much = asyncio.Event()
        self._has_room = asyncio.Event()
        """Set while not much waits, and while the store takes nothing anyway."""
        self._has_room.set()
        self._is_failing = False
        self._tasks = BackgroundTasks()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def find(self, key: str) -> T | None:
        """The item under a key that waits, or is being written."""
        item = self._waiting.get(key)
        return self._writing.get(key) if item is None else item

    def put(self, key: str, item: T) -> None:
        """Have an item written, in the state it is in then."""
        self._enqueue(key, item)
        self._has_news = True
        self._tasks.start("writer", self._write_later)

    async def put_slowly(self, key: str, item: T) -> None:
        """Have an item written; where much waits already and the store takes it, wait for that (back-pressure)."""
        self.put(key, item)
        if not self._is_failing:
            await self._has_room.wait()

    def _enqueue(self, key: str, item: T) -> None:
        self._waiting.pop(key, None)  # to be weighed again
        self._waiting[key] = item
        if self._waiting.currsize > self._much_bytes:
            self._is_much.set()
            self._has_room.clear()

    async def close(self) -> None:
        """Write what waits, as far as the store takes it within seconds."""
        await self._tasks.close()
        try:
            async with asyncio.timeout(self._closing_s):
                await self._write_all()
        except TimeoutError:
            _log.warning("%s: %d records were not written before the end", self._subject, len(self._waiting))

    async def _write_later(self) -> None:
        while self._waiting:
            if self._is_failing:
                await asyncio.sleep(self._delay_s * _BURST)
            else:
                await self._wait_out_burst()
            self._is_much.clear()
            await self._write_all()

    async def _wait_out_burst(self) -> None:
        for _ in range(_BURST):
            self._has_news = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._delay_s):
                    await self._is_much.wait()
            if self._is_much.is_set():
                await asyncio.sleep(min(_BREATH_S, self._delay_s))
                return
            if not self._has_news:
                return

    async def _write_all(self) -> None:
        """Write everything that waits, a few at a time, until the store fails."""
        queue = iter(list(self._waiting))

        async def work() -> None:
            for key in queue:
                try:
                    await self._write_one(key)
                except StoreError as error:
                    if not self._is_failing:
                        _log.warning("%s cannot be written: %s", self._subject, error)
                    self._is_failing = True
                    self._has_room.set()
                    return
                except Exception:  # the others must not be lost with it
                    _log.exception("%s: %s cannot be written", self._subject, key)
                else:
                    self._is_failing = False

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def _write_one(self, key: str) -> None:
        item = self._waiting.pop(key, None)
        if self._waiting.currsize <= self._much_bytes:
            self._has_room.set()
        if item is None:
            return
        self._writing[key] = item
        try:
            await self._write(key, item)
        except (StoreError, asyncio.CancelledError):
            if key not in self._waiting:  # else what came under this key meanwhile is newer
                self._enqueue(key, item)
            raise
        finally:
            del self._writing[key]

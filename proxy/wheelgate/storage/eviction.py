"""Eviction of cached files from a local store: beyond a number of bytes the least recently used copies go.

No copy goes in vain, and none where all of them would not be enough: a size that somebody stated must not empty the cache.
Uploads and records are never touched. A container needs none of this: a lifecycle rule of the account does it (README).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from cachetools import LRUCache

from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import Clock
from wheelgate.storage import layout
from wheelgate.storage.local import LocalStore

_SHARE_LEFT = 0.9
"""Of the bound, after an eviction: else every further file would begin another one."""
_MARKED_EVERY_S = 60.0
_log = logging.getLogger(__name__)
_Copy = tuple[int, int, str]


class CacheLimit:
    """Keeps the copies in a folder below a number of bytes. A copy's last use is its file's access time."""

    def __init__(self, store: LocalStore, *, limit_bytes: int, clock: Clock) -> None:
        self._store = store
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._total: int | None = None
        """Bytes of all copies, as far as this process knows; ``None`` before the first look."""
        self._marked: LRUCache[str, float] = LRUCache(4_096)
        self._turn = asyncio.Lock()

    async def note_use(self, path: str) -> None:
        """Note that a copy was asked for, at most once a minute."""
        now_s = self._clock.monotonic()
        if now_s - self._marked.get(path, -_MARKED_EVERY_S) >= _MARKED_EVERY_S:
            self._marked[path] = now_s
            await asyncio.to_thread(self._mark, self._store.root / path)

    def _mark(self, file: Path) -> None:
        try:
            modified = file.stat().st_mtime_ns
            os.utime(file, ns=(int(self._clock.now().timestamp() * 1e9), modified))  # whatever the mount says about access times
        except OSError:
            _log.debug("%s is gone, or not ours to mark", file.name)

    async def note_added(self, path: str, size: int) -> None:
        """Note that a copy came in, and evict others if there are too many bytes now."""
        await self.note_use(path)
        async with self._turn:
            if self._total is not None:
                self._total += size
            if self._total is None or self._total > self._limit_bytes:
                copies = await self._look()
                if self._excess(1.0) > 0:
                    await self._evict(copies, partial(self._excess, _SHARE_LEFT))

    async def free(self, missing: Callable[[], int], folder: Path) -> bool:
        """Evict as many copies as are missing on the disk, or none if those would not be enough; tell whether they were.

        Args:
            missing: bytes that would have to be free besides; not above 0: none.
            folder: on the disk that lacks them. Copies on another one stay.
        """
        async with self._turn:  # whoever had it before may have made room for two
            if missing() > 0 and await asyncio.to_thread(self._shares_disk, folder):
                await self._evict(await self._look(), missing)
            return missing() <= 0

    def _shares_disk(self, folder: Path) -> bool:
        try:
            return folder.stat().st_dev == self._store.root.stat().st_dev
        except OSError:
            return False

    def _excess(self, share: float) -> int:
        """Bytes beyond a share of the bound."""
        return (self._total or 0) - int(self._limit_bytes * share)

    async def _look(self) -> list[_Copy]:
        copies = await asyncio.to_thread(self._list_copies)
        self._total = sum(size for _, size, _ in copies)
        return copies

    async def _evict(self, copies: list[_Copy], missing: Callable[[], int]) -> None:
        gone = 0
        try:
            for _, size, path in choose_evicted(copies, missing()):
                if missing() <= 0:
                    break
                await self._store.delete(path)
                self._total = (self._total or 0) - size
                gone += 1
        except StoreError as error:
            _log.error("cached files could not be evicted: %s", error)
        if gone:
            _log.info("evicted %d least recently used files (store.cache_size = %d)", gone, self._limit_bytes)

    def _list_copies(self) -> list[_Copy]:
        """Time of the last use in nanoseconds, size and path of every copy."""
        found = []
        for folder, _, names in os.walk(self._store.root / layout.CACHE):
            for name in names:
                file = Path(folder, name)
                try:
                    stat = file.stat()
                except FileNotFoundError:  # another process makes room, too
                    continue
                found.append((stat.st_atime_ns, stat.st_size, file.relative_to(self._store.root).as_posix()))
        return found


def choose_evicted(copies: Iterable[_Copy], wanted_bytes: int) -> list[_Copy]:
    """Choose the least recently used copies that have so many bytes, in this order: none in vain, and none if all are too few."""
    chosen, excess_bytes = [], -wanted_bytes
    for copy in sorted(copies):
        if excess_bytes >= 0:
            break
        chosen.append(copy)
        excess_bytes += copy[1]
    if excess_bytes < 0:
        return []
    needed = []
    for copy in reversed(chosen):  # a large one may make room enough without those before it
        if copy[1] <= excess_bytes:
            excess_bytes -= copy[1]
        else:
            needed.append(copy)
    return needed[::-1]

"""Room on the disk of a spool: what is free, less what is promised to bodies on their way.

A promise is made before the first byte is asked for, and grows or shrinks as more is learned of the size. Each body has one,
and gives it back once, however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from wheelgate.core.errors import StoreError, StoreFull
from wheelgate.runtime.deadline import Deadline

STEP_BYTES = 16 * 1024 * 1024
"""Estimate for a body of unknown size: room is promised so much ahead of what has come."""
MARGIN_BYTES = 32 * 1024 * 1024
"""Left to whatever else writes to the disk: records, logs, other processes."""

Relief = Callable[[int], Awaitable[None]]
"""Makes room for so many bytes at the cost of what nobody waits for, no more than it takes; or leaves all where it is."""
MAX_FILE_BYTES = 4 * 1024**3
"""No file is larger: neither an upload nor what an upstream sends without saying where it ends."""


class Room:
    """The room of one process on one disk."""

    def __init__(self, free: Callable[[], int], full: Callable[[], StoreFull], wait_s: float) -> None:
        """Count on a disk.

        Args:
            free: bytes that are free on it now.
            full: the error for whoever finds none.
            wait_s: how long somebody waits for room that others may give back.
        """
        self.promised_bytes = 0
        """Promised to bodies on their way, and not written yet."""
        self.used_bytes = 0
        """Written by them, and not given back yet."""
        self.relief: Relief | None = None
        self._free = free
        self._full = full
        self._wait_s = wait_s
        self._given_back = asyncio.Event()

    def fits(self, more_bytes: int) -> bool:
        """Tell whether so many bytes more can be promised."""
        return self.count_missing(more_bytes) <= 0

    def count_missing(self, more_bytes: int) -> int:
        """Count the bytes that would have to be free besides, for so many more to be promised; not above 0: none."""
        return more_bytes + self.promised_bytes + MARGIN_BYTES - self._free()

    def is_full(self) -> bool:
        """Tell whether nothing could be taken in, even if everybody gave back what is promised."""
        return self._free() < MARGIN_BYTES

    def count(self, promised_bytes: int, used_bytes: int, *, is_room_given: bool = False) -> None:
        """Count a change of what is promised and of what is used."""
        self.promised_bytes += promised_bytes
        self.used_bytes += used_bytes
        if is_room_given:
            self._given_back.set()
            self._given_back = asyncio.Event()

    def check(self, more_bytes: int) -> None:
        """Raise :class:`StoreFull` unless so many bytes more can be promised now."""
        if not self.fits(more_bytes):
            raise self._full()

    async def wait_for(self, more_bytes: int) -> None:
        """Wait a bounded moment until so many bytes more can be promised; :class:`StoreFull` if that does not come."""
        if not self.fits(more_bytes) and self.relief is not None:
            await self.relief(more_bytes)
        deadline = Deadline.after(self._wait_s)
        while not self.fits(more_bytes):
            given_back = self._given_back
            if deadline.left_s() <= 0 or self._free() + self.used_bytes - MARGIN_BYTES < more_bytes:
                raise self._full()  # also at once, where everything that we have there would not be enough
            with suppress(TimeoutError):
                async with deadline.limit():
                    await given_back.wait()


class Promise:
    """Room that is promised to one body, less what was written of it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._covered_bytes = 0
        self._written_bytes = 0
        self._is_over = False

    def resize(self, size: int) -> None:
        """Cover a body of so many bytes, no less and no more; :class:`StoreFull` if there is no such room now."""
        if self._is_over:
            return
        more = max(size, self._written_bytes) - self._covered_bytes
        if more > 0:
            self._room.check(more)
        self._covered_bytes += more
        self._room.count(more, 0, is_room_given=more < 0)

    async def obtain(self, size: int | None) -> None:
        """Cover a body of so many bytes (``None``: unknown, an estimate), waiting a moment for room.

        Raises:
            StoreFull: there is none.
            StoreError: no file is that large, so that nothing makes room for it.
        """
        wanted = STEP_BYTES if size is None else size
        if wanted > MAX_FILE_BYTES:
            raise StoreError(f"a file of {wanted} bytes is not taken in: none may have more than {MAX_FILE_BYTES}")
        if (more := wanted - self._covered_bytes) > 0:
            await self._room.wait_for(more)
            self.resize(wanted)

    async def cover(self, size: int) -> None:
        """Cover so many bytes in all, which are about to be written; beyond what was known, some more ahead."""
        if size > self._covered_bytes:
            await self.obtain(max(size, min(size + STEP_BYTES, MAX_FILE_BYTES)))

    def note_written(self, size: int) -> None:
        """Note that so many bytes are on the disk now; fewer than before, if it was cut."""
        if self._is_over:
            return
        written = size - self._written_bytes
        self._written_bytes = size
        self._room.count(-written, written, is_room_given=written < 0)

    def give_back(self) -> None:
        """Promise nothing any more; what was written is gone, or is not this body's any more."""
        if not self._is_over:
            self._is_over = True
            self._room.count(self._written_bytes - self._covered_bytes, -self._written_bytes, is_room_given=True)

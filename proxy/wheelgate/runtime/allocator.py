"""Allocator of the C library: told not to keep the free memory of very large pages for good."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 4 * 1024 * 1024
"""Free blocks below this are kept: touching what was given back costs 3.4 us a page of 4 kB."""


def limit_free_memory() -> None:
    """Limit what glibc keeps of freed memory; other C libraries are left as they are.

    By itself it raises these limits to the size of whatever was freed, up to 64 MiB, and keeps as much for each thread.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(OSError, AttributeError):  # musl has no such call
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_TRIM_THRESHOLD, _KEPT_BYTES), (_MMAP_THRESHOLD, _KEPT_BYTES), (_ARENA_MAX, 2)):
            mallopt(option, value)


def give_back_free_memory() -> None:
    """Give free memory between blocks that are in use back to the system, where the C library can; some 10 ms for 60 MiB."""
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class FreeMemory:
    """Memory that large work leaves behind in pieces, given back once all such work has been over for a while."""

    def __init__(
        self, *, large_bytes: int = 16 * 1024 * 1024, quiet_s: float = 5.0, give_back: Callable[[], None] = give_back_free_memory
    ) -> None:
        """Give back after work that took ``large_bytes`` together, ``quiet_s`` after its end."""
        self._large_bytes = large_bytes
        self._quiet_s = quiet_s
        self._give_back = give_back
        self._was_large = False
        self._timer: asyncio.TimerHandle | None = None

    def note(self, used_bytes: int) -> None:
        """Hear how much such work holds now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._was_large = self._was_large or used_bytes >= self._large_bytes
        if self._was_large and not used_bytes:
            self._timer = asyncio.get_running_loop().call_later(self._quiet_s, self._begin)

    def _begin(self) -> None:
        self._timer, self._was_large = None, False
        asyncio.get_running_loop().run_in_executor(None, self._give_back)

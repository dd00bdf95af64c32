"""What the C library keeps of memory that is free (glibc; elsewhere nothing happens here).

A page of 15,000 files takes 50 MB for a tenth of a second. glibc keeps such memory for the next one who wants it, apart for each
thread, and for good: after some such pages a process is twice as large as what it holds.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGE_BYTES = 4 * 1024 * 1024
"""Less is kept: memory that was given back takes as long to touch anew as a page takes to be parsed into it."""
_ARENAS = 2


def keep_little() -> None:
    """From now on large blocks go back to the system at once, and threads share what they free. Before there are threads."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Have what is free go back to the system: some milliseconds, in which other threads run."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None

"""Allocator of the C library: told once, at the start of a server, not to keep the free memory of very large pages for good."""

from __future__ import annotations

import sys
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

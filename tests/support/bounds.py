"""Bounds that hold on a machine that others use, too: what a reader of hostile files may take, and how soon is at once."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

MIB = 1024 * 1024
AT_ONCE_S = 5.0
"""What waits for nothing is there by then, however busy the machine; what it must not wait for takes longer, or for ever."""


@contextmanager
def bounded(mib: int, seconds: float) -> Iterator[None]:
    """What happens inside takes no more memory and processor time than that."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < seconds
        assert tracemalloc.get_traced_memory()[1] < mib * MIB
    finally:
        tracemalloc.stop()

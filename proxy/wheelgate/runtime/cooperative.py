"""Long pure computations in slices, so that they never hold the event loop for long.

A computation is written as a generator that yields now and then and returns its result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

SLICE_S = 0.004
"""How long one slice may hold the loop: a fraction of what a waiting request may notice."""


async def in_slices(steps: Steps[T]) -> T:
    """The result, computed in slices of about :data:`SLICE_S` with everyone else served in between."""
    resumed = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if time.perf_counter() - resumed > SLICE_S:
            await asyncio.sleep(0)
            resumed = time.perf_counter()

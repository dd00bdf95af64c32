"""Turns of the event loop: how long the longest one held it, in processor time, so that a busy machine changes nothing."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """The turns since the beginning of a block."""

    longest_s = 0.0
    """Processor time of this thread between two rounds of the loop, at most."""


@asynccontextmanager
async def longest_turn() -> AsyncIterator[Turns]:
    """Measure the turns of the loop while the block runs.

    What the test run holds is kept from the collector from then on, as `serve` does.
    """
    turns = Turns()

    async def watch() -> None:
        while True:
            before_s = time.thread_time()
            await asyncio.sleep(0)
            turns.longest_s = max(turns.longest_s, time.thread_time() - before_s)

    gc.collect()
    gc.freeze()
    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        task.cancel()

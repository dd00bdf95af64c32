"""What a process needs before anybody asks it for anything, and after everybody did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.report import Row
from tests.benchmarks.servers import System, fetched, wheelgate

_QUIET_S = 10
"""What large pages brought is written and packed within seconds of the last."""


def start(folder: Path, origin: str, pairs: int) -> Iterator[Row]:
    """From the command to the first answer, and the memory a second later."""
    took, idle = [], []
    for number in range(pairs):
        began = time.perf_counter()
        with wheelgate(folder, origin, name=f"wheelgate, start {number}") as ours:
            fetched(f"{ours.url}/readyz")
            took.append(time.perf_counter() - began)
            time.sleep(1)
            idle.append(ours.memory_bytes() / 2**20)
    yield Row("start-up, to the first 200", 0.8, took, "s", at_most=True)
    yield Row("memory, idle", 65, idle, "MiB", at_most=True)


def memory_after(ours: System, held: dict[str, float]) -> Row:
    """Of the one process that did all of it, once it is quiet. ``held``: MiB right after each kind of work."""
    time.sleep(_QUIET_S)
    seen = ", ".join(f"{work} {mib:.0f}" for work, mib in held.items())
    now = ours.memory_bytes() / 2**20
    return Row("memory after this load", 120, [now], "MiB", at_most=True, seen=f"right after each kind of it: {seen}")

"""Waiting for what another process does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: Callable[[], bool], wait_s: float = 15) -> None:
    """Return as soon as it is so; fails if it never is."""
    deadline = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)

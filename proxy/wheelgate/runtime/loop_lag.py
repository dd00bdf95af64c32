"""Event loop lag: how much later than asked for the loop comes back, which is how long everybody waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Never

_EVERY_S = 0.25
_REMEMBERED = 60
"""Samples, 15 s of them: the usual time between two visits of Prometheus."""


async def watch_loop_lag(show: Callable[[float], object]) -> Never:
    """Show the longest lag of the last 15 s, in seconds, until cancelled."""
    loop = asyncio.get_running_loop()
    lags: deque[float] = deque(maxlen=_REMEMBERED)
    while True:
        due = loop.time() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        lags.append(max(0.0, loop.time() - due))
        show(max(lags))

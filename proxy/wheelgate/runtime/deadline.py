"""Deadline: the moment by which an answer is wanted, handed down to everything that is waited for on its way."""

from __future__ import annotations

import asyncio

import msgspec


class Deadline(msgspec.Struct, frozen=True):
    """A moment on the event loop's clock. Real time: the injected clock is for lifetimes, not for latencies."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment so many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    def left_s(self) -> float:
        """Seconds that are left; negative once it is past."""
        return self.at_s - asyncio.get_running_loop().time()

    def limit(self) -> asyncio.Timeout:
        """A context manager that raises ``TimeoutError`` at that moment."""
        return asyncio.timeout_at(self.at_s)

    def earlier(self, seconds: float) -> Deadline:
        """The moment so many seconds before it."""
        return Deadline(self.at_s - seconds)

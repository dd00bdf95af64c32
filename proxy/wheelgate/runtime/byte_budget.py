"""Byte budget: memory that work of unknown size shares, so that any number of it at once takes no more than a bound.

Work claims bytes as it grows. What is small has room of its own, so that it never waits behind what is large. Of the large, the
oldest always gets what it asks for, even beyond the room: it ends, so no two that are half done wait for each other, and each is
the oldest at last. Of the others, who holds least comes first. All together hold at most both rooms and what one of them takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

MIB = 1024 * 1024


class BudgetExhausted(Exception):
    """There was no room within the time that a claim may wait, or too many were waiting already."""


class _Share:
    """The part of one claim in a room."""

    def __init__(self) -> None:
        self.held_bytes = 0


class _Waiter:
    """A share that has to wait until it may grow."""

    def __init__(self, share: _Share, more_bytes: int) -> None:
        self.share = share
        self.more_bytes = more_bytes
        self.granted = asyncio.get_running_loop().create_future()


class _Room:
    """Bytes that claims of one size share."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self.used_bytes = 0
        self._shares: dict[_Share, None] = {}
        """The oldest first."""
        self.waiting: list[_Waiter] = []

    def __contains__(self, share: _Share) -> bool:
        return share in self._shares

    def enter(self, share: _Share) -> None:
        """Let a share in, behind those that are here; one that is here keeps its place."""
        self._shares.setdefault(share)

    def leave(self, share: _Share) -> None:
        """Take back everything that a share holds."""
        if share in self._shares:
            del self._shares[share]
            self.change(share, -share.held_bytes)
            self.wake()

    def change(self, share: _Share, by_bytes: int) -> None:
        self.used_bytes += by_bytes
        share.held_bytes += by_bytes

    def wake(self) -> None:
        """Grant what fits now: first to the oldest, then to those who hold least."""
        oldest = next(iter(self._shares), None)
        for waiter in sorted(self.waiting, key=lambda waiter: (waiter.share is not oldest, waiter.share.held_bytes)):
            if waiter.share is not oldest and self.used_bytes + waiter.more_bytes > self._size_bytes:
                return
            self.waiting.remove(waiter)
            if not waiter.granted.done():  # else nobody waits any more
                self.change(waiter.share, waiter.more_bytes)
                waiter.granted.set_result(None)


class ByteBudget:
    """Memory for one kind of work of this process. All in bytes, estimated by whoever claims them."""

    def __init__(
        self,
        *,
        small_bytes: int = 3 * MIB // 2,
        small_room_bytes: int = 32 * MIB,
        large_room_bytes: int = 48 * MIB,
        max_waiting: int = 64,
        wait_s: float = 8.0,
        on_change: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Set the bounds.

        Args:
            small_bytes: a claim up to this is small.
            small_room_bytes: for all the small ones together.
            large_room_bytes: for all the large ones together, but for what the oldest takes beyond.
            max_waiting: so many small claims wait at a time, and so many large ones: what they hold meanwhile is little for each.
            wait_s: so long waits each, all in all.
            on_change: is told how many bytes are claimed.
        """
        self._small_bytes = small_bytes
        self._small, self._large = _Room(small_room_bytes), _Room(large_room_bytes)
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._on_change = on_change

    @property
    def used_bytes(self) -> int:
        """Bytes that are claimed now."""
        return self._small.used_bytes + self._large.used_bytes

    def claim(self) -> ByteClaim:
        """Open a claim of nothing yet."""
        return ByteClaim(self)

    async def grow(self, share: _Share, to_bytes: int, *, waited_s: float) -> None:
        """Grow a share that has waited so long by now; see :meth:`ByteClaim.grow`."""
        if to_bytes > self._small_bytes:
            self._small.leave(share)  # who waits among the large must not fill the room of the small
        room = self._large if to_bytes > self._small_bytes or share in self._large else self._small
        room.enter(share)
        waiter = _Waiter(share, to_bytes - share.held_bytes)
        if waiter.more_bytes > 0:
            room.waiting.append(waiter)
            room.wake()
            if not waiter.granted.done():
                await self._wait(room, waiter, self._wait_s - waited_s)
            self._on_change(self.used_bytes)

    async def _wait(self, room: _Room, waiter: _Waiter, wait_s: float) -> None:
        try:
            if len(room.waiting) > self._max_waiting:
                raise TimeoutError
            async with asyncio.timeout(wait_s):
                await waiter.granted
        except TimeoutError:
            raise BudgetExhausted from None
        finally:
            if waiter in room.waiting:
                room.waiting.remove(waiter)

    def leave(self, share: _Share) -> None:
        """Take back everything that a share holds."""
        self._small.leave(share)
        self._large.leave(share)
        self._on_change(self.used_bytes)


class ByteClaim:
    """Bytes of a budget that somebody holds: until they are released, or nobody refers to the claim any more."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._share = _Share()
        self._loop = asyncio.get_running_loop()
        self.waited_s = 0.0
        """Seconds that it had to wait so far, all in all."""

    async def grow(self, to_bytes: int) -> None:
        """Claim so many bytes in all, waiting for room. Never less than before.

        Raises:
            BudgetExhausted: there was no room in time. What is held stays held.
        """
        began = time.monotonic()  # in real time: what it waits for is real work
        try:
            await self._budget.grow(self._share, to_bytes, waited_s=self.waited_s)
        finally:
            self.waited_s += time.monotonic() - began

    def release(self) -> None:
        """Give everything back. The claim may grow again."""
        self._budget.leave(self._share)

    def __del__(self) -> None:
        if self._share.held_bytes and not self._loop.is_closed():  # by whatever thread lets it go
            self._loop.call_soon_threadsafe(self._budget.leave, self._share)

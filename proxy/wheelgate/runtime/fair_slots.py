"""Fair slots: a bounded number of turns that clients share, so that one with thousands of wishes keeps nobody else waiting.

Wishes of one asker are granted in the order they came, and askers one after the other. An asker may hold at most three times as
many slots as are free (dynamic thresholds, after Choudhury and Hahne): alone, it gets three quarters of all; and whoever comes
next always finds some. What nobody waits for may hold as many as are free, and is served when no client waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict

from wheelgate.runtime.asker import BACKGROUND, get_askers
from wheelgate.runtime.deadline import Deadline

_SHARE = 3


class NoTurn(Exception):
    """There was no slot in time, or too many wait already."""


class Slot:
    """A turn. Giving it back twice does no harm."""

    def __init__(self, slots: FairSlots, asker: str) -> None:
        self._slots: FairSlots | None = slots
        self._asker = asker

    def release(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.take_back(self._asker)


_Turn = asyncio.Future[Slot]


class FairSlots:
    """``limit`` slots, and a line of at most ``max_waiting`` wishes for them."""

    def __init__(self, limit: int, *, max_waiting: int) -> None:
        self._free = limit
        self._max_waiting = max_waiting
        self._held: Counter[str] = Counter()
        self._lines: OrderedDict[str, OrderedDict[_Turn, None]] = OrderedDict()
        """By asker, the one whose turn is next first. No line is empty."""
        self.waiting = 0

    @property
    def is_idle(self) -> bool:
        """True if nobody holds a slot, or waits for one."""
        return not self._held and not self.waiting

    async def take(self, latest: Deadline) -> Slot:
        """Take a slot for the askers of this task, as soon as it is the turn of one of them.

        Raises:
            NoTurn: not until ``latest``; or at once, since as many wait as may, of everybody or of these askers.
        """
        askers = get_askers()
        for name in askers.names:
            if name not in self._lines and self._may_hold_more(name):
                return self._hand_out(name)
        turn: _Turn = asyncio.get_running_loop().create_future()

        def line_up(name: str) -> None:
            line = self._lines.get(name, ())
            if len(line) < _SHARE * (self._max_waiting - self.waiting):
                self._lines.setdefault(name, OrderedDict())[turn] = None
                self.waiting += 1
                self._serve()  # who joins may hold more than those who wait

        askers.listen(line_up)
        try:
            for name in askers.names:
                line_up(name)
            if not turn.done() and not any(turn in self._lines.get(name, ()) for name in askers.names):
                raise NoTurn
            return await _wait_for(turn, latest)
        finally:
            askers.mute(line_up)
            for name in askers.names:
                self._leave(name, turn)

    def _may_hold_more(self, asker: str) -> bool:
        return self._held[asker] < self._free * (1 if asker == BACKGROUND else _SHARE)

    def _hand_out(self, asker: str) -> Slot:
        self._held[asker] += 1
        self._free -= 1
        return Slot(self, asker)

    def take_back(self, asker: str) -> None:
        """Have a slot of this asker back: for :class:`Slot`, which gives it back once."""
        self._free += 1
        self._held[asker] -= 1
        if not self._held[asker]:
            del self._held[asker]
        self._serve()

    def _serve(self) -> None:
        while (asker := self._find_next()) is not None:
            turn, _ = self._lines[asker].popitem(last=False)
            self.waiting -= 1
            self._lines.move_to_end(asker)
            if not self._lines[asker]:
                del self._lines[asker]
            if not turn.done():  # else another of its askers was served, or all have left
                turn.set_result(self._hand_out(asker))

    def _find_next(self) -> str | None:
        """Find whose turn it is. At most a third of the slots' number is passed over: whoever holds nothing never is."""
        if not self._free:
            return None
        clients = (asker for asker in self._lines if asker != BACKGROUND and self._may_hold_more(asker))
        background = BACKGROUND if BACKGROUND in self._lines and self._may_hold_more(BACKGROUND) else None
        return next(clients, background)

    def _leave(self, asker: str, turn: _Turn) -> None:
        line = self._lines.get(asker)
        if line is not None and turn in line:
            del line[turn]
            self.waiting -= 1
            if not line:
                del self._lines[asker]


async def _wait_for(turn: _Turn, latest: Deadline) -> Slot:
    try:
        async with latest.limit():
            return await turn
    except BaseException as error:
        if turn.done() and not turn.cancelled():  # it came in the same moment
            turn.result().release()
        if isinstance(error, TimeoutError):
            raise NoTurn from None
        raise

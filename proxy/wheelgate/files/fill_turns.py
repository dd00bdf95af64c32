"""Turns to fetch files: so many of each source at a time, shared fairly by those who ask."""

from __future__ import annotations

from contextlib import AsyncExitStack

from wheelgate.core.errors import Busy
from wheelgate.core.model import File
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.fair_slots import FairSlots, NoTurn

_MAX_WAITING = 1_024
_BUSY_S = 2.0


class FillTurns:
    """Turns of each source apart, so that one whose files come slowly keeps those of no other waiting."""

    def __init__(self, at_once: int, wait_s: float) -> None:
        """``at_once``: turns of one source. ``wait_s``: how long somebody may wait for one."""
        self._at_once = at_once
        self._wait_s = wait_s
        self._slots: dict[str, FairSlots] = {}

    async def enter(self, stack: AsyncExitStack, file: File) -> None:
        """Take a turn, which ends with the stack. Installers give up on silence, so nobody waits for long.

        Raises:
            Busy: nobody's turn ended in time.
        """
        slots = self._slots.setdefault(file.source, FairSlots(self._at_once, max_waiting=_MAX_WAITING))
        try:
            slot = await slots.take(Deadline.within(self._wait_s))
        except NoTurn:
            sentence = f"too many files are being fetched to fetch {file.filename} now"
            raise Busy(sentence, source=file.source, retry_after_s=_BUSY_S) from None
        stack.callback(slot.release)

"""Packs the files of pages once these were answered with, and gives the memory back that they took while they were made."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from wheelgate.core.file_list import FileList
from wheelgate.runtime.malloc import give_back

_AFTER_S = 0.05
"""Whoever waits for pages does not wait for this: it is done once no other page came for so long,"""
_MANY_FILES = 5_000
"""or for so many files that wait."""
_INLINE_FILES = 500
"""Packing so many takes a millisecond, a thread that is woken and waited for a tenth of one."""
_QUIET_S = 5.0
"""Memory that was given back costs as much to touch anew as parsing what goes there."""
_log = logging.getLogger(__name__)


class Packing:
    """One list after the other. Close it to stop."""

    def __init__(self) -> None:
        self._waiting: deque[FileList] = deque()
        self._task: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._quiet: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Stop; what is not packed stays as it is."""
        for timer in (self._soon, self._quiet):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def later(self, files: FileList) -> None:
        """Pack the list and those it was made of, soon."""
        self._waiting += files.list_unpacked()
        if not self._waiting or (self._task is not None and not self._task.done()):
            return
        if self._soon is not None:
            if sum(map(len, self._waiting)) >= _MANY_FILES:
                return  # it comes soon enough
            self._soon.cancel()
        self._soon = asyncio.get_running_loop().call_later(_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._soon = None
        self._task = asyncio.get_running_loop().create_task(self._pack())

    async def _pack(self) -> None:
        while self._waiting:
            files = self._waiting.popleft()
            try:
                await self._pack_one(files)
            except Exception:  # a path that is no text, say: it stays as it is, and the others do not wait for it for ever
                _log.debug("the files of a page cannot be packed", exc_info=True)

    async def _pack_one(self, files: FileList) -> None:
        if len(files) <= _INLINE_FILES:
            files.pack()
            await asyncio.sleep(0)
        else:
            await asyncio.to_thread(files.pack)
            self._give_back_when_quiet()

    def _give_back_when_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = loop.call_later(_QUIET_S, loop.run_in_executor, None, give_back)

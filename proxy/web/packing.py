"""Packs the files of pages once these were answered with, and gives the memory back that they took while they were made."""

from __future__ import annotations

import asyncio
from collections import deque

from proxy.allocator import give_back
from proxy.file_lists import FileList

_AFTER_S = 0.05
"""Whoever waits for the page does not wait for this."""
_INLINE_FILES = 500
"""Packing so many takes a millisecond, a thread that is woken and waited for a tenth of one."""
_QUIET_S = 1.0


class Packing:
    """One list after the other. Close it to stop."""

    def __init__(self) -> None:
        self._waiting: deque[FileList] = deque()
        self._task: asyncio.Task[None] | None = None
        self._quiet: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Stop; what is not packed stays as it is."""
        if self._quiet is not None:
            self._quiet.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def later(self, files: FileList) -> None:
        """Pack the list and those it was made of, soon."""
        self._waiting += files.unpacked()
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._pack())

    async def _pack(self) -> None:
        while self._waiting:
            await asyncio.sleep(_AFTER_S)
            while self._waiting:
                files = self._waiting.popleft()
                if len(files) <= _INLINE_FILES:
                    files.pack()
                else:
                    await asyncio.to_thread(files.pack)
                    self._give_back_when_quiet()

    def _give_back_when_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = loop.call_later(_QUIET_S, loop.run_in_executor, None, give_back)

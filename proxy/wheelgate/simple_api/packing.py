"""Packer: packs the files of pages once they have been answered with, and at the latest a moment after they came."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import deque

from wheelgate.core.file_list import FileList
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import in_slices

_log = logging.getLogger(__name__)


class Packer:
    """Packs lists in the order in which they came, one at a time, each not before ``delay_s`` seconds. Close it when done.

    It keeps none of them alive: of what nobody holds, nothing has to be packed.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, weakref.ref[FileList]]] = deque()
        self._seen: weakref.WeakSet[FileList] = weakref.WeakSet()
        self._task = BackgroundTasks()

    async def close(self) -> None:
        """Leave the rest as it is."""
        await self._task.close()

    def pack_soon(self, files: FileList) -> None:
        """Pack a list and those it was made of, once."""
        if files not in self._seen:
            self._seen.add(files)
            self._waiting.append((time.monotonic() + self._delay_s, weakref.ref(files)))
            self._task.start("packing", self._pack_all)

    async def _pack_all(self) -> None:
        while self._waiting:
            due_s, waiting = self._waiting.popleft()
            await asyncio.sleep(due_s - time.monotonic())
            if (files := waiting()) is not None:
                await _pack(files)
            del files


async def _pack(files: FileList) -> None:
    for unpacked in files.list_unpacked():
        try:
            await in_slices(unpacked.pack_stepwise())
        except Exception:  # a path that is no text, say: it stays as it is
            _log.debug("a list of files cannot be packed", exc_info=True)

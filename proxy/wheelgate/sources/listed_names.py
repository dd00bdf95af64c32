"""Listed names: the project names of what is replaced whole whenever it changes, packed once somebody asks for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable

from wheelgate.core.name_table import NameTable
from wheelgate.core.packed_names import PackedNames
from wheelgate.runtime.cooperative import SLICE_S


class ListedNames:
    """The names in one listing after the other."""

    def __init__(self, table: NameTable | None = None) -> None:
        """``table``: keeps the names, beside what others know of them; ``None``: nobody else does."""
        self._version = 0
        self._packed_version = -1
        self._column = (table or NameTable()).column()
        self._packing = asyncio.Lock()

    def forget(self) -> None:
        """The listing was replaced."""
        self._version += 1

    async def pack(self, find: Callable[[], Iterable[Collection[str]]]) -> PackedNames:
        """The names there are now, packed when they are asked for first. ``find``: finds them, some at a time."""
        version = self._version  # of what `find` finds, however long others are packing
        async with self._packing:  # once for all who ask meanwhile: side by side nobody would be done in time
            if version > self._packed_version:
                await self._column.fill(_in_turns(find()))
                self._packed_version = version
            return self._column.names


async def _in_turns(found: Iterable[Collection[str]]) -> AsyncIterator[Collection[str]]:
    resumed = time.perf_counter()
    for names in found:
        yield names
        if time.perf_counter() - resumed > SLICE_S:
            await asyncio.sleep(0)
            resumed = time.perf_counter()

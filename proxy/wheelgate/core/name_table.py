"""Table of names: what several parts of a process know of the same names, which are held once for all of them."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from itertools import count, islice

from isal import isal_zlib

from wheelgate.core.packed_names import NameBlocks, PackedNames, encode_names, next_revision

_RUN = 4_000
"""Names that are sorted before anybody else gets his turn: some milliseconds."""
_CHUNK = 64
"""Names of a run that are unpacked at a time."""
_BATCH = 500
"""Sorted names that are put into the table before anybody else gets his turn."""
_FEW = 64
"""Names that are removed at once. A larger set is left to be swept out, by as many changes as that."""
_SWEPT = 8
"""Blocks that are swept at a time: some tenths of a millisecond."""


class NameTable:
    """Columns of names, each of which is a set. A name that several have takes no more room than one and a byte for each.

    What a column was emptied of is swept out of the table bit by bit, as it is changed: none is changed for long.
    """

    def __init__(self) -> None:
        self.names = NameBlocks()
        self._numbers = count()
        self._free: list[int] = []
        self._emptied: deque[tuple[int, bytes]] = deque()
        """Columns that nobody has any more, each with the name up to which it is swept."""

    def column(self) -> NameColumn:
        """Open another column, with no names."""
        return NameColumn(self, self.take_number())

    def take_number(self) -> int:
        """A column that has no names, by its number."""
        return self._free.pop() if self._free else next(self._numbers)

    def drop_number(self, number: int) -> None:
        """Give a column back, whatever it has."""
        self._emptied.append((number, b""))

    def change(self, number: int, add: Iterable[bytes], remove: Iterable[bytes] = ()) -> bool:
        """Change a column, and sweep a little; tell whether it is another set now."""
        before = self.names
        after = self.names = before.changed(number, add, remove)
        self.sweep(max(_SWEPT, self.names.blocks // _FEW))
        return after is not before

    def sweep(self, blocks: int) -> bool:
        """Sweep so many blocks; tell whether there are more to be swept."""
        if self._emptied:
            number, key = self._emptied.popleft()
            start = self.names.find_block(key)
            end = min(start + blocks, self.names.blocks)
            following = self.names.firsts[end] if end < self.names.blocks else None
            self.names = self.names.swept(number, start, end)
            if following is None:
                self._free.append(number)
            else:
                self._emptied.appendleft((number, following))
        return bool(self._emptied)


class NameColumn:
    """One set of names in a table."""

    def __init__(self, table: NameTable, number: int) -> None:
        self._table = table
        self._number = number
        self._revision = next_revision()

    def __len__(self) -> int:
        return self._table.names.count(self._number)

    def __contains__(self, name: object) -> bool:
        return self._table.names.has(self._number, name)

    @property
    def names(self) -> PackedNames:
        """The set as it is now. Of the same revision while no name comes or goes."""
        return PackedNames(self._table.names, self._number, self._revision)

    def update(self, add: Collection[str] = (), remove: Collection[str] = ()) -> None:
        """Add some names, and remove others: few of them, at once."""
        if self._table.change(self._number, encode_names(add), encode_names(remove)):
            self._revision = next_revision()

    def clear(self) -> None:
        """Remove all names."""
        if len(self) <= _FEW:
            self.update(remove=list(self.names))
        else:
            self._table.drop_number(self._number)
            self._number, self._revision = self._table.take_number(), next_revision()

    async def fill(self, pages: AsyncIterator[Collection[str]]) -> None:
        """Replace all names by others, which come many at a time and in whatever order, with everyone else served in between.

        They are replaced in one step, which nothing comes after: whatever is done until then is done to the set of before.
        What ``pages`` raises is raised, and nothing is replaced.
        """
        while self._table.sweep(_SWEPT):  # noqa: ASYNC110 - this is the work, and nobody is waited for
            await asyncio.sleep(0)
        draft = self._table.take_number()
        try:
            merged = _merge(await _sort(pages))
            while batch := list(islice(merged, _BATCH)):
                self._table.change(draft, batch)
                await asyncio.sleep(0)
        except BaseException:
            self._table.drop_number(draft)
            raise
        if not self._table.names.have_same(draft, self._number):
            self._revision = next_revision()
        self._table.drop_number(self._number)
        self._number = draft


async def _sort(pages: AsyncIterator[Collection[str]]) -> list[deque[bytes]]:
    """Sort names in runs, each of which is packed in chunks."""
    runs: list[deque[bytes]] = []
    waiting: list[bytes] = []
    async for page in pages:
        waiting += encode_names(page)
        while len(waiting) >= _RUN:
            runs.append(_pack_run(waiting[:_RUN]))
            del waiting[:_RUN]
            await asyncio.sleep(0)
    return [*runs, _pack_run(waiting)]


def _pack_run(names: list[bytes]) -> deque[bytes]:
    names.sort()
    chunks = (b"\n".join(names[start : start + _CHUNK]) for start in range(0, len(names), _CHUNK))
    return deque(isal_zlib.compress(chunk, level=1) for chunk in chunks)  # a third of what the names take


def _merge(runs: Iterable[deque[bytes]]) -> Iterator[bytes]:
    return heapq.merge(*map(_unpack, runs))


def _unpack(run: deque[bytes]) -> Iterator[bytes]:
    while run:  # what was put into the table is not held twice
        yield from isal_zlib.decompress(run.popleft()).split(b"\n")


async def pack_names(names: Iterable[str]) -> PackedNames:
    """Pack many names, in whatever order, with everyone else served in between."""

    async def part() -> AsyncIterator[list[str]]:
        left = iter(names)
        while page := list(islice(left, _RUN)):
            yield page

    column = NameTable().column()
    await column.fill(part())
    return column.names

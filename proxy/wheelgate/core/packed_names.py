"""Packed names: a sorted set of hundreds of thousands of short names, in some 20 bytes each.

A value: whoever iterates sees the set as it was, whatever is added meanwhile. A change makes another set, which shares all blocks
but the ones that differ.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import count, islice, zip_longest
from typing import Protocol

_BLOCK = 256
"""Names that are packed together. A block of twice as many is parted."""
_FEW = 8
"""Changes of a block that are made one by one."""
_BATCH = 2_000
"""Names that are worked on before anybody else gets his turn: some milliseconds."""
_next_revision = count(1).__next__


class PackedNames(AbstractSet[str]):
    """A sorted set of ASCII names without line ends, none of them empty."""

    __slots__ = ("_blocks", "_firsts", "_length", "revision")

    def __init__(self, blocks: Sequence[bytes] = (), firsts: Sequence[bytes] = (), length: int = 0) -> None:
        """``blocks``: names, sorted, with a line end between two; ``firsts``: the first of each."""
        self._blocks = tuple(blocks)
        self._firsts = tuple(firsts)
        self._length = length
        self.revision = _next_revision()
        """Identity of the set within this process: equal revisions mean equal names."""

    @classmethod
    def of(cls, names: Iterable[str]) -> PackedNames:
        """The set of some names, at once: for few of them."""
        return cls().updated(add=list(names))

    def __len__(self) -> int:
        return self._length

    @classmethod
    def _from_iterable(cls, names: Iterable[str]) -> AbstractSet[str]:  # type: ignore[override] # what & and | make is no set of these
        return frozenset(names)

    def __contains__(self, name: object) -> bool:
        if not self._blocks or not isinstance(name, str) or not name.isascii():
            return False
        key = name.encode()
        return b"\n%b\n" % key in b"\n%b\n" % self._blocks[self._find_block(key)]

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from block.decode("ascii").split("\n")

    @property
    def firsts(self) -> Sequence[bytes]:
        """The first name of each block: bounds between which there are few names."""
        return self._firsts

    def between(self, first: bytes, end: bytes | None) -> list[bytes]:
        """The names from ``first`` on (included) up to ``end`` (excluded; ``None``: to the last)."""
        if not self._blocks:
            return []
        at, found = self._find_block(first), []
        while at < len(self._blocks) and (end is None or self._firsts[at] < end):
            names = self._blocks[at].split(b"\n")
            low = bisect_left(names, first)
            found += names[low : len(names) if end is None else bisect_left(names, end)]
            at += 1
        return found

    def updated(self, add: Collection[str] = (), remove: Collection[str] = ()) -> PackedNames:
        """The set with some names and without others; itself, if that is the same."""
        changes: defaultdict[int, tuple[set[bytes], set[bytes]]] = defaultdict(lambda: (set(), set()))
        for which, names in enumerate((add, remove)):
            for name in names:
                key = name.encode("ascii")
                changes[self._find_block(key)][which].add(key)
        blocks, firsts = list(self._blocks), list(self._firsts)
        length, is_same = self._length, True
        for at in sorted(changes, reverse=True):
            before = self._blocks[at].split(b"\n") if at < len(self._blocks) else []
            after = _change(before, *changes[at])
            if after == before:
                continue
            is_same = False
            length += len(after) - len(before)
            step = len(after) if len(after) <= 2 * _BLOCK else _BLOCK
            parts = [after[start : start + step] for start in range(0, len(after), step or 1)]
            blocks[at : at + 1] = [b"\n".join(part) for part in parts]
            firsts[at : at + 1] = [part[0] for part in parts]
        return self if is_same else PackedNames(blocks, firsts, length)

    def has_same_names(self, other: PackedNames) -> bool:
        """True if both hold the same names, however they are parted into blocks."""
        return self._length == other._length and b"\n".join(self._blocks) == b"\n".join(other._blocks)

    def _find_block(self, key: bytes) -> int:
        return max(bisect_right(self._firsts, key) - 1, 0)


def _change(names: list[bytes], added: set[bytes], removed: set[bytes]) -> list[bytes]:
    """Sorted names with some and without others."""
    if len(added) + len(removed) > _FEW:
        return sorted({*names, *added} - removed)
    names = names.copy()
    for key in added - removed:
        at = bisect_left(names, key)
        if at == len(names) or names[at] != key:
            names.insert(at, key)
    for key in removed:
        at = bisect_left(names, key)
        if at < len(names) and names[at] == key:
            del names[at]
    return names


async def pack_names(names: Iterable[str]) -> PackedNames:
    """Pack many names, in whatever order, with everyone else served in between."""

    async def part() -> AsyncIterator[Sequence[str]]:
        left = iter(names)
        while page := list(islice(left, _BATCH)):
            yield page

    return await pack_pages(part())


async def pack_pages(pages: AsyncIterator[Sequence[str]]) -> PackedNames:
    """Pack names that come many at a time, in whatever order, with everyone else served in between."""
    runs: list[list[bytes]] = []
    async for page in pages:
        for start in range(0, len(page), _BATCH):
            run = sorted(name.encode("ascii") for name in page[start : start + _BATCH])
            runs.append([b"\n".join(run[at : at + _BLOCK]) for at in range(0, len(run), _BLOCK)])
            await asyncio.sleep(0)
    blocks, firsts, length, block = [], [], 0, [b""]
    for at, key in enumerate(heapq.merge(*map(_unpack, runs)), 1):
        if key != block[-1]:
            block.append(key)
        if len(block) > _BLOCK:
            blocks.append(b"\n".join(block[1:]))
            firsts.append(block[1])
            length += len(block) - 1
            block = block[-1:]
        if at % _BATCH == 0:
            await asyncio.sleep(0)
    if len(block) > 1:
        blocks.append(b"\n".join(block[1:]))
        firsts.append(block[1])
    return PackedNames(blocks, firsts, length + len(block) - 1)


def _unpack(blocks: Sequence[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield from block.split(b"\n")


class SortedNames(Protocol):
    """Names that can be had a few at a time, in their order."""

    @property
    def firsts(self) -> Sequence[bytes]:
        """Bounds between which there are few."""

    def between(self, first: bytes, end: bytes | None) -> list[bytes]:
        """Those from ``first`` on (included) up to ``end`` (excluded; ``None``: to the last)."""


def merge_names(sets: Sequence[SortedNames]) -> Iterator[list[bytes]]:
    """The names of all sets, sorted, each once, a few hundred at a time."""
    bounds = sorted({first for names in sets for first in names.firsts})
    for first, end in zip_longest(bounds, bounds[1:]):
        yield sorted({name for names in sets for name in names.between(first, end)})


class PackedOnce:
    """The packed names of what is replaced whole whenever it changes."""

    def __init__(self) -> None:
        self._version = 0
        self._packed_version = -1
        self._names = PackedNames()

    def forget(self) -> None:
        """It was replaced."""
        self._version += 1

    async def pack(self, names: Collection[str] | Callable[[], Awaitable[Collection[str]]]) -> PackedNames:
        """The names there are now, or what finds them: packed when they are asked for first."""
        version = self._version
        if version != self._packed_version:
            found = await names() if callable(names) else list(names)
            packed = await pack_names(found)
            if not packed.has_same_names(self._names):
                self._names = packed
            self._packed_version = version
        return self._names

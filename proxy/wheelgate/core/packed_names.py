"""Packed names: sorted sets of hundreds of thousands of short names, in some 20 bytes each, however many sets have a name.

All of them are values: whoever iterates sees a set as it was, whatever changes meanwhile. A change makes another one, which
shares all blocks but the ones that differ.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress, count, zip_longest
from typing import NamedTuple, Protocol

_BLOCK = 256
"""Names that are packed together. A block of more than twice as many is parted."""
next_revision = count(1).__next__
"""Makes identities of sets within this process."""


class _Block(NamedTuple):
    """Names that follow one another, and which columns have them."""

    names: bytes
    """With a line end between two."""
    marks: tuple[bytes, ...]
    """By column: 1 for each name that it has, else 0; empty: it has none of these. Columns beyond the last have none either."""

    def split(self) -> list[bytes]:
        return self.names.split(b"\n")

    def of(self, column: int) -> bytes:
        """The marks of a column; empty: it has none of the names."""
        return self.marks[column] if column < len(self.marks) else b""

    def has(self, column: int, key: bytes) -> bool:
        marks = self.of(column)
        names = b"\n%b\n" % self.names if marks else b""
        at = names.find(b"\n%b\n" % key)
        return at >= 0 and marks[names.count(b"\n", 0, at)] == 1

    def select(self, column: int) -> list[bytes]:
        """The names that a column has."""
        marks = self.of(column)
        return list(compress(self.split(), marks)) if marks else []

    def without(self, column: int) -> tuple[_Block, ...]:
        """Take a column away; the blocks that are left, if any."""
        opened = _OpenBlock(self)
        opened.marks[column] = bytearray(len(opened.names))
        opened.drop_unmarked()
        return opened.pack()


class _OpenBlock:
    """The names and marks of a block, unpacked to be changed."""

    def __init__(self, block: _Block | None) -> None:
        self.names = [] if block is None else block.split()
        self._joined = b"" if block is None else block.names
        """As it was, for a block that keeps all its names and gets none; empty: it does not."""
        marks = () if block is None else block.marks
        self.marks = [bytearray(given or len(self.names)) for given in marks]

    def change(self, column: int, add: Iterable[bytes], remove: Iterable[bytes]) -> None:
        while len(self.marks) <= column:
            self.marks.append(bytearray(len(self.names)))
        marks, new = self.marks[column], []
        for key in add:
            if (at := self._find(key)) is None:
                new.append(key)
            else:
                marks[at] = 1
        if new:
            self._insert(column, new)
        is_less = False
        for key in remove:
            if (at := self._find(key)) is not None:
                self.marks[column][at], is_less = 0, True
        if is_less:
            self.drop_unmarked()

    def _find(self, key: bytes) -> int | None:
        at = bisect_left(self.names, key)
        return at if at < len(self.names) and self.names[at] == key else None

    def _insert(self, column: int, new: Iterable[bytes]) -> None:
        self._joined = b""
        former = {name: at for at, name in enumerate(self.names)}
        self.names = sorted([*self.names, *new])
        places = [former.get(name, -1) for name in self.names]
        for number, marks in enumerate(self.marks):
            marks.append(number == column)  # the last one is what stands at -1
            self.marks[number] = bytearray(map(marks.__getitem__, places))

    def drop_unmarked(self) -> None:
        """Leave out the names that no column has."""
        used = [marks for marks in self.marks if 1 in marks]
        kept = bytes(map(max, *used)) if len(used) > 1 else bytes(used[0] if used else 0)
        if kept.count(1) < len(self.names):
            self._joined = b""
            self.names = list(compress(self.names, kept))
            self.marks = [bytearray(compress(marks, kept)) for marks in self.marks]

    def pack(self) -> tuple[_Block, ...]:
        """The blocks that come of it."""
        names = self.names
        step = len(names) if len(names) <= 2 * _BLOCK or self._joined else _BLOCK
        parts = (slice(start, start + step) for start in range(0, len(names), step or 1))
        return tuple(_Block(self._joined or b"\n".join(names[part]), self._pack_marks(part)) for part in parts)

    def _pack_marks(self, part: slice) -> tuple[bytes, ...]:
        packed = [bytes(marks[part]) if 1 in marks[part] else b"" for marks in self.marks]
        while packed and not packed[-1]:
            del packed[-1]
        return tuple(packed)


class NameBlocks:
    """A value: names, each once, in blocks, and for each of some columns those that it has. A column is a number from 0 on."""

    __slots__ = ("_blocks", "_counts", "firsts")

    def __init__(self, blocks: Sequence[_Block] = (), firsts: Sequence[bytes] = (), counts: Sequence[int] = ()) -> None:
        self._blocks = tuple(blocks)
        self.firsts = tuple(firsts)
        """The first name of each block: bounds between which there are few names."""
        self._counts = tuple(counts)

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return len(self._blocks)

    def count(self, column: int) -> int:
        """The number of names that a column has."""
        return self._counts[column] if column < len(self._counts) else 0

    def has(self, column: int, name: object) -> bool:
        """True if a column has a name."""
        if not self._blocks or not isinstance(name, str) or not name.isascii():
            return False
        key = name.encode()
        return self._blocks[self.find_block(key)].has(column, key)

    def select(self, column: int) -> Iterator[list[bytes]]:
        """The names that a column has, some at a time."""
        for block in self._blocks:
            yield block.select(column)

    def between(self, column: int, first: bytes, end: bytes | None) -> list[bytes]:
        """The names of a column from ``first`` on (included) up to ``end`` (excluded; ``None``: to the last)."""
        found: list[bytes] = []
        for at in range(self.find_block(first), len(self._blocks)):
            if end is not None and self.firsts[at] >= end:
                break
            names = self._blocks[at].select(column)
            low = bisect_left(names, first)
            found += names[low : len(names) if end is None else bisect_left(names, end)]
        return found

    def find_block(self, key: bytes) -> int:
        """The number of the block that has a name, or where it belongs."""
        return max(bisect_right(self.firsts, key) - 1, 0)

    def have_same(self, one: int, other: int) -> bool:
        """True if two columns have the same names."""
        return all(block.of(one) == block.of(other) for block in self._blocks)

    def changed(self, column: int, add: Iterable[bytes], remove: Iterable[bytes] = ()) -> NameBlocks:
        """The names with some more in a column, and without others; itself, if that is the same."""
        changes: defaultdict[int, tuple[set[bytes], set[bytes]]] = defaultdict(lambda: (set(), set()))
        for which, keys in enumerate((add, remove)):
            for key in keys:
                changes[self.find_block(key)][which].add(key)
        made: dict[int, tuple[_Block, ...]] = {}
        for at, (added, removed) in changes.items():
            opened = _OpenBlock(self._blocks[at] if self._blocks else None)
            opened.change(column, added, removed)
            if (blocks := opened.pack()) != self._blocks[at : at + 1]:
                made[at] = blocks
        return self._with_blocks(made)

    def swept(self, column: int, start: int, end: int) -> NameBlocks:
        """The names without what a column has in some blocks."""
        parts = ((at, self._blocks[at]) for at in range(start, end))
        return self._with_blocks({at: block.without(column) for at, block in parts if block.of(column)})

    def _with_blocks(self, made: dict[int, tuple[_Block, ...]]) -> NameBlocks:
        """The names with other blocks in the place of some."""
        if not made:
            return self
        blocks, firsts, counts = list(self._blocks), list(self.firsts), list(self._counts)
        for at in sorted(made, reverse=True):
            for sign, each in ((-1, blocks[at : at + 1]), (1, made[at])):
                for block in each:
                    counts += [0] * (len(block.marks) - len(counts))
                    for column, marks in enumerate(block.marks):
                        counts[column] += sign * marks.count(1)
            blocks[at : at + 1] = made[at]
            firsts[at : at + 1] = [block.names.partition(b"\n")[0] for block in made[at]]
        return NameBlocks(blocks, firsts, counts)


class PackedNames(AbstractSet[str]):
    """A sorted set of ASCII names without line ends, none of them empty: one column of some names, as they were."""

    __slots__ = ("_column", "_names", "revision")

    def __init__(self, names: NameBlocks | None = None, column: int = 0, revision: int | None = None) -> None:
        self._names = names or NameBlocks()
        self._column = column
        self.revision = next_revision() if revision is None else revision
        """Identity of the set within this process: equal revisions mean equal names."""

    @classmethod
    def of(cls, names: Iterable[str]) -> PackedNames:
        """The set of some names, at once: for few of them."""
        return cls().updated(add=list(names))

    def __len__(self) -> int:
        return self._names.count(self._column)

    @classmethod
    def _from_iterable(cls, names: Iterable[str]) -> AbstractSet[str]:  # type: ignore[override] # what & and | make is no set of these
        return frozenset(names)

    def __contains__(self, name: object) -> bool:
        return self._names.has(self._column, name)

    def __iter__(self) -> Iterator[str]:
        for names in self._names.select(self._column):
            for name in names:
                yield name.decode("ascii")

    @property
    def firsts(self) -> Sequence[bytes]:
        """Bounds between which there are few names."""
        return self._names.firsts

    def between(self, first: bytes, end: bytes | None) -> list[bytes]:
        """The names from ``first`` on (included) up to ``end`` (excluded; ``None``: to the last)."""
        return self._names.between(self._column, first, end)

    def updated(self, add: Collection[str] = (), remove: Collection[str] = ()) -> PackedNames:
        """The set with some names and without others; itself, if that is the same."""
        after = self._names.changed(self._column, encode_names(add), encode_names(remove))
        return self if after is self._names else PackedNames(after, self._column)


def encode_names(names: Iterable[str]) -> Iterator[bytes]:
    """Write names as they are packed."""
    return (name.encode("ascii") for name in names)


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

"""The files of a page: values while a page is being made, a tenth of the memory afterwards.

A :class:`~proxy.model.File` with its strings takes more than a kilobyte; the largest projects have 15,000 of them, and once a
page is rendered hardly any is ever asked for again. Packed, one takes about 130 bytes, most of which are its digests. Whoever
holds the list holds the same object, packed or not: that it is the same object is how one layer sees that another has no news.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import overload

import msgspec
from isal import isal_zlib

from proxy.model import File

TOGETHER = 64
"""Files that are packed as one: fewer take more room, more take longer to find one among (70 microseconds)."""
_NUMBER_BITS = 16
_HASH_MASK = (1 << 48) - 1
_ASKED = 8
"""Of one page a build wants a file or two."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[File]).decode


class FileList(Sequence[File]):
    """Files in their order, and each by its name. Frozen, as everything else that a page holds.

    ``made_of``: the lists it was made from, whose values are as little needed once it is packed.
    """

    def __init__(self, files: Iterable[File], made_of: Sequence[Sequence[File]] = ()) -> None:
        self._values: tuple[File, ...] | None = tuple(files)
        self._made_of = made_of
        self._packed: _Packed | None = None
        self._count = len(self._values)
        self._named: dict[str, File] | None = None
        self._asked: dict[str, File] = {}

    @classmethod
    def of(cls, files: Sequence[File]) -> FileList:
        """The same files; the same object, if it is such a list."""
        return files if isinstance(files, FileList) else cls(files)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[File]:
        values, packed = self._values, self._packed
        return iter(values) if values is not None or packed is None else packed.between(0, self._count)  # type: ignore[arg-type]

    @overload
    def __getitem__(self, at: int) -> File: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[File, ...]: ...
    def __getitem__(self, at: int | slice) -> File | tuple[File, ...]:
        values, packed = self._values, self._packed
        if values is not None or packed is None:
            return (values or ())[at]
        if isinstance(at, slice):
            start, end, step = at.indices(self._count)
            return tuple(packed.between(start, end)) if step == 1 else tuple(self)[at]
        start = range(self._count)[at]
        return next(packed.between(start, start + 1))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Sequence) and len(other) == self._count and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self._count} files>"

    # --- by name

    def asked(self, filename: str) -> File | None:
        """A file that :meth:`named` found lately."""
        return self._asked.get(filename)

    def named(self, filename: str) -> File | None:
        """The file of this name; it is at hand from now on."""
        file = self._asked.get(filename) or self._found(filename)
        if file is not None:
            if len(self._asked) >= _ASKED:
                self._asked.clear()
            self._asked[filename] = file
        return file

    def _found(self, filename: str) -> File | None:
        values, packed = self._values, self._packed
        if packed is not None:
            return packed.named(filename)
        if self._named is None:
            self._named = {file.filename: file for file in values or ()}
        return self._named.get(filename)

    # --- packing

    def unpacked(self) -> list[FileList]:
        """This list, and those it was made of, as far as they are still values: to be packed one by one."""
        below = (files.unpacked() for files in self._made_of if isinstance(files, FileList))
        return [*([self] if self._packed is None else []), *chain.from_iterable(below)]

    def pack(self) -> None:
        """Let go of the values. Takes about 2 microseconds a file; may be done in a thread."""
        values = self._values
        if values is not None:
            self._packed = _Packed(values)
            self._values = self._named = None
        if not self.unpacked():
            self._made_of = ()


class _Packed:
    """Files, so many together as one compressed block."""

    def __init__(self, files: Sequence[File]) -> None:
        self._blocks = [
            isal_zlib.compress(_encode(files[start : start + TOGETHER]), level=1, wbits=-15)
            for start in range(0, len(files), TOGETHER)
        ]
        # By hash, as Python keys it for this process alone: nobody outside can make names collide.
        self._places = array("Q", sorted(_key(file.filename) | at // TOGETHER for at, file in enumerate(files)))

    def between(self, start: int, end: int) -> Iterator[File]:
        first = start // TOGETHER
        blocks = (self._block(number) for number in range(first, min(len(self._blocks), -(-end // TOGETHER))))
        return islice(chain.from_iterable(blocks), start - first * TOGETHER, max(start, end) - first * TOGETHER)

    def named(self, filename: str) -> File | None:
        key = _key(filename)
        at = bisect_left(self._places, key)
        while at < len(self._places) and self._places[at] >> _NUMBER_BITS == key >> _NUMBER_BITS:
            for file in self._block(self._places[at] & ((1 << _NUMBER_BITS) - 1)):
                if file.filename == filename:
                    return file
            at += 1
        return None

    def _block(self, number: int) -> list[File]:
        return _decode(isal_zlib.decompress(self._blocks[number], wbits=-15))


def _key(filename: str) -> int:
    return (hash(filename) & _HASH_MASK) << _NUMBER_BITS

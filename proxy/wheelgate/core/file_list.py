"""File lists of pages: values while a page is being made, a tenth of the memory afterwards.

A :class:`~wheelgate.core.model.File` with its strings takes more than a kilobyte; the largest projects have 15,000 of them, and
once a page is rendered hardly any is ever asked for again. Packed, one takes about 130 bytes, most of which are its digests.
Packing replaces what a list holds, not the list: whoever has it keeps the same object.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import overload

import msgspec
from isal import igzip_lib, isal_zlib

from wheelgate.core.model import File

TOGETHER = 64
"""Files that are packed as one: fewer take more room, more take longer to unpack for one of them (70 microseconds)."""
_RECENT = 8
"""Of one page a build wants a file or two."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[File]).decode


class FileList(Sequence[File]):
    """Files in their order, and each by its name. Frozen, as everything else that a page holds.

    ``made_of``: the lists it was made from, whose values are as little needed once it is packed.
    """

    def __init__(self, files: Iterable[File], made_of: Sequence[Sequence[File]] = ()) -> None:
        self._values: tuple[File, ...] | None = tuple(files)
        self._packed: _Packed | None = None
        self._made_of = made_of
        self._count = len(self._values)
        self._named: dict[str, File] | None = None
        self._recent: dict[str, File] = {}

    @classmethod
    def of(cls, files: Sequence[File]) -> FileList:
        """Return the same files; the same object, if it is such a list."""
        return files if isinstance(files, FileList) else cls(files)

    @classmethod
    def from_blocks(cls, blocks: Sequence[bytes]) -> FileList:
        """Restore the files from what :meth:`pack` returned.

        Raises:
            ValueError: they are nothing of that kind, or damaged.
        """
        made = cls(())
        made._values, made._packed = None, _Packed(blocks)
        made._count = len(made._packed)
        return made

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

    def find_recent(self, filename: str) -> File | None:
        """Return a file that :meth:`find` found lately."""
        return self._recent.get(filename)

    def find(self, filename: str) -> File | None:
        """Find the file of this name; it is at hand from now on."""
        file = self._recent.get(filename) or self._look_up(filename)
        if file is not None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[filename] = file
        return file

    def _look_up(self, filename: str) -> File | None:
        values, packed = self._values, self._packed
        if packed is not None:
            return packed.find(filename)
        named = self._named
        if named is None:
            named = {file.filename: file for file in values or ()}
            self._named = named if self._packed is None else None
        return named.get(filename)

    # --- packing

    def list_unpacked(self) -> list[FileList]:
        """List those it was made of and then itself, as far as they are still values: to be packed one by one, in this order."""
        below = (files.list_unpacked() for files in self._made_of if isinstance(files, FileList))
        return [*chain.from_iterable(below), *([self] if self._packed is None else [])]

    def pack(self) -> Sequence[bytes]:
        """Let go of the values, and return the blocks that stand for them. Takes about 2 us a file; may be done in a thread."""
        for _ in self.pack_stepwise():
            pass
        return self._packed.blocks if self._packed is not None else ()

    def pack_stepwise(self) -> Generator[None]:
        """Do the same in steps of a tenth of a millisecond. Until the last one the values stay as they are."""
        values = self._values
        if values is not None and self._packed is None:
            blocks = []
            for start in range(0, len(values), TOGETHER):
                blocks.append(isal_zlib.compress(_encode(values[start : start + TOGETHER]), level=1))
                yield
            self._packed = self._packed or _Packed(blocks, values)
            self._values = self._named = None
        if not self.list_unpacked():
            self._made_of = ()


class _Packed:
    """Files, so many together as one compressed block with a checksum."""

    def __init__(self, blocks: Sequence[bytes], files: Iterable[File] | None = None) -> None:
        """``files``: what is in the blocks, if that is known.

        Raises:
            ValueError: they are damaged.
        """
        self.blocks = blocks
        # As Python keys them for this process alone: nobody outside can make names collide.
        self._hashes = array("q", [hash(file.filename) for file in (self._all() if files is None else files)])

    def __len__(self) -> int:
        return len(self._hashes)

    def _all(self) -> Iterator[File]:
        try:
            for number in range(len(self.blocks)):
                block = self._block(number)
                if len(block) > TOGETHER or (len(block) < TOGETHER and number < len(self.blocks) - 1):
                    raise ValueError("a block has too few or too many files")
                yield from block
        except (igzip_lib.IsalError, msgspec.MsgspecError, UnicodeDecodeError, EOFError, RecursionError) as error:  # type: ignore[misc]
            raise ValueError("a block is damaged") from error

    def between(self, start: int, end: int) -> Iterator[File]:
        first = start // TOGETHER
        blocks = (self._block(number) for number in range(first, min(len(self.blocks), -(-end // TOGETHER))))
        return islice(chain.from_iterable(blocks), start - first * TOGETHER, max(start, end) - first * TOGETHER)

    def find(self, filename: str) -> File | None:
        key, at = hash(filename), -1
        while True:
            try:
                at = self._hashes.index(key, at + 1)
            except ValueError:
                return None
            file = self._block(at // TOGETHER)[at % TOGETHER]
            if file.filename == filename:
                return file

    def _block(self, number: int) -> list[File]:
        return _decode(isal_zlib.decompress(self.blocks[number]))

"""File lists of pages: values while a page is being made, a tenth of the memory afterwards.

A :class:`~wheelgate.core.model.File` with its strings takes more than a kilobyte; the largest projects have 15,000 of them, and
once a page is rendered hardly any is ever asked for again. Packed, one takes about 130 bytes, most of which are its digests.
Packing replaces what a list holds, not the list: whoever has it keeps the same object.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC
from itertools import chain, islice
from typing import Annotated, overload

import msgspec
from isal import isal_zlib

from wheelgate.core.inflation import find_allowance, inflate
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import is_safe_filename

TOGETHER = 64
"""Files that are packed as one: fewer take more room, more take longer to unpack for one of them (70 microseconds)."""

RECENT_BYTES = 12 * 1024 * 1024
"""Bound of the pages seen last that each layer between a source and the rendered page remembers, so that an answer that has not
changed need not be parsed, judged and rendered again. Nearly all of it are the same objects."""
_FILE_BYTES = 150  # packed, as a list is as soon as its page has been answered with
_VERSION_BYTES, _WITHHELD_BYTES = 60, 300
_BLOCK_BYTES = TOGETHER * 64 * 1024
"""Of a block from elsewhere. Pages are read with texts and links of a few kilobytes."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Annotated[list[File], msgspec.Meta(max_length=TOGETHER)]).decode


class FileList(Sequence[File]):
    """Files in their order, and each by its name. Frozen, as everything else that a page holds.

    ``made_of``: the lists it was made from, whose values are as little needed once it is packed. ``claim``: of the memory that
    the values take, let go with them.
    """

    def __init__(self, files: Iterable[File], made_of: Sequence[Sequence[File]] = (), claim: object = None) -> None:
        self._content: tuple[File, ...] | _Packed = tuple(files)
        self._made_of = made_of
        self._claim = claim

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
        restored = cls(())
        restored._content = _Packed.restore(blocks)
        return restored

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[File]:
        return iter(self._content)

    @overload
    def __getitem__(self, at: int) -> File: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[File, ...]: ...
    def __getitem__(self, at: int | slice) -> File | tuple[File, ...]:
        content = self._content
        if isinstance(content, tuple):
            return content[at]
        if isinstance(at, slice):
            return content[at]
        at = range(len(content))[at]
        return content[at : at + 1][0]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Sequence) and len(other) == len(self) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{len(self)} files>"

    def find(self, filename: str) -> File | None:
        """Find the file of this name."""
        content = self._content
        candidates = content.find(filename) if isinstance(content, _Packed) else content
        return next((file for file in candidates if file.filename == filename), None)

    def list_unpacked(self) -> list[FileList]:
        """List those it was made of and then itself, as far as they are still values: to be packed one by one, in this order."""
        below = (files.list_unpacked() for files in self._made_of if isinstance(files, FileList))
        return [*chain.from_iterable(below), *([] if isinstance(self._content, _Packed) else [self])]

    def pack(self) -> Sequence[bytes]:
        """Let go of the values, and return the blocks that stand for them. Takes about 2 us a file."""
        for _ in self.pack_stepwise():
            pass
        return self._content.blocks if isinstance(self._content, _Packed) else ()

    def pack_stepwise(self) -> Generator[None]:
        """Do the same in steps of a tenth of a millisecond. Until the last one the values stay as they are."""
        files = self._content
        if not isinstance(files, _Packed):
            blocks = []
            try:
                for start in range(0, len(files), TOGETHER):
                    blocks.append(isal_zlib.compress(_encode(files[start : start + TOGETHER]), level=1))
                    yield
                if self._content is files:  # nobody else was quicker
                    self._content = _Packed(blocks, files)
            finally:
                self._claim = None  # what cannot be packed must not hold up others for ever
        if not self.list_unpacked():
            self._made_of = ()


class _Packed:
    """Files, so many together as one compressed block with a checksum."""

    def __init__(self, blocks: Sequence[bytes], files: Iterable[File]) -> None:
        """``files``: what is in the blocks; taken one by one."""
        self.blocks = blocks
        # As Python keys them for this process alone: nobody outside can make names collide.
        self._hashes = array("q", (hash(file.filename) for file in files))

    @classmethod
    def restore(cls, blocks: Sequence[bytes]) -> _Packed:
        """Read blocks that come from elsewhere, in the memory of one block.

        Raises:
            ValueError: they are damaged, or inflate to far more than files do.
        """
        return cls(blocks, _read_blocks(blocks))

    def __len__(self) -> int:
        return len(self._hashes)

    def __iter__(self) -> Iterator[File]:
        return chain.from_iterable(map(_unpack, self.blocks))

    def __getitem__(self, at: slice) -> tuple[File, ...]:
        start, end, step = at.indices(len(self))
        if step != 1:
            return tuple(self)[at]
        first = start // TOGETHER
        files = chain.from_iterable(map(_unpack, self.blocks[first : -(-end // TOGETHER)]))
        return tuple(islice(files, start - first * TOGETHER, max(start, end) - first * TOGETHER))

    def find(self, filename: str) -> Iterator[File]:
        """Find files whose names have the same hash, hence the right one if there is one."""
        key, at = hash(filename), -1
        with suppress(ValueError):
            while True:
                at = self._hashes.index(key, at + 1)
                yield from self[at : at + 1]


def _read_blocks(blocks: Sequence[bytes]) -> Iterator[File]:
    """Read the files in blocks from elsewhere, each as :class:`File` promises it. Raises ValueError."""
    left_bytes = find_allowance(sum(map(len, blocks)))
    for number, block in enumerate(blocks, start=1):
        inflated = inflate(block, min(_BLOCK_BYTES, left_bytes))
        left_bytes -= len(inflated)
        try:
            files = _decode(inflated)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError("a block is damaged") from error
        if len(files) != TOGETHER and number != len(blocks):
            raise ValueError("a block has too few files")
        if not all(map(_is_sound, files)):
            raise ValueError("a block has a file that no page can have")
        yield from files


def _is_sound(file: File) -> bool:
    moment = file.upload_time
    return is_safe_filename(file.filename) and (moment is None or moment.tzinfo is UTC) and (file.size is None or file.size >= 0)


def _unpack(block: bytes) -> list[File]:
    return _decode(isal_zlib.decompress(block))


def page_bytes(page: ProjectPage) -> int:
    """Estimate the memory behind a page, near enough to bound caches by bytes."""
    return 500 + files_bytes(page.files) + _VERSION_BYTES * len(page.versions) + _WITHHELD_BYTES * len(page.withheld)


def files_bytes(files: Sequence[File]) -> int:
    """Estimate the memory behind its files."""
    return _FILE_BYTES * len(files)

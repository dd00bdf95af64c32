"""Range requests for the METADATA of a remote wheel: only the parts that say where it is, and itself, are read."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import IO, cast

from wheelgate.distfiles.core_metadata import CoreMetadata, NoMetadata, read_core_metadata

TAIL_BYTES = 64 * 1024
"""The bytes that are read first. Of most wheels it holds the table of contents and METADATA: tools write ``.dist-info`` last."""
_BEFORE_BYTES = 256 * 1024
"""At most so many are read before a table of contents too long for the tail: METADATA is there, and RECORD, about as long."""
_MAX_READS = 12
_MAX_BYTES = 24 * 1024 * 1024

Fetch = Callable[[int, int], Awaitable[bytes]]
"""Bytes from a start (included) to an end (excluded); exactly as many."""


class _Missing(Exception):
    """A read of a part that was not fetched yet."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(start, end)
        self.start = start
        self.end = end


async def read_by_ranges(fetch: Fetch, size: int, filename: str, *, head: bytes = b"") -> CoreMetadata:
    """Read the checked METADATA of a wheel of ``size`` bytes, of which the first, ``head``, may be known already.

    No thread waits for the network: the wheel is read as far as it is known, and again once the missing part has come.

    Raises:
        NoMetadata, BadWheel: as :func:`~wheelgate.distfiles.core_metadata.read_core_metadata`; also if it wants more reading
            than any honest wheel.
        Whatever ``fetch`` raises.
    """
    wheel = _PartialFile(size)
    wheel.add(0, head)
    block, fetched = TAIL_BYTES, 0
    start, end = max(len(head), size - TAIL_BYTES), size
    for read in range(_MAX_READS):
        if start < end:
            fetched += end - start
            if fetched > _MAX_BYTES:
                break
            wheel.add(start, await fetch(start, end))
        wheel.seek(0)
        try:
            return await asyncio.to_thread(read_core_metadata, cast("IO[bytes]", wheel), filename)
        except _Missing as missing:
            start, end = missing.start, wheel.next_known(max(missing.end, missing.start + block), missing.start)
            if not read and end == size - TAIL_BYTES:  # the table of contents
                start = max(start - min(missing.end - missing.start, _BEFORE_BYTES), len(head))
            block *= 2
    raise NoMetadata("has its METADATA spread over too many places")


class _PartialFile(io.RawIOBase):
    """A file of which some parts are known."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._at = 0
        self._parts: dict[int, bytes] = {}
        """By where they start; they do not overlap."""

    def add(self, start: int, part: bytes) -> None:
        if part:
            self._parts[start] = part

    def next_known(self, end: int, start: int) -> int:
        """The latest end of a part that is to be fetched from ``start`` on: ``end``, or what is known before it."""
        return min([end, self._size, *(known for known in self._parts if known > start)])

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise OSError("before the beginning")
        self._at = origin + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes from the offset on; :class:`_Missing` if one of them is not known."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        found = bytearray()
        at = self._at
        while at < end:
            start, part = next(((s, p) for s, p in self._parts.items() if s <= at < s + len(p)), (0, b""))
            if not part:
                raise _Missing(at, end)
            piece = part[at - start : end - start]
            found += piece
            at += len(piece)
        self._at = max(self._at, end)
        return bytes(found)

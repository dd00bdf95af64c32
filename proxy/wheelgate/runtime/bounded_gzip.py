"""Bounded gunzip: a gzip stream of a stranger, inflated piece by piece and never further than its reader allows."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any

from isal import igzip_lib, isal_zlib

MAX_RATIO = 200
"""More than that many bytes out of one is a bomb, beyond the bytes that are free."""
PIECE_BYTES = 1024 * 1024


class BadGzip(ValueError):
    """The stream is broken, or inflates to more than it may (:class:`GzipTooLarge`); the message completes "it ..."."""


class GzipTooLarge(BadGzip):
    """It inflates to more than it may."""


class BoundedGunzip:
    """Inflates one gzip stream in bounded memory."""

    def __init__(
        self, reader: str, *, free_bytes: int, max_bytes: int = sys.maxsize, strict: bool = True, wbits: int = 31
    ) -> None:
        """Set the bounds.

        Args:
            reader: what the bytes are for, in the sentence about too many.
            free_bytes: so many may come out at whatever ratio.
            max_bytes: no more may come out at all.
            strict: read as installers do, by zlib. ``False``: by isal, which takes a quarter of the time, and some headers
                that zlib refuses.
            wbits: zlib's word for what frames the stream: 31 gzip, 15 zlib, -15 nothing.
        """
        self._inflater: Any = (zlib if strict else isal_zlib).decompressobj(wbits=wbits)
        self._reader = reader
        self._free_bytes = free_bytes
        self._max_bytes = max_bytes
        self._received = 0
        self._size = 0

    @property
    def is_whole(self) -> bool:
        """True if the stream has come to its own end, checksum and all."""
        return bool(self._inflater.eof)

    @property
    def has_more(self) -> bool:
        """True if something came behind that end: another archive, which some readers would add to the first."""
        return bool(self._inflater.unused_data)

    def feed(self, chunk: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """Inflate the next bytes, in pieces of at most ``piece_bytes``, no further than the caller goes; or :class:`BadGzip`."""
        self._received += len(chunk)
        while chunk and not self.is_whole:  # zlib leaves what comes behind the end in its tail, too, again and again
            try:
                piece = self._inflater.decompress(chunk, piece_bytes)
            except (zlib.error, igzip_lib.IsalError):  # type: ignore[misc]  # isal has no types
                raise BadGzip("is not a whole gzip file") from None
            chunk = self._inflater.unconsumed_tail
            self._size += len(piece)
            if self._size > min(max(self._received * MAX_RATIO, self._free_bytes), self._max_bytes):
                raise GzipTooLarge(f"inflates to far more than {self._reader} needs")
            yield piece

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        """Inflate a file up to the end of its stream, or to its own where that comes first; or :class:`BadGzip`."""
        while not self.is_whole and (chunk := file.read(PIECE_BYTES)):
            yield from self.feed(chunk)

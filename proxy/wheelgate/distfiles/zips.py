"""Untrusted zip files: read with ``zipfile``, never trusted to be as large, as many or as tame as they say."""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_MAX_READ_BYTES = 16 * 1024 * 1024
"""More than any part that must be in memory has: the table of contents of 100,000 files is about 10 MB."""
_LOCAL = struct.Struct("<4s5H3L2H")
_LZMA = struct.Struct("<BBHBL")
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
)


class _TooMuch(Exception):
    """A read by ``zipfile`` of more at once than is allowed."""


class _Bounded:
    """A file that refuses large reads, for ``zipfile``.

    ``zipfile`` reads the whole table of contents at once, and several records may state its size; so the bound is not on
    any of them but here, where it reads.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1, /) -> bytes:
        """Read at most the bound."""
        if size > _MAX_READ_BYTES:
            raise _TooMuch
        return self._file.read(size if size >= 0 else _MAX_READ_BYTES)


@contextmanager
def open_zip(file: IO[bytes], bad: type[ValueError]) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose table of contents fits into memory. What its entries are named is not looked at.

    Raises:
        bad: it has a larger one, or (also from within the block) turns out not to be a whole zip file. The message completes
            "it ...".
    """
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            yield archive
    except _TooMuch:
        raise bad("has a table of contents larger than any distribution's") from None
    except bad:
        raise
    except _BROKEN:
        raise bad("is not a whole zip file") from None


def check_names(archive: zipfile.ZipFile, bad: type[ValueError]) -> None:
    """Check that each name stands there once, and that none leaves its folder; or raise ``bad``."""
    seen = set()
    for name in archive.namelist():
        if name in seen:
            raise bad(f"has two entries named {name[:200]!r}")
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise bad(f"has an entry that leaves its folder: {name[:200]!r}")
        seen.add(name)


def is_bounded(entry: zipfile.ZipInfo) -> bool:
    """True if the entry can be inflated piece by piece: ``zipfile`` inflates other methods without any limit."""
    return entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def inflate_rare(file: IO[bytes], entry: zipfile.ZipInfo, bad: type[ValueError]) -> bytes:
    """Inflate an entry of a method that ``zipfile`` inflates without any limit, to the size that it states, within an open zip.

    Raises:
        bad: it is of none of these methods, or wants more memory than any honest entry.
        zipfile.BadZipFile: it is not what it states; :func:`open_zip` knows that.
    """
    file.seek(entry.header_offset)
    header = file.read(_LOCAL.size)
    name_bytes, extra_bytes = _LOCAL.unpack(header)[-2:]
    file.seek(entry.header_offset + _LOCAL.size + name_bytes + extra_bytes)
    if entry.compress_size > _MAX_READ_BYTES:
        raise _TooMuch
    packed = file.read(entry.compress_size)
    try:
        if entry.compress_type == zipfile.ZIP_BZIP2:
            body = bz2.BZ2Decompressor().decompress(packed, entry.file_size + 1)
        elif entry.compress_type == zipfile.ZIP_LZMA:
            settings = _read_lzma_settings(packed, bad)
            inflater = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[settings])
            body = inflater.decompress(packed[_LZMA.size :], entry.file_size + 1)
        else:
            raise bad("has an entry compressed in a way that installers do not read")
    except lzma.LZMAError:
        raise zipfile.BadZipFile from None
    if len(body) != entry.file_size or zlib.crc32(body) != entry.CRC:
        raise zipfile.BadZipFile
    return body


def _read_lzma_settings(packed: bytes, bad: type[ValueError]) -> dict[str, int]:
    """Read what LZMA needs to know, and zip files state before the data (APPNOTE, 5.8.8)."""
    _, _, size, kind, dictionary = _LZMA.unpack_from(packed)
    if size != _LZMA.size - 4 or kind >= 9 * 5 * 5:
        raise zipfile.BadZipFile
    if dictionary > _MAX_READ_BYTES:
        raise bad("has an entry that takes more memory to inflate than any distribution's")
    rest, literal_context = divmod(kind, 9)
    position, literal_position = divmod(rest, 5)
    return {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(dictionary, 4_096),
        "lc": literal_context,
        "lp": literal_position,
        "pb": position,
    }

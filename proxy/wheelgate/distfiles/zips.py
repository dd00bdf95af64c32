"""Untrusted zip files: read with ``zipfile``, never trusted to be as large, as many or as tame as they say."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_MAX_READ_BYTES = 16 * 1024 * 1024
"""More than any part that must be in memory has: the table of contents of 100,000 files is about 10 MB."""
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
    """Open an archive: a table of contents that fits into memory, each name once, and none that leaves its folder.

    Raises:
        bad: it breaks a rule, or (also from within the block) turns out not to be a whole zip file. The message completes
            "it ...".
    """
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            _check_names(archive, bad)
            yield archive
    except _TooMuch:
        raise bad("has a table of contents larger than any distribution's") from None
    except bad:
        raise
    except _BROKEN:
        raise bad("is not a whole zip file") from None


def _check_names(archive: zipfile.ZipFile, bad: type[ValueError]) -> None:
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

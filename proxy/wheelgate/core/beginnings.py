"""Beginnings of bodies: whether they can be the file that a name promises, whatever a server calls them."""

from __future__ import annotations

import re
import zlib

BEGINNING_BYTES = 1024
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP = b"\x1f\x8b"
_ENDINGS: dict[str, tuple[bytes, ...]] = {
    ".whl": _ZIP,
    ".zip": _ZIP,
    ".egg": _ZIP,
    ".tar.gz": (_GZIP,),
    ".tgz": (_GZIP,),
    ".tar.bz2": (b"BZh",),
    ".tar.xz": (b"\xfd7zXZ\0",),
}
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<")


def is_web_page(beginning: bytes) -> bool:
    """Tell whether a body called HTML is a web page, compressed or not: no distribution file and no core metadata begins so."""
    return _WEB_PAGE.match(_inflate(beginning) or beginning) is not None


def can_begin(filename: str, beginning: bytes, *, coding: str = "") -> bool:
    """Tell whether a body that begins so may be the archive that its name promises, and not something else in its place.

    ``coding``: what the server says it did to the body. An sdist is compressed itself, and many servers call that a coding: it is
    one only if an sdist comes out of it.
    """
    marks = _find_marks(filename)
    if not beginning or not any(mark.startswith(beginning[: len(mark)]) for mark in marks):
        return False
    return coding not in ("gzip", "x-gzip") or not _inflate(beginning).startswith(marks)


def has_mark(filename: str) -> bool:
    """Tell whether it is known how the archive that a name promises begins."""
    return bool(_find_marks(filename))


def _find_marks(filename: str) -> tuple[bytes, ...]:
    return next((marks for ending, marks in _ENDINGS.items() if filename.lower().endswith(ending)), ())


def _inflate(beginning: bytes) -> bytes:
    """The beginning of what is compressed there; empty if nothing is."""
    if not beginning.startswith(_GZIP):
        return b""
    try:
        return zlib.decompressobj(wbits=31).decompress(beginning, BEGINNING_BYTES)
    except zlib.error:
        return b""

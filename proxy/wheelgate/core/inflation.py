"""Bounded inflation of what a store holds: never to more than a real one of its kind has, whoever wrote it."""

from __future__ import annotations

from isal import igzip_lib, isal_zlib

_MAX_RATIO = 200
"""Records and pages as they are come to 50 bytes out of one; DEFLATE can give a thousand."""
_FREE_BYTES = 1024 * 1024


def find_allowance(packed_bytes: int) -> int:
    """Find how many bytes may come out of so many: 200 out of one, or a mebibyte."""
    return max(_FREE_BYTES, _MAX_RATIO * packed_bytes)


def inflate(packed: bytes, max_bytes: int) -> bytes:
    """Inflate a zlib stream, which must be whole and end with its last byte.

    Raises:
        ValueError: it is not such a stream, or more than ``max_bytes``, or its own allowance, come out.
    """
    allowed = min(max_bytes, find_allowance(len(packed)))
    inflater = isal_zlib.decompressobj()
    try:
        inflated: bytes = inflater.decompress(packed, allowed + 1)
    except (igzip_lib.IsalError, EOFError) as error:  # type: ignore[misc]  # isal has no types
        raise ValueError("it cannot be inflated") from error
    if not inflater.eof or inflater.unused_data or len(inflated) > allowed:
        raise ValueError("it inflates to too much, does not end, or goes on behind its end")
    return inflated

"""Content codings and types of pages, read as pip reads them.

gzip and deflate are undone, also where they were not asked for. What is called by a word that stands for no compression
(``utf-8``, ``none``, ``aws-chunked``) is taken as it comes: whether it is a page, its bytes say. Brotli and zstd are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import aiohttp

from wheelgate.runtime.bounded_gzip import BoundedGunzip

MAX_PAGE_BYTES = 64 * 1024 * 1024
_RATIO_FREE_BYTES = 1024 * 1024
_UNDONE, _REFUSED = ("gzip", "x-gzip", "deflate"), ("br", "zstd")
_MOST_LAYERS = 2
_TEXT = b"{<\t\n\r \xef\xff\xfe"
"""Bytes that a page may begin with, and no compressed one: mind the marks of byte order."""


class UnreadableCoding(ValueError):
    """A coding that is not undone here; the message names it."""


def list_codings(response: aiohttp.ClientResponse) -> list[str]:
    """List what an answer says was done to its body, from first to last, in lower case."""
    return [word.strip().lower() for value in response.headers.getall("Content-Encoding", []) for word in value.split(",")]


def read_media_type(response: aiohttp.ClientResponse) -> str:
    """Read the type of an answer, in lower case, of several the first; empty: it says none."""
    return response.headers.get("Content-Type", "").partition(";")[0].partition(",")[0].strip().lower()


class PageInflater:
    """Undoes the codings of one page, in bounded memory."""

    def __init__(self, codings: Sequence[str]) -> None:
        """``codings``: as :func:`list_codings` has them. Raises :class:`UnreadableCoding`."""
        self._codings = [coding for coding in reversed(codings) if coding in _UNDONE]
        if len(self._codings) > _MOST_LAYERS or any(coding in _REFUSED for coding in codings):
            raise UnreadableCoding(", ".join(codings)[:40])
        self._layers: tuple[BoundedGunzip, ...] = ()
        self._is_bare = False
        """Whether what comes out of the last layer is the page itself, however many were said to be there."""

    @property
    def is_coded(self) -> bool:
        """True if the body tells its own end."""
        return bool(self._codings)

    @property
    def is_whole(self) -> bool:
        """True if every layer has come to its own end."""
        return bool(self._layers) and all(layer.is_whole for layer in self._layers)

    @property
    def has_more(self) -> bool:
        """True if something came behind that end."""
        return any(layer.has_more for layer in self._layers)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Undo the next bytes, piece by piece, no further than the caller goes; or raise ``BadGzip``."""
        return self._feed(chunk, 0)

    def _feed(self, chunk: bytes, depth: int) -> Iterator[bytes]:
        if depth == len(self._layers) and chunk and not self._is_bare:
            # Some servers say twice what was done once.
            self._is_bare = depth == len(self._codings) or (depth > 0 and chunk[:1] in _TEXT)
            if not self._is_bare:
                self._layers += (_open_layer(self._codings[depth], chunk),)
        if depth == len(self._layers):
            yield chunk
            return
        for piece in self._layers[depth].feed(chunk):
            yield from self._feed(piece, depth + 1)


def _open_layer(coding: str, chunk: bytes) -> BoundedGunzip:
    wbits = 31
    if coding == "deflate":  # many send it without the frame that the standard has around it (RFC 9110, 8.4.1.2)
        wbits = 15 if chunk[0] & 0x0F == 8 else -15
    return BoundedGunzip("an index page", free_bytes=_RATIO_FREE_BYTES, max_bytes=MAX_PAGE_BYTES, strict=False, wbits=wbits)

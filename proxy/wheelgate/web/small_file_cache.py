"""Cache of small files, core metadata and redirects, as they go over the wire. Bounded by bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cachetools import LRUCache

from wheelgate.core.model import File, Location
from wheelgate.core.protocols import Clock
from wheelgate.web.prepared_response import PreparedResponse, prepare_redirect, prepare_response

SMALL_BYTES = 256 * 1024
_REDIRECTS, _REDIRECT_S = 4_096, 20.0
_MAX_BYTES = 32 * 1024 * 1024

_Key = tuple[Location, str, bool]


class SmallFileCache:
    """Bodies that were sent once, each with the digest that its page lists, and redirects that hold for a moment."""

    def __init__(self, clock: Clock, max_bytes: int = _MAX_BYTES) -> None:
        self._clock = clock
        self._redirects: LRUCache[_Key, tuple[float, PreparedResponse]] = LRUCache(_REDIRECTS)
        self._kept: LRUCache[_Key, PreparedResponse] = LRUCache(max_bytes, getsizeof=lambda kept: 1_000 + len(kept.body))

    def get(self, file: File, *, metadata: bool = False) -> PreparedResponse | None:
        """Return the file (or its core metadata) as its page lists it now, if it is kept."""
        key = _build_key(file, metadata=metadata)
        return None if key is None else self._kept.get(key)

    def keep(self, file: File, body: bytes, headers: Mapping[str, str], *, metadata: bool = False) -> None:
        """Keep a body, if it is small, and what the page lists."""
        key = _build_key(file, metadata=metadata)
        if key is None or len(body) > SMALL_BYTES or hashlib.sha256(body).hexdigest() != key[1]:
            return
        self._kept[key] = prepare_response(body, frozenset({key[1]}), headers, _without_type(headers))

    def get_redirect(self, file: File) -> PreparedResponse | None:
        """Return the redirect that somebody got for the file a moment ago."""
        key = _build_key(file, metadata=False)
        until, kept = (0.0, None) if key is None else self._redirects.get(key, (0.0, None))
        return kept if self._clock.monotonic() < until else None

    def keep_redirect(self, file: File, url: str, headers: Mapping[str, str]) -> None:
        """Keep a redirect for others, for a moment: the URL itself lives for many minutes more."""
        key = _build_key(file, metadata=False)
        if key is not None:
            made = prepare_redirect(url, frozenset({key[1]}), _without_type(headers))
            self._redirects[key] = (self._clock.monotonic() + _REDIRECT_S, made)


def _without_type(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Content-Type"}


def _build_key(file: File, *, metadata: bool) -> _Key | None:
    """Build the key: where it is and which digest it must have; ``None`` where none is listed."""
    digest = (file.core_metadata or {}).get("sha256") if metadata else file.hashes.get("sha256")
    return None if digest is None else (file.location, digest, metadata)

"""Held copies: which files the store was seen to hold, so that not every request asks it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from cachetools import LRUCache, TTLCache

from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo

_MOST, _FRESH_S, _MISSING_S = 20_000, 60.0, 2.0
"""Of how many files it is remembered that they are held, or are not; and for how long that is believed: whoever else cleans the
store up says nothing."""
_Key = tuple[str, str]
"""A path, and the digests that are listed for it (:func:`key_of`)."""


def key_of(path: str, hashes: Mapping[str, str]) -> _Key:
    """Build the key of a copy as it is listed now: whoever lists another digest of it asks anew."""
    sha256 = hashes.get("sha256", "")
    return path, sha256 if len(hashes) < 2 and len(hashes) == bool(sha256) else repr(sorted(hashes.items()))


class HeldCopies:
    """Memory of copies in the store. Bounded."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._fresh: TTLCache[_Key, BlobInfo] = TTLCache(_MOST, _FRESH_S, timer)
        self._missing: TTLCache[_Key, None] = TTLCache(_MOST, _MISSING_S, timer)
        self._last: LRUCache[_Key, BlobInfo] = LRUCache(_MOST)

    async def find(self, key: _Key, look: Callable[[], Awaitable[BlobInfo | None]]) -> BlobInfo | None:
        """A copy that was seen a moment ago, or what ``look`` sees now; while nobody can look, the copy that was seen last.

        Raises StoreError: none was ever seen, and nobody can look.
        """
        copy = self._fresh.get(key)
        if copy is not None or key in self._missing:
            return copy
        try:
            copy = await look()
        except StoreError:
            if key not in self._last:
                raise
            return self._last[key]
        if copy is None:
            self._missing[key] = None
        else:
            self.note(key, copy)
        return copy

    def note(self, key: _Key, copy: BlobInfo) -> None:
        """Remember a copy that was just made, or seen."""
        self._fresh[key] = self._last[key] = copy

    def clear(self) -> None:
        self._fresh.clear()
        self._missing.clear()
        self._last.clear()

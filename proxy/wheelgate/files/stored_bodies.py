"""Stored bodies: blobs of a store on their way to a client, and what is known of them having the digest they are served under."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from io import FileIO
from typing import NamedTuple

from cachetools import LRUCache

from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.files.bodies import Body, Redirect, hold_back
from wheelgate.runtime.logs import TroubleLog

_PROOFS = 20_000
_DOUBTED_S, _MAX_DOUBTED_S = 4.0, 600.0
"""After one wrong reading, and at most."""
_log = logging.getLogger(__name__)


class _Wrong(NamedTuple):
    """Readings of one stored body that had another digest, one after the other."""

    times: int
    until_s: float
    """Until then, on the monotonic clock, it counts as damaged without being read again."""


class BodyProofs:
    """Memory of which stored bodies were read whole and had their digest, and which had not. Bounded.

    A wrong reading may be the storage's mistake of one moment: after a while, twice as long each time, it is read again.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._known: LRUCache[tuple[str, str, str], bool | _Wrong] = LRUCache(_PROOFS)
        self._monotonic = monotonic

    def get(self, store: str, path: str, etag: str) -> bool | None:
        """Tell whether this version of a blob has its digest; ``None``: nobody has looked, or it is time to look again."""
        known = self._known.get((store, path, etag))
        if isinstance(known, _Wrong):
            return False if self._monotonic() < known.until_s else None
        return known

    def note(self, store: str, path: str, etag: str, *, is_right: bool) -> None:
        """Remember a reading, until the blob is another one."""
        known = self._known.get((store, path, etag))
        if is_right:
            self._known[store, path, etag] = True
        else:
            times = known.times + 1 if isinstance(known, _Wrong) else 1
            until_s = self._monotonic() + min(_DOUBTED_S * 2 ** min(times - 1, 20), _MAX_DOUBTED_S)
            self._known[store, path, etag] = _Wrong(times, until_s)

    def is_damaged(self, store: str, copy: BlobInfo, size: int | None) -> bool:
        """Tell whether a copy is known to be damaged; perhaps by the listed ``size`` (bytes; ``None``: not listed)."""
        known = self.get(store, copy.path, copy.etag)
        if known is None and size not in (None, copy.size):
            _log.error("%s in the store is damaged: it has %d bytes, not %d: delete it there", copy.path, copy.size, size)
            self._known[store, copy.path, copy.etag] = False  # for good: no reading tells otherwise
            return True
        return known is False


class StoredBody:
    """A blob of a store. Its digest is checked when it is first sent whole, and each time where it is in a container."""

    def __init__(self, store: BlobStore, path: str, size: int, etag: str, sha256: str | None, proofs: BodyProofs) -> None:
        """``sha256``: of what it is served as; ``None``: nobody says."""
        self._store = store
        self._path = path
        self._size = size
        self._etag = etag
        self._sha256 = sha256
        self._proofs = proofs

    async def size(self) -> int:
        return self._size

    async def open_local(self, *, whole: bool) -> FileIO | None:
        if whole and self._sha256 is not None and not self._proofs.get(self._store.name, self._path, self._etag):
            return None
        opened = await asyncio.to_thread(self._store.open_local, self._path)
        if opened is not None and os.fstat(opened.fileno()).st_size != self._size:
            opened.close()
            raise StoreError(f"{self._path} in the store is another one now: try again")
        return opened

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        end = self._size if end is None else end
        chunks = self._store.stream(self._path, start, end)
        if self._sha256 is None or (start, end) != (0, self._size):
            async for chunk in chunks:
                yield chunk
            return
        digest = hashlib.sha256()

        async def read() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                await asyncio.to_thread(digest.update, chunk)
                yield chunk

        async for chunk in hold_back(read(), lambda: self._check(digest.hexdigest())):
            yield chunk

    def _check(self, found: str) -> None:
        is_right = found == self._sha256
        self._proofs.note(self._store.name, self._path, self._etag, is_right=is_right)
        if not is_right:
            error = f"{self._path} in {self._store.name} is damaged: its sha256 is {found}, not {self._sha256}"
            _log.error("%s: delete it there", error)
            raise StoreError(error)


async def redirect_or(body: Body, store: BlobStore, path: str, troubles: TroubleLog, *, redirect: bool) -> Redirect | Body:
    """Return a redirect to a blob where one is wanted and the store can sign, else its body."""
    if redirect:
        try:
            url = await store.signed_url(path)
        except StoreError as error:
            # What the signature would have spared us is work, not a check: the bytes can still go through us.
            troubles.report(path, f"{path}: no URL can be signed, so it is streamed: {error}")
            url = None
        if url is not None:
            return Redirect(url, ours=True)
    return body

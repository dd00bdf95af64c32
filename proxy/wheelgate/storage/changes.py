"""Change notification between processes: one small blob, rewritten by each change of the store, polled by all."""

from __future__ import annotations

import asyncio
import logging
import uuid

from wheelgate.core.errors import BlobChanged, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobStore
from wheelgate.runtime.signal import Signal
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.storage import layout

WATCH_INTERVAL_S = 2.0
_TRIES = 20
_log = logging.getLogger(__name__)


class StoreChanges(Signal):
    """Announces changes of packages, claims and tokens, and tells this process's caches when anybody announced one.

    Watching costs one look at one ETag every two seconds, however many projects there are: hence "within 5 s on every
    replica" without a listing per page.
    """

    def __init__(self, store: BlobStore) -> None:
        super().__init__()
        self._store = store
        self._seen: str | None = None
        self._turn = asyncio.Lock()
        self._flights: SingleFlight[None] = SingleFlight()
        self._number = 0
        """Of the announcement that is not being written yet."""

    async def announce(self, *, here: bool = True) -> None:
        """Tell everyone; in this process at once (``here=False``: only the others). A StoreError: others could not be told."""
        if here:
            self.emit()
        # One at a time, or they would be in each other's way; who comes while one is being written shares the next.
        await self._flights.run(self._number, self._announce_in_turn)

    async def _announce_in_turn(self) -> None:
        async with self._turn:
            self._number += 1  # what changes from here on, this one says nothing of
            for _ in range(_TRIES):
                before = await self._etag()
                try:
                    written = await self._store.replace_if(layout.CHANGED, uuid.uuid4().hex.encode(), before)
                except BlobChanged:  # somebody else announced in between; say it again, theirs may have been seen already
                    continue
                if before == self._seen:
                    self._seen = written
                return  # else somebody announced since we looked last, and the next look must tell of it
        raise StoreError("the store's changes could not be announced: too many writers at once, try again")

    async def look(self) -> None:
        """Ask once whether somebody announced a change, and if so pass it on; or :class:`StoreError`."""
        etag = await self._etag()
        if etag != self._seen:
            self._seen = etag
            self.emit()

    async def watch(self) -> None:
        """Poll for ever, whatever fails: a process that stopped looking would serve revoked tokens and deleted files."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.debug("the store cannot be asked for changes: %s", error)
            except Exception:
                _log.exception("looking for changes in the store failed")
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def _etag(self) -> str | None:
        try:
            return (await self._store.info(layout.CHANGED)).etag
        except BlobNotFound:
            return None

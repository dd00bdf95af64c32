"""Changes as the release before announced them: one random word, rewritten after each change, and no keys.

Its replicas serve beside newer ones while a fleet is updated, and again after an update was undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from wheelgate.core.errors import BlobChanged, StoreError
from wheelgate.storage import layout
from wheelgate.storage.change_log import EVERYTHING, Change, ChangeEntry
from wheelgate.storage.changes import Announcement, StoreChanges

_TRIES = 20
_WATCH_INTERVAL_S = 0.2


class FormerChanges(StoreChanges):
    """What that release wrote and understood, behind the interface of this one."""

    @asynccontextmanager
    async def changing(self, *changes: Change, here: bool = True) -> AsyncIterator[Announcement]:
        yield Announcement(self, ())
        if here:
            self._emit_all(changes)
        await self._write_word()

    async def write(self, entries: Sequence[ChangeEntry]) -> None:
        """Announce nothing beforehand."""

    async def look(self) -> None:
        began_s = self.clock.monotonic()
        etag = await self._find_etag()
        if etag != self._etag:
            self._etag = etag
            self._emit_all(EVERYTHING)
        self._heard_s = began_s
        self.looked.emit()

    async def watch(self) -> None:
        """Poll as that release did, only more often, so that it is more often early."""
        while True:
            with contextlib.suppress(StoreError):
                await self.look()
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def _write_word(self) -> None:
        async with self._turn:
            for _ in range(_TRIES):
                before = await self._find_etag()
                try:
                    written = await self._store.replace_if(layout.CHANGED, uuid.uuid4().hex.encode(), before)
                except BlobChanged:  # say it again: what somebody else announced may have been seen already
                    continue
                if before == self._etag:
                    self._etag = written
                return
        raise StoreError("too many writers at once")

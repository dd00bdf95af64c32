"""Former records: those that releases kept for a source's name alone, whatever its address, read by whom they may belong to.

Such a record says nothing of the address that it was kept for. What does is the one note of those releases that has it: the few
projects that a source was known by. It is never written any more, so it says for good where they saw the source last.

- The note has the address that the source has now: its record is this one's.
- It has another one: the source moved, and nothing of it is believed.
- There is none, as for GitHub: what names had which digests is believed, for one that is wrong withholds a file and says what to
  do, and one that is forgotten lets a file change. The last good page is not: it would stand in with somebody else's files.
"""

from __future__ import annotations

import msgspec

from wheelgate.core.errors import BlobNotFound
from wheelgate.core.protocols import BlobStore
from wheelgate.core.urls import place_key
from wheelgate.storage import layout


class _Note(msgspec.Struct):
    url: str


class FormerRecords:
    """The former records of one source."""

    def __init__(self, store: BlobStore, source: str, place: str) -> None:
        """``place``: of the source now (:func:`~wheelgate.core.urls.place_key`)."""
        self._store = store
        self._source = source
        self._place = place
        self._there_are_some: bool | None = None
        self._noted_at: str | None = None
        """Place in the note; ``None``: there is none, or nobody has looked."""

    async def find(self, project: str) -> bytes | None:
        """Find what may be this source's record of a project; ``None``: there is none that is. Raises StoreError."""
        if self._there_are_some is None:
            there_are_some = await self._has_any()  # most stores have none, and nothing else is asked then
            if there_are_some:
                self._noted_at = await self._find_noted_place()
            self._there_are_some = there_are_some
        if not self._there_are_some or self._noted_at not in (None, self._place):
            return None
        try:
            return (await self._store.read(layout.record(self._source, project)))[0]
        except BlobNotFound:
            return None

    @property
    def pages_are_believed(self) -> bool:
        """True if the note says that what was found is of the place that the source has now."""
        return self._noted_at is not None

    async def _has_any(self) -> bool:
        async for names in self._store.list_folder(layout.records_of(self._source)):
            if names:
                return True
        return False

    async def _find_noted_place(self) -> str | None:
        try:
            body, _ = await self._store.read(layout.known_projects(self._source))
            return place_key(msgspec.json.decode(body, type=_Note).url)
        except (BlobNotFound, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

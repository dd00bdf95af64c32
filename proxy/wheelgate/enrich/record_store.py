"""Project records in the store: the one class that reads and writes them, by compare-and-swap."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import BlobNotFound
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import BlobStore
from wheelgate.enrich.kept_pages import KeptPage, pack, unpack
from wheelgate.enrich.record_codec import NewerRecord, decode, encode
from wheelgate.enrich.records import ProjectRecord
from wheelgate.storage import layout

_INLINE_BYTES = 64 * 1024
"""A smaller record is decoded in less time than a thread takes to start."""
_INLINE_FILES = 400
_log = logging.getLogger(__name__)


class StoredRecord(msgspec.Struct):
    """A record as the store has it."""

    record: ProjectRecord
    etag: str | None = None
    """To write it by; ``None``: there is none yet."""
    is_newer: bool = False
    """A later release wrote it: its content is unknown here, and nothing may be written over it."""


class ProjectRecords:
    """The records of one source."""

    def __init__(self, store: BlobStore, source: str) -> None:
        self._store = store
        self.source = source
        self._newer: LRUCache[str, bool] = LRUCache(4_096)
        """Paths of which the log says already that a later release wrote them."""

    async def read(self, project: str) -> StoredRecord:
        """The record of a project; an empty one if there is none, or if it is damaged.

        Raises:
            StoreError: it cannot be read.
        """
        path = layout.record(self.source, project)
        try:
            body, info = await self._store.read(path)
        except BlobNotFound:
            return StoredRecord(ProjectRecord({}))
        try:
            record = decode(body) if len(body) < _INLINE_BYTES else await asyncio.to_thread(decode, body)
        except NewerRecord as error:
            if path not in self._newer:
                _log.warning("source %s: the record %s is left alone: it is of %s", self.source, path, error)
                self._newer[path] = True
            return StoredRecord(ProjectRecord({}), info.etag, is_newer=True)
        except ValueError as error:  # what it said is lost; a page must not be lost with it
            _log.error("source %s: the record %s cannot be read, so it begins anew: it is %s", self.source, path, error)
            return StoredRecord(ProjectRecord({}), info.etag)
        return StoredRecord(record, info.etag)

    async def write(self, project: str, record: ProjectRecord, etag: str | None) -> str:
        """Replace the record that has this ETag; the new one's.

        Raises:
            BlobChanged: somebody else wrote it meanwhile: read it, merge, try again.
            StoreError: it cannot be written.
        """
        small = len(record.files) < _INLINE_FILES
        body = encode(record) if small else await asyncio.to_thread(encode, record)
        return await self._store.replace_if(layout.record(self.source, project), body, etag)

    async def pack_page(self, page: ProjectPage) -> KeptPage:
        """Pack a page as it is kept beside the facts of its files."""
        return pack(page) if len(page.files) < _INLINE_FILES else await asyncio.to_thread(pack, page)

    async def unpack_page(self, project: str, kept: KeptPage) -> ProjectPage | None:
        """Unpack a kept page; ``None`` if it is damaged."""
        if len(kept.body) < _INLINE_BYTES:
            return unpack(kept, project, self.source)
        return await asyncio.to_thread(unpack, kept, project, self.source)

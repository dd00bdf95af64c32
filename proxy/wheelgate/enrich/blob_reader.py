"""Blob reader: digest and core metadata of a file in a container, out of its bytes.

All of a file is read for its digest; or, where whoever stored it said that, only the parts that hold its metadata.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable
from contextlib import suppress

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError, StoreFull
from wheelgate.core.model import File, StoredFile
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, read_core_metadata
from wheelgate.distfiles.ranged_wheel import read_by_ranges
from wheelgate.enrich.records import BlobVersion, ExtractedMetadata, FileRecord
from wheelgate.runtime.regular_file import open_regular
from wheelgate.storage import layout
from wheelgate.storage.spool import Spool, SpoolFile

_log = logging.getLogger(__name__)


class UnreadableBlob(StoreError):
    """This file cannot be read now; the next one perhaps can."""


class BlobReader:
    """Reads listed blobs, and keeps the core metadata of wheels in our store, where it is served from."""

    def __init__(self, *, source: str, blobs: BlobStore, store: BlobStore, spool: Spool, clock: Clock) -> None:
        """``blobs``: the container. ``store``: our own."""
        self._source = source
        self._blobs = blobs
        self._store = store
        self._spool = spool
        self._clock = clock

    async def read(self, file: File) -> FileRecord:
        """The facts of a file: as it states them, if its metadata is in our store already, else from its bytes.

        Raises:
            UnreadableBlob, BlobNotFound, BlobChanged: this version of it cannot be read.
            StoreError: container or store are down: other files would fare the same.
        """
        location = file.location
        if not isinstance(location, StoredFile) or file.size is None or file.upload_time is None:
            raise UnreadableBlob("it is not a blob")
        sha256 = file.hashes.get("sha256")
        if sha256 is None:
            sha256, made = await self._read_whole(file, location, file.size)
        else:
            made = await self._read_metadata(file, location, file.size, sha256)
        return FileRecord(
            at=self._clock.now(),
            hashes={"sha256": sha256},
            uploaded=file.upload_time,
            size=file.size,
            made=made,
            blob=BlobVersion(location.path, location.etag),
        )

    async def _read_metadata(self, file: File, location: StoredFile, size: int, sha256: str) -> ExtractedMetadata:
        """The metadata of a wheel whose digest is stated.

        Nobody compared that digest with the bytes, so what is read of them lies with what this source says.
        """
        if file.core_metadata is not None:
            with suppress(BlobNotFound):
                body, _ = await self._store.read(layout.metadata(sha256))
                return ExtractedMetadata(self._clock.now(), sha256, hashlib.sha256(body).hexdigest(), file.requires_python)

        async def fetch(start: int, end: int) -> bytes:
            return b"".join([chunk async for chunk in self._blobs.stream(location.path, start, end)])

        metadata = await _accept(read_by_ranges(fetch, size, file.filename), file)
        await self._check_unchanged(location)
        return await self._keep(metadata, sha256, layout.upstream_metadata(self._source, sha256))

    async def _read_whole(self, file: File, location: StoredFile, size: int) -> tuple[str, ExtractedMetadata | None]:
        """Its sha256, and the metadata of a wheel."""
        try:
            async with self._spool.holding(size=size) as spooled:
                async for chunk in self._blobs.stream(location.path, 0, size):
                    await spooled.append(chunk)
                await self._check_unchanged(location)
                sha256 = spooled.digests()["sha256"]
                if not file.filename.endswith(".whl"):
                    return sha256, None
                metadata = await _accept(asyncio.to_thread(read_spooled_wheel, spooled, file.filename), file)
        except StoreFull:
            raise UnreadableBlob("the spool has no room for it") from None
        return sha256, await self._keep(metadata, sha256, layout.metadata(sha256))

    async def _check_unchanged(self, location: StoredFile) -> None:
        if (await self._blobs.info(location.path)).etag != location.etag:
            raise BlobChanged("it was changed since it was listed")

    async def _keep(self, metadata: CoreMetadata | None, of: str, path: str) -> ExtractedMetadata:
        if metadata is None:
            return ExtractedMetadata(self._clock.now(), of, None)
        with suppress(BlobExists):
            await self._store.put_if_absent(path, metadata.body, {})
        return ExtractedMetadata(self._clock.now(), of, hashlib.sha256(metadata.body).hexdigest(), metadata.requires_python)


async def _accept(reading: Awaitable[CoreMetadata], file: File) -> CoreMetadata | None:
    try:
        return await reading
    except BadWheel as error:
        _log.warning("source %s: %s offers no core metadata: it %s", file.source, file.filename, error)
        return None


def read_spooled_wheel(spooled: SpoolFile, filename: str) -> CoreMetadata:
    """Read the checked METADATA of a wheel in the spool (:func:`~wheelgate.distfiles.core_metadata.read_core_metadata`)."""
    try:
        with open_regular(spooled.path) as wheel:
            return read_core_metadata(wheel, filename)
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}") from None

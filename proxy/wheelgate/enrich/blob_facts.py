"""Small records about a source's projects, kept in our store: what we found out ourselves about files we may not mark.

One compact record a project and source, written only when something is new. Replicas find the same facts at the same time, so
writing is compare-and-swap, and the loser adds what it knows to what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from wheelgate.core.errors import BlobChanged, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobStore
from wheelgate.storage import layout

_ATTEMPTS = 8


class BlobFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """What reading a file told us. Valid for the body it was read from."""

    etag: str
    sha256: str
    seen: Annotated[datetime, msgspec.Meta(tz=True)]
    """The upload time that stands on the page: the source's own at first sight, never later than a previous answer."""
    metadata_sha256: str | None = None
    requires_python: str | None = None
    path: str = ""
    """Where it was read: of two blobs an ETag means nothing."""


_Record = dict[str, BlobFact]
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)


class BlobFacts:
    """The records of one source."""

    def __init__(self, store: BlobStore, source: str) -> None:
        self._store = store
        self._source = source

    async def of(self, project: str) -> Mapping[str, BlobFact]:
        """What is known of a project's files, by file name.

        Raises:
            StoreError: the record cannot be read.
        """
        return (await self._read(project))[0]

    async def add(self, project: str, found: Mapping[str, BlobFact]) -> Mapping[str, BlobFact]:
        """Remember more; everything that is known then. The time a file was first seen stays what it was.

        Raises:
            StoreError: it could not be written.
        """
        for _ in range(_ATTEMPTS):
            record, etag = await self._read(project)
            merged = {**record, **{name: _with_first_time(known, record.get(name)) for name, known in found.items()}}
            if merged == record:
                return record
            try:
                await self._store.replace_if(layout.record(self._source, project), _encoder.encode(merged), etag)
            except BlobChanged:
                continue
            return merged
        raise StoreError(f"the record of {project} is being written by somebody else all the time")

    async def _read(self, project: str) -> tuple[_Record, str | None]:
        try:
            body, info = await self._store.read(layout.record(self._source, project))
        except BlobNotFound:
            return {}, None
        try:
            return _decoder.decode(body), info.etag
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return {}, info.etag  # nothing that cannot be found out again


def _with_first_time(known: BlobFact, earlier: BlobFact | None) -> BlobFact:
    if earlier is None or earlier.seen >= known.seen:
        return known
    return msgspec.structs.replace(known, seen=earlier.seen)

"""Copies within a container that the service makes by itself: no byte of a body comes here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
from azure.core import MatchConditions
from azure.storage.blob import BlobProperties

from wheelgate.core.errors import BlobChanged, BlobExists, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.storage.azure import AzureStore
from wheelgate.storage.blob_listing import decode_fact, encode_facts

_POLL_S = 0.5
_POLLS = 1_200
"""Ten minutes. Within an account nearly every copy is complete at once, whatever its size."""
_COPIED_ETAG = "copied_etag"
"""Fact of a copy of a blob without an MD5: the ETag of what was copied, which nothing written to that name later has."""


class _BlobProof(msgspec.Struct, frozen=True):
    """Properties of a blob that show if it is a copy of another."""

    size: int
    md5: bytes | None
    etag: str
    source: str | None
    """URL of the blob it is a complete copy of; ``None``: of none."""
    source_etag: str | None
    """ETag of that blob when it was copied; ``None``: not known."""

    def is_copy_of(self, original: _BlobProof, url: str) -> bool:
        """True if this is shown to have the bytes of a blob as they are now: by its MD5, or by what was copied from there."""
        if self.size != original.size:
            return False
        if original.md5 is not None:
            return self.md5 == original.md5
        return self.source == url and self.source_etag == original.etag


class ServerCopy:
    """A copier within one container. A copy counts once the service says that it has the same size and MD5.

    Without an MD5 it counts as long as it is the copy of that very version of the original, which has one ETag alone.
    """

    def __init__(self, store: AzureStore) -> None:
        self._blob, self._ask, self._delete = store._blob, store._ask, store.delete  # noqa: SLF001 - the other half of a store

    async def ensure(self, blob: BlobInfo, to: str) -> bool:
        """Make sure that ``to`` is a copy of a blob, with the time at which that came; True if it was made now.

        Raises:
            BlobNotFound, BlobChanged: the blob is gone, or no longer the one that was listed.
            BlobExists: there is something else at ``to``; it is untouched.
            StoreError: the service refused, or cannot be reached.
        """
        original = await self._look(blob.path)
        if original.etag != blob.etag:
            raise BlobChanged(f"{blob.path} was changed since it was listed")
        is_new = True
        try:
            await self._copy(blob, to, {} if original.md5 is not None else {_COPIED_ETAG: original.etag})
        except BlobExists:
            is_new = False
        copy = await self._look_when_complete(to)
        if not copy.is_copy_of(original, self._url(blob.path)):
            raise BlobExists(f"{to} is there already, and cannot be shown to be the same as {blob.path}")
        return is_new

    async def remove(self, blob: BlobInfo) -> None:
        """Delete a blob of which :meth:`ensure` has shown a copy, if it is still that one. Raises as that does."""
        await self._delete(blob.path, blob.etag)

    def _url(self, path: str) -> str:
        return unquote(self._blob(path).url.partition("?")[0])

    async def _copy(self, blob: BlobInfo, to: str, more: Mapping[str, str]) -> None:
        facts = {"upload_time": blob.created.isoformat(), **blob.facts, **more}
        start = partial(
            self._blob(to).start_copy_from_url,
            self._blob(blob.path).url,
            metadata=encode_facts(facts),
            match_condition=MatchConditions.IfMissing,
            source_etag=f'"{blob.etag}"',
            source_match_condition=MatchConditions.IfNotModified,
        )
        await self._ask("copy", to, start)

    async def _look(self, path: str) -> _BlobProof:
        return _read(await self._properties(path))

    async def _properties(self, path: str) -> BlobProperties:
        return await self._ask("info", path, self._blob(path).get_blob_properties)

    async def _look_when_complete(self, path: str) -> _BlobProof:
        for _ in range(_POLLS):
            found: Any = await self._properties(path)
            if found.copy.status != "pending":
                return _read(found)
            await asyncio.sleep(_POLL_S)
        raise StoreError(f"{path} was not copied within ten minutes")


def _read(found: Any) -> _BlobProof:
    md5 = found.content_settings.content_md5
    source = unquote(str(found.copy.source).partition("?")[0]) if found.copy.status == "success" else None
    facts = {key.lower(): decode_fact(value) for key, value in (found.metadata or {}).items()}
    return _BlobProof(
        found.size, None if md5 is None else bytes(md5), str(found.etag).strip('"'), source, facts.get(_COPIED_ETAG)
    )

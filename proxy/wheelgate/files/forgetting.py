"""Forgetting of one file of a remote source: our copy of it, and what is remembered, for every replica."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from wheelgate.core.errors import BlobDamaged, BlobNotFound
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.core.urls import place_key
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import FileRecord
from wheelgate.files.kept_copies import OBSERVED, STANDING
from wheelgate.storage import layout
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import StoreChanges

_SHA256 = re.compile(r"[0-9a-f]{64}")


class RememberedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the store holds of one file of one source."""

    source: str
    url: str
    """Of the source."""
    project: str
    filename: str
    copy: BlobInfo | None
    """Ours; of a damaged one nothing but its path is known."""
    record: FileRecord | None

    @property
    def digests(self) -> dict[str, str]:
        """The digests that are remembered."""
        if self.record is None:
            return {}
        body = self.record.body
        return dict(self.record.hashes) or ({} if body is None else {"sha256": body.sha256})

    @property
    def is_observed(self) -> bool:
        """True if no digest was stated, as far as is known."""
        if self.record is not None and (self.record.hashes or self.record.body is not None):
            return not self.record.hashes
        return self.copy is not None and self.copy.facts.get(STANDING) == OBSERVED

    def describe(self) -> dict[str, Any]:
        """Describe it as plain values."""
        copy = self.copy
        return {
            "source": self.source,
            "project": self.project,
            "file": self.filename,
            "copy": None if copy is None else {"bytes": copy.size, "sha256": copy.facts.get("sha256"), "path": copy.path},
            "first_seen": None if self.record is None else self.record.at.isoformat(),
            "digests": self.digests,
            "observed": self.is_observed,
        }


async def find_remembered(
    store: BlobStore, sources: Sequence[tuple[str, str]], project: str, filename: str
) -> list[RememberedFile]:
    """Find what is remembered of a file by the sources, each with its URL. Raises StoreError."""
    found = []
    for source, url in sources:
        record = (await ProjectRecords(store, source, url=url).read(project)).record.files.get(filename)
        copy = await _find_copy(store, layout.cache_copy(source, project, filename))
        if record is not None or copy is not None:
            remembered = RememberedFile(source=source, url=url, project=project, filename=filename, copy=copy, record=record)
            found.append(remembered)
    return found


async def _find_copy(store: BlobStore, path: str) -> BlobInfo | None:
    try:
        return await store.info(path)
    except BlobNotFound:
        return None
    except BlobDamaged:
        async for info in store.list(path):
            if info.path == path:
                return info
        return None


async def forget_file(store: BlobStore, changes: StoreChanges, remembered: RememberedFile, now: datetime) -> None:
    """Forget a file, and have every replica forget it: other bytes may then come under its name. Raises StoreError."""
    one = remembered
    async with changes.changing(Change(Kind.RECORD, one.project), Change(Kind.PACKAGE, one.project)):
        if one.copy is not None:
            await store.delete(one.copy.path)
        await ProjectRecords(store, one.source, url=one.url).forget(one.project, one.filename, now)
        for path in await _list_metadata(store, one):
            with suppress(BlobNotFound):
                await store.delete(path)


async def _list_metadata(store: BlobStore, one: RememberedFile) -> list[str]:
    """List the paths of core metadata that nobody compared with the whole wheel: by its digests, and wherever it ever was."""
    record, home = one.record, layout.home_of(one.source, place_key(one.url))
    wheels = {one.digests.get("sha256"), None if one.copy is None else one.copy.facts.get("sha256")}
    if record is not None:
        wheels |= {seen.of for seen in (record.made, record.observed) if seen is not None}
    by_digest = [layout.upstream_metadata(home, wheel) for wheel in sorted(filter(None, wheels)) if _SHA256.fullmatch(wheel)]
    located = layout.located_folder(one.source, one.project, one.filename)
    return [*by_digest, *[info.path async for info in store.list(located)]]

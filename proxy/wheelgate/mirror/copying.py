"""Resumable copying: every file verified on its way, put in place whole, and never fetched again once it is there.

The store itself makes it resumable. A name there is absent or whole, so after a death at any moment the next run finds
the finished files, proves them by their digests, and fetches the others. The manifest is written last.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC
from pathlib import Path
from typing import cast

import msgspec
from packaging.utils import InvalidWheelFilename

from wheelgate.core.errors import (
    BlobDamaged,
    BlobNotFound,
    FileWithheld,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import BlobInfo, BlobStore, BodyStore, Clock
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, read_core_metadata
from wheelgate.mirror.file_origins import FileOrigin, MirrorFile
from wheelgate.mirror.manifest import METADATA, ManifestEntry, compute_digests, read_stored
from wheelgate.runtime.regular_file import open_regular
from wheelgate.storage.folder import FolderStore
from wheelgate.storage.spool import Spool, SpoolFile

_ATTEMPTS = 3


class CopyResult(msgspec.Struct):
    """The result of copying."""

    entries: list[ManifestEntry] = []
    """Of every file that is there now, verified."""
    fetched: int = 0
    fetched_bytes: int = 0
    repaired: list[str] = []
    """Paths at which something else lay."""
    problems: list[str] = []
    """A sentence for each file that is not there."""


class Copier(msgspec.Struct, kw_only=True, eq=False):
    """A copier: it brings files into a store, a few at a time."""

    store: BodyStore
    spool: Spool
    origin: FileOrigin
    clock: Clock
    known: Mapping[str, ManifestEntry]
    """By path, what the manifest says is there."""
    jobs: int = 8
    on_bytes: Callable[[int], None] = lambda _: None
    on_done: Callable[[MirrorFile], None] = lambda _: None
    wait_s: float = 1.0
    """Between two attempts; longer before each."""
    _spooled: dict[str, SpoolFile] = msgspec.field(default_factory=dict)
    """By path, what is on its way, or was only looked at."""
    under_way: dict[str, None] = msgspec.field(default_factory=dict)
    """Paths that are being worked on, as many as jobs at most, the oldest first; for whoever tells of progress."""

    async def copy(self, items: Iterable[MirrorFile]) -> CopyResult:
        """Copy all of them. A file that is not available does not stop the others; a store that fails does."""
        result = CopyResult()
        waiting = deque(items)
        await asyncio.gather(*(self._work(waiting, result) for _ in range(self.jobs)))
        result.entries.sort(key=lambda entry: entry.path)
        return result

    async def _work(self, waiting: deque[MirrorFile], result: CopyResult) -> None:
        while waiting:
            item = waiting.popleft()
            self.under_way[item.path] = None
            try:
                entry = await self.find_present(item)
                if entry is None:
                    entry = await self._store_file(item, result)
                else:
                    self.on_bytes(entry.size)
                result.entries.append(entry)
                self.on_done(item)
            except (UpstreamError, FileWithheld) as error:
                result.problems.append(str(error))
            except StoreError as error:
                result.problems.append(f"{item.path}: {error}")
                waiting.clear()
            finally:
                self.under_way.pop(item.path, None)

    async def peek(self, item: MirrorFile) -> Path:
        """Open a file, verified, to be read before anything is copied. What is fetched for it is not fetched again.

        Raises:
            UpstreamError, FileWithheld, StoreError: it is not available.
        """
        if item.path not in self._spooled:
            kept = await self.find_present(item, look_only=True)
            if kept is None:
                await self._fetch(item)
            else:
                spooled = self._spooled[item.path] = self.spool.new()
                await self._read_back(item, kept.size, spooled)
        return self._spooled[item.path].path

    def close(self) -> None:
        """Give back what was only looked at."""
        while self._spooled:
            self._spooled.popitem()[1].close()

    async def find_present(self, item: MirrorFile, *, look_only: bool = False) -> ManifestEntry | None:
        """Find the entry of a file that is there already, whole and right; ``None`` if it is to be brought.

        Metadata that is not right beside it is put right, unless ``look_only``: then ``None`` is the answer.

        Raises:
            StoreError: the store cannot be read.
        """
        known = self.known.get(item.path)
        if is_index_document(item.file.filename) and not item.file.hashes:  # only its source can tell if it is still so
            return None
        try:
            info = await self.store.info(item.path)
        except (BlobNotFound, BlobDamaged):  # what lies there instead is taken away when it is brought
            return None
        if item.file.stated_size not in (None, info.size):
            return None
        # We wrote the body of a blob with its digest in one step, and whoever writes it again changes the ETag. A folder has no
        # ETags that would tell: there nothing but the bytes does.
        digests = {"sha256": info.facts["sha256"]} if "sha256" in info.facts else None
        if known is not None and known.etag is not None:
            digests = {"sha256": known.sha256} if known.etag == info.etag else None
        if digests is None or not item.algorithms <= digests.keys():
            digests = await compute_digests(self.store, item.path, info.size, item.algorithms)
        if item.problem_with(digests) is not None or (
            known is not None and not item.file.hashes and known.sha256 != digests["sha256"]
        ):
            return None
        return await self._complete_metadata(item, info, digests["sha256"], known, look_only=look_only)

    async def _complete_metadata(
        self, item: MirrorFile, info: BlobInfo, sha256: str, known: ManifestEntry | None, *, look_only: bool
    ) -> ManifestEntry | None:
        """Complete the entry with the metadata beside it, which is put there again from the wheel itself if it is wrong."""
        stated = known.metadata_sha256 if known is not None else info.facts.get("metadata_sha256")
        lies = await self._digest_metadata(item.path)
        entry = self._build_entry(item, info, sha256, stated)
        if known is not None and known.sha256 == sha256:
            entry = msgspec.structs.replace(entry, stored=known.stored)
        if not look_only:
            entry = msgspec.structs.replace(entry, etag=await self._update_facts(item, info, known) or entry.etag)
        if not item.path.endswith(".whl") or (stated is not None and lies == stated):
            return entry
        if look_only:
            return None
        async with self.spool.holding(size=info.size) as spooled:
            await self._read_back(item, info.size, spooled)
            if spooled.digests()["sha256"] != sha256:
                return None
            metadata = await asyncio.to_thread(_read_metadata, spooled.path, item.file.filename)
        return msgspec.structs.replace(entry, metadata_sha256=await self._put_metadata(item.path, metadata))

    async def _update_facts(self, item: MirrorFile, info: BlobInfo, known: ManifestEntry | None) -> str | None:
        """Tell a container what its index says of a file now, that it was yanked since, say; the new ETag, or ``None``.

        What somebody else said of it there stays.
        """
        then = known.yanked if known is not None else None
        if isinstance(self.store, FolderStore) or "sha256" not in info.facts or info.facts.get("yanked") != then:
            return None
        said = {"requires_python": item.file.requires_python or info.facts.get("requires_python"), "yanked": item.file.yanked}
        facts = {name: value for name, value in {**info.facts, **said}.items() if value is not None}
        if facts == info.facts:
            return None
        return await cast("BlobStore", self.store).set_facts(item.path, facts, info.etag)

    async def _read_back(self, item: MirrorFile, size: int, spooled: SpoolFile) -> None:
        async with aclosing(read_stored(self.store, item.path, size)) as chunks:
            async for chunk in chunks:
                await spooled.append(chunk)

    async def _digest_metadata(self, path: str) -> str | None:
        try:
            return hashlib.sha256((await self.store.read(path + METADATA))[0]).hexdigest()
        except (BlobNotFound, BlobDamaged):
            return None

    async def _store_file(self, item: MirrorFile, result: CopyResult) -> ManifestEntry:
        """Fetch it, prove it, and put it in its place."""
        try:
            spooled = self._spooled.get(item.path) or await self._fetch(item)
            entry = await self._put(item, spooled, result)
        finally:
            if (done := self._spooled.pop(item.path, None)) is not None:
                done.close()
        result.fetched += 1
        result.fetched_bytes += spooled.size
        return entry

    async def _fetch(self, item: MirrorFile) -> SpoolFile:
        file = item.file
        spooled = self._spooled[item.path] = self.spool.new(item.algorithms)
        await spooled.promise.obtain(file.stated_size)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with aclosing(self.origin(item)) as chunks:
                    async for chunk in chunks:
                        await spooled.append(chunk)
                        self.on_bytes(len(chunk))
                break
            except UpstreamUnavailable:
                self.on_bytes(-spooled.size)
                if attempt == _ATTEMPTS:
                    raise
                spooled.restart()
                await asyncio.sleep(self.wait_s * attempt)
        problem = item.problem_with(spooled.digests())
        if problem is None and file.stated_size not in (None, spooled.size):
            problem = f"has {spooled.size} bytes, where {file.stated_size} are listed"
        if problem is not None:
            raise UpstreamBadAnswer(f"{file.filename} of source {file.source} {problem}", source=file.source)
        return spooled

    async def _put(self, item: MirrorFile, spooled: SpoolFile, result: CopyResult) -> ManifestEntry:
        """Put the metadata first: whoever sees the wheel finds it."""
        file, sha256 = item.file, spooled.digests()["sha256"]
        metadata = await asyncio.to_thread(_read_metadata, spooled.path, file.filename)
        metadata_sha256 = await self._put_metadata(item.path, metadata)
        with suppress(BlobNotFound):
            with suppress(BlobDamaged):
                await self.store.info(item.path)
            await self.store.delete(item.path)  # it was looked at before: it is not what it should be
            result.repaired.append(item.path)
        # As uploads have them, so that a container lists complete pages without reading a file.
        facts = {
            "sha256": sha256,
            "upload_time": file.upload_time.astimezone(UTC).isoformat() if file.upload_time else None,
            "metadata_sha256": metadata_sha256,
            "requires_python": file.requires_python or (metadata.requires_python if metadata else None),
            "yanked": file.yanked,
        }
        stated = {name: value for name, value in facts.items() if value is not None}
        info = await self.store.put_if_absent(item.path, spooled.path, stated)
        return self._build_entry(item, info, sha256, metadata_sha256)

    async def _put_metadata(self, path: str, metadata: CoreMetadata | None) -> str | None:
        """Put metadata beside its wheel, if there is any, and return its digest."""
        if metadata is None:
            return None
        digest = hashlib.sha256(metadata.body).hexdigest()
        if await self._digest_metadata(path) != digest:
            await self.store.delete(path + METADATA)
            await self.store.put_if_absent(path + METADATA, metadata.body, {})
        return digest

    def _build_entry(self, item: MirrorFile, info: BlobInfo, sha256: str, metadata_sha256: str | None) -> ManifestEntry:
        return ManifestEntry(
            path=item.path,
            sha256=sha256,
            size=info.size,
            source=item.file.source,
            metadata_sha256=metadata_sha256,
            upload_time=item.file.upload_time,
            requires_python=item.file.requires_python,
            yanked=item.file.yanked,
            needed_by={label: sorted(targets) for label, targets in item.needed_by.items()},
            stored=self.clock.now(),
            etag=None if isinstance(self.store, FolderStore) else info.etag,
        )


def _read_metadata(path: Path, filename: str) -> CoreMetadata | None:
    """Read what the wheel itself says; ``None`` of anything else, and of a wheel that says nothing which can be used."""
    if not filename.endswith(".whl"):
        return None
    try:
        with open_regular(path) as wheel:
            return read_core_metadata(wheel, filename)
    except (BadWheel, InvalidWheelFilename):
        return None

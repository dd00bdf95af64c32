"""Resumable copying: every file verified on its way, put in place whole, and never fetched again once it is there.

The store itself makes it resumable. A name there is absent or whole, so after a death at any moment the next run finds
the finished files, proves them by their digests, and fetches the others. The manifest is told of each file before it is put in
place, and of what is there at the end. Bytes that it vouches for are never replaced by others: whoever lists others is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from wheelgate.core.errors import (
    BlobDamaged,
    FileWithheld,
    StoreError,
    WheelgateError,
)
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import BlobInfo, BlobStore, BodyStore, Clock, Hook
from wheelgate.mirror.companions import FindProvenance, bring_provenance, find_no_provenance, put_metadata, read_metadata
from wheelgate.mirror.fetching import OF_ONE_FILE, Fetcher
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.manifest import METADATA, ManifestEntry, Sighting
from wheelgate.mirror.manifest_file import ManifestFile
from wheelgate.mirror.placing import digest_small, place_body
from wheelgate.mirror.present_files import find_body
from wheelgate.storage.folder import FolderStore
from wheelgate.storage.spool import SpoolFile

_NAME_BYTES = 255
"""Of a file in a folder."""


class CopyResult(msgspec.Struct):
    """The result of copying."""

    entries: list[ManifestEntry] = []
    """Of every file that is there now, verified."""
    fetched: int = 0
    fetched_bytes: int = 0
    repaired: list[str] = []
    """Paths at which something else lay."""
    refused: list[str] = []
    """Paths that stand for other bytes than those listed now, or for another's project."""
    problems: list[str] = []
    """A sentence for each file that is not there, or was refused."""
    notes: list[str] = []

    def refuse(self, path: str, sentence: str) -> None:
        self.refused.append(path)
        self.problems.append(sentence)


class Copier(msgspec.Struct, kw_only=True, eq=False):
    """A copier: it brings files into a store, a few at a time."""

    store: BodyStore
    fetcher: Fetcher
    manifest: ManifestFile
    """Tells what is there, and is told of each file before that is put in place."""
    clock: Clock
    find_provenance: FindProvenance = find_no_provenance
    jobs: int = 8
    on_bytes: Callable[[int], None] = lambda _: None
    on_done: Callable[[MirrorFile], None] = lambda _: None
    under_way: dict[str, None] = msgspec.field(default_factory=dict)
    """Paths that are being worked on, as many as jobs at most, the oldest first; for whoever tells of progress."""

    async def copy(self, items: Iterable[MirrorFile], seen: Iterable[Sighting] = ()) -> CopyResult:
        """Copy all of them. A file that is not available, or cannot be kept, stops no other; a store that fails stops all.

        ``seen``: what was seen elsewhere besides, and is not brought.

        Raises:
            StoreError, BadInput: the manifest cannot be written; nothing was brought.
        """
        result = CopyResult()
        wanted = list(items)
        listed = [self._sight(item, sha256) for item in wanted if (sha256 := _find_listed_digest(item)) is not None]
        refused = await self.manifest.announce([*listed, *seen])
        for path, sentence in refused.items():
            result.refuse(path, sentence)
        waiting = deque(item for item in wanted if item.path not in refused)
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
                result.entries.append(await self._bring_provenance(item, entry, result))
                self.on_done(item)
            except FileWithheld as error:
                result.refuse(item.path, str(error))
            except OF_ONE_FILE as error:
                result.problems.append(f"{item.path}: {error}")
            except StoreError as error:
                result.problems.append(f"{item.path}: {error}")
                waiting.clear()
            except WheelgateError as error:
                result.problems.append(str(error))
            finally:
                self.under_way.pop(item.path, None)

    async def peek(self, item: MirrorFile) -> Path:
        """Open a file, verified, to be read before anything is copied. What is fetched for it is not fetched again.

        Where the mirror keeps other bytes than are listed now, it is those.

        Raises:
            UpstreamError, FileWithheld, StoreError: it is not available.
        """
        spooled = self.fetcher.find(item.path)
        if spooled is None:
            kept = await find_body(self.store, self.manifest, item)
            if kept is None:
                spooled = await self.fetcher.fetch(item)
            else:
                spooled = await self.fetcher.read_back(self.store, item.path, kept[0].size)
        return spooled.path

    def close(self) -> None:
        """Give back what was only looked at."""
        self.fetcher.close()

    async def find_present(self, item: MirrorFile, *, look_only: bool = False) -> ManifestEntry | None:
        """Find the entry of a file that is there already, whole and right; ``None`` if it is to be brought.

        Metadata that is not right beside it is put right, unless ``look_only``: then ``None`` is the answer.

        Raises:
            FileWithheld: it is there, vouched for, and not what is listed or allowed now.
            StoreError: the store cannot be read.
        """
        if isinstance(self.store, FolderStore) and len(f"{item.file.filename}{METADATA}") > _NAME_BYTES:
            if look_only:
                return None
            raise BlobDamaged("its name is too long for a folder, with what is kept beside it: mirror to a container")
        if is_index_document(item.file.filename) and not item.file.hashes:  # only its source can tell if it is still so
            return None
        held = self.manifest.find_held(item.path)
        found = await find_body(self.store, self.manifest, item)
        if found is None:
            return None
        info, digests = found
        problem = item.problem_with(digests)
        if problem is None and item.file.stated_size not in (None, info.size):
            problem = f"has {info.size} bytes, where {item.file.stated_size} are listed"
        if problem is not None and held is not None and not is_index_document(item.file.filename):
            raise FileWithheld(_describe_kept(item, held, problem, self.manifest.place))
        if problem is not None or (not item.file.hashes and self.manifest.find_digest(item.path) is None):
            return None
        if await self._announce(item, digests["sha256"], look_only=look_only):
            return await self._complete_metadata(item, info, digests["sha256"], held, look_only=look_only)
        return None

    async def _announce(self, item: MirrorFile, sha256: str, *, look_only: bool = False) -> bool:
        """Have the manifest say that its name is for these bytes. ``look_only``: tell whether it says nothing else.

        Raises:
            FileWithheld: it is for others.
        """
        vouched = self.manifest.find_digest(item.path)
        if vouched == sha256 or (look_only and vouched is None) or is_index_document(item.file.filename):
            return True
        if look_only:
            return False
        for sentence in (await self.manifest.announce([self._sight(item, sha256)])).values():
            raise FileWithheld(sentence)
        return True

    async def _complete_metadata(
        self, item: MirrorFile, info: BlobInfo, sha256: str, known: ManifestEntry | None, *, look_only: bool
    ) -> ManifestEntry | None:
        """Complete the entry with the metadata beside it, which is put there again from the wheel itself if it is wrong."""
        stated = known.metadata_sha256 if known is not None else info.facts.get("metadata_sha256")
        lies = await digest_small(self.store, item.path + METADATA)
        entry = self._build_entry(item, info, sha256, stated)
        if not look_only:
            entry = msgspec.structs.replace(entry, etag=await self._update_facts(item, info, known) or entry.etag)
        if not item.path.endswith(".whl") or (stated is not None and lies == stated):
            return entry
        if look_only:
            return None
        self.fetcher.drop(item.path)
        try:
            spooled = await self.fetcher.read_back(self.store, item.path, info.size)
            if spooled.digests()["sha256"] != sha256:
                return None
            metadata = await asyncio.to_thread(read_metadata, spooled.path, item.file.filename)
        finally:
            self.fetcher.drop(item.path)
        return msgspec.structs.replace(
            entry, metadata_sha256=await put_metadata(self.store, item.path, metadata, self._meaning(item, sha256))
        )

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

    async def _store_file(self, item: MirrorFile, result: CopyResult) -> ManifestEntry:
        """Fetch it, prove it, have it vouched for, and put it in its place."""
        try:
            spooled = self.fetcher.find_proven(item) or await self.fetcher.fetch(item)
            await self._announce(item, spooled.digests()["sha256"])
            entry = await self._put(item, spooled, result)
        finally:
            self.fetcher.drop(item.path)
        result.fetched += 1
        result.fetched_bytes += spooled.size
        return entry

    async def _put(self, item: MirrorFile, spooled: SpoolFile, result: CopyResult) -> ManifestEntry:
        """Put the metadata first: whoever sees the wheel finds it."""
        file, sha256 = item.file, spooled.digests()["sha256"]
        metadata = await asyncio.to_thread(read_metadata, spooled.path, file.filename)
        meant = self._meaning(item, sha256)
        metadata_sha256 = await put_metadata(self.store, item.path, metadata, meant)
        # As uploads have them, so that a container lists complete pages without reading a file.
        facts = {
            "sha256": sha256,
            "upload_time": file.upload_time.astimezone(UTC).isoformat() if file.upload_time else None,
            "metadata_sha256": metadata_sha256,
            "requires_python": file.requires_python or (metadata.requires_python if metadata else None),
            "yanked": file.yanked,
        }
        stated = {name: value for name, value in facts.items() if value is not None}
        info, is_repaired = await place_body(self.store, item.path, spooled.path, stated, sha256, meant)
        if is_repaired:
            result.repaired.append(item.path)
        return self._build_entry(item, info, sha256, metadata_sha256)

    async def _bring_provenance(self, item: MirrorFile, entry: ManifestEntry, result: CopyResult) -> ManifestEntry:
        held = self.manifest.find_held(item.path)
        vouched = held.provenance_sha256 if held is not None and held.sha256 == entry.sha256 else None
        meant = self._meaning(item, entry.sha256)
        digest, note = await bring_provenance(self.store, item, entry, vouched, self.find_provenance, meant)
        result.notes += [] if note is None else [note]
        return msgspec.structs.replace(entry, provenance_sha256=digest)

    def _meaning(self, item: MirrorFile, sha256: str) -> Hook:
        """Require that the name is meant for these bytes still: what nobody stated gives way, perhaps to another run's."""
        sighting = self._sight(item, sha256)
        return partial(self.manifest.require, sighting)

    def _sight(self, item: MirrorFile, sha256: str) -> Sighting:
        return Sighting(
            path=item.path,
            sha256=sha256,
            source=item.file.source,
            origin=item.origin,
            observed=["sha256"] if "sha256" in item.observed else [],
            seen=self.clock.now(),
        )

    def _build_entry(self, item: MirrorFile, info: BlobInfo, sha256: str, metadata_sha256: str | None) -> ManifestEntry:
        file, now = item.file, self.clock.now()
        return ManifestEntry(
            path=item.path,
            sha256=sha256,
            size=info.size,
            source=file.source,
            origin=item.origin,
            observed=item.observed,
            metadata_sha256=metadata_sha256,
            upload_time=file.upload_time,
            requires_python=file.requires_python,
            yanked=file.yanked,
            as_of=min(item.as_of or now, now),  # a bundle's clock that was ahead must not outlast what an index says later
            needed_by={label: sorted(targets) for label, targets in item.needed_by.items()},
            stored=now,
            etag=None if isinstance(self.store, FolderStore) else info.etag,
        )


def _find_listed_digest(item: MirrorFile) -> str | None:
    """Find the sha256 that is listed of a file which never changes."""
    return None if is_index_document(item.file.filename) else item.file.hashes.get("sha256")


def _describe_kept(item: MirrorFile, held: ManifestEntry, problem: str, place: str) -> str:
    return (
        f"ALARM: {item.path}, as {place} holds it since {held.stored:%Y-%m-%d} from source {held.source}, {problem}: it stays, "
        f"and what source {item.file.source} lists is refused; a file name never changes its content"
    )

"""Facts that a mirror's manifest has of its files, and the files themselves have not: yank marks, constraints, upload times."""

from __future__ import annotations

import asyncio
import math
import operator
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec
from cachetools import LRUCache

from wheelgate.core.constraints import read_constraint
from wheelgate.core.digests import Sha256
from wheelgate.core.errors import BlobNotFound, StoreError
from wheelgate.core.file_list import RECENT_BYTES, FileList, page_bytes
from wheelgate.core.model import File, FormatVersion, LocalFile, ProjectPage, StoredFile, file_etag
from wheelgate.core.protocols import BlobStore, Clock, Source, SourceWrapper
from wheelgate.runtime.regular_file import open_below, stat_below
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api.collector import clean, in_utc

MANIFEST_NAME = "wheelgate-mirror.json"
MANIFEST_VERSION = 2
Origin = Literal["private", "merged", "public"]
"""Whose a file of a mirror is: of a private source; of a public one that a merge rule joins with such; or of a public one."""
_MAX_BYTES = 128 * 1024 * 1024


class _StatedFacts(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    sha256: Sha256
    size: int
    upload_time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    requires_python: str | None = None
    yanked: str | None = None


class _ManifestHead(msgspec.Struct):
    wheelgate_mirror: FormatVersion


class _ManifestFacts(msgspec.Struct):
    files: list[_StatedFacts]


class MirrorFacts(msgspec.Struct, frozen=True):
    """One reading of the manifest at the top of a folder; of a folder without one, nothing."""

    etag: str | None = None
    """Of the file; ``None``: there is none."""
    entries: Mapping[str, _StatedFacts] = {}
    """By path below the folder."""

    def describe(self, file: File, path: str) -> File:
        """Add what the manifest says of a file, if it is the one that it speaks of.

        A file whose digest is not known yet is taken for it by its size: a mark too many is none the worse.
        """
        entry = self.entries.get(path)
        if entry is None or file.size != entry.size or file.hashes.get("sha256", entry.sha256) != entry.sha256:
            return file
        return msgspec.structs.replace(
            file,
            upload_time=in_utc(entry.upload_time) or file.upload_time,
            requires_python=read_constraint(entry.requires_python) or file.requires_python,
            yanked=file.yanked if entry.yanked is None else clean(entry.yanked),
        )

    def describe_local(self, file: File, root: Path) -> File:
        """Do the same for a file in a folder."""
        return self.describe(file, os.path.relpath(cast("LocalFile", file.location).path, root)) if self.entries else file


def read_mirror_facts(root: Path, before: MirrorFacts) -> MirrorFacts:
    """Read the manifest of a folder again, if it is another one than before; the same object if it is not. Blocks.

    Raises:
        StoreError: it cannot be read: what of its files is yanked, nobody can tell.
        OSError: the folder cannot be.
    """
    try:
        if file_etag(stat_below(root, MANIFEST_NAME)) == before.etag:
            return before
        with open_below(root, MANIFEST_NAME) as manifest:
            etag = file_etag(os.fstat(manifest.fileno()))
            body = manifest.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return before if before.etag is None else MirrorFacts()
    return MirrorFacts(etag, _read_entries(body, str(root / MANIFEST_NAME)))


def _read_entries(body: bytes, place: str) -> Mapping[str, _StatedFacts]:
    """Read what a manifest says of each file. Raises StoreError."""
    if len(body) > _MAX_BYTES:
        raise StoreError(f"{place} is larger than any manifest")
    try:
        version = msgspec.json.decode(body, type=_ManifestHead).wheelgate_mirror
        if not 1 <= version <= MANIFEST_VERSION:
            raise StoreError(f"{place} has version {version}, which this Wheelgate does not support: use a newer release")
        entries = {entry.path: entry for entry in msgspec.json.decode(body, type=_ManifestFacts).files}
        for entry in entries.values():
            read_constraint(entry.requires_python)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise StoreError(
            f"{place} is damaged: carry it over again, or run `wheelgate mirror` again; without it nobody can tell which of its "
            "files are yanked"
        ) from None
    return entries


class MirroredContainer(SourceWrapper):
    """A container whose pages say what the manifest at its top says, if there is one, of whatever was carried there."""

    def __init__(self, source: Source, *, store: BlobStore, clock: Clock, fresh_s: float) -> None:
        """``fresh_s``: time for which the manifest is not looked at again."""
        super().__init__(source)
        self._store = store
        self._clock = clock
        self._fresh_s = fresh_s
        self._fresh_until = -math.inf
        self._facts: MirrorFacts | None = None
        """The last reading; ``None``: it has not been read yet."""
        self._flights: SingleFlight[None] = SingleFlight()
        self._pages: LRUCache[str, tuple[object, ProjectPage]] = LRUCache(
            RECENT_BYTES, getsizeof=lambda made: page_bytes(made[1])
        )

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._flights.close()

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. Under the same revision while neither page nor manifest changed."""
        page = await self._source.project_page(project)
        if self._clock.monotonic() >= self._fresh_until:
            try:
                await self._flights.run("manifest", self._read)
            except StoreError:
                if self._facts is None and not page.stale:  # a page that stands in does so while nothing can be read
                    raise
        facts = self._facts
        if facts is None or not facts.entries:
            return page
        made_of = (page.revision, facts.etag)
        known_of, known = self._pages.get(project, (None, page))
        if known_of != made_of:
            files = [facts.describe(file, cast("StoredFile", file.location).path) for file in page.files]
            known = (
                page
                if all(map(operator.is_, files, page.files))
                else page.with_files(FileList(files, [page.files]), page.withheld)
            )
            self._pages.pop(project, None)
            if page_bytes(known) <= self._pages.maxsize:
                self._pages[project] = made_of, known
        return known.with_state_of(page)

    async def _read(self) -> None:
        try:
            info = await self._store.info(MANIFEST_NAME)
            if self._facts is None or info.etag != self._facts.etag:
                body, info = await self._store.read(MANIFEST_NAME)
                entries = await asyncio.to_thread(_read_entries, body, f"{MANIFEST_NAME} of source {self.name}")
                self._facts = MirrorFacts(info.etag, entries)
        except BlobNotFound:
            self._facts = MirrorFacts()
        self._fresh_until = self._clock.monotonic() + self._fresh_s

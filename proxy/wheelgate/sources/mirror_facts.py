"""Facts that a mirror's manifest has of its files, and the files themselves have not: yank marks, constraints, upload times."""

from __future__ import annotations

import asyncio
import math
import operator
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from cachetools import LRUCache

from wheelgate.core.constraints import read_constraint
from wheelgate.core.digests import Sha256
from wheelgate.core.errors import BlobNotFound, StoreError
from wheelgate.core.file_list import RECENT_BYTES, FileList, page_bytes
from wheelgate.core.model import File, FormatVersion, LocalFile, ProjectPage, StoredFile, Withheld, file_etag
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import BlobStore, Clock, Source, SourceWrapper
from wheelgate.runtime.regular_file import open_below, stat_below
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api.collector import clean, in_utc

MANIFEST_NAME = "wheelgate-mirror.json"
MANIFEST_VERSION = 2
Origin = Literal["private", "merged", "public"]
"""Whose a file of a mirror is: of a private source; of a public one that a merge rule joins with such; or of a public one."""
_MAX_BYTES = 128 * 1024 * 1024


_DIGEST_RULE = "digest"
"""The rule by which a file is withheld that is not what its name stands for, as everywhere."""


class _StatedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One file that the manifest has as held, or as seen: of such a one it says little more than whose it is."""

    path: str
    sha256: Sha256
    source: str = ""
    origin: Origin | None = None
    size: int | None = None
    upload_time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    requires_python: str | None = None
    yanked: str | None = None


class _ManifestHead(msgspec.Struct):
    wheelgate_mirror: FormatVersion


class _ManifestFacts(msgspec.Struct):
    files: list[_StatedFacts]
    seen: list[_StatedFacts] = []


class ToldProject(msgspec.Struct, frozen=True):
    """The word of a manifest on a project: whose it is."""

    is_own: bool
    """A file of it came from a private source."""
    source: str
    """The source that it came from, as it was called there."""


class MirrorFacts(msgspec.Struct, frozen=True):
    """One reading of the manifest at the top of a folder or container; where there is none, nothing."""

    etag: str | None = None
    """Of the file; ``None``: there is none."""
    entries: Mapping[str, _StatedFacts] = {}
    """By path below the top."""
    projects: Mapping[str, ToldProject] = {}
    """By name, those of which it says whose they are."""
    doubtful: frozenset[str] = frozenset()
    """Names of which it does not, although it has files of them and says it of others: a former release mirrored them."""

    def describe(self, file: File, path: str) -> File | Withheld:
        """Add what the manifest says of a file. One that is not what it speaks of is withheld: its name is for other bytes.

        Where a file has not been read, it is listed with the digest that the manifest has, so that nobody installs another.
        """
        entry = self.entries.get(path)
        if entry is None:
            return file
        digest, is_document = file.hashes.get("sha256"), is_index_document(file.filename)
        if not is_document and (digest not in (None, entry.sha256) or (entry.size is not None and file.size != entry.size)):
            reason = (
                f"source {file.source} has other bytes under this name than its {MANIFEST_NAME} vouches for: run "
                "`wheelgate mirror` there again, or carry it over again"
            )
            return Withheld(file.filename, file.source, _DIGEST_RULE, reason)
        return msgspec.structs.replace(
            file,
            hashes=file.hashes if digest is not None or is_document else {**file.hashes, "sha256": entry.sha256},
            upload_time=in_utc(entry.upload_time) or file.upload_time,
            requires_python=read_constraint(entry.requires_python) or file.requires_python,
            yanked=file.yanked if entry.yanked is None else clean(entry.yanked),
        )

    def describe_all(self, files: Iterable[File]) -> tuple[list[File], tuple[Withheld, ...]]:
        """Describe the files of a page: those to be listed, and those that are withheld."""
        if not self.entries:
            return list(files), ()
        described = [self.describe(file, path_of(file)) for file in files]
        listed = [one for one in described if isinstance(one, File)]
        return listed, tuple(one for one in described if isinstance(one, Withheld))

    def find_origin(self, file: File) -> Origin | None:
        """Find whose a file is; ``None``: the manifest does not say."""
        entry = self.entries.get(path_of(file))
        return None if entry is None else entry.origin


def path_of(file: File) -> str:
    """Find the path of a file below the top of the mirror that lists it."""
    location = file.location
    if isinstance(location, LocalFile):
        return os.path.relpath(location.path, location.root)
    return location.path if isinstance(location, StoredFile) else ""


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
    return _read_facts(body, etag, str(root / MANIFEST_NAME))


def _read_facts(body: bytes, etag: str, place: str) -> MirrorFacts:
    """Read what a manifest says of each file, and of each project. Raises StoreError."""
    if len(body) > _MAX_BYTES:
        raise StoreError(f"{place} is larger than any manifest")
    try:
        version = msgspec.json.decode(body, type=_ManifestHead).wheelgate_mirror
        if not 1 <= version <= MANIFEST_VERSION:
            raise StoreError(f"{place} has version {version}, which this Wheelgate does not support: use a newer release")
        manifest = msgspec.json.decode(body, type=_ManifestFacts)
        entries = {entry.path: entry for entry in (*manifest.seen, *manifest.files)}
        for entry in entries.values():
            read_constraint(entry.requires_python)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise StoreError(
            f"{place} is damaged: carry it over again, or run `wheelgate mirror` again; without it nobody can tell which of its "
            "files are yanked, or whose they are"
        ) from None
    projects: dict[str, ToldProject] = {}
    for entry in entries.values():
        project, is_own = entry.path.partition("/")[0], entry.origin == "private"
        if entry.origin is not None and (is_own or project not in projects):
            projects[project] = ToldProject(is_own, entry.source)
    unsaid = {entry.path.partition("/")[0] for entry in entries.values()} - projects.keys()
    return MirrorFacts(etag, entries, projects, frozenset(unsaid) if projects else frozenset())


class ReadFacts(Protocol):
    """The reader of the manifest of a source that may be a mirror."""

    async def __call__(self, since: datetime | None = None) -> tuple[MirrorFacts, float]:
        """Read it, and until when (monotonic seconds) it need not be read again. What was read last stands in.

        ``since``: no earlier reading will do than one that knows of what was listed at this moment.

        Raises:
            StoreError, UpstreamError: it never was read, or not since.
        """


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
        self._read_at: datetime | None = None
        """When that began."""
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
        try:
            facts, _ = await self.read_facts()
        except StoreError:
            if not page.stale:  # a page that stands in does so while nothing can be read
                raise
            return page
        if not facts.entries:
            return page
        made_of = (page.revision, facts.etag)
        known_of, known = self._pages.get(project, (None, page))
        if known_of != made_of:
            files, withheld = facts.describe_all(page.files)
            is_same = not withheld and all(map(operator.is_, files, page.files))
            known = page if is_same else page.with_files(FileList(files, [page.files]), (*page.withheld, *withheld))
            self._pages.pop(project, None)
            if page_bytes(known) <= self._pages.maxsize:
                self._pages[project] = made_of, known
        return known.with_state_of(page)

    async def read_facts(self, since: datetime | None = None) -> tuple[MirrorFacts, float]:
        """See :class:`ReadFacts`."""
        is_due = self._clock.monotonic() >= self._fresh_until
        for _ in range(2):  # one that was under way already may have begun too early; the next one cannot have
            if not is_due and not self._is_earlier(since):
                break
            is_due = False
            try:
                await self._flights.run("manifest", self._read)
            except StoreError:
                if self._facts is None or self._is_earlier(since):
                    raise
        if self._facts is None or self._is_earlier(since):
            raise StoreError(f"{MANIFEST_NAME} of source {self.name} was not read")
        return self._facts, self._fresh_until

    def _is_earlier(self, since: datetime | None) -> bool:
        return since is not None and (self._read_at is None or self._read_at < since)

    async def _read(self) -> None:
        read_at = self._clock.now()
        try:
            info = await self._store.info(MANIFEST_NAME)
            if self._facts is None or info.etag != self._facts.etag:
                body, info = await self._store.read(MANIFEST_NAME)
                self._facts = await asyncio.to_thread(_read_facts, body, info.etag, f"{MANIFEST_NAME} of source {self.name}")
        except BlobNotFound:
            self._facts = MirrorFacts()
        self._read_at = read_at
        self._fresh_until = self._clock.monotonic() + self._fresh_s

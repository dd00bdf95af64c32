"""Folder of wheels and sdists, in any layout: what is put there is listed within seconds, what is removed is gone."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import NEVER_FRESH, File, Freshness, LocalFile, ProjectPage, file_etag
from wheelgate.core.names import project_in
from wheelgate.core.protocols import Clock
from wheelgate.distfiles.core_metadata import BadWheel, read_core_metadata
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.page_builder import page_of

RESCAN_S = 2.0
_SCANS = 5
_INLINE_BYTES = 32 * 1024 * 1024  # of unread files: a first page waits for that much hashing, no more
_log = logging.getLogger(__name__)


class _FoundFile(msgspec.Struct, frozen=True):
    """A wheel or sdist as the last scan found it."""

    path: str
    etag: str
    size: int
    modified: datetime

    @property
    def key(self) -> tuple[str, str]:
        """Identity of its content, as far as the file system tells."""
        return self.path, self.etag


class _FileFacts(msgspec.Struct, frozen=True):
    """Facts read out of a file. Valid as long as its path and ETag are the same."""

    sha256: str
    metadata_sha256: str | None
    requires_python: str | None


class Directory:
    """A :class:`~wheelgate.core.protocols.Source` over a folder of this machine, read again at most every two seconds.

    A file's digest and core metadata are worked out when its project is first asked for (large files in the background; they
    are listed without a digest until then). The modification time stands as upload time.
    """

    def __init__(self, *, name: str, root: Path, clock: Clock, inline_bytes: int = _INLINE_BYTES) -> None:
        self._name = name
        self._inline_bytes = inline_bytes
        self._root = root
        self._clock = clock
        self._scanned_s: float | None = None
        self._projects: dict[str, dict[str, _FoundFile]] = {}
        self._since: dict[str, datetime] = {}
        self._pages: dict[str, ProjectPage] = {}
        self._facts: dict[tuple[str, str], _FileFacts | None] = {}
        """``None``: it cannot be read now, so it is not listed; tried again after the next scan."""
        self._flights: SingleFlight[None] = SingleFlight()
        self._reading: set[tuple[str, str]] = set()
        """Large files on their way to facts."""
        self._tasks = BackgroundTasks()

    @property
    def name(self) -> str:
        """The operator's name for it."""
        return self._name

    async def close(self) -> None:
        """Stop reading in the background."""
        await self._tasks.close()
        await self._flights.close()

    async def project_names(self) -> frozenset[str]:
        """Every project with a file."""
        await self._refresh()
        return frozenset(self._projects)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`."""
        await self._refresh()
        while (page := self._pages.get(project)) is None:
            found = self._projects.get(project)
            if not found:
                raise ProjectNotFound(f"source {self._name} has no project {project}", fresh_until=self._fresh_until)
            await self._flights.run(project, lambda: self._read(project))
            if self._projects.get(project) is found:  # else the folder was scanned meanwhile: there may be more to read
                page = self._pages[project] = self._page(project, found)
                break
        # What is still being read changes the page when it has been.
        complete = self._reading.isdisjoint(found.key for found in self._projects.get(project, {}).values())
        freshness = Freshness(self._fresh_until) if complete else NEVER_FRESH
        if page.freshness != freshness:
            page = self._pages[project] = msgspec.structs.replace(page, freshness=freshness)
        return page

    @property
    def _fresh_until(self) -> float:
        return -math.inf if self._scanned_s is None else self._scanned_s + RESCAN_S

    async def _refresh(self) -> None:
        if self._scanned_s is None or self._clock.monotonic() - self._scanned_s >= RESCAN_S:
            await self._flights.run("", self._scan)

    async def _scan(self) -> None:
        try:
            projects = await asyncio.to_thread(_scan_whole, self._root)
        except OSError as error:
            # An unmounted disk looks like this. Were it "no projects", public ones of the same names would be next.
            raise UpstreamUnavailable(
                f"source {self._name}: the folder {self._root} cannot be read ({(error.strerror or '').lower()})",
                source=self._name,
            ) from None
        known = self._projects
        projects = {name: known[name] if known.get(name) == files else files for name, files in projects.items()}
        self._pages = {
            name: page for name, page in self._pages.items() if projects.get(name) is known.get(name) and not page.dropped
        }
        self._projects = projects
        now = self._clock.now()
        self._since = {name: self._since.get(name, now) for name in projects}
        present = {found.key for files in projects.values() for found in files.values()}
        self._facts = {key: facts for key, facts in self._facts.items() if key in present and facts is not None}
        self._scanned_s = self._clock.monotonic()

    async def _read(self, project: str) -> None:
        """Learn what the listing needs of files not read yet: small ones now, the rest meanwhile."""
        found_now = self._projects.get(project, {}).values()
        unread = [found for found in found_now if found.key not in self._facts and found.key not in self._reading]
        later = []
        budget = self._inline_bytes
        for found in sorted(unread, key=lambda found: found.size):
            budget -= found.size
            if budget < 0:
                later.append(found)
            else:
                await self._learn(found)
        if later:
            keys = [found.key for found in later]
            self._reading.update(keys)
            self._tasks.start(tuple(keys), lambda: self._read_later(project, later))

    async def _read_later(self, project: str, later: list[_FoundFile]) -> None:
        try:
            for found in later:
                await self._learn(found)
        finally:
            self._reading.difference_update(found.key for found in later)
            self._pages.pop(project, None)

    async def _learn(self, found: _FoundFile) -> None:
        try:
            self._facts[found.key] = await asyncio.to_thread(_read_facts, found)
        except OSError as error:
            _log.warning("source %s: %s cannot be read: %s", self._name, found.path, error.strerror)
            self._facts[found.key] = None

    def _page(self, project: str, found_now: Mapping[str, _FoundFile]) -> ProjectPage:
        files = [
            self._file(project, name, found)
            for name, found in found_now.items()
            if found.key not in self._facts or self._facts[found.key] is not None
        ]
        page = page_of(project, files, as_of=self._clock.now(), dropped=len(found_now) - len(files))
        return msgspec.structs.replace(page, known_since=self._since[project])

    def _file(self, project: str, filename: str, found: _FoundFile) -> File:
        facts = self._facts.get(found.key)
        return File(
            filename=filename,
            project=project,
            source=self._name,
            location=LocalFile(found.path, found.etag),
            hashes={"sha256": facts.sha256} if facts else {},
            size=found.size,
            upload_time=found.modified,
            requires_python=facts.requires_python if facts else None,
            core_metadata=_metadata(facts, filename),
        )


def _metadata(facts: _FileFacts | None, filename: str) -> dict[str, str] | None:
    if facts is None:  # a large file, read later: its metadata is read when it is asked for
        return {} if filename.endswith(".whl") else None
    return {"sha256": facts.metadata_sha256} if facts.metadata_sha256 else None


def _scan_whole(root: Path) -> dict[str, dict[str, _FoundFile]]:
    """Scan everything below, or fail: with a part unheard, a name would seem to be free.

    Raises:
        OSError: it cannot be read.
    """
    for _ in range(_SCANS - 1):
        with contextlib.suppress(FileNotFoundError):  # something was removed meanwhile, or all of it: look again
            return _scan(root)
    return _scan(root)


def _scan(root: Path) -> dict[str, dict[str, _FoundFile]]:
    projects: dict[str, dict[str, _FoundFile]] = {}
    for entry in _walk(root):
        project = project_in(entry.name)
        if project is None:
            continue
        stat = entry.stat(follow_symlinks=False)
        found = _FoundFile(entry.path, file_etag(stat), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
        projects.setdefault(project, {}).setdefault(entry.name, found)
    return projects


def _walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every plain file below, in a stable order. Links are not followed: they may lead out of the folder."""
    with os.scandir(root) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield entry


def _read_facts(found: _FoundFile) -> _FileFacts | None:
    """Read the facts of a file; ``None`` if it is no longer the one that was found (still being written, or replaced)."""
    with Path(found.path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if file_etag(os.fstat(file.fileno())) != found.etag:
            return None
        if not found.path.endswith(".whl"):
            return _FileFacts(sha256, None, None)
        try:
            metadata = read_core_metadata(file, Path(found.path).name)
        except BadWheel as error:
            _log.warning("%s offers no core metadata: it %s", found.path, error)
            return _FileFacts(sha256, None, None)
        return _FileFacts(sha256, hashlib.sha256(metadata.body).hexdigest(), metadata.requires_python)

"""A folder of wheels and sdists, in any layout: what is put there is listed within seconds, what is removed is gone."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from proxy.core_metadata import BadWheel, read_core_metadata
from proxy.errors import ProjectNotFound, UpstreamUnavailable
from proxy.model import File, LocalFile, ProjectPage
from proxy.names import is_safe_filename, version_of
from proxy.protocols import Clock
from proxy.singleflight import SingleFlight

RESCAN_S = 2.0
_INLINE_BYTES = 32 * 1024 * 1024  # of unread files: a first page waits for that much hashing, no more
_log = logging.getLogger(__name__)


class _Found(msgspec.Struct, frozen=True):
    path: str
    etag: str
    size: int
    modified: datetime


class _Facts(msgspec.Struct, frozen=True):
    """What reading a file told us. Valid as long as its path and ETag are the same."""

    sha256: str
    metadata_sha256: str | None
    requires_python: str | None


class Directory:
    """A :class:`~proxy.protocols.Source` over a folder of this machine, read again at most every two seconds.

    A file's digest and core metadata are worked out when its project is first asked for (large files in the background; they
    are listed without a digest until then). The modification time stands as upload time.
    """

    def __init__(self, *, name: str, root: Path, clock: Clock) -> None:
        self._name = name
        self._root = root
        self._clock = clock
        self._scanned_s: float | None = None
        self._projects: dict[str, dict[str, _Found]] = {}
        self._pages: dict[str, ProjectPage] = {}
        self._facts: dict[tuple[str, str], _Facts | None] = {}
        self._flights: SingleFlight[None] = SingleFlight()
        self._reading: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The operator's name for it."""
        return self._name

    async def close(self) -> None:
        """Stop reading in the background."""
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self._flights.close()

    async def project_names(self) -> frozenset[str]:
        """Every project with a file."""
        await self._refresh()
        return frozenset(self._projects)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~proxy.protocols.Source`."""
        await self._refresh()
        if project not in self._projects:
            raise ProjectNotFound(f"source {self._name} has no project {project}")
        page = self._pages.get(project)
        if page is None:
            await self._flights.run(project, lambda: self._read(project))
            page = self._page(project)
            self._pages[project] = page
        return page

    async def _refresh(self) -> None:
        if self._scanned_s is None or self._clock.monotonic() - self._scanned_s >= RESCAN_S:
            await self._flights.run("", self._scan)

    async def _scan(self) -> None:
        try:
            projects = await asyncio.to_thread(_scan, self._root)
        except OSError as error:
            # An unmounted disk looks like this. Were it "no projects", public ones of the same names would be next.
            raise UpstreamUnavailable(
                f"source {self._name}: the folder {self._root} cannot be read ({(error.strerror or '').lower()})",
                source=self._name,
            ) from None
        self._pages = {name: page for name, page in self._pages.items() if projects.get(name) == self._projects.get(name)}
        self._projects = projects
        present = {(found.path, found.etag) for files in projects.values() for found in files.values()}
        self._facts = {key: facts for key, facts in self._facts.items() if key in present}
        self._scanned_s = self._clock.monotonic()

    async def _read(self, project: str) -> None:
        """Learn what the listing needs of files not read yet: small ones now, the rest meanwhile."""
        unread = [f for f in self._projects.get(project, {}).values() if (f.path, f.etag) not in self._facts]
        later = []
        budget = _INLINE_BYTES
        for found in sorted(unread, key=lambda found: found.size):
            budget -= found.size
            if budget < 0:
                later.append(found)
            else:
                await self._learn(found)
        if later:
            task = asyncio.create_task(self._read_later(project, later))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read_later(self, project: str, later: list[_Found]) -> None:
        for found in later:
            await self._learn(found)
        self._pages.pop(project, None)

    async def _learn(self, found: _Found) -> None:
        try:
            self._facts[found.path, found.etag] = await asyncio.to_thread(_read_facts, found)
        except OSError as error:
            _log.warning("source %s: %s cannot be read: %s", self._name, found.path, error.strerror)
            self._facts[found.path, found.etag] = None

    def _page(self, project: str) -> ProjectPage:
        found_now = self._projects.get(project, {})
        if not found_now:  # removed while it was read
            raise ProjectNotFound(f"source {self._name} has no project {project}")
        files = tuple(self._file(project, name, found) for name, found in sorted(found_now.items()))
        versions = dict.fromkeys(filter(None, (version_of(file.filename, project) for file in files)))
        return ProjectPage(project=project, files=files, versions=tuple(versions), as_of=self._clock.now())

    def _file(self, project: str, filename: str, found: _Found) -> File:
        facts = self._facts.get((found.path, found.etag))
        return File(
            filename=filename,
            project=project,
            source=self._name,
            location=LocalFile(found.path, found.etag),
            hashes={"sha256": facts.sha256} if facts else {},
            size=found.size,
            upload_time=found.modified,
            requires_python=facts.requires_python if facts else None,
            core_metadata={"sha256": facts.metadata_sha256} if facts and facts.metadata_sha256 else None,
        )


def file_etag(stat: os.stat_result) -> str:
    """Changes when the file's size or modification time does."""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _scan(root: Path) -> dict[str, dict[str, _Found]]:
    projects: dict[str, dict[str, _Found]] = {}
    for entry in _walk(root):
        project = _project_of(entry.name)
        if project is None:
            continue
        try:
            stat = entry.stat(follow_symlinks=False)
        except OSError:  # removed since the folder was read
            continue
        found = _Found(entry.path, file_etag(stat), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
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


def _project_of(filename: str) -> str | None:
    if not is_safe_filename(filename):
        return None
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[0])
        return str(parse_sdist_filename(filename)[0])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _read_facts(found: _Found) -> _Facts:
    with Path(found.path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.path.endswith(".whl"):
            return _Facts(sha256, None, None)
        try:
            metadata = read_core_metadata(file, Path(found.path).name)
        except BadWheel as error:
            _log.warning("%s offers no core metadata: it %s", found.path, error)
            return _Facts(sha256, None, None)
        return _Facts(sha256, hashlib.sha256(metadata.body).hexdigest(), metadata.requires_python)

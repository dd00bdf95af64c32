"""Folder of wheels and sdists, in any layout: what is put there is listed within seconds, what is removed is gone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec

from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamUnavailable
from wheelgate.core.model import NEVER_FRESH, File, Freshness, LocalFile, Location, ProjectPage, file_etag
from wheelgate.core.names import project_in
from wheelgate.core.packed_names import PackedNames, PackedOnce
from wheelgate.core.protocols import Clock
from wheelgate.distfiles.core_metadata import BadWheel, read_core_metadata
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.regular_file import open_below
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.page_builder import page_of

RESCAN_S = 2.0
_SCANS = 5
_KNOWN = 4
_INLINE_BYTES = 32 * 1024 * 1024  # of unread files: a first page waits for that much hashing, no more
_TICK_S = 0.05
"""File systems count time in ticks: a file that was written in this one may be written again in it, and look the same."""
_log = logging.getLogger(__name__)
_Projects = dict[str, dict[str, File]]


class Directory:
    """A :class:`~wheelgate.core.protocols.Source` over a folder of this machine, read again at most every two seconds.

    A file's digest and core metadata are worked out when its project is first asked for (large files in the background; they
    are listed without a digest until then). The modification time stands as upload time.
    """

    def __init__(
        self, *, name: str, root: Path, clock: Clock, known: KnownProjects | None = None, inline_bytes: int = _INLINE_BYTES
    ) -> None:
        """``known``: projects that it had before this process; by default there were none."""
        self.name = name
        self._had = known or KnownProjects(name, url=str(root))
        self._root = root
        self._clock = clock
        self._inline_bytes = inline_bytes
        self._fresh_until = -math.inf
        self._projects: _Projects = {}
        """By project and file name, as the last scan found them."""
        self._described: dict[Location, File | None] = {}
        """Files with what was read out of them. ``None``: it cannot be read now, so it is not listed; tried again after the next
        scan."""
        self._pages: dict[str, ProjectPage] = {}
        self._packed = PackedOnce()
        self._flights: SingleFlight[None] = SingleFlight()
        self._tasks = BackgroundTasks()

    async def close(self) -> None:
        """Stop reading in the background."""
        await self._tasks.close()
        await self._flights.close()
        await self._had.close()

    async def project_names(self) -> PackedNames:
        await self._refresh()
        return await self._packed.pack(self._projects)

    async def project_page(self, project: str) -> ProjectPage:
        await self._refresh()
        while (page := self._pages.get(project)) is None:
            found = self._projects.get(project)
            if not found:
                raise ProjectNotFound(f"source {self.name} has no project {project}", fresh_until=self._fresh_until)
            await self._flights.run(project, lambda: self._read(project))
            if self._projects.get(project) is found:  # else the folder was scanned meanwhile: there may be more to read
                files = [described for file in found.values() if (described := self._described.get(file.location, file))]
                page = page_of(project, files, as_of=self._clock.now(), dropped=len(found) - len(files))
                break
        # What is still being read changes the page when it has been.
        complete = all(file.location in self._described for file in self._projects.get(project, {}).values())
        freshness = Freshness(self._fresh_until) if complete else NEVER_FRESH
        if page.freshness != freshness:
            page = msgspec.structs.replace(page, freshness=freshness)
        self._pages[project] = page
        return page

    async def _refresh(self) -> None:
        if self._clock.monotonic() >= self._fresh_until:
            await self._flights.run("", self._scan)

    async def _scan(self) -> None:
        try:
            place, projects = await asyncio.to_thread(_scan_place, self._root, self.name)
        except OSError as error:
            # An unmounted disk looks like this. Were it "no projects", public ones of the same names would be next.
            raise UpstreamUnavailable(
                f"source {self.name}: the folder {self._root} cannot be read ({(error.strerror or '').lower()})", source=self.name
            ) from None
        if not projects and not await self._had.may_be_empty(place):
            raise UpstreamUnavailable(
                f"source {self.name}: the folder {self._root} had packages, and is another one now, without any: is its disk "
                "mounted? If it is meant to be new, put a first package there",
                source=self.name,
            )
        for name in islice(projects, _KNOWN):
            self._had.note(name, place)
        known = self._projects
        self._projects = {name: known[name] if known.get(name) == files else files for name, files in projects.items()}
        self._packed.forget()
        self._pages = {
            name: page for name, page in self._pages.items() if self._projects.get(name) is known.get(name) and not page.dropped
        }
        present = {file.location for files in projects.values() for file in files.values()}
        self._described = {at: file for at, file in self._described.items() if at in present and file is not None}
        self._fresh_until = self._clock.monotonic() + RESCAN_S

    async def _read(self, project: str) -> None:
        """Learn what the listing needs of files not read yet: small ones now, the rest meanwhile."""
        unread = [file for file in self._projects.get(project, {}).values() if file.location not in self._described]
        later = []
        budget = self._inline_bytes
        for file in sorted(unread, key=lambda file: file.size or 0):
            budget -= file.size or 0
            if budget < 0:
                later.append(file)
            else:
                await self._describe(file)
        if later:
            self._tasks.start(project, lambda: self._read_later(project, later))

    async def _read_later(self, project: str, files: Iterable[File]) -> None:
        try:
            for file in files:
                await self._describe(file)
        finally:
            self._pages.pop(project, None)

    async def _describe(self, file: File) -> None:
        location = cast("LocalFile", file.location)
        try:
            self._described[location] = await asyncio.to_thread(_describe, file, location, self._clock.now().timestamp())
        except OSError as error:
            _log.warning("source %s: %s cannot be read: %s", self.name, location.path, error.strerror)
            self._described[location] = None


def _scan_place(root: Path, source: str) -> tuple[str, _Projects]:
    """Scan a folder, and tell it from another one of its name: a disk that is not mounted leaves one, which is empty."""
    before = _identify(root)
    projects = _scan_whole(root, source)
    if _identify(root) != before:  # mounted or unmounted meanwhile
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return before, projects


def _identify(root: Path) -> str:
    """The identity of a folder, which outlives a restart of the machine where the file system has one of its own."""
    stat = root.stat()
    system = os.statvfs(root).f_fsid if hasattr(os, "statvfs") else 0
    return f"{system or stat.st_dev:x}/{stat.st_ino:x}"


def _scan_whole(root: Path, source: str) -> _Projects:
    """Scan everything below, or fail: with a part unheard, a name would seem to be free.

    Raises:
        OSError: it cannot be read.
    """
    for _ in range(_SCANS - 1):
        with contextlib.suppress(FileNotFoundError):  # something was removed meanwhile, or all of it: look again
            return _scan(root, source)
    return _scan(root, source)


def _scan(root: Path, source: str) -> _Projects:
    projects: _Projects = {}
    for entry in _walk(root):
        project = project_in(entry.name)
        if project is None:
            continue
        stat = entry.stat(follow_symlinks=False)
        found = File(
            filename=entry.name,
            project=project,
            source=source,
            location=LocalFile(entry.path, file_etag(stat), str(root)),
            size=stat.st_size,
            upload_time=datetime.fromtimestamp(stat.st_mtime, UTC),
            core_metadata={} if entry.name.endswith(".whl") else None,  # read when it is asked for
        )
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


def open_listed(file: File, location: LocalFile) -> FileIO:
    """Open a listed file, unbuffered, and judge it.

    Raises:
        StoreError: it is no longer the one that was listed.
    """
    try:
        body = open_below(Path(location.root), os.path.relpath(location.path, location.root))
    except FileNotFoundError:
        raise StoreError(f"{file.filename} was removed from source {file.source}") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StoreError(f"{file.filename} of source {file.source} can no longer be read: {why}") from None
    try:
        check_unchanged(file, location, body)
    except StoreError:
        body.close()
        raise
    return body


def check_unchanged(file: File, location: LocalFile, body: FileIO) -> None:
    """Check that an open file is as it was listed: so is everything that was read of it before; :class:`StoreError` if not."""
    if file_etag(os.fstat(body.fileno())) != location.etag:
        raise StoreError(f"{file.filename} is being replaced in source {file.source}: try again")


def _describe(file: File, location: LocalFile, now_s: float) -> File | None:
    """Add what is in a file; ``None`` if it is no longer the one that was found (still being written, or replaced)."""
    with open_below(Path(location.root), os.path.relpath(location.path, location.root)) as body:
        time.sleep(min(_TICK_S, max(0.0, os.fstat(body.fileno()).st_ctime + _TICK_S - now_s)))
        sha256 = hashlib.file_digest(body, "sha256").hexdigest()
        described = msgspec.structs.replace(file, hashes={"sha256": sha256}, core_metadata=None)
        metadata = None
        if file.filename.endswith(".whl"):
            try:
                metadata = read_core_metadata(body, file.filename)
            except BadWheel as error:
                _log.warning("%s offers no core metadata: it %s", location.path, error)
        if file_etag(os.fstat(body.fileno())) != location.etag:
            return None
        if metadata is None:
            return described
        offered = {"sha256": hashlib.sha256(metadata.body).hexdigest()}
        return msgspec.structs.replace(described, core_metadata=offered, requires_python=metadata.requires_python)

"""Facts that an index leaves out, and the memory that keeps it honest.

Every wheel is offered with core metadata (we read it out of the wheel where the source sends none), every file with an upload
time (else the first sight), with size and digest once they are known. And what bytes a file name has was settled when it was
first seen: an entry with other ones is withheld, however often it goes and comes back.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from packaging.version import InvalidVersion, Version

from wheelgate.core.errors import MetadataNotFound, ProjectNotFound, WheelgateError
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, RemoteFile, Withheld
from wheelgate.core.names import version_of
from wheelgate.core.protocols import Clock, Source
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.project_state import Projection, ProjectState
from wheelgate.enrich.records import ExtractedMetadata, FileRecord, Files, contradicts
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight

_SLICE = 500
_BUDGET = 5
"""Wheels of one page that are described ahead of any question, the newest first."""
_WAITING = 50
"""Of so many pages at a time."""
_AFTER_S = 2.0
"""How long after a page: what a build itself asks for goes first."""
_log = logging.getLogger(__name__)

Describe = Callable[[File], Awaitable[object]]
"""Makes the core metadata of a listed wheel, and lets the memory know."""


class Described:
    """A :class:`~wheelgate.core.protocols.Source` that adds to the files of a remote one what is known of them otherwise."""

    def __init__(
        self, source: Source, *, memory: FileHistory, clock: Clock, metrics: Metrics, ahead_after_s: float = _AFTER_S
    ) -> None:
        self._source = source
        self._memory = memory
        self._clock = clock
        self._metrics = metrics
        self._flights: SingleFlight[ProjectPage] = SingleFlight()
        self._describe: Describe | None = None
        self._ahead_after_s = ahead_after_s
        self._turn = asyncio.Semaphore(1)
        self._ahead: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    def describe_ahead(self, describe: Describe) -> None:
        """Have the newest wheels of a page described before anybody asks for their metadata."""
        self._describe = describe

    async def close(self) -> None:
        """Stop describing ahead."""
        tasks = list(self._ahead)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._flights.close()

    async def project_names(self) -> frozenset[str]:
        """The source's own."""
        return await self._source.project_names()

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        asked_s = self._clock.monotonic()
        self._memory.start_reading(project)  # while the source is asked
        try:
            page = await self._source.project_page(project)
        except ProjectNotFound as error:
            if error.outage_since is None:
                self._memory.mark_absent(project)
            raise
        notes = await self._memory.state_of(project)
        shown = notes.shown
        if shown is not None and shown.version == notes.version and shown.of.revision == page.revision:
            if shown.of is not page:  # it was confirmed, or stands in
                again = page if shown.page.revision == shown.of.revision else shown.page.with_state_of(page)
                shown = Projection(page, shown.version, again)
                self._shown(shown, notes)
            return shown.page
        return await self._flights.run((id(page), notes.version), lambda: self._described(page, notes, asked_s))

    async def _described(self, page: ProjectPage, notes: ProjectState, asked_s: float) -> ProjectPage:
        version = notes.version  # what is learned from here on is shown next time
        judged = await in_slices(_judged(page, notes.files, self._clock.now()))
        if judged.news:
            # Names that are new to this process another one may have seen with other bytes, since the record was read.
            notes = await self._memory.state_of(page.project, since_s=asked_s)
            if notes.version != version:
                version = notes.version
                judged = await in_slices(_judged(page, notes.files, self._clock.now()))
            if judged.news:
                self._memory.add(page.project, judged.news, tell=False)
                version += 1
        self._tell(page, judged.withheld)
        result = page
        if judged.files is not None:
            result = page.with_files(FileList(judged.files, [page.files]), tuple(withheld for withheld, _ in judged.withheld))
        self._shown(Projection(page, version, result), notes)
        self._look_ahead(result)
        return result

    def _shown(self, shown: Projection, notes: ProjectState) -> None:
        known = notes.shown
        if not shown.of.stale and (known is None or known.of is not shown.of):
            self._memory.keep(shown.of)
        self._memory.keep_projection(shown.of.project, shown)

    def _tell(self, page: ProjectPage, withheld: Sequence[tuple[Withheld, str]]) -> None:
        for entry, detail in withheld:
            _log.error("ALARM: project %s: %s: %s", page.project, entry.filename, detail)
            self._metrics.withheld_files.labels(entry.source, entry.rule).inc()

    # --- ahead of any question

    def _look_ahead(self, page: ProjectPage) -> None:
        if self._describe is None or page.stale or len(self._ahead) >= _WAITING:
            return
        if any(task.get_name() == page.project for task in self._ahead):
            return
        if any(_is_waiting(file) for file in page.files):
            task = asyncio.create_task(self._describe_newest(page.files, self._describe), name=page.project)
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)

    async def _describe_newest(self, files: Sequence[File], describe: Describe) -> None:
        await asyncio.sleep(self._ahead_after_s)
        async with self._turn:
            for file in filter(_is_waiting, await asyncio.to_thread(_newest, files)):
                try:
                    await describe(file)
                except MetadataNotFound:
                    continue
                except WheelgateError as error:
                    _log.info("source %s: %s is not described ahead: %s", self.name, file.filename, error)
                    return  # the others would fare the same; whoever asks for one hears why


def _is_waiting(file: File) -> bool:
    """Whether its metadata is still to be read out of it."""
    return file.metadata_in_wheel and not file.core_metadata


class _Judged(msgspec.Struct):
    files: tuple[File, ...] | None
    """``None``: the page's own, none of them changed."""
    withheld: list[tuple[Withheld, str]]
    """And what the log is told."""
    news: dict[str, FileRecord]


def _judged(page: ProjectPage, known: Mapping[str, FileRecord], now: datetime) -> Steps[_Judged]:
    """What is shown of a page's files, given what is remembered of them, and what is to be remembered."""
    files: list[File] = []
    withheld = []
    news: Files = {}
    changed = False
    at = now.replace(microsecond=0)
    for number, file in enumerate(page.files):
        if not number % _SLICE:
            yield
        seen = known.get(file.filename)
        if seen is None:
            news[file.filename] = seen = FileRecord(at, file.hashes, file.upload_time or now, file.size)
        elif (file.hashes is not seen.hashes and file.hashes != seen.hashes) or file.size != seen.size:
            if contradicts(seen, file.hashes, file.size):
                withheld.append(_withheld(file, seen))
                changed = True
                continue
            more = _joined(seen, file)
            if more is not seen:
                news[file.filename] = seen = more
        if file.upload_time is not None and file.upload_time < seen.uploaded:
            news[file.filename] = seen = msgspec.structs.replace(seen, uploaded=file.upload_time)
        described = _described(file, seen)
        changed = changed or described is not file
        files.append(described)
    return _Judged(tuple(files) if changed else None, withheld, news)


def _joined(seen: FileRecord, file: File) -> FileRecord:
    """With the digests and the size that the source says only now."""
    hashes = seen.hashes if file.hashes.keys() <= seen.hashes.keys() else {**file.hashes, **seen.hashes}
    size = file.size if seen.size is None else seen.size
    return seen if hashes is seen.hashes and size == seen.size else msgspec.structs.replace(seen, hashes=hashes, size=size)


def _described(file: File, seen: FileRecord) -> File:
    """The file with everything that is known of it; itself, if its source says all of it."""
    known: dict[str, Any] = {}
    if file.upload_time is None or seen.uploaded < file.upload_time:
        known["upload_time"] = seen.uploaded
    if file.size is None and seen.size is not None:
        known["size"] = seen.size
    if "sha256" not in file.hashes and "sha256" in seen.hashes:
        known["hashes"] = {**file.hashes, "sha256": seen.hashes["sha256"]}
    if file.core_metadata is None and file.filename.endswith(".whl"):
        made = seen.made if seen.made is not None and _is_of(seen.made, file, seen) else None
        if made is None:
            known["core_metadata"] = {}
            known["metadata_in_wheel"] = True
        elif made.metadata_sha256 is not None:
            known["core_metadata"] = {"sha256": made.metadata_sha256}
            known["metadata_in_wheel"] = True
        if made is not None and made.requires_python is not None and file.requires_python is None:
            known["requires_python"] = made.requires_python
    return msgspec.structs.replace(file, **known) if known else file


def _is_of(made: ExtractedMetadata, file: File, seen: FileRecord) -> bool:
    """Whether what was read was read out of this wheel."""
    return made.of in (seen.hashes.get("sha256"), file.location.url if isinstance(file.location, RemoteFile) else None)


def _withheld(file: File, seen: FileRecord) -> tuple[Withheld, str]:
    day = f"{seen.at:%Y-%m-%d}"
    reason = (
        f"source {file.source} lists other bytes under this name than it did on {day}; a file name never changes its content: "
        "have the new one published as a new version"
    )
    now, then = _said(file.hashes, file.size), _said(seen.hashes, seen.size)
    detail = f"source {file.source} lists it with {now}; first seen on {day} with {then}"
    return Withheld(file.filename, file.source, "digest", reason), detail


def _said(hashes: Mapping[str, str], size: int | None) -> str:
    return ", ".join(f"{algorithm} {digest}" for algorithm, digest in hashes.items()) or f"{size} bytes"


def _newest(files: Sequence[File]) -> list[File]:
    """Wheels of a page, of which many may wait here: they are looked through when their turn comes, and not held until then."""
    return heapq.nlargest(_BUDGET, (file for file in files if file.filename.endswith(".whl")), key=_age)


def _age(file: File) -> tuple[float, Version]:
    try:
        version = Version(version_of(file.filename, file.project) or "0")
    except InvalidVersion:
        version = Version("0")
    return file.upload_time.timestamp() if file.upload_time else 0.0, version

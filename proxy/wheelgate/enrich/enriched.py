"""Enriched source: adds to a listing what it leaves out, and withholds what contradicts what was seen before.

Every wheel is offered with core metadata (we read it out of the wheel where the source sends none), every file with an upload
time (else the first sight), with size and digest once they are known.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from packaging.version import InvalidVersion, Version

from wheelgate.core.errors import CompanionNotFound, WheelgateError
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, RemoteFile, StoredFile, Withheld
from wheelgate.core.names import version_of
from wheelgate.core.protocols import Clock, Source, SourceWrapper
from wheelgate.enrich.file_memory import FileMemory, MatchedFiles, Projection, ProjectState
from wheelgate.enrich.records import FileRecord
from wheelgate.runtime.asker import BACKGROUND, set_asker
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight

_SLICE = 500
_AHEAD, _AHEAD_PAGES, _AHEAD_DELAY_S = 5, 50, 2.0
"""Wheels of one page that are read ahead, the newest first; of so many pages at a time; after what a build itself asks for."""
_AHEAD_FAILURES = 2
"""One wheel that cannot be read says nothing of the others of its page; two do."""
_log = logging.getLogger(__name__)
Describe = Callable[[File], Awaitable[object]]
"""Makes the core metadata of a listed wheel, and lets the source's memory know."""


class EnrichedSource(SourceWrapper):
    """A source whose files carry what is remembered of them. Close it to stop reading ahead."""

    def __init__(self, source: Source, *, memory: FileMemory, clock: Clock, metrics: Metrics) -> None:
        super().__init__(source)
        self._memory = memory
        self._clock = clock
        self._metrics = metrics
        self._flights: SingleFlight[Projection] = SingleFlight()
        self._describe: Describe | None = None
        self._ahead_delay_s = _AHEAD_DELAY_S
        self._ahead_turn = asyncio.Lock()
        self._ahead = BackgroundTasks()

    def read_ahead(self, describe: Describe, *, delay_s: float = _AHEAD_DELAY_S) -> None:
        """Have the newest wheels of a page described before anybody asks for their metadata."""
        self._describe, self._ahead_delay_s = describe, delay_s

    async def close(self) -> None:
        """Stop reading ahead, and cancel what is under way."""
        await self._ahead.close()
        await self._flights.close()

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. Under the same revision while neither page nor memory changed."""
        asked_s = self._clock.monotonic()
        page, state = await self._memory.fetch_page(self._source, project)
        shown = state.projection
        if shown is None or shown.of != page.revision or shown.version != state.version:
            key = (page.revision, state.version)
            shown = await self._flights.run(key, lambda: self._enrich_page(page, state, asked_s))
        result = shown.page.with_state_of(page)
        if result is not shown.page:  # confirmed since, or it stands in now
            self._memory.record_projection(page, state, msgspec.structs.replace(shown, page=result))
        return result

    async def _enrich_page(self, page: ProjectPage, state: ProjectState, asked_s: float) -> Projection:
        matched = await self._memory.match_files(page, state, asked_s)
        files, withheld = await in_slices(self._enrich_files(page, matched))
        enriched = page if files is None else page.with_files(FileList(files, [page.files]), tuple(withheld))
        projection = Projection(page.revision, matched.version, enriched)
        self._memory.record_projection(page, matched.state, projection)
        describe = self._describe
        if describe is not None and not page.stale and len(self._ahead) < _AHEAD_PAGES and any(map(_is_waiting, enriched.files)):
            self._ahead.start(page.project, lambda: self._describe_newest(enriched.files, describe))
        return projection

    async def _describe_newest(self, files: Sequence[File], describe: Describe) -> None:
        set_asker(BACKGROUND)
        await asyncio.sleep(self._ahead_delay_s)
        failed = 0
        async with self._ahead_turn:
            for file in filter(_is_waiting, await asyncio.to_thread(_newest, files)):
                try:
                    await describe(file)
                except CompanionNotFound:
                    continue
                except WheelgateError as error:
                    _log.info("source %s: %s is not described ahead: %s", self.name, file.filename, error)
                    failed += 1
                    if failed == _AHEAD_FAILURES:
                        return  # the others would fare the same; whoever asks for one hears why

    def _enrich_files(self, page: ProjectPage, matched: MatchedFiles) -> Steps[tuple[list[File] | None, list[Withheld]]]:
        """The files to show (``None``: the page's own, none of them changed), and those withheld."""
        files: list[File] = []
        withheld = list(page.withheld)
        changed = False
        for number, (file, record) in enumerate(zip(page.files, matched.records, strict=True)):
            if not number % _SLICE:
                yield
            if record is None:
                withheld.append(self._withhold(file, matched.state.files[file.filename]))
                changed = True
            else:
                enriched = enrich_file(file, record)
                changed = changed or enriched is not file
                files.append(enriched)
        return files if changed else None, withheld

    def _withhold(self, file: File, seen: FileRecord) -> Withheld:
        day = f"{seen.at:%Y-%m-%d}"
        now, then = _describe_bytes(file.hashes, file.size), _describe_bytes(seen.hashes, seen.size)
        _log.error(
            "ALARM: project %s: %s: source %s lists it with %s; first seen on %s with %s",
            *(file.project, file.filename, file.source, now, day, then),
        )
        self._metrics.withheld_files.labels(file.source, "digest").inc()
        reason = (
            f"source {file.source} lists other bytes under this name than it did on {day}; a file name never changes its "
            "content: have the new one published as a new version"
        )
        return Withheld(file.filename, file.source, "digest", reason)


def _describe_bytes(hashes: Mapping[str, str], size: int | None) -> str:
    return ", ".join(f"{algorithm} {digest}" for algorithm, digest in hashes.items()) or f"{size} bytes"


def enrich_file(file: File, record: FileRecord) -> File:
    """The file with everything that is known of it; itself, if its source says all of it."""
    moment, made = file.upload_time, record.made
    if (
        moment is not None
        and (moment is record.uploaded or moment <= record.uploaded)
        and file.size is not None
        and "sha256" in file.hashes
        and type(file.location) is RemoteFile
        and (file.core_metadata is not None or (made is None and not file.filename.endswith(".whl")))
    ):
        return file  # as nearly all files of the public index: nothing that is remembered could add to it
    known: dict[str, Any] = {}
    if moment is None or record.uploaded < moment:
        known["upload_time"] = record.uploaded
    if file.size is None and record.size is not None:
        known["size"] = record.size
    if record.hashes is not file.hashes and not record.hashes.keys() <= file.hashes.keys():
        known["hashes"] = {**record.hashes, **file.hashes}  # what was said once of these bytes, they must have
    is_blob, offered = type(file.location) is StoredFile, None
    # Whoever stated the metadata of a blob may have had another store than ours: what it has is read out of the wheel.
    if is_blob or file.core_metadata is None:
        if isinstance(file.location, RemoteFile) and made and made.of not in (record.hashes.get("sha256"), file.location.url):
            made = None  # read out of another wheel; of a blob, the record is of this version
        if file.filename.endswith(".whl") and (made is None or made.metadata_sha256 is not None):
            offered = {"sha256": made.metadata_sha256} if made else {}
        if offered is not None or file.core_metadata is not None:
            known["core_metadata"] = offered
            known["metadata_in_wheel"] = offered is not None
        is_read = is_blob and made is not None and made.metadata_sha256 is not None
        if made is not None and (is_read or (made.requires_python is not None and file.requires_python is None)):
            known["requires_python"] = made.requires_python
    return msgspec.structs.replace(file, **known) if known else file


def _is_waiting(file: File) -> bool:
    """Tell whether its metadata is still to be read out of it."""
    return file.metadata_in_wheel and not file.core_metadata


def _newest(files: Sequence[File]) -> list[File]:
    """Wheels of a page, of which many may wait here: they are looked through when their turn comes, and not held until then."""
    return heapq.nlargest(_AHEAD, (file for file in files if file.filename.endswith(".whl")), key=_age)


def _age(file: File) -> tuple[float, Version]:
    try:
        version = Version(version_of(file.filename, file.project) or "0")
    except InvalidVersion:
        version = Version("0")
    return file.upload_time.timestamp() if file.upload_time else 0.0, version

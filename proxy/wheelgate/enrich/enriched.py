"""Enriched source: adds to a listing what it leaves out, and withholds what contradicts what was seen before.

Every wheel is offered with core metadata (we read it out of the wheel where the source sends none), every file with an upload
time (else the first sight), with size and digest once they are known. What one read of each file tells is learned in the
background, so that a page says all of it soon, and then stays.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cachetools import TTLCache
from packaging.version import InvalidVersion, Version

from wheelgate.core.digests import is_known
from wheelgate.core.errors import CompanionNotFound, WheelgateError
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, RemoteFile, StoredFile, Withheld
from wheelgate.core.names import version_of
from wheelgate.core.protocols import Clock, Source, SourceWrapper
from wheelgate.enrich.file_memory import FileMemory, MatchedFiles, Projection, ProjectState
from wheelgate.enrich.records import FileRecord, Observation, SeenBody, contradicts
from wheelgate.runtime.asker import BACKGROUND, set_asker
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight

_SLICE = 500
_AT_A_TIME, _PAGES, _DELAY_S = 1_000, 50, 2.0
"""Files of one page that are read before another page's turn, the newest first; of so many pages; after what a build asks for."""
_FAILURES = 2
"""One file that cannot be read says nothing of the others of its page; two in a row do."""
_REST_S, _RESTING = 300.0, 10_000
"""Time for which a page is left alone after files of it could not be read; of how many pages that is known."""
_TOLD_S = 2.0
"""How often a page that is being completed is made anew."""
_NO_OLDER = datetime(2000, 1, 1, tzinfo=UTC)
"""An earlier ``Last-Modified`` stands for "not known": build systems set the times of files to such."""
_LOOKED_WITHIN = timedelta(minutes=1)
"""Of one look at a page, by the clocks of several processes."""
_log = logging.getLogger(__name__)
Describe = Callable[[File], Awaitable[object]]
"""Reads what a listed file tells beyond its listing, and lets the source's memory know."""
Choose = Callable[[ProjectPage], Awaitable[Container[str]]]
"""Chooses the files of a page, by name, that may be read before anybody asks for them."""


class EnrichedSource(SourceWrapper):
    """A source whose files carry what is remembered of them. Close it to stop reading ahead."""

    def __init__(self, source: Source, *, memory: FileMemory, clock: Clock, metrics: Metrics) -> None:
        super().__init__(source)
        self._memory = memory
        self._clock = clock
        self._metrics = metrics
        self._alarms = TroubleLog(_log)
        """A page is made anew every two seconds while it is being completed."""
        self._flights: SingleFlight[Projection] = SingleFlight()
        self._describe: Describe | None = None
        self._choose: Choose | None = None
        self._delay_s = _DELAY_S
        self._at_a_time = _AT_A_TIME
        self._turn = asyncio.Lock()
        self._completing = BackgroundTasks()
        self._resting: TTLCache[str, bool] = TTLCache(_RESTING, _REST_S, clock.monotonic)

    def complete_pages(
        self, describe: Describe, *, choose: Choose | None = None, delay_s: float = _DELAY_S, at_a_time: int = _AT_A_TIME
    ) -> None:
        """Have pages completed that leave out what one read of each file tells, before anybody asks for it.

        ``choose``: the files that may be read; ``None``: all of them.
        """
        self._describe, self._choose, self._delay_s, self._at_a_time = describe, choose, delay_s, at_a_time

    async def close(self) -> None:
        """Stop completing pages, and cancel what is under way."""
        await self._completing.close()
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
        describe = self._describe
        is_due = result.unread and not page.stale and page.project not in self._resting
        if describe is not None and is_due and len(self._completing) < _PAGES:
            self._completing.start(page.project, lambda: self._complete(page, describe))
        return result

    async def _enrich_page(self, page: ProjectPage, state: ProjectState, asked_s: float) -> Projection:
        matched = await self._memory.match_files(page, state, asked_s)
        for file, body in matched.overruled:
            self._tell_overruled(file, body)
        files, withheld, unread = await in_slices(self._enrich_files(page, matched, _find_first_look(page, matched.state)))
        if files is not None:
            enriched = page.with_files(FileList(files, [page.files]), tuple(withheld), unread=unread)
        else:
            enriched = page if unread == page.unread else msgspec.structs.replace(page, unread=unread)
        projection = Projection(page.revision, matched.version, enriched)
        self._memory.record_projection(page, matched.state, projection)
        return projection

    async def _complete(self, page: ProjectPage, describe: Describe) -> None:
        """Read the files of a page that say more than it does, one at a time."""
        set_asker(BACKGROUND)
        await asyncio.sleep(self._delay_s)
        async with self._turn:
            state = await self._memory.state_of(page.project)  # which may have gone while others had their turn
            first_look = _find_first_look(page, state)
            chosen = None if self._choose is None else await self._choose(page)
            files = await asyncio.to_thread(self._find_lacking, page, state, first_look, chosen)
            if not files:
                self._resting[page.project] = True
            try:
                await self._read_files(files, state, describe, first_look)
            finally:
                self._memory.gather(page.project, is_over=True)

    async def _read_files(
        self, files: Sequence[File], state: ProjectState, describe: Describe, first_look: datetime | None
    ) -> None:
        """Read files of one page. If one of them cannot be read, the page rests for a while."""
        failed, told_s = 0, -math.inf
        for file in files:
            if self._clock.monotonic() >= told_s + _TOLD_S:
                self._memory.gather(file.project)
                told_s = self._clock.monotonic()
            try:
                before = None
                for _ in range(2):  # metadata, and what is told beside it
                    record = state.files.get(file.filename)
                    if record is None or record is before or not lacks(file, record, first_look):
                        break
                    await describe(enrich_file(file, record, first_look))
                    before = record
                failed = 0
            except CompanionNotFound:
                continue
            except Exception as error:
                if isinstance(error, WheelgateError):
                    _log.info("source %s: %s is not described yet: %s", self.name, file.filename, error)
                else:  # one odd file must not keep the others from being described
                    _log.exception("source %s: %s cannot be described", self.name, file.filename)
                self._resting[file.project] = True
                failed += 1
                if failed == _FAILURES:
                    return  # the others would fare the same; whoever asks for one hears why

    def _find_lacking(
        self, page: ProjectPage, state: ProjectState, first_look: datetime | None, chosen: Container[str] | None
    ) -> list[File]:
        """Find files of a page, the newest first. Many pages may wait: it is done in their turn, and nothing is held before."""
        files = (file for file in page.files if chosen is None or file.filename in chosen)
        found = (file for file in files if (known := state.files.get(file.filename)) and _is_to_read(file, known, first_look))
        return heapq.nlargest(self._at_a_time, found, key=_age)

    def _enrich_files(
        self, page: ProjectPage, matched: MatchedFiles, first_look: datetime | None
    ) -> Steps[tuple[list[File] | None, list[Withheld], int]]:
        """The files to show (``None``: the page's own, none of them changed), those withheld, and how many are unread."""
        files: list[File] = []
        withheld = list(page.withheld)
        changed = False
        unread = 0
        for number, (file, record) in enumerate(zip(page.files, matched.records, strict=True)):
            if not number % _SLICE:
                yield
            if record is None:
                withheld.append(self._withhold(file, matched.state.files[file.filename]))
                changed = True
            else:
                enriched = enrich_file(file, record, first_look)
                changed = changed or enriched is not file
                files.append(enriched)
                is_doubtful = enriched is not file or file.size is None
                unread += is_doubtful and lacks(file, record, first_look)
        return files if changed else None, withheld, unread

    def _tell_overruled(self, file: File, body: SeenBody) -> None:
        """Give the alarm about bytes that were observed, perhaps served, and are not those that the source states now."""
        now, then = _describe_bytes(file.hashes, file.size), _describe_bytes({"sha256": body.sha256}, body.size)
        self._alarms.report(
            f"{file.project}/{file.filename} overruled",
            f"ALARM: project {file.project}: {file.filename}: source {file.source} states {now}; what it sent on "
            f"{body.at:%Y-%m-%d}, when it stated no digest, had {then}: that gives way, and whoever installed it has other bytes",
        )
        self._metrics.overruled_files.labels(file.source).inc()

    def _withhold(self, file: File, seen: FileRecord) -> Withheld:
        day = f"{seen.at:%Y-%m-%d}"
        now, then = _describe_bytes(file.hashes, file.size), _describe_bytes(seen.hashes, seen.size)
        sentence = f"source {file.source} lists it with {now}; first seen on {day} with {then}"
        self._alarms.report(f"{file.project}/{file.filename}", f"ALARM: project {file.project}: {file.filename}: {sentence}")
        self._metrics.withheld_files.labels(file.source, "digest").inc()
        reason = (
            f"source {file.source} lists other bytes under this name than it did on {day}; a file name never changes its "
            "content: have the new one published as a new version"
        )
        return Withheld(file.filename, file.source, "digest", reason)


def _describe_bytes(hashes: Mapping[str, str], size: int | None) -> str:
    return ", ".join(f"{algorithm} {digest}" for algorithm, digest in hashes.items()) or f"{size} bytes"


def enrich_file(file: File, record: FileRecord, first_look: datetime | None = None) -> File:
    """The file with everything that is known of it; itself, if its source says all of it.

    ``first_look``: when its project was first seen; ``None``: not known.
    """
    moment, made = file.upload_time, record.made
    if (
        moment is not None
        and (moment is record.uploaded or moment <= record.uploaded)
        and file.size is not None
        and "sha256" in file.hashes
        and made is None
        and type(file.location) is RemoteFile
        and (file.core_metadata is not None or not file.filename.endswith(".whl"))
    ):
        return file  # as nearly all files of the public index: nothing that is remembered could add to it
    known: dict[str, Any] = {}
    uploaded = _find_upload_time(file, record, first_look)
    if uploaded != file.upload_time:
        known["upload_time"] = uploaded
    known |= _complete_bytes(file, record)
    if known and isinstance(file.location, RemoteFile):
        states = {"hashes": bool(file.hashes), "size": record.size is not None, "upload_time": file.upload_time is not None}
        known["observed"] = tuple(name for name in known if not states[name])
    is_blob, offered = type(file.location) is StoredFile, None
    if made is not None and not is_blob and not _is_about(made.of, file, record):
        made = None  # read out of another wheel; of a blob, the record is of this version
    is_replaced = made is not None and file.core_metadata is not None and made.instead_of == file.core_metadata.get("sha256", "")
    # Whoever stated the metadata of a blob may have had another store than ours: what it has is read out of the wheel.
    if is_blob or file.core_metadata is None or is_replaced:
        if file.filename.endswith(".whl") and (made is None or made.metadata_sha256 is not None):
            offered = {"sha256": made.metadata_sha256} if made else {}
        if offered is not None or file.core_metadata is not None:
            known["core_metadata"] = offered
            known["metadata_in_wheel"] = offered is not None
        if made is not None and made.requires_python is not None and file.requires_python is None:
            known["requires_python"] = made.requires_python
    return msgspec.structs.replace(file, **known) if known else file


def _complete_bytes(file: File, record: FileRecord) -> dict[str, Any]:
    """The digests and the size that its source leaves out, as far as they are known."""
    known: dict[str, Any] = {}
    observed, body = _find_observation(file, record), record.body
    if file.size is None:
        sizes = (record.size, body and body.size, observed and observed.size)
        if (size := next((size for size in sizes if size is not None), None)) is not None:
            known["size"] = size
    if record.hashes is not file.hashes and not record.hashes.keys() <= file.hashes.keys():
        # What was said once of these bytes, they must have; what a later release read of them, nobody here can compare.
        known["hashes"] = {name: digest for name, digest in {**record.hashes, **file.hashes}.items() if is_known(name)}
    elif body is not None and not file.hashes:
        known["hashes"] = {"sha256": body.sha256}
    return known


def _is_about(of: str, file: File, record: FileRecord) -> bool:
    """Tell whether what was read is of this very file: by the digest that its source states, or else by its place."""
    if not isinstance(file.location, RemoteFile):
        return False
    stated = file.hashes.get("sha256")
    observed = record.body.sha256 if record.body is not None else None
    return of == stated if stated is not None else of in (record.hashes.get("sha256"), observed, file.location.url)


def _find_observation(file: File, record: FileRecord) -> Observation | None:
    seen = record.observed
    return seen if seen is not None and _is_about(seen.of, file, record) else None


def _find_upload_time(file: File, record: FileRecord, first_look: datetime | None) -> datetime:
    """The earliest time that its source ever stated; else the first sight, or how old the file was by then (docs/rules.md).

    Only of what was there at the first look at its project: what came later is no older than the look before.
    """
    if file.upload_time is not None:
        return min(record.uploaded, file.upload_time)
    observed = _find_observation(file, record)
    if observed is None or observed.modified is None or not _needs_age(record, first_look):
        return record.uploaded
    return observed.modified if _NO_OLDER <= observed.modified < record.uploaded else record.uploaded


def _needs_age(record: FileRecord, first_look: datetime | None) -> bool:
    """Tell whether a file has no other time than its first sight, at the first look at its project."""
    is_first_sight = abs(record.uploaded - record.at) < timedelta(seconds=1)
    return is_first_sight and first_look is not None and record.at - first_look <= _LOOKED_WITHIN


def lacks(file: File, record: FileRecord, first_look: datetime | None) -> bool:
    """Tell whether one read of a remote file would tell what its page does not say yet. ``file``: as its source lists it."""
    shown = enrich_file(file, record, first_look)
    if shown.metadata_in_wheel and not shown.core_metadata:
        return True
    is_unaged = file.upload_time is None and _needs_age(record, first_look)
    return (shown.size is None or is_unaged) and _find_observation(file, record) is None


def _is_to_read(file: File, record: FileRecord, first_look: datetime | None) -> bool:
    return lacks(file, record, first_look) and not contradicts(record, file.hashes, file.size)


def _find_first_look(page: ProjectPage, state: ProjectState) -> datetime | None:
    return min((moment for moment in (page.known_since, state.first_look) if moment is not None), default=None)


def _age(file: File) -> tuple[float, Version]:
    try:
        version = Version(version_of(file.filename, file.project) or "0")
    except InvalidVersion:
        version = Version("0")
    return file.upload_time.timestamp() if file.upload_time else 0.0, version

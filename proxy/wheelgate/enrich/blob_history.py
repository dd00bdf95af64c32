"""File history of a container: what reading its blobs told, each read once in each of its versions.

The files of a project are read when it is first asked for, newest first and a few at a time; the page waits a moment for it. What
was read is written through: a page shows it once the record has it, so that every replica shows the same from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from cachetools import TTLCache

from wheelgate.core.errors import BlobChanged, BlobNotFound, StoreError
from wheelgate.core.file_list import RECENT_BYTES
from wheelgate.core.model import NEVER_FRESH, File, ProjectPage, StoredFile
from wheelgate.core.protocols import Clock, Source
from wheelgate.enrich.blob_reader import BlobReader, UnreadableBlob
from wheelgate.enrich.file_memory import FileMemory, MatchedFiles, ProjectState
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import BlobVersion, ExtractedMetadata, FileRecord, Observation
from wheelgate.runtime.background import BackgroundTasks

_AT_ONCE = 2
_WAIT_S = 1.0
"""Time that a page waits for the facts of a few small files, so that the first client has them already."""
_RETRY_S, _RESTING = 5.0, 10_000
"""Time that files that could not be read are left alone, so that an outage costs no reading at every request; of how many."""
_log = logging.getLogger(__name__)


class BlobHistory(FileMemory):
    """The memory of one container. Close it to stop reading."""

    def __init__(self, records: ProjectRecords, *, reader: BlobReader, clock: Clock, retry_s: float = _RETRY_S) -> None:
        super().__init__(records, clock=clock, max_bytes=RECENT_BYTES, patience_s=None, retry_s=0.0)
        self._reader = reader
        self._tasks = BackgroundTasks()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._resting: TTLCache[str, bool] = TTLCache(_RESTING, retry_s)
        """Projects that are left alone."""

    async def close(self) -> None:
        await self._tasks.close()
        await super().close()

    async def fetch_page(self, source: Source, project: str) -> tuple[ProjectPage, ProjectState]:
        """See :class:`FileMemory`. Files that were not read yet are read now, for a moment.

        Raises:
            StoreError: the record cannot be read: digests would vanish from the page, and times change.
        """
        page = await source.project_page(project)
        state = await self._state_of(project)
        unread = [file for file in page.files if not _is_read(file, state)]
        if unread and project not in self._resting:
            # Many who ask at once wait together; the work goes on when they leave.
            await asyncio.wait([self._tasks.start(project, lambda: self._read_files(project, unread))], timeout=_WAIT_S)
            state = await self._state_of(project)
            unread = [file for file in unread if not _is_read(file, state)]
        if unread:  # to be tried again at the next request
            return msgspec.structs.replace(page, freshness=NEVER_FRESH), state
        return page, state

    async def _state_of(self, project: str) -> ProjectState:
        state = await self.state_of(project)
        if state.read_s is None:
            raise (state.read_error or StoreError(f"the record of {project} is not available")).with_traceback(None)
        return state

    async def match_files(self, page: ProjectPage, state: ProjectState, asked_s: float) -> MatchedFiles:  # noqa: ARG002
        """See :class:`FileMemory`. Nothing contradicts: other bytes are another version."""
        return MatchedFiles(state, state.version, [self._find_record(file, state) for file in page.files])

    def _find_record(self, file: File, state: ProjectState) -> FileRecord:
        version, known = _version_of(file), state.files.get(file.filename)
        if known is not None and known.blob == version:
            return known
        uploaded = file.upload_time or self._clock.now()
        earlier = uploaded if known is None else known.uploaded  # of another version: its time stays
        return FileRecord(at=uploaded, hashes={}, uploaded=min(uploaded, earlier), blob=version)

    def learn(
        self,
        file: File,
        *,
        sha256: str | None = None,  # noqa: ARG002
        size: int | None = None,  # noqa: ARG002
        made: ExtractedMetadata | None = None,
        observed: Observation | None = None,  # noqa: ARG002
    ) -> None:
        """Learn of metadata that somebody asked for before its wheel was read here; digest and size are read here."""
        state = self.state_at_hand(file.project)
        if made is not None and not _is_read(file, state):
            learned = msgspec.structs.replace(self._find_record(file, state), at=self._moment_after(file, state), made=made)
            state.learn({file.filename: learned})
            self.weigh(file.project, state)

    async def _read_files(self, project: str, files: Sequence[File]) -> None:
        for file in sorted(files, key=lambda file: file.upload_time.timestamp() if file.upload_time else 0.0, reverse=True):
            state = self.state_at_hand(project)
            try:
                async with self._turns:
                    found = await self._reader.read(file)
                found = msgspec.structs.replace(found, at=self._moment_after(file, state))
                await self.save(project, state, {file.filename: found})
                self.changed.emit(project)
            except StoreError as error:
                _log.warning("source %s: %s cannot be described yet: %s", self._records.source, file.filename, error)
                self._resting[project] = True
                if not isinstance(error, BlobNotFound | BlobChanged | UnreadableBlob):
                    return  # the store is down: the others would fare the same
            except Exception:  # one odd file must not keep the others from being described
                _log.exception("source %s: %s cannot be described", self._records.source, file.filename)
                self._resting[project] = True

    def _moment_after(self, file: File, state: ProjectState) -> datetime:
        """Now, but later than another version of the file was read, whatever the clocks of others say: the newest one stands."""
        now, known = self._clock.now(), state.files.get(file.filename)
        return now if known is None or known.blob == _version_of(file) else max(now, known.at + timedelta(seconds=1))


def _version_of(file: File) -> BlobVersion | None:
    location = file.location
    return BlobVersion(location.path, location.etag) if isinstance(location, StoredFile) else None


def _is_read(file: File, state: ProjectState) -> bool:
    """Tell whether a file needs no reading: it was read, or whoever stored it stated all of it.

    The metadata of a wheel is never theirs to state: what is advertised has to be in our store.
    """
    if "sha256" in file.hashes and not file.filename.endswith(".whl"):
        return True
    known = state.files.get(file.filename)
    return known is not None and "sha256" in known.hashes and known.blob == _version_of(file)

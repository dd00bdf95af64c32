"""File memory: what this process knows of one source's files, as a read-through cache of the records in the store.

Reading and writing meet what happens here meanwhile by merging, so that neither undoes the other. A record that a later release
wrote is left alone: this process then works from what it knows itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import BlobChanged, StoreError
from wheelgate.core.file_list import page_bytes
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.protocols import Clock, Source
from wheelgate.enrich.record_store import ProjectRecords, StoredRecord
from wheelgate.enrich.records import (
    FileRecord,
    Files,
    KeptPage,
    ProjectRecord,
    SeenBody,
    contradicts,
    drop_forgotten,
    merge_file_records,
    merge_files,
    merge_forgotten,
)
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.signal import Signal

_ATTEMPTS = 8
_ROW_BYTES = 600  # a file name with what is remembered of it
_KEEP_FRESH = timedelta(hours=1)
"""A page that says the same for days is confirmed in the record this often, so that it can stand in."""
_log = logging.getLogger(__name__)


class Projection(msgspec.Struct, frozen=True):
    """A page as it was enriched last."""

    of: int
    """The revision of the source's own page."""
    version: int
    """Of the state it was made with."""
    page: ProjectPage


class MatchedFiles(msgspec.Struct, frozen=True):
    """The files of a page with what is remembered of them."""

    state: ProjectState
    version: int
    """Of the state, when they were matched: what is learned later is shown next time."""
    records: list[FileRecord | None]
    """One for each file of the page; ``None``: it has other bytes than those first seen."""
    overruled: Sequence[tuple[File, SeenBody]] = ()
    """Files whose source states a digest or size that is not that of the body that was observed before."""


class ProjectState:
    """Knowledge of this process about one project."""

    def __init__(self) -> None:
        self.files: Files = {}
        """By file name; changed by :meth:`learn` alone."""
        self.forgotten: dict[str, datetime] = {}
        """By file name, when an operator had it forgotten."""
        self.first_look: datetime | None = None
        """The moment when the first of the files was first seen."""
        self.version = 0
        """Grows with everything that may change what a page shows."""
        self.page: ProjectPage | None = None
        """The last good one that this process heard."""
        self.kept: KeptPage | None = None
        """The last good one that the record holds, until this process has heard one."""
        self.absent_since: datetime | None = None
        """Moment when the source said "not there", unless it has had a page since."""
        self.read_s: float | None = None
        """By the monotonic clock: when the record was last read; ``None``: not yet."""
        self.read_error: StoreError | None = None
        """Why it could not be read the last time."""
        self.retry_at_s = 0.0
        """By the monotonic clock: the record is not read again before."""
        self.etag: str | None = None
        self.is_left_alone = False
        """A later release wrote the record: it is not written by this one."""
        self.has_news = False
        """There is something about files that the record lacks."""
        self.written: tuple[bytes, datetime] | None = None
        """Mark and confirmation of the page that the record holds."""
        self.projection: Projection | None = None

    def learn(self, found: Files) -> bool:
        """Merge what was found out; whether any of it is new."""
        is_new, found = False, drop_forgotten(found, self.forgotten)
        if not self.files:  # as at the first sight of a project
            self.files.update(found)
            is_new = bool(found)
            self.first_look = min((record.at for record in found.values()), default=None)
        else:
            for name, record in found.items():
                known = self.files.get(name)
                merged = record if known is None else merge_file_records(known, record)
                if merged != known:
                    self.files[name] = merged
                    self.first_look = merged.at if self.first_look is None else min(self.first_look, merged.at)
                    is_new = True
        self.version += is_new
        return is_new

    def take(self, stored: StoredRecord) -> bool:
        """Merge what the store holds with what happened here meanwhile; tell whether it contradicts what was known here.

        Then the record is right: whoever wrote first decides what a name's bytes are, for every process, whatever its clock says.
        """
        if stored.record.forgotten:
            self.forgotten = merge_forgotten(self.forgotten, stored.record.forgotten)
            left = drop_forgotten(self.files, self.forgotten)
            self.version += left is not self.files
            self.files = left
        overruled = {
            name: record
            for name, record in stored.record.files.items()
            if (known := self.files.get(name)) is not None
            and known.blob == record.blob
            and contradicts(record, known.hashes, known.size)
        }
        self.files.update(overruled)
        self.version += bool(overruled)
        page = stored.record.page
        self.etag, self.is_left_alone = stored.etag, stored.is_left_alone
        self.learn(stored.record.files)
        self.written = None if page is None else (page.mark, page.as_of)
        if page is not None and self.page is None and (self.absent_since is None or page.as_of > self.absent_since):
            self.kept = page
        return bool(overruled)

    def lacks(self, kept: KeptPage | None) -> bool:
        """Tell whether the record has another page, or has to be told that this one still stands."""
        if kept is None or self.written is None:
            return kept is not None or self.written is not None
        return kept.mark != self.written[0] or self.is_to_confirm(kept.as_of)

    def is_to_confirm(self, as_of: datetime) -> bool:
        """Tell whether the record has not heard for long that a page of this moment stands."""
        return self.written is None or as_of - self.written[1] >= _KEEP_FRESH

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory behind it."""
        shown = self.projection
        pages = [self.page, shown.page if shown is not None and shown.page.revision != shown.of else None]
        kept = 0 if self.kept is None else len(self.kept.body)
        return 500 + _ROW_BYTES * len(self.files) + kept + sum(page_bytes(page) for page in pages if page is not None)


class FileMemory(ABC):
    """The records of one source in memory: bounded, each read once at a time, and saved by compare-and-swap.

    What differs between remote sources and containers is in three methods, in the order of their use: a page is fetched, its
    files are matched with what is remembered of them, and the enriched page is recorded.
    """

    def __init__(
        self, records: ProjectRecords, *, clock: Clock, max_bytes: int, patience_s: float | None, retry_s: float
    ) -> None:
        """An empty cache.

        ``patience_s``: how long a reader waits for a slow store (``None``: as long as the store itself does). ``retry_s``: how
        long a record that could not be read in time is left alone.
        """
        self._records = records
        self._clock = clock
        self._patience_s = patience_s
        self._retry_s = retry_s
        self._states: LRUCache[str, ProjectState] = LRUCache(max_bytes, getsizeof=lambda state: min(state.size_bytes, max_bytes))
        self._in_use: WeakValueDictionary[str, ProjectState] = WeakValueDictionary()
        """States that somebody still holds, also those that were dropped meanwhile: a project has one state at a time."""
        self._reads = BackgroundTasks()
        self._is_failing = False
        self._gathered: dict[str, bool] = {}
        """Projects of which much is being learned, and whether some of it was not told yet."""
        self.changed = Signal()
        """Emitted whenever more is known of a file than pages said so far."""

    async def close(self) -> None:
        await self._reads.close()

    @abstractmethod
    async def fetch_page(self, source: Source, project: str) -> tuple[ProjectPage, ProjectState]:
        """The source's own page, and what is known of the project. Raises what the source does."""

    @abstractmethod
    async def match_files(self, page: ProjectPage, state: ProjectState, asked_s: float) -> MatchedFiles:
        """Find what is remembered of each listed file; remember what the page says for the first time.

        ``asked_s``: when the page was asked for (monotonic). New names are compared with a record no older than that.
        """

    def record_projection(self, page: ProjectPage, state: ProjectState, projection: Projection) -> None:
        """Remember how a page is shown."""
        state.projection = projection
        self.weigh(page.project, state)

    # --- news

    def tell(self, project: str) -> None:
        """Tell that more is known of a project; while :meth:`gather` is under way, with the next part of it."""
        if project in self._gathered:
            self._gathered[project] = True
        else:
            self.changed.emit(project)

    def gather(self, project: str, *, is_over: bool = False) -> None:
        """Tell of what was learned since the last call, and gather what will be; so that not each fact costs a page anew."""
        if self._gathered.pop(project, False):
            self.changed.emit(project)
        if not is_over:
            self._gathered[project] = False

    # --- states

    def state_at_hand(self, project: str) -> ProjectState:
        """Knowledge of a project, without asking the store."""
        state = self._states.get(project)
        if state is None:
            state = self._in_use.get(project) or self._find_unwritten(project) or ProjectState()
            self.weigh(project, state)
        return state

    def _find_unwritten(self, project: str) -> ProjectState | None:  # noqa: ARG002
        """The state of a project that waits to be saved, however long nobody has asked for it."""
        return None

    def weigh(self, project: str, state: ProjectState) -> None:
        """Count a state anew, since it grew; the least recently used go."""
        self._states.pop(project, None)
        self._states[project] = self._in_use[project] = state

    # --- reading

    def start_reading(self, project: str, *, since_s: float = -math.inf) -> asyncio.Task[None] | None:
        """Begin to read the record, unless it was read since that moment (monotonic), or cannot be read now."""
        state = self.state_at_hand(project)
        is_read = state.read_s is not None and state.read_s >= since_s
        if is_read or self._clock.monotonic() < state.retry_at_s:
            return None
        return self._reads.start(project, lambda: self._read_beside(project, state))

    async def state_of(self, project: str, *, since_s: float = -math.inf) -> ProjectState:
        """Knowledge of a project, with the record as of ``since_s`` (monotonic; by default as it was ever read).

        Where it cannot be read in time, what this process knows: ``read_s`` then says that it is no more.
        """
        reading = self.start_reading(project, since_s=since_s)
        if reading is not None:
            _, slow = await asyncio.wait([reading], timeout=self._patience_s)
            if slow:
                self.state_at_hand(project).retry_at_s = self._clock.monotonic() + self._retry_s
        return self.state_at_hand(project)

    async def _read_beside(self, project: str, state: ProjectState) -> None:
        await asyncio.sleep(0)  # the question to the source leaves first, since its answer takes longer
        try:
            await self._read(project, state)
        except StoreError as error:
            state.read_error = error
            state.retry_at_s = self._clock.monotonic() + self._retry_s
            if not self._is_failing:
                _log.warning("what is remembered of source %s cannot be read: %s", self._records.source, error)
            self._is_failing = True

    async def _read(self, project: str, state: ProjectState) -> None:
        asked_s = self._clock.monotonic()
        stored = await self._records.read(project)
        self._is_failing = False
        self._take(project, state, stored)
        state.read_s = asked_s
        self.weigh(project, state)

    def _take(self, project: str, state: ProjectState, stored: StoredRecord) -> None:
        if state.take(stored):
            self.changed.emit(project)  # what was shown is withheld from the next request on

    def reread(self, project: str | None = None) -> None:
        """Read records again before they are next used: a file may have been forgotten. ``None``: those of all projects."""
        for name, state in list(self._in_use.items()):
            if project in (None, name):
                state.read_s = None
                self.changed.emit(name)

    # --- writing

    async def save(self, project: str, state: ProjectState, found: Files | None = None) -> None:
        """Write what the record lacks, if anything; ``found`` becomes part of the state once it is written. Raises StoreError."""
        try:
            for _ in range(_ATTEMPTS):
                if await self._save_once(project, state, found or {}):
                    state.learn(found or {})
                    self.weigh(project, state)
                    return
            raise StoreError(f"the record of {project} is being written by somebody else all the time")
        except BaseException:
            state.has_news = True
            raise

    async def _save_once(self, project: str, state: ProjectState, found: Files) -> bool:
        """Tell whether the record holds everything now; else somebody else was faster, whose news has been merged."""
        if state.read_s is None:
            await self._read(project, state)
        if state.is_left_alone:
            return True
        # What is learned from here on, during any of the waits below, is news for the next time.
        files, page, news, state.has_news = merge_files(state.files, found), state.page, state.has_news, False
        kept = state.kept if page is None else await self._records.pack_page(page)
        news = news or any(files[name] != state.files.get(name) for name in found)
        if not news and not state.lacks(kept):
            return True
        try:
            state.etag = await self._records.write(project, ProjectRecord(files, kept, state.forgotten), state.etag)
        except BlobChanged:
            await self._read_again(project, state)
            return False
        state.written = None if kept is None else (kept.mark, kept.as_of)
        return True

    async def _read_again(self, project: str, state: ProjectState) -> None:
        """After somebody else wrote: take what they know, and tell by ``has_news`` whether they lack something that we know."""
        stored = await self._records.read(project)
        self._take(project, state, stored)
        self.weigh(project, state)
        theirs = stored.record.page
        if state.page is not None and theirs is not None and theirs.as_of > state.page.as_of:
            # It was confirmed later. Ours must not overwrite it, so it is what we know to be the last good one.
            state.page = await self._records.unpack_page(project, theirs) or state.page
        if any(stored.record.files.get(name) != known for name, known in state.files.items()):
            state.has_news = True

"""What this process remembers of one remote source's files, and how that comes from and goes to the store.

Reading happens beside the question to the source, writing behind the answer: a store that is slow or down costs a line in the
log, never a page. What could not be read is merged once it can; what could not be written is written with the next news.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import BlobChanged, StoreError
from wheelgate.core.memory_cost import RECENT_BYTES
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.protocols import Clock
from wheelgate.enrich.kept_pages import KeptPage
from wheelgate.enrich.project_state import Projection, ProjectState
from wheelgate.enrich.records import (
    ExtractedMetadata,
    FileRecord,
    Files,
    ProjectRecord,
    ProjectRecords,
    contradicts,
    merge_file_records,
    merge_records,
)

_PATIENCE_S = 2.0
"""How long a page waits for a store that is slower than its source."""
_RETRY_S = 5.0
"""How long a record that could not be read or written is left alone."""
_DELAY_S = 0.5
"""News comes in bursts, and a build waits for nothing else than this process: it is written once the burst is over."""
_BURST = 10
"""Or once it has lasted so many times as long."""
_AT_ONCE = 2
_CLOSING_S = 5.0
_ATTEMPTS = 8
_UNWRITTEN_BYTES = 48 * 1024 * 1024
"""One build of a data-science environment asks for 60 projects with 40,000 files. All of that has to fit until it is written, or
each build would drop what the last one learned."""
_MUCH_BYTES = 10 * 1024 * 1024
_BREATH_S = 0.1
"""The page that brought the news is answered with first."""
_KEEP_FRESH = timedelta(hours=1)
"""A page that says the same for days is confirmed in the record this often, so that it can stand in."""
_log = logging.getLogger(__name__)


class FileHistory:
    """The memory of one source: bounded, shared with other processes through the store. Close it to write what is left."""

    def __init__(
        self,
        records: ProjectRecords,
        *,
        source: str,
        clock: Clock,
        max_bytes: int = RECENT_BYTES // 2,
        max_unwritten_bytes: int = _UNWRITTEN_BYTES,
        much_bytes: int = _MUCH_BYTES,
        delay_s: float = _DELAY_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._records = records
        self._source = source
        self._clock = clock
        self._much_bytes = much_bytes
        self._delay_s = delay_s
        self._patience_s = patience_s
        self._notes: LRUCache[str, ProjectState] = LRUCache(max_bytes, getsizeof=lambda notes: min(notes.size_bytes, max_bytes))
        self._reads: dict[str, asyncio.Task[None]] = {}
        self._unwritten: LRUCache[str, ProjectState] = LRUCache(
            max_unwritten_bytes, getsizeof=lambda notes: min(notes.size_bytes, max_unwritten_bytes)
        )
        """Bounded too: while the store is down, the news of what was asked longest ago is lost."""
        self._writer: asyncio.Task[None] | None = None
        self._has_news = False
        self._much = asyncio.Event()
        """There is so much news that it is better written now than held."""
        self._failing: set[str] = set()
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever more is known of a file than pages said so far."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Write what is not written yet, as far as the store takes it within seconds."""
        for task in list(self._reads.values()):
            task.cancel()
        await asyncio.gather(*self._reads.values(), return_exceptions=True)
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSING_S):
                await self._write_all()
        except TimeoutError:
            _log.warning("source %s: %d records were not written before the end", self._source, len(self._unwritten))

    # --- reading

    def start_reading(self, project: str) -> None:
        """Start to read the record, if it was not read yet: the source is being asked meanwhile."""
        notes = self._noted(project)
        if notes.read_s is None and self._clock.monotonic() >= notes.rest_until_s:
            self._reading(project)

    async def state_of(self, project: str, *, since_s: float | None = None) -> ProjectState:
        """What is remembered, as of ``since_s`` (by the monotonic clock) or later; without a store, what this process knows."""
        notes = self._noted(project)
        if notes.read_s is None or (since_s is not None and notes.read_s < since_s):
            if self._clock.monotonic() >= notes.rest_until_s:
                _, slow = await asyncio.wait([self._reading(project)], timeout=self._patience_s)
                if slow:
                    notes.rest_until_s = self._clock.monotonic() + _RETRY_S
            notes = self._noted(project)
        return notes

    def _noted(self, project: str) -> ProjectState:
        notes = self._notes.get(project)
        if notes is None:
            notes = self._unwritten.get(project) or ProjectState()
            self._weigh(project, notes)
        return notes

    def _reading(self, project: str) -> asyncio.Task[None]:
        task = self._reads.get(project)
        if task is None:
            task = self._reads[project] = asyncio.create_task(self._read(project, self._noted(project)))
            task.add_done_callback(lambda _: self._reads.pop(project, None))
        return task

    async def _read(self, project: str, notes: ProjectState) -> None:
        asked_s = self._clock.monotonic()
        await asyncio.sleep(0)  # the question to the source leaves first, since its answer takes longer
        try:
            record, etag = await self._records.read(project)
        except StoreError as error:
            notes.rest_until_s = self._clock.monotonic() + _RETRY_S
            self._store_fails("read", error)
            return
        self._failing.discard("read")
        self._take(notes, record, etag)
        notes.read_s = asked_s
        self._weigh(project, notes)
        if record.page is not None and notes.is_over(record.page):
            self._to_write(project)

    def _take(self, notes: ProjectState, record: ProjectRecord, etag: str | None) -> None:
        """What the store holds, joined with what happened here meanwhile."""
        if notes.files and record.files:
            changed = False
            for name, stored in record.files.items():
                known = notes.files.get(name)
                joined = stored if known is None else merge_file_records(stored, known)
                if joined != known:
                    notes.files[name] = joined
                    changed = True
            notes.version += changed
        elif record.files:
            notes.files = record.files
            notes.version += 1
        notes.etag = etag
        notes.written = None
        if record.page is not None:
            notes.written = (record.page.mark, record.page.as_of)
            if notes.page is None and not notes.is_over(record.page):
                notes.kept = record.page

    async def last_good(self, project: str) -> ProjectPage | None:
        """The last good page that this process or another one heard; ``None`` if nothing is known of one."""
        notes = await self.state_of(project)
        if notes.page is None and notes.kept is not None:
            kept = notes.kept
            page = await self._records.unpack_page(project, kept)
            if notes.page is None and notes.kept is kept:  # it has not been gone meanwhile
                notes.page, notes.kept = page, None
                self._weigh(project, notes)
        return notes.page

    # --- learning

    def add(self, project: str, found: Mapping[str, FileRecord], *, tell: bool = True) -> None:
        """Files seen for the first time, or more about known ones. ``tell=False``: the page being made shows it already."""
        notes = self._noted(project)
        known = {name: notes.files[name] for name in found.keys() & notes.files.keys()}  # hardly any: most news is new names
        notes.files.update(found)
        notes.files.update((name, merge_file_records(seen, found[name])) for name, seen in known.items())
        notes.news = True
        notes.version += 1
        self._weigh(project, notes)
        self._to_write(project)
        for listener in self._listeners if tell else ():
            listener()

    def learn(
        self, file: File, *, sha256: str | None = None, size: int | None = None, made: ExtractedMetadata | None = None
    ) -> None:
        """What the bytes of a listed file told us."""
        now = self._clock.now()
        known = self._noted(file.project).files.get(file.filename) or FileRecord(
            now.replace(microsecond=0), file.hashes, file.upload_time or now, file.size
        )
        if contradicts(known, {"sha256": sha256} if sha256 else file.hashes, size):
            return  # bytes that are withheld say nothing of those first seen
        hashes = known.hashes if sha256 is None or "sha256" in known.hashes else {**known.hashes, "sha256": sha256}
        learned = msgspec.structs.replace(
            known, hashes=hashes, size=known.size if known.size is not None else size, made=made or known.made
        )
        if learned != self._noted(file.project).files.get(file.filename):
            self.add(file.project, {file.filename: learned})

    def keep_projection(self, project: str, shown: Projection) -> None:
        """Remember how a page was shown, so that everybody gets the same object."""
        notes = self._noted(project)
        notes.shown = shown
        self._weigh(project, notes)

    def mark_absent(self, project: str) -> None:
        """The source was heard, and has no such project: what it had does not stand in any more. Its files stay known."""
        notes = self._noted(project)
        if notes.gone_at is None:
            notes.page = notes.kept = notes.shown = None
            notes.gone_at = self._clock.now()
            if notes.written is not None:
                self._to_write(project)

    def keep(self, page: ProjectPage) -> None:
        """The page is the last good one. Its files were added."""
        notes = self._noted(page.project)
        known, notes.page, notes.kept, notes.gone_at = notes.page, page, None, None
        if known is None or known.revision != page.revision or self._is_old(notes, page):
            self._weigh(page.project, notes)
            self._to_write(page.project)

    @staticmethod
    def _is_old(notes: ProjectState, page: ProjectPage) -> bool:
        return notes.written is None or page.as_of - notes.written[1] >= _KEEP_FRESH

    # --- writing

    def _to_write(self, project: str) -> None:
        self._put_off(project, self._noted(project))
        self._has_news = True
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_later())

    def _put_off(self, project: str, notes: ProjectState) -> None:
        self._unwritten.pop(project, None)  # to be weighed again
        self._unwritten[project] = notes
        if self._unwritten.currsize > self._much_bytes:
            self._much.set()

    async def _write_later(self) -> None:
        while self._unwritten:
            for _ in range(_BURST):
                self._has_news = False
                if await self._is_much() or (not self._has_news and not self._failing):
                    break
            self._much.clear()
            await self._write_all()

    async def _is_much(self) -> bool:
        """After a pause, or at once when much is waiting and the store takes it."""
        if self._failing:
            await asyncio.sleep(self._delay_s)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay_s):
                await self._much.wait()
        if not self._much.is_set():
            return False
        await asyncio.sleep(min(_BREATH_S, self._delay_s))
        return True

    async def _write_all(self) -> None:
        """Everything that is not written yet, a few at a time, until the store fails."""
        queue = iter(list(self._unwritten))

        async def work() -> None:
            for project in queue:
                try:
                    await self._write(project)
                except StoreError as error:
                    self._store_fails("written", error)
                    return
                except Exception:  # the others must not be lost with it
                    _log.exception("source %s: the record of %s cannot be written", self._source, project)
                else:
                    self._failing.discard("written")

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def _write(self, project: str) -> None:
        notes = self._unwritten.pop(project, None)
        if notes is None:
            return
        try:
            await self._write_notes(project, notes)
        except BaseException as error:
            notes.news = True
            if isinstance(error, StoreError | asyncio.CancelledError):
                self._put_off(project, notes)
            raise
        if notes.size_bytes > self._notes.maxsize and self._notes.get(project) is notes and project not in self._unwritten:
            del self._notes[project]  # it would take everybody else's place, and can be read again

    async def _write_notes(self, project: str, notes: ProjectState) -> None:
        if notes.read_s is None:
            await self._read(project, notes)
            if notes.read_s is None:
                raise StoreError(f"the record of {project} cannot be read")
        for _ in range(_ATTEMPTS):
            # What is learned from here on, during any of the waits below, is news for the next time.
            files, page, news, notes.news = dict(notes.files), notes.page, notes.news, False
            kept = notes.kept if page is None else await self._records.pack_page(page)
            if not news and not self._is_new(notes, kept):
                return
            try:
                etag = await self._records.write(project, files, kept, notes.etag)
            except BlobChanged:
                lacking = await self._rejoined(project, notes, files, kept)
                notes.news = notes.news or lacking
                continue
            notes.etag = etag
            notes.written = None if kept is None else (kept.mark, kept.as_of)
            return
        raise StoreError(f"the record of {project} is being written by somebody else all the time")

    async def _rejoined(self, project: str, notes: ProjectState, files: Files, kept: KeptPage | None) -> bool:
        """After somebody else wrote: take what they know; whether they lack something that we know."""
        record, etag = await self._records.read(project)
        self._take(notes, record, etag)
        self._weigh(project, notes)
        lacking = any(name not in record.files or record.files[name] != notes.files[name] for name in files)
        later = record.page if kept is None else merge_records(record, ProjectRecord({}, kept)).page
        if notes.page is not None and later is record.page and later is not None and later.as_of > notes.page.as_of:
            # Theirs was confirmed later. Ours must not overwrite it, so it is what we know to be the last good one.
            page = await self._records.unpack_page(project, later)
            notes.page = page or notes.page
        return lacking

    @staticmethod
    def _is_new(notes: ProjectState, kept: KeptPage | None) -> bool:
        if kept is None or notes.written is None:
            return kept is not None or notes.written is not None
        mark, as_of = notes.written
        return mark != kept.mark or kept.as_of - as_of >= _KEEP_FRESH

    def _store_fails(self, what: str, error: StoreError) -> None:
        if what not in self._failing:
            _log.warning("what is remembered of source %s cannot be %s: %s", self._source, what, error)
        self._failing.add(what)

    def _weigh(self, project: str, notes: ProjectState) -> None:
        """Again, since it grew; the least recently used go."""
        if self._notes.get(project) is notes:
            del self._notes[project]
        self._notes[project] = notes

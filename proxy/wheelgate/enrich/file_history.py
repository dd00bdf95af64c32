"""File history of a remote source: the bytes that each file name had when it was first seen, and the last good page.

Read-through beside the question to the source, write-behind after the answer: a store that is slow or down costs a line in the
log, never a page. What could not be read is merged once it can be; what could not be written is written with the next news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from wheelgate.core.errors import ProjectNotFound
from wheelgate.core.file_list import RECENT_BYTES
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import Clock, Source
from wheelgate.enrich.file_memory import FileMemory, MatchedFiles, Projection, ProjectState
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import ExtractedMetadata, FileRecord, Files, Observation, SeenBody, contradicts, may_be
from wheelgate.enrich.write_behind import WriteBehind
from wheelgate.runtime.cooperative import Steps, in_slices

_PATIENCE_S = 2.0
"""Time that a page waits for a store that is slower than its source."""
_RETRY_S = 5.0
_DELAY_S = 0.5
"""News comes in bursts, and a build waits for nothing else than this process: it is written once the burst is over."""
_UNWRITTEN_BYTES = 48 * 1024 * 1024
"""One build of a data-science environment asks for 60 projects with 40,000 files. All of that has to fit until it is written, or
each build would drop what the last one learned."""
_MUCH_BYTES = 10 * 1024 * 1024
_SLICE = 500


class FileHistory(FileMemory):
    """The memory of one remote source. Close it to write what is left."""

    def __init__(
        self,
        records: ProjectRecords,
        *,
        clock: Clock,
        max_bytes: int = RECENT_BYTES // 2,
        max_unwritten_bytes: int = _UNWRITTEN_BYTES,
        much_bytes: int = _MUCH_BYTES,
        delay_s: float = _DELAY_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        super().__init__(records, clock=clock, max_bytes=max_bytes, patience_s=patience_s, retry_s=_RETRY_S)
        self._unwritten = WriteBehind[ProjectState](
            self._write,
            size_of=lambda state: state.size_bytes,
            subject=f"what is remembered of source {records.source}",
            delay_s=delay_s,
            much_bytes=much_bytes,
            max_bytes=max_unwritten_bytes,
        )

    async def close(self) -> None:
        """Write what is not written yet, as far as the store takes it within seconds."""
        await super().close()
        await self._unwritten.close()

    async def fetch_page(self, source: Source, project: str) -> tuple[ProjectPage, ProjectState]:
        """See :class:`FileMemory`. The record is read while the source is asked."""
        self.start_reading(project)
        try:
            page = await source.project_page(project)
        except ProjectNotFound as error:
            if error.outage_since is None:
                self._mark_absent(project)
            raise
        return page, await self.state_of(project)

    async def match_files(self, page: ProjectPage, state: ProjectState, asked_s: float) -> MatchedFiles:
        version = state.version
        records, news, overruled = await in_slices(_match(page.files, state.files, self._clock.now()))
        if news:
            # Names that are new to this process another one may have seen with other bytes, since the record was read.
            known = (state, version)
            state = await self.state_of(page.project, since_s=asked_s)
            version = state.version
            if (state, version) != known:
                records, news, overruled = await in_slices(_match(page.files, state.files, self._clock.now()))
            version += self._learn(page.project, state, news)
        return MatchedFiles(state, version, records, overruled)

    def record_projection(self, page: ProjectPage, state: ProjectState, projection: Projection) -> None:
        """See :class:`FileMemory`. A page that does not stand in itself is the last good one."""
        if not page.stale:
            known, state.page, state.kept, state.absent_since = state.page, page, None, None
            if known is None or known.revision != page.revision or state.is_to_confirm(page.as_of):
                self._unwritten.put(page.project, state)
        super().record_projection(page, state, projection)

    def _mark_absent(self, project: str) -> None:
        """The source was heard, and has no such project: what it had does not stand in any more. Its files stay known."""
        state = self.state_at_hand(project)
        if state.absent_since is None:
            state.page = state.kept = state.projection = None
            state.absent_since = self._clock.now()
            if state.written is not None:
                self._unwritten.put(project, state)

    async def find_last_good(self, project: str) -> ProjectPage | None:
        """The last good page that this process or another one heard; ``None`` if nothing is known of one."""
        state = await self.state_of(project)
        if state.page is None and state.kept is not None:
            kept = state.kept
            page = await self._records.unpack_page(project, kept)
            if state.page is None and state.kept is kept:  # it has not been gone meanwhile
                state.page, state.kept = page, None
                self.weigh(project, state)
        return state.page

    def learn(
        self,
        file: File,
        *,
        sha256: str | None = None,
        size: int | None = None,
        made: ExtractedMetadata | None = None,
        observed: Observation | None = None,
    ) -> None:
        state = self.state_at_hand(file.project)
        now = self._clock.now()
        known = state.files.get(file.filename)
        if known is None:  # forgotten here; the record knows what was first seen
            known = FileRecord(now.replace(microsecond=0), file.stated_hashes, now)
        if contradicts(known, {"sha256": sha256} if sha256 else file.hashes, size):
            return  # bytes that are withheld say nothing of those first seen
        hashes, body = known.hashes, known.body
        if sha256 is not None and (hashes or file.stated_hashes):
            hashes, size = {"sha256": sha256, **hashes}, size if known.size is None else known.size
        elif sha256 is not None and size is not None:  # nobody vouches for them but themselves
            body, size = body or SeenBody(now, sha256, size), known.size
            if body.sha256 != sha256:
                return
        learned = msgspec.structs.replace(
            known,
            hashes=hashes,
            size=size,
            body=body if may_be(body, hashes, size) else None,
            made=made or known.made,
            observed=observed or known.observed,
        )
        if self._learn(file.project, state, {file.filename: learned}):
            self.tell(file.project)

    def _learn(self, project: str, state: ProjectState, found: Files) -> bool:
        is_new = state.learn(found)
        if is_new:
            state.has_news = True
            self.weigh(project, state)
            self._unwritten.put(project, state)
        return is_new

    def _find_unwritten(self, project: str) -> ProjectState | None:
        return self._unwritten.find(project)

    async def _read(self, project: str, state: ProjectState) -> None:
        await super()._read(project, state)
        if state.written is not None and state.page is None and state.kept is None:  # it is gone, as was heard before
            self._unwritten.put(project, state)

    async def _write(self, project: str, state: ProjectState) -> None:
        await self.save(project, state)
        is_large = state.size_bytes > self._states.maxsize and not state.is_left_alone
        if is_large and self._states.get(project) is state and project not in self._unwritten:
            del self._states[project]  # it would take everybody else's place, and can be read again


_Overruled = list[tuple[File, SeenBody]]


def _match(
    files: Sequence[File], known: Mapping[str, FileRecord], now: datetime
) -> Steps[tuple[list[FileRecord | None], Files, _Overruled]]:
    """Match listed files with what is known of them (``None``: they contradict it), and find what is not known yet.

    That is: names, digests and sizes of known ones, earlier upload times; and of which ones what was observed is overruled.
    """
    records: list[FileRecord | None] = []
    news: Files = {}
    overruled: _Overruled = []
    at = now.replace(microsecond=0)
    for number, file in enumerate(files):
        if not number % _SLICE:
            yield
        seen = known.get(file.filename)
        if is_index_document(file.filename):
            if seen is None:
                news[file.filename] = seen = FileRecord(at, {}, file.upload_time or now)
            # Other bytes under its name are no other file: of what was seen, the time alone is still so.
            records.append(FileRecord(seen.at, file.hashes, min(seen.uploaded, file.upload_time or now), file.size))
            continue
        if seen is None:
            news[file.filename] = seen = FileRecord(at, file.hashes, file.upload_time or now, file.size)
            records.append(seen)
            continue
        if (file.hashes is not seen.hashes and file.hashes != seen.hashes) or file.size != seen.size:
            if contradicts(seen, file.hashes, file.size):
                records.append(None)
                continue
            stated = _add_stated(seen, file)
            if stated is not seen:  # said only now
                overruled += _find_overruled(file, seen, stated)
                news[file.filename] = seen = stated
        if file.upload_time is not None and file.upload_time < seen.uploaded:
            news[file.filename] = seen = msgspec.structs.replace(seen, uploaded=file.upload_time)
        records.append(seen)
    return records, news, overruled


def _add_stated(seen: FileRecord, file: File) -> FileRecord:
    """Add the digests and the size that a source states to what is known; the same object, if all of it was."""
    hashes, size = {**file.hashes, **seen.hashes}, file.size if seen.size is None else seen.size
    if hashes == seen.hashes and size == seen.size:
        return seen
    body = seen.body if may_be(seen.body, hashes, size) else None
    return msgspec.structs.replace(seen, hashes=hashes, size=size, body=body)


def _find_overruled(file: File, seen: FileRecord, stated: FileRecord) -> _Overruled:
    """Find the observed body that is surely not what its source states now, if there is one."""
    body = seen.body
    is_it = body is None or (stated.hashes.get("sha256", body.sha256) == body.sha256 and stated.size in (None, body.size))
    return [] if body is None or is_it else [(file, body)]

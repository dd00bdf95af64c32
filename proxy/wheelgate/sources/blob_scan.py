"""Scanned container: wheels and sdists in whatever layout, listed in the background so that no page waits for a listing.

Azure ML's private-packages container is flat; a build pipeline may put wheels five folders deep. Names alone say what a blob is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Mapping
from datetime import datetime
from itertools import islice

import msgspec

from wheelgate.core.errors import ProjectNotFound, StoreError
from wheelgate.core.model import Freshness, ProjectPage
from wheelgate.core.names import project_in
from wheelgate.core.protocols import BlobInfo, BlobStore, Clock
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.signal import Signal
from wheelgate.sources.emptiness import KNOWN, Emptiness
from wheelgate.sources.page_builder import page_of, stored_file

_PATIENCE_S = 5.0
"""Time that a request waits for the first scan to end, before it is told to come back."""
_SLICE = 250
_log = logging.getLogger(__name__)


class BlobScan:
    """A :class:`~wheelgate.core.protocols.Source` over every wheel and sdist in a store, wherever it lies there.

    Until the first scan is complete nobody knows what it has, so it counts as failing, not as empty.
    """

    def __init__(
        self,
        *,
        name: str,
        store: BlobStore,
        clock: Clock,
        interval_s: float,
        retry_s: float = 5.0,
        patience_s: float = _PATIENCE_S,
        emptiness: Emptiness | None = None,
    ) -> None:
        """``interval_s``: between two scans; ``retry_s``: after one that failed. ``emptiness``: judges an empty listing."""
        self.name = name
        self._emptiness = emptiness
        self._store = store
        self._clock = clock
        self._interval_s = interval_s
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._scanned_at: datetime | None = None
        self._fresh_until = -math.inf
        self.changed = Signal()
        """Emitted when its answers have changed, or it has begun to fail or to answer again."""
        self._projects: Mapping[str, Mapping[str, BlobInfo]] | None = None
        self._pages: dict[str, ProjectPage] = {}
        self._error: StoreError | None = None
        self._first = asyncio.Event()
        self._is_closed = False
        self._troubles = TroubleLog(_log)
        self._tasks = BackgroundTasks()

    async def close(self) -> None:
        """Stop scanning, for good: whoever still asks is told what the last scan found."""
        self._is_closed = True
        self._first.set()
        await self._tasks.close()
        if self._emptiness is not None:
            await self._emptiness.close()

    async def _keep_scanning(self) -> None:
        """Scan for ever. A scan that fails leaves what the last one found, and is tried again soon."""
        while True:
            try:
                await self.scan()
            except StoreError as error:
                self._fail(error)
            except Exception:  # the task must not end: what it found would be served for ever
                _log.exception("source %s: the scan failed", self.name)
                self._fail(StoreError(f"source {self.name} cannot be scanned; see the log"))
            await asyncio.sleep(self._interval_s if self._error is None else self._retry_s)

    def _fail(self, error: StoreError) -> None:
        is_news, self._error = self._error is None, error
        self._first.set()
        if is_news:
            _log.warning("source %s cannot be scanned: %s", self.name, error)
            self.changed.emit()

    async def scan(self) -> None:
        """List everything once. Raises StoreError."""
        found: dict[str, dict[str, BlobInfo]] = {}
        count = 0
        place = None if self._emptiness is None else await self._emptiness.identify()  # before: what follows is of it, or later
        async for info in self._store.list(""):
            count += 1
            if count % _SLICE == 0:  # a store gives thousands at a time, and requests wait meanwhile
                await asyncio.sleep(0)
            filename = info.path.rpartition("/")[2]
            project = project_in(filename)
            if project is None:
                continue
            files = found.setdefault(project, {})
            earlier = files.get(filename)
            if earlier is None or info.path < earlier.path:  # one name in two folders: always the same one of them
                files[filename] = info
        if self._emptiness is not None:
            await self._emptiness.judge(place, projects=list(islice(found, KNOWN)), is_void=count == 0)
        before = self._projects or {}
        self._pages = {name: page for name, page in self._pages.items() if found.get(name) == before.get(name)}
        changed = [name for name in found.keys() | before.keys() if found.get(name) != before.get(name)]
        was_failing = self._projects is None or self._error is not None
        self._projects = found
        self._scanned_at = self._clock.now()
        self._fresh_until = self._clock.monotonic() + self._interval_s
        self._error = None
        self._first.set()
        for name in [None] if was_failing else changed:
            self.changed.emit(name)

    async def project_names(self) -> frozenset[str]:
        return frozenset(await self._find_projects())

    async def project_page(self, project: str) -> ProjectPage:
        blobs = (await self._find_projects()).get(project)
        if blobs is None:
            raise ProjectNotFound(f"source {self.name} has no project {project}", fresh_until=self._fresh_until)
        page = self._pages.get(project)
        if page is None:
            page = self._pages[project] = self._make_page(project, blobs)
        # The last scan confirmed it, and the next one will.
        return msgspec.structs.replace(page, as_of=self._scanned_at, freshness=Freshness(self._fresh_until))

    def _make_page(self, project: str, blobs: Mapping[str, BlobInfo]) -> ProjectPage:
        """Make the page out of what can be believed; StoreError if nothing can: the project is here all the same."""
        damaged = [sentence for info in blobs.values() if (sentence := info.damage) is not None]
        for sentence in damaged:
            self._troubles.report(sentence, f"source {self.name}: {sentence}")
        if len(damaged) == len(blobs):
            raise StoreError(f"source {self.name} has nothing of {project} that can be used: {damaged[0]}")
        files = (
            stored_file(self.name, self._store.name, project, filename, info)
            for filename, info in blobs.items()
            if info.damage is None
        )
        return page_of(project, files, as_of=self._clock.now(), dropped=len(damaged))

    async def _find_projects(self) -> Mapping[str, Mapping[str, BlobInfo]]:
        if not self._is_closed:
            self._tasks.start("scan", self._keep_scanning)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await self._first.wait()
        if self._projects is None or self._error is not None:
            unknown = StoreError(f"source {self.name} is still being scanned for the first time: try again")
            raise (self._error or unknown).with_traceback(None)  # one object, many raisers
        return self._projects

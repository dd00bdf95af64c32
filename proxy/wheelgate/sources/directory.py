"""Folder of wheels and sdists, in any layout: what is put there is listed within seconds, what is removed is gone.

A folder is read whole, beside the requests. A small one is read again before whoever asks is answered; of a large one the last
look is the answer, while the next one is under way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamError, UpstreamUnavailable
from wheelgate.core.file_list import RECENT_BYTES, page_bytes
from wheelgate.core.model import File, Freshness, LocalFile, Location, ProjectPage
from wheelgate.core.name_table import NameTable
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import BlobInfo, Clock
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.folder_scan import FolderScan, scan_folder, unpack_path
from wheelgate.sources.holdings import Holdings, Unoffered, find_unoffered, log_unoffered, sort_holdings
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.listed_file import describe_listed
from wheelgate.sources.listed_names import ListedNames
from wheelgate.sources.listing_pause import find_pause_s
from wheelgate.sources.mirror_facts import MirrorFacts, read_mirror_facts
from wheelgate.sources.page_builder import page_of

RESCAN_S = 2.0
_QUICK_S = 0.1
"""A look that takes no longer is waited for."""
_OVERDUE_S = 30.0
"""By how much a look may come late, beside three times its usual length, before answers wait for it."""
_KNOWN = 4
_LOOK = ("look",)
"""Key of a task; those of projects are their names."""
_INLINE_BYTES = 32 * 1024 * 1024  # of unread files: a first page waits for that much hashing, no more
_log = logging.getLogger(__name__)


class Directory:
    """A :class:`~wheelgate.core.protocols.Source` over a folder of this machine, read again at most every two seconds.

    A file's digest and core metadata are worked out when its project is first asked for (large files in the background; they
    are listed without a digest until then). The modification time stands as upload time, unless a mirror's manifest says more.
    """

    def __init__(
        self,
        *,
        name: str,
        root: Path,
        clock: Clock,
        known: KnownProjects | None = None,
        inline_bytes: int = _INLINE_BYTES,
        quick_s: float = _QUICK_S,
        by_project: bool = False,
        metrics: Metrics | None = None,
        table: NameTable | None = None,
    ) -> None:
        """A source over ``root``.

        Args:
            name: the operator's, for the source.
            root: the folder.
            clock: the age of what was seen.
            known: projects that it had before this process; by default there were none.
            inline_bytes: of unread files that a first page waits for.
            quick_s: a look that takes no longer is waited for.
            by_project: its packages lie as ``<project>/<file>``, and what lies elsewhere is none.
            metrics: show age, length and size of the last look.
            table: keeps the names; ``None``: nobody else has any.
        """
        self.name = name
        self._had = known or KnownProjects(name, url=str(root))
        self._root = root
        self._clock = clock
        self._inline_bytes = inline_bytes
        self._quick_s = quick_s
        self._fresh_until = -math.inf
        self._looked_s = -math.inf
        self._took_s = 0.0
        self._by_project = by_project
        self._facts = MirrorFacts()
        self._last: FolderScan | None = None
        self._problem: UpstreamError | StoreError | None = None
        """Why the last look failed."""
        self._described: dict[str, dict[Location, File | None]] = {}
        """By project, files with what was read out of them. ``None``: it cannot be read now, so it is not listed; tried again
        after the next look."""
        self._pages: LRUCache[str, ProjectPage] = LRUCache(RECENT_BYTES, getsizeof=page_bytes)
        self._packed = ListedNames(table)
        self._troubles = TroubleLog(_log)
        self._flights: SingleFlight[None] = SingleFlight()
        self._tasks = BackgroundTasks()
        if metrics is not None:
            metrics.listing_age.labels(name).set_function(self._age_s)
            metrics.listing_seconds.labels(name).set_function(lambda: self._took_s)
            metrics.listing_blobs.labels(name).set_function(lambda: 0 if self._last is None else self._last.listing.count)

    async def close(self) -> None:
        """Stop reading in the background."""
        await self._tasks.close()
        await self._flights.close()
        await self._had.close()

    def _age_s(self) -> float:
        return 0.0 if self._last is None else self._clock.monotonic() - self._looked_s

    def start(self) -> None:
        """Look at the folder for the first time, before anybody asks."""
        self._tasks.start(_LOOK, self._look)

    @property
    def holds_up_all(self) -> bool:
        """False: a first look takes no longer than a request may wait."""
        return False

    async def project_names(self) -> PackedNames:
        last = await self._refresh()
        return await self._packed.pack(last.listing.names)

    async def read_facts(self, since: datetime | None = None) -> tuple[MirrorFacts, float]:
        """See :class:`~wheelgate.sources.mirror_facts.ReadFacts`. At each look the manifest is read after the folder."""
        try:
            await self._refresh()
        except (UpstreamError, StoreError):
            if self._last is None or since is not None:
                raise
        return self._facts, self._find_end()

    async def project_page(self, project: str) -> ProjectPage:
        last = await self._refresh()
        page = self._pages.get(project)
        if page is None:
            holdings = self._find(last, project)
            if holdings.is_nothing:
                raise ProjectNotFound(f"source {self.name} has no project {project}", fresh_until=self._find_end())
            log_unoffered(self._troubles, project, holdings.withheld)
            files = self._list(project, holdings)
            await self._flights.run((project, id(last)), lambda: self._read(project, files))
            described = self._described.get(project, {})
            readable = [known for file in files if (known := described.get(file.location, file))]
            listed, other = self._facts.describe_all(readable)
            dropped, withheld = holdings.dropped + len(files) - len(readable), (*holdings.withheld, *other)
            page = page_of(project, listed, as_of=self._clock.now(), dropped=dropped, withheld=withheld)
            # What is still being read changes the page when it has been.
            if self._last is last and all(file.location in described for file in files):
                self._keep(page)
            else:
                return page
        freshness = Freshness(self._find_end())
        if page.freshness != freshness:
            page = msgspec.structs.replace(page, freshness=freshness)
            self._keep(page)
        return page

    def _keep(self, page: ProjectPage) -> None:
        self._pages.pop(page.project, None)
        if page_bytes(page) <= self._pages.maxsize:
            self._pages[page.project] = page

    def _find_end(self) -> float:
        """Until when an answer is fresh: while the folder is being looked at, for a moment."""
        moment_s = self._clock.monotonic() + min(self._took_s, 1.0)
        return max(self._fresh_until, moment_s) if _LOOK in self._tasks else self._fresh_until

    def _find(self, scan: FolderScan, project: str) -> Holdings:
        try:
            found = sorted(scan.listing.find(project), key=_walk_order)
        except ValueError as error:
            raise UpstreamUnavailable(f"source {self.name}: {error}", source=self.name) from None
        return sort_holdings(self.name, project, found)

    def _list(self, project: str, holdings: Holdings) -> list[File]:
        return [self._file_of(project, filename, info) for filename, info in holdings.offered.items()]

    async def find_unoffered(self, most: int) -> Unoffered:
        """See :class:`~wheelgate.sources.holdings.Holder`."""
        last = await self._refresh()
        return await in_slices(find_unoffered(self.name, last.listing, most))

    def _file_of(self, project: str, filename: str, info: BlobInfo) -> File:
        return File(
            filename=filename,
            project=project,
            source=self.name,
            location=LocalFile(os.path.join(self._root, unpack_path(info.path)), info.etag, str(self._root)),  # noqa: PTH118 - text
            size=info.size,
            upload_time=info.created,
            core_metadata={} if filename.endswith(".whl") else None,  # read when it is asked for
        )

    async def _refresh(self) -> FolderScan:
        """Have the folder looked at if that is due, and return the look to answer by. Raises UpstreamUnavailable."""
        now_s = self._clock.monotonic()
        if now_s >= self._fresh_until:
            look = self._tasks.start(_LOOK, self._look)
            overdue_s = self._fresh_until + 3 * self._took_s + _OVERDUE_S
            if self._last is None or self._problem is not None or self._took_s <= self._quick_s or now_s >= overdue_s:
                await asyncio.wait([look])  # whoever leaves, it goes on
        if self._problem is not None:
            raise self._problem.with_traceback(None)  # one object, many raisers
        if self._last is None:
            raise UpstreamUnavailable(f"source {self.name}: the folder {self._root} was not looked at", source=self.name)
        return self._last

    async def _look(self) -> None:
        """Look at the whole folder. One that fails leaves no answer: public sources must not be asked for want of one."""
        began_s, clock_s = time.monotonic(), self._clock.monotonic()
        before = None if self._last is None else self._last.listing
        try:
            scan = await asyncio.to_thread(scan_folder, self._root, before, by_project=self._by_project)
            facts = await asyncio.to_thread(read_mirror_facts, self._root, self._facts)
            await self._judge(scan)
            await self._forget_gone(scan)
        except OSError as error:
            # An unmounted disk looks like this. Were it "no projects", public ones of the same names would be next.
            why = (error.strerror or "").lower()
            self._problem = UpstreamUnavailable(
                f"source {self.name}: the folder {self._root} cannot be read ({why})", source=self.name
            )
        except (UpstreamError, StoreError) as error:
            self._problem = error
        except Exception:  # what the last look found would be served for ever
            _log.exception("source %s: the folder %s cannot be read", self.name, self._root)
            self._problem = UpstreamUnavailable(
                f"source {self.name}: the folder {self._root} cannot be read; see the log", source=self.name
            )
        else:
            self._took_s = time.monotonic() - began_s
            self._take_up(scan, facts)
            self._looked_s = clock_s
            self._fresh_until = self._clock.monotonic() + find_pause_s(self._took_s, RESCAN_S)

    def _take_up(self, scan: FolderScan, facts: MirrorFacts) -> None:
        """Answer by this look from now on."""
        if facts is not self._facts:
            self._pages.clear()
        self._facts = facts
        for name in list(self._pages) if scan.changed is None else scan.changed:
            self._pages.pop(name, None)
        for name, page in list(self._pages.items()):
            if page.dropped:  # may be readable by now
                del self._pages[name]
        if scan.changed != frozenset():
            self._packed.forget()
        self._last, self._problem = scan, None
        for sentence in scan.links:
            self._troubles.report(sentence, f"source {self.name}: {sentence}", logging.WARNING)

    async def _judge(self, scan: FolderScan) -> None:
        """Let a look pass that can be believed. Raises UpstreamUnavailable."""
        seen = scan.listing.sample(_KNOWN)
        if not seen and not await self._had.may_be_empty(scan.place):
            raise UpstreamUnavailable(
                f"source {self.name}: the folder {self._root} had packages, and is another one now, without any: is its disk "
                "mounted? If it is meant to be new, put a first package there",
                source=self.name,
            )
        for name in seen:
            self._had.note(name, scan.place)

    async def _forget_gone(self, scan: FolderScan) -> None:
        """Drop what was read of files that are no longer what they were, and that some could not be read."""
        for name, described in list(self._described.items()):
            present = set(described)
            if scan.changed is None or name in scan.changed:
                present = {file.location for file in self._list(name, self._find(scan, name))}
                await asyncio.sleep(0)
            kept: dict[Location, File | None] = {at: file for at, file in described.items() if at in present and file is not None}
            if kept:
                self._described[name] = kept
            else:
                self._described.pop(name, None)

    async def _read(self, project: str, files: Sequence[File]) -> None:
        """Learn what the listing needs of files not read yet: small ones now, the rest meanwhile."""
        known = self._described.get(project, {})
        later = []
        budget = self._inline_bytes
        for file in sorted((file for file in files if file.location not in known), key=lambda file: file.size or 0):
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
        described: File | None = None
        try:
            described = await asyncio.to_thread(describe_listed, file, location, self._clock.now().timestamp())
        except OSError as error:
            _log.warning("source %s: %s cannot be read: %s", self.name, location.path, error.strerror)
        self._described.setdefault(file.project, {})[location] = described


def _walk_order(file: BlobInfo) -> list[str]:
    """The order in which a folder is walked."""
    return file.path.split("/")

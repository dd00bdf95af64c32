"""Scanned container: wheels and sdists in whatever layout, listed in the background so that no page waits for a listing.

Azure ML's private-packages container is flat; a build pipeline may put wheels five folders deep. Names alone say what a blob is.

A listing takes as long as the container is large, so nothing waits for one but the first answers of a process, and those only for
names that nobody else owns. Until it is complete nobody knows what the container has: that is a failure, never an absence. What
the last listing found is the answer until the next one is complete, and is kept in our store for the next process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import Protocol

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import ProjectNotFound, StillListing, StoreError
from wheelgate.core.file_list import RECENT_BYTES, page_bytes
from wheelgate.core.model import NEVER_FRESH, Freshness, ProjectPage
from wheelgate.core.name_table import NameTable
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.core.unusable import UnusableBlobs
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.signal import Signal
from wheelgate.sources.emptiness import KNOWN, Emptiness
from wheelgate.sources.holdings import Holdings, Unoffered, find_unoffered, log_unoffered, sort_holdings
from wheelgate.sources.kept_listing import KeptListing, Scan
from wheelgate.sources.listed_names import ListedNames
from wheelgate.sources.listing_pause import find_pause_s
from wheelgate.sources.packed_listing import ListingBuilder, PackedListing
from wheelgate.sources.page_builder import page_of, stored_file

_PATIENCE_S = 0.25
"""Time that a question waits for a first listing here: that of a small container is there by then. Whoever has to decide by the
answer waits on (:class:`~wheelgate.core.errors.StillListing`)."""
_OVERDUE_S = 120.0
_HELD_UP_S = 300.0
"""Time for which a first listing keeps a server from being ready: whatever else it can answer, somebody may need by then."""
_SLICE_S = 0.002
_ONE_PAGE = 5_000
"""Blobs that one request lists: a container that has no more is listed again sooner than a record could be read."""
_log = logging.getLogger(__name__)


class ListedWhole(Protocol):
    """A source that has to be listed whole before it can say what it has not."""

    name: str

    def start(self) -> None:
        """Begin to list, if that has not begun."""

    @property
    def holds_up_all(self) -> bool:
        """True if no name can be answered for yet: any may be its, and the first listing has not ended."""


class BlobScan:
    """A :class:`~wheelgate.core.protocols.Source` over every wheel and sdist in a store, wherever it lies there."""

    def __init__(
        self,
        *,
        name: str,
        store: BlobStore,
        clock: Clock,
        interval_s: float,
        retry_s: float = 5.0,
        patience_s: float = _PATIENCE_S,
        overdue_s: float = _OVERDUE_S,
        emptiness: Emptiness | None = None,
        kept: KeptListing | None = None,
        is_for_all: bool = True,
        metrics: Metrics | None = None,
        table: NameTable | None = None,
    ) -> None:
        """A scan that begins with :meth:`start`, or with the first question.

        Args:
            name: the operator's, for the source.
            store: holds the packages.
            clock: the age of what was listed.
            interval_s: between two listings, at least.
            retry_s: after one that failed.
            patience_s: time that a question waits for the first one.
            overdue_s: by how much a listing may come late, beside three times its usual length, before it counts as failed.
            emptiness: judges an empty listing; ``None``: nobody but us fills and empties the container.
            kept: where the last listing is kept for the next process; ``None``: nowhere.
            is_for_all: any name may be its, so that none can be answered for before the first listing.
            metrics: show age, length and size of the listing.
            table: keeps the names; ``None``: nobody else has any.
        """
        self.name = name
        self._emptiness, self._kept = emptiness, kept
        self._is_for_all = is_for_all
        self._store, self._clock = store, clock
        self._interval_s, self._retry_s = interval_s, retry_s
        self._patience_s, self._overdue_s = patience_s, overdue_s
        self.changed = Signal()
        """Emitted when its answers have changed, or it has begun to fail or to answer again."""
        self._last: Scan | None = None
        """The last one that was complete: our own, or kept by an earlier process."""
        self._is_own = False
        self._believed_until = -math.inf
        """By the monotonic clock: until then what the last one lacks is absent."""
        self._began_s: float | None = None
        """When the first listing began, by the monotonic clock; ``None``: it has not."""
        self._fresh_until = -math.inf
        self._pages: LRUCache[str, ProjectPage] = LRUCache(RECENT_BYTES, getsizeof=page_bytes)
        self._error: StoreError | None = None
        self._seen = 0
        """Blobs that the listing under way has come to."""
        self._first = asyncio.Event()
        self._is_closed = False
        self._troubles = TroubleLog(_log)
        self._packed = ListedNames(table)
        self._tasks = BackgroundTasks()
        if metrics is not None:
            self._show_in(metrics)

    def _show_in(self, metrics: Metrics) -> None:
        metrics.listing_age.labels(self.name).set_function(self._age_s)
        metrics.listing_seconds.labels(self.name).set_function(lambda: 0.0 if self._last is None else self._last.took_s)
        metrics.listing_blobs.labels(self.name).set_function(lambda: 0 if self._last is None else self._last.blobs)

    def start(self) -> None:
        """Begin to list, if that has not begun."""
        if not self._is_closed:
            self._began_s = self._began_s or self._clock.monotonic()
            self._tasks.start("scan", self._keep_scanning)

    async def close(self) -> None:
        """Stop scanning, for good: whoever still asks is told what the last scan found."""
        self._is_closed = True
        self._first.set()
        await self._tasks.close()
        if self._emptiness is not None:
            await self._emptiness.close()

    @property
    def holds_up_all(self) -> bool:
        """True if no name can be answered for yet: any may be its, and the first listing has not ended."""
        is_patient = self._began_s is not None and self._clock.monotonic() - self._began_s < _HELD_UP_S
        return self._is_for_all and is_patient and not self._first.is_set()

    def _age_s(self) -> float:
        return 0.0 if self._last is None else max(0.0, (self._clock.now() - self._last.at).total_seconds())

    async def _keep_scanning(self) -> None:
        """Scan for ever. A scan that fails leaves what the last one found, and is tried again soon."""
        pause_s = 0.0
        with contextlib.suppress(StoreError):  # then it is listed now
            pause_s = await self._recall()
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self.scan()
            except StoreError as error:
                self._fail(error)
            except TimeoutError:
                self._fail(StoreError(f"source {self.name} could not be listed in time; {self._seen:,} blobs were"))
            except Exception:  # the task must not end: what it found would be served for ever
                _log.exception("source %s: the scan failed", self.name)
                self._fail(StoreError(f"source {self.name} cannot be scanned; see the log"))
            pause_s = self._period_s() if self._error is None else self._retry_s

    def _period_s(self) -> float:
        return find_pause_s(0.0 if self._last is None else self._last.took_s, self._interval_s)

    async def _recall(self) -> float:
        """Take up the listing that an earlier process kept, and return in how many seconds to list anew.

        It is believed while it is not older than the pause after it. But how long it took somebody else may say nothing of this
        process, which lists as soon as it is older than the interval.

        Raises:
            StoreError: it cannot be told if the container is still the one that was listed.
        """
        if self._kept is None or (kept := await self._kept.load()) is None:
            return 0.0
        self._last = kept
        began_s, age_s = self._clock.monotonic(), (self._clock.now() - kept.at).total_seconds()
        if not 0 <= age_s < self._period_s():  # too old, or of a time to come by this machine's clock
            return 0.0
        if self._emptiness is not None and (place := await self._emptiness.identify()) != kept.place:
            if place is not None:  # where nobody may ask for it, what was there can still stand in
                self._last = None
            return 0.0
        self._fresh_until = self._believed_until = began_s + self._period_s() - age_s
        self._answer_anew(None)
        return max(0.0, self._interval_s - age_s)

    def _hear(self, scan: Scan, changed: frozenset[str] | None) -> None:
        """Answer with one of this process from now on. ``changed``: projects that have changed; ``None``: any may have."""
        if not self._is_believed or self._error is not None:
            changed = None
        self._last, self._is_own, self._believed_until = scan, True, math.inf
        self._fresh_until = self._clock.monotonic() + self._period_s() + self._limit_s(scan)
        self._answer_anew(changed)

    @property
    def _is_believed(self) -> bool:
        return self._clock.monotonic() < self._believed_until

    def _answer_anew(self, changed: frozenset[str] | None) -> None:
        self._error = None
        for name in changed or ():
            self._pages.pop(name, None)
        if changed is None:
            self._pages.clear()
        if changed != frozenset():
            self._packed.forget()
        self._first.set()
        for told in [None] if changed is None else sorted(changed):
            self.changed.emit(told)

    def _limit_s(self, last: Scan | None) -> float:
        """How long the next listing may take; the first one as long as it makes headway."""
        return math.inf if last is None or not self._is_own else self._overdue_s + 3 * last.took_s

    def _fail(self, error: StoreError) -> None:
        is_news, self._error = self._error is None, error
        self._first.set()
        if is_news:
            _log.warning("source %s cannot be scanned: %s", self.name, error)
            self.changed.emit()

    async def scan(self) -> None:
        """List everything once. Raises StoreError, TimeoutError."""
        limit_s = self._limit_s(self._last)
        async with asyncio.timeout(None if math.isinf(limit_s) else limit_s):
            began, at = time.monotonic(), self._clock.now()
            place = (
                None if self._emptiness is None else await self._emptiness.identify()
            )  # before: what follows is of it, or later
            builder = ListingBuilder(None if self._last is None else self._last.listing)
            await self._list_into(builder)
            listing = await in_slices(builder.finish())
            if self._emptiness is not None:
                await self._emptiness.judge(place, projects=listing.sample(KNOWN), is_void=self._seen == 0)
        scan = Scan(listing, at, time.monotonic() - began, self._seen, place)
        self._hear(scan, builder.changed)
        if self._kept is not None and (builder.changed != frozenset() or scan.blobs > _ONE_PAGE):
            await self._kept.keep(scan)

    async def _list_into(self, builder: ListingBuilder) -> None:
        self._seen = 0
        resumed = time.perf_counter()
        async for info in self._store.list(""):
            self._seen += 1
            builder.add(info)
            if time.perf_counter() - resumed > _SLICE_S:  # a store gives thousands at a time, and requests wait meanwhile
                await asyncio.sleep(0)
                resumed = time.perf_counter()

    async def project_names(self) -> PackedNames:
        listing = await self._find_listing()
        return await self._packed.pack(listing.names)

    async def project_page(self, project: str) -> ProjectPage:
        holdings = self._find(await self._find_listing(), project)
        if holdings.is_nothing:
            raise ProjectNotFound(f"source {self.name} has no project {project}", fresh_until=self._fresh_until)
        page = self._pages.get(project)
        if page is None:
            log_unoffered(self._troubles, project, holdings.withheld)
            page = self._make_page(project, holdings)
            if page_bytes(page) <= self._pages.maxsize:
                self._pages[project] = page
        at = self._clock.now() if self._last is None else self._last.at
        # The last scan confirmed it, and the next one says if it has changed.
        return msgspec.structs.replace(page, as_of=at, freshness=Freshness(self._fresh_until))

    async def find_kept(self, project: str) -> ProjectPage | None:
        """The page by the last complete listing, to stand in while nothing newer is known; ``None``: it was not there."""
        if self._last is None:
            return None
        try:
            holdings = self._find(self._last.listing, project)
            page = None if holdings.is_nothing else self._make_page(project, holdings)
        except StoreError:
            return None
        return page and msgspec.structs.replace(page, as_of=self._last.at, freshness=NEVER_FRESH)

    async def find_unoffered(self, most: int) -> Unoffered:
        """See :class:`~wheelgate.sources.holdings.Holder`."""
        return await in_slices(find_unoffered(self.name, await self._find_listing(), most))

    def _find(self, listing: PackedListing, project: str) -> Holdings:
        try:
            return sort_holdings(self.name, project, sorted(listing.find(project), key=lambda file: file.path))
        except ValueError as error:
            raise StoreError(f"source {self.name}: {error}") from None

    def _make_page(self, project: str, holdings: Holdings) -> ProjectPage:
        """Make the page; :class:`UnusableBlobs` if it has nothing that can be believed."""
        if (damage := holdings.damage) is not None:
            raise UnusableBlobs(f"source {self.name} has nothing of {project} that can be used: {damage.reason}")
        files = (stored_file(self.name, self._store.name, project, filename, info) for filename, info in holdings.offered.items())
        return page_of(project, files, as_of=self._clock.now(), dropped=holdings.dropped, withheld=holdings.withheld)

    async def _find_listing(self) -> PackedListing:
        self.start()
        if self._error is None and not self._is_believed and not self._is_closed:  # one that was kept is too old by now
            self._first.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await self._first.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)  # one object, many raisers
        if self._last is None or not self._is_believed:
            raise StillListing(
                f"source {self.name} is still being listed ({self._seen:,} blobs so far): try again in a moment",
                wait=self._first.wait,
            )
        return self._last.listing

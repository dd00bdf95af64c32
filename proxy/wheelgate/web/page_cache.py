"""Page cache: pages decided, rendered, compressed and tagged once, then served as bytes for as long as that stays right.

An entry is served without asking anybody

* until ``fresh_until``: the first moment at which an answer it rests on (the page itself, and every "not there" before it) has to
  be asked for again;
* until ``stale_until``, while one flight asks again: for pages of remote sources, and never past a "not there" (see
  :attr:`wheelgate.index.decision.Answer.freshness` for why);
* never from ``valid_until`` on, when a rule changes it;
* never once the index says that something it rests on has changed: the store, a scan, the rules. Its bytes are kept for the
  case that they turn out to be the same.

Whatever else happens (a failure, an outage, a name that is gone) is decided anew at every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
from collections.abc import Iterable
from typing import Protocol

import msgspec
from cachetools import LRUCache
from isal import isal_zlib

from wheelgate.core.errors import WheelgateError
from wheelgate.core.file_list import FileList
from wheelgate.core.memory_cost import page_bytes
from wheelgate.core.model import File, Freshness, ProjectPage
from wheelgate.core.protocols import Clock
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api.render import render_page
from wheelgate.web.prepared_response import PreparedResponse

_MAX_BYTES = 20 * 1024 * 1024
"""About 250 bytes a file: the pages of some hundred projects, or of five with 15,000 files each."""
_INLINE_GZIPPED_BYTES = 128 * 1024
_log = logging.getLogger(__name__)


class Decided(Protocol):
    """A decision: :class:`~wheelgate.index.decision.Decision`."""

    @property
    def freshness(self) -> Freshness:
        """How long it holds."""
        ...

    def require_page(self) -> ProjectPage:
        """The page, or the error raised."""
        ...


class Index(Protocol):
    """The source of pages: :class:`~wheelgate.index.merged.Merged`."""

    async def decide(self, project: str) -> Decided:
        """Decide who answers for a project, and with what."""
        ...


class RenderedPage(msgspec.Struct):
    """A serialisation of a page."""

    gzipped: bytes
    etag: str
    """Of the plain body, without quotes; the gzipped one's ends in ``-gzip``."""
    plain: bytes | None = None
    """Once somebody has wanted it so: hardly anybody does, and it is five times as large."""
    prepared: dict[bool, PreparedResponse] = {}
    """By whether it is gzipped: as it goes over the wire."""


class CachedPage(msgspec.Struct):
    """A page as it was decided, with everything rendered of it so far."""

    page: ProjectPage
    files: FileList
    """The page's."""
    generation: int
    freshness: Freshness
    confirmed_s: float | None
    """When its source confirmed it, by the monotonic clock; ``None``: its source says by itself when it changes."""
    rendered: dict[str, RenderedPage]
    """By content type."""
    is_packed: bool = False
    """Whether its files are packed, or about to be."""


class PageCache:
    """LRU cache of rendered pages, with stale-while-revalidate. Bounded by bytes."""

    def __init__(self, index: Index, *, clock: Clock, prefix: str, metrics: Metrics, max_bytes: int = _MAX_BYTES) -> None:
        self._index = index
        self._clock = clock
        self._prefix = prefix
        self._metrics = metrics
        self._entries: LRUCache[str, CachedPage] = LRUCache(max_bytes, getsizeof=_weigh)
        self._decisions: SingleFlight[CachedPage] = SingleFlight()
        self._renderings: SingleFlight[RenderedPage] = SingleFlight()
        self._refreshing = BackgroundTasks()
        self._packing = BackgroundTasks()
        self._one_at_a_time = asyncio.Lock()
        self._generation = 0

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._decisions.close()
        await self._renderings.close()
        await self._refreshing.close()
        await self._packing.close()

    def drop(self) -> None:
        """Decide every page anew at its next request: something that pages rest on has changed."""
        self._generation += 1

    def forget(self, project: str) -> None:
        """Do the same for one project."""
        self._entries.pop(project, None)

    def find_servable(self, project: str) -> CachedPage | None:
        """Find the project's page, if it may be served now; ``None``: it has to be decided first."""
        entry = self._entries.get(project)
        if entry is None or entry.generation != self._generation:
            return None
        freshness = entry.freshness
        if freshness.valid_until is not None and self._clock.now() >= freshness.valid_until:
            return None
        now = self._clock.monotonic()
        if now < freshness.fresh_until:
            return entry
        if now < freshness.stale_until:
            self._refresh(project)
            return entry
        return None

    async def entry(self, project: str) -> CachedPage:
        """Return the project's page as it stands now.

        Raises:
            ProjectNotFound, UpstreamError, StoreError: as the index does.
        """
        return self.find_servable(project) or await self._decide(project)

    async def render(self, project: str, content_type: str, *, gzip: bool = True) -> tuple[RenderedPage, CachedPage]:
        """Render a project's page in one content type, and return it with the page as it stands now.

        Without ``gzip``, ``plain`` is there too.

        Raises:
            ProjectNotFound, UpstreamError, StoreError: as the index does.
        """
        entry = await self.entry(project)
        rendered = entry.rendered.get(content_type)
        if rendered is None:
            rendered = await self._renderings.run((content_type, id(entry.rendered)), lambda: self._render(entry, content_type))
        if not gzip and rendered.plain is None:
            rendered.plain = await _inflate(rendered.gzipped)
            self._weigh_again(entry)
        self._pack_soon(entry)
        return rendered, entry

    def find_file(self, project: str, filename: str) -> File | None:
        """Find a listed file that was asked for lately, if that is known without waiting."""
        entry = self.find_servable(project)
        return None if entry is None else entry.files.find_recent(filename)

    async def file(self, project: str, filename: str) -> tuple[File | None, ProjectPage]:
        """Return the entry of a file on the page that a client would see: only what is listed can be downloaded.

        Raises:
            ProjectNotFound, UpstreamError, StoreError: as the index does.
        """
        entry = await self.entry(project)
        file = entry.files.find(filename)
        self._pack_soon(entry)
        return file, entry.page

    async def _decide(self, project: str) -> CachedPage:
        # A flight that began before something changed must not answer for after it, so the generation is in the key.
        generation = self._generation
        return await self._decisions.run((project, generation), lambda: self._decide_anew(project, generation))

    async def _decide_anew(self, project: str, generation: int) -> CachedPage:
        try:
            decision = await self._index.decide(project)
            page = decision.require_page()
        except WheelgateError:
            self._entries.pop(project, None)  # nobody may be given the old page any more
            raise
        freshness, confirmed_s = decision.freshness, None
        if page.freshness.fresh_until < math.inf:
            confirmed_s = self._clock.monotonic() - (self._clock.now() - page.as_of).total_seconds()
        entry = CachedPage(page, FileList.of(page.files), generation, freshness, confirmed_s, {})
        earlier = self._entries.get(project)
        if earlier is not None and earlier.page.revision == page.revision:
            entry.rendered = earlier.rendered
        if generation == self._generation:  # else it is for those who waited, and for nobody later
            self._keep(entry)
        return entry

    def _refresh(self, project: str) -> None:
        """Revalidate while the stale page is being served. If that fails the page is gone, and the next request fails."""

        async def refresh() -> None:
            with contextlib.suppress(WheelgateError):
                await self._decide(project)

        self._refreshing.start(project, refresh)

    def _pack_soon(self, entry: CachedPage) -> None:
        """Pack an entry's files behind the answer that it is needed for, each list once."""
        if not entry.is_packed:
            entry.is_packed = True
            self._packing.start(id(entry), lambda: self._pack(entry))

    async def _pack(self, entry: CachedPage) -> None:
        async with self._one_at_a_time:
            for files in entry.files.list_unpacked():
                try:
                    await in_slices(files.pack_stepwise())
                except Exception:  # a path that is no text, say: it stays as it is
                    _log.debug("the files of %s cannot be packed", entry.page.project, exc_info=True)

    async def _render(self, entry: CachedPage, content_type: str) -> RenderedPage:
        rendered = await in_slices(_compress(render_page(entry.page, content_type, self._prefix)))
        entry.rendered[content_type] = rendered
        self._weigh_again(entry)
        return rendered

    def _weigh_again(self, entry: CachedPage) -> None:
        """Count what was added to a kept entry."""
        kept = self._entries.get(entry.page.project)
        if kept is not None and kept.rendered is entry.rendered:
            self._keep(kept)

    def _keep(self, entry: CachedPage) -> None:
        self._entries.pop(entry.page.project, None)
        if _weigh(entry) <= self._entries.maxsize:
            self._entries[entry.page.project] = entry
        self._metrics.page_cache_bytes.set(self._entries.currsize)


def _compress(parts: Iterable[bytes]) -> Steps[RenderedPage]:
    """Compress and tag a page part by part, so that the whole is never held: first touching that much memory takes as long."""
    compressor, digest = isal_zlib.compressobj(level=1, wbits=31), hashlib.sha256()  # level 2 is slower, and gives no byte less
    gzipped = []
    for part in parts:
        digest.update(part)
        gzipped.append(compressor.compress(part))
        yield
    return RenderedPage(b"".join((*gzipped, compressor.flush())), digest.hexdigest()[:32])


async def _inflate(gzipped: bytes) -> bytes:
    if len(gzipped) <= _INLINE_GZIPPED_BYTES:
        return isal_zlib.decompress(gzipped, wbits=31)
    return await asyncio.to_thread(isal_zlib.decompress, gzipped, wbits=31)


def _weigh(entry: CachedPage) -> int:
    rendered = sum(len(rendered.gzipped) + len(rendered.plain or b"") for rendered in entry.rendered.values())
    return 1_000 + page_bytes(entry.page) + rendered

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
import math
from collections.abc import Iterable

import msgspec
from cachetools import LRUCache
from isal import isal_zlib

from wheelgate.core.errors import WheelgateError
from wheelgate.core.file_list import FileList, page_bytes
from wheelgate.core.model import File, Freshness, ProjectPage
from wheelgate.core.protocols import Clock
from wheelgate.index.merged import Merged
from wheelgate.runtime.asker import BACKGROUND, set_asker
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.generations import Generation, Generations
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api import JSON
from wheelgate.simple_api.packing import Packer
from wheelgate.simple_api.render import render_page
from wheelgate.web.prepared_response import PreparedResponse, build_headers, prepare_response

_MAX_BYTES = 20 * 1024 * 1024
"""About 250 bytes a file: the pages of some hundred projects, or of five with 15,000 files each."""
_INLINE_GZIPPED_BYTES = 128 * 1024
_MAX_RECENT_FILES = 1_000  # finding one on a page that is packed takes 70 microseconds
# A page of links needs nothing else; should an upstream's text ever slip through as markup, it stays inert.
_PAGE_POLICY = "default-src 'none'; style-src 'self'"


class CachedPage(msgspec.Struct):
    """A page as it was decided, with everything rendered of it so far."""

    page: ProjectPage
    files: FileList
    """The page's."""
    generation: Generation
    freshness: Freshness
    confirmed_s: float | None
    """When its source confirmed it, by the monotonic clock; ``None``: its source says by itself when it changes."""
    responses: dict[tuple[str, bool], PreparedResponse]
    """By content type, and whether gzipped. Uncompressed only once somebody has wanted it so: hardly anybody does, and it is five
    times as large."""


class PageCache:
    """LRU cache of rendered pages, with stale-while-revalidate. Bounded by bytes.

    What waits for a decision raises as the index does: ProjectNotFound, UpstreamError, StoreError.
    """

    def __init__(
        self, index: Merged, *, clock: Clock, prefix: str, metrics: Metrics, shared: bool = False, max_bytes: int = _MAX_BYTES
    ) -> None:
        """``shared``: everybody may read, so that caches between us and the client may keep what they carry."""
        # A fresh upload must be seen, so it is asked about each time; the ETag makes asking cheap.
        self.cache_control = "no-cache" if shared else "private, no-cache"
        self._index = index
        self._clock = clock
        self._prefix = prefix
        self._metrics = metrics
        self._entries: LRUCache[str, CachedPage] = LRUCache(max_bytes, getsizeof=_weigh)
        self._recent_files: dict[tuple[int, str], File] = {}
        """By their page's revision and their name."""
        self._decisions: SingleFlight[CachedPage] = SingleFlight()
        self._renderings: SingleFlight[PreparedResponse] = SingleFlight()
        self._refreshing = BackgroundTasks()
        self._packer = Packer()
        self._generations = Generations()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._decisions.close()
        await self._renderings.close()
        await self._refreshing.close()
        await self._packer.close()

    def drop(self, project: str | None = None) -> None:
        """Decide a project's page, or every page (``None``), anew at its next request: something it rests on has changed."""
        self._generations.advance(project)

    def forget(self, project: str) -> None:
        """Do the same for one project."""
        self._entries.pop(project, None)

    def find_servable(self, project: str) -> CachedPage | None:
        """Find the project's page, if it may be served now; ``None``: it has to be decided first."""
        entry = self._entries.get(project)
        if entry is None or entry.generation != self._generations.of(project):
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
        """Return the project's page as it stands now."""
        return self.find_servable(project) or await self._decide(project)

    async def render(self, project: str, content_type: str, *, gzip: bool = True) -> tuple[PreparedResponse, CachedPage]:
        """Render a project's page in one content type, and return it with the page as it stands now."""
        entry = await self.entry(project)
        response = await self._render_entry(entry, content_type, gzip=gzip)
        self.pack_soon(entry)
        return response, entry

    def find_file(self, entry: CachedPage, filename: str) -> File | None:
        """Return the entry of a file on a page that a client would see: only what is listed can be downloaded."""
        key = (entry.page.revision, filename)
        file = self._recent_files.get(key)
        if file is None and (file := entry.files.find(filename)) is not None:
            if len(self._recent_files) >= _MAX_RECENT_FILES:
                self._recent_files.clear()
            self._recent_files[key] = file
        self.pack_soon(entry)
        return file

    def pack_soon(self, entry: CachedPage) -> None:
        """Let go of the values of a page's files, once whoever asked has his answer."""
        self._packer.pack_soon(entry.files)

    async def _decide(self, project: str) -> CachedPage:
        # A flight that began before something changed must not answer for after it, so the generation is in the key.
        generation = self._generations.of(project)
        return await self._decisions.run((project, generation), lambda: self._decide_anew(project, generation))

    async def _decide_anew(self, project: str, generation: Generation) -> CachedPage:
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
            entry.responses = earlier.responses
        if generation == self._generations.of(project):  # else it is for those who waited, and for nobody later
            self._keep(entry)
        return entry

    def _refresh(self, project: str) -> None:
        """Revalidate while the stale page is being served. If that fails the page is gone, and the next request fails."""

        async def refresh() -> None:
            set_asker(BACKGROUND)
            with contextlib.suppress(WheelgateError):
                await self._decide(project)

        self._refreshing.start(project, refresh)

    async def _render_entry(self, entry: CachedPage, content_type: str, *, gzip: bool) -> PreparedResponse:
        response = entry.responses.get((content_type, gzip))
        if response is not None:
            return response

        async def render() -> PreparedResponse:
            if gzip:
                body, etag = await in_slices(_compress(render_page(entry.page, content_type, self._prefix)))
            else:
                gzipped = await self._render_entry(entry, content_type, gzip=True)
                body, etag = await _inflate(gzipped.body), gzipped.etags[1]
            prepared = entry.responses[content_type, gzip] = self._prepare(body, content_type, etag, gzip=gzip)
            kept = self._entries.get(entry.page.project)
            if kept is not None and kept.responses is entry.responses:
                self._keep(kept)  # it weighs more now
            return prepared

        return await self._renderings.run((entry.page.revision, content_type, gzip), render)

    def _prepare(self, body: bytes, content_type: str, etag: str, *, gzip: bool) -> PreparedResponse:
        """Prepare the answer with a page. ``etag``: of the plain body; the gzipped one's ends in ``-gzip``."""
        etags = build_etags(etag, gzip=gzip)
        return prepare_response(body, build_page_headers(content_type, self.cache_control, etags, gzip=gzip), etags)

    def _keep(self, entry: CachedPage) -> None:
        self._entries.pop(entry.page.project, None)
        if _weigh(entry) <= self._entries.maxsize:
            self._entries[entry.page.project] = entry
        self._metrics.page_cache_bytes.set(self._entries.currsize)


def build_etags(etag: str, *, gzip: bool) -> tuple[str, str]:
    """Build the ETags of a body, its own first. ``etag``: of the plain one; the gzipped one's ends in ``-gzip``."""
    return (f"{etag}-gzip", etag) if gzip else (etag, f"{etag}-gzip")


def build_page_headers(content_type: str, cache_control: str, etags: tuple[str, ...], *, gzip: bool) -> dict[str, str]:
    """Build the headers of a page, or of the list of pages."""
    full_type = content_type if content_type == JSON else f"{content_type}; charset=utf-8"
    headers = build_headers(full_type, cache_control, etags)
    headers |= {"Vary": "Accept, Accept-Encoding", "Content-Security-Policy": _PAGE_POLICY}
    return {**headers, "Content-Encoding": "gzip"} if gzip else headers


def _compress(parts: Iterable[bytes]) -> Steps[tuple[bytes, str]]:
    """Compress and tag a page part by part, so that the whole is never held: first touching that much memory takes as long."""
    compressor, digest = isal_zlib.compressobj(level=1, wbits=31), hashlib.sha256()  # level 2 is slower, and gives no byte less
    gzipped = []
    for part in parts:
        digest.update(part)
        gzipped.append(compressor.compress(part))
        yield
    return b"".join((*gzipped, compressor.flush())), digest.hexdigest()[:32]


async def _inflate(gzipped: bytes) -> bytes:
    if len(gzipped) <= _INLINE_GZIPPED_BYTES:
        return isal_zlib.decompress(gzipped, wbits=31)
    return await asyncio.to_thread(isal_zlib.decompress, gzipped, wbits=31)


def _weigh(entry: CachedPage) -> int:
    return 1_000 + page_bytes(entry.page) + sum(len(response.body) for response in entry.responses.values())

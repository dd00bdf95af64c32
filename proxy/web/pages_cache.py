"""Finished pages: rendered, compressed and tagged once, then served as bytes."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec
from cachetools import LRUCache
from isal import isal_zlib

from proxy.metrics import Metrics
from proxy.model import File, ProjectPage
from proxy.protocols import Source
from proxy.simple_api.render import render_page
from proxy.singleflight import SingleFlight
from proxy.slices import in_slices

_MAX_BYTES = 128 * 1024 * 1024
_INLINE_BYTES = 64 * 1024  # compressing more than that is worth a thread


class Finished(msgspec.Struct):
    """One serialisation of one page."""

    page: ProjectPage
    """What it was made of."""
    body: bytes
    gzipped: bytes
    etag: str
    """Of the plain body, without quotes; the gzipped one's ends in ``-gzip``."""


class PagesCache:
    """Renders pages of an index when they change, and only then. Bounded by bytes."""

    def __init__(self, index: Source, *, prefix: str, metrics: Metrics, max_bytes: int = _MAX_BYTES) -> None:
        self._index = index
        self._prefix = prefix
        self._metrics = metrics
        self._finished: LRUCache[tuple[str, str], Finished] = LRUCache(max_bytes, getsizeof=_weight)
        self._listings: LRUCache[str, tuple[tuple[File, ...], dict[str, File]]] = LRUCache(512)
        self._flights: SingleFlight[Finished] = SingleFlight()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._flights.close()

    async def finished(self, project: str, content_type: str) -> tuple[Finished, ProjectPage]:
        """The bytes of a project's page in one content type, and the page as it stands now.

        Raises:
            ProjectNotFound, UpstreamError, StoreError: as the index does.
        """
        page = await self._index.project_page(project)
        known = self._finished.get((project, content_type))
        if known is None or not _shows(known.page, page):
            known = await self._flights.run((content_type, id(page)), lambda: self._render(page, content_type))
        return known, page

    async def _render(self, page: ProjectPage, content_type: str) -> Finished:
        body = await in_slices(render_page(page, content_type, self._prefix))
        if len(body) <= _INLINE_BYTES:
            gzipped, etag = _compressed(body)
        else:
            gzipped, etag = await asyncio.to_thread(_compressed, body)
        finished = Finished(page, body, gzipped, etag)
        if _weight(finished) <= self._finished.maxsize:
            self._finished[page.project, content_type] = finished
        self._metrics.page_cache_bytes.set(self._finished.currsize)
        return finished

    async def file(self, project: str, filename: str) -> tuple[File | None, ProjectPage]:
        """The entry of a file on the page that a client would see: only what is listed can be downloaded (P9).

        Raises:
            ProjectNotFound, UpstreamError, StoreError: as the index does.
        """
        page = await self._index.project_page(project)
        listing = self._listings.get(project)
        if listing is None or listing[0] is not page.files:
            listing = self._listings[project] = (page.files, {file.filename: file for file in page.files})
        return listing[1].get(filename), page


def _shows(one: ProjectPage, other: ProjectPage) -> bool:
    """Whether both pages render to the same bytes. Sources hand the same objects on while nothing changed."""
    return one.files is other.files and one.versions == other.versions and one.status == other.status


def _compressed(body: bytes) -> tuple[bytes, str]:
    return isal_zlib.compress(body, level=2, wbits=31), hashlib.sha256(body).hexdigest()[:32]


def _weight(finished: Finished) -> int:
    return 1_000 + len(finished.body) + len(finished.gzipped)

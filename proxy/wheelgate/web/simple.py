"""``/simple/``: the project list and the project pages."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from aiohttp import web
from isal import isal_zlib

from wheelgate.core.protocols import Clock
from wheelgate.simple_api import HTML, JSON, negotiate
from wheelgate.simple_api.render import render_names
from wheelgate.web.conditions import is_not_modified
from wheelgate.web.page_cache import CachedPage, PageCache, RenderedPage
from wheelgate.web.prepared_response import PreparedResponse, prepare_response

# A page of links needs nothing else; should an upstream's text ever slip through as markup, it stays inert.
_PAGE_POLICY = "default-src 'none'; style-src 'self'"
ProjectNames = Callable[[], Awaitable[frozenset[str]]]


class SimpleHandlers:
    """Handlers of the project list and the project pages."""

    def __init__(self, names: ProjectNames, pages: PageCache, clock: Clock, prefix: str, *, shared: bool) -> None:
        """``shared``: everybody may read, so that caches between us and the client may keep what they carry."""
        # A fresh upload must be seen, so it is asked about each time; the ETag makes asking cheap.
        self._keep = "no-cache" if shared else "private, no-cache"
        self._names = names
        self._pages = pages
        self._clock = clock
        self._prefix = prefix

    async def project(self, request: web.BaseRequest, project: str) -> web.Response:
        """Answer with a project's page."""
        kind = negotiate_type(request)
        rendered, entry = await self._pages.render(project, kind, gzip=_wants_gzip(request))
        response = _build_response(request, kind, rendered, self._keep)
        response.headers.update(self._build_age_headers(entry))
        return response

    def find_prepared(self, entry: CachedPage, kind: str, *, gzip: bool) -> PreparedResponse | None:
        """Find the prepared response of a page, if it was rendered in this content type before."""
        rendered = entry.rendered.get(kind)
        if rendered is None:
            return None
        prepared = rendered.prepared.get(gzip)
        body = rendered.gzipped if gzip else rendered.plain
        if prepared is None and body is not None:
            prepared = rendered.prepared[gzip] = prepare_response(
                body,
                frozenset({rendered.etag, f"{rendered.etag}-gzip"}),
                _build_headers(kind, rendered, self._keep, 200, gzip=gzip),
                _build_headers(kind, rendered, self._keep, 304, gzip=gzip),
            )
        return prepared

    def _build_age_headers(self, entry: CachedPage) -> dict[str, str]:
        """Build the headers that tell a page's age, or that it is stale (stale-if-error)."""
        if entry.page.stale:
            return {"X-Cache": "stale", "X-Stale-Since": f"{entry.page.as_of:%Y-%m-%dT%H:%M:%SZ}"}
        if entry.confirmed_s is None:
            return {}
        return {"Age": str(max(0, int(self._clock.monotonic() - entry.confirmed_s)))}

    async def names(self, request: web.BaseRequest) -> web.Response:
        """Answer with the project list."""
        kind = negotiate_type(request)
        body = render_names(await self._names(), kind, self._prefix)
        rendered = RenderedPage(isal_zlib.compress(body, level=1, wbits=31), hashlib.sha256(body).hexdigest()[:32], body)
        return _build_response(request, kind, rendered, self._keep)


def negotiate_type(request: web.BaseRequest) -> str:
    """Choose the content type to answer with."""
    wanted = request.rel_url.query.get("format")  # PEP 691 lets a URL ask where a header cannot be set
    return negotiate.content_type(wanted if wanted in (JSON, HTML) else request.headers.get("Accept"))


def _wants_gzip(request: web.BaseRequest) -> bool:
    return negotiate.accepts_gzip(request.headers.get("Accept-Encoding"))


def _build_response(request: web.BaseRequest, kind: str, rendered: RenderedPage, keep: str) -> web.Response:
    gzip = _wants_gzip(request)
    status = 304 if is_not_modified(request, rendered.etag, f"{rendered.etag}-gzip") else 200
    body = None if status == 304 else rendered.gzipped if gzip else rendered.plain
    return web.Response(status=status, body=body, headers=_build_headers(kind, rendered, keep, status, gzip=gzip))


def _build_headers(kind: str, rendered: RenderedPage, keep: str, status: int, *, gzip: bool) -> dict[str, str]:
    headers = {
        "Cache-Control": keep,
        "Vary": "Accept, Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _PAGE_POLICY,
        "ETag": f'"{rendered.etag}-gzip"' if gzip else f'"{rendered.etag}"',
    }
    if status == 200:
        headers["Content-Type"] = kind if kind == JSON else f"{kind}; charset=utf-8"
        if gzip:
            headers["Content-Encoding"] = "gzip"
    return headers

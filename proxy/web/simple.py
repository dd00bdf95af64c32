"""``/simple/``: the project list and the project pages."""

from __future__ import annotations

import hashlib

from aiohttp import web
from isal import isal_zlib

from proxy.protocols import Source
from proxy.simple_api import HTML, JSON, negotiate
from proxy.simple_api.render import render_names
from proxy.web.conditions import none_match
from proxy.web.pages_cache import PagesCache

# A page of links needs nothing else; should an upstream's text ever slip through as markup, it stays inert.
_PAGE_POLICY = "default-src 'none'; style-src 'self'"


class SimpleHandlers:
    """Answers for the index and the pages below it."""

    def __init__(self, index: Source, pages: PagesCache, prefix: str, *, shared: bool) -> None:
        """``shared``: everybody may read, so that caches between us and the client may keep what they carry."""
        # A fresh upload must be seen, so it is asked about each time; the ETag makes asking cheap.
        self._keep = "no-cache" if shared else "private, no-cache"
        self._index = index
        self._pages = pages
        self._prefix = prefix

    async def project(self, request: web.BaseRequest, project: str) -> web.Response:
        """A project's page."""
        kind = _content_type(request)
        finished, page = await self._pages.finished(project, kind)
        age = None if not page.stale else page.as_of
        response = _answer(request, kind, finished.body, finished.gzipped, finished.etag, self._keep)
        if age is not None:
            response.headers["X-Cache"] = "stale"
            response.headers["X-Stale-Since"] = f"{age:%Y-%m-%dT%H:%M:%SZ}"
        return response

    async def names(self, request: web.BaseRequest) -> web.Response:
        """The project list."""
        kind = _content_type(request)
        body = render_names(await self._index.project_names(), kind, self._prefix)
        return _answer(request, kind, body, isal_zlib.compress(body, level=2, wbits=31), _etag(body), self._keep)


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def _content_type(request: web.BaseRequest) -> str:
    wanted = request.rel_url.query.get("format")  # PEP 691 lets a URL ask where a header cannot be set
    return negotiate.content_type(wanted if wanted in (JSON, HTML) else request.headers.get("Accept"))


def _answer(request: web.BaseRequest, kind: str, body: bytes, gzipped: bytes, etag: str, keep: str) -> web.Response:
    headers = {
        "Cache-Control": keep,
        "Vary": "Accept, Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _PAGE_POLICY,
    }
    use_gzip = negotiate.accepts_gzip(request.headers.get("Accept-Encoding"))
    headers["ETag"] = f'"{etag}-gzip"' if use_gzip else f'"{etag}"'
    if none_match(request, etag, f"{etag}-gzip"):
        return web.Response(status=304, headers=headers)
    if use_gzip:
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = kind if kind == JSON else f"{kind}; charset=utf-8"
    return web.Response(body=gzipped if use_gzip else body, headers=headers)

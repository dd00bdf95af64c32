"""``/simple/``: the project list and the project pages."""

from __future__ import annotations

from aiohttp import web

from wheelgate.core.protocols import Clock
from wheelgate.simple_api import HTML, JSON, negotiate
from wheelgate.web.known_heads import Finder, Found
from wheelgate.web.page_cache import CachedPage, PageCache
from wheelgate.web.paths import ParsedPath, find_parameter
from wheelgate.web.project_list import ProjectListHandler


class SimpleHandlers:
    """Handlers of the project list and the project pages."""

    def __init__(self, pages: PageCache, projects: ProjectListHandler, clock: Clock) -> None:
        self._pages = pages
        self._projects = projects
        self._clock = clock

    async def project(self, request: web.BaseRequest, target: ParsedPath) -> web.Response:
        """Answer with a project's page; its headers say how old it is, or since when it is stale (stale-if-error)."""
        content_type, gzip = _negotiate(request)
        prepared, entry = await self._pages.render(target.project, content_type, gzip=gzip)
        return tell_age(prepared.respond(request), entry, self._clock)

    def build_finder(self, request: web.BaseRequest, target: ParsedPath) -> Finder:
        """Build what finds the same page in memory."""
        key = _negotiate(request)

        def find() -> Found | None:
            entry = self._pages.find_servable(target.project)
            response = None if entry is None else entry.responses.get(key)
            return None if entry is None or response is None else (response, entry.confirmed_s)

        return find

    async def names(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the project list."""
        content_type, gzip = _negotiate(request)
        return await self._projects.answer(request, content_type, gzip=gzip)


def tell_age(response: web.Response, entry: CachedPage, clock: Clock) -> web.Response:
    """Say on an answer how old the page is that it rests on, or since when that is stale; return it."""
    if entry.page.stale:
        response.headers["X-Cache"] = "stale"
        response.headers["X-Stale-Since"] = f"{entry.page.as_of:%Y-%m-%dT%H:%M:%SZ}"
    elif entry.confirmed_s is not None:
        response.headers["Age"] = str(max(0, int(clock.monotonic() - entry.confirmed_s)))
    return response


def _negotiate(request: web.BaseRequest) -> tuple[str, bool]:
    """Choose the content type to answer with, and whether to compress."""
    wanted = find_parameter(request.rel_url.raw_query_string, "format")  # PEP 691 lets a URL ask where a header cannot be set
    content_type = negotiate.content_type(wanted if wanted in (JSON, HTML) else request.headers.get("Accept"))
    return content_type, negotiate.accepts_gzip(request.headers.get("Accept-Encoding"))

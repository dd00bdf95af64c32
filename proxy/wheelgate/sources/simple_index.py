"""Simple API index: pages in JSON or HTML, asked for conditionally."""

from __future__ import annotations

import hashlib

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import ProjectNotFound, UpstreamBadAnswer
from wheelgate.core.file_list import RECENT_BYTES, FileList, page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import PageLinks, parse
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import HTML, JSON, LEGACY_HTML
from wheelgate.simple_api.collector import NotAnIndexPage, ParsedPage
from wheelgate.simple_api.parse import parse_json
from wheelgate.upstream.answers import PageAnswer
from wheelgate.upstream.client import SourceClient

_ACCEPT = f"{JSON}, {HTML};q=0.2, {LEGACY_HTML};q=0.01"


class _IndexAnswer(msgspec.Struct):
    """Last answer for a project, which a 304 or an unchanged body confirms."""

    etag: str | None
    digest: bytes
    page: ProjectPage


class SimpleIndex:
    """A :class:`~wheelgate.core.protocols.Source` behind a Simple API URL.

    JSON is asked for first; the answer's own content type decides. An answer that has not changed, by the upstream's ETag or
    by its bytes, gives the same files again without being parsed.
    """

    def __init__(self, *, name: str, url: str, client: SourceClient, clock: Clock, metrics: Metrics) -> None:
        self._name = name
        self._url = url if url.endswith("/") else url + "/"
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._known: LRUCache[str, _IndexAnswer] = LRUCache(RECENT_BYTES, getsizeof=lambda known: page_bytes(known.page))

    @property
    def name(self) -> str:
        """The operator's name for it."""
        return self._name

    async def project_names(self) -> frozenset[str]:
        """No names: a remote index may hold a million."""
        return frozenset()

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`."""
        known = self._known.get(project)
        url = f"{self._url}{project}/"
        answer = await self._client.page(url, accept=_ACCEPT, etag=known.etag if known else None)
        if answer.status == 404:
            if not self._client.rules.is_own(parse(answer.url)):
                raise UpstreamBadAnswer(
                    f"source {self._name} redirected elsewhere, where a 404 says nothing about {project}", source=self._name
                )
            self._check_absence(project, answer)
            self._known.pop(project, None)
            raise ProjectNotFound(f"source {self._name} has no project {project}")
        if known and answer.status == 304:
            return self._confirm(project, known)
        digest = _digest(answer)
        if known and known.digest == digest:
            known.etag = answer.etag
            return self._confirm(project, known)
        page = await self._build_page(project, answer)
        known = _IndexAnswer(answer.etag, digest, page)
        if page_bytes(page) <= RECENT_BYTES:
            self._known[project] = known
        return page

    def _check_absence(self, project: str, answer: PageAnswer) -> None:
        """Raise if this kind of index says 404 of something else than the project."""

    def _confirm(self, project: str, known: _IndexAnswer) -> ProjectPage:
        known.page = msgspec.structs.replace(known.page, as_of=self._clock.now())
        self._known[project] = known
        return known.page

    async def _build_page(self, project: str, answer: PageAnswer) -> ProjectPage:
        links = PageLinks(parse(answer.url), self._client.rules)
        try:
            parsed = await self._parse(project, answer, links)
        except NotAnIndexPage as error:
            raise UpstreamBadAnswer(
                f"source {self._name}, asked for {project}, answered with {error}", source=self._name
            ) from None
        if links.refused_hosts and not parsed.files:
            # An empty page would look as if the project had no files; what it lacks is a setting.
            raise UpstreamBadAnswer(
                f"source {self._name} has the files of {project} on {', '.join(sorted(links.refused_hosts))}, which is not among "
                "its file_hosts: add it there if intended",
                source=self._name,
            )
        if parsed.dropped:
            self._metrics.dropped_entries.labels(self._name).inc(parsed.dropped)
        return ProjectPage(
            project=project,
            files=FileList(parsed.files),
            versions=parsed.versions,
            status=parsed.status,
            as_of=self._clock.now(),
            dropped=parsed.dropped,
        )

    async def _parse(self, project: str, answer: PageAnswer, links: PageLinks) -> ParsedPage:
        kind = answer.content_type
        if kind == LEGACY_HTML or (kind.startswith("application/vnd.pypi.simple.") and kind.endswith("+html")):
            from wheelgate.simple_api.parse_html import parse_html  # its library takes 4 MB that most servers never need

            return await in_slices(parse_html(answer.body, answer.charset, project, self._name, links))
        if kind.startswith("application/vnd.pypi.simple.") and kind.endswith("+json"):
            return await in_slices(parse_json(answer.body, project, self._name, links))
        raise NotAnIndexPage(f"the content type {kind[:60] or 'none'!r}, which is not an index page's")


def _digest(answer: PageAnswer) -> bytes:
    """Of everything that parsing looks at: the same bytes from another address link elsewhere."""
    return hashlib.sha256(f"{answer.url}\n{answer.content_type}\n{answer.charset}\n".encode() + answer.digest).digest()

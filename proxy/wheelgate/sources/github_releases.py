"""GitHub releases: wheels and sdists attached to them, in private repositories too, listed by file name.

The release list is asked for again with its ETag, which costs nothing of the hourly budget when it has not changed; files are
downloaded through the asset API, whose redirect to signed storage is followed without the token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, NoReturn

import msgspec

from wheelgate.core.errors import ProjectNotFound, UpstreamBadAnswer
from wheelgate.core.model import File, Freshness, ProjectPage, RemoteFile
from wheelgate.core.names import project_in
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import UnsafeUrl, parse
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.page_builder import page_of
from wheelgate.upstream.client import SourceClient

GITHUB_HEADERS = {"X-GitHub-Api-Version": "2022-11-28"}
_ACCEPT = "application/vnd.github+json"
_BYTES = "application/octet-stream"
_PER_PAGE = 100
_MAX_PAGES = 50


class _Asset(msgspec.Struct):
    name: str
    url: str
    state: str = "uploaded"
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    digest: str | None = None
    created_at: datetime | None = None


class _Release(msgspec.Struct):
    assets: list[_Asset] = []
    draft: bool = False


class _ReleasePage(msgspec.Struct, frozen=True):
    """One page of the release list, as it last was."""

    etag: str | None
    releases: list[_Release]


_Listing = Mapping[str, Sequence[File]]
_decoder = msgspec.json.Decoder(list[_Release])


class GithubReleases:
    """A :class:`~wheelgate.core.protocols.Source` over the releases of some repositories. The first in order has a file name."""

    def __init__(
        self, *, name: str, url: str, repos: Sequence[str], client: SourceClient, clock: Clock, metrics: Metrics, fresh_s: float
    ) -> None:
        """``url``: of the API. ``repos``: as ``owner/repository``."""
        self._name = name
        self._url = url.removesuffix("/")
        self._repos = repos
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._fresh_s = fresh_s
        self._seen: dict[str, _ReleasePage] = {}
        self._listing: _Listing = {}
        self._pages: dict[str, ProjectPage] = {}
        self._listed_s: float | None = None
        self._listed_at = clock.now()
        self._flights: SingleFlight[None] = SingleFlight()

    @property
    def name(self) -> str:
        """The operator's name for it."""
        return self._name

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._flights.close()

    async def project_names(self) -> frozenset[str]:
        """See :class:`~wheelgate.core.protocols.Source`."""
        await self._refresh()
        return frozenset(self._listing)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same revision while no release changed."""
        await self._refresh()
        files = self._listing.get(project)
        if files is None:
            raise ProjectNotFound(f"source {self._name} has no release with a file of {project}", fresh_until=self._fresh_until)
        page = self._pages.get(project) or page_of(project, files, as_of=self._listed_at)
        if page.freshness.fresh_until != self._fresh_until:
            page = msgspec.structs.replace(page, as_of=self._listed_at, freshness=Freshness(self._fresh_until))
        self._pages[project] = page
        return page

    @property
    def _fresh_until(self) -> float:
        return -math.inf if self._listed_s is None else self._listed_s + self._fresh_s

    async def _refresh(self) -> None:
        """List the releases again if that is due. Whoever asks meanwhile waits for the same listing."""
        now = self._clock.monotonic()
        if self._listed_s is None or now - self._listed_s >= self._fresh_s:
            await self._flights.run("releases", self._list)

    async def _list(self) -> None:
        began = self._clock.monotonic()
        unchanged = True
        found: dict[str, _ReleasePage] = {}
        for repo in self._repos:
            for number in range(1, _MAX_PAGES + 1):
                url = f"{self._url}/repos/{repo}/releases?per_page={_PER_PAGE}&page={number}"
                found[url], same = await self._fetch_releases(repo, url)
                unchanged = unchanged and same
                if len(found[url].releases) < _PER_PAGE:
                    break
        if not unchanged or found.keys() != self._seen.keys():
            self._listing, self._pages = self._build_listing(found), {}
            self._seen = found
        self._listed_s, self._listed_at = began, self._clock.now()

    async def _fetch_releases(self, repo: str, url: str) -> tuple[_ReleasePage, bool]:
        """One page of a repository's releases, and whether it is the same as before."""
        seen = self._seen.get(url)
        answer = await self._client.page(url, accept=_ACCEPT, etag=seen.etag if seen else None)
        if answer.status == 304 and seen is not None:
            return seen, True
        if answer.status != 200:
            self._refuse(repo, "has no such repository, or the token may not see it (it needs Contents: read)")
        try:
            releases = _decoder.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._refuse(repo, "answered with something that is not a list of releases")
        return _ReleasePage(answer.etag, releases), seen is not None and seen.releases == releases

    def _refuse(self, repo: str, what: str) -> NoReturn:
        raise UpstreamBadAnswer(f"source {self._name}, asked for the releases of {repo}, {what}", source=self._name)

    def _build_listing(self, found: Mapping[str, _ReleasePage]) -> _Listing:
        projects: dict[str, dict[str, File]] = {}
        dropped = 0
        for asset in self._assets(found):
            project = project_in(asset.name)
            if project is None or asset.state != "uploaded":
                continue
            files = projects.setdefault(project, {})
            if asset.name in files or not self._may_be_asked(asset.url):
                dropped += 1
                continue
            files[asset.name] = self._file(project, asset)
        if dropped:
            self._metrics.dropped_entries.labels(self._name).inc(dropped)
        return {project: tuple(files.values()) for project, files in projects.items() if files}

    def _assets(self, found: Mapping[str, _ReleasePage]) -> Iterator[_Asset]:
        """Of the repositories in their order, and of each the oldest first: whoever had a file name first keeps it."""
        for repo in self._repos:
            pages = [seen for url, seen in found.items() if url.startswith(f"{self._url}/repos/{repo}/releases?")]
            for seen in reversed(pages):
                for release in reversed(seen.releases):  # the newest comes first there
                    yield from () if release.draft else release.assets

    def _may_be_asked(self, url: str) -> bool:
        """Assets are the API's own: a link that leads elsewhere was put there by somebody else."""
        try:
            return self._client.rules.is_own(parse(url))
        except UnsafeUrl:
            return False

    def _file(self, project: str, asset: _Asset) -> File:
        algorithm, _, digest = (asset.digest or "").lower().partition(":")
        known = algorithm == "sha256" and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        aware = asset.created_at is not None and asset.created_at.tzinfo is not None
        return File(
            filename=asset.name,
            project=project,
            source=self._name,
            location=RemoteFile(asset.url, self._name, accept=_BYTES),
            hashes={"sha256": digest} if known else {},
            size=asset.size,
            upload_time=asset.created_at if aware else None,
        )

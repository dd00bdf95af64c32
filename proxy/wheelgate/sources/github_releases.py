"""GitHub releases: wheels and sdists attached to them, in private repositories too, listed by file name.

The release list is asked for again with its ETag, which costs nothing of the hourly budget when it has not changed; files are
downloaded through the asset API, whose redirect to signed storage is followed without the token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain, zip_longest
from typing import Annotated

import msgspec

from wheelgate.core.digests import UnusableDigest, read_digests
from wheelgate.core.errors import PageTooLarge, ProjectNotFound, UpstreamBadAnswer
from wheelgate.core.model import File, Freshness, ProjectPage, RemoteFile, Withheld
from wheelgate.core.names import project_in
from wheelgate.core.packed_names import PackedNames, PackedOnce
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import UnsafeUrl, parse
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api.collector import MAX_FILES
from wheelgate.sources.page_builder import page_of
from wheelgate.upstream.answers import PageAnswer
from wheelgate.upstream.client import SourceClient

GITHUB_HEADERS = {"X-GitHub-Api-Version": "2022-11-28"}
_ACCEPT = "application/vnd.github+json"
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
    """One page of a repository's release list, as it last was."""

    etag: str | None
    releases: list[_Release]


_decode = msgspec.json.Decoder(list[_Release]).decode


class GithubReleases:
    """A :class:`~wheelgate.core.protocols.Source` over the releases of some repositories. The first in order has a file name."""

    def __init__(
        self, *, name: str, url: str, repos: Sequence[str], client: SourceClient, clock: Clock, metrics: Metrics, fresh_s: float
    ) -> None:
        """``url``: of the API. ``repos``: as ``owner/repository``."""
        self.name = name
        self._url = url.removesuffix("/")
        self._repos = repos
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._fresh_s = fresh_s
        self._seen: dict[str, list[_ReleasePage]] = {}
        self._releases: dict[str, list[_Release]] = {}
        """By repository, the newest first."""
        self._packed = PackedOnce()
        self._listing: Mapping[str, Sequence[File]] = {}
        self._withheld: Mapping[str, tuple[Withheld, ...]] = {}
        self._pages: dict[str, ProjectPage] = {}
        self._fresh_until = -math.inf
        self._listed_at = clock.now()
        self._flights: SingleFlight[None] = SingleFlight()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._flights.close()

    async def project_names(self) -> PackedNames:
        await self._refresh()
        return await self._packed.pack(self._listing)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same revision while no release changed."""
        await self._refresh()
        files = self._listing.get(project)
        if files is None:
            raise ProjectNotFound(f"source {self.name} has no release with a file of {project}", fresh_until=self._fresh_until)
        page = self._pages.get(project) or page_of(
            project, files, as_of=self._listed_at, withheld=self._withheld.get(project, ())
        )
        page = msgspec.structs.replace(page, as_of=self._listed_at, freshness=Freshness(self._fresh_until))
        self._pages[project] = page
        return page

    async def _refresh(self) -> None:
        """List the releases again if that is due. Whoever asks meanwhile waits for the same listing."""
        if self._clock.monotonic() >= self._fresh_until:
            await self._flights.run("releases", self._list)

    async def _list(self) -> None:
        began = self._clock.monotonic()
        seen = {repo: await self._fetch_releases(repo) for repo in self._repos}
        releases = {repo: [release for page in pages for release in page.releases] for repo, pages in seen.items()}
        if releases != self._releases:
            self._releases, self._pages, self._listing = releases, {}, self._build_listing(releases)
            self._packed.forget()
        self._seen = seen
        self._fresh_until, self._listed_at = began + self._fresh_s, self._clock.now()

    async def _fetch_releases(self, repo: str) -> list[_ReleasePage]:
        pages: list[_ReleasePage] = []
        for number, seen in zip_longest(range(1, _MAX_PAGES + 1), self._seen.get(repo, ())):
            url = f"{self._url}/repos/{repo}/releases?per_page={_PER_PAGE}&page={number}"
            answer = await self._client.page(url, accept=_ACCEPT, etag=seen.etag if seen else None)
            pages.append(seen if seen and answer.status == 304 else self._parse(repo, answer))
            if sum(len(release.assets) for page in pages for release in page.releases) > MAX_FILES:
                raise PageTooLarge(
                    f"source {self.name}: the releases of {repo} have more than {MAX_FILES} files", source=self.name
                )
            if len(pages[-1].releases) < _PER_PAGE:
                break
        return pages

    def _parse(self, repo: str, answer: PageAnswer) -> _ReleasePage:
        problem = "has no such repository, or the token may not see it (it needs Contents: read)"
        if answer.status == 200:
            try:
                return _ReleasePage(answer.etag, _decode(answer.body))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                problem = "answered with something that is not a list of releases"
        raise UpstreamBadAnswer(f"source {self.name}, asked for the releases of {repo}, {problem}", source=self.name)

    def _build_listing(self, releases: Mapping[str, Sequence[_Release]]) -> Mapping[str, Sequence[File]]:
        """Of the repositories in their order, and of each the oldest release first: whoever had a file name first keeps it."""
        projects: dict[str, dict[str, File]] = {}
        withheld: dict[str, dict[str, Withheld]] = {}
        dropped = 0
        published = (release for of_repo in releases.values() for release in reversed(of_repo) if not release.draft)
        for asset in chain.from_iterable(release.assets for release in published):
            project = project_in(asset.name)
            if project is None or asset.state != "uploaded":
                continue
            if asset.name in projects.get(project, ()) or not self._may_be_asked(asset.url):
                dropped += 1
                continue
            if asset.name in withheld.get(project, ()):
                continue
            files = projects.setdefault(project, {})
            try:
                files[asset.name] = self._file(project, asset)
            except UnusableDigest as error:
                reason = f"source {self.name} states {error}: have it corrected there"
                withheld.setdefault(project, {})[asset.name] = Withheld(asset.name, self.name, "digest", reason)
        self._withheld = {project: tuple(entries.values()) for project, entries in withheld.items()}
        if dropped:
            self._metrics.dropped_entries.labels(self.name).inc(dropped)
        return {project: tuple(files.values()) for project, files in projects.items()}

    def _may_be_asked(self, url: str) -> bool:
        """Assets are the API's own: a link that leads elsewhere was put there by somebody else."""
        try:
            return self._client.rules.is_own(parse(url))
        except UnsafeUrl:
            return False

    def _file(self, project: str, asset: _Asset) -> File:
        """List an asset as a file. Raises UnusableDigest."""
        algorithm, _, digest = (asset.digest or "").partition(":")
        aware = asset.created_at is not None and asset.created_at.tzinfo is not None
        return File(
            filename=asset.name,
            project=project,
            source=self.name,
            location=RemoteFile(asset.url, self.name, accept="application/octet-stream"),
            hashes=read_digests({algorithm: digest}) if asset.digest else {},
            size=asset.size,
            upload_time=asset.created_at if aware else None,
        )

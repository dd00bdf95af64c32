"""Release list of one GitHub repository: read page by page, again with its ETags, and as it was at one moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Annotated

import msgspec

from wheelgate.core.errors import PageTooLarge, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.simple_api.collector import MAX_FILES
from wheelgate.upstream.answers import PageAnswer
from wheelgate.upstream.client import SourceClient

_ACCEPT = "application/vnd.github+json"
_PER_PAGE = 100
_MAX_PAGES = 50
_PASSES = 4


class Asset(msgspec.Struct):
    """A file attached to a release, as the API lists it."""

    name: str
    url: str
    state: str = "uploaded"
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    digest: str | None = None
    created_at: datetime | None = None


class GithubRelease(msgspec.Struct):
    """A release, as the API lists it."""

    assets: list[Asset] = []
    draft: bool = False
    prerelease: bool = False


class _ReleasePage(msgspec.Struct, frozen=True):
    etag: str | None
    releases: list[GithubRelease]


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder(GithubRelease).decode


def _decode_releases(body: bytes | bytearray) -> Steps[list[GithubRelease]]:
    """Decode a page of releases, one at a time. Raises MsgspecError, UnicodeDecodeError, RecursionError."""
    releases = []
    for raw in _split(body):
        releases.append(_decode(raw))
        yield
    return releases


class ReleaseList:
    """The releases of a repository, as they were when they were last read whole.

    Pages are numbered from the newest release on: one that is deleted while they are read moves another past the place that is
    read next. So what was read in several pages is asked for again, which costs nothing of the hourly budget while it is the
    same.
    """

    def __init__(self, repo: str, *, source: str, url: str, client: SourceClient) -> None:
        """``repo``: ``owner/repository``. ``url``: of the API, without a slash at its end."""
        self.repo = repo
        self.releases: Sequence[GithubRelease] = ()
        """The newest first."""
        self.unread: UpstreamBadAnswer | None = None
        """The reason why nobody knows of the releases before these; ``None``: there are none."""
        self.read_s = -math.inf
        """When they were read, for whoever reads them."""
        self._source = source
        self._url = f"{url}/repos/{repo}/releases?per_page={_PER_PAGE}"
        self._client = client
        self._pages: list[_ReleasePage] = []
        """Of the last reading, whether or not it came to its end."""

    async def refresh(self) -> None:
        """Read it again.

        Raises:
            UpstreamUnavailable: nobody answered, or releases came and went all the time.
            UpstreamBadAnswer: there is no such repository, the credential may not see it, or the answer is no list of releases.
        """
        for _ in range(_PASSES):
            before, pages = self._pages, await self._read_pages()
            # Not their ETags, which are others after every download.
            if len(pages) == 1 or [page.releases for page in pages] == [page.releases for page in before]:
                self.releases = [release for page in pages for release in page.releases]
                self.unread = self._tell_unread() if len(self.releases) == _MAX_PAGES * _PER_PAGE else None
                return
        raise UpstreamUnavailable(
            f"source {self._source}: the releases of {self.repo} change while they are read", source=self._source
        )

    def forget(self) -> None:
        """Hold nothing of it any more."""
        self.releases, self._pages, self.unread = (), [], None

    def _tell_unread(self) -> UpstreamBadAnswer:
        most = _MAX_PAGES * _PER_PAGE
        return PageTooLarge(
            f"source {self._source}: of the releases of {self.repo} the newest {most} are read, and no others are known",
            source=self._source,
        )

    async def _read_pages(self) -> list[_ReleasePage]:
        known, pages = self._pages, list[_ReleasePage]()
        try:
            for number, seen in zip_longest(range(1, _MAX_PAGES + 1), known):
                url = f"{self._url}&page={number}"
                answer = await self._client.page(url, accept=_ACCEPT, etag=seen.etag if seen else None)
                pages.append(seen if seen and answer.status == 304 else await self._parse(url, answer))
                if sum(len(release.assets) for page in pages for release in page.releases) > MAX_FILES:
                    raise PageTooLarge(
                        f"source {self._source}: the releases of {self.repo} have more than {MAX_FILES} files",
                        source=self._source,
                    )
                if len(pages[-1].releases) < _PER_PAGE:
                    known = []  # there are no more
                    break
        finally:
            self._pages = [*pages, *known[len(pages) :]]
        return pages

    async def _parse(self, url: str, answer: PageAnswer) -> _ReleasePage:
        problem = "has no such repository, or the token may not see it (it needs Contents: read)"
        if answer.status == 200:
            try:
                return _ReleasePage(answer.etag, await in_slices(_decode_releases(answer.body)))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                problem = "answered with something that is not a list of releases"
        elif answer.url != url:
            problem = (
                "was sent on to where the credential is not shown: it was renamed, or is another's; put its new name into repos"
            )
        raise UpstreamBadAnswer(f"source {self._source}, asked for the releases of {self.repo}, {problem}", source=self._source)

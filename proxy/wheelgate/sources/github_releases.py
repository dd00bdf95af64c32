"""GitHub releases: wheels and sdists attached to them, in private repositories too, listed by file name.

Files are downloaded through the asset API, whose redirect to signed storage is followed without the token.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from wheelgate.core.belonging import explain_nobodys, find_obstacle, read_belonging
from wheelgate.core.digests import UnusableDigest, read_digests
from wheelgate.core.errors import Busy, ProjectNotFound, UpstreamBadAnswer, UpstreamError, without_frames
from wheelgate.core.model import MAX_NAMED, STALE_IF_ERROR_S, File, Freshness, ProjectPage, RemoteFile, Withheld
from wheelgate.core.name_table import NameTable
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import UnsafeUrl, parse
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.holdings import Unoffered, explain_unoffered, log_unoffered
from wheelgate.sources.listed_names import ListedNames
from wheelgate.sources.page_builder import page_of
from wheelgate.sources.release_list import Asset, GithubRelease, ReleaseList
from wheelgate.upstream.client import SourceClient

GITHUB_HEADERS = {"X-GitHub-Api-Version": "2022-11-28"}
_RETRY_S = 5.0
_NAMES_TOGETHER = 200
_NOBODY = ""
"""Key of the files that are of no project."""
_log = logging.getLogger(__name__)


class _Assets:
    """The assets of one project, by name."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.withheld: dict[str, Withheld] = {}
        self.left_out: dict[str, Withheld] = {}
        """Named if no file is listed: the project is the source's all the same."""

    def list_withheld(self) -> tuple[Withheld, ...]:
        found = self.withheld if self.files else {**self.left_out, **self.withheld}
        return tuple(islice(found.values(), MAX_NAMED))


class GithubReleases:
    """A :class:`~wheelgate.core.protocols.Source` over the releases of some repositories. The first in order has a file name."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        repos: Sequence[str],
        client: SourceClient,
        clock: Clock,
        metrics: Metrics,
        fresh_s: float,
        prereleases: bool = True,
        table: NameTable | None = None,
    ) -> None:
        """Releases of some repositories, each as ``owner/repository``.

        Args:
            name: the operator's, for the source.
            url: of the API.
            repos: in the order of precedence.
            client: asks the API.
            clock: of the age of what was listed.
            metrics: count what is left out.
            fresh_s: time for which a listing is known.
            prereleases: list the files of those, too.
            table: keeps the names; ``None``: nobody else has any.
        """
        self.name = name
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._fresh_s = fresh_s
        self._prereleases = prereleases
        self._lists = [ReleaseList(repo, source=name, url=url.removesuffix("/"), client=client) for repo in repos]
        self._releases: dict[str, Sequence[GithubRelease]] = {}
        """By repository, the newest first."""
        self.problems: Mapping[str, UpstreamBadAnswer] = {}
        """By repository, the reason why it could not be read, or not whole; nobody knows of which names it has files."""
        self._failure: UpstreamError | None = None
        """The reason why nothing could be read, for all who ask before :attr:`_retry_s`: one question, not one a name."""
        self._retry_s = -math.inf
        self._troubles = TroubleLog(_log)
        self._packed = ListedNames(table)
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
        return await self._packed.pack(self._find_names)

    def _find_names(self) -> Iterator[Sequence[str]]:
        names = list(self._listing)
        return (names[start : start + _NAMES_TOGETHER] for start in range(0, len(names), _NAMES_TOGETHER))

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same revision while no release changed."""
        await self._refresh()
        files = self._listing.get(project)
        if files is None:
            if self.problems:
                raise without_frames(next(iter(self.problems.values())))
            raise ProjectNotFound(f"source {self.name} has no release with a file of {project}", fresh_until=self._fresh_until)
        withheld = self._withheld.get(project, ())
        page = self._pages.get(project)
        if page is None:
            log_unoffered(self._troubles, project, withheld)
            for entry in withheld:
                self._metrics.withheld_files.labels(self.name, entry.rule).inc()
            page = page_of(project, files, as_of=self._listed_at, withheld=withheld)
        page = msgspec.structs.replace(page, as_of=self._listed_at, freshness=Freshness(self._fresh_until))
        self._pages[project] = page
        return page

    async def find_unoffered(self, most: int) -> Unoffered:
        """See :class:`~wheelgate.sources.holdings.Holder`."""
        await self._refresh()
        found = [entry for entries in self._withheld.values() for entry in entries]
        return Unoffered(tuple(found[:most]), len(found))

    async def _refresh(self) -> None:
        """List the releases again if that is due. Whoever asks meanwhile waits for the same listing."""
        now = self._clock.monotonic()
        if now < self._fresh_until:
            return
        if self._failure is not None and now < self._retry_s:
            raise without_frames(self._failure)
        await self._flights.run("releases", self._list)

    async def _list(self) -> None:
        began = self._clock.monotonic()
        try:
            problems = {read.repo: problem for read in self._lists if (problem := await self._read(read, began)) is not None}
            self.problems = problems
            if len(problems) == len(self._lists):
                raise next(iter(problems.values()))
        except UpstreamError as error:
            if not isinstance(error, Busy) and error.retry_after_s is None:  # else the client keeps the pause
                self._failure, self._retry_s = error, self._clock.monotonic() + _RETRY_S
            raise
        unread = {read.repo: read.unread for read in self._lists if read.unread is not None and read.repo not in problems}
        self._failure, self.problems = None, problems | unread
        releases = {read.repo: read.releases for read in self._lists}
        if releases != self._releases:
            listing, withheld = await in_slices(self._build_listing(releases))
            self._releases, self._pages, self._listing, self._withheld = releases, {}, listing, withheld
            self._packed.forget()
        self._fresh_until = began + self._fresh_s
        if not problems:
            self._listed_at = self._clock.now()

    async def _read(self, read: ReleaseList, now: float) -> UpstreamBadAnswer | None:
        """Read the releases of one repository; the reason why they cannot be read, while the others' can.

        A repository that is gone, or not to be seen any more, has what it had, for as long as pages stand in: with its newest
        file hidden an older one would be installed.
        """
        try:
            await read.refresh()
        except UpstreamBadAnswer as error:
            self._troubles.report(read.repo, str(error))
            if now - read.read_s > STALE_IF_ERROR_S:
                read.forget()
            return error
        read.read_s = now
        return None

    def _build_listing(
        self, releases: Mapping[str, Sequence[GithubRelease]]
    ) -> Steps[tuple[Mapping[str, Sequence[File]], Mapping[str, tuple[Withheld, ...]]]]:
        """The files of each project, and those that are withheld.

        Of the repositories in their order, and of each the oldest release first: whoever had a file name first keeps it.
        """
        projects: dict[str, _Assets] = {}
        in_order = (release for of_repo in releases.values() for release in reversed(of_repo) if not release.draft)
        for release, asset in ((each, asset) for each in in_order for asset in each.assets):
            yield
            if (why := explain_nobodys(asset.name)) is not None:
                projects.setdefault(_NOBODY, _Assets()).withheld[asset.name] = explain_unoffered(self.name, asset.name, why)
            for project in read_belonging(asset.name).projects:
                yield  # an odd name may be of dozens, and is read again for each
                self._sort(release, asset, project, projects.setdefault(project, _Assets()))
        return (
            {project: tuple(assets.files.values()) for project, assets in projects.items() if project != _NOBODY},
            {project: assets.list_withheld() for project, assets in projects.items()},
        )

    def _sort(self, release: GithubRelease, asset: Asset, project: str, assets: _Assets) -> None:
        """Sort an asset in with the others of its project: listed, withheld, or left out while others can be listed."""
        name = asset.name
        earlier = assets.files.get(name)
        if (why := find_obstacle(name, project)) is not None:
            assets.withheld[name] = explain_unoffered(self.name, name, why)
        elif earlier is not None:
            if _has_other_bytes(asset, earlier):
                why = "another release has other bytes under this name, and had it first: give this one another version"
                assets.withheld[name] = explain_unoffered(self.name, name, why)
        elif name in assets.withheld:
            pass
        elif (obstacle := self._find_obstacle(release, asset)) is not None:
            assets.left_out[name] = Withheld(name, self.name, "release", obstacle)
        else:
            try:
                assets.files[name] = self._file(project, asset)
            except UnusableDigest as error:
                reason = f"source {self.name} states {error}: have it corrected there"
                assets.withheld[name] = Withheld(name, self.name, "digest", reason)

    def _find_obstacle(self, release: GithubRelease, asset: Asset) -> str | None:
        """Find why an asset is not listed, in a sentence; ``None``: it may be."""
        if release.prerelease and not self._prereleases:
            return f"source {self.name} has {asset.name} in pre-releases alone, which prereleases = false leaves out"
        if asset.state != "uploaded":
            return f"source {self.name} has not got {asset.name} whole yet: try again later"
        if not self._may_be_asked(asset.url):
            self._metrics.dropped_entries.labels(self.name).inc()
            return f"source {self.name} leads away from its API for {asset.name}"
        return None

    def _may_be_asked(self, url: str) -> bool:
        """Assets are the API's own: a link that leads elsewhere was put there by somebody else."""
        try:
            return self._client.rules.is_own(parse(url))
        except UnsafeUrl:
            return False

    def _file(self, project: str, asset: Asset) -> File:
        """List an asset as a file. Raises UnusableDigest."""
        aware = asset.created_at is not None and asset.created_at.tzinfo is not None
        return File(
            filename=asset.name,
            project=project,
            source=self.name,
            location=RemoteFile(asset.url, self.name, accept="application/octet-stream"),
            hashes=_read_digests(asset),
            size=asset.size or None,
            upload_time=asset.created_at if aware else None,
        )


def _has_other_bytes(asset: Asset, listed: File) -> bool:
    """True if an asset is known to have other bytes than one of its name that is listed."""
    try:
        stated = _read_digests(asset)
    except UnusableDigest:
        return True
    sizes = {asset.size, listed.size} - {None}
    return len(sizes) > 1 or any(stated.get(algorithm, digest) != digest for algorithm, digest in listed.hashes.items())


def _read_digests(asset: Asset) -> Mapping[str, str]:
    """Read what is stated of an asset's bytes. Raises UnusableDigest."""
    algorithm, _, digest = (asset.digest or "").partition(":")
    return read_digests({algorithm: digest}) if asset.digest else {}

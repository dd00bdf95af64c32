"""Findings about a project of a feed, out of what the service says of the feed, of the project, and of the feeds behind it.

===========================  ==================================================================================================
a version of it was ...      so it is
===========================  ==================================================================================================
published to the feed        own, and so are those versions; what came from a public upstream beside them is not
saved from another feed      own, likewise, unless that one says that it has it from a public upstream
published to a feed behind   own, though nobody has saved it yet: the page lists it all the same
saved from public ones only  public, by way of whatever feeds
saved, of an unknown origin  unknown, unless it is own: the upstream is named no more, or is of a kind that is not known
(nobody knows any)           public if a public upstream may be what the page lists it from; own if none is, so that all that the
                             feed lists was published to it or comes from another feed
===========================  ==================================================================================================

A deleted version counts: a name that was the operator's stays so. A feed behind that cannot be asked makes a project unknown that
is not own already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from wheelgate.core.devops import FeedPlace
from wheelgate.core.errors import UpstreamError
from wheelgate.core.model import Ownership
from wheelgate.feeds.service import FeedDescription, FeedUpstream, VersionFact
from wheelgate.runtime.together import together

_DEEPEST = 3
"""Feeds behind feeds behind feeds: a service that leads further is not followed."""
Describe = Callable[[FeedPlace], Awaitable[FeedDescription]]
ListVersions = Callable[[FeedPlace, str], Awaitable[tuple[VersionFact, ...]]]


class OwnershipFinding(msgspec.Struct, frozen=True):
    """A project of a feed, judged."""

    ownership: Ownership
    why: str
    """Completes "source team ...", but of UNKNOWN, where it is the cause: "the feed service ..."."""
    own: frozenset[str] = frozenset()
    """Keys of its own versions, as far as the service knows them."""
    is_whole: bool = False
    """Of OWN: all that the feed lists is."""
    versions: tuple[VersionFact, ...] = ()
    """Those that the service speaks of."""
    passes_public: bool = False
    """It lists, or may list, versions from a public upstream, its own or one of a feed behind it."""

    def has_from_public(self, key: str) -> bool:
        """True if the feed is known to have this version from a public upstream."""
        return self.passes_public and key not in self.own and any(version.key == key for version in self.versions)

    @property
    def is_evident(self) -> bool:
        """True of OWN if a version of it is known to be; else it follows from what the feed is, which may change."""
        return self.ownership is Ownership.OWN and bool(self.own or any(not version.origin for version in self.versions))

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory behind it."""
        return 700 + 250 * len(self.versions) + 80 * len(self.own)


class OwnershipFinder:
    """Finds out whose projects are by asking the service, through whoever remembers its answers."""

    def __init__(self, describe: Describe, list_versions: ListVersions) -> None:
        self._describe = describe
        self._list_versions = list_versions

    async def find(self, place: FeedPlace, project: str) -> OwnershipFinding:
        """Find out whose a project of a feed is.

        Raises:
            UpstreamError: the service does not say.
        """
        feed, versions = await together(self._describe(place), self._list_versions(place, project))
        if not feed.upstreams and not any(version.origin for version in versions):
            own = frozenset(version.key for version in versions)
            why = "has no upstream sources: all of it was published to it"
            return OwnershipFinding(Ownership.OWN, why, own, is_whole=True, versions=versions)
        behind = await self._look_behind(feed, project, frozenset({place.url}))
        found = _judge(feed, versions, behind)
        if found.ownership is not Ownership.PUBLIC:
            return found
        if not versions and not found.passes_public:
            return OwnershipFinding(Ownership.OWN, "lists nothing from public upstream sources", is_whole=True)
        public = ", ".join(upstream.name for upstream in feed.upstreams if upstream.is_live and upstream.kind == "public")
        why = f"has none of it but what came from {public or 'public upstream sources'}"
        return msgspec.structs.replace(found, why=why)

    async def _look_behind(self, feed: FeedDescription, project: str, seen: frozenset[str]) -> dict[str, OwnershipFinding]:
        """Ask each feed behind a feed what is its own, or may be; by the identifier of the upstream."""
        inner = [upstream for upstream in feed.upstreams if upstream.is_live and upstream.kind != "public"]
        found = await together(*(self._ask_inner(upstream, project, seen) for upstream in inner))
        return {upstream.id: finding for upstream, finding in zip(inner, found, strict=True)}

    async def _ask_inner(self, upstream: FeedUpstream, project: str, seen: frozenset[str]) -> OwnershipFinding:
        place = upstream.place
        if place is None or upstream.kind != "internal":
            return OwnershipFinding(
                Ownership.UNKNOWN, f"the feed service does not say where its upstream source {upstream.name} is"
            )
        if place.url in seen:
            return OwnershipFinding(Ownership.PUBLIC, "is looked at already")
        if len(seen) > _DEEPEST:
            return OwnershipFinding(
                Ownership.UNKNOWN, f"its upstream source {upstream.name} has upstream sources of its own, and so on"
            )
        try:
            feed, versions = await together(self._describe(place), self._list_versions(place, project))
        except UpstreamError as error:
            return OwnershipFinding(
                Ownership.UNKNOWN, f"its upstream source {upstream.name}, which is another feed, cannot be asked: {error}"
            )
        behind = await self._look_behind(feed, project, seen | {place.url})
        return _judge(feed, versions, behind)


def _judge(feed: FeedDescription, versions: tuple[VersionFact, ...], behind: Mapping[str, OwnershipFinding]) -> OwnershipFinding:
    """Judge by what was published or saved, here and behind. Public: nothing is, or may be, this feed's or another's own."""
    upstreams = {upstream.id: upstream for upstream in feed.upstreams}
    own: set[str] = set()
    foreign, strange = False, ""
    for version in versions:
        kind = upstreams[version.origin].kind if version.origin in upstreams else ""
        if kind == "public" or (version.origin in behind and behind[version.origin].has_from_public(version.key)):
            foreign = True
        elif not version.origin or kind == "internal":
            own.add(version.key)
        else:
            strange = version.key
    own.update(*(finding.own for finding in behind.values()))
    is_open = any(upstream.is_live and upstream.kind == "public" for upstream in feed.upstreams)
    passes = is_open or foreign or any(finding.passes_public for finding in behind.values())
    if own:
        why = "has versions of it that were published there or to another feed"
        return OwnershipFinding(Ownership.OWN, why, frozenset(own), not (passes or strange), versions, passes)
    unknown = next((finding for finding in behind.values() if finding.ownership is Ownership.UNKNOWN), None)
    if unknown is not None:
        return OwnershipFinding(Ownership.UNKNOWN, unknown.why, versions=versions, passes_public=passes)
    if strange:
        why = f"the feed service names no upstream source that version {strange} came from"
        return OwnershipFinding(Ownership.UNKNOWN, why, versions=versions, passes_public=passes)
    return OwnershipFinding(Ownership.PUBLIC, "has nothing of its own", versions=versions, passes_public=passes)

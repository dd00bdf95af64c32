"""A feed, the service that tells whose its projects are, a public index, and replicas over one store, all in virtual time.

Each replica has witnesses of its own, which object to what must not be asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from tests.simulation.loop import VirtualLoop
from tests.support.sources import FakeSource, listed
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.devops import FeedPlace
from wheelgate.core.errors import CredentialRefused, ProjectNotFound, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.file_list import FileList
from wheelgate.core.model import STALE_IF_ERROR_S, File, ProjectPage, RemoteFile
from wheelgate.core.names import same_version_key
from wheelgate.core.patterns import NamePatterns, parse_release
from wheelgate.feeds.facts import DatedFeed
from wheelgate.feeds.judge import FeedJudge
from wheelgate.feeds.service import FeedDescription, FeedService, FeedUpstream, VersionFact
from wheelgate.index.decision import Decision, Member
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout
from wheelgate.storage.change_log import Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

NAMES = ["acme-a", "left-pad", "right-pad"]
FRESH_S, ABSENT_S = 600.0, 60.0
RETRY_S = 5.0
TEAM, INNER = (FeedPlace("https://feeds.dev.azure.com/acme/_apis/packaging/feeds", name) for name in ("team", "behind"))
DENIED = "right-pad==98.0"
ILLNESSES = [UpstreamUnavailable("it is down"), CredentialRefused("it says 403"), UpstreamBadAnswer("it says nothing of it")]
QUESTIONS = ["describe team", "describe behind", "list team", "list behind"]
SEEN: Counter[str] = Counter()
"""Over all histories, of what there was how much."""


class LoopClock:
    """The loop's time as a Clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._loop.now_s)

    def monotonic(self) -> float:
        return 1_000.0 + self._loop.now_s


class ToldService:
    """The feed service as one replica asks it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.failing: set[str] = set()
        """Questions of which the last one was not answered."""

    async def describe(self, place: FeedPlace) -> FeedDescription:
        await self._answer(f"describe {place.feed}")
        return self._world.describe(place)

    async def list_versions(self, place: FeedPlace, project: str) -> tuple[VersionFact, ...]:
        await self._answer(f"list {place.feed}", f" {project}")
        return tuple(self._world.versions[place.feed].get(project, {}).values())

    async def _answer(self, question: str, about: str = "") -> None:
        await asyncio.sleep(0)
        SEEN["questions to the service"] += 1
        self.failing.discard(question + about)
        if question in self._world.unanswered:
            self.failing.add(question + about)
            raise self._world.illness

    def is_failing(self, project: str) -> bool:
        return any(question.startswith("describe") or question.endswith(f" {project}") for question in self.failing)


class PageOfTeam:
    """The pages of the feed: what was published to it or saved, and what it would get from its upstreams."""

    name = "feed"

    def __init__(self, world: World) -> None:
        self._world = world

    async def project_names(self) -> Any:
        raise NotImplementedError

    async def project_page(self, project: str) -> ProjectPage:
        await asyncio.sleep(0)
        if self._world.feed_is_down:
            raise UpstreamUnavailable("source feed is down", source="feed")
        files = list(self._world.list_feed(project))
        if not files:
            raise ProjectNotFound(f"source feed has no project {project}")
        now = self._world.clock.now()
        versions = tuple(dict.fromkeys(file.filename.split("-")[1] for file in files))
        return ProjectPage(project=project, files=FileList(files), versions=versions, as_of=now, known_since=now)


class Witness:
    """Stands before the public index for one replica, and objects to what that must not ask."""

    name = "pypi"

    def __init__(self, world: World, service: ToldService) -> None:
        self._world = world
        self._service = service

    async def project_names(self) -> Any:
        raise NotImplementedError

    async def project_page(self, project: str) -> ProjectPage:
        SEEN["questions to the public index"] += 1
        self._world.object_to(project, self._service)
        return await self._world.pypi.project_page(project)


class Replica:
    """One process."""

    def __init__(self, world: World) -> None:
        clock, metrics = world.clock, Metrics()
        self.store = WatchedStore(world.store)
        self.changes = StoreChanges(self.store, clock)
        claims = Claims(self.store, clock, self.changes)
        self.service = ToldService(world)
        self.judge = FeedJudge(
            "feed",
            place=TEAM,
            service=cast(FeedService, self.service),
            clock=clock,
            fresh_s=FRESH_S,
            absent_s=ABSENT_S,
            store=self.store,
        )
        book = RuleBook(world.rules, NamePatterns([]))

        def cached(source: Any) -> Cached:
            return Cached(source, clock=clock, metrics=metrics, fresh_s=FRESH_S, negative_ttl_s=ABSENT_S)

        def screened(source: Any, private: bool) -> Screened:
            return Screened(source, private=private, book=book, clock=clock, metrics=metrics)

        feed = cached(DatedFeed(PageOfTeam(world), facts=self.judge, find_judge=lambda: self.judge))
        public = cached(Witness(world, self.service))
        self._closing = [feed, public, self.judge, claims]
        team = Member(screened(feed, True), True, None, self.judge, Member(screened(feed, False), False))
        members = {"feed": team, "pypi": Member(screened(public, False), False)}
        self.index = Merged(
            [members[name] for name in world.order], claims=claims, clock=clock, metrics=metrics, reserved=book.reserved
        )
        self.changes.subscribe(Kind.CLAIM, self.index.invalidate)

    async def close(self) -> None:
        for part in self._closing:
            await part.close()


class World:
    """Configuration and surroundings."""

    def __init__(self, order: list[str], cooldown_h: int, inner_is_open: bool, upstreams: dict[str, str]) -> None:
        self.loop = VirtualLoop()
        self.clock = LoopClock(self.loop)
        self.order = order
        self.cooldown = timedelta(hours=cooldown_h)
        self.rules = Rules(deny=[parse_release(DENIED)], cooldown=self.cooldown or None)
        self.inner_is_open = inner_is_open
        self.upstreams = upstreams
        """Of the feed, by identifier: ``live``, ``removed`` or ``forgotten``, when the service does not speak of it any more."""
        self.store = MemoryStore()
        self.versions: dict[str, dict[str, dict[str, VersionFact]]] = {"team": {}, "behind": {}}
        self.pypi = FakeSource("pypi", cast(Any, self.clock))
        self.feed_is_down = False
        self.unanswered: set[str] = set()
        self.illness: UpstreamError = ILLNESSES[0]
        self.own_since: dict[str, datetime] = {}
        self.ever_own: set[str] = set()
        self.opened_at: datetime | None = None
        """When the feed last began to pass the public index through."""
        self.claimed_before: set[str] = set()
        """Claims that were there when somebody was last asked."""

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def publish_outside(self, project: str, version: str, age: timedelta) -> None:
        self.pypi.publish(project, version, upload_time=self.clock.now() - age)

    def describe(self, place: FeedPlace) -> FeedDescription:
        if place == INNER:
            return FeedDescription((FeedUpstream("p2", "PyPI", "public", True),) if self.inner_is_open else ())
        said = {key: state for key, state in self.upstreams.items() if state != "forgotten"}
        places = {"public": None, "inner": INNER}
        kinds = {"public": "public", "inner": "internal"}
        return FeedDescription(
            tuple(FeedUpstream(key, key, kinds[key], state == "live", places[key]) for key, state in said.items())
        )

    def list_feed(self, project: str, feed: str = "team") -> Iterator[File]:
        """List what a feed's page does."""
        versions = self.versions[feed].get(project, {})
        for version, fact in versions.items():
            if not fact.is_deleted:
                yield self._find_saved(project, version, fact)
        is_open = self.upstreams["public"] == "live" if feed == "team" else self.inner_is_open
        names = {same_version_key(version) for version in versions}
        if feed == "team" and self.upstreams["inner"] == "live":
            for file in self.list_feed(project, "behind"):
                if (key := same_version_key(file.filename.split("-")[1])) not in names:
                    names.add(key)
                    yield file
        if is_open:
            for file in self.pypi.files.get(project, {}).values():
                if same_version_key(file.filename.split("-")[1]) not in names:
                    yield msgspec.structs.replace(file, source="feed")

    def _find_saved(self, project: str, version: str, fact: VersionFact) -> File:
        came = "pypi" if fact.origin in ("public", "p2") or self.is_passed_on(project, version, fact) else "feed"
        url = f"https://files.example.com/{came}/{project}-{version}"
        return listed(project, version, source="feed", url=url, upload_time=fact.published)

    def is_passed_on(self, project: str, version: str, fact: VersionFact) -> bool:
        behind = self.versions["behind"].get(project, {}).get(version)
        return fact.origin == "inner" and (behind is None or bool(behind.origin))

    def note_owners(self) -> None:
        """Work out anew whose each project is."""
        for project in NAMES:
            team, behind = (self.versions[feed].get(project, {}).values() for feed in ("team", "behind"))
            is_own = any(fact.origin in ("", "inner") for fact in team)
            is_own = is_own or (self.upstreams["inner"] == "live" and any(not fact.origin for fact in behind))
            if is_own:
                self.own_since.setdefault(project, self.clock.now())
                self.ever_own.add(project)
            else:
                self.own_since.pop(project, None)

    @property
    def claimed(self) -> set[str]:
        return {path.removeprefix(layout.CLAIMS) for path in self.store.blobs if path.startswith(layout.CLAIMS)}

    def object_to(self, project: str, service: ToldService, file: File | None = None) -> None:
        """Object to a question to the public index, or a file of it; nobody hears at once that a name is own by now."""
        assert project not in self.claimed_before, f"{project} is claimed"
        if (since := self.own_since.get(project)) is None:
            return
        age_s = (self.clock.now() - since).total_seconds()
        by_feed = any(fact.origin in ("", "inner") for fact in self.versions["team"].get(project, {}).values())
        lag_s = ABSENT_S if by_feed else ABSENT_S + FRESH_S
        if age_s <= lag_s:
            return
        assert service.is_failing(project), f"{project} is the feed's own since {age_s} s, and the service is well"
        assert age_s <= STALE_IF_ERROR_S, f"{project} is the feed's own since {age_s} s"
        if file is not None and file.upload_time is not None:
            assert file.upload_time < since + timedelta(seconds=lag_s), f"{file.filename} came after {project} was own"

    def check(self, project: str, decision: Decision, service: ToldService) -> None:
        """Check what holds for every page that was ever given."""
        assert self.claimed <= self.ever_own, "a name is claimed of which nothing but public versions was there"
        now = self.clock.now()
        for file in decision.page.files if decision.page is not None else ():
            SEEN["files"] += 1
            version = file.filename.split("-")[1]
            assert f"{project}=={version}" != DENIED, "a denied file"
            if "/pypi/" not in cast(RemoteFile, file.location).url or version in self._find_trusted(project):
                continue
            SEEN["public files"] += 1
            assert file.upload_time is not None
            assert file.upload_time + self.cooldown <= now, f"{file.filename} came past the cool-down"
            self.object_to(project, service, file)

    def _find_trusted(self, project: str) -> set[str]:
        """Find versions that were saved from the feed behind, whatever that had them from: it may not tell any more."""
        return {version for version, fact in self.versions["team"].get(project, {}).items() if fact.origin == "inner"}

    def check_it_works(self, project: str, decision: Decision) -> None:
        """Check what an installer gets when everybody answers, and has for a while."""
        served = {file.filename for file in decision.page.files} if decision.page is not None else set()
        in_feed = {file.filename: file for file in self.list_feed(project)}
        origins = {fact.origin for fact in self.versions["team"].get(project, {}).values()}
        is_strange = any(self.upstreams.get(origin) == "forgotten" for origin in origins)
        if is_strange or any(fact.origin == "inner" for fact in self.versions["team"].get(project, {}).values()):
            return  # of what it cannot tell any more it says so
        if project in self.own_since:
            own = {name for name, file in in_feed.items() if "/feed/" in cast(RemoteFile, file.location).url}
            denied = {name for name in own if f"{project}=={name.split('-')[1]}" == DENIED}
            assert served == own - denied, f"{project} is own"
        elif project not in self.claimed:
            files = self.pypi.files.get(project) if "pypi" in self.order else None
            aged = {
                name
                for name, file in (files or in_feed).items()
                if file.upload_time is not None
                and file.upload_time + self.cooldown <= self.clock.now()
                and f"{project}=={name.split('-')[1]}" != DENIED
            }
            assert served == aged, f"{project} is public: {decision.error}"

"""Promises 1 and 13 in any history: a feed that passes a public index through, two replicas, restarts, and outages of everything.

Whose a project is, is told by a service (``service``), said by the operator (``stated``), or by nobody (``silent``).
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.clock import FakeClock
from tests.support.judges import FakeJudge, FakeService
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamUnavailable
from wheelgate.core.file_list import FileList
from wheelgate.core.model import STALE_IF_ERROR_S, ProjectPage
from wheelgate.core.patterns import NamePatterns, parse_release
from wheelgate.index.decision import Decision, Member, MergeRule
from wheelgate.index.merged import Merged
from wheelgate.index.ownership import GuardedSource, StatedJudge
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.cached import Cached
from wheelgate.sources.public_names import PublicNames
from wheelgate.storage import layout
from wheelgate.storage.change_log import Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

NAMES = ["acme-a", "acme-b", "left-pad", "right-pad"]
OWN_NAMES = "acme-*"
"""In a stated world, and there alone, the feed's own projects are always of these names."""
COOLDOWN = timedelta(days=3)
FRESH_S, ABSENT_S = 600.0, 60.0
a_name = st.sampled_from(NAMES)
a_replica = st.sampled_from([0, 1])


class Feed(FakeSource):
    """Files of its own, and all of a public index; ``own`` has the former alone."""

    def __init__(self, name: str, clock: FakeClock, outside: FakeSource) -> None:
        super().__init__(name, clock)
        self._outside = outside

    def _answer(self, project: str) -> ProjectPage:
        self._raise_if_failing(project)
        passed = [self.relabel(file) for file in self._outside.files.get(project, {}).values()]
        files = [*self.files.get(project, {}).values(), *passed]
        if not files:
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        now = self.clock.now()
        versions = tuple(dict.fromkeys(file.filename.split("-")[1] for file in files))
        return ProjectPage(project=project, files=FileList(files), versions=versions, as_of=now, known_since=now)

    def relabel(self, file: Any) -> Any:
        import msgspec

        return msgspec.structs.replace(file, source=self.name)


class PublicWitness:
    """Stands before the public index for one replica, and objects to what it must not be asked."""

    def __init__(self, world: World) -> None:
        self.name = "pypi"
        self._world = world

    async def project_names(self) -> Any:
        return await self._world.pypi.project_names()

    async def project_page(self, project: str) -> ProjectPage:
        self._world.object_to(project)
        return await self._world.pypi.project_page(project)


class Replica:
    """One process."""

    def __init__(self, world: World) -> None:
        clock, metrics = world.clock, Metrics()
        self.changes = StoreChanges(world.store, clock)
        claims = Claims(world.store, clock, self.changes)
        book = RuleBook(world.rules, NamePatterns([]))

        def cached(source: Any) -> Cached:
            return Cached(source, clock=clock, metrics=metrics, fresh_s=FRESH_S, negative_ttl_s=ABSENT_S)

        def screened(source: Any, private: bool) -> Screened:
            return Screened(source, private=private, book=book, clock=clock, metrics=metrics)

        feed: Any = cached(world.feed)
        judge: Any = None
        if world.mode == "service":
            judge = FakeJudge(world.service, clock)
            judge.remembered = world.remembered  # as records in the store
        elif world.mode == "stated":
            judge = StatedJudge("feed", only=NamePatterns([OWN_NAMES]), book=book, claims=claims)
        else:
            names = PublicNames(feed, remedy="say upstream", clock=clock, metrics=metrics)
            feed = GuardedSource(feed, names=names, book=book, claims=claims)
        view = None if judge is None else Member(screened(feed, False), False)
        members = {
            "feed": Member(screened(feed, True), True, None, judge, view),
            "uploads": Member(screened(cached(world.uploads), True), True),
            "pypi": Member(screened(cached(PublicWitness(world)), False), False),
        }
        self.index = Merged(
            [members[name] for name in world.order],
            claims=claims,
            clock=clock,
            metrics=metrics,
            reserved=book.reserved,
            merges=world.merges,
        )
        for kind in (Kind.PACKAGE, Kind.CLAIM):
            self.changes.subscribe(kind, self.index.invalidate)


class World:
    """Configuration and surroundings."""

    def __init__(self, mode: str, order: list[str], merged: bool, allow: list[str] | None) -> None:
        self.mode = mode
        self.order = order
        self.clock = FakeClock()
        self.memory = MemoryStore()
        self.store = WatchedStore(self.memory)
        self.claimed_before: set[str] = set()
        """Claims that were there when somebody was last asked."""
        self.pypi, self.uploads = FakeSource("pypi", self.clock), FakeSource("uploads", self.clock)
        self.feed = Feed("feed", self.clock, self.pypi)
        self.service = FakeService("feed")
        self.remembered: dict[str, tuple[frozenset[str], datetime, float]] = {}
        self.merges = [MergeRule(NamePatterns([OWN_NAMES]), ("feed", "pypi"))] if merged else []
        self.allow = allow
        self.rules = Rules(cooldown=COOLDOWN, allow=None if allow is None else [parse_release(text) for text in allow])
        self.ever_private = {name for name in NAMES if self.is_mine_by_word(name)}
        self.service.mixed = set(NAMES)
        for name in ("certifi", "idna", "six"):
            self.pypi.publish(name, "99.0", upload_time=self.clock.now() - timedelta(days=400))

    @property
    def claimed(self) -> set[str]:
        return {path.removeprefix(layout.CLAIMS) for path in self.memory.blobs if path.startswith(layout.CLAIMS)}

    def shares(self, project: str) -> bool:
        return any(project in rule.names for rule in self.merges)

    def object_to(self, project: str) -> None:
        """Whether the public index may hear the name at this moment."""
        if self.shares(project):
            return
        assert project not in self.claimed_before, f"{project} is claimed"
        if self.mode == "service":
            own, heard, fresh_until = self.remembered[project]
            assert not own, f"{project} was the feed's own when its service was last asked"
            fresh = self.clock.monotonic() < fresh_until
            assert fresh or (self.service.is_silent and (self.clock.now() - heard).total_seconds() <= STALE_IF_ERROR_S)

    def check(self, project: str, decision: Decision) -> None:
        """What holds for every page that was ever given."""
        assert self.claimed <= self.ever_private, "a public name is claimed"
        if decision.page is None:
            return
        outside = self.pypi.files.get(project, {})
        for file in decision.page.files:
            if not file.filename.split("-")[1].startswith("9") or self.is_mine_by_word(project):
                continue  # of the operator's own making, or so he says
            assert file.upload_time is not None
            assert file.upload_time + COOLDOWN <= self.clock.now(), f"{file.filename} came past the cool-down"
            assert self.allow is None or project in NamePatterns(self.allow), f"{file.filename} came past the allow list"
            assert self.shares(project) or project not in self.claimed, f"{file.filename} under a claimed name"
        if decision.error is None and self.mode == "silent":
            assert not (outside and decision.owner == "feed"), "nobody can tell whose it is"

    def check_it_works(self, project: str, decision: Decision) -> None:
        """What an installer gets when everybody answers, and has for a while."""
        own, uploaded = self.feed.files.get(project, {}), self.uploads.files.get(project, {})
        if self.is_mine_by_word(project):
            own = own | self.pypi.files.get(project, {})
        private = {"feed": own, "uploads": uploaded}
        owner = next((name for name in self.order if private.get(name)), None)
        served = {file.filename for file in decision.page.files} if decision.page is not None else set()
        if self.mode == "silent":
            if owner is None and project not in self.pypi.files and project not in self.claimed:
                assert isinstance(decision.error, ProjectNotFound)
            return
        if owner is not None:
            assert private[owner].keys() <= served, f"{owner} owns {project}"
        elif project not in self.claimed and project in self.pypi.files:
            aged = {
                file.filename
                for file in self.pypi.files[project].values()
                if file.upload_time is not None and file.upload_time + COOLDOWN <= self.clock.now()
            }
            if self.allow is None:
                assert served == aged, f"{project} is public"

    def is_mine_by_word(self, project: str) -> bool:
        return self.mode == "stated" and project in NamePatterns([OWN_NAMES])


class PassingThrough(RuleBasedStateMachine):
    """Any history."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()

    @initialize(
        mode=st.sampled_from(["service", "service", "stated", "silent"]),
        order=st.permutations(["feed", "uploads", "pypi"]),
        merged=st.booleans(),
        allow=st.sampled_from([None, None, ["left-*", "acme-a"]]),
    )
    def configure(self, mode: str, order: list[str], merged: bool, allow: list[str] | None) -> None:
        self.world = World(mode, order, merged and mode != "silent", allow)
        self.replicas = [Replica(self.world), Replica(self.world)]

    @rule(project=a_name, version=st.sampled_from(["1.0", "2.0"]))
    def publish_to_the_feed(self, project: str, version: str) -> None:
        if self.world.mode == "stated" and project not in NamePatterns([OWN_NAMES]):
            return
        self.world.feed.publish(project, version)
        self.world.service.own.setdefault(project, set()).add(version.removesuffix(".0"))
        self.world.ever_private.add(project)

    @rule(project=a_name, version=st.sampled_from(["98.0", "99.0"]), aged=st.booleans())
    def publish_outside(self, project: str, version: str, aged: bool) -> None:
        self.world.pypi.publish(project, version, upload_time=self.world.clock.now() - timedelta(days=400 if aged else 0))

    @rule(project=a_name)
    def upload(self, project: str) -> None:
        self.world.uploads.publish(project, "3.0")
        self.world.ever_private.add(project)

    @rule(source=st.sampled_from(["feed", "uploads", "pypi"]), project=a_name)
    def delete(self, source: str, project: str) -> None:
        getattr(self.world, source).remove(project)
        if source == "feed":
            self.world.service.own.pop(project, None)

    @rule(source=st.sampled_from(["feed", "uploads", "pypi"]))
    def fall_silent(self, source: str) -> None:
        getattr(self.world, source).fail(UpstreamUnavailable(f"source {source} is down"))

    @rule()
    def silence_the_service(self) -> None:
        self.world.service.is_silent = True

    @rule()
    def lose_the_store(self) -> None:
        self.world.store.down()

    @rule()
    def mend_everything(self) -> None:
        for source in (self.world.feed, self.world.uploads, self.world.pypi):
            source.mend()
        self.world.service.is_silent = False
        self.world.store.up()

    @rule(seconds=st.sampled_from([1, 6, 61, 601, 3_600, 90_000, 300_000]))
    def wait(self, seconds: int) -> None:
        self.world.clock.move(seconds)

    @precondition(lambda self: not self.world.store.fails("", ""))
    @rule(number=a_replica, forgets=st.booleans())
    def restart(self, number: int, forgets: bool) -> None:
        """``forgets``: what the service said was not kept either."""
        for project in NAMES:
            self.ask(number, project)
        if forgets:
            self.world.remembered.clear()
        self.replicas[number] = Replica(self.world)

    @rule(number=a_replica, project=a_name)
    def ask(self, number: int, project: str) -> None:
        replica = self.replicas[number]
        self.runner.run(self._hear_of_changes())
        self.world.claimed_before = (
            self.world.claimed
        )  # a claim that another replica records meanwhile comes too late for this one
        decision = self.runner.run(replica.index.decide(project))
        self.world.check(project, decision)
        if decision.page is not None:
            again = self.runner.run(replica.index.decide(project))
            assert again.page is decision.page, "the same answers make the same page"

    @rule(number=a_replica, project=a_name)
    def ask_when_all_is_well(self, number: int, project: str) -> None:
        self.mend_everything()
        self.wait(601)
        self.ask(number, project)
        self.wait(601)
        self.runner.run(self._hear_of_changes())
        self.world.claimed_before = self.world.claimed
        self.world.check_it_works(project, self.runner.run(self.replicas[number].index.decide(project)))

    @rule(number=a_replica, project=a_name)
    def squat(self, number: int, project: str) -> None:
        """The last file of its own goes, and a stranger has the name outside, so that the feed passes that through."""
        self.publish_to_the_feed(project, "1.0")
        self.ask_when_all_is_well(number, project)
        self.delete("feed", project)
        self.publish_outside(project, "99.0", aged=True)
        self.wait(601)
        self.ask(number, project)
        self.ask(1 - number, project)

    async def _hear_of_changes(self) -> None:
        for replica in self.replicas:
            with contextlib.suppress(StoreError):
                await replica.changes.look()

    def teardown(self) -> None:
        self.runner.close()


PassingThrough.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPassingThrough = PassingThrough.TestCase

"""Promises 1 and 9 in any configuration and history: hypothesis plays operator, publishers, network and clock.

Two replicas share a store. Each asks the same sources through caches of its own, and a witness stands before every source that
notes what it said to whom, and objects to every question that must not be asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import FileNotListed, FileWithheld, ProjectNotFound, ProjectWithheld, StoreError, UpstreamUnavailable
from wheelgate.core.model import STALE_IF_ERROR_S, File, ProjectPage
from wheelgate.core.patterns import NamePatterns, parse_release, parse_specifier
from wheelgate.core.protocols import Source
from wheelgate.index.decision import Member, MergeRule
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Rules, Waiver
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout
from wheelgate.storage.change_log import Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.web.files import FileHandlers
from wheelgate.web.page_cache import PageCache

PROJECTS = ["acme-a", "acme-b", "left-pad"]
PRIVATE = ["uploads", "team", "archive"]
PUBLIC = ["mirror", "pypi"]
PATTERNS = ["acme-*", "*-b", "left-*", "*"]
FRESH_S, ABSENT_S = 600.0, 60.0

a_source = st.sampled_from(PRIVATE + PUBLIC)
a_project = st.sampled_from(PROJECTS)
some_patterns = st.lists(st.sampled_from(PATTERNS), max_size=1)
some_merges = st.lists(
    st.tuples(
        st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=1),
        st.lists(a_source, min_size=2, unique=True),
        st.sampled_from([None, None, "<2", ">50"]),
    ),
    max_size=2,
)
some_rules = st.fixed_dictionaries(
    {
        "deny": st.lists(st.sampled_from(["acme-a", "acme-*", "acme-a<50", "left-pad==1.0", "*>=2"]), max_size=2),
        "allow": st.sampled_from([None, None, ["acme-*"], ["*<50"]]),
        "cooldown_h": st.sampled_from([0, 0, 1, 72]),
        "own_cooldown_h": st.sampled_from([None, None, 0, 24]),
        "exempt": st.sampled_from([[], ["left-*"]]),
        "waived": st.sampled_from([None, None, ("acme-a", "99.0"), ("left-pad", ">=1")]),
        "waived_h": st.sampled_from([1, 30]),
    }
)
"""Cool-downs: of public sources, and of the one called ``team``, in hours."""


class Witness:
    """Stands before a source for one replica."""

    def __init__(self, source: FakeSource, private: bool, replica: Replica) -> None:
        self.name = source.name
        self._source = source
        self._private = private
        self._replica = replica

    async def project_names(self) -> frozenset[str]:
        return await self._source.project_names()

    async def project_page(self, project: str) -> ProjectPage:
        if not self._private:
            self._replica.object_to(project, self.name)
        try:
            page = await self._source.project_page(project)
        except ProjectNotFound:
            self._replica.heard[self.name, project] = (self._replica.clock.now(), False)
            raise
        self._replica.heard[self.name, project] = (self._replica.clock.now(), True)
        if self._private and page.files:
            self._replica.told.add(project)
        return page


def specified(name: str, version: str) -> str:
    return f"{name}{version}" if version[0] in "<>=" else f"{name}=={version}"


class Replica:
    """One process, and what it can know."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.told: set[str] = set()
        """Names that a private source has listed to it."""
        self.heard: dict[tuple[str, str], tuple[datetime, bool]] = {}
        """When a source last answered about a project, and whether it had it."""
        changes = StoreChanges(world.store, world.clock)
        claims = Claims(world.store, world.clock, changes)
        self.changes = changes
        metrics = Metrics()
        self.book = RuleBook(world.rules())
        self.index = Merged(
            [
                Member(self._screened(source, metrics), source.name in PRIVATE, world.only[source.name])
                for source in world.sources.values()
            ],
            claims=claims,
            clock=world.clock,
            metrics=metrics,
            reserved=world.reserved,
            merges=world.merges,
        )
        pages = PageCache(self.index, clock=self.clock, prefix="", metrics=metrics)
        for kind in (Kind.PACKAGE, Kind.CLAIM):
            changes.subscribe(kind, self.index.invalidate)
        self.index.subscribe(pages.drop)
        services: Any = SimpleNamespace(clock=self.clock, delivery=None, metadata_files=None)
        self.files = FileHandlers(services, pages, shared=True)

    def _screened(self, source: FakeSource, metrics: Metrics) -> Source:
        cached = self._cached(source, metrics)
        return Screened(cached, private=source.name in PRIVATE, book=self.book, clock=self.clock, metrics=metrics)

    def _cached(self, source: FakeSource, metrics: Metrics) -> Source:
        witness = Witness(source, source.name in PRIVATE, self)
        strict = source.name in self.world.strict
        return Cached(witness, clock=self.clock, metrics=metrics, fresh_s=FRESH_S, negative_ttl_s=ABSENT_S, strict=strict)

    def may_be_asked(self, project: str, public: str) -> bool:
        """Whether a public source may hear the name, or be seen to list it."""
        if project in self.world.reserved:
            return False
        if project not in self.told and layout.claim(project) not in self.world.claimed_before:
            return True
        return public in next((rule.sources for rule in self.world.merges if project in rule.names), ())

    def object_to(self, project: str, public: str) -> None:
        assert self.may_be_asked(project, public), f"{public} was asked for {project}, which is private"


class World:
    """Configuration and surroundings."""

    def __init__(
        self,
        order: list[str],
        only: dict[str, list[str]],
        reserved: list[str],
        merges: list[tuple[list[str], list[str], str | None]],
        strict: list[str],
        said: dict[str, Any],
    ) -> None:
        self.clock = FakeClock()
        self.memory = MemoryStore()
        self.store = WatchedStore(self.memory)
        self.claimed_before: set[str] = set()
        """Paths in the store when somebody was last asked."""
        self.sources = {name: FakeSource(name, self.clock) for name in order}
        self.only = {name: NamePatterns(only[name]) if only.get(name) else None for name in order}
        self.strict = strict
        self.published: dict[str, set[str]] = {}
        self.rule(reserved, merges, said)

    def rule(self, reserved: list[str], merges: list[tuple[list[str], list[str], str | None]], said: dict[str, Any]) -> None:
        """What the operator wants from now on."""
        self.reserved = NamePatterns(reserved)
        self.merges = [
            MergeRule(NamePatterns(names), tuple(sources), parse_specifier(limit) if limit else None)
            for names, sources, limit in merges
        ]
        self.said = said
        self.waived_until = self.clock.now() + timedelta(hours=said["waived_h"])

    def rules(self) -> Rules:
        """The same as the product takes it."""
        said, waived, own = self.said, self.said["waived"], self.said["own_cooldown_h"]
        return Rules(
            deny=[parse_release(text) for text in said["deny"]],
            allow=None if said["allow"] is None else [parse_release(text) for text in said["allow"]],
            cooldown=timedelta(hours=said["cooldown_h"]),
            cooldowns={} if own is None else {"team": timedelta(hours=own)},
            exempt=said["exempt"],
            waivers=[Waiver(waived[0], waived[1], parse_specifier(waived[1]), "why", "ada", self.waived_until)] if waived else [],
        )

    def permits(self, file: File) -> bool:
        """Whether the rules let a file pass, as somebody else would read them."""
        said, now, version = self.said, self.clock.now(), file.filename.split("-")[1]

        def named(text: str) -> bool:
            read = parse_release(text)
            return file.project in NamePatterns([read.name or ""]) and (
                read.specifier is None or read.specifier.contains(version, prereleases=True)
            )

        if said["waived"] and now < self.waived_until and named(specified(*said["waived"])):
            return True
        if any(map(named, said["deny"])):
            return False
        if file.source in PUBLIC and said["allow"] is not None and not any(map(named, said["allow"])):
            return False
        hours = said["cooldown_h"] if file.source in PUBLIC else 0
        if file.source == "team" and said["own_cooldown_h"] is not None:
            hours = said["own_cooldown_h"]
        if not hours or file.project in NamePatterns(said["exempt"]):
            return True
        return file.upload_time is not None and file.upload_time + timedelta(hours=hours) <= now

    def may_hold(self, name: str, project: str) -> bool:
        only = self.only[name]
        return only is None or project in only

    def check(self, replica: Replica, project: str, page: ProjectPage, owner: str | None) -> None:
        """What holds for every page that was ever given."""
        merged = next((rule.sources for rule in self.merges if project in rule.names), ())
        by_source = {file.source for file in page.files}
        names = [file.filename for file in page.files]
        assert len(set(names)) == len(names)
        for public in by_source & set(PUBLIC):
            assert replica.may_be_asked(project, public), f"the page of {project} has a file of {public}"
        assert all(self.may_hold(name, project) for name in by_source)
        assert all(map(self.permits, page.files))
        assert page.freshness.valid_until is None or self.clock.now() < page.freshness.valid_until
        limit = next((rule.public_versions for rule in self.merges if project in rule.names), None)
        if limit is not None and owner in merged:
            assert all(limit.contains(f.filename.split("-")[1]) for f in page.files if f.source in PUBLIC)
        if len(by_source) > 1:
            assert by_source <= set(merged), "two sources share a project only where a rule says so"
        self._check_nobody_was_left_out(replica, project, owner)
        self._check_nothing_new_in_an_outage(replica, project, page, owner)

    def _check_nobody_was_left_out(self, replica: Replica, project: str, owner: str | None) -> None:
        trusted = [name for name in self.sources if name in PRIVATE and self.may_hold(name, project)]
        for name in trusted:
            if name == owner:
                break  # those after it do not matter
            heard = replica.heard.get((name, project))
            assert heard is not None, f"a page of {project} although {name} was never heard about it"
            assert (self.clock.now() - heard[0]).total_seconds() <= STALE_IF_ERROR_S

    def _check_nothing_new_in_an_outage(self, replica: Replica, project: str, page: ProjectPage, owner: str | None) -> None:
        for name, source in self.sources.items():
            if name == owner and name in PRIVATE:
                break
            if name not in PRIVATE or not self.may_hold(name, project) or source.error is None:
                continue
            heard, had_it = replica.heard.get((name, project), (self.clock.now(), False))
            if had_it or self.clock.now() - heard < timedelta(seconds=ABSENT_S):
                continue  # its page stands in for it, or its "not there" is fresh
            for file in page.files:
                if file.source in PUBLIC:
                    assert file.upload_time is not None
                    assert file.upload_time < heard, f"{file.filename} may be newer than what {name} last said"


class Precedence(RuleBasedStateMachine):
    """Any history."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()

    @initialize(
        order=st.permutations(PRIVATE + PUBLIC),
        only=st.dictionaries(a_source, some_patterns, max_size=2),
        reserved=st.one_of(st.just([]), some_patterns),
        merges=some_merges,
        strict=st.lists(a_source, max_size=1),
        said=some_rules,
    )
    def configure(
        self,
        order: list[str],
        only: dict[str, list[str]],
        reserved: list[str],
        merges: list[tuple[list[str], list[str], str | None]],
        strict: list[str],
        said: dict[str, Any],
    ) -> None:
        self.world = World(order, only, reserved, merges, strict, said)
        self.replicas = [Replica(self.world), Replica(self.world)]

    @rule(source=a_source, project=a_project, version=st.sampled_from(["1.0", "2.0", "99.0"]), aged=st.booleans())
    def publish(self, source: str, project: str, version: str, aged: bool) -> None:
        uploaded = self.world.clock.now() - timedelta(days=400 if aged else 0)
        file = self.world.sources[source].publish(project, version, upload_time=uploaded, content=source)
        self.world.published.setdefault(project, set()).add(file.filename)

    @rule(reserved=some_patterns, merges=some_merges, said=some_rules)
    def change_the_rules(
        self, reserved: list[str], merges: list[tuple[list[str], list[str], str | None]], said: dict[str, Any]
    ) -> None:
        """As SIGHUP does, in every replica."""
        self.world.rule(reserved, merges, said)
        for replica in self.replicas:
            replica.index.replace_rules(self.world.reserved, self.world.merges)
            replica.book.rules = self.world.rules()

    @rule(source=a_source, project=a_project)
    def publish_of_unknown_age(self, source: str, project: str) -> None:
        self.world.sources[source].publish(project, "3.0", upload_time=None)

    @rule(source=a_source, project=a_project)
    def list_empty(self, source: str, project: str) -> None:
        self.world.sources[source].list_empty(project)

    @rule(source=a_source, project=a_project)
    def remove(self, source: str, project: str) -> None:
        self.world.sources[source].remove(project)

    @rule(source=a_source)
    def fall_silent(self, source: str) -> None:
        self.world.sources[source].fail(UpstreamUnavailable(f"source {source} is down"))

    @rule(source=a_source)
    def return_to_life(self, source: str) -> None:
        self.world.sources[source].mend()

    @rule()
    def lose_the_store(self) -> None:
        self.world.store.down()

    @rule()
    def find_the_store(self) -> None:
        self.world.store.up()

    @rule(seconds=st.sampled_from([1, 6, 61, 601, 3_600, 90_000]))
    def wait(self, seconds: int) -> None:
        self.world.clock.move(seconds)

    @precondition(lambda self: not self.world.store.fails("", ""))
    @rule(number=st.sampled_from([0, 1]))
    def restart(self, number: int) -> None:
        """With the store at hand, so that nothing is remembered by one process alone."""
        for project in self.replicas[number].told:
            self.ask(number, project)
        if all(layout.claim(project) in self.world.memory.blobs for project in self.replicas[number].told):
            self.replicas[number] = Replica(self.world)

    @rule(number=st.sampled_from([0, 1]), project=a_project)
    def ask(self, number: int, project: str) -> None:
        replica = self.replicas[number]
        self.runner.run(self._hear_of_changes())
        self.world.claimed_before = set(self.world.memory.blobs)  # another replica's claim may come too late for this question
        decision = self.runner.run(replica.index.decide(project))
        if decision.page is not None:
            self.world.check(replica, project, decision.page, decision.owner)
            again = self.runner.run(replica.index.decide(project))
            assert again.page is decision.page, "the same answers make the same page"
            self.check_files(replica, project, decision.page, decision.error)

    def check_files(self, replica: Replica, project: str, page: ProjectPage, error: Exception | None) -> None:
        """Promise 9: file, ``.metadata`` and page go by one decision."""
        listed = {file.filename: file for file in page.files}
        withheld = {entry.filename for entry in page.withheld}
        assert (error is None) is not (not listed and bool(withheld)), "wholly withheld, and nothing else, is an error"
        assert error is None or isinstance(error, ProjectWithheld)
        for filename in self.world.published.get(project, set()) | listed.keys() | withheld:
            outcome: File | Exception
            try:
                outcome = self.runner.run(replica.files._find_listed(project, filename))
            except (FileWithheld, FileNotListed) as refused:
                outcome = refused
            if filename in listed:
                assert outcome == listed[filename]
            else:
                assert type(outcome) is (FileWithheld if filename in withheld else FileNotListed)

    # Three stories that chance alone tells too seldom.

    @rule(source=st.sampled_from(PRIVATE), public=st.sampled_from(PUBLIC), project=a_project, number=st.sampled_from([0, 1]))
    def clean_up(self, source: str, public: str, project: str, number: int) -> None:
        """The last private file goes, and a stranger has the name in public."""
        self.publish(source, project, "1.0", aged=True)
        self.ask(number, project)
        self.remove(source, project)
        self.publish(public, project, "99.0", aged=False)
        self.wait(601)
        self.ask(number, project)
        self.ask(1 - number, project)

    @rule(source=st.sampled_from(PRIVATE), public=st.sampled_from(PUBLIC), project=a_project, number=st.sampled_from([0, 1]))
    def outage(self, source: str, public: str, project: str, number: int) -> None:
        """A stranger uploads while a private source is silent."""
        self.publish(public, project, "1.0", aged=True)
        self.wait(601)
        self.ask(number, project)
        self.wait(1)
        self.fall_silent(source)
        self.publish(public, project, "99.0", aged=False)
        self.publish_of_unknown_age(public, project)
        for seconds in (61, 601, 6):
            self.wait(seconds)
            self.ask(number, project)
        self.return_to_life(source)

    @rule(
        public=st.sampled_from(PUBLIC),
        project=a_project,
        number=st.sampled_from([0, 1]),
        seconds=st.sampled_from([3_600, 90_000]),
    )
    def ripen(self, public: str, project: str, number: int, seconds: int) -> None:
        """A release is asked for when it is new, and again when a cool-down or a waiver has ended."""
        self.publish(public, project, "2.0", aged=False)
        self.ask(number, project)
        self.wait(seconds)
        self.ask(number, project)

    async def _hear_of_changes(self) -> None:
        for replica in self.replicas:
            with contextlib.suppress(StoreError):
                await replica.changes.look()

    def teardown(self) -> None:
        self.runner.close()


Precedence.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPrecedence = Precedence.TestCase


WORDS = ["has it", "not there", "silent", "failed"]


@settings(max_examples=400, deadline=None)
@given(
    said=st.lists(st.tuples(st.sampled_from(PRIVATE + PUBLIC), st.sampled_from(WORDS)), unique_by=lambda pair: pair[0]),
    reserved=st.booleans(),
    claimed=st.booleans(),
)
def test_a_decision_follows_from_what_was_said(said: list[tuple[str, str]], reserved: bool, claimed: bool) -> None:
    """The rules of precedence once more, as a table written by somebody else would be."""
    clock = FakeClock()
    sources = []
    for name, word in said:
        source = FakeSource(name, clock)
        if word == "has it":
            source.publish("acme-lib", "1.0", upload_time=clock.now() - timedelta(days=9))
            source._answer("acme-lib")  # known since now
        elif word == "silent":
            source.remember_absence("acme-lib", last_heard=clock.now(), outage_since=clock.now() + timedelta(hours=1))
        elif word == "failed":
            source.fail()
        sources.append(source)
    store = WatchedStore()
    claims = Claims(store, clock, StoreChanges(store, clock))

    async def decided() -> object:
        if claimed:
            await claims.claim("acme-lib", "somebody")
        index = Merged(
            [Member(source, source.name in PRIVATE) for source in sources],
            claims=claims,
            clock=clock,
            metrics=Metrics(),
            reserved=NamePatterns(["acme-*"] if reserved else []),
        )
        decision = await index.decide("acme-lib")
        if decision.page is None:
            return "not there" if isinstance(decision.error, ProjectNotFound) else "failure"
        return decision.page.files[0].source if decision.page.files else "empty page"

    outcome = asyncio.run(decided())
    private = [(name, word) for name, word in said if name in PRIVATE]
    public = [(name, word) for name, word in said if name in PUBLIC]
    assert outcome == _expected(private, public, reserved=reserved, claimed=claimed)
    public_asked = any(source.asked for source in sources if source.name in PUBLIC)
    all_private_absent = all(word in ("not there", "silent") for _, word in private)
    assert public_asked == bool(public and all_private_absent and not reserved and not claimed)


def _expected(private: list[tuple[str, str]], public: list[tuple[str, str]], *, reserved: bool, claimed: bool) -> str:
    owner = _first(private)
    if owner is not None:
        return owner
    silent = any(word == "silent" for _, word in private)
    if reserved or claimed:
        return "failure" if silent else "not there" if reserved else "empty page"
    owner = _first(public)
    if owner is not None:
        return owner
    return "failure" if silent or any(word == "silent" for _, word in public) else "not there"


def _first(said: list[tuple[str, str]]) -> str | None:
    for name, word in said:
        if word == "failed":
            return "failure"
        if word == "has it":
            return name
    return None

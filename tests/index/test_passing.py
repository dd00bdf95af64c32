"""A private source that passes public packages through: what of it is private, what is public, and what nobody can tell."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from packaging.specifiers import SpecifierSet

from tests.support.clock import FakeClock
from tests.support.judges import FakeJudge, FakeService
from tests.support.packages import wheel_name
from tests.support.sources import FakeSource, counted, filenames
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import ProjectNotFound, ProjectWithheld, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import Ownership
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import OwnershipJudge
from wheelgate.index.decision import Decision, Member, MergeRule, Outcome
from wheelgate.index.explain import explain_decision, format_explanation
from wheelgate.index.merged import Merged
from wheelgate.index.ownership import GuardedSource, StatedJudge
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.public_names import PublicNames
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

OWN, PUBLIC = "acme-lib", "left-pad"
OLD = timedelta(days=9)


class World:
    """A store's uploads, a feed that passes a public index through, and, unless told otherwise, that index."""

    def __init__(self, *, public: bool = True, reserved: tuple[str, ...] = (), merge: tuple[str, ...] | None = None) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.memory = MemoryStore()
        self.store = WatchedStore(self.memory)
        self.claims = Claims(self.store, self.clock, StoreChanges(self.store, self.clock), metrics=self.metrics)
        self.uploads, self.feed, self.pypi = (FakeSource(name, self.clock) for name in ("uploads", "feed", "pypi"))
        self.book = RuleBook(Rules(cooldown=timedelta(days=3)), NamePatterns(reserved))
        self.has_public = public
        self.merges = [MergeRule(NamePatterns(["*"]), merge)] if merge else []
        self.service = FakeService("feed")

    def index(self, judge: OwnershipJudge | None = None, *, guarded: bool = False) -> Merged:
        """An index of these; ``judge``: of the feed."""

        def screened(source: Any, private: bool) -> Screened:
            return Screened(source, private=private, book=self.book, clock=self.clock, metrics=self.metrics)

        feed: Any = self.feed
        if guarded:
            names = PublicNames(self.feed, remedy="say upstream", clock=self.clock, metrics=self.metrics)
            feed = GuardedSource(self.feed, names=names, book=self.book, claims=self.claims)
        view = Member(screened(feed, False), False) if judge else None
        members = [Member(screened(feed, True), True, None, judge, view), Member(screened(self.uploads, True), True)]
        if self.has_public:
            members.append(Member(screened(self.pypi, False), False))
        return Merged(
            members,
            claims=self.claims,
            clock=self.clock,
            metrics=self.metrics,
            reserved=self.book.reserved,
            merges=self.merges,
        )

    def told(self) -> Merged:
        """An index whose feed has a service that tells."""
        return self.index(FakeJudge(self.service, self.clock))

    def stated(self, *only: str) -> Merged:
        """An index whose feed says ``upstream = "public"``."""
        own = NamePatterns(only) if only else None
        return self.index(StatedJudge("feed", only=own, book=self.book, claims=self.claims))

    def list_publicly(self, project: str = PUBLIC, version: str = "1.0", age: timedelta = OLD) -> None:
        """As the public index has it, and so the feed."""
        for source in (self.feed, self.pypi):
            source.publish(project, version, upload_time=self.clock.now() - age)

    def publish_own(self, project: str = OWN, version: str = "1.0") -> None:
        self.feed.publish(project, version)
        self.service.own.setdefault(project, set()).add(version.removesuffix(".0"))

    def claimed(self) -> set[str]:
        return {path.removeprefix("claims/") for path in self.memory.blobs if path.startswith("claims/")}


def sources_of(decision: Decision) -> set[str]:
    assert decision.page is not None, decision.error
    return {file.source for file in decision.page.files}


async def test_its_own_project_is_private_and_claimed_and_asked_of_nobody_public() -> None:
    world = World()
    world.publish_own()
    world.pypi.publish(OWN, "99.0")
    index = world.told()
    decision = await index.decide(OWN)
    assert sources_of(decision) == {"feed"}
    assert world.claimed() == {OWN}
    assert world.pypi.asked == []
    assert decision.answers[0].judgement is not None
    assert decision.answers[0].judgement.ownership is Ownership.OWN


async def test_a_public_project_is_the_public_sources_and_is_not_asked_of_the_feed() -> None:
    world = World()
    world.list_publicly()
    decision = await world.told().decide(PUBLIC)
    assert sources_of(decision) == {"pypi"}
    assert decision.owner == "pypi"
    assert world.claimed() == set()
    assert world.feed.asked == []


@pytest.mark.parametrize("public", [True, False])
async def test_where_no_public_source_has_it_the_feed_answers_as_one(public: bool) -> None:
    world = World(public=public)
    world.feed.publish(PUBLIC, "1.0", upload_time=world.clock.now() - OLD)
    world.feed.publish(PUBLIC, "2.0", upload_time=world.clock.now())
    decision = await world.told().decide(PUBLIC)
    assert decision.page is not None
    assert filenames(decision.page) == [wheel_name(PUBLIC, "1.0")]
    assert [entry.rule for entry in decision.page.withheld] == ["cooldown"]
    assert decision.owner == "feed"
    assert world.claimed() == set()
    assert world.feed.asked == [PUBLIC]


async def test_a_public_source_that_fails_is_not_replaced_by_the_feed() -> None:
    """What it withholds, and what it says of a name, would be passed by."""
    world = World()
    world.list_publicly()
    world.pypi.fail()
    decision = await world.told().decide(PUBLIC)
    assert isinstance(decision.error, UpstreamUnavailable)
    assert world.feed.asked == []


async def test_what_nobody_can_tell_is_neither_asked_in_public_nor_claimed() -> None:
    world = World()
    world.list_publicly()
    world.service.is_silent = True
    decision = await world.told().decide(PUBLIC)
    assert isinstance(decision.error, UpstreamUnavailable)
    assert str(decision.error) == f"source feed cannot be asked whose {PUBLIC} is: say upstream"
    assert world.pypi.asked == []
    assert world.claimed() == set()


async def test_an_earlier_source_owns_the_name_whatever_nobody_can_tell_of_the_feed() -> None:
    world = World()
    world.service.is_silent = True
    world.uploads.publish(OWN, "1.0")
    decision = await world.told().decide(OWN)
    assert isinstance(decision.error, UpstreamUnavailable), "the feed comes first"
    index = world.told()
    index._order = (index._order[1], index._order[0], index._order[2])
    assert sources_of(await index.decide(OWN)) == {"uploads"}


async def test_of_a_mixed_project_only_its_own_versions_are_served() -> None:
    world = World()
    world.publish_own()
    world.service.mixed.add(OWN)
    world.list_publicly(OWN, "99.0")
    decision = await world.told().decide(OWN)
    assert decision.page is not None
    assert filenames(decision.page) == [wheel_name(OWN, "1.0")]
    assert decision.page.versions == ("1.0",)
    ((entry),) = decision.page.withheld
    assert (entry.rule, entry.filename) == ("foreign", wheel_name(OWN, "99.0"))
    assert "policy.merge" in entry.reason
    assert world.claimed() == {OWN}
    assert world.pypi.asked == []


async def test_a_merge_rule_joins_its_own_versions_with_the_public_ones_and_these_go_by_the_rules() -> None:
    world = World(merge=("feed", "pypi"))
    world.publish_own()
    world.service.mixed.add(OWN)
    world.list_publicly(OWN, "2.0")
    world.list_publicly(OWN, "3.0", age=timedelta(0))
    decision = await world.told().decide(OWN)
    assert decision.page is not None
    by_source = {file.filename: file.source for file in decision.page.files}
    assert by_source[wheel_name(OWN, "1.0")] == "feed"
    assert wheel_name(OWN, "3.0") not in by_source


async def test_a_merge_rule_joins_what_the_feed_passes_through() -> None:
    world = World(public=False, merge=("uploads", "feed"))
    world.uploads.publish(PUBLIC, "1.0+acme")
    world.feed.publish(PUBLIC, "1.0", upload_time=world.clock.now() - OLD)
    world.feed.publish(PUBLIC, "2.0", upload_time=world.clock.now())
    decision = await world.told().decide(PUBLIC)
    assert decision.page is not None
    assert set(filenames(decision.page)) == {wheel_name(PUBLIC, "1.0+acme"), wheel_name(PUBLIC, "1.0")}
    assert world.claimed() == {PUBLIC}


async def test_a_merge_rule_limits_the_versions_of_what_the_feed_passes_through() -> None:
    world = World(public=False, merge=("uploads", "feed"))
    world.merges = [msgspec.structs.replace(world.merges[0], public_versions=SpecifierSet("<2"))]
    world.uploads.publish(PUBLIC, "3.0+acme")
    for version in ("1.0", "2.0"):
        world.feed.publish(PUBLIC, version, upload_time=world.clock.now() - OLD)
    decision = await world.told().decide(PUBLIC)
    assert decision.page is not None
    assert set(filenames(decision.page)) == {wheel_name(PUBLIC, "3.0+acme"), wheel_name(PUBLIC, "1.0")}


async def test_a_public_name_that_uploads_took_over_is_not_asked_of_the_feed() -> None:
    world = World()
    world.list_publicly()
    await world.claims.claim(PUBLIC, "uploads")
    for index in (world.told(), world.stated()):
        decision = await index.decide(PUBLIC)
        assert decision.page is not None
        assert not decision.page.files
    assert world.feed.asked == world.pypi.asked == []


async def test_a_name_that_the_feed_claimed_and_passes_through_is_refused_with_the_remedy() -> None:
    """Its own files may have been deleted, and a stranger may have taken the name."""
    world = World()
    world.list_publicly()
    await world.claims.claim(PUBLIC, "feed")
    decision = await world.told().decide(PUBLIC)
    assert isinstance(decision.error, ProjectWithheld)
    assert "wheelgate release --foreign" in str(decision.error)
    assert world.feed.asked == world.pypi.asked == []


async def test_a_reserved_name_is_not_asked_of_the_feed_as_a_public_source() -> None:
    world = World(reserved=("left-*",))
    world.list_publicly()
    decision = await world.told().decide(PUBLIC)
    assert isinstance(decision.error, ProjectNotFound)
    assert world.feed.asked == world.pypi.asked == []


async def test_a_service_that_falls_silent_stands_by_what_it_said_and_nothing_newer_is_served() -> None:
    world = World()
    world.publish_own()
    world.list_publicly()
    judge = FakeJudge(world.service, world.clock)
    index = world.index(judge)
    for project in (OWN, PUBLIC):
        assert (await index.decide(project)).error is None
    world.clock.move(120)
    world.service.is_silent = True
    assert sources_of(await index.decide(OWN)) == {"feed"}
    world.pypi.publish(PUBLIC, "0.9", upload_time=world.clock.now() - OLD)
    world.pypi._pages.clear()
    world.pypi.publish("left-new", "1.0", upload_time=world.clock.now() - OLD)
    assert isinstance((await index.decide("left-new")).error, UpstreamUnavailable)
    decision = await index.decide(PUBLIC)
    assert decision.answers[0].outcome is Outcome.ABSENT_BEFORE_OUTAGE
    assert isinstance(decision.error, UpstreamUnavailable), "this page was not known before the outage"


async def test_what_was_published_while_the_feed_is_down_is_no_public_name() -> None:
    """The service tells of it; the feed itself can only repeat what it said before."""
    world = World()
    world.list_publicly()
    world.publish_own()
    world.pypi.publish(OWN, "99.0", upload_time=world.clock.now() - OLD)
    now = world.clock.now()
    world.feed.remember_absence(OWN, last_heard=now - timedelta(minutes=9), outage_since=now - timedelta(minutes=8))
    decision = await world.told().decide(OWN)
    assert isinstance(decision.error, UpstreamUnavailable)
    assert "which it has" in str(decision.error)
    assert world.pypi.asked == []


async def test_a_feed_that_is_down_takes_no_public_name_with_it() -> None:
    world = World()
    world.publish_own()
    world.list_publicly()
    world.feed.fail()
    index = world.told()
    assert sources_of(await index.decide(PUBLIC)) == {"pypi"}
    assert isinstance((await index.decide(OWN)).error, UpstreamUnavailable)
    assert world.pypi.asked == [PUBLIC]


async def test_an_outage_of_another_private_source_puts_in_doubt_what_the_feed_passes_through() -> None:
    """The feed comes before that source as a private one, and after it as a public one."""
    world = World(public=False)
    world.feed.publish(PUBLIC, "1.0", upload_time=world.clock.now() - OLD)
    index = world.told()
    assert sources_of(await index.decide(PUBLIC)) == {"feed"}
    now = world.clock.now()
    world.uploads.remember_absence(PUBLIC, last_heard=now - timedelta(days=30), outage_since=now + timedelta(hours=1))
    assert isinstance((await index.decide(PUBLIC)).error, UpstreamUnavailable)


class TestTheOperatorsWord:
    async def test_what_only_covers_is_its_own_and_the_rest_is_public(self) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        world.pypi.publish(OWN, "99.0")
        world.list_publicly()
        index = world.stated("acme-*")
        assert sources_of(await index.decide(OWN)) == {"feed"}
        assert sources_of(await index.decide(PUBLIC)) == {"pypi"}
        assert world.claimed() == {OWN}
        assert world.pypi.asked == [PUBLIC]
        assert world.feed.asked == [OWN]

    async def test_what_is_reserved_or_was_claimed_by_it_is_its_own(self) -> None:
        world = World(reserved=("acme-*",))
        world.feed.publish(OWN, "1.0")
        world.feed.publish("tool", "1.0")
        await world.claims.claim("tool", "feed")
        index = world.stated()
        assert sources_of(await index.decide(OWN)) == {"feed"}
        assert sources_of(await index.decide("tool")) == {"feed"}
        assert world.pypi.asked == []

    async def test_a_claim_that_ends_makes_the_name_public(self) -> None:
        world = World()
        world.list_publicly()
        await world.claims.claim(PUBLIC, "feed")
        index = world.stated()
        assert sources_of(await index.decide(PUBLIC)) == {"feed"}
        assert await world.claims.release(PUBLIC, "a mistake")
        assert sources_of(await index.decide(PUBLIC)) == {"pypi"}

    async def test_without_the_store_it_is_not_guessed(self) -> None:
        world = World()
        world.list_publicly()
        await world.claims.claim(PUBLIC, "uploads")
        world.claims = Claims(world.store, world.clock, StoreChanges(world.store, world.clock))  # another process
        index = world.stated()
        world.store.down()
        decision = await index.decide(PUBLIC)
        assert isinstance(decision.error, UpstreamUnavailable)
        assert world.feed.asked == world.pypi.asked == []


WELL_KNOWN = ("certifi", "idna", "six", "urllib3")


async def test_a_name_that_another_source_claimed_does_not_come_through_it() -> None:
    world = World()
    for name in (*WELL_KNOWN, OWN):
        world.list_publicly(name)
    index = world.index(guarded=True)
    assert (await index.decide("six")).error is not None
    world.uploads.publish(OWN, "1.0")
    await world.claims.claim(OWN, "uploads")
    assert isinstance((await index.decide(OWN)).error, UpstreamUnavailable)


async def test_a_page_of_before_an_outage_claims_nothing() -> None:
    """One of which nobody said anything passed the name through then; now it refuses everything, as it might what it lacks."""
    world = World()
    world.list_publicly()
    await world.claims.claim(OWN, "feed")
    world.feed.publish(OWN, "1.0")
    for name in (PUBLIC, OWN):
        world.feed._pages[name] = msgspec.structs.replace(await world.feed.project_page(name), stale=True)
    for name in WELL_KNOWN:
        world.feed.errors[name] = UpstreamBadAnswer("403", source="feed")
    index = world.index(guarded=True)
    assert isinstance((await index.decide(PUBLIC)).error, UpstreamUnavailable)
    assert world.claimed() == {OWN}
    assert world.pypi.asked == []
    assert sources_of(await index.decide(OWN)) == {"feed"}, "what was claimed before stays"


class TestASourceOfWhichNobodySaidAnything:
    async def test_a_plain_private_source_is_asked_for_three_names_and_claims_its_own(self) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        index = world.index(guarded=True)
        assert sources_of(await index.decide(OWN)) == {"feed"}
        assert world.claimed() == {OWN}
        assert sorted(set(world.feed.asked)) == ["acme-lib", "certifi", "idna", "six"]
        asked = len(world.feed.asked)
        assert sources_of(await index.decide(OWN)) == {"feed"}
        assert len(world.feed.asked) == asked + 1, "what is claimed raises no questions"

    async def test_one_that_lists_public_names_claims_nothing_more(self, caplog: pytest.LogCaptureFixture) -> None:
        world = World()
        await world.claims.claim(OWN, "feed")
        world.feed.publish(OWN, "1.0")
        world.feed.publish("acme-new", "1.0")
        for name in (*WELL_KNOWN, PUBLIC):
            world.list_publicly(name)
        index = world.index(guarded=True)
        for name in ("acme-new", PUBLIC, "certifi"):
            decision = await index.decide(name)
            assert isinstance(decision.error, UpstreamUnavailable)
            assert f"nobody can tell whose {name} is: say upstream" in str(decision.error)
        assert sources_of(await index.decide(OWN)) == {"feed"}, "what was claimed before stays"
        assert world.claimed() == {OWN}
        assert world.pypi.asked == []
        assert [record.levelno for record in caplog.records if "lists public packages" in record.message] == [logging.ERROR]
        assert world.metrics._registry.get_sample_value("wheelgate_passes_public_through", {"source": "feed"}) == 1

    async def test_one_that_begins_to_list_public_names_claims_none_of_them_from_then_on(self) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        index = world.index(guarded=True)
        assert sources_of(await index.decide(OWN)) == {"feed"}
        world.clock.move(1)  # what was heard of its names is a second old
        for name in (*WELL_KNOWN, PUBLIC):
            world.list_publicly(name)
        assert isinstance((await index.decide(PUBLIC)).error, UpstreamUnavailable)
        assert world.claimed() == {OWN}

    async def test_two_names_may_have_been_put_there_by_hand(self) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        for name in ("six", "idna"):
            world.feed.publish(name, "1.0")
        assert sources_of(await world.index(guarded=True).decide(OWN)) == {"feed"}

    async def test_one_that_cannot_be_asked_claims_nothing_meanwhile(self) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        for name in WELL_KNOWN:
            world.feed.errors[name] = UpstreamUnavailable("down", source="feed")
        index = world.index(guarded=True)
        assert isinstance((await index.decide(OWN)).error, UpstreamUnavailable)
        assert world.claimed() == set()
        world.feed.mend()
        world.clock.move(6)
        assert sources_of(await index.decide(OWN)) == {"feed"}

    async def test_one_that_refuses_those_names_does_not_list_them(self) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        for name in WELL_KNOWN:
            world.feed.errors[name] = UpstreamBadAnswer("403", source="feed")
        assert sources_of(await world.index(guarded=True).decide(OWN)) == {"feed"}

    async def test_it_heals_once_the_source_stops(self, caplog: pytest.LogCaptureFixture) -> None:
        world = World()
        world.feed.publish(OWN, "1.0")
        for name in WELL_KNOWN:
            world.feed.publish(name, "1.0")
        index = world.index(guarded=True)
        assert (await index.decide(OWN)).error is not None
        for name in WELL_KNOWN:
            world.feed.remove(name)
        world.clock.move(61)
        caplog.set_level(logging.INFO)
        assert sources_of(await index.decide(OWN)) == {"feed"}
        assert "source feed lists no public packages any more" in caplog.messages
        assert world.metrics._registry.get_sample_value("wheelgate_passes_public_through", {"source": "feed"}) == 0

    async def test_one_that_begins_to_is_found_out_by_its_next_claimed_name(self) -> None:
        world = World()
        world.feed.publish("six", "1.0")
        index = world.index(guarded=True)
        assert sources_of(await index.decide("six")) == {"feed"}
        for name in WELL_KNOWN:
            world.list_publicly(name)
        world.clock.move(61)
        assert sources_of(await index.decide("six")) == {"feed"}
        await asyncio.sleep(0.05)
        assert world.metrics._registry.get_sample_value("wheelgate_passes_public_through", {"source": "feed"}) == 1


async def test_the_first_claim_of_a_name_is_logged_and_counted_and_many_are_said_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    for number in range(25):
        await world.claims.claim(f"acme-{number}", "feed")
    await world.claims.claim("acme-0", "feed")
    lines = [message for message in caplog.messages if "is claimed as source feed's" in message]
    assert len(lines) == 20
    assert counted(world.metrics, "claims", source="feed") == 25
    world.clock.move(61)
    await world.claims.claim("acme-last", "feed")
    assert "5 more names were claimed before it" in caplog.messages[-1]


async def test_explain_says_which_world_a_project_is_in_and_why() -> None:
    world = World()
    world.publish_own()
    world.list_publicly()
    index = world.told()

    async def told(project: str) -> str:
        return format_explanation(await in_slices(explain_decision(await index.decide(project), None)))

    own, public = await told(OWN), await told(PUBLIC)
    assert f"its own: versions of {OWN} were published to source feed" in own
    assert f"feed (private): nothing of its own, nothing of {PUBLIC} was published to source feed" in public
    assert "pypi (public): has it" in public

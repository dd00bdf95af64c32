"""Who may answer for a name: every rule by itself. What holds in any history is in test_merged_properties.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.sources.source_contract import SourceContract
from tests.support.bounds import AT_ONCE_S
from tests.support.clock import FakeClock
from tests.support.packages import sha256, wheel_name
from tests.support.sources import FakeSource, counted, filenames
from tests.support.stores import WatchedStore
from wheelgate.core.errors import (
    Busy,
    CredentialRefused,
    ProjectNotFound,
    ProjectWithheld,
    StillListing,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.file_list import RECENT_BYTES, page_bytes
from wheelgate.core.model import Freshness, ProjectPage, Withheld
from wheelgate.core.patterns import NamePatterns, parse_release, parse_specifier
from wheelgate.core.protocols import Source
from wheelgate.index.decision import Decision, Member, MergeRule, Outcome
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

NAME = "acme-lib"
T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class World:
    """Two private sources, two public ones, and the index they make: ``uploads``, ``team``; ``mirror``, ``pypi``."""

    gives_digests = True
    lists_names = True

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.store = WatchedStore()
        self.uploads, self.team = FakeSource("uploads", clock), FakeSource("team", clock)
        self.mirror, self.pypi = FakeSource("mirror", clock), FakeSource("pypi", clock)
        self.sources = [self.uploads, self.team, self.mirror, self.pypi]
        self.screened: dict[str, Source] = {}
        self.source = self.index()

    def index(
        self,
        *,
        order: Sequence[str] = ("uploads", "team", "mirror", "pypi"),
        only: dict[str, list[str]] | None = None,
        reserved: Sequence[str] = (),
        merges: Sequence[tuple[str, tuple[str, ...]]] = (),
        public_versions: str | None = None,
        max_bytes: int = RECENT_BYTES,
        listing_wait_s: float = 8.0,
    ) -> Merged:
        """An index over the sources as configured; claims are shared with every other one made here."""
        by_name: dict[str, Source] = {source.name: source for source in self.sources} | self.screened
        limit = None if public_versions is None else parse_specifier(public_versions)
        self.changes = StoreChanges(self.store, self.clock)
        self.claims = Claims(self.store, self.clock, self.changes)
        self.source = Merged(
            [
                Member(
                    by_name[name],
                    name in ("uploads", "team"),
                    NamePatterns(only[name]) if only and name in only else None,
                )
                for name in order
            ],
            claims=self.claims,
            clock=self.clock,
            metrics=self.metrics,
            reserved=NamePatterns(reserved),
            merges=[MergeRule(NamePatterns([pattern]), sources, limit) for pattern, sources in merges],
            listing_wait_s=listing_wait_s,
            max_bytes=max_bytes,
        )
        return self.source

    async def page(self, project: str = NAME) -> ProjectPage:
        return await self.source.project_page(project)

    async def decide(self, project: str = NAME) -> Decision:
        return await self.source.decide(project)

    @property
    def public_asked(self) -> list[str]:
        return [*self.mirror.asked, *self.pypi.asked]

    def outcomes(self, decision: Decision) -> dict[str, Outcome]:
        return {answer.source: answer.outcome for answer in decision.answers}

    # the contract's levers, by way of the public index: a private name is claimed and never disappears

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        self.pypi.publish(project, "", filename=filename, hashes={"sha256": sha256(body)})

    async def remove(self, project: str) -> None:
        self.pypi.remove(project)

    async def fail(self) -> None:
        self.team.fail()

    async def mend(self) -> None:
        self.team.mend()


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock)


class TestMerged(SourceContract):
    # The names of all sources are no value of their own: see the test of its list of projects.
    test_names_are_those_of_projects_it_has = None  # type: ignore[assignment]


async def fails(world: World, error: type[Exception] = UpstreamUnavailable, project: str = NAME) -> None:
    with pytest.raises(error):
        await world.page(project)


# --- order


async def test_the_first_private_source_that_has_it_owns_it(world: World) -> None:
    world.uploads.publish(NAME, "1.0")
    world.team.publish(NAME, "2.0")
    world.pypi.publish(NAME, "99.0")
    page = await world.page()
    assert page.files[0].source == "uploads"
    assert filenames(page) == [wheel_name(NAME, "1.0")]
    assert world.public_asked == []


async def test_the_operators_order_decides_among_private_sources(world: World) -> None:
    world.uploads.publish(NAME, "1.0")
    world.team.publish(NAME, "2.0")
    world.index(order=("team", "uploads", "pypi"))
    assert (await world.page()).files[0].source == "team"


async def test_a_private_source_listed_after_a_public_one_still_comes_first(world: World) -> None:
    world.team.publish(NAME, "1.0")
    world.pypi.publish(NAME, "99.0")
    world.index(order=("pypi", "mirror", "team"))
    assert (await world.page()).files[0].source == "team"
    assert world.public_asked == []


async def test_among_public_sources_the_first_that_has_it_answers_alone(world: World) -> None:
    world.pypi.publish(NAME, "2.0")
    assert (await world.page()).files[0].source == "pypi"
    world.mirror.publish(NAME, "1.0")
    page = await world.page()
    assert filenames(page) == [wheel_name(NAME, "1.0")]


async def test_an_empty_private_page_is_one(world: World) -> None:
    world.team.list_empty(NAME)
    world.pypi.publish(NAME, "99.0")
    decision = await world.decide()
    assert (decision.owner, decision.require_page().files, decision.claimed) == ("team", (), False)
    assert world.public_asked == []
    assert not await world.claims.holds(NAME), "claimed is a name with a file"


async def test_every_private_source_must_say_not_there_before_a_public_one_is_asked(world: World) -> None:
    world.pypi.publish(NAME, "1.0")
    asked_before_answer: list[int] = []
    world.pypi.before_answer = lambda project: asked_before_answer.append(len(world.uploads.asked) + len(world.team.asked))
    assert (await world.page()).files[0].source == "pypi"
    assert asked_before_answer == [2]


async def test_nobody_has_it(world: World) -> None:
    decision = await world.decide()
    with pytest.raises(ProjectNotFound, match="no source has a project acme-lib"):
        decision.require_page()
    assert world.outcomes(decision) == dict.fromkeys(("uploads", "team", "mirror", "pypi"), Outcome.ABSENT)
    assert decision.owner is None


# --- only


async def test_only_keeps_a_source_from_being_asked(world: World) -> None:
    world.index(only={"team": ["acme-*"], "pypi": ["requests"]})
    world.team.publish("requests", "0.1")
    world.pypi.publish("requests", "2.0")
    world.pypi.publish(NAME, "99.0")
    assert (await world.page("requests")).files[0].source == "pypi"
    assert world.team.asked == []
    decision = await world.decide()
    assert isinstance(decision.error, ProjectNotFound)
    assert world.outcomes(decision) == {
        "uploads": Outcome.ABSENT,
        "team": Outcome.ABSENT,
        "mirror": Outcome.ABSENT,
        "pypi": Outcome.NOT_ASKED,
    }
    assert world.team.asked == [NAME]


async def test_a_private_source_that_may_not_hold_the_name_need_not_be_heard(world: World) -> None:
    world.index(only={"team": ["acme-*"]})
    world.team.fail()
    world.pypi.publish("requests", "2.0")
    assert (await world.page("requests")).files
    await fails(world)


# --- reserved


@pytest.mark.parametrize("project", ["acme-lib", "acme-x-y"])
async def test_a_reserved_name_is_never_asked_of_a_public_source(world: World, project: str) -> None:
    world.index(reserved=["Acme_*"])
    world.pypi.publish(project, "99.0")
    decision = await world.decide(project)
    with pytest.raises(ProjectNotFound, match=r"acme-\* is reserved"):
        decision.require_page()
    assert (world.outcomes(decision)["pypi"], decision.reserved_by) == (Outcome.NOT_ASKED, "acme-*")
    world.team.publish(project, "1.0")
    assert (await world.page(project)).files[0].source == "team"
    assert world.public_asked == []


async def test_a_merge_rule_does_not_lift_a_reservation(world: World) -> None:
    world.index(reserved=["acme-*"], merges=[("acme-*", ("uploads", "pypi"))])
    world.pypi.publish(NAME, "99.0")
    await fails(world, ProjectNotFound)
    world.uploads.publish(NAME, "1.0")
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]
    assert world.public_asked == []


async def test_a_reserved_name_is_no_definite_absence_while_a_private_source_is_silent(world: World) -> None:
    world.index(reserved=["acme-*"])
    world.team.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0)
    await fails(world, UpstreamUnavailable)
    assert world.public_asked == []


# --- claims


async def test_a_name_that_was_listed_once_is_never_asked_of_a_public_source_again(world: World) -> None:
    world.team.publish(NAME, "1.0")
    world.pypi.publish(NAME, "99.0")
    await world.page()
    assert await world.claims.holds(NAME)
    world.team.remove(NAME)
    for _ in range(2):
        decision = await world.decide()
        page = decision.require_page()
        assert (page.project, page.files, page.withheld) == (NAME, (), ())
        assert decision.claimed
        assert decision.owner is None
        assert world.outcomes(decision)["pypi"] is Outcome.NOT_ASKED
        world.index()  # a restart: the record is what counts
    assert world.public_asked == []


async def test_the_page_of_a_claimed_name_without_files_is_one_object(world: World) -> None:
    await world.claims.claim(NAME, "team")
    assert await world.page() is await world.page()


async def test_the_claim_is_written_before_the_page_is_given(world: World) -> None:
    world.team.publish(NAME, "1.0")
    await world.page()
    assert [path for path in world.store.written if path.startswith("claims/")] == [f"claims/{NAME}"]
    await world.page()
    assert world.store.written == ["state/changed", f"claims/{NAME}", "state/changed"], "announced, made, and never again"


@pytest.mark.parametrize("method", ["put_if_absent", "replace_if"])
async def test_a_name_whose_claim_cannot_be_written_is_not_served_and_stays_private(world: World, method: str) -> None:
    """Were its page served, a restart and a "not there" of the source would hand a name that builds rely on to a stranger."""
    world.team.publish("acme-known", "1.0")
    await world.page("acme-known")
    world.team.publish(NAME, "1.0")
    world.pypi.publish(NAME, "99.0")
    world.store.fails = lambda called, path: called == method
    await fails(world, StoreError)
    assert (await world.page("acme-known")).files, "what was recorded before is served"
    world.team.remove(NAME)
    assert (await world.page()).files == ()
    world.team.publish(NAME, "1.0")
    world.store.up()
    assert (await world.page()).files[0].source == "team"
    assert world.public_asked == []


async def test_claims_that_cannot_be_read_let_no_public_source_answer(world: World) -> None:
    world.pypi.publish(NAME, "1.0")
    world.store.down()
    await fails(world, StoreError)
    assert world.public_asked == []
    world.store.up()
    assert (await world.page()).files


async def test_a_claimed_and_empty_name_fails_while_a_private_source_is_silent(world: World) -> None:
    """It may be listed there again since."""
    await world.claims.claim(NAME, "team")
    world.team.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0)
    await fails(world, UpstreamUnavailable)
    world.team.mend()
    world.team.fail()
    await fails(world, UpstreamUnavailable)
    assert world.public_asked == []


async def test_a_name_that_is_claimed_while_private_sources_are_asked_is_not_asked_in_public(world: World) -> None:
    """They take as long as a slow feed does, and the claim was looked up beside them."""
    world.pypi.publish(NAME, "99.0")
    await world.changes.look()
    world.team.hold = asyncio.Event()
    question = asyncio.create_task(world.page())
    while not world.store.count("info", f"claims/{NAME}"):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    await Claims(world.store, world.clock, StoreChanges(world.store, world.clock)).claim(NAME, "another-replica")
    await world.changes.look()
    world.team.hold.set()
    assert (await question).files == ()
    assert world.public_asked == []


async def test_a_public_name_is_not_claimed(world: World) -> None:
    world.pypi.publish(NAME, "1.0")
    await world.page()
    assert await world.claims.get(NAME) is None


# --- merge


async def test_a_merge_rule_joins_the_files_of_its_sources_in_its_order(world: World) -> None:
    world.index(merges=[("acme-*", ("uploads", "team"))])
    world.uploads.publish(NAME, "1.0")
    world.team.publish(NAME, "2.0")
    world.pypi.publish(NAME, "99.0")
    decision = await world.decide()
    page = decision.require_page()
    assert [(file.source, file.filename) for file in page.files] == [
        ("uploads", wheel_name(NAME, "1.0")),
        ("team", wheel_name(NAME, "2.0")),
    ]
    assert set(page.versions) == {"1.0", "2.0"}
    assert "a merge rule joins uploads, team" in decision.reason
    assert world.public_asked == []


async def test_a_merge_rule_may_name_a_public_source_and_then_that_one_alone_is_asked(world: World) -> None:
    world.index(merges=[("acme-*", ("team", "pypi"))])
    world.team.publish(NAME, "1.0")
    world.pypi.publish(NAME, "2.0")
    world.mirror.publish(NAME, "99.0")
    page = await world.page()
    assert [file.source for file in page.files] == ["team", "pypi"]
    world.team.remove(NAME)  # claimed now
    assert [file.source for file in (await world.page()).files] == ["pypi"]
    assert world.mirror.asked == []


async def test_a_claimed_name_that_no_source_of_its_merge_rule_lists_has_an_empty_page(world: World) -> None:
    world.index(merges=[("acme-*", ("team", "pypi"))])
    world.team.publish(NAME, "1.0")
    await world.page()
    world.team.remove(NAME)
    assert (await world.page()).files == ()
    assert world.mirror.asked == []


async def test_a_merge_rule_of_others_does_not_concern_the_owner(world: World) -> None:
    world.index(merges=[("acme-*", ("team", "pypi"))])
    world.uploads.publish(NAME, "1.0")
    world.team.publish(NAME, "2.0")
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]
    assert world.public_asked == []


async def test_a_merge_rule_of_other_names_does_not_concern_this_one(world: World) -> None:
    world.index(merges=[("other-*", ("uploads", "pypi"))])
    world.uploads.publish(NAME, "1.0")
    world.pypi.publish(NAME, "2.0")
    assert [file.source for file in (await world.page()).files] == ["uploads"]


async def test_the_same_file_in_two_sources_is_listed_once_as_the_earlier_ones(world: World) -> None:
    world.index(merges=[("acme-*", ("team", "uploads"))])
    world.uploads.publish(NAME, "1.0", content="same")
    world.team.publish(NAME, "1.0", content="same")
    page = await world.page()
    assert [file.source for file in page.files] == ["team"]
    assert page.withheld == ()
    assert counted(world.metrics, "withheld_files", source="uploads", rule="merge") == 0


@pytest.mark.parametrize("hashes", [None, {}, {"md5": "0" * 32}], ids=["another digest", "no digest", "no digest in common"])
async def test_other_bytes_under_one_name_are_withheld_logged_and_counted(
    world: World, hashes: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    world.index(merges=[("acme-*", ("uploads", "team"))])
    world.uploads.publish(NAME, "1.0", content="one")
    world.team.publish(NAME, "1.0", content="other", hashes=hashes)
    world.team.publish(NAME, "2.0")
    for _ in range(3):
        page = await world.page()
    assert [(file.source, file.filename) for file in page.files] == [
        ("uploads", wheel_name(NAME, "1.0")),
        ("team", wheel_name(NAME, "2.0")),
    ]
    (withheld,) = page.withheld
    assert (withheld.filename, withheld.source, withheld.rule) == (wheel_name(NAME, "1.0"), "team", "merge")
    assert "team has other bytes under this name than uploads, which comes first" in withheld.reason
    assert counted(world.metrics, "withheld_files", source="team", rule="merge") == 1, "once per page made"
    assert "team has other bytes" in caplog.text


async def test_a_joined_page_is_one_object_while_its_parts_are(world: World) -> None:
    world.index(merges=[("acme-*", ("uploads", "team"))])
    world.uploads.publish(NAME, "1.0")
    world.team.publish(NAME, "2.0")
    page = await world.page()
    assert await world.page() is page
    world.team.publish(NAME, "3.0")
    assert len((await world.page()).files) == 3


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (UpstreamUnavailable("down"), UpstreamUnavailable),
        (CredentialRefused("401"), CredentialRefused),
        (UpstreamBadAnswer("a portal"), UpstreamBadAnswer),
        (StoreError("the store is down"), StoreError),
    ],
)
@pytest.mark.parametrize("silent", ["uploads", "team", "pypi"])
async def test_a_source_of_a_merge_rule_that_cannot_be_heard_fails_the_page(
    world: World, silent: str, error: Exception, given: type[Exception]
) -> None:
    world.index(merges=[("acme-*", ("uploads", "team", "pypi"))])
    for source in (world.uploads, world.team, world.pypi):
        source.publish(NAME, "1.0", content="same")
    (next(source for source in world.sources if source.name == silent)).fail(error)
    await fails(world, given)


async def test_a_source_of_a_merge_rule_that_repeats_an_absence_fails_the_page(world: World) -> None:
    world.index(merges=[("acme-*", ("uploads", "team"))])
    world.uploads.publish(NAME, "1.0")
    world.team.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0)
    await fails(world, UpstreamUnavailable)


async def test_a_joined_page_is_as_old_and_as_stale_as_its_weakest_part(world: World, clock: FakeClock) -> None:
    world.index(merges=[("acme-*", ("uploads", "team"))])
    world.uploads.publish(NAME, "1.0")
    await world.page()
    clock.move(60)
    world.team.publish(NAME, "2.0")
    page = await world.page()
    assert (page.as_of, page.known_since) == (T0, T0 + timedelta(seconds=60))
    assert not page.stale


# --- failure


FAILURES = [
    UpstreamUnavailable("unreachable"),
    CredentialRefused("answered 403"),
    UpstreamBadAnswer("a captive portal"),
    StoreError("the store is down"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("silent", ["uploads", "team"])
async def test_a_private_source_that_cannot_be_heard_fails_the_request_and_no_public_one_is_asked(
    world: World, silent: str, error: Exception
) -> None:
    world.pypi.publish(NAME, "99.0")
    world.mirror.publish(NAME, "99.0")
    next(source for source in world.sources if source.name == silent).fail(error)
    decision = await world.decide()
    assert decision.error is error
    assert decision.page is None
    assert world.outcomes(decision)[silent] is Outcome.FAILED
    assert world.public_asked == []


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_one_that_fails_before_the_owner_may_own_it_itself(world: World, error: Exception) -> None:
    world.uploads.fail(error)
    world.team.publish(NAME, "1.0")
    await fails(world, type(error))
    assert await world.claims.holds(NAME), "whichever of the two owns it, it is private"


async def test_a_file_of_any_private_source_claims_the_name_whoever_owns_it(world: World) -> None:
    """An empty page of the first, the files of the second behind it: once both are gone, the name is still ours."""
    world.uploads.list_empty(NAME)
    world.team.publish(NAME, "1.0")
    world.pypi.publish(NAME, "99.0")
    assert (await world.decide()).owner == "uploads"
    assert await world.claims.holds(NAME)
    world.uploads.remove(NAME)
    world.team.remove(NAME)
    assert (await world.page()).files == ()
    assert world.public_asked == []


async def test_one_that_fails_after_the_owner_does_not_matter(world: World) -> None:
    world.uploads.publish(NAME, "1.0")
    world.team.fail()
    world.pypi.fail()
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_public_source_that_fails_before_one_that_has_it_fails_the_request(world: World, error: Exception) -> None:
    world.mirror.fail(error)
    world.pypi.publish(NAME, "1.0")
    await fails(world, type(error))
    world.mirror.mend()
    world.mirror.publish(NAME, "2.0")
    world.pypi.fail()
    assert filenames(await world.page()) == [wheel_name(NAME, "2.0")]


async def test_a_public_source_that_cannot_be_heard_is_not_an_absence(world: World) -> None:
    world.pypi.fail()
    await fails(world)
    world.pypi.mend()
    world.pypi.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0)
    await fails(world)


async def test_an_unknown_error_is_not_an_absence_either(world: World) -> None:
    world.team.fail(ValueError("a bug"))
    world.pypi.publish(NAME, "99.0")
    with pytest.raises(ValueError, match="a bug"):
        await world.page()
    assert world.public_asked == []


# --- outages


class Outage:
    """``team`` fell silent at T0 + 2 h, having last said "not there" an hour before."""

    last_heard = T0 + HOUR
    began = T0 + 2 * HOUR

    def __init__(self, world: World) -> None:
        self.world = world
        for version, uploaded in (("1.0", T0 - HOUR), ("2.0", self.last_heard - timedelta(seconds=1))):
            world.pypi.publish(NAME, version, upload_time=uploaded)

    async def seen_before(self) -> Outage:
        """The public page was served before the outage."""
        await self.world.pypi.project_page(NAME)
        return self

    def begin(self) -> Outage:
        self.world.clock.move((self.began - self.world.clock.now()).total_seconds())
        self.world.team.remember_absence(NAME, last_heard=self.last_heard, outage_since=self.began)
        return self

    def publish(self, version: str, uploaded: datetime | None) -> None:
        """The index lists one more file; the page has been known as before."""
        self.world.clock._now = T0
        self.world.pypi.publish(NAME, version, upload_time=uploaded)
        self.world.pypi._answer(NAME)
        self.world.clock._now = self.began


@pytest.fixture
async def outage(world: World) -> Outage:
    return (await Outage(world).seen_before()).begin()


async def test_a_public_page_known_before_the_outage_is_served_in_it(world: World, outage: Outage) -> None:
    decision = await world.decide()
    assert len(decision.require_page().files) == 2
    assert decision.require_page().withheld == ()
    assert world.outcomes(decision)["team"] == Outcome.ABSENT_BEFORE_OUTAGE


async def test_a_public_page_first_seen_in_the_outage_is_not_served(world: World) -> None:
    Outage(world).begin()
    await fails(world)


async def test_a_page_nobody_knows_the_age_of_is_not_served(world: World, outage: Outage) -> None:
    import msgspec

    world.pypi._pages[NAME] = msgspec.structs.replace(world.pypi._pages[NAME], known_since=None)
    await fails(world)


@pytest.mark.parametrize(
    "uploaded",
    [None, Outage.last_heard, Outage.last_heard + timedelta(seconds=1), Outage.began + HOUR],
    ids=["of unknown age", "when last heard", "before the outage was noticed", "during the outage"],
)
async def test_files_that_may_have_been_uploaded_since_are_withheld(
    world: World, outage: Outage, uploaded: datetime | None
) -> None:
    outage.publish("3.0", uploaded)
    page = await world.page()
    assert filenames(page) == [wheel_name(NAME, "1.0"), wheel_name(NAME, "2.0")]
    (withheld,) = page.withheld
    assert (withheld.filename, withheld.source, withheld.rule) == (wheel_name(NAME, "3.0"), "pypi", "outage")
    assert "source team is unreachable" in withheld.reason
    assert await world.page() is page
    assert counted(world.metrics, "withheld_files", source="pypi", rule="outage") == 1
    world.team.mend()
    assert len((await world.page()).files) == 3


async def test_a_page_unknown_while_one_of_two_was_already_silent_is_not_served(world: World) -> None:
    """One fell silent early and was heard late, the other the other way round: the worst of both counts."""
    world.pypi.publish(NAME, "1.0", upload_time=T0 - 9 * HOUR)
    world.clock.move(3600)
    await world.page()  # first seen at T0 + 1 h
    world.clock.move(3600 * 9)
    world.uploads.remember_absence(NAME, last_heard=T0 - 5 * HOUR, outage_since=T0 + 2 * HOUR)
    world.team.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0 + HOUR / 2)
    await fails(world)
    world.team.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0 + 2 * HOUR)
    assert (await world.page()).files
    world.pypi.publish(NAME, "2.0", upload_time=T0 - 3 * HOUR)
    world.clock._now = T0
    world.pypi._answer(NAME)
    world.clock._now = T0 + 10 * HOUR
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")], "uploaded since `uploads` was last heard"


async def test_private_files_are_not_withheld_in_the_outage_of_another(world: World) -> None:
    world.team.publish(NAME, "1.0", upload_time=None)
    await world.team.project_page(NAME)
    world.uploads.remember_absence(NAME, last_heard=T0 + HOUR, outage_since=T0 + 2 * HOUR)
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]


async def test_the_outage_of_a_source_after_the_owner_does_not_matter(world: World) -> None:
    world.uploads.publish(NAME, "1.0")
    world.team.remember_absence(NAME, last_heard=T0 - 2 * HOUR, outage_since=T0 - HOUR)
    assert (await world.page()).files


async def test_nothing_anywhere_is_not_certain_while_a_private_source_is_silent(world: World) -> None:
    world.team.remember_absence(NAME, last_heard=T0 - HOUR, outage_since=T0)
    with pytest.raises(UpstreamUnavailable, match="source team is unreachable"):
        await world.page()


async def test_a_public_source_that_is_silent_puts_the_next_one_in_doubt(world: World) -> None:
    world.pypi.publish(NAME, "1.0", upload_time=T0 - HOUR)
    world.pypi.publish(NAME, "2.0", upload_time=T0)
    await world.pypi.project_page(NAME)
    world.mirror.remember_absence(NAME, last_heard=T0, outage_since=T0 + HOUR)
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]


# --- the rest


async def test_names_are_those_of_all_sources_less_what_only_rules_out_and_what_is_claimed(world: World) -> None:
    world.index(only={"team": ["acme-*"]})
    world.uploads.publish("one", "1.0")
    world.team.publish("acme-two", "1.0")
    world.team.publish("stray", "1.0")
    await world.claims.claim("acme-three", "team")
    listed = await world.source.list_projects()
    assert [name for names in listed.merge() for name in names] == [b"acme-three", b"acme-two", b"one"]
    assert (await world.source.list_projects()).revision == listed.revision
    await world.claims.claim("acme-four", "team")
    assert (await world.source.list_projects()).revision != listed.revision
    world.team.fail()
    with pytest.raises(UpstreamError):
        await world.source.list_projects()


async def test_trust_is_an_order(world: World) -> None:
    index = world.index(order=("pypi", "team", "uploads"))
    assert [member.source.name for member in index.members] == ["team", "uploads", "pypi"]


async def test_the_decision_tells_who_was_asked_and_why_not(world: World) -> None:
    world.uploads.publish(NAME, "1.0")
    decision = await world.decide()
    assert decision.owner == "uploads"
    assert decision.reason == "the first private source that has it is uploads"
    assert world.outcomes(decision) == {
        "uploads": Outcome.LISTED,
        "team": Outcome.ABSENT,
        "mirror": Outcome.NOT_ASKED,
        "pypi": Outcome.NOT_ASKED,
    }
    assert {answer.detail for answer in decision.answers if not answer.private} == {"uploads owns the name"}


async def test_the_memory_for_made_pages_is_bounded_by_bytes(world: World) -> None:
    index = world.index(merges=[("*", ("uploads", "team"))], max_bytes=100_000)
    for number in range(40):
        for source in (world.uploads, world.team):
            for version in range(30):
                source.publish(f"name-{number}", f"{version}.0")
        await world.page(f"name-{number}")
    merged = index._made._pages
    assert merged.currsize <= merged.maxsize < 40 * page_bytes(merged["name-39"][1])


# --- what rules withhold


def screened_world(world: World, deny: list[str]) -> None:
    """The same sources under a block list."""
    book = RuleBook(Rules(deny=[parse_release(text) for text in deny]))
    world.screened = {
        source.name: Screened(
            source, private=source.name in ("uploads", "team"), book=book, clock=world.clock, metrics=world.metrics
        )
        for source in world.sources
    }
    world.index()


async def test_a_project_of_which_every_file_is_withheld_is_refused_with_the_sentence(world: World) -> None:
    screened_world(world, ["acme-lib<3"])
    world.pypi.publish(NAME, "1.0")
    world.pypi.publish(NAME, "2.0")
    with pytest.raises(ProjectWithheld) as raised:
        await world.page()
    assert str(raised.value) == (
        "every file of acme-lib is withheld: policy.deny has acme-lib<3: choose another, or ask for a policy.waiver"
    )
    assert set(raised.value.withheld) == {wheel_name(NAME, "1.0"), wheel_name(NAME, "2.0")}
    decision = await world.decide()
    assert decision.owner == "pypi"
    assert decision.page is not None
    assert len(decision.page.withheld) == 2
    world.pypi.publish(NAME, "3.0")
    assert filenames(await world.page()) == [wheel_name(NAME, "3.0")]


async def test_a_name_whose_private_files_are_all_withheld_stays_private(world: World) -> None:
    screened_world(world, [NAME])
    world.team.publish(NAME, "1.0")
    world.pypi.publish(NAME, "99.0")
    await fails(world, ProjectWithheld)
    assert await world.claims.holds(NAME)
    world.team.remove(NAME)
    assert (await world.page()).files == ()
    assert world.public_asked == []


async def test_an_empty_page_of_which_nothing_is_withheld_is_a_page(world: World) -> None:
    world.pypi.list_empty(NAME)
    assert (await world.page()).files == ()


async def test_the_public_part_of_a_merge_is_limited_to_some_versions(world: World) -> None:
    world.index(merges=[(NAME, ("uploads", "pypi"))], public_versions="<2")
    world.uploads.publish(NAME, "9.0")
    world.pypi.publish(NAME, "1.0")
    world.pypi.publish(NAME, "2.0")
    page = await world.page()
    assert sorted(filenames(page)) == [wheel_name(NAME, "1.0"), wheel_name(NAME, "9.0")]
    (withheld,) = page.withheld
    assert (withheld.filename, withheld.source, withheld.rule) == (wheel_name(NAME, "2.0"), "pypi", "merge")
    assert await world.page() is page
    assert counted(world.metrics, "withheld_files", source="pypi", rule="merge") == 1
    world.uploads.remove(NAME)
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]


async def test_the_limit_holds_where_the_public_source_has_the_name_alone(world: World) -> None:
    world.index(merges=[(NAME, ("uploads", "pypi"))], public_versions="<2")
    world.pypi.publish(NAME, "2.0")
    await fails(world, ProjectWithheld)


async def test_a_name_that_an_earlier_source_withholds_is_not_taken_by_a_later_one(world: World) -> None:
    """Else a rule against our file would put a stranger's of the same name in its place."""
    world.index(merges=[("*", ("uploads", "pypi"))])
    world.uploads.publish(NAME, "1.0", content="ours")
    world.uploads.publish(NAME, "2.0")
    world.pypi.publish(NAME, "1.0", content="a stranger's")
    page = world.uploads._answer(NAME)
    kept = tuple(file for file in page.files if "2.0" in file.filename)
    entry = Withheld(wheel_name(NAME, "1.0"), "uploads", "cooldown", "too young", T0 + HOUR)
    world.uploads._pages[NAME] = page.with_files(kept, (entry,), freshness=Freshness(valid_until=T0 + HOUR))
    result = await world.page()
    assert filenames(result) == [wheel_name(NAME, "2.0")]
    assert [(e.source, e.rule) for e in result.withheld] == [("uploads", "cooldown"), ("pypi", "merge")]
    assert result.freshness.valid_until == T0 + HOUR


async def test_a_joined_page_is_valid_until_the_first_of_its_parts_changes(world: World) -> None:
    world.index(merges=[("*", ("uploads", "pypi"))])
    for source, until in ((world.uploads, T0 + 2 * HOUR), (world.pypi, T0 + HOUR)):
        source.publish(NAME, "1.0")
        source._pages[NAME] = msgspec.structs.replace(source._answer(NAME), freshness=Freshness(valid_until=until))
    assert (await world.page()).freshness.valid_until == T0 + HOUR


async def test_rules_are_replaced_between_two_decisions(world: World) -> None:
    index = world.index()
    world.uploads.publish(NAME, "1.0")
    world.pypi.publish(NAME, "2.0")
    world.pypi.publish("left-pad", "1.0")
    assert len((await world.page()).files) == 1
    await world.page("left-pad")
    index.replace_rules(NamePatterns(["left-*"]), [MergeRule(NamePatterns([NAME]), ("uploads", "pypi"))])
    assert len((await world.page()).files) == 2
    asked = len(world.public_asked)
    await fails(world, ProjectNotFound, "left-pad")
    assert len(world.public_asked) == asked
    index.replace_rules(NamePatterns([]), [])
    assert len((await world.page()).files) == 1


async def test_a_page_joined_while_the_rules_were_replaced_is_made_again(world: World) -> None:
    """A decision that began under the old rule ends after the new one came: it must not be what later ones find."""
    one, other = (MergeRule(NamePatterns([NAME]), ("uploads", "pypi"), parse_specifier(limit)) for limit in ("<3", "<2"))
    index = world.index()
    index.replace_rules(NamePatterns([]), [one])
    world.uploads.publish(NAME, "1.0")
    world.pypi.publish(NAME, "2.0")
    world.pypi.hold = asyncio.Event()
    under_way = asyncio.create_task(index.project_page(NAME))
    await asyncio.sleep(0.01)
    index.replace_rules(NamePatterns([]), [other])
    world.pypi.hold.set()
    assert len((await under_way).files) == 2
    assert len((await world.page()).files) == 1


async def test_an_outage_that_leaves_nothing_is_an_outage(world: World, outage: Outage) -> None:
    world.pypi.remove(NAME)
    world.pypi.publish(NAME, "3.0", upload_time=outage.began)
    page = world.pypi._answer(NAME)
    world.pypi._pages[NAME] = msgspec.structs.replace(page, known_since=outage.began - 9 * HOUR)
    await fails(world, UpstreamUnavailable)


@pytest.mark.parametrize("slow", ["uploads", "pypi"])
async def test_after_a_standstill_nobody_answers_by_what_was_said_before_it(world: World, slow: str) -> None:
    """A process that stood still goes on with a "not there" of long ago, and the name may have been published since."""
    world.pypi.publish(NAME, "99.0")
    held = {"uploads": world.uploads, "pypi": world.pypi}[slow]
    held.hold = asyncio.Event()
    question = asyncio.create_task(world.page())
    for _ in range(20):
        await asyncio.sleep(0)
    world.team.publish(NAME, "1.0")
    world.clock.move(13)
    held.hold.set()
    with pytest.raises(Busy, match=f"it took more than 12 s to ask whose {NAME} is"):
        await question
    assert bool(world.pypi.asked) is (slow == "pypi"), "the public source is not even told of the name"
    assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]


# --- sources that are still being listed


class Listing:
    """A first listing of a source, under way until it is told to end."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source
        self.ended = asyncio.Event()
        source.fail(StillListing(f"source {source.name} is still being listed (7 blobs so far)", wait=self.ended.wait))

    def end(self) -> None:
        self.source.mend()
        self.ended.set()


async def test_a_name_that_an_earlier_source_owns_waits_for_no_listing(world: World) -> None:
    Listing(world.team)
    world.uploads.publish(NAME, "1.0")
    async with asyncio.timeout(AT_ONCE_S):
        assert filenames(await world.page()) == [wheel_name(NAME, "1.0")]


async def test_a_name_that_its_only_does_not_cover_waits_for_no_listing(world: World) -> None:
    Listing(world.team)
    world.index(only={"team": ["acme-*"]})
    world.pypi.publish("idna", "3.0")
    async with asyncio.timeout(AT_ONCE_S):
        assert filenames(await world.page("idna")) == [wheel_name("idna", "3.0")]


@pytest.mark.parametrize("owns", [True, False], ids=["it has it", "it has not"])
async def test_any_other_name_waits_for_the_listing_and_goes_by_what_it_says(world: World, owns: bool) -> None:
    listing = Listing(world.team)
    world.pypi.publish(NAME, "99.0")
    if owns:
        world.team.publish(NAME, "1.0")
    question = asyncio.create_task(world.page())
    await asyncio.sleep(0.05)
    assert not question.done()
    assert not world.public_asked
    listing.end()
    assert filenames(await question) == [wheel_name(NAME, "1.0" if owns else "99.0")]
    assert world.team.asked == [NAME, NAME]


async def test_a_listing_that_takes_longer_than_a_client_waits_is_a_failure_and_never_an_absence(world: World) -> None:
    world.index(listing_wait_s=0.05)
    Listing(world.team)
    world.pypi.publish(NAME, "99.0")
    with pytest.raises(StillListing, match=r"source team is still being listed \(7 blobs so far\)"):
        await world.page()
    assert not world.public_asked


async def test_listings_are_waited_for_one_after_the_other_within_one_time(world: World) -> None:
    listings = [Listing(world.uploads), Listing(world.team)]
    question = asyncio.create_task(world.page())
    world.team.publish(NAME, "1.0")
    for listing in listings:
        await asyncio.sleep(0.02)
        listing.end()
    assert filenames(await question) == [wheel_name(NAME, "1.0")]
    world.index(listing_wait_s=0.1)
    Listing(world.uploads)
    Listing(world.team)
    began = asyncio.get_running_loop().time()
    await fails(world, StillListing, "acme-other")
    assert asyncio.get_running_loop().time() - began < 0.19


async def test_a_listing_that_fails_meanwhile_is_that_failure(world: World) -> None:
    listing = Listing(world.team)
    world.pypi.publish(NAME, "99.0")
    question = asyncio.create_task(world.page())
    await asyncio.sleep(0.02)
    world.team.fail(StoreError("the storage account cannot be reached"))
    listing.ended.set()
    with pytest.raises(StoreError, match="cannot be reached"):
        await question
    assert not world.public_asked

"""Whose a project of a feed is: by what the service says of it, of each kind of feed; remembered, and not made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from aiohttp import web
from yarl import URL

from tests.feeds.conftest import World
from tests.support import devops
from tests.support.company import PAT
from tests.support.devops import SERVER, Feed, Upstream
from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.core.devops import FeedPlace, find_feed
from wheelgate.core.model import STALE_IF_ERROR_S, Ownership
from wheelgate.feeds.judge import FeedJudge
from wheelgate.feeds.service import FeedDescription, FeedService, FeedUpstream, VersionFact

OWN, PUBLIC, UNKNOWN = Ownership.OWN, Ownership.PUBLIC, Ownership.UNKNOWN
HOUR = 3600.0


def pypi(*projects: str, **fields: object) -> Upstream:
    """A public upstream that has 1.0 and 2.0 of each of these."""
    files = {
        name: {wheel_name(name, version): (version, wheel_bytes(name, version)) for version in ("1.0", "2.0")}
        for name in projects
    }
    return Upstream(files=files, **fields)  # type: ignore[arg-type]


def inner(world: World, name: str, *upstreams: Upstream, project: str | None = None) -> Upstream:
    """Another feed of the organisation, as an upstream; it has ``acme-shared`` 5.0 of its own."""
    feed = Feed(name, project=project, upstreams=list(upstreams))
    feed.publish("acme-shared", "5.0")
    world.company.devops.organisation("acme").feeds.append(feed)
    return Upstream(name, kind="internal", feed=feed)


@dataclass
class Case:
    """A feed as ``make`` made it, and what is so of ``demo``."""

    make: Callable[[World], None]
    ownership: Ownership
    own_versions: frozenset[str] | None = None
    why: str = ""


def _saved(world: World) -> None:
    world.feed.upstreams = [pypi("demo")]
    world.feed.save("demo", "1.0")


def _published(world: World) -> None:
    world.feed.upstreams = [pypi()]
    world.feed.publish("demo", "3.0.0")


def _mixed(world: World) -> None:
    _saved(world)
    world.feed.publish("demo", "3.0.0")


def _deleted(world: World) -> None:
    _mixed(world)
    world.feed.delete("demo", "3.0.0")


def _from_another_feed(world: World) -> None:
    behind = inner(world, "behind-saved")
    behind.feed.publish("demo", "4.0")  # type: ignore[union-attr]
    world.feed.upstreams = [behind]
    world.feed.save("demo", "4.0")


def _in_another_feed(world: World) -> None:
    behind = inner(world, "behind-unsaved", project="Platform")
    behind.feed.publish("demo", "4.0")  # type: ignore[union-attr]
    world.feed.upstreams = [pypi("demo"), behind]
    world.feed.save("demo", "1.0")


def _behind_another_feed(world: World) -> None:
    far = inner(world, "far")
    far.feed.publish("demo", "4.0")  # type: ignore[union-attr]
    world.feed.upstreams = [pypi("demo"), inner(world, "near", far)]


def _in_no_feed_behind(world: World) -> None:
    world.feed.upstreams = [pypi("demo"), inner(world, "behind-none", pypi("demo"))]


def _saved_by_another_feed(world: World) -> None:
    behind = inner(world, "behind-saver", pypi("demo"))
    behind.feed.save("demo", "1.0")  # type: ignore[union-attr]
    world.feed.upstreams = [behind]


def _saved_from_what_another_feed_saved(world: World) -> None:
    _saved_by_another_feed(world)
    world.feed.save("demo", "1.0")


def _published_to_a_feed_that_saves_others(world: World) -> None:
    _saved_from_what_another_feed_saved(world)
    world.feed.upstreams[0].feed.publish("demo", "4.0")  # type: ignore[union-attr]
    world.feed.save("demo", "4.0")


def _in_public_behind_another_feed(world: World) -> None:
    world.feed.upstreams = [inner(world, "behind-open", pypi("demo"))]


def _removed_there_since(world: World) -> None:
    _saved_by_another_feed(world)
    world.feed.upstreams[0].feed.upstreams[0].removed = True  # type: ignore[union-attr]


def _in_a_circle(world: World) -> None:
    behind = inner(world, "behind-circle")
    behind.feed.upstreams = [Upstream("back", kind="internal", feed=world.feed)]  # type: ignore[union-attr]
    world.feed.upstreams = [pypi("demo"), behind]


def _of_another_organisation(world: World) -> None:
    stranger = Upstream("partner", kind="internal", feed=Feed("partner"))
    world.feed.upstreams = [pypi("demo"), stranger]


def _from_nowhere(world: World) -> None:
    _saved(world)
    world.feed.upstreams = [pypi("demo")]  # another one of the same name


def _removed(world: World) -> None:
    _saved(world)
    world.feed.upstreams[0].removed = True


def _of_a_new_kind(world: World) -> None:
    world.feed.upstreams = [pypi("demo", kind="federated")]
    world.feed.save("demo", "1.0")


CASES = {
    "a feed without upstreams": Case(lambda world: None, OWN, None, "has no upstream sources"),
    "upstreams of other languages": Case(
        lambda world: world.feed.upstreams.append(Upstream("npmjs", protocol="npm")), OWN, None, "has no upstream sources"
    ),
    "published": Case(_published, OWN, frozenset({"3"})),
    "saved from a public upstream": Case(_saved, PUBLIC, why="PyPI"),
    "listed, and saved by nobody": Case(lambda world: world.feed.upstreams.append(pypi("demo")), PUBLIC),
    "listed nowhere": Case(lambda world: world.feed.upstreams.append(pypi()), PUBLIC),
    "mixed": Case(_mixed, OWN, frozenset({"3"})),
    "mixed, the own version deleted": Case(_deleted, OWN, frozenset({"3"})),
    "saved from another feed": Case(_from_another_feed, OWN),
    "in another feed, a public version saved": Case(_in_another_feed, OWN, frozenset({"4"})),
    "two feeds behind": Case(_behind_another_feed, OWN, frozenset({"4"})),
    "in no feed behind": Case(_in_no_feed_behind, PUBLIC),
    "saved by another feed from a public upstream": Case(_saved_by_another_feed, PUBLIC),
    "saved from what another feed saved": Case(_saved_from_what_another_feed_saved, PUBLIC),
    "published to another feed, which saves others": Case(_published_to_a_feed_that_saves_others, OWN, frozenset({"4"})),
    "in public, behind another feed": Case(_in_public_behind_another_feed, PUBLIC),
    "saved by another feed, from an upstream removed there": Case(_removed_there_since, PUBLIC),
    "feeds in a circle": Case(_in_a_circle, PUBLIC),
    "a feed behind that nobody may see": Case(
        _of_another_organisation, UNKNOWN, why="its upstream source partner, which is another"
    ),
    "saved from an upstream that is not named": Case(_from_nowhere, UNKNOWN, why="no upstream source that version 1 came from"),
    "saved from an upstream that was removed": Case(_removed, PUBLIC),
    "an upstream of a kind that is not known": Case(_of_a_new_kind, UNKNOWN),
}


@pytest.mark.parametrize("case", CASES)
async def test_whose_a_project_is(world: World, case: str) -> None:
    said = CASES[case]
    said.make(world)
    found = await (await world.start()).judge("demo")
    assert (found.ownership, found.own_versions) == (said.ownership, said.own_versions), found.reason
    assert "team-feed" in found.reason
    assert said.why in found.reason
    assert found.outage_since is None
    if said.ownership is UNKNOWN:
        assert 'upstream = "public" or upstream = "none"' in found.reason


# ---- who cannot be asked -----------------------------------------------------------------------------------------------------


def _html(request: web.BaseRequest) -> web.Response:
    return web.Response(text="<html><title>Proxy login</title></html>", content_type="text/html")


MOODS = {
    "403": (
        lambda request: devops.needs("ReadPackages"),
        "the identity may not read this feed",
        "if this identity may never ask there",
    ),
    "401": (lambda request: devops.challenge(), "connection acme was refused by feeds.dev.azure.com", "mend that"),
    "404": (lambda request: devops.no_feed("x"), "does not know the feed, or hides it", "try again"),
    "sign-in page": (lambda request: devops.sign_in_page(), "was refused by feeds.dev.azure.com", "mend that"),
    "a portal": (_html, "in a way that can be read (text/html)", "try again"),
    "nonsense": (lambda request: web.json_response({"value": 5}), "in a way that can be read", "try again"),
    "throttled": (lambda request: devops.throttled(9), "asked us to wait another 9 s", "try again"),
    "broken": (lambda request: web.Response(status=500), "answered 500", "try again"),
}


@pytest.mark.parametrize("mood", MOODS)
async def test_what_nobody_can_tell_is_unknown_and_what_was_known_stands_in(world: World, mood: str) -> None:
    answer, cause, hint = MOODS[mood]
    _mixed(world)
    judge = await world.start()
    assert (await judge.judge("demo")).ownership is OWN
    assert (await judge.judge("idna")).ownership is PUBLIC
    world.company.devops.service_mood = answer
    world.clock.move(HOUR)
    known, unseen = await judge.judge("idna"), await judge.judge("six")
    assert known.ownership is PUBLIC
    assert known.outage_since == world.clock.now()
    assert (world.clock.now() - known.last_heard).total_seconds() == HOUR  # type: ignore[operator]
    assert (await judge.judge("demo")).ownership is OWN
    assert unseen.ownership is UNKNOWN
    assert cause in unseen.reason
    assert hint in unseen.reason
    assert unseen.reason.startswith("nobody can tell whether six is source team-feed's own or passed on by it: ")
    assert 'upstream = "none"' in unseen.reason
    assert PAT not in unseen.reason
    world.clock.move(STALE_IF_ERROR_S)
    assert (await judge.judge("idna")).ownership is UNKNOWN
    assert (await judge.judge("demo")).ownership is OWN, "what was published to it once is its own for good"
    world.company.devops.service_mood = None
    world.clock.move(HOUR)
    assert (await judge.judge("idna")).ownership is PUBLIC


async def test_names_that_nobody_has_fill_no_store(world: World) -> None:
    """Of a feed without public upstream sources every name is its own, if anybody has it."""
    _mixed(world)
    world.feed.publish("demo", "3.5")
    world.feed.upstreams = []
    world.feed.publish("other", "1.0")
    judge = await world.start()
    for name in ("demo", *(f"a-name-that-nobody-has-{number}" for number in range(5))):
        await judge.find_facts(name)
        await judge.judge(name)
    await judge.close()
    kept = [path for path in world.store.blobs if path.startswith("origins/")]
    assert kept == ["origins/team-feed/demo"]


async def test_what_was_known_stands_in_after_a_restart_and_on_another_replica(world: World) -> None:
    _mixed(world)
    world.feed.publish("demo", "3.5")
    first = await world.start()
    judged = [await first.judge("demo"), await first.judge("idna")]
    first.note_served("idna")
    await first.judge("a-name-that-nobody-has")
    await first.close()
    assert sorted(path for path in world.store.blobs) == ["feeds/team-feed", "origins/team-feed/demo", "origins/team-feed/idna"]
    world.company.devops.service_mood = lambda request: web.Response(status=503)
    world.clock.move(HOUR)
    second = await world.start()
    again = [await second.judge("demo"), await second.judge("idna")]
    assert [(a.ownership, a.own_versions) for a in again] == [(a.ownership, a.own_versions) for a in judged]
    assert all((world.clock.now() - a.last_heard).total_seconds() == HOUR for a in again)  # type: ignore[operator]
    assert (await second.judge("six")).ownership is UNKNOWN
    assert [fact.key for fact in await second.find_facts("demo")] == ["1", "3", "3.5"]
    elsewhere = await world.start("https://pkgs.dev.azure.com/acme/_packaging/another/pypi/simple/")
    assert (await elsewhere.judge("idna")).ownership is UNKNOWN, "another address is another feed"
    world.clock.move(STALE_IF_ERROR_S)
    assert (await (await world.start()).judge("idna")).ownership is UNKNOWN


async def test_a_feed_without_upstreams_is_known_for_one_after_a_restart(world: World) -> None:
    first = await world.start()
    assert (await first.judge("idna")).ownership is OWN
    await first.close()
    world.company.devops.service_mood = lambda request: web.Response(status=503)
    assert (await (await world.start()).judge("six")).ownership is OWN


async def test_a_feed_with_another_behind_it_is_known_for_one_after_a_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _in_another_feed(world)
    first = await world.start()
    judged = await first.judge("demo")
    await first.close()
    assert "feeds/team-feed" in world.store.blobs
    world.company.devops.service_mood = lambda request: web.Response(status=503)
    again = await (await world.start()).judge("demo")
    assert (again.ownership, again.own_versions) == (judged.ownership, judged.own_versions) == (OWN, frozenset({"4"}))
    assert not [record for record in caplog.records if record.exc_info]


async def test_what_is_unclear_now_does_not_undo_what_was_clear(world: World) -> None:
    _saved(world)
    judge = await world.start()
    assert (await judge.judge("demo")).ownership is PUBLIC
    world.feed.upstreams.append(Upstream("partner", kind="internal", feed=Feed("partner")))
    world.clock.move(HOUR)
    assert (await judge.judge("demo")).outage_since is not None
    world.clock.move(STALE_IF_ERROR_S)
    assert (await judge.judge("demo")).ownership is UNKNOWN


# ---- what it costs -----------------------------------------------------------------------------------------------------------


async def test_one_question_a_project_and_none_while_it_is_fresh(world: World) -> None:
    _saved(world)
    judge = await world.start()
    for _ in range(3):
        for project in ("demo", "idna"):
            found = await judge.judge(project)
            assert found.fresh_until == world.clock.monotonic() + 60.0
            await judge.find_facts(project)
    base = f"/acme/_apis/packaging/feeds/{world.feed.name}"
    assert sorted(world.asked) == [base, f"{base}/packages", f"{base}/packages"]
    world.clock.move(61)
    await judge.judge("demo")
    assert len(world.asked) == 5
    assert all("Authorization" in asked.headers for asked in world.company.devops.service_asked)


async def test_a_feed_without_upstreams_is_asked_about_no_project(world: World) -> None:
    judge = await world.start()
    for name in ("demo", "idna", "six"):
        assert (await judge.judge(name)).ownership is OWN
    assert len(world.asked) == 1


async def test_a_server_that_knows_no_names_is_read_page_by_page(world: World) -> None:
    world.feed.upstreams = [pypi()]
    world.company.devops.ignores_names = True
    for number in range(3_000):
        world.feed.origins[f"p{number:04}"] = {"1.0": devops.Origin("1.0", world.feed.upstreams[0].id)}
    world.feed.publish("zz-own", "1.0")
    judge = await world.start()
    assert (await judge.judge("zz-own")).ownership is OWN
    assert (await judge.judge("p2999")).ownership is PUBLIC
    assert (await judge.judge("idna")).ownership is PUBLIC


async def test_a_server_of_ones_own_tells_of_its_feeds(world: World) -> None:
    feed = Feed("team", project="Proj", upstreams=[pypi("idna")])
    feed.publish("demo", "1.0")
    collection = world.company.devops.organisation("Coll")
    collection.feeds, collection.pats = [feed], {PAT: "good"}
    judge = await world.start(
        f"https://{SERVER}/tfs/Coll/Proj/_packaging/team/pypi/simple/", targets=(f"https://{SERVER}/tfs/Coll",)
    )
    assert (await judge.judge("demo")).ownership is OWN
    assert (await judge.judge("idna")).ownership is PUBLIC
    assert set(world.asked) == {
        "/tfs/Coll/Proj/_apis/packaging/feeds/team",
        "/tfs/Coll/Proj/_apis/packaging/feeds/team/packages",
    }


async def test_what_is_remembered_of_projects_is_bounded(world: World) -> None:
    world.feed.upstreams = [pypi()]
    judge = await world.start(max_bytes=5_000)
    for number in range(20):
        await judge.judge(f"p{number}")
    assert 0 < len(judge._known) < 10
    assert judge._known.currsize <= 5_000


# ---- dates -------------------------------------------------------------------------------------------------------------------


async def test_versions_have_the_dates_of_the_feed(world: World) -> None:
    at = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    world.feed.publish("demo", "1.0", at=at)
    world.feed.publish("demo", "2.0.0", at=at)
    world.feed.publish("demo", "3.0", at=datetime(1, 1, 1, tzinfo=UTC))
    world.feed.delete("demo", "2.0.0")
    facts = {fact.key: fact for fact in await (await world.start()).find_facts("demo")}
    assert facts["1"].published == at
    assert not facts["1"].is_deleted
    assert facts["2"].is_deleted
    assert facts["3"].published is None


class _SlowService(FeedService):
    """A service that tells of versions when it is let go."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.versions: tuple[VersionFact, ...] = ()

    async def describe(self, place: FeedPlace) -> FeedDescription:
        return FeedDescription((FeedUpstream("upstream", "PyPI", "public", True),))

    async def list_versions(self, place: FeedPlace, project: str) -> tuple[VersionFact, ...]:
        await self.answers.wait()
        return self.versions


async def test_what_stands_in_for_a_slow_service_is_what_was_said_before_an_outage(world: World) -> None:
    """What was public then may have been published to the feed since."""
    service, place = _SlowService(), find_feed(URL(world.url, encoded=True))
    assert place is not None
    judge = FeedJudge(
        "team-feed",
        place=place,
        service=service,
        clock=world.clock,
        fresh_s=60.0,
        absent_s=60.0,
        store=world.store,
        patience_s=0.05,
    )
    service.answers.set()
    before = world.clock.now()
    first = await judge.judge("demo")
    assert (first.ownership, first.outage_since) == (PUBLIC, None)
    service.answers.clear()
    service.versions = (VersionFact("1"),)
    world.clock.move(20 * HOUR)
    repeated = await judge.judge("demo")
    assert (repeated.ownership, repeated.outage_since, repeated.last_heard) == (PUBLIC, world.clock.now(), before)
    assert not repeated.is_vouched_for
    service.answers.set()
    world.clock.move(6)
    heard = await judge.judge("demo")
    assert (heard.ownership, heard.outage_since) == (OWN, None)
    await judge.close()

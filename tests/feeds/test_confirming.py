"""What follows from a feed having no public upstream source is confirmed before a name is claimed by it: it may have got one."""

from __future__ import annotations

import pytest
from aiohttp import web

from tests.feeds.conftest import World
from tests.feeds.test_judge import HOUR, OWN, PUBLIC, UNKNOWN, inner, pypi
from wheelgate.core.model import STALE_IF_ERROR_S
from wheelgate.feeds.judge import FeedJudge


def is_down(request: web.BaseRequest) -> web.Response:
    return web.Response(status=503)


async def judged(judge: FeedJudge, world: World) -> FeedJudge:
    """One that knows the feed as it is now."""
    world.feed.publish("demo", "1.0")
    assert (await judge.judge("demo")).is_presumed
    assert (await judge.confirm("demo", world.clock.now())).ownership is OWN
    assert not (await judge.judge("demo")).is_presumed, "a version of it was published there"
    return judge


async def test_an_upstream_added_while_an_answer_is_fresh_is_heard_of_before_a_name_is_claimed(world: World) -> None:
    judge = await judged(await world.start(fresh_s=24 * HOUR), world)
    world.feed.upstreams = [pypi("idna")]
    world.clock.move(1)
    presumed = await judge.judge("idna")
    assert (presumed.ownership, presumed.is_presumed) == (OWN, True)
    assert (await judge.confirm("idna", world.clock.now())).ownership is PUBLIC
    assert (await judge.judge("idna")).ownership is PUBLIC, "and for whoever asks next"


async def test_an_upstream_added_to_a_feed_that_had_other_feeds_alone_is_heard_of_too(world: World) -> None:
    world.feed.upstreams = [inner(world, "behind-confirmed")]
    judge = await world.start(fresh_s=24 * HOUR)
    assert (await judge.judge("idna")).is_presumed
    world.feed.upstreams.append(pypi("idna"))
    world.clock.move(1)
    assert (await judge.confirm("idna", world.clock.now())).ownership is PUBLIC


async def test_a_page_of_before_an_upstream_was_taken_away_makes_nothing_private(world: World) -> None:
    world.feed.upstreams = [pypi("idna")]
    judge = await world.start()
    assert (await judge.judge("idna")).ownership is PUBLIC
    listed_at = world.clock.now()
    world.feed.upstreams = []
    world.clock.move(61)
    assert (await judge.judge("idna")).is_presumed
    found = await judge.confirm("idna", listed_at)
    assert found.ownership is UNKNOWN
    assert "it was listed when the feed may have had other upstream sources, and is asked for again" in found.reason
    assert (await judge.confirm("idna", world.clock.now())).ownership is OWN, "that it lists now is its own"


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_upstream_added_during_an_outage_of_the_service_makes_nothing_private(world: World, restarts: bool) -> None:
    judge = await judged(await world.start(), world)
    world.company.devops.service_mood = is_down
    world.feed.upstreams = [pypi("idna")]
    world.clock.move(HOUR)
    if restarts:
        await judge.close()
        judge = await world.start()
    assert (await judge.judge("idna")).is_presumed, "if it is not listed, it is absent as before"
    found = await judge.confirm("idna", world.clock.now())
    assert found.ownership is UNKNOWN
    assert found.reason.startswith("nobody can tell whether idna is source team-feed's own or passed on by it: ")
    assert (await judge.confirm("demo", world.clock.now())).ownership is OWN, "what was published to it stays its own"
    world.company.devops.service_mood = None
    world.clock.move(6)
    assert (await judge.confirm("idna", world.clock.now())).ownership is PUBLIC


async def test_a_version_saved_from_outside_is_no_evidence(world: World) -> None:
    judge = await judged(await world.start(fresh_s=24 * HOUR), world)
    world.feed.upstreams = [pypi("idna")]
    world.feed.save("idna", "1.0")
    await judge.find_facts("idna")  # beside the page, with what is remembered of the feed
    assert (await judge.judge("idna")).ownership is UNKNOWN
    world.clock.move(6)
    assert (await judge.judge("idna")).is_presumed
    assert (await judge.confirm("idna", world.clock.now())).ownership is PUBLIC


async def test_a_day_after_the_service_was_heard_only_the_versions_that_it_knew_are_own(world: World) -> None:
    judge = await judged(await world.start(), world)
    world.company.devops.service_mood = is_down
    world.clock.move(HOUR)
    assert (await judge.judge("demo")).own_versions is None
    world.clock.move(STALE_IF_ERROR_S)
    late = await judge.judge("demo")
    assert (late.ownership, late.own_versions) == (OWN, frozenset({"1"}))


async def test_what_is_confirmed_is_asked_for_once(world: World) -> None:
    judge = await judged(await world.start(), world)
    asked = len(world.asked)
    for _ in range(3):
        assert (await judge.confirm("demo", world.clock.now())).ownership is OWN
    assert len(world.asked) == asked

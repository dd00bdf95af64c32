"""The dates of a feed on its own pages, without deleted versions; and absence where an identity may have nothing saved."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp import web

from tests.feeds.conftest import World
from tests.feeds.test_judge import inner, pypi
from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from wheelgate.core.errors import NotSaved, ProjectNotFound
from wheelgate.core.model import Judgement, Ownership, ProjectPage
from wheelgate.feeds.facts import DatedFeed

AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def listed(clock: FakeClock) -> FakeSource:
    source = FakeSource("team-feed", clock)
    source.publish("demo", "1.0")
    source.publish("demo", "2.0")
    source.publish("demo", "3.0")
    return source


def times(page: ProjectPage) -> dict[str, datetime | None]:
    return {file.filename.split("-")[1]: file.upload_time for file in page.files}


async def test_files_are_as_old_as_the_feed_says_and_deleted_ones_go(world: World, listed: FakeSource) -> None:
    world.feed.publish("demo", "1.0.0", at=AT)
    world.feed.publish("demo", "2", at=AT)
    world.feed.delete("demo", "2")
    before = times(await listed.project_page("demo"))
    feed = DatedFeed(listed, facts=await world.start(), find_judge=lambda: None)
    page = await feed.project_page("demo")
    assert times(page) == {"1.0": AT, "3.0": before["3.0"]}, "of 3.0 the service says nothing"
    (gone,) = page.withheld
    assert (gone.rule, gone.filename) == ("deleted", "demo-2.0-py3-none-any.whl")
    assert gone.reason == "version 2.0 of demo was deleted from source team-feed: restore it there if it is wanted"
    assert (await feed.project_page("demo")).revision == page.revision


async def test_a_service_that_fails_costs_a_page_its_dates_and_nothing_else(world: World, listed: FakeSource) -> None:
    world.company.devops.service_mood = lambda request: web.Response(status=403)
    page = await DatedFeed(listed, facts=await world.start(), find_judge=lambda: None).project_page("demo")
    assert len(page.files) == 3
    asked = len(world.asked)
    await DatedFeed(listed, facts=await world.start(), find_judge=lambda: None).project_page("demo")
    assert len(world.asked) == 2 * asked == 4
    assert (await DatedFeed(listed, facts=None, find_judge=lambda: None).project_page("demo")).files


async def test_a_refusal_is_not_asked_for_again_with_every_page(world: World, listed: FakeSource, clock: FakeClock) -> None:
    world.company.devops.service_mood = lambda request: web.Response(status=403)
    feed = DatedFeed(listed, facts=await world.start(), find_judge=lambda: None)
    for _ in range(5):
        await feed.project_page("demo")
        clock.move(61)
    asked = len(world.asked)
    world.company.devops.service_mood = None
    world.feed.publish("demo", "1.0", at=AT)
    clock.move(300)
    assert times(await feed.project_page("demo"))["1.0"] == AT
    assert asked <= 4


class Unsaved:
    """A feed that has saved nothing, for an identity that may have nothing saved."""

    name = "team-feed"

    async def project_page(self, project: str) -> ProjectPage:
        raise NotSaved("source team-feed has saved no version of it", source=self.name)


@pytest.mark.parametrize("ownership", [*Ownership, None])
async def test_nothing_saved_is_absence_only_of_what_can_be_nobodys_own(ownership: Ownership | None) -> None:
    class Stated:
        async def judge(self, project: str) -> Judgement:
            assert ownership is not None
            return Judgement(ownership=ownership, reason="stated")

    feed = DatedFeed(Unsaved(), facts=None, find_judge=lambda: None if ownership is None else Stated())  # type: ignore[arg-type]
    if ownership is Ownership.PUBLIC:
        with pytest.raises(
            ProjectNotFound, match="no project demo for this identity: source team-feed has saved no version of it"
        ):
            await feed.project_page("demo")
    else:
        with pytest.raises(NotSaved):
            await feed.project_page("demo")


async def test_a_name_of_a_feed_behind_is_no_absence_for_a_reader(world: World) -> None:
    """Whatever a Reader is told: acme-shared is there, in the other feed, and nobody else may answer for it."""
    world.feed.upstreams = [pypi("demo"), inner(world, "behind-reader")]
    judge = await world.start()
    feed = DatedFeed(Unsaved(), facts=judge, find_judge=lambda: judge)  # type: ignore[arg-type]
    with pytest.raises(NotSaved):
        await feed.project_page("acme-shared")
    with pytest.raises(ProjectNotFound):
        await feed.project_page("demo")

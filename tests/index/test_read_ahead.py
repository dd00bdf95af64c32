"""What is read before anybody asks for it: nothing that a rule withholds, nothing that its source would save by that."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.clock import FakeClock
from tests.support.judges import FakeJudge, FakeService
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.patterns import NamePatterns, parse_release
from wheelgate.index.read_ahead import FindSaved, ReadAhead
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

NAME = "acme-lib"
COOLDOWN = timedelta(days=3)


class World:
    """A source with 1.0, which is old, 2.0, which is young, and 3.0, of which nobody says how old it is."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.source = FakeSource("feed", clock)
        self.source.publish(NAME, "1.0", upload_time=clock.now() - 9 * COOLDOWN)
        self.source.publish(NAME, "2.0", upload_time=clock.now())
        self.source.publish(NAME, "3.0", upload_time=None)
        self.service = FakeService("feed")
        self.judge: FakeJudge | None = None
        self.store = WatchedStore(MemoryStore())
        self.claims = Claims(self.store, clock, StoreChanges(self.store, clock))

    async def choose(
        self,
        *,
        private: bool,
        deny: str | None = None,
        find_saved: FindSaved | None = None,
        claims: Claims | None = None,
    ) -> list[str]:
        """The versions that are read."""
        rules = Rules(cooldown=COOLDOWN, deny=[parse_release(deny)] if deny else [])
        ahead = ReadAhead(
            "feed",
            private=private,
            book=RuleBook(rules, NamePatterns(["acme-reserved"])),
            clock=self.clock,
            find_judge=lambda: self.judge,
            claims=claims,
            find_saved=find_saved,
        )
        return sorted(name.split("-")[1] for name in await ahead.choose(await self.source.project_page(NAME)))


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock)


async def test_of_a_public_page_what_is_too_young_is_not_read_and_what_may_be_old_is(world: World) -> None:
    assert await world.choose(private=False) == ["1.0", "3.0"]
    assert await world.choose(private=False, deny=NAME) == []
    assert await world.choose(private=False, deny=f"{NAME}==3.0") == ["1.0"]


async def test_of_a_private_page_all_is_read_but_what_is_denied(world: World) -> None:
    assert await world.choose(private=True) == ["1.0", "2.0", "3.0"]
    assert await world.choose(private=True, deny=f"{NAME}<3") == ["3.0"]


async def test_of_what_a_feed_passes_on_nothing_is_read(world: World) -> None:
    world.judge = FakeJudge(world.service, world.clock)
    assert await world.choose(private=True) == [], "public"
    world.service.own[NAME] = {"2"}
    world.clock.move(61)
    assert await world.choose(private=True) == ["1.0", "2.0", "3.0"]
    world.service.mixed.add(NAME)
    world.clock.move(61)
    assert await world.choose(private=True) == ["2.0"]
    world.service.is_silent = True
    world.judge = FakeJudge(world.service, world.clock)
    assert await world.choose(private=True) == [], "nobody can tell"


async def test_what_a_feed_has_not_saved_is_not_read(world: World) -> None:
    async def find_saved(project: str) -> frozenset[str] | None:
        return frozenset({"1", "2"})

    assert await world.choose(private=True, find_saved=find_saved) == ["1.0", "2.0"]
    assert await world.choose(private=False, find_saved=find_saved) == ["1.0"]


async def test_of_a_source_of_which_nobody_said_what_it_passes_on_only_what_is_claimed_is_read(world: World) -> None:
    assert await world.choose(private=True, claims=world.claims) == []
    await world.claims.claim(NAME, "feed")
    assert await world.choose(private=True, claims=world.claims) == ["1.0", "2.0", "3.0"]

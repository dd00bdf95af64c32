"""Names that are kept: listed once, then looked up one by one as they change, and never held back for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.clock import FakeClock
from wheelgate.core.errors import StoreError
from wheelgate.storage import kept_names
from wheelgate.storage.kept_names import RELISTED_S, KeptNames


class Place:
    """Names somewhere, and how often they were listed and looked up."""

    def __init__(self, clock: FakeClock) -> None:
        self.names = {"a", "b"}
        self.listings = 0
        self.looked_up: list[str] = []
        self.error: Exception | None = None
        self.listing = asyncio.Event()
        self.listing.set()
        self.looking = asyncio.Event()
        self.looking.set()
        self.kept = KeptNames("the place", find_all=self.find_all, holds=self.holds, clock=clock)

    async def find_all(self) -> AsyncIterator[Sequence[str]]:
        self.listings += 1
        if self.error is not None:
            raise self.error
        found = sorted(self.names)
        await self.listing.wait()
        yield found

    async def holds(self, name: str) -> bool:
        self.looked_up.append(name)
        found, error = name in self.names, self.error
        await self.looking.wait()
        if error is not None:
            raise error
        return found

    def change(self, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self.names = (self.names | {*add}) - {*remove}
        for name in (*add, *remove):
            self.kept.forget(name)


@pytest.fixture
async def place(clock: FakeClock) -> AsyncIterator[Place]:
    made = Place(clock)
    yield made
    await made.kept.close()


async def test_names_are_listed_once_and_looked_up_as_they_change(place: Place) -> None:
    assert await place.kept.get() == {"a", "b"}
    for number in range(50):
        place.change(add=[f"new-{number}"])
        assert f"new-{number}" in await place.kept.get()
    place.change(remove=["a"])
    assert len(await place.kept.get()) == 51
    assert place.listings == 1
    assert len(place.looked_up) == 51


async def test_what_did_not_change_has_the_same_revision(place: Place) -> None:
    before = await place.kept.get()
    place.change(add=["a"])
    place.kept.forget()
    assert (await place.kept.get()).revision == before.revision
    assert place.listings == 2


async def test_nothing_is_asked_before_somebody_wants_to_know_nor_once_nobody_does(place: Place, clock: FakeClock) -> None:
    place.change(add=["c"])
    place.kept.forget()
    await asyncio.sleep(0)
    assert (place.listings, place.looked_up) == (0, [])
    await place.kept.get()
    clock.move(RELISTED_S + 1)
    place.change(add=["d"])
    await asyncio.sleep(0)
    assert place.looked_up == []
    assert await place.kept.get() == {"a", "b", "c", "d"}
    assert place.listings == 2


async def test_a_change_while_they_are_listed_is_not_lost(place: Place) -> None:
    place.listing.clear()
    first = asyncio.create_task(place.kept.get())
    await asyncio.sleep(0.01)
    place.change(add=["c"], remove=["a"])  # after the listing has seen the names
    place.listing.set()
    await first
    assert await place.kept.get() == {"b", "c"}


async def test_a_change_that_is_looked_up_while_they_are_listed_anew_is_not_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.kept.get()
    monkeypatch.setattr(kept_names, "_PATIENCE_S", 0.05)
    place.listing.clear()
    place.kept.forget()
    assert await place.kept.get() == {"a", "b"}, "the list of before is not held back"
    place.change(add=["c"], remove=["a"])
    assert await place.kept.get() == {"b", "c"}
    place.listing.set()
    while place.kept._settled is not None:
        await asyncio.sleep(0)
    assert await place.kept.get() == {"b", "c"}
    assert place.listings == 2


async def test_whoever_asks_after_a_change_is_told_of_it_also_while_it_is_looked_up(place: Place) -> None:
    await place.kept.get()
    place.looking.clear()
    place.change(add=["c"])
    await asyncio.sleep(0)
    asking = asyncio.create_task(place.kept.get())
    await asyncio.sleep(0.01)
    assert not asking.done()
    place.looking.set()
    assert "c" in await asking


async def test_a_name_that_changes_again_while_it_is_looked_up_is_looked_up_again(place: Place) -> None:
    await place.kept.get()
    place.looking.clear()
    place.change(add=["c"])
    await asyncio.sleep(0)
    place.change(remove=["c"])
    place.looking.set()
    assert await place.kept.get() == {"a", "b"}


async def test_a_place_that_cannot_be_asked_is_an_error_at_first_and_what_was_known_later(place: Place) -> None:
    place.error = StoreError("the store is away")
    for _ in range(2):
        with pytest.raises(StoreError, match="away"):
            await place.kept.get()
    place.error = None
    await place.kept.get()
    place.error = StoreError("the store is away")
    place.change(add=["c"])
    place.kept.forget()
    place.change(add=["d"])
    assert await place.kept.get() == {"a", "b"}
    place.error = None
    assert await place.kept.get() == {"a", "b", "c", "d"}


async def test_a_first_listing_that_takes_long_is_told_and_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_names, "_FIRST_S", 0.01)
    place.listing.clear()
    for _ in range(3):
        with pytest.raises(StoreError, match="the names of the place are still being listed: try again"):
            await place.kept.get()
    place.listing.set()
    while not place.kept._is_listed:
        await asyncio.sleep(0)
    assert await place.kept.get() == {"a", "b"}
    assert place.listings == 1


async def test_a_list_is_made_anew_after_an_hour_and_serves_meanwhile(
    place: Place, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_names, "_PATIENCE_S", 0.01)
    await place.kept.get()
    place.names = {"a", "z"}  # nobody said so
    clock.move(RELISTED_S)
    place.listing.clear()
    assert await place.kept.get() == {"a", "b"}
    place.listing.set()
    while place.kept._settled is not None:
        await asyncio.sleep(0)
    assert await place.kept.get() == {"a", "z"}


async def test_too_many_changes_that_cannot_be_looked_up_are_a_reason_to_list_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_names, "_MAX_DOUBTFUL", 5)
    await place.kept.get()
    place.error = StoreError("the store is away")
    for number in range(20):
        place.change(add=[f"new-{number}"])
        await asyncio.sleep(0)
    assert len(place.kept._doubtful) <= 5
    place.error = None
    assert len(await place.kept.get()) == 22
    assert place.listings == 2


async def test_a_stream_of_changes_keeps_nobody_waiting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_names, "_PATIENCE_S", 0.05)
    await place.kept.get()
    going = True

    async def change() -> None:
        while going:
            place.change(add=["c"])
            place.kept.forget()
            await asyncio.sleep(0)

    changing = asyncio.create_task(change())
    async with asyncio.timeout(5):
        for _ in range(5):
            await place.kept.get()
    going = False
    await changing

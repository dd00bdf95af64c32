"""How long a finished page is served, and what ends it at once."""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource, filenames, listed
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import Busy, ProjectNotFound, StoreError, UpstreamUnavailable
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, LocalFile, ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Decision, Member
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import HTML, JSON
from wheelgate.sources.cached import Cached
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.web.page_cache import CachedPage, PageCache

FRESH_S, ABSENT_S, OVERSTAY_S = 600.0, 60.0, 600.0


class Ruled:
    """A source whose files a rule holds back until a moment, as a cool-down does."""

    def __init__(self, source: Cached, clock: FakeClock) -> None:
        self.name = source.name
        self._source = source
        self._clock = clock
        self.age = timedelta()

    async def project_names(self) -> frozenset[str]:
        return await self._source.project_names()

    async def project_page(self, project: str) -> ProjectPage:
        page = await self._source.project_page(project)
        if not self.age:
            return page
        ends = [file.upload_time + self.age for file in page.files if file.upload_time is not None]
        shown = tuple(file for file in page.files if file.upload_time and file.upload_time + self.age <= self._clock.now())
        valid_until = min((end for end in ends if end > self._clock.now()), default=None)
        return page.with_files(shown, page.withheld, freshness=msgspec.structs.replace(page.freshness, valid_until=valid_until))


class Index:
    """A private feed, then a public index, and the pages made of both."""

    def __init__(self, clock: FakeClock, *, public_absent_s: float = ABSENT_S, private_absent_s: float = ABSENT_S) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.feed = FakeSource("feed", clock)
        self.public = FakeSource("public", clock)
        self.store = WatchedStore(MemoryStore())
        changes = StoreChanges(self.store, clock)
        self.cached_feed = self._cached(self.feed, private_absent_s)
        self.ruled = Ruled(self._cached(self.public, public_absent_s, OVERSTAY_S), clock)
        self.merged = Merged(
            [Member(self.cached_feed, private=True), Member(self.ruled, private=False)],
            claims=Claims(self.store, clock, changes),
            clock=clock,
            metrics=self.metrics,
            reserved=NamePatterns([]),
        )
        self.pages = self.cache()
        self.merged.subscribe(self.pages.drop)

    def cache(self, max_bytes: int = 10_000_000) -> PageCache:
        return PageCache(self.merged, clock=self.clock, prefix="", metrics=self.metrics, max_bytes=max_bytes)

    def _cached(self, source: FakeSource, negative_ttl_s: float, stale_while_revalidate_s: float = 0.0) -> Cached:
        return Cached(
            source,
            clock=self.clock,
            metrics=self.metrics,
            fresh_s=FRESH_S,
            negative_ttl_s=negative_ttl_s,
            stale_while_revalidate_s=stale_while_revalidate_s,
        )

    async def listed(self, project: str = "acme-lib") -> list[str]:
        return filenames((await self.pages.entry(project)).page)

    async def file(self, filename: str, project: str = "acme-lib") -> File | None:
        return self.pages.find_file(await self.pages.entry(project), filename)

    def find_servable(self, project: str = "acme-lib") -> CachedPage | None:
        return self.pages.find_servable(project)


@pytest.fixture
def index(clock: FakeClock) -> Index:
    return Index(clock)


@pytest.fixture
def patient(clock: FakeClock) -> Index:
    """Its private source's absences outlast the public pages."""
    return Index(clock, private_absent_s=10_000.0)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_page_is_answered_find_servable_until_an_absence_it_rests_on_must_be_asked_for_again(
    index: Index, clock: FakeClock
) -> None:
    index.public.publish("acme-lib", "1.0")
    assert index.find_servable() is None
    await index.listed()
    clock.move(ABSENT_S - 0.1)
    assert index.find_servable() is not None
    asked = len(index.feed.asked)
    clock.move(0.1)
    assert index.find_servable() is None, "the public page is fresh, and that the private source has none is not"
    await index.listed()
    assert len(index.feed.asked) == asked + 1
    assert index.public.asked == ["acme-lib"]
    assert index.find_servable() is not None


async def test_a_name_that_a_private_source_gains_is_its_own_within_the_absences_lifetime(index: Index, clock: FakeClock) -> None:
    """Promise 1: nothing of the public page outlives the word that the private source has none, however stale."""
    index.public.publish("acme-lib", "1.0")
    await index.listed()
    index.feed.publish("acme-lib", "2.0")
    clock.move(ABSENT_S)
    assert index.find_servable() is None
    assert await index.listed() == ["acme_lib-2.0-py3-none-any.whl"]


async def test_a_private_source_that_cannot_be_heard_is_not_overlooked_for_speed(index: Index, clock: FakeClock) -> None:
    index.public.publish("acme-lib", "1.0", upload_time=clock.now() - timedelta(days=1))
    await index.listed()
    clock.move(ABSENT_S + 1)
    index.public.publish("acme-lib", "6.6", upload_time=clock.now() + timedelta(seconds=1))
    index.feed.fail()
    clock.move(FRESH_S)
    assert index.find_servable() is None
    assert await index.listed() == ["acme_lib-1.0-py3-none-any.whl"]
    assert index.find_servable() is None, "what stands in for an outage is decided anew each time"


async def test_past_its_freshness_a_remote_page_serves_while_it_is_being_asked_for(patient: Index, clock: FakeClock) -> None:
    patient.public.publish("acme-lib", "1.0")
    await patient.listed()
    patient.public.publish("acme-lib", "2.0")
    clock.move(FRESH_S + OVERSTAY_S - 0.1)
    patient.public.hold = asyncio.Event()
    for _ in range(5):
        assert filenames(patient.find_servable().page) == ["acme_lib-1.0-py3-none-any.whl"]  # type: ignore[union-attr]
        await settled()
    assert patient.public.asked == ["acme-lib"] * 2, "one flight, however many ask"
    patient.public.hold.set()
    await settled()
    assert len(patient.find_servable().page.files) == 2  # type: ignore[union-attr]


async def test_a_page_nobody_asked_for_in_twice_its_time_is_waited_for(patient: Index, clock: FakeClock) -> None:
    patient.public.publish("acme-lib", "1.0")
    await patient.listed()
    patient.public.publish("acme-lib", "2.0")
    clock.move(FRESH_S + OVERSTAY_S)
    assert patient.find_servable() is None
    assert len(await patient.listed()) == 2


async def test_while_a_source_is_slow_its_page_is_overstayed_so_long_and_no_longer(patient: Index, clock: FakeClock) -> None:
    patient.public.publish("acme-lib", "1.0")
    await patient.listed()
    clock.move(FRESH_S)
    patient.public.hold = asyncio.Event()
    assert patient.find_servable() is not None
    await settled()
    clock.move(OVERSTAY_S - 0.1)
    assert patient.find_servable() is not None
    clock.move(0.1)
    assert patient.find_servable() is None
    patient.public.hold.set()
    with pytest.raises(Busy):  # of that one question: what private sources said before it is over
        await patient.listed()
    assert await patient.listed()


async def test_a_refresh_that_finds_the_project_gone_ends_the_old_page(patient: Index, clock: FakeClock) -> None:
    patient.public.publish("acme-lib", "1.0")
    await patient.listed()
    patient.public.remove("acme-lib")
    clock.move(FRESH_S)
    assert patient.find_servable() is not None
    await settled()
    assert patient.find_servable() is None
    with pytest.raises(ProjectNotFound):
        await patient.listed()


async def test_a_refresh_that_fails_gives_way_to_the_last_good_page_marked_as_such(patient: Index, clock: FakeClock) -> None:
    patient.public.publish("acme-lib", "1.0")
    await patient.listed()
    patient.public.fail(UpstreamUnavailable("down", source="public"))
    clock.move(FRESH_S)
    assert patient.find_servable() is not None
    await settled()
    assert patient.find_servable() is None
    assert (await patient.pages.entry("acme-lib")).page.stale


async def test_a_rule_ends_a_page_to_the_second(index: Index, clock: FakeClock) -> None:
    index.ruled.age = timedelta(seconds=30)
    index.public.publish("acme-lib", "1.0", upload_time=clock.now() - timedelta(days=1))
    index.public.publish("acme-lib", "2.0")
    assert len(await index.listed()) == 1
    clock.move(29.9)
    assert index.find_servable() is not None
    clock.move(0.1)
    assert index.find_servable() is None
    assert len(await index.listed()) == 2
    assert index.public.asked == ["acme-lib"]


async def test_turning_the_wall_clock_makes_a_page_neither_older_nor_younger(index: Index, clock: FakeClock) -> None:
    index.public.publish("acme-lib", "1.0")
    entry = await index.pages.entry("acme-lib")
    clock._now += timedelta(days=30)
    assert index.find_servable() is entry
    assert clock.monotonic() - entry.confirmed_s == 0  # type: ignore[operator]


async def test_whatever_changes_is_asked_for_again_at_the_next_request(index: Index, clock: FakeClock) -> None:
    index.public.publish("acme-lib", "1.0")
    entry = await index.pages.entry("acme-lib")
    await index.pages.render("acme-lib", JSON)
    index.ruled.age = timedelta(days=1)
    index.merged.invalidate()
    assert index.find_servable() is None
    assert await index.listed() == []
    index.ruled.age = timedelta()
    index.merged.invalidate()
    again = await index.pages.entry("acme-lib")
    assert again.page.revision == entry.page.revision


async def test_a_change_that_leaves_a_page_as_it_is_keeps_its_bytes(index: Index) -> None:
    index.public.publish("acme-lib", "1.0")
    first, _ = await index.pages.render("acme-lib", JSON)
    index.merged.invalidate()
    again, _ = await index.pages.render("acme-lib", JSON)
    assert again is first


async def test_what_was_decided_before_a_change_does_not_answer_for_after_it(index: Index) -> None:
    index.public.publish("acme-lib", "1.0")
    index.public.hold = asyncio.Event()
    waiting = asyncio.create_task(index.listed())
    await settled()
    index.merged.invalidate()
    index.public.hold.set()
    assert len(await waiting) == 1
    assert index.find_servable() is None


async def test_a_page_whose_name_cannot_be_claimed_is_not_served_until_it_is(index: Index) -> None:
    index.feed.publish("acme-lib", "1.0")
    index.store.fails = lambda method, path: method == "put_if_absent"
    with pytest.raises(StoreError, match="cannot be recorded as private"):
        await index.listed()
    assert index.find_servable() is None
    index.store.up()
    assert await index.listed()
    assert index.find_servable() is not None
    assert await index.merged._claims.get("acme-lib") is not None


async def test_a_file_is_found_on_the_page_that_is_served(index: Index) -> None:
    file = index.public.publish("acme-lib", "1.0")
    assert await index.file(file.filename) == file
    assert await index.file("acme_lib-2.0-py3-none-any.whl") is None
    assert index.public.asked == ["acme-lib"]


async def test_a_file_asked_for_is_at_hand_afterwards(index: Index) -> None:
    file = index.public.publish("acme-lib", "1.0")
    _, entry = await index.pages.render("acme-lib", JSON)
    await until_packed(entry.files)
    found = await index.file(file.filename)
    assert found == file
    assert await index.file(file.filename) is found
    changed = msgspec.structs.replace(file, yanked="broken")
    index.public.files["acme-lib"][file.filename] = changed
    index.public._pages.clear()
    index.clock.move(10 * FRESH_S)
    assert await index.file(file.filename) == changed


async def test_many_who_ask_find_servable_cost_one_decision_and_one_rendering(index: Index) -> None:
    index.public.publish("acme-lib", "1.0")
    decided = []
    decide = index.merged.decide

    class Counting:
        async def decide(self, project: str) -> Decision:
            decided.append(project)
            return await decide(project)

    pages = PageCache(cast("Any", Counting()), clock=index.clock, prefix="", metrics=index.metrics)
    answers = await asyncio.gather(*(pages.render("acme-lib", JSON) for _ in range(50)))
    assert decided == ["acme-lib"]
    assert all(finished is answers[0][0] for finished, _ in answers)


async def test_a_page_is_plain_only_for_those_who_want_it_so(index: Index) -> None:
    for version in range(10):
        index.public.publish("acme-lib", f"{version}.0")
    gzipped, entry = await index.pages.render("acme-lib", JSON)
    assert list(entry.responses) == [(JSON, True)]
    weight = index.pages._entries.currsize
    plain, _ = await index.pages.render("acme-lib", JSON, gzip=False)
    assert plain.body == gzip.decompress(gzipped.body)
    assert index.pages._entries.currsize == weight + len(plain.body)
    assert set(plain.etags) == set(gzipped.etags)
    assert (plain.headers[200]["ETag"], gzipped.headers[200]["ETag"]) == (f'"{plain.etags[0]}"', f'"{plain.etags[0]}-gzip"')


async def test_many_who_want_both_forms_cost_one_rendering(index: Index) -> None:
    index.public.publish("acme-lib", "1.0")
    answers = await asyncio.gather(*(index.pages.render("acme-lib", JSON, gzip=number % 2 == 0) for number in range(50)))
    assert len({id(response) for response, _ in answers}) == 2
    assert gzip.decompress(answers[0][0].body) == answers[1][0].body


async def test_the_files_of_a_page_are_packed_behind_its_first_answer(index: Index) -> None:
    file = index.public.publish("acme-lib", "1.0")
    _, entry = await index.pages.render("acme-lib", JSON)
    assert entry.files.list_unpacked(), "whoever waits for the page comes first"
    await until_packed(entry.files)
    assert await index.file(file.filename) == file
    rendered, _ = await index.pages.render("acme-lib", HTML, gzip=False)
    assert file.filename.encode() in rendered.body


async def test_a_page_that_was_only_asked_for_a_file_is_packed_too(index: Index) -> None:
    file = index.public.publish("acme-lib", "1.0")
    await index.file(file.filename)
    await until_packed((await index.pages.entry("acme-lib")).files)


async def test_a_list_is_packed_once_however_often_its_page_is_asked_for(index: Index) -> None:
    index.public.publish("acme-lib", "1.0")
    _, entry = await index.pages.render("acme-lib", JSON)
    for _ in range(5_000):
        await index.pages.render("acme-lib", JSON)
    assert len(index.pages._packer._waiting) <= 1
    await until_packed(entry.files)


async def test_a_list_that_cannot_be_packed_stays_and_holds_up_no_other(index: Index) -> None:
    odd = msgspec.structs.replace(listed("odd", "1.0"), location=LocalFile("caf\udce9/odd.whl", "1", "caf\udce9"))
    index.public.files["odd"] = {odd.filename: odd}
    index.public.publish("acme-lib", "1.0")
    _, odd_entry = await index.pages.render("odd", JSON)
    _, entry = await index.pages.render("acme-lib", JSON)
    await until_packed(entry.files)
    assert list(odd_entry.files) == [odd]


async def test_closing_leaves_the_rest_unpacked(index: Index) -> None:
    index.public.publish("acme-lib", "1.0")
    _, entry = await index.pages.render("acme-lib", JSON)
    await index.pages.close()
    assert entry.files.list_unpacked()
    assert len(entry.files) == 1


async def until_packed(files: FileList) -> None:
    async with asyncio.timeout(5):
        while files.list_unpacked():
            await asyncio.sleep(0)


async def test_memory_is_bounded_by_bytes(index: Index) -> None:
    pages = index.cache(max_bytes=30_000)
    for number in range(50):
        for version in range(10):
            index.public.publish(f"project-{number}", f"{version}.0")
        for kind in (JSON, HTML):
            await pages.render(f"project-{number}", kind)
        assert sum(pages._entries.getsizeof(entry) for entry in pages._entries.values()) <= 30_000
    assert 1 < len(pages._entries) < 10
    assert pages.find_servable("project-49") is not None
    assert pages.find_servable("project-0") is None


async def test_a_page_too_large_to_keep_is_served_all_the_same(index: Index) -> None:
    pages = index.cache(max_bytes=3_000)
    for version in range(10):
        index.public.publish("acme-lib", f"{version}.0")
    finished, entry = await pages.render("acme-lib", JSON)
    assert len(entry.page.files) == 10
    assert finished.body
    assert pages.find_servable("acme-lib") is None

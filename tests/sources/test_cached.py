"""Time: when a source is asked again, and what stands in for it while it is unreachable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.sources.source_contract import SourceContract
from tests.support.clock import FakeClock
from tests.support.packages import sha256
from tests.support.sources import FakeSource, counted, filenames
from wheelgate.core.errors import (
    Busy,
    CredentialRefused,
    ProjectNotFound,
    StillListing,
    StoreError,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.file_list import page_bytes
from wheelgate.core.model import STALE_IF_ERROR_S, ProjectPage
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.cached import Cached
from wheelgate.upstream.failures import ChainRefused

HOUR = 3600.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def fake(clock: FakeClock) -> FakeSource:
    return FakeSource("team", clock)


@pytest.fixture
def make(fake: FakeSource, clock: FakeClock, metrics: Metrics) -> Callable[..., Cached]:
    def made(**options: object) -> Cached:
        settings = {"fresh_s": 600.0, "negative_ttl_s": 60.0, **options}
        return Cached(fake, clock=clock, metrics=metrics, **settings)  # type: ignore[arg-type]

    return made


@pytest.fixture
def cached(make: Callable[..., Cached]) -> Cached:
    return make()


async def absence(cached: Cached, project: str = "acme-lib") -> ProjectNotFound:
    with pytest.raises(ProjectNotFound) as raised:
        await cached.project_page(project)
    return raised.value


class World:
    """The cache, and the source behind it."""

    gives_digests = True
    lists_names = True

    def __init__(self, fake: FakeSource, cached: Cached, clock: FakeClock) -> None:
        self.fake = fake
        self.source = cached
        self.clock = clock

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        self.fake.publish(project, "", filename=filename, hashes={"sha256": sha256(body)})
        self.clock.move(601)

    async def remove(self, project: str) -> None:
        self.fake.remove(project)
        self.clock.move(601)

    async def fail(self) -> None:
        self.fake.fail()

    async def mend(self) -> None:
        self.fake.mend()


class TestCached(SourceContract):
    @pytest.fixture
    def world(self, fake: FakeSource, cached: Cached, clock: FakeClock) -> World:
        return World(fake, cached, clock)


# --- freshness


async def test_a_fresh_page_is_the_same_object_and_costs_no_question(cached: Cached, fake: FakeSource, clock: FakeClock) -> None:
    fake.publish("acme-lib", "1.0")
    page = await cached.project_page("acme-lib")
    clock.move(599.9)
    assert await cached.project_page("acme-lib") is page
    assert fake.asked == ["acme-lib"]
    clock.move(0.1)
    fake.publish("acme-lib", "2.0")
    assert len((await cached.project_page("acme-lib")).files) == 2
    assert fake.asked == ["acme-lib"] * 2


async def test_an_absence_has_a_lifetime_of_its_own(cached: Cached, fake: FakeSource, clock: FakeClock) -> None:
    assert (await absence(cached)).outage_since is None
    fake.publish("acme-lib", "1.0")
    clock.move(59.9)
    assert (await absence(cached)).outage_since is None
    assert fake.asked == ["acme-lib"]
    clock.move(0.1)
    assert (await cached.project_page("acme-lib")).files
    assert fake.asked == ["acme-lib"] * 2


async def test_one_projects_answer_says_nothing_of_another(cached: Cached, fake: FakeSource) -> None:
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    await absence(cached, "other")
    assert fake.asked == ["acme-lib", "other"]


async def test_a_clean_absence_ends_the_last_good_page(cached: Cached, fake: FakeSource, clock: FakeClock) -> None:
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    fake.remove("acme-lib")
    clock.move(600)
    assert (await absence(cached)).outage_since is None
    fake.fail()
    clock.move(60)
    assert (await absence(cached)).outage_since is not None


async def test_known_since_is_kept_as_long_as_there_is_a_page(cached: Cached, fake: FakeSource, clock: FakeClock) -> None:
    began = clock.now()
    fake.publish("acme-lib", "1.0")
    assert (await cached.project_page("acme-lib")).known_since == began
    clock.move(600)
    fake.publish("acme-lib", "2.0")
    assert (await cached.project_page("acme-lib")).known_since == began
    fake.remove("acme-lib")
    clock.move(600)
    await absence(cached)
    fake.publish("acme-lib", "3.0")
    clock.move(60)
    assert (await cached.project_page("acme-lib")).known_since == clock.now()


async def test_turning_the_wall_clock_makes_nothing_older_or_younger(cached: Cached, fake: FakeSource, clock: FakeClock) -> None:
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    clock._now += timedelta(days=30)
    assert not (await cached.project_page("acme-lib")).stale
    assert fake.asked == ["acme-lib"]
    fake.fail()
    clock._monotonic += 600
    assert (await cached.project_page("acme-lib")).stale
    clock._now -= timedelta(days=90)
    clock._monotonic += STALE_IF_ERROR_S
    with pytest.raises(UpstreamUnavailable):
        await cached.project_page("acme-lib")


# --- one flight


@pytest.mark.parametrize("count", [2, 300])
async def test_however_many_ask_at_once_the_source_is_asked_once(cached: Cached, fake: FakeSource, count: int) -> None:
    fake.publish("acme-lib", "1.0")
    pages = await asyncio.gather(*(cached.project_page("acme-lib") for _ in range(count)))
    assert all(page is pages[0] for page in pages)
    assert fake.asked == ["acme-lib"]


async def test_an_error_goes_to_all_who_waited_and_is_then_forgotten(cached: Cached, fake: FakeSource) -> None:
    fake.fail(CredentialRefused("source team answered 401", source="team"))
    outcomes = await asyncio.gather(*(cached.project_page("acme-lib") for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {CredentialRefused}
    assert fake.asked == ["acme-lib"]
    fake.mend()
    fake.publish("acme-lib", "1.0")
    assert (await cached.project_page("acme-lib")).files
    assert fake.asked == ["acme-lib"] * 2


async def test_who_asked_first_may_leave(cached: Cached, fake: FakeSource) -> None:
    fake.publish("acme-lib", "1.0")
    fake.hold = asyncio.Event()
    first = asyncio.create_task(cached.project_page("acme-lib"))
    second = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    fake.hold.set()
    assert (await second).files
    assert fake.asked == ["acme-lib"]


async def test_closing_ends_what_is_under_way(cached: Cached, fake: FakeSource) -> None:
    fake.hold = asyncio.Event()
    question = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await cached.close()
        with pytest.raises((asyncio.CancelledError, UpstreamError)):
            await question


# --- what stands in


@pytest.mark.parametrize("error", [UpstreamUnavailable("down"), CredentialRefused("401"), StoreError("the store is down")])
async def test_the_last_good_page_stands_in_for_a_day_and_no_longer(
    cached: Cached, fake: FakeSource, clock: FakeClock, metrics: Metrics, error: Exception
) -> None:
    fake.publish("acme-lib", "1.0")
    good = await cached.project_page("acme-lib")
    fake.fail(error)
    clock.move(600)
    stale = await cached.project_page("acme-lib")
    assert stale.stale
    assert stale.revision == good.revision
    assert (stale.as_of, stale.known_since) == (good.as_of, good.known_since)
    assert counted(metrics, "stale_pages", source="team") == 1
    clock.move(STALE_IF_ERROR_S - 600)
    assert (await cached.project_page("acme-lib")).stale
    clock.move(0.1)
    with pytest.raises(type(error)):
        await cached.project_page("acme-lib")


async def test_a_slow_source_is_waited_for_as_long_as_there_is_nothing_to_go_on_with(
    make: Callable[..., Cached], fake: FakeSource, clock: FakeClock
) -> None:
    cached = make(patience_s=0.05)
    fake.publish("acme-lib", "1.0")
    hold = fake.hold = asyncio.Event()
    first = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.1)
    assert not first.done()
    hold.set()
    await first
    fake.publish("acme-lib", "2.0")
    clock.move(601)
    hold = fake.hold = asyncio.Event()
    assert (await cached.project_page("acme-lib")).stale
    assert (await cached.project_page("acme-lib")).stale
    hold.set()
    await asyncio.sleep(0.01)
    page = await cached.project_page("acme-lib")
    assert not page.stale
    assert len(page.files) == 2
    cached.drop("acme-lib")  # it is known to be another by now
    hold = fake.hold = asyncio.Event()
    dropped = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.1)
    assert not dropped.done()
    hold.set()
    await dropped


async def test_a_page_that_is_dropped_while_its_successor_is_waited_for_goes_to_nobody(
    make: Callable[..., Cached], fake: FakeSource, clock: FakeClock
) -> None:
    cached = make(patience_s=0.05)
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    clock.move(601)
    hold = fake.hold = asyncio.Event()
    waiting = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.01)
    fake.remove("acme-lib")
    fake.publish("acme-lib", "2.0")
    cached.drop("acme-lib")
    later = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert not later.done()
    hold.set()
    assert filenames(await waiting) == filenames(await later) == ["acme_lib-2.0-py3-none-any.whl"]


async def test_everybody_gets_the_same_stale_page(cached: Cached, fake: FakeSource, clock: FakeClock) -> None:
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    fake.fail()
    clock.move(600)
    stale = await cached.project_page("acme-lib")
    clock.move(HOUR)
    assert await cached.project_page("acme-lib") is stale


async def test_a_failing_source_is_asked_again_every_five_seconds_at_most(
    cached: Cached, fake: FakeSource, clock: FakeClock
) -> None:
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    fake.fail()
    clock.move(600)
    for _ in range(10):
        await cached.project_page("acme-lib")
        clock.move(0.49)
    assert len(fake.asked) == 2
    clock.move(0.2)
    fake.mend()
    fake.publish("acme-lib", "2.0")
    page = await cached.project_page("acme-lib")
    assert not page.stale
    assert len(page.files) == 2


async def test_a_page_that_was_never_good_does_not_stand_in(cached: Cached, fake: FakeSource) -> None:
    fake.publish("acme-lib", "1.0")
    fake.fail()
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable, match="source team is down"):
            await cached.project_page("acme-lib")
    assert len(fake.asked) == 2


async def test_a_remembered_absence_is_repeated_with_the_outage_it_survived(
    cached: Cached, fake: FakeSource, clock: FakeClock
) -> None:
    heard = clock.now()
    await absence(cached)
    clock.move(300)
    fake.fail()
    began = clock.now()
    repeated = await absence(cached)
    assert (repeated.outage_since, repeated.last_heard) == (began, heard)
    assert "source team is unreachable (source team is down); before that it had no project acme-lib" in str(repeated)
    clock.move(1)
    again = await absence(cached)
    assert (again.outage_since, again.last_heard) == (began, heard)
    assert len(fake.asked) == 2
    clock.move(STALE_IF_ERROR_S - 301)
    assert (await absence(cached)).outage_since == began
    clock.move(0.1)
    with pytest.raises(UpstreamUnavailable):
        await cached.project_page("acme-lib")


async def test_an_outage_begins_when_the_source_fell_silent_whoever_noticed(
    cached: Cached, fake: FakeSource, clock: FakeClock
) -> None:
    await absence(cached, "one")
    await absence(cached, "other")
    clock.move(61)
    fake.fail()
    began = clock.now()
    await absence(cached, "one")
    clock.move(600)
    assert (await absence(cached, "other")).outage_since == began


async def test_an_answer_about_another_project_does_not_end_the_outage_of_this_one(
    cached: Cached, fake: FakeSource, clock: FakeClock
) -> None:
    """A flapping source: were the outage to begin anew each time, pages first seen in its middle would count as known."""
    await absence(cached, "one")
    clock.move(61)
    fake.errors["one"] = UpstreamUnavailable("source team answered 500")
    began = clock.now()
    await absence(cached, "one")
    for _ in range(3):
        clock.move(2)
        await absence(cached, f"other-{clock.monotonic()}")
        assert (await absence(cached, "one")).outage_since == began
    clock.move(600)
    assert (await absence(cached, "one")).outage_since == began
    fake.mend()
    clock.move(6)
    assert (await absence(cached, "one")).outage_since is None
    fake.fail()
    clock.move(61)
    assert (await absence(cached, "one")).outage_since == clock.now()


@pytest.mark.parametrize(
    "error",
    [
        Busy("source team was not asked: this server is busy here", source="team"),
        ChainRefused("source team leads back to this server", source="team"),
    ],
    ids=["busy", "chain"],
)
async def test_what_is_no_fault_of_the_source_is_no_outage_of_it(
    cached: Cached, fake: FakeSource, clock: FakeClock, caplog: pytest.LogCaptureFixture, error: UpstreamError
) -> None:
    """Its last page is as good as before; of what it did not have, it could have been asked, so nothing is repeated."""
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    await absence(cached, "other")
    clock.move(601)
    fake.fail(error)
    assert (await cached.project_page("acme-lib")).stale
    for project in ("other", "new"):
        with pytest.raises(type(error)):
            await cached.project_page(project)
    assert not caplog.records
    clock.move(60)
    fake.fail()
    assert (await absence(cached, "other")).outage_since == clock.now()
    fake.mend()
    assert not (await cached.project_page("acme-lib")).stale


async def test_strict_repeats_no_absence_and_still_stands_in_with_pages(
    make: Callable[..., Cached], fake: FakeSource, clock: FakeClock
) -> None:
    cached = make(strict=True)
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    await absence(cached, "other")
    fake.fail(CredentialRefused("source team answered 401", source="team"))
    clock.move(600)
    assert (await cached.project_page("acme-lib")).stale
    with pytest.raises(CredentialRefused):
        await cached.project_page("other")
    with pytest.raises(UpstreamError, match="source team is unreachable, asked for other"):
        await cached.project_page("other")
    assert len(fake.asked) == 4, "not asked again within five seconds"


# --- drop


async def test_after_a_drop_everything_is_asked_anew(make: Callable[..., Cached], fake: FakeSource) -> None:
    cached = make(fresh_s=float("inf"), negative_ttl_s=float("inf"))
    fake.publish("acme-lib", "1.0")
    first = await cached.project_page("acme-lib")
    await absence(cached, "other")
    assert await cached.project_page("acme-lib") is first
    fake.publish("acme-lib", "2.0")
    fake.publish("other", "1.0")
    cached.drop()
    assert len((await cached.project_page("acme-lib")).files) == 2
    assert (await cached.project_page("other")).files


async def test_what_was_dropped_still_stands_in(make: Callable[..., Cached], fake: FakeSource, clock: FakeClock) -> None:
    cached = make(fresh_s=float("inf"))
    fake.publish("acme-lib", "1.0")
    good = await cached.project_page("acme-lib")
    clock.move(HOUR)
    cached.drop()
    fake.fail()
    stale = await cached.project_page("acme-lib")
    assert stale.stale
    assert (stale.files, stale.as_of) == (good.files, good.as_of)
    clock.move(STALE_IF_ERROR_S - HOUR + 1)
    with pytest.raises(UpstreamUnavailable):
        await cached.project_page("acme-lib")


async def test_an_answer_under_way_when_the_drop_comes_serves_who_waited_and_nobody_later(
    cached: Cached, fake: FakeSource
) -> None:
    fake.publish("acme-lib", "1.0")
    fake.hold = asyncio.Event()
    waiting = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.01)
    fake.publish("acme-lib", "2.0")
    cached.drop()
    later = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.01)
    fake.hold.set()
    assert len((await waiting).files) == 1
    assert len((await later).files) == 2
    assert len((await cached.project_page("acme-lib")).files) == 2
    assert fake.asked == ["acme-lib"] * 2


async def test_an_older_answer_that_comes_last_neither_serves_nor_stands_in(
    cached: Cached, fake: FakeSource, clock: FakeClock
) -> None:
    fake.publish("acme-lib", "1.0")
    slow = fake.hold = asyncio.Event()
    waiting = asyncio.create_task(cached.project_page("acme-lib"))
    await asyncio.sleep(0.01)
    fake.hold = None
    fake.publish("acme-lib", "2.0")
    cached.drop()
    newer = await cached.project_page("acme-lib")
    slow.set()
    assert len((await waiting).files) == 1
    assert await cached.project_page("acme-lib") is newer
    fake.fail()
    clock.move(600)
    assert len((await cached.project_page("acme-lib")).files) == 2


async def test_a_drop_ends_the_pause_after_a_failure(make: Callable[..., Cached], fake: FakeSource, clock: FakeClock) -> None:
    """A change can only have been announced by a store that answers."""
    cached = make(fresh_s=10.0)
    fake.publish("acme-lib", "1.0")
    await cached.project_page("acme-lib")
    fake.fail()
    clock.move(10)
    assert (await cached.project_page("acme-lib")).stale
    fake.mend()
    fake.publish("acme-lib", "2.0")
    cached.drop()
    assert len((await cached.project_page("acme-lib")).files) == 2


# --- memory


async def test_memory_is_bounded_and_the_least_recently_used_goes_first(make: Callable[..., Cached], fake: FakeSource) -> None:
    fake.publish("one", "1.0")
    size = page_bytes(await fake.project_page("one")) + 300
    fake.asked.clear()
    cached = make(max_bytes=3 * size)
    for project in ("one", "two", "three"):
        fake.publish(project, "1.0")
        await cached.project_page(project)
    await cached.project_page("one")
    fake.publish("four", "1.0")
    await cached.project_page("four")  # "two" goes
    fake.asked.clear()
    for project in ("one", "three", "four"):
        await cached.project_page(project)
    assert fake.asked == []
    await cached.project_page("two")
    assert fake.asked == ["two"]


async def test_absences_are_bounded_too(make: Callable[..., Cached]) -> None:
    cached = make(max_bytes=30_000)
    for number in range(1_000):
        await absence(cached, f"name-{number}")
    assert len(cached._answers) <= 100
    assert cached._answers.currsize <= 30_000


async def test_a_page_larger_than_the_bound_is_served_and_not_kept(make: Callable[..., Cached], fake: FakeSource) -> None:
    cached = make(max_bytes=2_000)
    for number in range(10):
        fake.publish("large", f"{number}.0")
    for _ in range(2):
        assert len(filenames(await cached.project_page("large"))) == 10
    assert fake.asked == ["large"] * 2
    assert cached._answers.currsize == 0


async def test_names_are_the_sources_own(cached: Cached, fake: FakeSource) -> None:
    fake.publish("acme-lib", "1.0")
    assert await cached.project_names() == {"acme-lib"}
    fake.fail()
    with pytest.raises(UpstreamUnavailable):
        await cached.project_names()


async def test_while_a_source_is_listed_for_the_first_time_its_kept_pages_stand_in_and_nothing_is_held_against_it(
    fake: FakeSource, make: Callable[..., Cached], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    fake.publish("acme-lib", "1.0")
    kept = await fake.project_page("acme-lib")
    ended = asyncio.Event()
    fake.fail(StillListing("source team is still being listed (7 blobs so far)", wait=ended.wait))

    async def find_kept(project: str) -> ProjectPage | None:
        return kept if project == "acme-lib" else None

    cached = make(find_kept=find_kept, fresh_s=0.0, negative_ttl_s=0.0)
    page = await cached.project_page("acme-lib")
    assert (filenames(page), page.stale) == (filenames(kept), True)
    for _ in range(2):
        with pytest.raises(StillListing):
            await cached.project_page("other")
    assert "fails" not in caplog.text
    fake.mend()
    assert not (await cached.project_page("acme-lib")).stale
    await absence(cached, "other")

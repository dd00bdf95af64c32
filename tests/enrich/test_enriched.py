"""What an index leaves out, and what is remembered of it: shown, kept, shared with replicas, and never in a page's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.sources.source_contract import SourceContract
from tests.support.bounds import AT_ONCE_S
from tests.support.clock import FakeClock
from tests.support.packages import sha256, wheel_name
from tests.support.sources import LONG_AGO, FakeSource, counted, filenames, listed
from tests.support.stores import INDEX, WatchedStore, home_of
from wheelgate.core.digests import new_hash
from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import STALE_IF_ERROR_S, File, ProjectPage, RemoteFile, StoredFile, Withheld
from wheelgate.enrich.enriched import EnrichedSource, enrich_file
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.file_memory import MatchedFiles, ProjectState
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import ExtractedMetadata, FileRecord, KeptPage, Observation
from wheelgate.index.merge_pages import merge_pages
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout

NAME, WHEEL = "acme-lib", wheel_name("acme-lib", "1.0")
RECORD = layout.record(home_of("team"), NAME)
HOUR = 3600.0


class Process:
    """One process that asks the source, or the same one after a restart."""

    def __init__(self, fake: FakeSource, store: WatchedStore, clock: FakeClock, **options: float) -> None:
        settings = {"delay_s": 0.002, "patience_s": 0.05, **options}
        self.metrics = Metrics()
        self.memory = FileHistory(ProjectRecords(store, "team", url=INDEX), clock=clock, **settings)  # type: ignore[arg-type]
        self.cached = Cached(
            fake, clock=clock, metrics=self.metrics, fresh_s=60, negative_ttl_s=60, find_kept=self.memory.find_last_good
        )
        self.source = EnrichedSource(self.cached, memory=self.memory, clock=clock, metrics=self.metrics)

    async def page(self, project: str = NAME) -> ProjectPage:
        return await self.source.project_page(project)

    async def file(self, filename: str = WHEEL) -> File:
        return next(file for file in (await self.page()).files if file.filename == filename)

    async def close(self) -> None:
        await self.source.close()
        await self.cached.close()
        await self.memory.close()


Start = Callable[..., Process]


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def fake(clock: FakeClock) -> FakeSource:
    return FakeSource("team", clock)


@pytest.fixture
async def start(fake: FakeSource, store: WatchedStore, clock: FakeClock) -> AsyncIterator[Start]:
    made: list[Process] = []

    def started(**options: float) -> Process:
        made.append(Process(fake, store, clock, **options))
        return made[-1]

    yield started
    store.up()
    store.holds.clear()
    for process in made:
        await process.close()


@pytest.fixture
def process(start: Start) -> Process:
    return start()


async def restarted(process: Process, start: Start) -> Process:
    """What comes after an orderly end."""
    await process.close()
    return start()


def bare(fake: FakeSource, version: str = "1.0", **known: object) -> File:
    """List a file that says nothing but its name and link."""
    return fake.publish(NAME, version, **{"hashes": {}, "upload_time": None, **known})


async def written(store: WatchedStore, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while store.count("replace_if", RECORD) < count:
            await asyncio.sleep(0.002)


class World:
    gives_digests = True
    lists_names = True

    def __init__(self, process: Process, fake: FakeSource, clock: FakeClock) -> None:
        self.source, self.fake, self.clock = process.source, fake, clock

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        self.fake.publish(project, "", filename=filename, hashes={"sha256": sha256(body)})
        self.clock.move(61)

    async def remove(self, project: str) -> None:
        self.fake.remove(project)
        self.clock.move(61)

    async def fail(self) -> None:
        self.fake.fail()

    async def mend(self) -> None:
        self.fake.mend()


class TestEnriched(SourceContract):
    @pytest.fixture
    def world(self, process: Process, fake: FakeSource, clock: FakeClock) -> World:
        return World(process, fake, clock)


# --- what is added


async def test_a_page_that_says_everything_is_handed_on_as_it_is(process: Process, fake: FakeSource) -> None:
    fake.publish(NAME, "1.0", core_metadata={"sha256": "ab" * 32})
    page = await process.page()
    assert page.revision == (await process.cached.project_page(NAME)).revision
    assert await process.page() is page


SHA = "a" * 64
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
MADE = ExtractedMetadata(MOMENT, SHA, "b" * 64, ">=3.9")
COMPLETE = File(
    filename=WHEEL,
    project=NAME,
    source="team",
    location=RemoteFile("https://index.example.com/f", "team"),
    hashes={"sha256": SHA},
    size=7,
    upload_time=MOMENT,
    core_metadata={},
)
SEEN = FileRecord(MOMENT, {"sha256": SHA}, MOMENT, 7)


@pytest.mark.parametrize(
    ("listed", "seen", "shown"),
    [
        ({}, {}, {}),
        ({}, {"uploaded": MOMENT + timedelta(hours=1)}, {}),
        ({}, {"made": MADE}, {}),
        ({"filename": "acme-lib-1.0.tar.gz", "core_metadata": None}, {}, {}),
        ({}, {"uploaded": MOMENT - timedelta(hours=1)}, {"upload_time": MOMENT - timedelta(hours=1)}),
        ({"upload_time": None}, {}, {"upload_time": MOMENT, "observed": ("upload_time",)}),
        ({"size": None}, {}, {"size": 7}),
        ({"hashes": {"md5": "c" * 32}}, {}, {"hashes": {"md5": "c" * 32, "sha256": SHA}}),
        ({"core_metadata": None}, {}, {"core_metadata": {}, "metadata_in_wheel": True}),
        ({"location": StoredFile("box", "p", "1")}, {}, {"metadata_in_wheel": True}),
        (
            {"filename": "acme-lib-1.0.tar.gz", "core_metadata": None},
            {"made": MADE},
            {"requires_python": ">=3.9"},
        ),
    ],
)
def test_a_file_is_shown_as_it_is_if_nothing_that_is_remembered_adds_to_it(
    listed: dict[str, Any], seen: dict[str, Any], shown: dict[str, Any]
) -> None:
    file, record = replace(COMPLETE, **listed), replace(SEEN, **seen)
    enriched = enrich_file(file, record)
    assert enriched == replace(file, **shown)
    assert (enriched is file) is not bool(shown)


def test_a_digest_that_a_later_release_read_is_not_compared() -> None:
    """Its replicas write the same records."""
    file = listed(NAME, "1.0", hashes={})
    known = {"sha256": "ab" * 32, "blake9": "cd" * 32, "blake2b_7": "00", "blake2b_256": "ef" * 32}
    shown = enrich_file(file, FileRecord(LONG_AGO, known, LONG_AGO)).hashes
    assert shown == {"sha256": "ab" * 32, "blake2b_256": "ef" * 32}
    assert all(map(new_hash, shown))


async def test_every_wheel_offers_core_metadata_and_nothing_else_does(process: Process, fake: FakeSource) -> None:
    fake.publish(NAME, "1.0", core_metadata=None)
    fake.publish(NAME, "2.0", core_metadata={})
    fake.publish(NAME, "3.0", filename="acme_lib-3.0.tar.gz")
    one, two, sdist = (await process.page()).files
    assert (one.core_metadata, one.metadata_in_wheel) == ({}, True)
    assert (two.core_metadata, two.metadata_in_wheel) == ({}, False), "the source sends it"
    assert (sdist.core_metadata, sdist.metadata_in_wheel) == (None, False)


async def test_a_file_is_as_old_as_our_first_sight_of_it(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    bare(fake)
    first = clock.now()
    assert (await process.file()).upload_time == first
    clock.move(HOUR)
    bare(fake, "2.0")
    assert (await process.file()).upload_time == first
    assert (await process.file(wheel_name(NAME, "2.0"))).upload_time == clock.now()
    clock.move(HOUR)
    again = await restarted(process, start)
    assert (await again.file()).upload_time == first


@pytest.mark.parametrize(("hours", "moves"), [(1, False), (-1, True)])
async def test_an_upload_time_never_moves_later(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, hours: int, moves: bool
) -> None:
    began = clock.now()
    fake.publish(NAME, "1.0", upload_time=began)
    assert (await process.file()).upload_time == began
    other = began + timedelta(hours=hours)
    fake.publish(NAME, "1.0", upload_time=other)
    clock.move(61)
    expected = other if moves else began
    assert (await process.file()).upload_time == expected
    fake.publish(NAME, "1.0", upload_time=began)
    clock.move(61)
    assert (await process.file()).upload_time == expected
    assert (await (await restarted(process, start)).file()).upload_time == expected


async def test_what_was_learned_of_a_file_stands_on_the_page_and_stays(process: Process, fake: FakeSource, start: Start) -> None:
    bare(fake)
    before = await process.page()
    process.memory.learn(before.files[0], sha256="ab" * 32, size=17)
    page = await process.page()
    file = page.files[0]
    assert (file.hashes, file.size) == ({"sha256": "ab" * 32}, 17)
    assert await process.page() is page
    assert (await (await restarted(process, start)).file()) == file


async def test_metadata_that_was_made_is_listed_with_its_digest(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    file = bare(fake)
    await process.page()
    place = file.location
    assert isinstance(place, RemoteFile)
    process.memory.learn(file, made=ExtractedMetadata(clock.now(), place.url, "cd" * 32, ">=3.9"))
    shown = await process.file()
    assert (shown.core_metadata, shown.metadata_in_wheel) == ({"sha256": "cd" * 32}, True)
    assert shown.requires_python == ">=3.9"
    process = await restarted(process, start)
    assert await process.file() == shown
    process.memory.learn(shown, sha256="ab" * 32)
    assert (await process.file()).core_metadata == {"sha256": "cd" * 32}, "now that its digest is known, still"
    bare(fake, url="https://files.example.com/other")
    clock.move(61)
    assert (await process.file()).core_metadata == {}, "of a wheel elsewhere nothing was read"


async def test_what_is_learned_while_a_page_is_described_is_shown_next(process: Process, fake: FakeSource) -> None:
    fake.files[NAME] = {file.filename: file for file in (listed(NAME, f"{v}.0", source="team") for v in range(20_000))}
    file = next(iter(fake.files[NAME].values()))
    await process.page()
    fake.files[NAME].popitem()
    fake._pages.clear()
    process.cached.drop()
    asking = asyncio.create_task(process.page())
    while not process.source._flights._flights:
        await asyncio.sleep(0)
    for _ in range(2):  # the first files were looked at, the last ones were not
        await asyncio.sleep(0)
    assert not asking.done()
    process.memory.learn(file, size=17)
    await asking
    assert (await process.page()).files[0].size == 17


async def test_a_project_larger_than_the_bound_is_remembered_too(start: Start, fake: FakeSource) -> None:
    process = start(max_bytes=5_000)
    for version in range(100):
        bare(fake, f"{version}.0")
    page = await process.page()
    assert await process.page() is page
    await process.close()
    assert (await start().page()).files == page.files


async def test_metadata_of_another_wheel_is_not_listed(process: Process, fake: FakeSource, clock: FakeClock) -> None:
    bare(fake)
    process.memory.learn(
        await process.file(), made=ExtractedMetadata(clock.now(), "https://files.example.com/elsewhere", "cd" * 32)
    )
    assert (await process.file()).core_metadata == {}


async def test_a_wheel_without_metadata_is_remembered_as_that(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    file = fake.publish(NAME, "1.0")
    fake.publish(NAME, "2.0")
    await process.page()
    process.memory.learn(file, made=ExtractedMetadata(clock.now(), file.hashes["sha256"], None))
    for _ in range(2):
        assert [file.core_metadata for file in (await process.page()).files] == [None, {}]
        process = await restarted(process, start)


# --- a file name keeps its bytes


async def test_other_bytes_under_an_old_name_are_withheld_with_an_alarm(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    good = fake.publish(NAME, "1.0", content="good", core_metadata={})
    fake.publish(NAME, "2.0", core_metadata={})
    await process.page()
    fake.publish(NAME, "1.0", content="evil", core_metadata={})
    clock.move(61)
    for _ in range(2):
        page = await process.page()
        assert filenames(page) == [wheel_name(NAME, "2.0")]
        (withheld,) = page.withheld
        assert (withheld.filename, withheld.source, withheld.rule) == (WHEEL, "team", "digest")
        assert "a file name never changes its content" in withheld.reason
        assert await process.page() is page
        assert caplog.text.count("ALARM: project acme-lib") == 1
        assert good.hashes["sha256"] in caplog.text
        assert counted(process.metrics, "withheld_files", source="team", rule="digest") == 1
        process = await restarted(process, start)
        caplog.clear()
    fake.publish(NAME, "1.0", content="good", core_metadata={})
    clock.move(61)
    assert len((await process.page()).files) == 2


async def test_an_index_document_may_change_under_its_name(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that an earlier release remembers as it remembers files."""
    name = "acme_lib-1.0-variants.json"
    first = fake.publish(NAME, "", filename=name, content="one label")
    await process.page()
    process.memory.learn(first, sha256=first.hashes["sha256"], size=7)
    for content in ("two labels", "three labels", None):
        clock.move(61)
        hashes = {"hashes": {}} if content is None else {"content": content}
        listed = fake.publish(NAME, "", filename=name, **hashes)
        page = await process.page()
        assert page.withheld == ()
        assert [(file.hashes, file.size, file.core_metadata) for file in page.files] == [(listed.hashes, None, None)]
        assert page.files[0].upload_time == first.upload_time, "a cool-down does not begin anew with each label"
        process = await restarted(process, start)
    assert "ALARM" not in caplog.text


async def test_a_file_that_comes_back_with_other_bytes_is_withheld(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    fake.publish(NAME, "1.0", content="good")
    fake.publish(NAME, "2.0")
    await process.page()
    del fake.files[NAME][WHEEL]
    fake.publish(NAME, "3.0")
    clock.move(61)
    assert WHEEL not in filenames(await process.page())
    process = await restarted(process, start)
    assert WHEEL not in filenames(await process.page())
    fake.publish(NAME, "1.0", content="evil")
    clock.move(61)
    page = await process.page()
    assert WHEEL not in filenames(page)
    assert [entry.filename for entry in page.withheld] == [WHEEL]


async def test_a_digest_left_out_is_the_one_first_seen(process: Process, fake: FakeSource, clock: FakeClock) -> None:
    file = fake.publish(NAME, "1.0")
    await process.page()
    bare(fake)
    clock.move(61)
    assert (await process.file()).hashes == file.hashes
    fake.publish(NAME, "1.0", hashes={"md5": "ab" * 16})
    clock.move(61)
    assert (await process.file()).hashes == {"md5": "ab" * 16, **file.hashes}
    fake.publish(NAME, "1.0", hashes={"md5": "cd" * 16})
    clock.move(61)
    assert (await process.page()).files == ()


async def test_a_new_name_is_compared_with_what_another_process_saw_meanwhile(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, store: WatchedStore
) -> None:
    fake.publish(NAME, "0.9")
    other = start()
    await process.page()
    await other.page()
    await written(store)
    fake.publish(NAME, "1.0", content="good")
    clock.move(61)
    await process.page()
    await process.close()
    fake.publish(NAME, "1.0", content="evil")
    clock.move(61)
    page = await other.page()
    assert filenames(page) == [wheel_name(NAME, "0.9")]
    assert [entry.filename for entry in page.withheld] == [WHEEL]


# --- what is written


async def test_nothing_new_is_not_written(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, store: WatchedStore
) -> None:
    fake.publish(NAME, "1.0")
    await process.page()
    await written(store)
    for _ in range(5):
        clock.move(61)
        await process.page()
    process = await restarted(process, start)
    await process.page()
    await process.close()
    assert store.count("replace_if", RECORD) == 1


async def test_a_burst_is_written_once(process: Process, fake: FakeSource, store: WatchedStore) -> None:
    for version in range(20):
        bare(fake, f"{version}.0")
    for file in (await process.page()).files:
        process.memory.learn(file, size=5)
    await process.close()
    assert store.count("replace_if", RECORD) == 1


async def test_a_page_that_says_the_same_for_hours_is_confirmed(
    process: Process, fake: FakeSource, clock: FakeClock, store: WatchedStore, start: Start
) -> None:
    fake.publish(NAME, "1.0")
    await process.page()
    await written(store)
    for minutes in (59, 2):
        clock.move(60 * minutes)
        fake._pages[NAME] = msgspec.structs.replace(fake._pages[NAME], as_of=clock.now())  # a 304
        await process.page()
    await process.close()
    assert store.count("replace_if", RECORD) == 2
    fake.fail()
    clock.move(STALE_IF_ERROR_S - 1)
    assert (await start().page()).stale


async def test_replicas_that_see_the_same_news_lose_nothing(fake: FakeSource, start: Start, store: WatchedStore) -> None:
    bare(fake, "1.0")
    bare(fake, "2.0")
    processes = [start() for _ in range(4)]
    files = (await asyncio.gather(*(process.page() for process in processes)))[0].files
    processes[0].memory.learn(files[0], size=1)
    processes[1].memory.learn(files[1], size=2)
    await asyncio.gather(*(process.close() for process in processes))
    assert store.count("replace_if", RECORD) > 1, "nobody lost, so nothing was tested"
    assert [file.size for file in (await start().page()).files] == [1, 2]


async def test_fifty_who_ask_at_once_describe_once(process: Process, fake: FakeSource, store: WatchedStore) -> None:
    bare(fake)
    pages = await asyncio.gather(*(process.page() for _ in range(50)))
    assert all(page is pages[0] for page in pages)
    assert store.count("read", RECORD) == 1
    assert fake.asked == [NAME]


# --- a store that is slow or down


async def test_the_record_is_read_while_the_source_is_asked(process: Process, fake: FakeSource, store: WatchedStore) -> None:
    fake.publish(NAME, "1.0")
    fake.hold = asyncio.Event()
    asking = asyncio.create_task(process.page())
    await asyncio.sleep(0.01)
    assert store.count("read", RECORD) == 1
    assert not asking.done()
    fake.hold.set()
    await asking


async def test_the_question_leaves_before_the_record_is_read(process: Process, fake: FakeSource, store: WatchedStore) -> None:
    fake.publish(NAME, "1.0")
    read: list[int] = []
    fake.before_answer = lambda _: read.append(store.count("read", RECORD))
    await process.page()
    assert (read, store.count("read", RECORD)) == ([0], 1)


async def test_an_absence_does_not_wait_for_the_record(start: Start, store: WatchedStore) -> None:
    process = start(patience_s=60)
    store.holds["read"] = asyncio.Event()
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ProjectNotFound):
            await process.page()


async def test_a_slow_store_is_waited_for_a_moment_and_then_no_more(start: Start, fake: FakeSource, store: WatchedStore) -> None:
    process = start(patience_s=0.05)
    file = bare(fake)
    held = store.holds["read"] = asyncio.Event()
    assert (await process.file()).upload_time is not None
    del store.holds["read"]
    held.set()
    await written(store)
    assert (await process.file()).filename == file.filename


async def test_a_store_that_is_down_costs_one_line_and_not_the_page(
    process: Process, fake: FakeSource, store: WatchedStore, caplog: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    store.down()
    for version in range(3):
        bare(fake, f"{version}.0")
        clock.move(61)
        assert len((await process.page()).files) == version + 1
    assert caplog.text.count("what is remembered of source team cannot be read") == 1
    store.up()
    await written(store)
    assert len((await ProjectRecords(store, "team", url=INDEX).read(NAME)).record.files) == 3


@pytest.mark.parametrize("first", ["good", "evil"])
async def test_of_two_processes_that_see_a_name_first_with_different_bytes_the_first_to_write_is_right(
    fake: FakeSource, start: Start, store: WatchedStore, clock: FakeClock, first: str
) -> None:
    """Whatever their clocks say, and whichever digest is the smaller one: the loser is told when it comes to write."""
    fake.publish(NAME, "1.0", content=first)
    winner = start()
    shown = (await winner.page()).files
    fake.publish(NAME, "1.0", content={"good": "evil", "evil": "good"}[first])
    clock.move(-30)
    loser = start()
    told: list[str | None] = []
    loser.memory.changed.subscribe(told.append)
    assert (await loser.page()).files != shown, "nobody could know"
    await winner.close()
    await loser.close()
    assert told == [NAME]
    assert (await loser.page()).files == ()
    fake.publish(NAME, "1.0", content=first)
    clock.move(61)
    for process in (winner, loser, start()):
        assert (await process.page()).files[0].hashes == shown[0].hashes


async def test_what_was_seen_while_the_store_was_down_yields_to_what_it_holds(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, store: WatchedStore
) -> None:
    fake.publish(NAME, "1.0", content="good")
    await process.page()
    await process.close()
    fake.publish(NAME, "1.0", content="evil")
    clock.move(61)
    store.down()
    again = start()
    assert len((await again.page()).files) == 1, "nobody could know"
    store.up()
    clock.move(61)
    assert (await again.page()).files == ()


async def test_the_end_is_not_held_up_by_a_store_that_is_down(start: Start, fake: FakeSource, store: WatchedStore) -> None:
    process = start(delay_s=60)
    fake.publish(NAME, "1.0")
    await process.page()
    store.down()
    async with asyncio.timeout(AT_ONCE_S):
        await process.close()


# --- what stands in


async def test_the_page_of_before_the_restart_stands_in_for_a_day(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    fake.publish(NAME, "1.0", content="good", url="https://files.example.com/odd/place")
    bare(fake, "2.0")
    before = await process.page()
    heard = before.as_of
    fake.fail()
    clock.move(10)
    process = await restarted(process, start)
    page = await process.page()
    assert page.stale
    assert (page.files, page.versions, page.as_of) == (before.files, before.versions, heard)
    assert page.known_since == before.known_since
    assert counted(process.metrics, "stale_pages", source="team") == 1
    assert await process.page() is page
    assert len(fake.asked) == 2, "while failing, it is asked every five seconds at most"
    clock.move(STALE_IF_ERROR_S - 10)
    assert (await process.page()).stale
    clock.move(1)
    with pytest.raises(UpstreamUnavailable):
        await process.page()
    with pytest.raises(UpstreamUnavailable):
        await start().page()


async def test_a_kept_page_is_never_taken_for_fresh(process: Process, fake: FakeSource, clock: FakeClock, start: Start) -> None:
    fake.publish(NAME, "1.0")
    await process.page()
    fake.fail()
    process = await restarted(process, start)  # within the minute
    assert (await process.page()).stale
    fake.mend()
    fake.publish(NAME, "2.0")
    clock.move(6)
    page = await process.page()
    assert not page.stale
    assert len(page.files) == 2


async def test_what_a_kept_page_withholds_stays_withheld_and_its_name_taken(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    fake.publish(NAME, "1.0")
    withheld = Withheld(wheel_name(NAME, "2.0"), "team", "digest", "source team states two different digests of sha256")
    fake.withheld = (withheld,)
    assert (await process.page()).withheld == (withheld,)
    fake.fail()
    process = await restarted(process, start)
    page = await process.page()
    assert page.stale
    assert page.withheld == (withheld,)
    other = FakeSource("other", clock)
    other.publish(NAME, "2.0")
    merged = merge_pages([page, await other.project_page(NAME)])
    assert [file.filename for file in merged.files] == [WHEEL], "no other source takes the place of what is withheld"


async def test_swapped_bytes_on_a_kept_page_are_withheld_too(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    fake.publish(NAME, "1.0", content="good")
    await process.page()
    fake.publish(NAME, "1.0", content="evil")
    clock.move(61)
    assert (await process.page()).files == ()
    fake.fail()
    process = await restarted(process, start)
    page = await process.page()
    assert page.stale
    assert page.files == ()
    assert [entry.rule for entry in page.withheld] == ["digest"]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_project_that_was_taken_away_does_not_come_back_in_an_outage(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, restart: bool
) -> None:
    fake.publish(NAME, "1.0", content="good")
    await process.page()
    if restart:
        process = await restarted(process, start)
    fake.remove(NAME)
    clock.move(61)
    for _ in range(2):
        with pytest.raises(ProjectNotFound):
            await process.page()
        clock.move(61)
    process = await restarted(process, start)
    fake.fail()
    with pytest.raises(UpstreamUnavailable):
        await process.page()
    fake.mend()
    fake.publish(NAME, "1.0", content="evil")
    fake.publish(NAME, "2.0")
    clock.move(61)
    assert filenames(await process.page()) == [wheel_name(NAME, "2.0")], "its files stay known"
    process = await restarted(process, start)
    fake.fail()
    assert filenames(await process.page()) == [wheel_name(NAME, "2.0")], "and what it has now stands in again"


async def test_an_absence_that_is_heard_before_the_record_is_read_counts_too(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, store: WatchedStore
) -> None:
    fake.publish(NAME, "1.0")
    await process.page()
    process = await restarted(process, start)
    fake.remove(NAME)
    clock.move(61)
    held = store.holds["read"] = asyncio.Event()
    with pytest.raises(ProjectNotFound):
        await process.page()
    store.holds.clear()
    held.set()
    await written(store, 2)
    fake.fail()
    for again in (process, start()):
        clock.move(STALE_IF_ERROR_S / 4)
        again.cached._answers.clear()
        with pytest.raises(UpstreamUnavailable):
            await again.page()


async def test_what_was_never_seen_does_not_stand_in(process: Process, fake: FakeSource, store: WatchedStore) -> None:
    fake.fail()
    with pytest.raises(UpstreamUnavailable):
        await process.page()
    store.down()
    with pytest.raises(UpstreamUnavailable):
        await process.page("other")


async def test_memory_is_bounded_and_nothing_is_forgotten_for_it(
    start: Start, fake: FakeSource, clock: FakeClock, store: WatchedStore
) -> None:
    process = start(max_bytes=20_000)
    for number in range(50):
        fake.publish(f"name-{number}", "1.0", content="good")
        await process.page(f"name-{number}")
        await asyncio.sleep(0.005)  # written behind the answer
    assert process.memory._states.currsize <= 20_000
    await process.close()
    process = start(max_bytes=20_000)
    clock.move(61)
    for number in range(40, 50):
        fake.publish(f"name-{number}", "1.0", content="evil")
        assert (await process.page(f"name-{number}")).files == ()


async def test_what_is_not_written_yet_is_not_forgotten(start: Start, fake: FakeSource, clock: FakeClock) -> None:
    process = start(max_bytes=20_000, delay_s=60)
    fake.publish(NAME, "1.0", content="good")
    await process.page()
    for number in range(100):
        with pytest.raises(ProjectNotFound):
            await process.page(f"nobody-{number}")
    assert NAME not in process.memory._states
    fake.publish(NAME, "1.0", content="evil")
    clock.move(61)
    assert (await process.page()).files == ()


async def test_what_is_learned_while_a_page_is_on_its_way_is_kept_though_memory_is_full(
    start: Start, fake: FakeSource, clock: FakeClock, store: WatchedStore
) -> None:
    """A request that holds what was known when it began must not put that back over what was learned meanwhile."""
    process = start(max_bytes=5_000)
    fake.publish(NAME, "1.0", hashes={})
    await process.page()
    await asyncio.sleep(0.05)  # written, so that nothing but the page on its way holds what is known
    clock.move(61)
    fake._pages.pop(NAME)  # another page with the same files
    match_files = process.memory.match_files

    async def match_slowly(page: ProjectPage, state: ProjectState, asked_s: float) -> MatchedFiles:
        for number in range(20):
            process.memory.state_at_hand(f"name-{number}")
        process.memory.learn(fake.files[NAME][WHEEL], sha256="a" * 64, size=7)
        return await match_files(page, state, asked_s)

    process.memory.match_files = match_slowly  # type: ignore[method-assign]
    await process.page()
    await process.close()
    record = (await ProjectRecords(store, "team", url=INDEX).read(NAME)).record
    body = record.files[WHEEL].body
    assert body is not None
    assert (body.sha256, body.size) == ("a" * 64, 7)


async def test_what_a_store_that_is_down_cannot_take_is_bounded_too(start: Start, fake: FakeSource, store: WatchedStore) -> None:
    process = start(max_unwritten_bytes=20_000)
    store.down()
    for number in range(50):
        fake.publish(f"name-{number}", "1.0")
        await process.page(f"name-{number}")
    assert 0 < process.memory._unwritten._waiting.currsize <= 20_000


async def test_what_is_learned_while_a_record_is_being_written_is_written_too(
    store: WatchedStore, clock: FakeClock, fake: FakeSource
) -> None:
    file = fake.publish(NAME, "1.0", hashes={}, upload_time=None)

    class Interrupted(ProjectRecords):
        learned: Callable[[], None] | None = None

        async def pack_page(self, page: ProjectPage) -> KeptPage:
            kept = await super().pack_page(page)
            if self.learned is not None:
                self.learned()
                self.learned = None
            return kept

    records = Interrupted(store, "team", url=INDEX)
    memory = FileHistory(records, clock=clock, delay_s=0.001)
    records.learned = lambda: memory.learn(file, sha256="ab" * 32, size=7)
    await EnrichedSource(fake, memory=memory, clock=clock, metrics=Metrics()).project_page(NAME)
    async with asyncio.timeout(5):
        while memory._unwritten or records.learned is not None:
            await asyncio.sleep(0.005)
    await memory.close()
    stored = await ProjectRecords(store, "team", url=INDEX).read(NAME)
    body = stored.record.files[file.filename].body
    assert body is not None
    assert body.sha256 == "ab" * 32


async def test_much_news_is_written_before_the_burst_is_over(start: Start, fake: FakeSource, store: WatchedStore) -> None:
    process = start(much_bytes=20_000, delay_s=60)
    fake.publish("little", "1.0")
    await process.page("little")
    for number in range(30):
        fake.publish("much", f"{number}.0")
    await asyncio.sleep(0.05)
    assert (await ProjectRecords(store, "team", url=INDEX).read("little")).etag is None
    await process.page("much")
    async with asyncio.timeout(5):
        for name, count in (("little", 1), ("much", 30)):
            while len((await ProjectRecords(store, "team", url=INDEX).read(name)).record.files) < count:
                await asyncio.sleep(0.001)


async def test_much_news_waits_for_a_store_that_is_down_without_asking_it_all_the_time(
    start: Start, fake: FakeSource, store: WatchedStore
) -> None:
    process = start(much_bytes=100, delay_s=0.05)
    store.down()
    fake.publish(NAME, "1.0")
    await process.page()
    await asyncio.sleep(0.03)
    began = len(store.calls)
    await asyncio.sleep(0.2)
    assert len(store.calls) - began < 30


# --- ahead of any question


def sees(process: Process, clock: FakeClock, seen: list[str], **observed: object) -> Callable[[File], Awaitable[None]]:
    """Reads a file, and remembers what that told, as a server does."""

    async def describe(file: File) -> None:
        seen.append(file.filename)
        of = file.hashes.get("sha256", "")
        process.memory.learn(
            file,
            made=ExtractedMetadata(clock.now(), of, "ab" * 32) if file.metadata_in_wheel and not file.core_metadata else None,
            observed=Observation(clock.now(), of, **{"size": 7, **observed}),  # type: ignore[arg-type]
        )

    return describe


async def quiet(seen: list[str]) -> None:
    """Until nothing more is read."""
    count = -1
    while count != (count := len(seen)):
        await asyncio.sleep(0.05)


async def test_a_page_is_completed_by_one_read_of_each_file_and_then_stays(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    seen: list[str] = []
    process.source.complete_pages(sees(process, clock, seen), delay_s=0, at_a_time=20)
    for version in range(30):
        fake.publish(NAME, f"{version}.0", upload_time=None)
    fake.publish(NAME, "1.0", filename="acme_lib-1.0.tar.gz", upload_time=None)
    assert (await process.page()).unread == 31
    await quiet(seen)
    assert seen == [wheel_name(NAME, f"{version}.0") for version in range(29, 9, -1)], "the newest first, and so many at a time"
    assert (await process.page()).unread == 11
    await quiet(seen)
    assert len(seen) == len(set(seen)) == 31
    page = await process.page()
    assert page.unread == 0
    assert {(file.size, bool(file.core_metadata)) for file in page.files} == {(7, True), (7, False)}
    for _ in range(3):
        assert await process.page() is page
        await asyncio.sleep(0.01)
    assert len(seen) == 31
    again = await restarted(process, start)
    assert (await again.page()).files == page.files
    assert (await again.page()).unread == 0


async def test_where_reading_has_a_price_the_chosen_alone_are_read(process: Process, fake: FakeSource, clock: FakeClock) -> None:
    seen: list[str] = []
    chosen = [wheel_name(NAME, f"{version}.0") for version in range(7, 2, -1)]

    async def choose(page: ProjectPage) -> list[str]:
        return chosen

    process.source.complete_pages(sees(process, clock, seen), choose=choose, delay_s=0)
    for version in range(30):
        fake.publish(NAME, f"{version}.0", upload_time=None)
    for _ in range(4):
        await process.page()
        await quiet(seen)
    assert seen == chosen


async def test_of_a_page_that_is_being_completed_news_is_told_now_and_then(
    process: Process, fake: FakeSource, clock: FakeClock
) -> None:
    """Each time it is made anew for whoever asks."""
    told: list[str | None] = []
    process.memory.changed.subscribe(told.append)
    seen: list[str] = []
    see = sees(process, clock, seen)

    async def describe(file: File) -> None:
        await see(file)
        clock.move(0.5)

    process.source.complete_pages(describe, delay_s=0)
    for version in range(20):
        fake.publish(NAME, f"{version}.0", upload_time=None)
    await process.page()
    await quiet(seen)
    assert len(seen) == 20
    assert told == [NAME] * 5
    process.memory.learn(await process.file(wheel_name(NAME, "1.0")), made=ExtractedMetadata(clock.now(), "x", None))
    assert len(told) == 6, "at once again"


async def test_a_page_that_says_everything_is_not_read(process: Process, fake: FakeSource, clock: FakeClock) -> None:
    seen: list[str] = []
    process.source.complete_pages(sees(process, clock, seen), delay_s=0)
    file = fake.publish(NAME, "1.0", core_metadata={"sha256": "ab" * 32})
    fake.files[NAME][file.filename] = msgspec.structs.replace(file, size=7)
    assert (await process.page()).unread == 0
    await quiet(seen)
    assert seen == []


# --- how old a file is


HOURS = timedelta(hours=1)


@pytest.mark.parametrize(
    ("modified", "shown"),
    [(-48 * HOURS, -48 * HOURS), (HOURS, timedelta()), (-30 * 365 * 24 * HOURS, timedelta()), (None, timedelta())],
    ids=["before", "after", "in the last century", "not said"],
)
async def test_what_was_there_at_the_first_look_is_as_old_as_its_place_says(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, modified: timedelta | None, shown: timedelta
) -> None:
    began, seen = clock.now(), list[str]()
    moment = None if modified is None else began + modified
    process.source.complete_pages(sees(process, clock, seen, modified=moment), delay_s=0)
    fake.publish(NAME, "1.0", upload_time=None)
    assert (await process.file()).upload_time == began
    await quiet(seen)
    assert (await process.file()).upload_time == began + shown
    assert (await (await restarted(process, start)).file()).upload_time == began + shown


async def test_what_came_later_is_not_older_than_our_sight_of_it(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    """Whoever uploads may be able to choose what a server says of a file's age: a cool-down must not go by that."""
    seen: list[str] = []
    long_ago = clock.now() - 1_000 * HOURS
    process.source.complete_pages(sees(process, clock, seen, modified=long_ago), delay_s=0)
    fake.publish(NAME, "1.0", upload_time=None)
    await process.page()
    await quiet(seen)
    clock.move(HOUR)
    fake.publish(NAME, "2.0", upload_time=None)
    sighted, newer = clock.now(), wheel_name(NAME, "2.0")
    await process.page()
    await quiet(seen)
    for _ in range(2):
        assert (await process.file(newer)).upload_time == sighted
        del fake.files[NAME][WHEEL]  # what was there first may go
        fake.publish(NAME, "1.0", upload_time=None)
        process = await restarted(process, start)
        assert (await process.file()).upload_time == long_ago


async def test_what_its_source_states_comes_before_what_was_observed(
    process: Process, fake: FakeSource, clock: FakeClock
) -> None:
    seen: list[str] = []
    process.source.complete_pages(sees(process, clock, seen, modified=clock.now() - 48 * HOURS), delay_s=0)
    fake.publish(NAME, "1.0", upload_time=None)
    await process.page()
    await quiet(seen)
    assert (await process.file()).size == 7
    stated = clock.now() - HOURS
    file = fake.publish(NAME, "1.0", upload_time=stated)
    fake.files[NAME][file.filename] = msgspec.structs.replace(file, size=8)
    clock.move(61)
    assert [(file.size, file.upload_time) for file in (await process.page()).files] == [(8, stated)], "not withheld, not older"


async def test_what_was_observed_is_never_recorded_as_what_was_stated(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start, store: WatchedStore
) -> None:
    url = bare(fake).location.url  # type: ignore[union-attr]
    first_sight, made = clock.now(), ExtractedMetadata(clock.now(), url, sha256(b"metadata"))
    await process.file()
    process.memory.learn(await process.file(), observed=Observation(clock.now(), url, 1_234, clock.now() - timedelta(days=400)))
    shown = await process.file()
    assert (shown.size, shown.upload_time) == (1_234, clock.now() - timedelta(days=400))
    process = await restarted(process, start)
    clock.move(10)
    process.memory.learn(shown, made=made)  # of a page that is still in use, though nothing is known of its project here
    await process.close()
    known = (await ProjectRecords(store, "team", url=INDEX).read(NAME)).record.files[WHEEL]
    assert (known.size, known.uploaded, known.made) == (None, first_sight, made)


async def test_metadata_that_its_source_does_not_send_is_replaced_while_it_advertises_that(
    process: Process, fake: FakeSource, clock: FakeClock, start: Start
) -> None:
    file = fake.publish(NAME, "1.0", core_metadata={"sha256": "ab" * 32})
    await process.page()
    process.memory.learn(file, made=ExtractedMetadata(clock.now(), file.hashes["sha256"], "cd" * 32, None, "ab" * 32))
    for _ in range(2):
        shown = await process.file()
        assert (shown.core_metadata, shown.metadata_in_wheel) == ({"sha256": "cd" * 32}, True)
        process = await restarted(process, start)
    for advertised in ({"sha256": "ef" * 32}, {}):
        fake.publish(NAME, "1.0", core_metadata=advertised, upload_time=file.upload_time)
        clock.move(61)
        shown = await process.file()
        assert (shown.core_metadata, shown.metadata_in_wheel) == (advertised, False), "it may have been mended"


# --- trouble


async def test_of_many_pages_only_some_are_completed_at_a_time(process: Process, fake: FakeSource) -> None:
    described: list[str] = []
    held = asyncio.Event()

    async def describe(file: File) -> None:
        described.append(file.project)
        await held.wait()

    process.source.complete_pages(describe, delay_s=0)
    for number in range(60):
        fake.publish(f"name-{number}", "1.0")
        await process.page(f"name-{number}")
    held.set()
    await asyncio.sleep(0.2)
    assert len(described) == 50


async def test_pages_are_completed_also_where_memory_holds_few_of_them(
    start: Start, fake: FakeSource, clock: FakeClock, store: WatchedStore
) -> None:
    process = start(max_bytes=3_000)
    seen: list[str] = []
    process.source.complete_pages(sees(process, clock, seen), delay_s=0.1)
    for number in range(12):
        fake.publish(f"name-{number}", "1.0", upload_time=None)
        await process.page(f"name-{number}")
    await asyncio.sleep(0.2)
    await quiet(seen)
    assert sorted(seen) == sorted(wheel_name(f"name-{number}", "1.0") for number in range(12))


async def test_what_is_withheld_is_not_read(process: Process, fake: FakeSource, clock: FakeClock) -> None:
    fake.publish(NAME, "1.0", content="good")
    await process.page()
    fake.publish(NAME, "1.0", content="evil")
    fake.publish(NAME, "2.0")
    clock.move(61)
    seen: list[str] = []
    process.source.complete_pages(sees(process, clock, seen), delay_s=0)
    await process.page()
    await quiet(seen)
    assert seen == [wheel_name(NAME, "2.0")]


async def test_an_alarm_is_given_once_however_often_its_page_is_made_anew(
    process: Process, fake: FakeSource, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    fake.publish(NAME, "1.0", content="good")
    for version in range(2, 10):
        fake.publish(NAME, f"{version}.0", upload_time=None)
    await process.page()
    evil = fake.publish(NAME, "1.0", content="evil")
    for version in range(2, 10):
        clock.move(61)
        file = next(file for file in (await process.page()).files if file.filename == wheel_name(NAME, f"{version}.0"))
        process.memory.learn(file, size=7)
    assert [entry.rule for entry in (await process.page()).withheld] == ["digest"]
    assert caplog.text.count(f"ALARM: project {NAME}: {evil.filename}") == 1
    fake.publish(NAME, "1.0", content="worse")
    clock.move(61)
    await process.page()
    assert caplog.text.count(f"ALARM: project {NAME}: {evil.filename}") == 2


async def test_trouble_with_two_files_in_a_row_lets_the_page_rest(process: Process, fake: FakeSource, clock: FakeClock) -> None:
    """One says nothing of the others."""
    described: list[str] = []

    async def describe(file: File) -> None:
        described.append(file.filename)
        raise UpstreamUnavailable("source team is down")

    process.source.complete_pages(describe, delay_s=0)
    for version in range(5):
        fake.publish(NAME, f"{version}.0")
    for _ in range(5):
        await process.page()
        await asyncio.sleep(0.01)
    assert len(described) == 2
    clock.move(301)
    await process.page()
    await asyncio.sleep(0.05)
    assert len(described) == 4


async def test_an_unforeseen_error_keeps_no_other_file_from_being_read_and_is_not_repeated_at_every_request(
    process: Process, fake: FakeSource, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    describe = sees(process, clock, seen)

    async def stumble(file: File) -> None:
        if file.filename == wheel_name(NAME, "2.0"):
            seen.append(file.filename)
            raise RuntimeError("odd")
        await describe(file)

    process.source.complete_pages(stumble, delay_s=0)
    for version in range(4):
        fake.publish(NAME, f"{version}.0")
    for _ in range(5):
        await process.page()
        await asyncio.sleep(0.01)
    assert sorted(set(seen)) == [wheel_name(NAME, f"{version}.0") for version in range(4)]
    assert seen.count(wheel_name(NAME, "2.0")) == 1
    assert f"{wheel_name(NAME, '2.0')} cannot be described" in caplog.text


# --- what was observed, and what is stated

OBSERVED, STATED = "ab" * 32, "cd" * 32


async def observed(start: Start, fake: FakeSource) -> Process:
    """A process that has seen a whole body of a file of which no digest is stated."""
    process = start()
    file = fake.publish(NAME, "1.0", hashes={}, upload_time=None)
    await process.page()
    process.memory.learn(file, sha256=OBSERVED, size=7)
    return process


async def test_what_was_observed_shows_and_is_marked(start: Start, fake: FakeSource) -> None:
    process = await observed(start, fake)
    (file,) = (await process.page()).files
    assert (file.hashes, file.size, file.observed) == ({"sha256": OBSERVED}, 7, ("upload_time", "size", "hashes"))
    assert (file.stated_hashes, file.stated_size) == ({}, None)


async def test_the_first_whole_body_stays_until_something_is_stated(start: Start, fake: FakeSource) -> None:
    process = await observed(start, fake)
    process.memory.learn(fake.files[NAME][WHEEL], sha256=STATED, size=8)
    assert (await process.page()).files[0].hashes == {"sha256": OBSERVED}
    await process.close()
    assert (await start().page()).files[0].hashes == {"sha256": OBSERVED}, "after a restart, and in another replica"


@pytest.mark.parametrize("restarts", [True, False])
async def test_what_was_observed_gives_way_to_what_is_stated(
    start: Start, fake: FakeSource, clock: FakeClock, restarts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    process = await observed(start, fake)
    await process.page()
    if restarts:
        await process.close()
        process = start()
    other = start()
    await other.page()
    fake.publish(NAME, "1.0", hashes={"sha256": STATED})
    clock.move(61)
    for one in (process, other, process):
        (file,) = (await one.page()).files
        assert (file.hashes, file.stated_hashes) == ({"sha256": STATED}, {"sha256": STATED})
        assert file.size is None, "that of other bytes"
        await one.close()
    assert caplog.text.count("that gives way, and whoever installed it has other bytes") in (1, 2), "each process says it once"
    # From here on it is as with any other file: what was stated does not change.
    fake.publish(NAME, "1.0", hashes={"sha256": "ef" * 32})
    clock.move(61)
    assert (await process.page()).files == ()
    assert (await start().page()).files == ()


async def test_what_was_observed_and_is_then_stated_is_no_alarm(
    start: Start, fake: FakeSource, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    process = await observed(start, fake)
    fake.publish(NAME, "1.0", hashes={"sha256": OBSERVED})
    clock.move(61)
    assert (await process.page()).files[0].stated_hashes == {"sha256": OBSERVED}
    assert "ALARM" not in caplog.text
    fake.publish(NAME, "1.0", hashes={"sha256": STATED})
    clock.move(61)
    assert (await process.page()).files == ()


async def test_a_digest_by_another_algorithm_overrules_in_silence(
    start: Start, fake: FakeSource, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether they are the same bytes, nobody can tell from two digests; our copy is read back for that."""
    process = await observed(start, fake)
    fake.publish(NAME, "1.0", hashes={"sha512": "12" * 64})
    clock.move(61)
    assert (await process.page()).files[0].hashes == {"sha512": "12" * 64}
    assert "ALARM" not in caplog.text


async def test_an_observed_size_is_no_evidence_against_what_comes(start: Start, fake: FakeSource) -> None:
    process = start()
    file = fake.publish(NAME, "1.0", hashes={}, upload_time=None)
    await process.page()
    process.memory.learn(file, observed=Observation(LONG_AGO, file.location.url, size=500))  # type: ignore[union-attr]
    (shown,) = (await process.page()).files
    assert (shown.size, shown.stated_size) == (500, None)
    process.memory.learn(shown, sha256=OBSERVED, size=90_000)
    assert (await process.page()).files[0].size == 90_000


async def test_what_was_read_at_a_place_is_not_believed_of_what_is_stated_there(
    start: Start, fake: FakeSource, clock: FakeClock
) -> None:
    process = start()
    file = fake.publish(NAME, "1.0", hashes={}, upload_time=None)
    place = file.location.url  # type: ignore[union-attr]
    await process.page()
    made = ExtractedMetadata(LONG_AGO, place, "34" * 32, ">=3.9")
    process.memory.learn(file, made=made, observed=Observation(LONG_AGO, place, size=500))
    assert (await process.page()).files[0].core_metadata == {"sha256": "34" * 32}
    fake.publish(NAME, "1.0", hashes={"sha256": STATED}, upload_time=None)
    clock.move(61)
    (shown,) = (await process.page()).files
    assert (shown.core_metadata, shown.size, shown.requires_python) == ({}, None, None)

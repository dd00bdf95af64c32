"""Records in memory: what was found out is never lost to a race, nor written for nothing, nor over a newer one."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.clock import FakeClock
from tests.support.packages import sha256
from tests.support.stores import INDEX, WatchedStore, home_of
from wheelgate.core.errors import BlobChanged, StoreError
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Source
from wheelgate.enrich.file_memory import FileMemory, MatchedFiles, ProjectState
from wheelgate.enrich.record_store import ProjectRecords, encode
from wheelgate.enrich.records import BlobVersion, FileRecord, Files, ProjectRecord
from wheelgate.storage import layout

NAME = "acme-lib"
PATH = layout.record(home_of("curated"), NAME)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def known(content: str, at: datetime = NOW, etag: str = "e1", uploaded: datetime | None = None) -> FileRecord:
    return FileRecord(at, {"sha256": sha256(content.encode())}, uploaded or at, blob=BlobVersion("a/b", etag))


class Memory(FileMemory):
    async def fetch_page(self, source: Source, project: str) -> tuple[ProjectPage, ProjectState]:
        return await source.project_page(project), await self.state_of(project)

    async def match_files(self, page: ProjectPage, state: ProjectState, asked_s: float) -> MatchedFiles:
        return MatchedFiles(state, state.version, [state.files.get(file.filename) for file in page.files])


class Process:
    """The records as one process has them."""

    def __init__(self, store: WatchedStore, patience_s: float | None = None) -> None:
        self.clock = FakeClock()
        records = ProjectRecords(store, "curated", url=INDEX)
        self.cache = Memory(records, clock=self.clock, max_bytes=100_000, patience_s=patience_s, retry_s=0.0)

    async def files(self) -> Files:
        return (await self.cache.state_of(NAME)).files

    async def add(self, found: Files) -> Files:
        await self.cache.save(NAME, self.cache.state_at_hand(NAME), found)
        return await self.files()


async def stored(store: WatchedStore) -> Files:
    return (await ProjectRecords(store, "curated", url=INDEX).read(NAME)).record.files


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def process(store: WatchedStore) -> Process:
    return Process(store)


async def test_what_is_added_is_known_also_to_the_next_process(store: WatchedStore, process: Process) -> None:
    assert await process.files() == {}
    assert await process.add({"a": known("1")}) == {"a": known("1")}
    assert await process.add({"b": known("2")}) == {"a": known("1"), "b": known("2")}
    assert await Process(store).files() == {"a": known("1"), "b": known("2")}
    assert (await process.cache.state_of("other")).files == {}
    assert (await ProjectRecords(store, "another", url=INDEX).read(NAME)).record.files == {}


async def test_nothing_new_is_not_written(store: WatchedStore, process: Process) -> None:
    await process.add({"a": known("1")})
    store.calls.clear()
    assert await process.add({"a": known("1")}) == {"a": known("1")}
    assert await process.add({}) == {"a": known("1")}
    assert store.written == []


async def test_what_is_not_written_yet_is_not_shown(store: WatchedStore, process: Process) -> None:
    store.fails = lambda method, path: method == "replace_if"
    with pytest.raises(StoreError):
        await process.add({"a": known("1")})
    assert await process.files() == {}
    store.up()
    assert await process.add({"a": known("1")}) == {"a": known("1")}


async def test_the_first_time_stays_whoever_comes_later_and_an_earlier_one_wins(process: Process) -> None:
    day = timedelta(days=1)
    await process.add({"a": known("1")})
    later = await process.add({"a": known("2", NOW + day, "e2")})
    assert later["a"] == known("2", NOW + day, "e2", uploaded=NOW)
    earlier = await process.add({"a": known("2", NOW + day, "e2", uploaded=NOW - day)})
    assert earlier["a"].uploaded == NOW - day


async def test_many_replicas_that_add_at_once_lose_nothing(store: WatchedStore) -> None:
    store.holds["read"] = asyncio.Event()  # all read before any writes
    tasks = [asyncio.create_task(Process(store).add({str(n): known(str(n))})) for n in range(6)]
    await asyncio.sleep(0.01)
    store.holds.pop("read").set()
    await asyncio.gather(*tasks)
    assert await Process(store).files() == {str(n): known(str(n)) for n in range(6)}
    assert store.count("replace_if") > 6, "nobody lost, so nothing was tested"


async def test_a_loser_knows_what_the_winner_wrote(store: WatchedStore, process: Process) -> None:
    long_ago = NOW - timedelta(days=3)
    theirs = encode(ProjectRecord({"b": known("2"), "a": known("9", long_ago, "e0")}))

    def somebody_is_faster(method: str, path: str) -> None:
        if method == "replace_if":
            store.before = lambda method, path: None
            store.inner._put(path, theirs, {}, NOW)  # type: ignore[attr-defined]

    store.before = somebody_is_faster
    merged = await process.add({"a": known("1")})
    assert merged == {"a": known("1", uploaded=long_ago), "b": known("2")}
    assert await stored(store) == merged


@pytest.mark.parametrize("first", [0, 1])
async def test_of_two_pages_the_one_confirmed_later_is_kept(store: WatchedStore, first: int) -> None:
    pages = [
        ProjectPage(project=NAME, files=(), versions=(version,), as_of=NOW + timedelta(hours=hour))
        for hour, version in enumerate(("1.0", "2.0"))
    ]
    processes = Process(store), Process(store)
    for process, page in zip(processes, pages, strict=True):
        (await process.cache.state_of(NAME)).page = page  # heard before the other one wrote
    for which in (first, 1 - first):
        await processes[which].add({f"{which}.whl": known("x")})
    records = ProjectRecords(store, "curated", url=INDEX)
    record = (await records.read(NAME)).record
    assert record.page is not None
    kept = await records.unpack_page(NAME, record.page)
    assert kept is not None
    assert (kept.versions, kept.as_of) == (("2.0",), pages[1].as_of)
    assert set(record.files) == {"0.whl", "1.whl"}


async def test_one_who_always_loses_says_so(store: WatchedStore, process: Process) -> None:
    def always(method: str, path: str) -> None:
        if method == "replace_if":
            raise BlobChanged("changed")

    store.before = always
    with pytest.raises(StoreError, match="the record of acme-lib is being written by somebody else all the time"):
        await process.add({"a": known("1")})
    assert store.count("replace_if") < 20


async def test_a_damaged_record_is_an_empty_one_and_is_replaced(store: WatchedStore, process: Process) -> None:
    await store.replace_if(PATH, b"{", None)
    assert await process.files() == {}
    assert await process.add({"a": known("1")}) == {"a": known("1")}
    assert await Process(store).files() == {"a": known("1")}


async def test_a_store_that_is_down_is_not_an_empty_record(store: WatchedStore, process: Process) -> None:
    await process.add({"a": known("1")})
    store.down()
    cold = Process(store)
    state = await cold.cache.state_of(NAME)
    assert state.read_s is None
    assert isinstance(state.read_error, StoreError)
    with pytest.raises(StoreError):
        await cold.add({"b": known("2")})
    store.up()
    assert await cold.files() == {"a": known("1")}


async def test_a_lost_answer_may_be_asked_for_again(store: WatchedStore, process: Process) -> None:
    store.loses_answer = lambda method, path: method == "replace_if"
    with pytest.raises(StoreError):
        await process.add({"a": known("1")})
    store.up()
    assert await process.add({"a": known("1")}) == {"a": known("1")}
    assert await stored(store) == {"a": known("1")}


async def test_a_slow_store_is_waited_for_as_long_as_one_may(store: WatchedStore) -> None:
    await Process(store).add({"a": known("1")})
    process = Process(store, patience_s=0.01)
    held = store.holds["read"] = asyncio.Event()
    assert await process.files() == {}
    del store.holds["read"]
    held.set()
    assert await process.files() == {"a": known("1")}


# --- replicas of different releases


async def test_a_record_of_a_later_release_is_left_alone(
    store: WatchedStore, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = b"wheelgate record 4\nwhatever that may be \xff\x00"
    await store.replace_if(PATH, theirs, None)
    with caplog.at_level(logging.WARNING):
        assert await process.files() == {}
        for content in "12":
            assert (await process.add({content: known(content)}))[content] == known(content), "it works from what it knows"
        await process.cache.state_of(NAME, since_s=process.cache._clock.monotonic() + 1)
    assert (await store.read(PATH))[0] == theirs
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert PATH in line.getMessage()
    assert "format 4, which a later release wrote" in line.getMessage()


async def test_a_replica_that_was_upgraded_meanwhile_is_not_overwritten(store: WatchedStore, process: Process) -> None:
    await process.add({"a": known("1")})
    etag = (await store.read(PATH))[1].etag
    theirs = b"wheelgate record 4\n" + encode(ProjectRecord({}))
    await store.replace_if(PATH, theirs, etag)
    assert set(await process.add({"b": known("2")})) == {"a", "b"}
    assert (await store.read(PATH))[0] == theirs
    assert set(await process.add({"c": known("3")})) == {"a", "b", "c"}
    assert (await store.read(PATH))[0] == theirs

"""Facts found out from the bytes of somebody else's blobs: once, remembered, and never in a page's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.support.bounds import AT_ONCE_S
from tests.support.clock import FakeClock
from tests.support.packages import metadata, sdist_bytes, sha256, wheel_bytes, wheel_name
from tests.support.stores import INDEX, MemoryStore, WatchedStore, home_of
from wheelgate.core.errors import BlobNotFound, ProjectNotFound, StoreError, UpstreamUnavailable
from wheelgate.core.model import File, ProjectPage, StoredFile
from wheelgate.enrich.blob_history import BlobHistory
from wheelgate.enrich.blob_reader import BlobReader
from wheelgate.enrich.enriched import EnrichedSource
from wheelgate.enrich.record_store import ProjectRecords, encode
from wheelgate.enrich.records import BlobVersion, ExtractedMetadata, FileRecord, Files, ProjectRecord
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.page_builder import page_of, stored_file
from wheelgate.storage import layout
from wheelgate.storage.room import MARGIN_BYTES
from wheelgate.storage.spool import Spool

NAME = "acme-lib"
BODY = wheel_bytes(NAME, "1.0", requires_python=">=3.9")
WHEEL = wheel_name(NAME, "1.0")
RECORD = layout.record(home_of("curated"), NAME)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Listing:
    """A source that lists the blobs of a store as they are, the same files object until one changes."""

    name = "curated"

    def __init__(self, blobs: WatchedStore) -> None:
        self.memory = blobs.inner
        self.error: Exception | None = None
        self.stale = False
        self.frozen = False
        self._page: ProjectPage | None = None

    async def project_names(self) -> frozenset[str]:
        return frozenset({NAME})

    async def project_page(self, project: str) -> ProjectPage:
        if self.error is not None:
            raise self.error
        if not self.frozen:
            found = {info.path.rpartition("/")[2]: info async for info in self.memory.list("")}
            files = [stored_file(self.name, "container", project, name, info) for name, info in found.items()]
            page = page_of(project, files, as_of=datetime.now(UTC))
            if self._page is None or page.files != self._page.files:
                self._page = ProjectPage(project=project, files=page.files, as_of=page.as_of, dropped=3)
        assert self._page is not None
        return msgspec.structs.replace(self._page, as_of=datetime.now(UTC), stale=self.stale)


class SmallSpool(Spool):
    """On a disk with as much room as the test says."""

    left = 10**12

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free=lambda _: MARGIN_BYTES + self.left, wait_s=0.05)


class Replica(EnrichedSource):
    """The source as one process has it, with its memory."""

    def __init__(self, world: World) -> None:
        clock = world.clock
        reader = BlobReader(source="curated", blobs=world.blobs, store=world.store, spool=world.spool, clock=clock)
        self.history = BlobHistory(ProjectRecords(world.store, "curated", url=INDEX), reader=reader, clock=clock, retry_s=0.05)
        super().__init__(world.listing, memory=self.history, clock=clock, metrics=Metrics())

    async def close(self) -> None:
        await super().close()
        await self.history.close()


class World:
    """The source, the container it reads, and the store it remembers in."""

    def __init__(self, folder: Path) -> None:
        self.blobs, self.store = WatchedStore(), WatchedStore()
        self.spool = SmallSpool(folder)
        self.spool.prepare()
        self.listing = Listing(self.blobs)
        self.clock = FakeClock()
        self.replicas: list[Replica] = []
        self.source = self.replica()
        self.gate: asyncio.Event | None = None

    def replica(self) -> Replica:
        """Another process with the same store, or this one after a restart."""
        made = Replica(self)
        self.replicas.append(made)
        return made

    def put(self, path: str, body: bytes, created: datetime = T0, **facts: str) -> None:
        assert isinstance(self.blobs.inner, MemoryStore)
        self.blobs.inner._put(path, body, facts, created)

    def put_wheels(self, *versions: str) -> None:
        for day, version in enumerate(versions):
            self.put(wheel_name(NAME, version), wheel_bytes(NAME, version), T0 + timedelta(days=day))

    def hold(self) -> asyncio.Event:
        """Reading a blob takes until this is set."""
        inner, event = self.blobs.inner, asyncio.Event()

        async def stream(path: str, start: int, end: int) -> AsyncIterator[bytes]:
            self.blobs.calls.append(("stream", path))
            await event.wait()
            async for chunk in inner.stream(path, start, end):
                yield chunk

        self.blobs.stream = stream  # type: ignore[method-assign]
        return event

    def watch_spans(self) -> list[tuple[int, int]]:
        """What is read of blobs from now on."""
        inner, spans = self.blobs.inner, []

        def stream(path: str, start: int, end: int) -> AsyncIterator[bytes]:
            spans.append((start, end))
            return inner.stream(path, start, end)

        self.blobs.stream = stream  # type: ignore[method-assign]
        return spans

    @property
    def read(self) -> list[str]:
        return [path for method, path in self.blobs.calls if method == "stream"]

    async def page(self, source: Replica | None = None) -> ProjectPage:
        return await (source or self.source).project_page(NAME)

    async def files(self, source: Replica | None = None) -> dict[str, File]:
        return {file.filename: file for file in (await self.page(source)).files}

    async def recorded(self) -> Files:
        return (await ProjectRecords(self.store, "curated", url=INDEX).read(NAME)).record.files

    async def settled(self, seen: Callable[[dict[str, File]], bool]) -> dict[str, File]:
        async with asyncio.timeout(5):
            while not seen(files := await self.files()):
                await asyncio.sleep(0.005)
        return files

    async def close(self) -> None:
        for made in self.replicas:
            await made.close()
        self.spool.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "spool")
    yield made
    await made.close()


# --- what is found out


async def test_the_first_page_has_the_facts_of_small_files_already(world: World) -> None:
    world.put(f"x/{WHEEL}", BODY)
    world.put("acme_lib-1.0.tar.gz", sdist_bytes(NAME, "1.0"), T0 + timedelta(hours=1))
    files = await world.files()
    described = metadata(NAME, "1.0", requires_python=">=3.9")
    wheel, sdist = files[WHEEL], files["acme_lib-1.0.tar.gz"]
    assert (wheel.hashes, wheel.size) == ({"sha256": sha256(BODY)}, len(BODY))
    assert (wheel.upload_time, wheel.requires_python) == (T0, ">=3.9")
    assert wheel.core_metadata == {"sha256": sha256(described)}
    assert (await world.store.read(layout.metadata(sha256(BODY))))[0] == described
    assert (sdist.hashes, sdist.core_metadata) == ({"sha256": sha256(sdist_bytes(NAME, "1.0"))}, None)
    assert await world.source.project_names() == {NAME}
    assert world.source.name == "curated"


async def test_a_file_is_read_once_also_by_the_next_process(world: World) -> None:
    world.put_wheels("1.0", "2.0")
    files = await world.files()
    for _ in range(5):
        assert await world.files() == files
    world.store.calls.clear()
    assert await world.files(world.replica()) == files
    assert len(world.read) == 2
    assert world.store.written == []


async def test_many_requests_at_once_read_each_file_once(world: World) -> None:
    world.put_wheels("1.0", "2.0", "3.0")
    answers = await asyncio.gather(*(world.files() for _ in range(100)))
    assert all(answer == answers[0] for answer in answers)
    assert all(file.hashes for file in answers[0].values())
    assert len(world.read) == 3


async def test_a_slow_look_into_the_record_does_not_undo_what_was_learned_meanwhile(world: World) -> None:
    world.put_wheels("1.0")
    held = world.store.holds["read"] = asyncio.Event()
    slow = asyncio.create_task(world.files())
    await asyncio.sleep(0.01)  # it has seen the empty record, and not been told
    del world.store.holds["read"]
    quick = await world.files()
    held.set()
    assert await slow == quick
    await world.files()
    assert len(world.read) == 1


async def test_the_files_are_the_same_object_while_nothing_is_found_out(world: World) -> None:
    world.put_wheels("1.0", "2.0")
    first = await world.page()
    again = await world.page()
    assert again.revision == first.revision
    world.put_wheels("1.0", "2.0", "3.0")
    assert (await world.page()).revision != first.revision


async def test_everything_else_on_the_page_is_the_sources_own(world: World) -> None:
    """Finished pages go by the files; whether they are a stand-in must not be remembered with them."""
    world.put_wheels("1.0")
    first = await world.page()
    assert (first.stale, first.dropped) == (False, 3)
    world.listing.stale = True
    second = await world.page()
    assert second.revision == first.revision
    assert second.stale
    assert second.as_of > first.as_of
    world.listing.stale = False
    assert not (await world.page()).stale


@pytest.mark.parametrize("error", [ProjectNotFound("no"), UpstreamUnavailable("down"), StoreError("down")])
async def test_what_the_source_says_instead_of_a_page_passes_through(world: World, error: Exception) -> None:
    world.listing.error = error
    with pytest.raises(type(error)):
        await world.page()
    assert world.store.calls == []


async def test_the_newest_files_are_read_first(world: World) -> None:
    world.put_wheels("1.0", "3.0", "2.0")
    await world.files()
    assert world.read == [wheel_name(NAME, version) for version in ("2.0", "3.0", "1.0")]


# --- versions of a blob


async def test_a_changed_blob_is_read_again_and_its_first_time_stays(world: World) -> None:
    world.put(WHEEL, BODY)
    await world.files()
    other = wheel_bytes(NAME, "1.0", requires=["idna"])
    world.put(WHEEL, other, T0 + timedelta(days=9))
    file = (await world.files())[WHEEL]
    assert file.hashes == {"sha256": sha256(other)}
    assert file.upload_time == T0
    assert (await world.files(world.replica()))[WHEEL] == file
    assert len(world.read) == 2


async def test_the_first_time_stands_also_while_the_new_version_is_not_read_yet(world: World) -> None:
    world.put(WHEEL, BODY)
    before = (await world.files())[WHEEL]
    world.spool.left = 0
    world.put(WHEEL, wheel_bytes(NAME, "1.0", requires=["idna"]), T0 + timedelta(days=9))
    file = (await world.files())[WHEEL]
    assert file.upload_time == T0
    assert (file.hashes, file.core_metadata) == ({}, {}), "never those of the old version"
    assert file.location != before.location


async def test_an_etag_belongs_to_a_path(world: World) -> None:
    world.put(f"a/{WHEEL}", BODY)
    await world.files()
    memory = world.blobs.inner
    assert isinstance(memory, MemoryStore)
    _, info = memory.blobs.pop(f"a/{WHEEL}")
    other = wheel_bytes(NAME, "1.0", requires=["idna"])
    path = f"b/{WHEEL}"
    memory.blobs[path] = (other, msgspec.structs.replace(info, path=path, size=len(other)))
    assert (await world.files())[WHEEL].hashes == {"sha256": sha256(other)}


@pytest.mark.parametrize("length", [len(BODY) - 10, len(BODY), len(BODY) + 10])
async def test_a_blob_that_changed_since_it_was_listed_is_not_described(world: World, length: int) -> None:
    world.put(WHEEL, BODY)
    await world.listing.project_page(NAME)
    world.listing.frozen = True
    world.put(WHEEL, bytes(length))
    assert (await world.files())[WHEEL].hashes == {}
    assert world.store.written == []
    world.listing.frozen = False
    assert (await world.settled(lambda files: bool(files[WHEEL].hashes)))[WHEEL].hashes == {"sha256": sha256(bytes(length))}


# --- what the blob itself says


async def test_an_sdist_that_says_everything_is_not_read(world: World) -> None:
    world.put("acme_lib-1.0.tar.gz", b"x", sha256="a" * 64, upload_time="2025-01-01T00:00:00Z")
    file = (await world.files())["acme_lib-1.0.tar.gz"]
    assert (file.hashes, file.upload_time) == ({"sha256": "a" * 64}, datetime(2025, 1, 1, tzinfo=UTC))
    assert world.read == []
    assert world.store.written == []


async def test_a_wheel_that_says_everything_is_not_read_where_our_store_has_its_metadata(world: World) -> None:
    described = metadata(NAME, "1.0")
    await world.store.put_if_absent(layout.metadata(sha256(BODY)), described, {})
    facts = {"sha256": sha256(BODY), "metadata_sha256": "b" * 64, "requires_python": ">=3.8", "yanked": "old"}
    world.put(WHEEL, BODY, **facts)
    file = (await world.files())[WHEEL]
    assert world.read == []
    assert file.hashes == {"sha256": sha256(BODY)}
    assert file.core_metadata == {"sha256": sha256(described)}, "what is advertised is served"
    assert (file.requires_python, file.yanked) == (">=3.8", "old")


async def test_a_wheel_copied_from_another_store_is_read_so_that_its_metadata_can_be_served(world: World) -> None:
    world.put(WHEEL, BODY, sha256=sha256(BODY), metadata_sha256="b" * 64)
    file = (await world.files())[WHEEL]
    # What whoever stored it said its digest is, nobody compared with the bytes: so this speaks for that source alone.
    served, _ = await world.store.read(layout.upstream_metadata("curated", sha256(BODY)))
    assert (file.core_metadata, file.metadata_in_wheel) == ({"sha256": sha256(served)}, True)
    assert world.read == [WHEEL]
    with pytest.raises(BlobNotFound):
        await world.store.read(layout.metadata(sha256(BODY)))


@pytest.mark.parametrize(("stated", "shown"), [(">=3.12", ">=3.12"), ("", ">=3.9")])
async def test_a_constraint_that_is_stated_of_a_blob_stands_before_its_wheels(world: World, stated: str, shown: str) -> None:
    """As a mirror's manifest has it of what an index states: the wheel itself may want less."""
    world.put(WHEEL, BODY, **({"requires_python": stated} if stated else {}))
    world.put(wheel_name(NAME, "2.0"), wheel_bytes(NAME, "2.0"), requires_python=">=3.13")
    files = await world.settled(lambda files: all(file.hashes and file.core_metadata for file in files.values()))
    assert [file.requires_python for file in files.values()] == [shown, ">=3.13"]


async def test_of_a_large_wheel_that_says_its_digest_only_the_end_is_read(world: World) -> None:
    big = wheel_bytes(NAME, "1.0", padding=5_000_000, requires_python=">=3.9")
    world.put(WHEEL, big, sha256=sha256(big))
    world.spool.left = 0
    spans = world.watch_spans()
    file = (await world.files())[WHEEL]
    assert file.requires_python == ">=3.9"
    assert file.core_metadata
    assert 0 < sum(end - start for start, end in spans) < 300_000


async def test_metadata_that_was_asked_for_stands_until_the_wheel_is_read(world: World) -> None:
    world.put_wheels("1.0", "2.0")
    world.spool.left = 0
    one, two = (await world.files()).values()
    assert isinstance(one.location, StoredFile)
    place = f"{one.location.path}\n{one.location.etag}"
    world.source.history.learn(one, made=ExtractedMetadata(T0, place, "ab" * 32, ">=3.8"))
    world.source.history.learn(two, made=ExtractedMetadata(T0, "elsewhere", None))
    page = await world.page()
    assert [file.core_metadata for file in page.files] == [{"sha256": "ab" * 32}, None]
    assert page.files[0].requires_python == ">=3.8"
    assert (await world.page()).revision == page.revision
    world.clock.move(1)
    world.spool.left = 10**12
    files = await world.settled(lambda files: all(file.hashes for file in files.values()))
    assert [file.core_metadata for file in files.values()] == [
        {"sha256": sha256(metadata(NAME, version))} for version in ("1.0", "2.0")
    ]


async def test_until_a_wheel_was_looked_at_its_metadata_has_no_digest(world: World) -> None:
    """Nobody else's word for it: what is advertised is served."""
    world.put(WHEEL, BODY, sha256=sha256(BODY), metadata_sha256="b" * 64)
    world.hold()
    file = (await world.files())[WHEEL]
    assert (file.hashes, file.core_metadata, file.metadata_in_wheel) == ({"sha256": sha256(BODY)}, {}, True)


# --- odd files


@pytest.mark.parametrize(
    "body",
    [b"", b"not a zip", BODY[:-30], wheel_bytes("other", "1.0"), wheel_bytes(NAME, "1.0", metadata_body=b"\xff" * 50)],
)
async def test_a_wheel_without_usable_metadata_is_listed_without(world: World, body: bytes) -> None:
    world.put(WHEEL, body)
    for _ in range(3):
        file = (await world.files())[WHEEL]
        assert (file.hashes, file.core_metadata) == ({"sha256": sha256(body)}, None)
    assert len(world.read) == 1


async def test_a_wheel_of_an_odd_name_does_not_keep_the_others_from_being_described(world: World) -> None:
    """A container in project layout lists wheels of any age, of names that no parser takes."""
    odd = "acme_lib-1.0-what-ever-this-is-supposed-to-be.whl"
    world.put(odd, wheel_bytes(NAME, "1.0"), T0 + timedelta(days=9))
    world.put_wheels("1.0", "2.0")
    files = await world.files()
    assert all(file.hashes for file in files.values())
    assert files[odd].core_metadata is None
    assert len(world.read) == 3


async def test_a_blob_that_is_gone_does_not_keep_the_others_from_being_described(world: World) -> None:
    world.put_wheels("1.0", "2.0")
    await world.listing.project_page(NAME)
    world.listing.frozen = True
    await world.blobs.inner.delete(wheel_name(NAME, "2.0"))
    files = await world.files()
    assert {name: bool(file.hashes) for name, file in files.items()} == {
        wheel_name(NAME, "1.0"): True,
        wheel_name(NAME, "2.0"): False,
    }


async def test_an_unforeseen_error_is_logged_and_does_not_keep_the_others_from_being_described(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.put_wheels("1.0", "2.0")

    def trouble(method: str, path: str) -> None:
        if path == wheel_name(NAME, "2.0"):
            raise RuntimeError("a word of the library")

    world.blobs.before = trouble
    files = await world.files()
    assert {name: bool(file.hashes) for name, file in files.items()} == {
        wheel_name(NAME, "1.0"): True,
        wheel_name(NAME, "2.0"): False,
    }
    assert "a word of the library" in caplog.text


async def test_a_file_too_large_for_the_spool_is_listed_and_the_smaller_ones_are_described(world: World) -> None:
    world.put(wheel_name(NAME, "9.0"), wheel_bytes(NAME, "9.0", padding=100_000), T0 + timedelta(days=9))
    world.put_wheels("1.0", "2.0")
    world.spool.left = 50_000
    files = await world.files()
    big = files[wheel_name(NAME, "9.0")]
    assert (big.hashes, big.core_metadata, big.upload_time) == ({}, {}, T0 + timedelta(days=9))
    assert all(file.hashes for file in files.values() if file is not big)
    assert big.filename not in world.read
    world.spool.left = 10**12
    await world.settled(lambda files: bool(files[big.filename].hashes))


async def test_what_is_being_read_counts_as_room_taken(world: World) -> None:
    world.put(WHEEL, BODY)
    held = world.hold()
    task = asyncio.create_task(world.files())
    async with asyncio.timeout(AT_ONCE_S):
        while not world.read:
            await asyncio.sleep(0.005)
    world.spool.left = len(BODY) + 1_000
    assert not world.spool.room.fits(2_000)
    held.set()
    await task
    assert world.spool.room.fits(2_000)


# --- time


async def test_a_page_waits_no_more_than_about_a_second_and_a_later_one_has_the_facts(world: World) -> None:
    world.put_wheels("1.0", "2.0")
    held = world.hold()
    began = time.monotonic()
    pages = await asyncio.gather(*(world.files() for _ in range(20)))
    assert 0.9 < time.monotonic() - began < AT_ONCE_S
    assert all(not file.hashes for files in pages for file in files.values())
    assert world.read == [wheel_name(NAME, "2.0")], "all of them wait for one reading"
    held.set()
    files = await world.settled(lambda files: all(file.hashes for file in files.values()))
    assert files[wheel_name(NAME, "1.0")].core_metadata
    assert len(world.read) == 2


async def test_the_work_goes_on_when_those_who_asked_have_left(world: World) -> None:
    world.put_wheels("1.0")
    held = world.hold()
    question = asyncio.create_task(world.files())
    await asyncio.sleep(0.02)
    question.cancel()
    await asyncio.gather(question, return_exceptions=True)
    held.set()
    await world.settled(lambda files: all(file.hashes for file in files.values()))
    assert len(world.read) == 1


async def test_closing_ends_the_reading_and_leaves_no_file_behind(world: World) -> None:
    world.put_wheels("1.0")
    world.hold()
    question = asyncio.create_task(world.files())
    await asyncio.sleep(0.02)
    await world.source.close()
    files = await question
    assert all(not file.hashes for file in files.values())
    assert [path.name for path in world.spool.folder.iterdir()] == [".lock"]
    assert world.store.written == []


async def test_no_file_stays_in_the_spool(world: World) -> None:
    world.put_wheels("1.0", "2.0")
    world.put("acme_lib-0.1-py3-none-any.whl", b"broken")
    await world.files()
    assert [path.name for path in world.spool.folder.iterdir()] == [".lock"]


# --- trouble with stores


@pytest.mark.parametrize("failing", ["replace_if", "put_if_absent"])
async def test_while_our_store_cannot_be_written_pages_go_on_and_the_files_are_read_seldom(
    world: World, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.put_wheels("1.0", "2.0")
    world.store.fails = lambda method, path: method == failing
    for _ in range(50):
        files = await world.files()
        assert all(file.core_metadata == {} for file in files.values()), "it can be read out of the wheel each time"
    assert len(world.read) <= 2
    assert caplog.text.count("cannot be described yet") <= 2
    world.store.up()
    await world.settled(lambda files: all(file.core_metadata for file in files.values()))


async def test_a_container_that_cannot_be_read_is_not_asked_for_every_file(world: World) -> None:
    world.put_wheels(*(f"{n}.0" for n in range(20)))
    world.blobs.fails = lambda method, path: method == "stream"
    assert len(await world.files()) == 20
    assert len(world.read) == 1
    world.blobs.up()
    await world.settled(lambda files: all(file.hashes for file in files.values()))


async def test_a_record_that_cannot_be_read_is_a_failure_and_not_a_page_without_what_is_known(world: World) -> None:
    """Digests that were on the page would vanish from it, and times change."""
    world.put_wheels("1.0")
    files = await world.files()
    world.store.down()
    assert await world.files() == files, "what is known here needs no store"
    with pytest.raises(StoreError):
        await world.page(world.replica())


async def test_a_damaged_record_is_found_out_anew(world: World) -> None:
    world.put_wheels("1.0")
    await world.store.replace_if(RECORD, b'{"\xff', None)
    assert all(file.hashes for file in (await world.files()).values())
    assert await world.recorded()


async def test_two_replicas_that_learn_at_once_both_know_and_keep_the_earlier_time(world: World) -> None:
    world.put(WHEEL, BODY, T0 + timedelta(days=1))
    replica = world.replica()
    earlier = FileRecord(T0, {"sha256": "0" * 64}, T0, blob=BlobVersion("a", "e0"))

    def somebody_is_faster(method: str, path: str) -> None:
        if method == "replace_if":
            world.store.before = lambda method, path: None
            assert isinstance(world.store.inner, MemoryStore)
            world.store.inner._put(path, encode(ProjectRecord({WHEEL: earlier, "other.whl": earlier})), {}, T0)

    world.store.before = somebody_is_faster
    one, other = await asyncio.gather(world.files(), world.files(replica))
    for files in (one, other):
        assert files[WHEEL].hashes == {"sha256": sha256(BODY)}
        assert files[WHEEL].upload_time == T0
    assert set(await world.recorded()) == {WHEEL, "other.whl"}

"""A container in any layout, scanned in the background: never empty before it was heard, and never silent for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from tests.sources.source_contract import SourceContract, publish_wheel
from tests.support.bounds import AT_ONCE_S
from tests.support.clock import FakeClock
from tests.support.packages import sha256, wheel_name
from tests.support.sources import filenames
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import ProjectNotFound, StillListing, StoreError
from wheelgate.core.model import StoredFile
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.emptiness import Emptiness
from wheelgate.sources.kept_listing import KeptListing
from wheelgate.sources.known_projects import KnownProjects

WHEEL = wheel_name("acme-lib", "1.0")


class Container:
    """The source, and what it scans. Its own scans are as far apart as the test says; the levers scan too."""

    gives_digests = True
    lists_names = True

    def __init__(
        self,
        clock: FakeClock,
        *,
        interval_s: float = 3600.0,
        retry_s: float = 3600.0,
        patience_s: float = 5.0,
        overdue_s: float = 3600.0,
    ) -> None:
        self.store = WatchedStore()
        self.clock = clock
        self.source = self.scan = BlobScan(
            name="curated",
            store=self.store,
            clock=clock,
            interval_s=interval_s,
            retry_s=retry_s,
            patience_s=patience_s,
            overdue_s=overdue_s,
        )

    async def put(self, path: str, body: bytes = b"x", **facts: str) -> None:
        await self.store.delete(path)
        await self.store.put_if_absent(path, body, facts)

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        await self.put(f"any/where/{project}/{filename}", body, sha256=sha256(body))
        await self.scan.scan()

    async def remove(self, project: str) -> None:
        for path in [info.path async for info in self.store.list("") if f"/{project}/" in info.path]:
            await self.store.delete(path)
        await self.scan.scan()

    async def fail(self) -> None:
        await self.scan.project_names()  # it scans from the first question on
        self.store.down()
        await until(lambda: self.scan._error is not None)

    async def mend(self) -> None:
        self.store.up()
        await until(lambda: self.scan._error is None)

    async def listed(self, project: str = "acme-lib") -> list[str]:
        return filenames(await self.source.project_page(project))


@pytest.fixture
async def make(clock: FakeClock) -> AsyncIterator[Callable[..., Container]]:
    made: list[Container] = []

    def container(**options: float) -> Container:
        made.append(Container(clock, **options))
        return made[-1]

    yield container
    for one in made:
        await one.source.close()


@pytest.fixture
def world(make: Callable[..., Container]) -> Container:
    return make()


@pytest.fixture
def busy(make: Callable[..., Container]) -> Container:
    """Scans all the time."""
    return make(interval_s=0.005, retry_s=0.005)


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not seen():
            await asyncio.sleep(0.005)


class TestBlobScan(SourceContract):
    @pytest.fixture
    def world(self, busy: Container) -> Container:
        return busy


async def test_any_layout_will_do_and_strangers_are_nothing(world: Container) -> None:
    for path in (WHEEL, f"a/b/c/d/{wheel_name('acme-lib', '2.0')}", "x/Acme.Lib-3.0.tar.gz", "x/acme_lib-4.0.zip"):
        await world.put(path)
    strangers = (
        "README.md",
        "x.whl",
        f"{WHEEL}.metadata",
        f"{WHEEL}.asc",
        "a b-1.0.tar.gz",
        "dir.whl/",
        "-x-1.0.tar.gz",
        "a/.zip",
    )
    for path in strangers:
        await world.put(path)
    assert (await world.source.project_page("acme-lib")).versions == ("3.0", "1.0", "2.0", "4.0")
    assert await world.source.project_names() == {"acme-lib"}


async def test_before_the_first_scan_is_complete_it_fails_rather_than_being_empty(make: Callable[..., Container]) -> None:
    world = make(patience_s=0.05)
    await world.put(WHEEL)
    world.store.holds["list"] = asyncio.Event()
    for question in (world.source.project_page("acme-lib"), world.source.project_page("other"), world.source.project_names()):
        with pytest.raises(StoreError, match=r"source curated is still being listed \(0 blobs so far\): try again"):
            await question
    assert world.store.count("list") == 1
    world.store.holds["list"].set()
    await until(world.scan._first.is_set)
    assert await world.listed() == [WHEEL]


async def test_a_request_waits_for_a_first_scan_that_is_nearly_there(world: Container) -> None:
    await world.put(WHEEL)
    world.store.holds["list"] = asyncio.Event()
    question = asyncio.create_task(world.listed())
    await asyncio.sleep(0.05)
    assert not question.done()
    world.store.holds["list"].set()
    assert await question == [WHEEL]


async def test_a_first_scan_that_fails_is_told_at_once(world: Container) -> None:
    world.store.down()
    async with asyncio.timeout(AT_ONCE_S):
        for question in (world.source.project_page("acme-lib"), world.source.project_names()):
            with pytest.raises(StoreError, match="cannot be reached"):
                await question


async def test_nothing_is_listed_before_somebody_asks_and_then_only_by_the_scan(world: Container) -> None:
    await world.put(WHEEL)
    assert world.store.count("list") == 0
    for _ in range(20):
        await world.listed()
        await world.source.project_names()
        with pytest.raises(ProjectNotFound):
            await world.listed("other")
    assert world.store.count("list") == 1


async def test_what_is_added_or_removed_is_seen_by_the_next_scan(busy: Container) -> None:
    await busy.put(f"a/{WHEEL}")
    assert await busy.listed() == [WHEEL]
    await busy.put("b/acme_lib-2.0.tar.gz")
    async with asyncio.timeout(5):
        while len(await busy.listed()) < 2:
            await asyncio.sleep(0.005)
    await busy.store.delete(f"a/{WHEEL}")
    async with asyncio.timeout(5):
        while await busy.listed() != ["acme_lib-2.0.tar.gz"]:
            await asyncio.sleep(0.005)
    await busy.store.delete("b/acme_lib-2.0.tar.gz")
    with pytest.raises(ProjectNotFound):
        async with asyncio.timeout(5):
            while True:
                await busy.listed()
                await asyncio.sleep(0.005)
    assert await busy.source.project_names() == frozenset()


async def test_it_recovers_by_itself_from_a_failing_scan(busy: Container) -> None:
    await busy.put(WHEEL)
    await busy.listed()
    busy.store.down()
    await until(lambda: busy.scan._error is not None)
    for project in ("acme-lib", "other"):
        with pytest.raises(StoreError, match="cannot be reached"):
            await busy.listed(project)
    busy.store.up()
    await until(lambda: busy.scan._error is None)
    assert await busy.listed() == [WHEEL]


@pytest.mark.parametrize("error", [ValueError("a word of the library"), KeyError("x"), RecursionError(), OSError(5, "io")])
async def test_no_error_whatever_ends_the_scanning(busy: Container, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    await busy.put(WHEEL)
    await busy.listed()

    def trouble(method: str, path: str) -> None:
        raise error

    busy.store.before = trouble
    await until(lambda: busy.scan._error is not None)
    with pytest.raises(StoreError, match="source curated cannot be scanned; see the log"):
        await busy.listed()
    assert type(error).__name__ in caplog.text
    busy.store.before = lambda method, path: None
    await until(lambda: busy.scan._error is None)
    assert await busy.listed() == [WHEEL]


async def test_a_long_outage_is_one_line_in_the_log_and_its_error_does_not_grow(
    busy: Container, caplog: pytest.LogCaptureFixture
) -> None:
    await busy.put(WHEEL)
    await busy.listed()
    busy.store.down()
    await until(lambda: busy.store.count("list") > 10)
    assert caplog.text.count("cannot be scanned") == 1
    await busy.source.close()
    depths = set()
    for _ in range(20):
        with pytest.raises(StoreError) as raised:
            await busy.listed()
        depths.add(len(raised.traceback))
    assert len(depths) == 1


async def test_a_scan_that_breaks_off_in_the_middle_changes_nothing(world: Container) -> None:
    await world.put("a/acme_lib-1.0.tar.gz")
    await world.put("b/other-1.0.tar.gz")
    assert await world.source.project_names() == {"acme-lib", "other"}
    inner = world.store.inner

    async def cut(prefix: str) -> AsyncIterator[object]:
        async for info in inner.list(prefix):
            yield info
            raise StoreError("the listing broke off")

    world.store.list = cut  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError, match="broke off"):
        await world.scan.scan()
    assert await world.source.project_names() == {"acme-lib", "other"}


async def test_of_one_name_in_two_folders_the_first_in_order_stands_however_they_are_listed(world: Container) -> None:
    inner = world.store.inner

    async def backwards(prefix: str) -> AsyncIterator[object]:
        for info in reversed([info async for info in inner.list(prefix)]):
            yield info

    for path in (f"b/{WHEEL}", f"a/{WHEEL}", f"c/{WHEEL}"):
        await world.put(path)
    for lister in (inner.list, backwards):
        world.store.list = lister  # type: ignore[method-assign, assignment]
        await world.scan.scan()
        (file,) = (await world.source.project_page("acme-lib")).files
        assert isinstance(file.location, StoredFile)
        assert file.location.path == f"a/{WHEEL}"
    await world.store.delete(f"a/{WHEEL}")
    await world.scan.scan()
    (file,) = (await world.source.project_page("acme-lib")).files
    assert isinstance(file.location, StoredFile)
    assert file.location.path == f"b/{WHEEL}"


async def test_files_stay_the_same_object_until_they_change_and_a_scan_confirms_them(world: Container, clock: FakeClock) -> None:
    await publish_wheel(world, "acme-lib", "1.0")
    await publish_wheel(world, "other", "1.0")
    scanned = clock.now()
    clock.move(60)
    page, other = await world.source.project_page("acme-lib"), await world.source.project_page("other")
    assert page.as_of == scanned
    await publish_wheel(world, "other", "2.0")
    again = await world.source.project_page("acme-lib")
    assert again.revision == page.revision
    assert again.as_of == clock.now()
    assert (await world.source.project_page("other")).revision != other.revision


async def test_an_overwritten_blob_and_changed_facts_are_new_files(world: Container) -> None:
    await world.put(WHEEL, b"one")
    await world.scan.scan()
    first = (await world.source.project_page("acme-lib")).files
    await world.put(WHEEL, b"two!")
    await world.scan.scan()
    second = (await world.source.project_page("acme-lib")).files
    assert (first[0].size, second[0].size) == (3, 4)
    assert first[0].location != second[0].location
    info = await world.store.info(WHEEL)
    await world.store.set_facts(WHEEL, {"yanked": "broken"}, info.etag)
    await world.scan.scan()
    assert (await world.source.project_page("acme-lib")).files[0].yanked == "broken"


@pytest.mark.parametrize("digest", ["../../tokens/abcdefgh", "", "abc", "g" * 64, "a" * 65, "a" * 64 + "\n", "٣" * 64])
async def test_a_digest_that_is_none_is_not_believed(world: Container, digest: str) -> None:
    """Paths in our own store are made of it."""
    await world.put(WHEEL, sha256=digest, metadata_sha256="b" * 64)
    await world.put("acme_lib-2.0-py3-none-any.whl", sha256="A" * 64, metadata_sha256=digest)
    first, second = (await world.source.project_page("acme-lib")).files
    assert (first.hashes, first.core_metadata) == ({}, None)
    assert (second.hashes, second.core_metadata) == ({"sha256": "a" * 64}, None)


async def test_closing_ends_the_scanning(busy: Container) -> None:
    await busy.put(WHEEL)
    await busy.listed()
    await until(lambda: busy.store.count("list") > 2)
    await busy.source.close()
    scans = busy.store.count("list")
    assert await busy.listed() == [WHEEL], "what the last scan found"
    await asyncio.sleep(0.05)
    assert busy.store.count("list") == scans
    await busy.source.close()


async def test_closing_one_that_was_never_asked_is_fine(world: Container) -> None:
    await world.source.close()
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(StoreError, match="is still being listed"):
            await world.listed()
    assert world.store.calls == [], "nothing is scanned after the end"


# --- what an earlier process kept


class Replica:
    """A process with a scan of one container, over one store."""

    def __init__(self, blobs: MemoryStore, ours: MemoryStore, clock: FakeClock, *, place: str | None = "container-1") -> None:
        self.blobs = WatchedStore(blobs)
        self.place = place

        async def identify() -> str | None:
            if self.blobs.fails("identify", ""):
                raise StoreError("the store cannot be reached")
            return self.place

        known = KnownProjects("curated", url="https://x", store=ours)
        judge = Emptiness(source="curated", is_folder=False, known=known, identity=identify)
        kept = KeptListing("curated", url="https://x", store=ours)
        self.scan = BlobScan(
            name="curated",
            store=self.blobs,
            clock=clock,
            interval_s=60,
            retry_s=0.005,
            patience_s=0.05,
            emptiness=judge,
            kept=kept,
        )

    async def answer(self, project: str) -> str:
        """What it says of a project: a version, ``absent``, ``listing`` or ``failure``."""
        try:
            return ", ".join((await self.scan.project_page(project)).versions)
        except ProjectNotFound:
            return "absent"
        except StillListing:
            return "listing"
        except StoreError:
            return "failure"

    async def stand_in(self, project: str) -> str | None:
        page = await self.scan.find_kept(project)
        return None if page is None else ", ".join(page.versions)


@pytest.fixture
async def replica(clock: FakeClock) -> AsyncIterator[Callable[..., Replica]]:
    blobs, ours, made = MemoryStore(), MemoryStore(), []
    await blobs.put_if_absent(f"a/{WHEEL}", b"x", {})

    def start(**options: str | None) -> Replica:
        made.append(Replica(blobs, ours, clock, **options))
        return made[-1]

    yield start
    for one in made:
        await one.scan.close()


async def test_a_listing_of_a_moment_ago_answers_for_everything_and_nothing_is_listed(
    replica: Callable[..., Replica], clock: FakeClock
) -> None:
    await replica().scan.scan()
    clock.move(59)
    later = replica()
    assert await later.answer("acme-lib") == "1.0"
    assert await later.answer("other") == "absent"
    assert later.blobs.count("list") == 0


OLD: dict[str, tuple[float, str | None]] = {
    "older than the pause between listings": (61, "container-1"),
    "of a time to come": (-10, "container-1"),
    "of a container that was made anew": (1, "container-2"),
    "of a container of which nobody may ask any more which it is": (1, None),
}


@pytest.mark.parametrize(("age_s", "place"), OLD.values(), ids=OLD)
async def test_what_an_older_listing_lacks_is_not_absent(
    replica: Callable[..., Replica], clock: FakeClock, age_s: float, place: str | None
) -> None:
    """A name that the container has gained since would go to whoever registered it in public."""
    await replica().scan.scan()
    clock.move(age_s)
    later = replica(place=place)
    later.blobs.holds["list"] = asyncio.Event()
    assert await later.answer("other") == "listing"
    assert await later.answer("acme-lib") == "listing"
    assert await later.stand_in("acme-lib") == (None if place == "container-2" else "1.0")
    assert await later.stand_in("other") is None
    await later.blobs.put_if_absent("b/other-3.0.tar.gz", b"x", {})
    later.blobs.holds["list"].set()
    await until(lambda: later.scan._is_own)
    assert await later.answer("acme-lib") == "1.0"


async def age_kept(replica: Replica, **values: object) -> None:
    """Scan, and keep it as a process would have that was slower."""
    await replica.scan.scan()
    assert replica.scan._last is not None
    assert replica.scan._kept is not None
    await replica.scan._kept.keep(msgspec.structs.replace(replica.scan._last, **values))


@pytest.mark.parametrize(("age_s", "is_believed"), [(890, True), (910, False), (4 * 3600, False)])
async def test_what_a_slow_process_kept_is_believed_for_a_quarter_of_an_hour_and_until_our_own(
    replica: Callable[..., Replica], clock: FakeClock, age_s: float, is_believed: bool
) -> None:
    await age_kept(replica(), took_s=1_800.0)
    clock.move(age_s)
    later = replica()
    await later.blobs.put_if_absent("b/secret_lib-3.0.tar.gz", b"x", {})
    later.blobs.holds["list"] = asyncio.Event()
    assert await later.answer("secret-lib") == ("absent" if is_believed else "listing")
    assert await later.stand_in("acme-lib") == "1.0"
    await until(lambda: later.blobs.count("list") == 1)
    later.blobs.holds["list"].set()
    await until(lambda: later.scan._is_own)
    assert await later.answer("secret-lib") == "3.0"


async def test_what_was_kept_is_no_longer_believed_once_it_is_too_old_though_our_own_is_not_there(
    replica: Callable[..., Replica], clock: FakeClock
) -> None:
    await age_kept(replica(), took_s=1_800.0)
    clock.move(890)
    later = replica()
    later.blobs.holds["list"] = asyncio.Event()
    with pytest.raises(ProjectNotFound) as absent:
        await later.scan.project_page("other")
    page = await later.scan.project_page("acme-lib")
    assert absent.value.fresh_until == page.freshness.fresh_until == clock.monotonic() + 10
    clock.move(11)
    waiting = None
    try:
        await later.scan.project_page("other")
    except StillListing as error:
        waiting = asyncio.ensure_future(error.wait())
    assert waiting is not None
    assert [await later.answer("acme-lib"), await later.stand_in("acme-lib")] == ["listing", "1.0"]
    assert not waiting.done()
    later.blobs.holds["list"].set()
    await asyncio.wait_for(waiting, 5)
    assert [await later.answer("acme-lib"), await later.answer("other")] == ["1.0", "absent"]


async def test_a_first_listing_may_take_longer_than_the_kept_one_did(replica: Callable[..., Replica], clock: FakeClock) -> None:
    """By whose measure a slower server would never come to one of its own."""
    await replica().scan.scan()
    clock.move(30)
    later = replica()
    assert await later.answer("acme-lib") == "1.0"
    assert later.scan._limit_s(later.scan._last) == float("inf")
    await later.scan.scan()
    assert later.scan._limit_s(later.scan._last) < 200


async def test_a_container_that_is_down_at_the_start_is_a_failure_and_its_last_pages_stand_in(
    replica: Callable[..., Replica], clock: FakeClock
) -> None:
    await replica().scan.scan()
    later = replica()
    later.blobs.down()
    assert [await later.answer("acme-lib"), await later.answer("other")] == ["failure", "failure"]
    assert [await later.stand_in("acme-lib"), await later.stand_in("other")] == ["1.0", None]
    later.blobs.up()
    await until(lambda: later.scan._error is None)
    assert [await later.answer("acme-lib"), await later.answer("other")] == ["1.0", "absent"]


async def test_what_is_the_same_is_the_same_page_and_a_change_names_its_project(clock: FakeClock) -> None:
    world = Container(clock)
    told: list[str | None] = []
    world.scan.changed.subscribe(told.append)
    await publish_wheel(world, "acme-lib", "1.0")
    await publish_wheel(world, "other", "1.0")
    await publish_wheel(world, "other", "2.0")
    await world.scan.scan()
    assert told == [None, "other", "other"]
    await world.source.close()


async def test_between_listings_it_rests_ten_times_as_long_as_one_took_and_a_quarter_of_an_hour_at_most(world: Container) -> None:
    await world.put(WHEEL)
    await world.scan.scan()
    assert world.scan._period_s() == 3_600
    assert world.scan._last is not None
    world.scan._interval_s = 60.0
    for took_s, pause_s in ((1.0, 60), (40.0, 400), (400.0, 900)):
        world.scan._last = msgspec.structs.replace(world.scan._last, took_s=took_s)
        assert world.scan._period_s() == pause_s


async def test_no_listing_goes_on_for_ever_once_there_was_one(make: Callable[..., Container]) -> None:
    world = make(interval_s=0.01, retry_s=0.01, overdue_s=0.2)
    await world.put(WHEEL)
    await world.listed()
    world.store.holds["list"] = asyncio.Event()
    await until(lambda: world.scan._error is not None)
    with pytest.raises(StoreError, match="source curated could not be listed in time"):
        await world.listed()
    world.store.holds["list"].set()
    await until(lambda: world.scan._error is None)
    assert await world.listed() == [WHEEL]


async def test_a_first_listing_holds_up_a_server_for_minutes_and_no_longer(world: Container, clock: FakeClock) -> None:
    world.store.holds["list"] = asyncio.Event()
    assert not world.scan.holds_up_all, "a command has no probe"
    world.scan.start()
    assert world.scan.holds_up_all
    clock.move(301)
    assert not world.scan.holds_up_all
    clock.move(-301)
    world.store.holds["list"].set()
    await until(lambda: not world.scan.holds_up_all)
    assert await world.source.project_names() == frozenset()

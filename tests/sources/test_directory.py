"""A folder as a source: what is put there is listed, what is removed is gone, and an unmounted disk is no empty one."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.sources.source_contract import SourceContract, publish_wheel
from tests.support.bounds import AT_ONCE_S
from tests.support.clock import FakeClock
from tests.support.packages import make_wheel, metadata, sdist_bytes, sha256, wheel_bytes, wheel_name
from tests.support.sources import filenames
from tests.support.stores import WatchedStore
from tests.support.turns import longest_turn
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamUnavailable
from wheelgate.core.model import LocalFile, ProjectPage
from wheelgate.sources.directory import RESCAN_S, Directory
from wheelgate.sources.known_projects import KnownProjects

_hooks: dict[str, Callable[[], object]] = {}


def _on_file_access(event: str, arguments: tuple[object, ...]) -> None:
    if _hooks and event in ("os.scandir", "open"):
        asked = str(arguments[0])  # a file is opened relative to its folder
        hook = _hooks.pop(asked, None) or _hooks.pop(next((path for path in _hooks if path.endswith(f"/{asked}")), ""), None)
        if hook is not None:
            hook()


sys.addaudithook(_on_file_access)


@contextmanager
def when_read(path: Path, hook: Callable[[], object]) -> Iterator[None]:
    """Do something at the very moment the folder is first listed, or the file opened."""
    _hooks[str(path)] = hook
    yield
    assert not _hooks, "it was never read"


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not seen():
            await asyncio.sleep(0.005)


class Folder:
    """The source, and its folder."""

    gives_digests = True
    lists_names = True

    def __init__(self, root: Path, clock: FakeClock, **options: Any) -> None:
        root.mkdir()
        self.root = root
        self.clock = clock
        self.source = Directory(name="wheels", root=root, clock=clock, **options)

    def rescan(self) -> None:
        self.clock.move(RESCAN_S)

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        (self.root / filename).write_bytes(body)
        self.rescan()

    async def remove(self, project: str) -> None:
        for path in self.root.glob(f"{project.replace('-', '_')}-*"):
            path.unlink()
        self.rescan()

    async def fail(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))
        self.rescan()

    async def mend(self) -> None:
        self.root.with_name("elsewhere").rename(self.root)

    async def page(self, project: str = "acme-lib") -> ProjectPage:
        return await self.source.project_page(project)


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Folder]:
    folder = Folder(tmp_path / "wheels", clock)
    yield folder
    await folder.source.close()


@pytest.fixture
async def impatient(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Folder]:
    """Reads no more than 10 kB before a first answer."""
    folder = Folder(tmp_path / "impatient", clock, inline_bytes=10_000)
    yield folder
    await folder.source.close()


class TestDirectory(SourceContract):
    pass


async def test_any_layout_will_do(world: Folder) -> None:
    for folder, version in (("", "1.0"), ("acme-lib", "2.0"), ("2026/11/linux", "3.0"), ("other", "4.0")):
        make_wheel(world.root / folder, "Acme.Lib", version)
    (world.root / "acme_lib-5.0.tar.gz").write_bytes(sdist_bytes("acme-lib", "5.0"))
    page = await world.page()
    assert sorted(page.versions) == ["1.0", "2.0", "3.0", "4.0", "5.0"]
    assert await world.source.project_names() == {"acme-lib"}


async def test_a_file_is_described_by_what_is_in_it(world: Folder) -> None:
    body = wheel_bytes("acme-lib", "1.0", requires=["idna"], requires_python=">=3.9")
    path = world.root / wheel_name("acme-lib", "1.0")
    path.write_bytes(body)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (file,) = (await world.page()).files
    assert file.hashes == {"sha256": sha256(body)}
    assert file.size == len(body)
    assert file.upload_time == datetime.fromtimestamp(1_700_000_000, UTC)
    assert file.requires_python == ">=3.9"
    described = metadata("acme-lib", "1.0", requires=["idna"], requires_python=">=3.9")
    assert file.core_metadata == {"sha256": sha256(described)}
    assert isinstance(file.location, LocalFile)
    assert file.location.path == str(path)


async def test_a_wheel_that_is_broken_or_says_it_is_another_offers_no_metadata(world: Folder) -> None:
    (world.root / wheel_name("acme-lib", "1.0")).write_bytes(b"not a zip")
    (world.root / wheel_name("acme-lib", "2.0")).write_bytes(wheel_bytes("other", "2.0"))
    page = await world.page()
    assert len(page.files) == 2
    assert all(file.core_metadata is None and file.hashes for file in page.files)


async def test_what_is_not_a_package_is_not_listed(world: Folder) -> None:
    make_wheel(world.root, "acme-lib", "1.0")
    for name in (
        "README.md",
        "acme_lib-2.0-py3-none-any.whl.part",
        ".acme_lib-3.0-py3-none-any.whl",
        "x.whl",
        "acme lib-1.0.tar.gz",
    ):
        (world.root / name).write_bytes(b"x")
    make_wheel(world.root / ".hidden", "acme-lib", "4.0")
    (world.root / wheel_name("acme-lib", "5.0")).mkdir()
    assert filenames(await world.page()) == [wheel_name("acme-lib", "1.0")]
    assert await world.source.project_names() == {"acme-lib"}


@pytest.mark.parametrize("name", ["_acme-1.0-py3-none-any.whl", "acme+x-1.0.tar.gz", "acme x-1.0.tar.gz"])
async def test_a_name_nobody_could_ask_for_is_no_project(world: Folder, name: str) -> None:
    (world.root / name).write_bytes(b"x")
    assert await world.source.project_names() == frozenset()


async def test_links_are_not_followed(world: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make_wheel(outside, "secret", "1.0")
    (world.root / wheel_name("secret", "2.0")).symlink_to(outside / wheel_name("secret", "1.0"))
    (world.root / "linked").symlink_to(outside)
    make_wheel(world.root, "acme-lib", "1.0")
    assert await world.source.project_names() == {"acme-lib", "secret"}
    page = await world.page("secret")  # it is the folder's, whatever is behind the link
    assert filenames(page) == []
    assert [entry.filename for entry in page.withheld] == [wheel_name("secret", "2.0")]
    assert "is a link, which is not followed" in page.withheld[0].reason


async def test_a_link_to_a_folder_is_named(world: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_wheel(tmp_path / "outside", "secret", "1.0")
    make_wheel(world.root / "real", "acme-lib", "1.0")
    (world.root / "deep").mkdir()
    (world.root / "deep" / "linked").symlink_to(tmp_path / "outside")
    (world.root / "circle").symlink_to(world.root / "circle")
    (world.root / "latest").symlink_to(world.root / "real")  # what is in it is listed where it lies
    (world.root / "broken").symlink_to(tmp_path / "nowhere")
    (world.root / "notes").symlink_to(__file__)
    assert await world.source.project_names() == {"acme-lib"}
    found = await world.source.find_unoffered(5)
    assert [(entry.filename, entry.rule) for entry in found.named] == [("circle", "damaged"), ("linked", "damaged")]
    assert "deep/linked is a link to a folder, which is not followed" in found.named[1].reason
    world.rescan()
    await world.source.project_names()
    assert [record.getMessage() for record in caplog.records] == [entry.reason for entry in found.named]


async def test_a_link_that_is_named_for_a_project_keeps_its_name(tmp_path: Path, clock: FakeClock) -> None:
    """Nobody else may answer for it: the folder is laid out by projects, and has one."""
    make_wheel(tmp_path / "outside", "secret", "1.0")
    root = tmp_path / "root"
    make_wheel(root / "acme", "acme", "1.0")
    source = Directory(name="shelf", root=root, clock=clock, by_project=True)
    assert await source.project_names() == {"acme"}
    (root / "secret").symlink_to(tmp_path / "outside")
    (root / "acme-old").symlink_to(root / "acme")
    clock.move(RESCAN_S)
    assert await source.project_names() == {"acme", "secret", "acme-old"}
    page = await source.project_page("secret")
    assert (filenames(page), [entry.filename for entry in page.withheld]) == ([], ["secret"])
    assert "secret is a link to a folder" in page.withheld[0].reason
    (root / "secret").unlink()
    (root / "acme-old").unlink()
    clock.move(RESCAN_S)
    assert await source.project_names() == {"acme"}
    await source.close()


async def test_a_folder_that_is_named_as_a_distribution_is_its_project_s(world: Folder) -> None:
    make_wheel(world.root / "acme-2.0-py3.9.egg", "acme", "1.0")
    page = await world.page("acme")
    assert filenames(page) == [wheel_name("acme", "1.0")]
    assert ["is a folder" in entry.reason for entry in page.withheld] == [True]


async def test_within_two_seconds_the_folder_is_not_read_again(world: Folder, clock: FakeClock) -> None:
    make_wheel(world.root, "acme-lib", "1.0")
    page = await world.page()
    make_wheel(world.root, "acme-lib", "2.0")
    clock.move(RESCAN_S - 0.1)
    assert await world.page() is page
    clock.move(0.1)
    assert len((await world.page()).files) == 2


async def test_a_scan_that_finds_nothing_new_gives_the_same_files(world: Folder) -> None:
    make_wheel(world.root, "acme-lib", "1.0")
    page = await world.page()
    world.rescan()
    make_wheel(world.root, "other", "1.0")
    assert (await world.page()).revision == page.revision


async def test_a_changed_file_gets_its_new_digest_and_location(world: Folder) -> None:
    path = make_wheel(world.root, "acme-lib", "1.0")
    (before,) = (await world.page()).files
    body = wheel_bytes("acme-lib", "1.0", requires=["idna"])
    path.write_bytes(body)
    world.rescan()
    (after,) = (await world.page()).files
    assert after.hashes == {"sha256": sha256(body)}
    assert after.location != before.location
    assert after.core_metadata != before.core_metadata


async def test_a_file_touched_but_the_same_is_read_again_and_says_the_same(world: Folder) -> None:
    path = make_wheel(world.root, "acme-lib", "1.0")
    (before,) = (await world.page()).files
    os.utime(path, (1, 1))
    world.rescan()
    (after,) = (await world.page()).files
    assert (after.hashes, after.core_metadata) == (before.hashes, before.core_metadata)


async def test_of_two_files_with_one_name_the_first_in_order_stands(world: Folder) -> None:
    make_wheel(world.root / "b", "acme-lib", "1.0")
    first = world.root / "a" / wheel_name("acme-lib", "1.0")
    first.parent.mkdir()
    first.write_bytes(wheel_bytes("acme-lib", "1.0", requires=["idna"]))
    (file,) = (await world.page()).files
    assert file.hashes == {"sha256": sha256(first.read_bytes())}


async def test_a_missing_folder_is_a_failure_and_its_return_is_noticed_at_once(world: Folder) -> None:
    await publish_wheel(world, "acme-lib", "1.0")
    await world.fail()
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable, match="source wheels: the folder .* cannot be read"):
            await world.page()
        with pytest.raises(UpstreamUnavailable):
            await world.source.project_names()
    await world.mend()
    assert await world.source.project_names() == {"acme-lib"}


async def test_a_folder_removed_while_it_is_read_does_not_make_the_rest_unheard(world: Folder) -> None:
    make_wheel(world.root / "a", "acme-lib", "1.0")
    make_wheel(world.root / "b", "other", "1.0")
    with when_read(world.root / "a", lambda: shutil.rmtree(world.root / "b")):
        assert await world.source.project_names() == {"acme-lib"}


async def test_a_disk_unmounted_while_it_is_read_is_a_failure(world: Folder) -> None:
    """Not a folder with fewer projects: the names it did not come to would seem to be free."""
    make_wheel(world.root / "a", "acme-lib", "1.0")
    make_wheel(world.root / "b", "other", "1.0")
    with when_read(world.root / "a", lambda: shutil.rmtree(world.root)), pytest.raises(UpstreamUnavailable):
        await world.source.project_names()


async def test_large_files_are_listed_first_and_digested_meanwhile(impatient: Folder) -> None:
    world = impatient
    make_wheel(world.root, "acme-lib", "1.0")
    make_wheel(world.root, "acme-lib", "2.0", padding=50_000)
    page = await world.page()
    small, large = page.files
    assert small.hashes
    assert small.core_metadata
    assert (large.hashes, large.core_metadata) == ({}, {}), "its metadata is read when it is asked for"
    assert large.size == (world.root / large.filename).stat().st_size
    async with asyncio.timeout(10):
        while not (await world.page()).files[1].hashes:
            await asyncio.sleep(0.01)
    after = (await world.page()).files[1]
    assert after.hashes == {"sha256": sha256((world.root / large.filename).read_bytes())}
    assert after.core_metadata
    assert await world.page() is await world.page()


async def test_a_small_file_beside_a_large_one_still_being_read_has_its_digest_at_once(impatient: Folder) -> None:
    world = impatient
    path = make_wheel(world.root, "acme-lib", "2.0", padding=50_000)
    go_on = threading.Event()
    with when_read(path, lambda: go_on.wait(10)):
        await world.page()
        make_wheel(world.root, "acme-lib", "1.0")
        world.rescan()
        small, large = (await world.page()).files
    assert small.hashes
    assert not large.hashes, "it is still being read"
    go_on.set()


async def test_a_file_found_while_others_are_read_is_not_left_without_a_digest(world: Folder, clock: FakeClock) -> None:
    """The folder is scanned again in the middle of a first read."""
    path = make_wheel(world.root, "acme-lib", "1.0")
    reading, go_on = threading.Event(), threading.Event()
    with when_read(path, lambda: (reading.set(), go_on.wait(10))):
        slow = asyncio.create_task(world.page())
        assert await asyncio.to_thread(reading.wait, 10)
    make_wheel(world.root, "acme-lib", "2.0")
    world.rescan()
    await world.source.project_names()
    go_on.set()
    assert all(file.hashes for file in (await slow).files)
    page = await world.page()
    assert len(page.files) == 2
    assert all(file.hashes for file in page.files)


async def test_a_file_that_cannot_be_read_is_left_out_and_tried_again(world: Folder) -> None:
    """What is listed can be downloaded. A file that vanished since the scan stands for any that cannot be opened."""
    kept = make_wheel(world.root, "acme-lib", "1.0")
    gone = make_wheel(world.root, "acme-lib", "2.0")
    await world.source.project_names()
    body = gone.read_bytes()
    stamp = gone.stat()
    gone.unlink()
    page = await world.page()
    assert filenames(page) == [kept.name]
    assert page.dropped == 1
    gone.write_bytes(body)
    os.utime(gone, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as after `chmod`: to a scan it is the file it was
    world.rescan()
    assert filenames(await world.page()) == [kept.name, gone.name]


async def test_a_file_still_being_written_is_not_listed_with_the_digest_of_its_half(world: Folder) -> None:
    path = make_wheel(world.root, "acme-lib", "1.0")
    await world.source.project_names()  # scanned, not read
    body = wheel_bytes("acme-lib", "1.0", requires=["idna"])
    path.write_bytes(body)
    assert filenames(await world.page()) == []
    world.rescan()
    (file,) = (await world.page()).files
    assert file.hashes == {"sha256": sha256(body)}


# --- large folders


@pytest.fixture
async def large(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Folder]:
    """Counts every look as a long one."""
    folder = Folder(tmp_path / "large", clock, quick_s=0.0)
    yield folder
    await folder.source.close()


async def test_of_a_large_folder_the_last_look_answers_while_the_next_is_under_way(large: Folder) -> None:
    make_wheel(large.root, "acme-lib", "1.0")
    page = await large.page()
    make_wheel(large.root, "acme-lib", "2.0")
    large.rescan()
    go_on = threading.Event()
    with when_read(large.root, lambda: go_on.wait(10)):
        async with asyncio.timeout(AT_ONCE_S):
            for _ in range(3):
                assert (await large.page()).revision == page.revision
                with pytest.raises(ProjectNotFound):
                    await large.page("other")
        await until(lambda: not _hooks)
    go_on.set()
    await until(lambda: large.source._fresh_until > large.clock.monotonic())
    assert len((await large.page()).files) == 2


async def test_a_look_that_is_overdue_is_waited_for(large: Folder) -> None:
    """What a request is told is never older than that."""
    make_wheel(large.root, "acme-lib", "1.0")
    await large.page()
    make_wheel(large.root, "acme-lib", "2.0")
    large.clock.move(60)
    assert len((await large.page()).files) == 2


async def test_a_large_folder_that_is_gone_is_a_failure_once_that_is_seen_and_its_return_is_seen_at_once(large: Folder) -> None:
    await publish_wheel(large, "acme-lib", "1.0")
    await large.page()
    await large.fail()
    await large.page()
    await until(lambda: large.source._problem is not None)
    with pytest.raises(UpstreamUnavailable, match="cannot be read"):
        await large.page("other")
    await large.mend()
    assert len((await large.page()).files) == 1


async def test_what_was_read_of_files_that_are_gone_is_forgotten(world: Folder) -> None:
    for name in ("one", "two", "three"):
        make_wheel(world.root, name, "1.0")
        world.rescan()
        await world.page(name)
    assert world.source._described.keys() == {"one", "two", "three"}
    (world.root / wheel_name("one", "1.0")).unlink()
    (world.root / wheel_name("two", "1.0")).write_bytes(wheel_bytes("two", "1.0", requires=["idna"]))
    world.rescan()
    await world.source.project_names()
    assert world.source._described.keys() == {"three"}


async def test_a_folder_may_be_named_with_any_bytes(world: Folder) -> None:
    folder = os.fsencode(world.root) + b"/caf\xe9 \xff"
    Path(os.fsdecode(folder)).mkdir()
    name = wheel_name("acme-lib", "1.0")
    body = wheel_bytes("acme-lib", "1.0")
    Path(os.fsdecode(folder), name).write_bytes(body)
    Path(os.fsdecode(folder + b"/\xff-1.0.tar.gz")).write_bytes(b"x")
    (file,) = (await world.page()).files
    assert file.hashes == {"sha256": sha256(body)}
    assert isinstance(file.location, LocalFile)
    assert Path(file.location.path).read_bytes() == body


async def test_a_record_that_cannot_be_read_is_that_failure(tmp_path: Path, clock: FakeClock) -> None:
    store = WatchedStore()
    known = KnownProjects("wheels", url="x", store=store)
    source = Directory(name="wheels", root=tmp_path, clock=clock, known=known)
    store.down()
    with pytest.raises(StoreError, match="cannot be reached"):
        await source.project_names()
    store.up()
    assert await source.project_names() == frozenset()
    await source.close()


async def test_a_folder_of_thousands_costs_little_memory_and_holds_up_nobody(tmp_path: Path, clock: FakeClock) -> None:
    world = Folder(tmp_path / "wheels", clock, quick_s=10.0)
    for number in range(3_000):
        (world.root / f"acme_part_{number:06}-1.0.tar.gz").write_bytes(b"x")
    async with longest_turn() as turns:
        page = await world.page("acme-part-000007")
        assert len(page.files) == 1
        (world.root / "acme_part_000007-2.0.tar.gz").write_bytes(b"x")
        clock.move(100)  # the next look is put off by ten times what this one took
        assert len((await world.page("acme-part-000007")).files) == 2
        assert len(await world.source.project_names()) == 3_000
    assert turns.longest_s < 0.02
    last = world.source._last
    assert last is not None
    blocks = [item for block in last.listing.blocks for item in (block, block.files, block.digests, block.keys)]
    assert sum(map(sys.getsizeof, blocks)) / 3_000 < 50
    await world.source.close()

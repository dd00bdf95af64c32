"""Yanking and deleting: what the page says afterwards, and what stays of a deleted file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.packages import sha256
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import FileNotListed, StoreError, UploadRefused
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination
from wheelgate.uploads.manage import UploadManager

WHEEL = "acme_lib-1.0-py3-none-any.whl"
PATH = layout.package("acme-lib", WHEEL)


@pytest.fixture
async def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.prepare()
    await made.put_if_absent(PATH, b"body", {"sha256": "abc", "requires_python": ">=3.9"})
    return made


@pytest.fixture
def packages(store: LocalStore) -> UploadManager:
    return UploadManager([Destination("uploads", store, layout.PACKAGES)], store=store, changes=StoreChanges(store, FakeClock()))


async def yanked(store: LocalStore) -> str | None:
    source = BlobPackages(name="uploads", store=store, prefix=layout.PACKAGES, clock=FakeClock())
    (file,) = (await source.project_page("acme-lib")).files
    assert file.requires_python == ">=3.9"
    return file.yanked


async def listed(packages: UploadManager, project: str | None = None) -> list[Any]:
    return [entry async for entry in packages.files(project)]


@pytest.mark.parametrize("reason", ["", "broken on <Windows> & é", "x" * 500])
async def test_a_yank_and_its_reason_stand_on_the_page_until_taken_back(
    packages: UploadManager, store: LocalStore, reason: str
) -> None:
    assert await yanked(store) is None
    await packages.yank(WHEEL, reason)
    assert await yanked(store) == reason
    await packages.yank(WHEEL, "another reason")
    assert await yanked(store) == "another reason"
    await packages.unyank(WHEEL)
    assert await yanked(store) is None
    await packages.unyank(WHEEL)


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 501, "bell\a"])
async def test_a_reason_that_cannot_stand_on_a_page_is_refused(packages: UploadManager, store: LocalStore, reason: str) -> None:
    with pytest.raises(UploadRefused, match="500 printable characters"):
        await packages.yank(WHEEL, reason)
    assert await yanked(store) is None


async def test_a_deleted_file_leaves_its_digest(packages: UploadManager, store: LocalStore) -> None:
    await packages.delete(WHEEL)
    assert [info.path async for info in store.list(layout.PACKAGES)] == []
    assert (await store.read(layout.tombstone("acme-lib", WHEEL)))[0] == b"abc"
    with pytest.raises(FileNotListed):
        await packages.delete(WHEEL)
    await store.put_if_absent(PATH, b"body", {"sha256": "abc"})  # the same bytes returned
    await packages.delete(WHEEL)


@pytest.mark.parametrize("name", ["acme_lib-2.0-py3-none-any.whl", "../../etc/passwd", "", "acme_lib.whl", "x" * 300])
async def test_what_is_not_there_cannot_be_changed(packages: UploadManager, name: str) -> None:
    for work in (packages.yank(name, ""), packages.unyank(name), packages.delete(name)):
        with pytest.raises(FileNotListed):
            await work


class Busy(LocalStore):
    """Somebody else changes every blob between our look and our write."""

    times = 0

    async def set_facts(self, path: str, facts: dict[str, str], etag: str) -> str:  # type: ignore[override]
        if self.times:
            self.times -= 1
            await super().set_facts(path, {**(await self.info(path)).facts, "other": str(self.times)}, etag)
        return await super().set_facts(path, facts, etag)


async def test_a_yank_loses_nothing_that_somebody_else_wrote_meanwhile(tmp_path: Path) -> None:
    store = Busy(tmp_path / "store")
    store.prepare()
    await store.put_if_absent(PATH, b"body", {"sha256": "abc"})
    packages = UploadManager(
        [Destination("uploads", store, layout.PACKAGES)], store=store, changes=StoreChanges(store, FakeClock())
    )
    store.times = 2
    await packages.yank(WHEEL, "broken")
    assert (await store.info(PATH)).facts == {"sha256": "abc", "other": "0", "yanked": "broken"}
    store.times = 100
    with pytest.raises(StoreError, match="keeps being changed"):
        await packages.unyank(WHEEL)


async def test_what_came_with_a_file_goes_with_it(packages: UploadManager, store: LocalStore) -> None:
    await store.put_if_absent(layout.provenance(PATH), b"{}", {})
    assert [file.filename for file in await listed(packages)] == [WHEEL]
    await packages.delete(WHEEL)
    assert [info.path async for info in store.list(layout.PACKAGES)] == []


async def test_the_files_of_all_targets_or_of_one_project(store: LocalStore) -> None:
    container = MemoryStore()
    targets = [Destination("uploads", store, layout.PACKAGES), Destination("curated", container)]
    both = UploadManager(targets, store=store, changes=StoreChanges(store, FakeClock()))
    await container.put_if_absent("other/other-1.0.tar.gz", b"body", {"sha256": "a" * 64, "yanked": "old"})
    await container.put_if_absent("other/notes.txt", b"body", {})
    await container.put_if_absent("other/deep/other-2.0.tar.gz", b"body", {})
    assert [(file.source, file.project, file.filename) for file in await listed(both)] == [
        ("uploads", "acme-lib", WHEEL),
        ("curated", "other", "other-1.0.tar.gz"),
    ]
    (file,) = await listed(both, "other")
    assert (file.yanked, file.hashes, file.size) == ("old", {"sha256": "a" * 64}, 4)
    assert await listed(both, "acme") == []


async def test_the_files_of_several_targets_are_listed_in_one_order(clock: FakeClock) -> None:
    stores = [WatchedStore(), WatchedStore()]
    names = ["acme", "acme-lib", "acme2", "bcme", "zcme"]
    for number, name in enumerate(names):
        for version in ("1.0", "2.0"):
            path = f"{name}/{name.replace('-', '_')}-{version}-py3-none-any.whl"
            await stores[number % 2].put_if_absent(path, b"body", {})
    targets = [Destination("one", stores[0]), Destination("two", stores[1])]
    packages = UploadManager(targets, store=stores[0], changes=StoreChanges(stores[0], clock))
    paths = [f"{file.project}/{file.filename}" for file in await listed(packages)]
    assert len(paths) == 10
    assert paths == sorted(paths)


async def test_a_file_of_a_container_is_yanked_and_deleted_there_and_its_tombstone_is_ours(store: LocalStore) -> None:
    container = MemoryStore()
    targets = [Destination("curated", container), Destination("uploads", store, layout.PACKAGES)]
    both = UploadManager(targets, store=store, changes=StoreChanges(store, FakeClock()))
    dropped = await container.put_if_absent("other/other-1.0.tar.gz", b"body", {})  # by hand: nobody said its digest
    await both.yank("other-1.0.tar.gz", "old")
    assert (await container.info(dropped.path)).facts == {"yanked": "old"}
    await both.delete("other-1.0.tar.gz")
    assert container.blobs == {}
    kept, _ = await store.read(layout.tombstone("other", "other-1.0.tar.gz"))
    assert kept.decode() == sha256(b"body")


@pytest.mark.parametrize(
    ("project", "filename"),
    [
        ("legacy-name", "legacy-name-1.3-1.tar.gz"),
        ("legacy-name-1-3", "legacy-name-1.3-1.tar.gz"),
        ("acme", "acme-1.0-py3.9.egg"),
        ("acme", "acme_-1.0-py3-none-any.whl"),
        ("acme", "acme-1.0.TAR.GZ"),
    ],
)
async def test_whatever_is_listed_can_be_yanked_and_deleted(
    packages: UploadManager, store: LocalStore, project: str, filename: str
) -> None:
    path = layout.package(project, filename)
    await store.put_if_absent(path, b"body", {})
    (entry,) = await listed(packages, project)
    assert entry.filename == filename
    await packages.yank(filename, "broken")
    assert (await store.info(path)).facts == {"yanked": "broken"}
    await packages.delete(filename)
    assert await listed(packages, project) == []
    assert await Tombstones(store).find(project, filename) == sha256(b"body")

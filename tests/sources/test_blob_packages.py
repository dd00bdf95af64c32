"""The store's own packages as a source."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.sources.source_contract import SourceContract
from tests.support.clock import FakeClock
from tests.support.packages import sha256
from tests.support.sources import filenames
from tests.support.stores import WatchedStore
from wheelgate.core.errors import ProjectNotFound, StoreError
from wheelgate.core.model import StoredFile
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.storage import layout

WHEEL = "acme_lib-1.0-py3-none-any.whl"


class Packages:
    """The source, and its store."""

    gives_digests = True
    lists_names = True

    def __init__(self, clock: FakeClock) -> None:
        self.store = WatchedStore()
        self.packages = self.source = BlobPackages(name="uploads", store=self.store, prefix=layout.PACKAGES, clock=clock)

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        await self.store.put_if_absent(layout.package(project, filename), body, {"sha256": sha256(body)})
        self.packages.forget()

    async def remove(self, project: str) -> None:
        async for info in self.store.list(f"{layout.PACKAGES}{project}/"):
            await self.store.delete(info.path)
        self.packages.forget()

    async def fail(self) -> None:
        self.store.down()

    async def mend(self) -> None:
        self.store.up()


@pytest.fixture
def world(clock: FakeClock) -> Packages:
    return Packages(clock)


class TestBlobPackages(SourceContract):
    # A listing is taken anew each time; who keeps it is the Cached around it.
    test_the_same_files_are_the_same_object = None  # type: ignore[assignment]


async def test_facts_become_what_a_page_says_of_a_file(world: Packages) -> None:
    facts = {
        "sha256": "a" * 64,
        "upload_time": "2025-05-05T12:00:00+02:00",
        "requires_python": ">=3.9",
        "yanked": "",
        "metadata_sha256": "b" * 64,
    }
    info = await world.store.put_if_absent(f"packages/acme-lib/{WHEEL}", b"body", facts)
    (file,) = (await world.source.project_page("acme-lib")).files
    assert file.location == StoredFile(world.store.name, info.path, info.etag)
    assert (file.hashes, file.size, file.requires_python, file.yanked) == ({"sha256": "a" * 64}, 4, ">=3.9", "")
    assert file.upload_time == datetime(2025, 5, 5, 10, tzinfo=UTC)
    assert file.upload_time.tzinfo is UTC
    assert file.core_metadata == {"sha256": "b" * 64}


@pytest.mark.parametrize("upload_time", [None, "", "yesterday", "2025-05-05T12:00:00", "9" * 50])
async def test_without_a_usable_upload_time_the_stores_own_stands(world: Packages, upload_time: str | None) -> None:
    facts = {} if upload_time is None else {"upload_time": upload_time}
    info = await world.store.put_if_absent(f"packages/acme-lib/{WHEEL}", b"body", facts)
    (file,) = (await world.source.project_page("acme-lib")).files
    assert file.upload_time == info.created
    assert (file.hashes, file.yanked, file.core_metadata) == ({}, None, None)


async def test_what_is_no_file_of_the_project_is_not_listed(world: Packages) -> None:
    await world.publish("acme-lib", WHEEL, b"body")
    for stranger in (
        "README.md",
        "other-1.0-py3-none-any.whl",
        f"sub/{WHEEL}",
        f"{WHEEL}.metadata",
        "acme_lib-1.0.tar.gz.asc",
        "a<b>",
    ):
        await world.store.put_if_absent(f"packages/acme-lib/{stranger}", b"x", {})
    page = await world.source.project_page("acme-lib")
    assert filenames(page) == [WHEEL]
    assert page.versions == ("1.0",)
    assert page.dropped == 4  # the metadata beside the wheel is no entry, and not unusable either
    (other,) = page.withheld
    assert other.filename == "other-1.0-py3-none-any.whl"
    assert "lies among the files of acme-lib, and is not named as one" in other.reason


async def test_a_folder_of_nothing_but_strangers_is_no_project(world: Packages) -> None:
    await world.store.put_if_absent("packages/acme-lib/notes.txt", b"x", {})
    with pytest.raises(ProjectNotFound):
        await world.source.project_page("acme-lib")


async def test_a_folder_that_is_no_normalised_name_is_no_project(world: Packages) -> None:
    await world.publish("acme-lib", WHEEL, b"body")
    for folder in ("Acme_Lib", "acme--lib", "-acme", "a b"):
        await world.store.put_if_absent(f"packages/{folder}/{WHEEL}", b"x", {})
    await world.store.put_if_absent("packages/loose-1.0-py3-none-any.whl", b"x", {})
    await world.store.put_if_absent("cache/pypi/requests/requests-1.0.tar.gz", b"x", {})
    assert "acme-lib" in await world.source.project_names()
    assert not {"Acme_Lib", "acme--lib", "-acme", "a b", "requests", "cache"} & await world.source.project_names()


async def test_names_are_listed_once_until_the_store_changes(world: Packages) -> None:
    await world.publish("acme-lib", WHEEL, b"body")
    world.store.calls.clear()
    for _ in range(10):
        assert await world.source.project_names() == {"acme-lib"}
    assert world.store.count("list_folder") == 1
    await world.publish("other", "other-1.0-py3-none-any.whl", b"body")
    assert await world.source.project_names() == {"acme-lib", "other"}


async def test_names_listed_before_a_change_are_not_kept_after_it(world: Packages) -> None:
    await world.publish("acme-lib", WHEEL, b"body")
    world.store.holds["list_folder"] = asyncio.Event()
    question = asyncio.create_task(world.source.project_names())
    await asyncio.sleep(0)
    await world.publish("other", "other-1.0-py3-none-any.whl", b"body")
    world.store.holds.pop("list_folder").set()
    await question
    assert await world.source.project_names() == {"acme-lib", "other"}


async def test_one_listing_gives_a_page(world: Packages) -> None:
    for version in ("1.0", "2.0", "3.0"):
        await world.publish("acme-lib", f"acme_lib-{version}-py3-none-any.whl", b"body")
    world.store.calls.clear()
    await world.source.project_page("acme-lib")
    assert world.store.calls == [("list", "packages/acme-lib/")]


async def test_a_store_that_cannot_list_is_not_a_store_without_projects(world: Packages) -> None:
    world.store.down()
    with pytest.raises(StoreError):
        await world.source.project_names()
    world.store.up()
    assert await world.source.project_names() == frozenset()


async def test_what_came_with_a_file_is_offered_where_the_world_knows_a_url_for_it(clock: FakeClock) -> None:
    store = WatchedStore()
    path = layout.package("acme-lib", WHEEL)
    for name in (path, layout.package("acme-lib", "acme_lib-1.0.tar.gz")):
        await store.put_if_absent(name, b"body", {})
    await store.put_if_absent(layout.provenance(path), b"{}", {})
    await store.put_if_absent(layout.package("acme-lib", "acme_lib-1.0.tar.gz.provenance"), bytes(1024 * 1024 + 1), {})
    await store.put_if_absent(layout.package("acme-lib", "gone-1.0.tar.gz.provenance"), b"{}", {})
    for public_url, url in {
        None: None,
        "https://w.example.com/python": f"https://w.example.com/python/files/acme-lib/{WHEEL}.provenance",
    }.items():
        source = BlobPackages(name="u", store=store, prefix=layout.PACKAGES, clock=clock, public_url=public_url)
        page = await source.project_page("acme-lib")
        assert {file.filename: file.provenance for file in page.files} == {WHEEL: url, "acme_lib-1.0.tar.gz": None}
        assert page.dropped == 0

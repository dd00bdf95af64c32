"""Blobs that cannot be believed, in a listing: whoever lists blobs says what becomes of those, and of the others nothing does."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import wheelgate
from tests.support.clock import FakeClock
from tests.support.packages import sha256, wheel_bytes, wheel_name
from tests.support.sources import filenames
from wheelgate.core.errors import ProjectNotFound, StoreError
from wheelgate.core.model import File
from wheelgate.core.protocols import Source
from wheelgate.enrich.inspection import find_damaged_records
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination
from wheelgate.uploads.manage import DamagedUpload, UploadManager

ROOT = Path(wheelgate.__file__).parent
LISTERS = {
    ("uploads/manage.py", "_walk"): "named beside the others, which are listed without it",
    ("sources/blob_packages.py", "project_page"): "logged, and withheld by name; alone it is a failure, not an absence",
    ("sources/blob_packages.py", "find_unoffered"): "named",
    ("sources/blob_packages.py", "_has_files"): "its project is there",
    ("sources/blob_packages.py", "_check_place"): "its project is there",
    ("cli/checks/stored.py", "_has_more_than"): "counted",
    ("files/forgetting.py", "_find_copy"): "a damaged copy is forgotten like any other",
    ("cli/checks/files.py", "check_stored"): "no signed URL is tried on one",
    ("sources/kept_listing.py", "_sweep"): "parts of listings, told apart by their names",
    ("sources/blob_scan.py", "_list_into"): "kept; the page then withholds it by name and logs it, and alone it is a failure",
    ("enrich/inspection.py", "find_damaged_records"): "named",
    (
        "storage/claims.py",
        "all",
    ): "its facts mean nothing; its record is read, and one that is damaged makes the name private still",
    ("storage/tokens.py", "all"): "read by its path, which tells that it is damaged",
    ("storage/token_expiry.py", "remove"): "its facts mean nothing, and it is read by its path, which tells that it is damaged",
    ("files/forgetting.py", "_list_metadata"): "its facts mean nothing; whatever lies there is deleted",
    ("storage/tombstones.py", "find_displaced"): "has no facts, so it is read by its path, which tells that it is damaged",
}
GOOD, BAD, ALONE = wheel_name("acme-lib", "1.0"), wheel_name("acme-lib", "2.0"), wheel_name("other", "1.0")


def find_listers() -> set[tuple[str, str]]:
    """Find module and function of everything that lists the blobs of a store."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                isinstance(node, ast.comprehension | ast.AsyncFor)
                and isinstance(node.iter, ast.Call)
                and isinstance(node.iter.func, ast.Attribute)
                and node.iter.func.attr == "list"
                for node in ast.walk(function)
            ):
                found.add((path.relative_to(ROOT).as_posix(), function.name))
    return found


def test_whoever_lists_blobs_has_decided_what_becomes_of_damaged_ones() -> None:
    assert find_listers() == LISTERS.keys()


@pytest.fixture
async def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path)
    made.prepare()
    for project, name in (("acme-lib", GOOD), ("acme-lib", BAD), ("other", ALONE)):
        body = wheel_bytes(project, "1.0")
        await made.put_if_absent(layout.package(project, name), body, {"sha256": sha256(body)})
    for path in (layout.package("acme-lib", BAD), layout.package("other", ALONE)):
        (tmp_path / ".facts" / path).write_bytes(b"{")
    return made


@pytest.fixture(params=["packages", "scan"])
async def source(request: pytest.FixtureRequest, store: LocalStore) -> AsyncIterator[Source]:
    clock = FakeClock()
    if request.param == "packages":
        yield BlobPackages(name="box", store=store, prefix=layout.PACKAGES, clock=clock, tombstones=Tombstones(store))
        return
    scan = BlobScan(name="box", store=store, clock=clock, interval_s=3_600.0)
    yield scan
    await scan.close()


async def test_a_source_leaves_them_out_names_them_once_and_fails_where_there_is_nothing_else(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        page = await source.project_page("acme-lib")
        assert filenames(page) == [GOOD]
        assert [(entry.filename, entry.rule) for entry in page.withheld] == [(BAD, "damaged")]
        with pytest.raises(
            StoreError, match=f"source box has nothing of other that can be used: .*{ALONE} are damaged"
        ) as raised:
            await source.project_page("other")
        assert not isinstance(raised.value, ProjectNotFound)
    assert {"acme-lib", "other"} <= await source.project_names()
    told = [record.getMessage() for record in caplog.records]
    assert [sum(name in line for line in told) for name in (BAD, ALONE, GOOD)] == [1, 1, 0]
    assert all(line.startswith("source box: the store's facts about packages/") for line in told)


async def test_the_uploads_are_listed_without_them_and_they_are_named(store: LocalStore) -> None:
    uploads = UploadManager(
        [Destination("uploads", store, layout.PACKAGES)], store=store, changes=StoreChanges(store, FakeClock())
    )
    listed = [entry async for entry in uploads.files()]
    assert [entry.filename for entry in listed if isinstance(entry, File)] == [GOOD]
    damaged = [entry.sentence for entry in listed if isinstance(entry, DamagedUpload)]
    assert [BAD in damaged[0], ALONE in damaged[1], len(damaged)] == [True, True, 2]
    assert all("delete" in sentence for sentence in damaged)
    assert [type(entry) async for entry in uploads.files("other")] == [DamagedUpload]


async def test_check_names_each(store: LocalStore) -> None:
    named = [sentence async for sentence in find_damaged_records(store)]
    assert [sum(name in sentence for sentence in named) for name in (BAD, ALONE, GOOD)] == [1, 1, 0]


async def test_a_damaged_tombstone_keeps_its_name_and_no_other(store: LocalStore, tmp_path: Path) -> None:
    tombstones = Tombstones(store)
    for name in (GOOD, BAD):
        await tombstones.write("acme-lib", name, "ab" * 32)
    (tmp_path / layout.tombstone("acme-lib", BAD)).write_bytes(b"")
    (tmp_path / ".facts" / layout.tombstone("acme-lib", BAD)).write_bytes(b"{")
    assert await tombstones.find_displaced("acme-lib", {GOOD: "ab" * 32, BAD: "ab" * 32}) == {BAD}

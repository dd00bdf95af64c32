"""What sources hold: whichever kind they are, a file that nobody can install is its project's, and is named with the reason."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.core.test_belonging import NOBODYS, TAKEN, WITHHELD
from tests.sources.test_github_releases import releases
from tests.support.clock import FakeClock
from tests.support.github import Github, github
from tests.support.sources import filenames
from tests.support.stores import WatchedStore
from wheelgate.core.errors import ProjectNotFound
from wheelgate.core.model import ProjectPage
from wheelgate.core.names import is_safe_filename
from wheelgate.core.protocols import Source
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.directory import Directory
from wheelgate.sources.holdings import MAX_NAMED, Holder, explain_unoffered

NOBODYS_WHEELS = [name for name in NOBODYS if name.endswith((".whl", ".egg")) and name != ".whl"]
FILES = [name for name in (*TAKEN, *WITHHELD, *NOBODYS) if 0 < len(name) < 250]


class Held(Source, Holder):
    """A source that tells what it does not offer."""


class Places:
    """Sources of each kind that read names of files in any layout."""

    def __init__(self, folder: Path, clock: FakeClock, hub: Github) -> None:
        self._folder = folder
        self._clock = clock
        self._hub = hub

    @asynccontextmanager
    async def directory(self, names: Iterable[str]) -> AsyncIterator[Held]:
        for number, name in enumerate(names):
            (self._folder / str(number)).mkdir()
            (self._folder / str(number) / name).write_bytes(name.encode())
        source = Directory(name="place", root=self._folder, clock=self._clock)
        yield source  # type: ignore[misc]
        await source.close()

    @asynccontextmanager
    async def container(self, names: Iterable[str]) -> AsyncIterator[Held]:
        store = WatchedStore()
        for number, name in enumerate(names):
            await store.put_if_absent(f"{number}/{name}", name.encode(), {})
        source = BlobScan(name="place", store=store, clock=self._clock, interval_s=3_600.0)
        yield source  # type: ignore[misc]
        await source.close()

    @asynccontextmanager
    async def releases(self, names: Iterable[str]) -> AsyncIterator[Held]:
        self._hub.release("acme/tools", "v1", {name: name.encode() for name in names})
        async with releases(self._hub, "acme/tools", clock=self._clock) as source:
            yield source  # type: ignore[misc]


KINDS = ("directory", "container", "releases")


@pytest.fixture
def hub() -> Iterator[Github]:
    with github() as made:
        yield made


@pytest.fixture
def places(tmp_path: Path, clock: FakeClock, hub: Github) -> Places:
    (tmp_path / "place").mkdir()
    return Places(tmp_path / "place", clock, hub)


async def find(source: Source, project: str) -> ProjectPage | None:
    try:
        return await source.project_page(project)
    except ProjectNotFound:
        return None


@pytest.mark.parametrize("kind", KINDS)
async def test_every_place_reads_names_alike(places: Places, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    owners = {name: set(projects.split()) for name, projects in TAKEN.items()} | {
        name: {project} for name, (project, _) in WITHHELD.items()
    }
    async with getattr(places, kind)(FILES) as source:
        names = await source.project_names()
        assert set(names) == set().union(*owners.values())
        for project in names:
            page = await source.project_page(project)
            assert set(filenames(page)) == {name for name in TAKEN if project in owners[name]}
            # A folder's names are bytes, of which one letter may be two.
            withheld = {entry.filename.replace("__", "_"): entry for entry in page.withheld}
            here = [name for name in WITHHELD if name in FILES and project in owners[name]]
            expected = {explain_unoffered("place", name, "").filename: name for name in here}
            assert withheld.keys() == {shown.replace("__", "_") for shown in expected}
            for shown, name in expected.items():
                assert is_safe_filename(shown)
                entry = withheld[shown.replace("__", "_")]
                assert entry.rule == "unusable"
                assert WITHHELD[name][1] in entry.reason
            assert (page.dropped, len(page.versions) > 0) == (0, bool(page.files))
        found = await source.find_unoffered(5)
        assert (len(found.named), found.total) == (5, len({*WITHHELD, *NOBODYS_WHEELS} & {*FILES}))
    assert sum("project acme:" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_only_such_a_file_has_is_there_and_one_that_looks_like_it_is_not(places: Places, kind: str) -> None:
    async with getattr(places, kind)(["legacy-name-1.3-1.tar.gz", "acme-1.0-py3.9.egg"]) as source:
        assert filenames(await source.project_page("legacy-name")) == ["legacy-name-1.3-1.tar.gz"]
        assert filenames(await source.project_page("legacy-name-1-3")) == ["legacy-name-1.3-1.tar.gz"]
        page = await source.project_page("acme")
        assert (filenames(page), len(page.withheld)) == ([], 1)
        assert await find(source, "legacy") is None
        assert await find(source, "name") is None


@pytest.mark.parametrize("layout", ["store", "folder"])
async def test_a_folder_named_for_its_project_says_whose_the_files_are(tmp_path: Path, clock: FakeClock, layout: str) -> None:
    names = ["acme-1.0-py3-none-any.whl", "other-1.0.tar.gz", "acme-1.0-py3-none-any#.whl", "README.md", "docs.zip"]
    source: BlobPackages | Directory
    if layout == "store":
        store = WatchedStore()
        for name in names:
            await store.put_if_absent(f"acme/{name}", b"x", {})
            await store.put_if_absent(f"acme/deep/{name}", b"x", {})
        source = BlobPackages(name="place", store=store, prefix="", clock=clock)
    else:
        for folder in (tmp_path / "acme", tmp_path / "acme" / "deep", tmp_path):
            folder.mkdir(exist_ok=True)
            for name in names:
                (folder / name).write_bytes(b"x")
        source = Directory(name="place", root=tmp_path, clock=clock, by_project=True)
    page = await source.project_page("acme")
    assert filenames(page) == ["acme-1.0-py3-none-any.whl"]
    assert {entry.filename for entry in page.withheld} == {"other-1.0.tar.gz", "acme-1.0-py3-none-any_.whl", "docs.zip"}
    assert await find(source, "other") is None
    found = await source.find_unoffered(2)
    assert (len(found.named), found.total) == (2, 3)
    await source.close()


async def test_one_name_with_two_bodies_is_named_and_the_same_bytes_twice_are_not(places: Places) -> None:
    async with places.directory([]) as source:
        root = places._folder
        for folder, size in (("a", 1), ("b", 2), ("c", 1)):
            (root / folder).mkdir()
            (root / folder / "acme-1.0.tar.gz").write_bytes(b"x" * size)
        page = await source.project_page("acme")
        (entry,) = page.withheld
        assert "b/acme-1.0.tar.gz has other bytes than a/acme-1.0.tar.gz" in entry.reason
        assert filenames(page) == ["acme-1.0.tar.gz"]
        assert (await source.find_unoffered(5)).named == (entry,)


async def test_two_releases_with_other_bytes_under_one_name_are_named(hub: Github, clock: FakeClock) -> None:
    for tag, body in (("v1", b"first"), ("v1-again", b"second"), ("v1-copy", b"first")):
        hub.release("acme/tools", tag, {"acme-1.0.tar.gz": body})
    async with releases(hub, "acme/tools", clock=clock) as source:
        page = await source.project_page("acme")
        assert filenames(page) == ["acme-1.0.tar.gz"]
        (entry,) = page.withheld
        assert "another release has other bytes" in entry.reason


async def test_so_many_are_named_and_the_rest_counted(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with places.container([f"acme-{number}.0-py3.9.egg" for number in range(MAX_NAMED + 7)]) as source:
        page = await source.project_page("acme")
        assert (len(page.withheld), page.dropped) == (MAX_NAMED, 7)
    assert len([record for record in caplog.records if "acme" in record.getMessage()]) == 1


@pytest.mark.parametrize("kind", ["link", "pipe"])
async def test_what_is_no_plain_file_is_its_project_s(places: Places, tmp_path: Path, kind: str) -> None:
    async with places.directory([]) as source:
        path = places._folder / "acme-1.0-py3-none-any.whl"
        if kind == "link":
            path.symlink_to(tmp_path / "elsewhere.whl")
        else:
            os.mkfifo(path)
        page = await source.project_page("acme")
        assert (filenames(page), [entry.rule for entry in page.withheld]) == ([], ["damaged"])
        assert ("is a link" if kind == "link" else "no plain file") in page.withheld[0].reason

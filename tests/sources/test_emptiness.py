"""Folders, containers and releases without packages: what a wrong address, a lost disk and an empty listing are worth."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.github import github
from tests.support.packages import make_wheel, wheel_name
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.protocols import Source
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.directory import RESCAN_S, Directory
from wheelgate.sources.emptiness import Emptiness
from wheelgate.sources.github_releases import GithubReleases
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.upstream.client import SourceClient


async def believes(source: Source) -> bool:
    """Whether the source says of a name that it lacks it, rather than failing."""
    try:
        await source.project_page("acme-secret")
    except ProjectNotFound:
        return True
    except (StoreError, UpstreamUnavailable, UpstreamBadAnswer) as error:
        assert "\n" not in str(error)
        return False
    raise AssertionError


class Box:
    """A container, or a folder of one, and what was kept of it in our store."""

    def __init__(self, kind: str, *, is_folder: bool, clock: FakeClock, stack: AsyncExitStack) -> None:
        self.kind = kind
        self.is_folder = is_folder
        self.clock = clock
        self.stack = stack
        self.ours = MemoryStore()
        self.blobs = WatchedStore()
        self.identity: str | None = "container-1"

    async def put(self, path: str) -> None:
        await self.blobs.put_if_absent(path, b"x", {})

    async def clear(self) -> None:
        for path in [info.path async for info in self.blobs.list("")]:
            await self.blobs.delete(path)

    async def start(self) -> Source:
        """A process that begins."""

        async def identify() -> str | None:
            return self.identity

        known = KnownProjects("box", url="https://acct.blob.core.windows.net/c", store=self.ours)
        judge = Emptiness(source="box", is_folder=self.is_folder, known=known, identity=identify)
        self.known = known
        source: BlobScan | BlobPackages
        if self.kind == "scan":
            source = BlobScan(name="box", store=self.blobs, clock=self.clock, interval_s=3_600, emptiness=judge)
        else:
            source = BlobPackages(name="box", store=self.blobs, prefix="", clock=self.clock, emptiness=judge)
        self.stack.push_async_callback(source.close)
        self.source = source
        return source

    async def later(self) -> Source:
        """A minute later, in the same process."""
        await self.known._writing.wait("keep")
        self.clock.move(60)
        if isinstance(self.source, BlobScan):
            try:
                await self.source.scan()
            except StoreError as error:
                self.source._fail(error)
        return self.source


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


PLACES: dict[str, tuple[bool, bool, bool, str | None, bool]] = {
    # folder of a container, had packages, other files, identity now, believed
    "a new container": (False, False, False, "container-1", True),
    "a new container that tells no identity": (False, False, False, None, True),
    "a container emptied blob by blob": (False, True, False, "container-1", True),
    "a container deleted and made anew": (False, True, False, "container-2", False),
    "the account swapped for another": (False, True, True, "container-9", False),
    "emptied, and no identity to be had": (False, True, False, None, False),
    "a folder misspelt, or new": (True, False, False, "container-1", False),
    "a new folder with a file in it": (True, False, True, "container-1", True),
    "a folder emptied but for a file": (True, True, True, "container-1", True),
    "a folder gone": (True, True, False, "container-1", False),
    "a folder of a container made anew": (True, True, False, "container-2", False),
}


@pytest.mark.parametrize("restart", [False, True], ids=["in the middle", "after a restart"])
@pytest.mark.parametrize("kind", ["scan", "packages"])
@pytest.mark.parametrize(("is_folder", "had", "others", "identity", "believed"), PLACES.values(), ids=PLACES)
async def test_what_an_empty_place_is_worth(
    clock: FakeClock,
    stack: AsyncExitStack,
    kind: str,
    restart: bool,
    is_folder: bool,
    had: bool,
    others: bool,
    identity: str | None,
    believed: bool,
) -> None:
    box = Box(kind, is_folder=is_folder, clock=clock, stack=stack)
    if had:
        await box.put(f"acme-a/{wheel_name('acme-a', '1.0')}")
    source = await box.start()
    if had:
        assert await believes(source)
        source = await box.later()
    await box.clear()
    if others:
        await box.put("README.md")
    box.identity = identity
    if restart:
        await box.start()
    source = await box.later()
    assert await believes(source) is believed
    await box.put(f"acme-b/{wheel_name('acme-b', '1.0')}")
    assert await believes(await box.later()), "one package is evidence"


def unmount(root: Path) -> None:
    """The disk is gone; its mount point is another folder, and empty."""
    root.rename(root.with_name("disk"))
    root.mkdir()


def empty(root: Path) -> None:
    for path in root.iterdir():
        path.unlink()


def remake(root: Path) -> None:
    shutil.rmtree(root)
    (root.parent / "takes its inode").mkdir()
    root.mkdir()


FOLDERS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "missing": (shutil.rmtree, False),
    "unmounted": (unmount, False),
    "made anew": (remake, False),
    "emptied file by file": (empty, True),
    "no folder": (lambda root: (shutil.rmtree(root), root.write_text("")), False),
}


@pytest.mark.parametrize("restart", [False, True], ids=["in the middle", "after a restart"])
@pytest.mark.parametrize(("change", "believed"), FOLDERS.values(), ids=FOLDERS)
async def test_what_an_empty_folder_is_worth(
    tmp_path: Path, clock: FakeClock, stack: AsyncExitStack, restart: bool, change: Callable[[Path], object], believed: bool
) -> None:
    root, ours = tmp_path / "wheels", MemoryStore()
    root.mkdir()

    def start() -> tuple[Directory, KnownProjects]:
        known = KnownProjects("wheels", url=str(root), store=ours)
        source = Directory(name="wheels", root=root, clock=clock, known=known)
        stack.push_async_callback(source.close)
        return source, known

    source, known = start()
    assert await believes(source), "a new folder may be empty"
    make_wheel(root, "acme-a", "1.0")
    clock.move(RESCAN_S)
    assert await believes(source)
    await known._writing.wait("keep")
    change(root)
    if restart:
        source, known = start()
    clock.move(RESCAN_S)
    assert await believes(source) is believed
    if root.is_dir():
        make_wheel(root, "acme-b", "1.0")
        clock.move(RESCAN_S)
        assert await believes(source), "one package is evidence"


class Token:
    connection = "hub"

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def for_url(self, url: str) -> Token:
        return self

    async def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, *_: object) -> None:
        return None


REPOSITORIES = {
    "a repository without a release": ("acme/empty", "github_pat_canary", True),
    "no such repository, or renamed": ("acme/renamed", "github_pat_canary", False),
    "one that the token may not see": ("acme/empty", "of another", False),
}


@pytest.mark.parametrize(("repo", "token", "believed"), REPOSITORIES.values(), ids=REPOSITORIES)
async def test_what_a_repository_without_files_is_worth(
    clock: FakeClock, stack: AsyncExitStack, repo: str, token: str, believed: bool
) -> None:
    hub = stack.enter_context(github())
    hub.repos["acme/empty"] = []
    client = SourceClient(
        source="hub",
        url=hub.url,
        file_hosts=(),
        credentials=Token(token),
        clock=clock,
        metrics=Metrics(),
        user_agent="wheelgate/test",
    )
    stack.push_async_callback(client.close)
    source = GithubReleases(name="hub", url=hub.url, repos=[repo], client=client, clock=clock, metrics=Metrics(), fresh_s=60)
    stack.push_async_callback(source.close)
    assert await believes(source) is believed

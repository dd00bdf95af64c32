"""Records that are damaged, one after the other, in every store: named in the log once and in `check`, believed never.

A row is a kind of blob and a kind of damage. The damaged blob lies beside a good one of its kind, and both are used three times.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from azure.storage.blob.aio import BlobServiceClient

from tests.support.azurite import KEY, Azurite, azurite
from tests.support.broken_files import break_file, unmount_below
from tests.support.clock import FakeClock
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name
from tests.support.sources import listed
from tests.support.stores import INDEX, MemoryStore, home_of
from wheelgate.core.errors import FileWithheld, ProjectNotFound, StoreError, WheelgateError
from wheelgate.core.model import ProjectPage, StoredFile
from wheelgate.core.protocols import BlobStore
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.inspection import find_damaged_records
from wheelgate.enrich.kept_pages import pack
from wheelgate.enrich.record_store import ProjectRecords, encode
from wheelgate.enrich.records import FileRecord, ProjectRecord
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.files.wheel_reader import WheelReader
from wheelgate.mirror.manifest import NAME, Manifest
from wheelgate.mirror.manifest_file import read_manifest
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.storage import layout
from wheelgate.storage.azure import azure_store
from wheelgate.storage.local import LocalStore
from wheelgate.storage.spool import Spool

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD, BAD = "good-lib", "bad-lib"


def wheel_of(project: str) -> bytes:
    return wheel_bytes(project, "1.0")


class World:
    """The parts of a server that read records, over one store."""

    def __init__(self, store: BlobStore, folder: Path, stack: AsyncExitStack) -> None:
        self.store = store
        self.clock = FakeClock()
        spool = Spool(folder / "spool")
        spool.prepare()
        stack.callback(spool.close)
        self.delivery = Delivery(
            store=store,
            store_mode=DeliveryMode.STREAM,
            modes={"team": DeliveryMode.CACHE, "uploads": DeliveryMode.STREAM},
            clients={},
            spool=spool,
            metrics=Metrics(),
        )
        stack.push_async_callback(self.delivery.close)
        self.history = FileHistory(ProjectRecords(store, "team", url=INDEX), clock=self.clock)
        stack.push_async_callback(self.history.close)
        self.packages = BlobPackages(name="uploads", store=store, prefix=layout.PACKAGES, clock=self.clock)
        wheels = WheelReader(stores={store.name: store}, clients={}, delivery=self.delivery, spool=spool)
        self.metadata = MetadataFiles(store=store, clients={}, wheels=wheels, recorders={}, clock=self.clock)
        stack.push_async_callback(self.metadata.close)


class Kind(msgspec.Struct):
    """A kind of blob."""

    path: Callable[[str], str]
    put: Callable[[World, str], Awaitable[object]]
    use: Callable[[World, str], Awaitable[object]]
    """Use the blob of a project; what is known through it, or a WheelgateError."""
    good: object
    """What the use of a good one gives."""
    without: Sequence[object] = ()
    """What it may give where the blob, or the damaged part of it, is not believed. Else it is a sentence."""
    unbelieved: tuple[type[WheelgateError], ...] = ()


def record_of(project: str) -> bytes:
    page = ProjectPage(project=project, files=[listed(project, "1.0", source="team")], versions=("1.0",), as_of=NOW)
    return encode(ProjectRecord({"a.whl": FileRecord(NOW, {"sha256": "ab" * 32}, NOW, 7)}, pack(page)))


async def put_record(world: World, project: str) -> None:
    await world.store.replace_if(layout.record(home_of("team"), project), record_of(project), None)


async def use_record(world: World, project: str) -> object:
    state = await world.history.state_of(project, since_s=world.clock.monotonic() + 1)
    world.clock.move(10)
    page = await world.history.find_last_good(project)
    return sorted(state.files), page is not None


async def put_copy(world: World, project: str) -> None:
    body = wheel_of(project)
    await world.store.put_if_absent(
        layout.cache_copy("team", project, wheel_name(project, "1.0")), body, {"sha256": sha256(body)}
    )


async def use_copy(world: World, project: str) -> object:
    file = listed(project, "1.0", source="team", hashes={"sha256": sha256(wheel_of(project))})
    world.delivery.forget()
    info = await world.delivery.find_copy(msgspec.structs.replace(file, size=len(wheel_of(project))))
    if info is None:
        return "asks upstream"
    return await _read_stored(world, project, info.path, info.etag)


async def _read_stored(world: World, project: str, path: str, etag: str) -> object:
    """The whole body, as a client gets it."""
    digest = sha256(wheel_of(project))
    file = listed(project, "1.0", source="uploads", hashes={"sha256": digest})
    size = (await world.store.info(path)).size
    file = msgspec.structs.replace(file, size=size, location=StoredFile(world.store.name, path, etag))
    body = await world.delivery.open(file, plain=False)
    received = b"".join([chunk async for chunk in body.chunks(0, None)])
    assert sha256(received) == digest, "another body under the digest"
    return len(received) == len(wheel_of(project))


async def put_package(world: World, project: str) -> None:
    body = wheel_of(project)
    described = sha256(metadata(project, "1.0"))
    facts = {"sha256": sha256(body), "upload_time": NOW.isoformat(), "metadata_sha256": described, "yanked": "broken"}
    await world.store.put_if_absent(layout.package(project, wheel_name(project, "1.0")), body, facts)


async def use_package(world: World, project: str) -> object:
    (file,) = (await world.packages.project_page(project)).files
    assert file.yanked == "broken", "what was yanked is no longer"
    return await _read_stored(world, project, file.location.path, file.location.etag)


async def put_metadata(world: World, project: str) -> None:
    await put_package(world, project)
    await world.store.put_if_absent(layout.metadata(sha256(wheel_of(project))), metadata(project, "1.0"), {})


async def use_metadata(world: World, project: str) -> object:
    (file,) = (await world.packages.project_page(project)).files
    return (await world.metadata.body(file)) == metadata(project, "1.0")


async def put_manifest(world: World, project: str) -> None:
    await world.store.replace_if(f"{project}/{NAME}", msgspec.json.encode(Manifest()), None)


async def use_manifest(world: World, project: str) -> object:
    return (await read_manifest(_Below(world.store, project), "the mirror"))[0] == Manifest()


class _Below:
    """A store that begins at a folder of another one: so two mirrors lie in one."""

    def __init__(self, store: BlobStore, folder: str) -> None:
        self._store, self._folder = store, folder

    async def read(self, path: str) -> object:
        return await self._store.read(f"{self._folder}/{path}")


KINDS = {
    "record": Kind(
        lambda project: layout.record(home_of("team"), project),
        put_record,
        use_record,
        (["a.whl"], True),
        [([], False), (["a.whl"], False)],
    ),
    "cached copy": Kind(
        lambda project: layout.cache_copy("team", project, wheel_name(project, "1.0")),
        put_copy,
        use_copy,
        True,
        unbelieved=(FileWithheld, StoreError),
    ),
    "package": Kind(
        lambda project: layout.package(project, wheel_name(project, "1.0")),
        put_package,
        use_package,
        True,
        unbelieved=(StoreError, FileWithheld),
    ),
    "core metadata": Kind(
        lambda project: layout.metadata(sha256(wheel_of(project))), put_metadata, use_metadata, True, without=[True]
    ),
    "manifest": Kind(lambda project: f"{project}/{NAME}", put_manifest, use_manifest, True, unbelieved=(WheelgateError,)),
}


# --- damages


async def replaced(world: World, path: str, change: Callable[[bytes], bytes]) -> None:
    body, info = await world.store.read(path)
    await world.store.delete(path)
    await world.store.put_if_absent(path, change(body), info.facts)


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def flipped(body: bytes) -> bytes:
    at = len(body) * 2 // 3
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": half,
    "a flipped byte": flipped,
    "noise": lambda body: bytes(reversed(body)),
    "an image": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "other JSON": lambda _: b"[]",
}


def as_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_large(path: Path) -> None:
    os.truncate(path, 600_000_000)


def as_unreadable(path: Path) -> None:
    """A regular file of which every read is an input/output error."""
    break_file(path)


def facts_are(body: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        root = next(folder for folder in path.parents if (folder / ".facts").exists())
        (root / ".facts" / path.relative_to(root)).write_bytes(body)

    return change


FILES: dict[str, Callable[[Path], None]] = {
    "a link": as_link,
    "a pipe": as_pipe,
    "600 MB": as_large,
    "unreadable": as_unreadable,
    "empty facts": facts_are(b""),
    "half facts": facts_are(b'{"created":"2026-01-01T00:00:00Z","facts":{"sha'),
    "newer facts": facts_are(b'{"created":"2026-01-01T00:00:00Z","facts":{},"version":"x","form":2}'),
    "huge facts": facts_are(b" " * 1_000_000),
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            store: BlobStore = MemoryStore()
        elif request.param == "folder":
            local = LocalStore(tmp_path / "store")
            local.prepare()
            store = local
        else:
            from wheelgate.wiring import SystemClock

            emulator = request.getfixturevalue("emulator")
            name = f"c{uuid.uuid4().hex[:12]}"
            async with BlobServiceClient(emulator.url, credential=KEY) as service:
                await service.create_container(name)
            made = azure_store(
                f"{emulator.url}/{name}", name="store", credential=KEY, clock=SystemClock(), sas_window_s=900, sas_life_s=2_700
            )
            store = await stack.enter_async_context(made)
        yield World(store, tmp_path, stack)
        unmount_below(tmp_path)


async def check_row(world: World, kind: Kind, caplog: pytest.LogCaptureFixture, damage: Callable[[str], Awaitable[None]]) -> None:
    for project in (GOOD, BAD):
        await kind.put(world, project)
    path = kind.path(BAD)
    await damage(path)
    named = "\n".join([sentence async for sentence in find_damaged_records(world.store)])
    caplog.clear()
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        assert await kind.use(world, GOOD) == kind.good, "another one is held up"
        try:
            found = await kind.use(world, BAD)
        except WheelgateError as error:
            assert isinstance(error, kind.unbelieved), repr(error)
            assert not isinstance(error, ProjectNotFound), "what cannot be told is taken for absent"
            assert path in str(error) or path.rpartition("/")[2] in str(error), "it is not named"
            assert "\n" not in str(error)
        else:
            assert found in kind.without, "it is believed"
    lines = [record.getMessage() for record in caplog.records if path in record.getMessage()]
    if kind is not KINDS["manifest"]:  # that is a command's, which says it to the person
        assert len(lines) == 1, lines
    assert not [record for record in caplog.records if record.exc_info]
    assert GOOD not in named
    return named


@pytest.mark.parametrize("world", ["memory", "folder", "container"], indirect=True)
@pytest.mark.parametrize("damage", BODIES)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_damaged_body(world: World, caplog: pytest.LogCaptureFixture, kind: str, damage: str) -> None:
    named = await check_row(world, KINDS[kind], caplog, lambda path: replaced(world, path, BODIES[damage]))
    # Bodies of copies and packages are not read again by `check`: they may be terabytes.
    if kind == "record" or (damage == "empty" and kind != "manifest"):
        assert KINDS[kind].path(BAD) in named


@pytest.mark.parametrize("world", ["folder"], indirect=True)
@pytest.mark.parametrize("damage", FILES)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_damaged_file(world: World, caplog: pytest.LogCaptureFixture, kind: str, damage: str) -> None:
    async def change(path: str) -> None:
        FILES[damage](world.store.root / path)

    named = await check_row(world, KINDS[kind], caplog, change)
    read_by_check = kind == "record" or damage not in ("600 MB", "unreadable")
    if read_by_check:
        assert KINDS[kind].path(BAD) in named

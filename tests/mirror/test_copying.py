"""Bringing files onto a store: what is verified, tried again, trusted, repaired, and what stops everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name
from tests.support.stores import WatchedStore
from wheelgate.core.errors import (
    BlobChanged,
    BlobDamaged,
    BlobNotFound,
    StoreError,
    UpstreamBadAnswer,
    UpstreamUnavailable,
)
from wheelgate.core.model import File, RemoteFile
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.copying import Copier, CopyResult
from wheelgate.mirror.fetching import Fetcher
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.manifest import NAME as MANIFEST
from wheelgate.mirror.manifest import Manifest, ManifestEntry, ManifestInput
from wheelgate.mirror.manifest_file import ManifestFile, read_manifest
from wheelgate.mirror.verifying import find_damage
from wheelgate.storage.folder import FolderStore
from wheelgate.storage.spool import Spool

NAME = wheel_name("demo", "1.0")
PATH = f"demo/{NAME}"
BODY = wheel_bytes("demo", "1.0", requires_python=">=3.9", padding=100_000)


def item(accepted: frozenset[str] = frozenset(), needed_by: dict[str, set[str]] | None = None, **more: object) -> MirrorFile:
    said = {"project": "demo", "filename": NAME, "hashes": {"sha256": sha256(BODY)}, "size": len(BODY), **more}
    file = File(source="s", location=RemoteFile("https://x/", "s"), **said)  # type: ignore[arg-type]
    return MirrorFile(file, accepted, needed_by or {})


class Upstream:
    """A file origin that gives these bytes, after failing as often as it is told."""

    def __init__(self, body: bytes = BODY) -> None:
        self.bytes = body
        self.failures: list[Exception] = []
        self.asked = self.now = self.most = 0

    async def body(self, item: MirrorFile) -> AsyncGenerator[bytes, None]:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield self.bytes[:1_000]
            if self.failures:
                raise self.failures.pop(0)
            yield self.bytes[1_000:]
        finally:
            self.now -= 1


class World:
    def __init__(self, folder: Path) -> None:
        self.store = WatchedStore()
        self.upstream = Upstream()
        self.spool = Spool(folder / "spool")
        self.spool.prepare()
        self.clock = FakeClock()
        self.counted = 0

    async def copier(self) -> Copier:
        manifest = ManifestFile(self.store, "here")
        await manifest.read()
        return Copier(
            store=self.store,
            fetcher=Fetcher(spool=self.spool, origin=self.upstream.body, on_bytes=self.count, wait_s=0.0),
            clock=self.clock,
            manifest=manifest,
            on_bytes=self.count,
        )

    def count(self, size: int) -> None:
        self.counted += size

    async def copy(self, *items: MirrorFile) -> CopyResult:
        copier = await self.copier()
        try:
            return await copier.copy(items or [item()])
        finally:
            copier.close()

    async def record(self, *entries: ManifestEntry, **inputs: list[str]) -> None:
        """Have the manifest vouch for what was copied."""
        manifest = ManifestFile(self.store, "here")
        await manifest.read()
        await manifest.add(entries, {label: ManifestInput(targets, self.clock.now()) for label, targets in inputs.items()})

    def bodies(self) -> list[str]:
        """Paths in the order they were written, but for the manifest."""
        return [path for path in self.store.written if path != MANIFEST]

    def spooled(self) -> list[Path]:
        return [path for path in self.spool.folder.iterdir() if path.name != ".lock"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.spool.close()


async def test_a_file_arrives_with_its_metadata_and_facts(world: World) -> None:
    outcome = await world.copy()
    assert world.store.written == [MANIFEST, f"{PATH}.metadata", PATH]  # whoever sees the wheel finds its metadata
    body, info = await world.store.read(PATH)
    assert body == BODY
    core = metadata("demo", "1.0", requires_python=">=3.9")
    assert (await world.store.read(f"{PATH}.metadata"))[0] == core
    assert info.facts == {"sha256": sha256(BODY), "metadata_sha256": sha256(core), "requires_python": ">=3.9"}
    (entry,) = outcome.entries
    assert (entry.sha256, entry.metadata_sha256, entry.size, entry.etag) == (sha256(BODY), sha256(core), len(BODY), info.etag)
    assert world.counted == len(BODY)
    assert world.spooled() == []


async def test_a_broken_connection_is_tried_again(world: World) -> None:
    world.upstream.failures = [UpstreamUnavailable("broke off"), UpstreamUnavailable("broke off")]
    assert (await world.copy()).fetched == 1
    assert world.upstream.asked == 3
    assert world.counted == len(BODY)  # what was in vain does not count


@pytest.mark.parametrize("failures", [[UpstreamUnavailable("broke off")] * 3, [UpstreamBadAnswer("sent nonsense")]])
async def test_one_that_cannot_be_had_keeps_no_other_back(world: World, failures: list[Exception]) -> None:
    world.upstream.failures = list(failures)
    other = item(filename=wheel_name("demo", "2.0"), project="demo", hashes={})
    copier = await world.copier()
    copier.jobs = 1
    outcome = await copier.copy([item(), other])
    assert outcome.problems == [str(failures[0])]
    assert [entry.path for entry in outcome.entries] == [other.path]
    assert PATH not in world.store.written
    assert world.spooled() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hashes": {"sha256": "0" * 64}}, "where 000"),
        ({"hashes": {"md5": "0" * 32}}, "has the md5"),
        ({"accepted": frozenset({f"sha256:{'0' * 64}"})}, "none of those that the input allows"),
        ({"size": len(BODY) + 1}, f"has {len(BODY)} bytes, where {len(BODY) + 1} are listed"),
    ],
)
async def test_other_bytes_are_refused_by_whatever_is_known(world: World, changes: dict[str, object], why: str) -> None:
    outcome = await world.copy(item(**changes))
    assert why in outcome.problems[0]
    assert f"{NAME} of source s" in outcome.problems[0]
    assert world.bodies() == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_was_only_looked_at_is_proven_by_what_a_later_input_allows(world: World, algorithm: str) -> None:
    looked_at = item(hashes={})
    copier = await world.copier()
    await copier.peek(looked_at)
    looked_at.accepted = frozenset({f"{algorithm}:{'0' * (64 if algorithm == 'sha256' else 128)}"})
    outcome = await copier.copy([looked_at])
    assert "none of those that the input allows" in outcome.problems[0]
    assert (world.bodies(), world.spooled()) == ([], [])


@pytest.mark.parametrize("size", [len(BODY) + 1, 2**50], ids=["other", "more than any file has"])
async def test_a_size_that_was_only_observed_refuses_no_bytes(world: World, size: int) -> None:
    """A copy that is there is not fetched again for it, either."""
    observed = item(hashes={}, size=size, observed=("size",))
    for fetched in (1, 0):
        result = await world.copy(observed)
        assert (result.problems, result.fetched, result.repaired) == ([], fetched, [])
        assert [entry.size for entry in result.entries] == [len(BODY)]


async def test_only_so_many_are_on_their_way_at_once(world: World) -> None:
    outcome = await world.copy(*(item(filename=wheel_name("demo", f"{n}.0"), hashes={}) for n in range(40)))
    assert outcome.fetched == 40
    assert 2 <= world.upstream.most <= 8


LONG = f"demo-1.0-py3-none-any_{'x' * 222}.whl"
OTHER = item(filename=wheel_name("demo", "2.0"), hashes={}, size=None)


def interfere(world: World, error: StoreError, method: str) -> None:
    """Have the first call of a method on the file fail with this error, whose subject is the file alone."""
    left = [error]

    def before(called: str, path: str) -> None:
        if (called, path) == (method, PATH) and left:
            raise left.pop()

    world.store.before = before


async def copy_one_by_one(world: World, *items: MirrorFile, store: BodyStore | None = None, **more: object) -> CopyResult:
    copier = await world.copier()
    copier.jobs = 1
    copier.fetcher = msgspec.structs.replace(copier.fetcher, **more)
    copier.store = store or copier.store
    try:
        return await copier.copy(items)
    finally:
        copier.close()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (item(size=5 * 1024**3), "it has 5368709120 bytes or more, and none is mirrored that has more than 4294967296"),
        (item(size=2**40), "it has 1099511627776 bytes or more"),
        (item(size=None), f"it has {len(BODY)} bytes or more, and none is mirrored that has more than 100000"),
    ],
    ids=["stated", "stated beyond measure", "found"],
)
async def test_a_file_that_is_too_large_stops_no_other(world: World, first: MirrorFile, why: str) -> None:
    small = item(filename="demo-2.0.zip", hashes={}, size=None, accepted=frozenset())
    world.upstream.bytes = BODY
    outcome = await copy_one_by_one(world, first, small, max_bytes=100_000 if first.file.size is None else 4 * 1024**3)
    if first.file.size is not None:
        assert [entry.path for entry in outcome.entries] == [small.path]
    (problem, *_) = outcome.problems
    assert problem.startswith(f"{PATH}: ")
    assert why in problem
    assert (world.spooled(), world.upstream.asked) == ([], 1 if first.file.size else 2)


@pytest.mark.parametrize(
    ("error", "method"),
    [
        (BlobDamaged("it cannot be read"), "put_if_absent"),
        (BlobChanged("it was changed"), "put_if_absent"),
        (BlobNotFound("it is gone"), "put_if_absent"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_trouble_with_one_file_in_the_store_stops_no_other(world: World, error: StoreError, method: str) -> None:
    interfere(world, error, method)
    outcome = await copy_one_by_one(world, item(), OTHER)
    assert [entry.path for entry in outcome.entries] == [OTHER.path]
    assert outcome.problems == [f"{PATH}: {error}"]


async def test_a_file_that_is_gone_while_it_is_proven_is_brought_again(world: World) -> None:
    await world.store.inner.put_if_absent(PATH, BODY, {})
    interfere(world, BlobNotFound("it is gone"), "stream")
    outcome = await copy_one_by_one(world, item(), OTHER)
    assert (outcome.problems, outcome.fetched) == ([], 2)


async def test_a_name_that_the_store_cannot_hold_stops_no_other(world: World, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "mirror")
    store.write_through(tmp_path / "mirror")
    (tmp_path / "mirror").mkdir()
    outcome = await copy_one_by_one(world, item(filename=LONG), OTHER, store=store)
    assert [entry.path for entry in outcome.entries] == [OTHER.path]
    assert len(outcome.problems) == 1
    assert LONG in outcome.problems[0]
    assert "too long" in outcome.problems[0]


async def test_a_file_for_which_the_spool_has_no_room_stops_no_other(world: World, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "small", free=lambda _: 50 * 1024**2, wait_s=0.0)
    outcome = await copy_one_by_one(world, item(size=40 * 1024**2), OTHER, spool=spool)
    spool.close()
    assert [entry.path for entry in outcome.entries] == [OTHER.path]
    assert outcome.problems[0].startswith(f"{PATH}: ")


async def test_a_spool_that_is_full_stops_everything(world: World, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "full", free=lambda _: 1024**2, wait_s=0.0)
    outcome = await copy_one_by_one(world, item(), OTHER, spool=spool)
    spool.close()
    assert (outcome.entries, len(outcome.problems)) == ([], 1)


async def test_what_could_not_be_looked_at_is_not_taken_for_the_file(world: World) -> None:
    world.upstream.failures = [UpstreamBadAnswer("sent nonsense")]
    copier = await world.copier()
    with pytest.raises(UpstreamBadAnswer):
        await copier.peek(item())
    assert world.spooled() == []
    (entry,) = (await copier.copy([item()])).entries
    assert (entry.sha256, world.upstream.asked) == (sha256(BODY), 2)


async def test_a_shelf_that_fails_stops_everything(world: World) -> None:
    world.store.fails = lambda method, path: method == "put_if_absent"
    items = [item(filename=wheel_name("demo", f"{n}.0"), hashes={}) for n in range(50)]
    outcome = await world.copy(*items)
    assert 1 <= len(outcome.problems) <= 8
    assert world.upstream.asked <= 8


async def test_what_is_there_is_proven_without_fetching_or_reading_it(world: World) -> None:
    first = await world.copy()
    world.store.calls.clear()
    again = await world.copy()
    assert (again.fetched, world.upstream.asked) == (0, 1)
    assert world.store.count("stream") == 0  # by the facts that came with its body
    assert without_time(again.entries[0]) == without_time(first.entries[0])
    await world.record(first.entries[0])
    await world.copy()
    assert world.store.count("stream") == 0  # by the manifest's ETag


async def test_a_body_that_somebody_wrote_again_is_read_and_repaired(world: World) -> None:
    first = await world.copy()
    await world.record(first.entries[0])
    info = await world.store.info(PATH)
    await world.store.delete(PATH)
    await world.store.put_if_absent(PATH, BODY[:-1] + b"!", info.facts)  # with everything that was said of the right one
    outcome = await world.copy()
    assert outcome.repaired == [PATH]
    assert (await world.store.read(PATH))[0] == BODY


async def test_metadata_that_is_gone_comes_out_of_the_wheel_that_is_there(world: World) -> None:
    await world.copy()
    await world.store.delete(f"{PATH}.metadata")
    outcome = await world.copy()
    assert (outcome.fetched, world.upstream.asked) == (0, 1)
    assert (await world.store.read(f"{PATH}.metadata"))[0] == metadata("demo", "1.0", requires_python=">=3.9")


async def test_looking_changes_nothing(world: World) -> None:
    await world.copy()
    await world.store.delete(f"{PATH}.metadata")
    before = list(world.store.written)
    assert await (await world.copier()).find_present(item(), look_only=True) is None
    assert world.store.written == before


async def test_what_was_looked_at_is_not_fetched_again(world: World) -> None:
    copier = await world.copier()
    assert (await copier.peek(item())).read_bytes() == BODY
    assert (await copier.peek(item())).read_bytes() == BODY
    assert (await copier.copy([item()])).fetched == 1
    assert world.upstream.asked == 1
    assert (await copier.peek(item())).read_bytes() == BODY  # now from the store
    assert world.upstream.asked == 1
    copier.close()
    assert world.spooled() == []


def without_time(entry: ManifestEntry) -> ManifestEntry:
    return msgspec.structs.replace(entry, stored=FakeClock().now())


async def test_a_manifest_grows_and_says_who_needs_what_now(world: World) -> None:
    entry = (await world.copy(item(needed_by={"a.txt": {"t1"}}))).entries[0]
    await world.record(entry, **{"a.txt": ["t1"]})
    other = msgspec.structs.replace(entry, path="other/other-1.0.tar.gz", needed_by={"b.txt": ["t1"]})
    shared = msgspec.structs.replace(entry, needed_by={"b.txt": ["t1"]})
    await world.record(other, shared, **{"b.txt": ["t1"]})
    manifest, _ = await read_manifest(world.store, "here")
    assert {e.path: e.needed_by for e in manifest.files} == {
        PATH: {"a.txt": ["t1"], "b.txt": ["t1"]},
        "other/other-1.0.tar.gz": {"b.txt": ["t1"]},
    }
    await world.record(shared, **{"b.txt": ["t1"]})  # b.txt needs less now
    manifest, _ = await read_manifest(world.store, "here")
    assert manifest.by_path()["other/other-1.0.tar.gz"].needed_by == {}
    assert set(manifest.inputs) == {"a.txt", "b.txt"}


async def test_runs_for_several_targets_take_nothing_from_each_other(world: World) -> None:
    """As the jobs of a pipeline do, one for each Python: at once, and in any order."""
    entry = (await world.copy(item(needed_by={"a.txt": {"t1"}}))).entries[0]
    other = msgspec.structs.replace(entry, path="other/other-1.0.tar.gz")
    began = world.clock.now()
    world.clock.move(60)
    manifest = ManifestFile(world.store, "here")
    await manifest.read()

    async def run(moment: datetime, target: str, *entries: ManifestEntry, complete: bool = True) -> dict[str, object]:
        needing = [msgspec.structs.replace(one, needed_by={"a.txt": [target]}) for one in entries]
        await manifest.add(needing, {"a.txt": ManifestInput([target], moment)}, complete=complete, whole=False)
        found, _ = await read_manifest(world.store, "here")
        assert found.inputs["a.txt"].mirrored == world.clock.now()
        return {"targets": found.inputs["a.txt"].targets} | {one.path: one.needed_by.get("a.txt") for one in found.files}

    assert await run(world.clock.now(), "t1", entry) == {"targets": ["t1"], PATH: ["t1"]}
    both = {"targets": ["t1", "t2"], PATH: ["t1", "t2"], other.path: ["t2"]}
    assert await run(began, "t2", entry, other) == both, "it began before, and ends later"
    assert await run(began, "t1", other, complete=False) == both | {other.path: ["t1", "t2"]}
    assert await run(began, "t1", entry) == both
    assert await run(began, "t2") == {"targets": ["t1", "t2"], PATH: ["t1"], other.path: None}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "is damaged: put a copy of it back"),
        (b'{"wheelgate_mirror": 3}', "has version 3, which this Wheelgate does not support"),
        (b'{"wheelgate_mirror": 1' + b"0" * 4_000 + b"}", "is damaged"),
        (b'{"wheelgate_mirror": 1, "files": [{"path": "../x", "sha256": "0"}]}', "is damaged"),
    ],
)
async def test_a_manifest_that_cannot_be_read_is_said(world: World, body: bytes, why: str) -> None:
    await world.store.put_if_absent("wheelgate-mirror.json", body, {})
    with pytest.raises(Exception, match=why):
        await read_manifest(world.store, "here")


async def test_a_path_that_climbs_is_no_entry(world: World) -> None:
    entry = (await world.copy()).entries[0]
    for path in ("../x", "a/../x", "/etc/x", "A/x", "a/b/c", "a/..", "a/.hidden", "a/x\\y"):
        encoded = msgspec.json.encode(Manifest(files=[msgspec.structs.replace(entry, path=path)]))
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(encoded, type=Manifest)


async def test_every_kind_of_damage_is_named(world: World) -> None:
    entry = (await world.copy()).entries[0]
    assert await find_damage(world.store, [entry]) == []
    await world.store.delete(f"{PATH}.metadata")
    assert await find_damage(world.store, [entry]) == [f"{PATH}.metadata is missing"]
    await world.store.put_if_absent(f"{PATH}.metadata", b"other", {})
    assert "metadata is damaged" in (await find_damage(world.store, [entry]))[0]
    await world.store.delete(PATH)
    assert (await find_damage(world.store, [entry]))[0] == f"{PATH} is missing"
    await world.store.put_if_absent(PATH, BODY + b"x", {})
    assert f"{PATH} is damaged: it has {len(BODY) + 1} bytes" in (await find_damage(world.store, [entry]))[0]


@pytest.mark.parametrize("hashed", [True, False])
async def test_an_index_document_is_brought_again_once_it_has_changed(world: World, hashed: bool) -> None:
    """Where nobody states its digest, only its source can tell."""

    def document() -> MirrorFile:
        hashes = {"sha256": sha256(world.upstream.bytes)} if hashed else {}
        return item(filename="demo-1.0-variants.json", hashes=hashes, size=None)

    for number, content in enumerate((b'{"variants": {"a": {}}}', b'{"variants": {"a": {}, "b": {}}}'), start=1):
        world.upstream.bytes = content
        for _ in range(2):
            (entry,) = (await world.copy(document())).entries
            await world.record(entry)
            assert (await world.store.read("demo/demo-1.0-variants.json"))[0] == content
        assert world.upstream.asked == (number if hashed else 2 * number)


async def test_a_variant_wheel_arrives_with_its_metadata(world: World) -> None:
    path = PATH.replace(".whl", "-cu128.whl")
    outcome = await world.copy(item(filename=path.partition("/")[2]))
    assert outcome.entries[0].metadata_sha256 == sha256(metadata("demo", "1.0", requires_python=">=3.9"))
    assert world.bodies() == [f"{path}.metadata", path]

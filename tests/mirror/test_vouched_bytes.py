"""What a manifest vouches for stays: whatever upstreams and bundles list, whoever runs at once, wherever a run is killed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import FakeClock
from tests.support.packages import sha256, wheel_bytes, wheel_name
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import BadInput
from wheelgate.core.model import File, RemoteFile
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.copying import Copier, CopyResult
from wheelgate.mirror.fetching import Fetcher
from wheelgate.mirror.file_origins import MirrorFile, list_mirror_files, read_from_mirror
from wheelgate.mirror.manifest import NAME as MANIFEST
from wheelgate.mirror.manifest import Manifest, ManifestEntry, ManifestInput
from wheelgate.mirror.manifest_file import ManifestFile, read_manifest
from wheelgate.mirror.verifying import find_damage
from wheelgate.storage.folder import FolderStore
from wheelgate.storage.spool import Spool

NAMES = [wheel_name("demo", f"{number}.0") for number in range(2)]
PATHS = [f"demo/{name}" for name in NAMES]
BODIES = [[wheel_bytes("demo", f"{number}.0", extra={"demo/x": bytes([kind])}) for kind in range(3)] for number in range(2)]
"""By file, three contents of one size."""
NAME, PATH, (FIRST, OTHER, _) = NAMES[0], PATHS[0], BODIES[0]


class Killed(BaseException):
    """The end of a run, as a kill is: nothing of it goes on."""


def listed(number: int = 0, body: bytes = FIRST, *, hashes: tuple[str, ...] = ("sha256",), **facts: object) -> MirrorFile:
    """A file as an index lists it, and sends it."""
    origin = facts.pop("origin", "public")
    said = {"sha256": sha256(body), "md5": hashlib.md5(body, usedforsecurity=False).hexdigest()}
    file = File(
        project="demo",
        filename=NAMES[number],
        source=str(facts.pop("source", "pypi")),
        location=RemoteFile("https://x/", "pypi"),
        hashes={name: said[name] for name in hashes},
        size=len(body),
        **facts,  # type: ignore[arg-type]
    )
    return MirrorFile(file, needed_by={"a.txt": {"t"}}, origin=origin)  # type: ignore[arg-type]


async def run(
    store: BodyStore,
    folder: Path,
    items: Mapping[int, tuple[MirrorFile, bytes]] | None = None,
    *,
    bundle: BodyStore | None = None,
) -> CopyResult:
    """One run of `mirror`, from an index or from a bundle."""
    spool = Spool(folder)
    spool.prepare()
    if isinstance(store, FolderStore):
        store = FolderStore(store.root)  # each process has its own
        store.write_through(spool.folder)
    try:
        manifest = ManifestFile(store, "the mirror")
        await manifest.read()
        bodies = {item.path: body for item, body in (items or {}).values()}
        wanted, seen, inputs = (
            [item for item, _ in (items or {}).values()],
            [],
            {"a.txt": ManifestInput(["t"], FakeClock().now())},
        )

        async def send(item: MirrorFile) -> AsyncGenerator[bytes, None]:
            yield bodies[item.path]

        origin = send
        if bundle is not None:
            wanted, brought = await list_mirror_files(bundle, "the bundle")
            seen, inputs, origin = brought.seen, brought.inputs, read_from_mirror(bundle)  # type: ignore[assignment]
        fetcher = Fetcher(spool=spool, origin=origin, wait_s=0.0)
        copier = Copier(store=store, fetcher=fetcher, manifest=manifest, clock=FakeClock(), jobs=2)
        try:
            result = await copier.copy(wanted, seen)
        finally:
            copier.close()
        for path, sentence in (await manifest.add(result.entries, inputs, complete=not result.problems)).items():
            result.refuse(path, sentence)
        return result
    finally:
        spool.close()


async def one(store: BodyStore, folder: Path, body: bytes = FIRST, **said: object) -> CopyResult:
    return await run(store, folder, {0: (listed(0, body, **said), body)})  # type: ignore[arg-type]


@pytest.fixture(params=["container", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BodyStore:
    if request.param == "container":
        return MemoryStore()
    (tmp_path / "mirror").mkdir()
    return FolderStore(tmp_path / "mirror")


async def read_body(store: BodyStore, path: str = PATH) -> bytes:
    return (await store.read(path))[0]


async def overwrite(store: BodyStore, body: bytes, spool: Path, path: str = PATH) -> None:
    if isinstance(store, FolderStore):
        await asyncio.to_thread((store.root / path).write_bytes, body)
    else:
        await store.delete(path)
        await store.put_if_absent(path, body, {})


@pytest.mark.parametrize("hashes", [("sha256",), ("md5",), ()], ids=["sha256", "md5", "no digest"])
async def test_other_bytes_are_refused_and_named_and_the_old_ones_stay(
    store: BodyStore, tmp_path: Path, hashes: tuple[str, ...]
) -> None:
    await one(store, tmp_path / "s", hashes=hashes)
    for _ in range(2):
        result = await one(store, tmp_path / "s", OTHER, hashes=hashes)
        assert await read_body(store) == FIRST
        manifest, _ = await read_manifest(store, "the mirror")
        assert [entry.sha256 for entry in manifest.files] == [sha256(FIRST)]
        if hashes:
            assert result.refused == [PATH]
            assert f"ALARM: {PATH}" in result.problems[0]
            assert "pypi" in result.problems[0]
        else:
            assert (result.refused, result.fetched) == ([], 0), "nobody states that there are others"


async def test_a_bundle_that_has_others_is_refused_and_names_itself(store: BodyStore, tmp_path: Path) -> None:
    bundle = MemoryStore()
    await one(bundle, tmp_path / "s", OTHER)
    await one(store, tmp_path / "s")
    result = await run(store, tmp_path / "s", bundle=bundle)
    assert (result.refused, result.repaired) == ([PATH], [])
    assert await read_body(store) == FIRST


@pytest.mark.parametrize("gone", [False, True])
async def test_what_is_damaged_is_repaired_with_the_very_same_bytes_only(store: BodyStore, tmp_path: Path, gone: bool) -> None:
    await one(store, tmp_path / "s")
    damaged = FIRST[:-1] + b"!"
    await overwrite(store, damaged, tmp_path / "s")
    if gone:
        await store.delete(PATH)
    for said in (("sha256",), ("md5",), ()):
        result = await one(store, tmp_path / "s", OTHER, hashes=said)
        assert result.refused == [PATH], said
        manifest, _ = await read_manifest(store, "the mirror")
        assert len(await find_damage(store, manifest.files)) == 1, "it is named still"
    result = await one(store, tmp_path / "s")
    assert (result.problems, result.fetched, result.repaired) == ([], 1, [] if gone else [PATH])
    assert await read_body(store) == FIRST


async def test_first_sight_lives_in_the_manifest_also_of_what_never_came(store: BodyStore, tmp_path: Path) -> None:
    lying = await run(store, tmp_path / "s", {0: (listed(0, FIRST), b"nothing of it")})
    assert "where" in lying.problems[0]
    assert lying.refused == []
    result = await one(store, tmp_path / "s", OTHER)
    assert result.refused == [PATH]
    assert "has seen it since" in result.problems[0]
    assert (await one(store, tmp_path / "s")).problems == []


@pytest.mark.parametrize("ending", [".metadata", ".provenance", ".METADATA", "\n", "\x9b2J"])
async def test_a_bundle_cannot_put_a_file_in_the_place_of_what_stands_beside_one(
    store: BodyStore, tmp_path: Path, ending: str
) -> None:
    """Its name is another one, and yet the entry of the wheel vouches for what lies there."""
    bundle, body = MemoryStore(), b"Metadata-Version: 2.1\nName: demo\nVersion: 0.0\nRequires-Dist: evil\n"
    await one(bundle, tmp_path / "s")
    entry = msgspec.json.decode((await bundle.read(MANIFEST))[0])["files"][0]
    stranger = entry | {"path": PATH + ending, "sha256": sha256(body), "size": len(body)}
    await overwrite(bundle, body, tmp_path / "s", PATH + ending)
    _, etag = await read_manifest(bundle, "the bundle")
    await bundle.replace_if(MANIFEST, msgspec.json.encode({"wheelgate_mirror": 2, "files": [stranger]}), etag)
    await one(store, tmp_path / "s")
    with pytest.raises(BadInput, match="the bundle/wheelgate-mirror.json is damaged"):
        await run(store, tmp_path / "s", bundle=bundle)
    manifest, _ = await read_manifest(store, "the mirror")
    assert await find_damage(store, manifest.files) == []


async def test_a_bundle_that_names_a_file_twice_or_was_broken_off_brings_the_others(tmp_path: Path) -> None:
    bundle, inside = FolderStore(tmp_path / "bundle"), MemoryStore()
    bundle.root.mkdir()
    await run(bundle, tmp_path / "s", {0: (listed(0, FIRST), FIRST), 1: (listed(1, BODIES[1][0]), BODIES[1][0])})
    manifest = msgspec.json.decode((bundle.root / MANIFEST).read_bytes())
    manifest["files"] *= 2
    (bundle.root / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    (bundle.root / PATHS[0]).write_bytes(FIRST[:-1])
    result = await run(inside, tmp_path / "s", bundle=bundle)
    assert [entry.path for entry in result.entries] == [PATHS[1]]
    assert result.problems == [f"{PATHS[0]}: it is damaged there: it has {len(FIRST) - 1} bytes, not {len(FIRST)}"]


async def test_it_travels_with_a_bundle(tmp_path: Path) -> None:
    bundle, inside = MemoryStore(), MemoryStore()
    await run(bundle, tmp_path / "s", {0: (listed(0, FIRST), b"nothing of it"), 1: (listed(1, BODIES[1][0]), BODIES[1][0])})
    await run(inside, tmp_path / "s", bundle=bundle)
    assert (await one(inside, tmp_path / "s", OTHER)).refused == [PATH]


async def test_an_upload_time_moves_to_no_later_moment_and_a_stated_digest_is_told_from_an_observed_one(
    store: BodyStore, tmp_path: Path
) -> None:
    clock = FakeClock()
    now = clock.now()
    await one(store, tmp_path / "s", hashes=(), upload_time=now, observed=("upload_time",))
    (entry,) = (await read_manifest(store, "the mirror"))[0].files
    assert entry.observed == ["sha256", "upload_time"]
    clock.move(86_400)
    await one(store, tmp_path / "s", upload_time=clock.now(), observed=("upload_time",))
    (entry,) = (await read_manifest(store, "the mirror"))[0].files
    assert (entry.upload_time, entry.observed) == (now, ["upload_time"])


async def test_an_older_bundle_takes_nothing_back(tmp_path: Path) -> None:
    inside = MemoryStore()
    manifest, yanked = ManifestFile(inside, "inside"), FakeClock()
    first = yanked.now()
    yanked.move(1_000)
    (old,) = (await one(MemoryStore(), tmp_path / "s")).entries
    new = msgspec.structs.replace(old, yanked="broken", as_of=yanked.now(), needed_by={"b.txt": ["t"]})
    await manifest.add([new], {"a.txt": ManifestInput(["t"], yanked.now()), "b.txt": ManifestInput(["t"], yanked.now())})
    await manifest.add([old], {"a.txt": ManifestInput(["old"], first)})
    (entry,) = (await manifest.read()).files
    assert (entry.yanked, entry.needed_by) == ("broken", {"b.txt": ["t"]})
    assert (await manifest.read()).inputs["a.txt"].targets == ["t"]


async def test_what_a_clock_that_was_ahead_says_does_not_outlast_the_index(tmp_path: Path) -> None:
    bundle, inside = MemoryStore(), MemoryStore()
    await one(bundle, tmp_path / "s")
    body, info = await bundle.read(MANIFEST)
    ahead = msgspec.json.decode(body)
    ahead["files"][0]["as_of"] = "9999-01-01T00:00:00Z"
    await bundle.replace_if(MANIFEST, msgspec.json.encode(ahead), info.etag)
    await run(inside, tmp_path / "s", bundle=bundle)
    await one(inside, tmp_path / "s", yanked="broken")
    assert [entry.yanked for entry in (await read_manifest(inside, "inside"))[0].files] == ["broken"]


async def test_a_public_file_of_a_project_that_is_private_here_is_refused(store: BodyStore, tmp_path: Path) -> None:
    await one(store, tmp_path / "s", origin="private", source="team")
    stranger = listed(1, BODIES[1][0])
    result = await run(store, tmp_path / "s", {1: (stranger, BODIES[1][0])})
    assert result.refused == [PATHS[1]]
    assert "demo is private in the mirror, which has files of it from source team" in result.problems[0]
    joined = listed(1, BODIES[1][0], origin="merged")
    assert (await run(store, tmp_path / "s", {1: (joined, BODIES[1][0])})).problems == []
    origins = {entry.path: entry.origin for entry in (await read_manifest(store, "the mirror"))[0].files}
    assert origins == {PATH: "private", PATHS[1]: "merged"}


async def test_a_manifest_of_the_former_release_is_read_and_kept_to(store: BodyStore, tmp_path: Path) -> None:
    await one(store, tmp_path / "s")
    body, info = await store.read(MANIFEST)
    former = msgspec.json.decode(body) | {"wheelgate_mirror": 1}
    for entry in former["files"]:
        for new in ("origin", "observed", "as_of"):
            entry.pop(new, None)
    if isinstance(store, FolderStore):
        (store.root / MANIFEST).write_bytes(msgspec.json.encode(former))
    else:
        await store.replace_if(MANIFEST, msgspec.json.encode(former), info.etag)
    assert (await one(store, tmp_path / "s", OTHER)).refused == [PATH]
    assert (await one(store, tmp_path / "s")).problems == []
    (entry,) = (await read_manifest(store, "the mirror"))[0].files
    assert (entry.origin, entry.observed) == ("public", [])


async def test_a_clean_second_run_writes_nothing(tmp_path: Path) -> None:
    store = WatchedStore()
    await one(store, tmp_path / "s")
    store.calls.clear()
    await one(store, tmp_path / "s")
    assert store.written == []


@pytest.mark.parametrize("other", [FIRST, OTHER])
async def test_two_runs_at_once_agree(store: BodyStore, tmp_path: Path, other: bytes) -> None:
    results = await asyncio.gather(one(store, tmp_path / "s", FIRST), one(store, tmp_path / "t", other))
    refused = [result.refused for result in results]
    assert sorted(refused) == ([[], []] if other is FIRST else [[], [PATH]])
    manifest, _ = await read_manifest(store, "the mirror")
    assert [entry.sha256 for entry in manifest.files] == [sha256(await read_body(store))]
    assert await find_damage(store, manifest.files) == []


class Year:
    """A mirror in a store that a run can be killed at, an upstream and a bundle that change, and what must hold throughout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = MemoryStore()
        self.vouched: dict[str, str] = {}

    def manifest(self) -> Manifest:
        body = self.memory.blobs.get(MANIFEST)
        return Manifest() if body is None else msgspec.json.decode(body[0], type=Manifest)

    def check(self) -> None:
        """At every moment: what was vouched for once is vouched for still; nothing but what we damaged was taken away."""
        for entry in self.manifest().files:
            assert self.vouched.setdefault(entry.path, entry.sha256) == entry.sha256
            body = self.memory.blobs.get(entry.path, (b"junk",))[0]  # one that is damaged is taken away, and brought again
            assert body == b"junk" or sha256(body) == entry.sha256

    def open(self, kill_at: int = 0) -> WatchedStore:
        """The store for one run, which is dead from its so-manieth write on; 0: lives."""
        store, writes = WatchedStore(self.memory), 0

        def before(method: str, path: str) -> None:
            nonlocal writes
            self.check()
            writes += method in ("put_if_absent", "replace_if", "delete")
            if kill_at and writes >= kill_at:
                raise Killed

        store.before = before
        return store

    async def play(self, step: tuple[str, tuple[int, int], tuple[str, ...], int, bool]) -> None:
        kind, contents, hashes, kill_at, twice = step
        if kind == "damage":
            for path, is_meant in zip(PATHS, contents, strict=True):
                if path in self.memory.blobs and is_meant:
                    self.memory.blobs[path] = (b"junk", self.memory._put(path, b"junk", {}, FakeClock().now()))
            return
        runs = []
        for number in range(2 if twice else 1):
            chosen = [BODIES[at][(content + number) % 3] for at, content in enumerate(contents)]
            items = {at: (listed(at, body, hashes=hashes), body) for at, body in enumerate(chosen)}
            bundle = MemoryStore() if kind == "bundle" else None
            if bundle is not None:
                await run(bundle, self.folder / "b", items)
            runs.append(run(self.open(kill_at), self.folder / f"s{number}", items, bundle=bundle))
        await asyncio.gather(*runs, return_exceptions=True)
        self.check()

    async def end(self) -> None:
        """The upstream lists again what it listed first: all is put right, and then there is nothing to do."""
        first = {one.path: one.sha256 for one in self.manifest().seen} | self.vouched
        items = {}
        for at, path in enumerate(PATHS):
            body = next((body for body in BODIES[at] if sha256(body) == first.get(path)), BODIES[at][0])
            items[at] = (listed(at, body), body)
        assert (await run(self.open(), self.folder / "e", items)).problems == []
        assert await find_damage(self.memory, self.manifest().files) == []
        assert {entry.path for entry in self.manifest().files} == set(PATHS)
        store = self.open()
        await run(store, self.folder / "e", items)
        assert store.written == []


_STEPS = st.tuples(
    st.sampled_from(["index", "index", "bundle", "damage"]),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from([("sha256",), ("md5",), ()]),
    st.integers(0, 8),
    st.booleans(),
)


_LIFE = st.lists(_STEPS, min_size=1, max_size=6)


async def live(folder: Path, steps: list[tuple[str, tuple[int, int], tuple[str, ...], int, bool]]) -> None:
    year = Year(folder)
    for step in steps:
        await year.play(step)
    await year.end()


@settings(max_examples=25, deadline=None)
@given(_LIFE)
def test_a_year_in_the_life_of_a_mirror(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    asyncio.run(live(tmp_path_factory.mktemp("year"), steps))


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(max_examples=500, deadline=None)
@given(_LIFE)
def test_many_years_in_the_life_of_a_mirror(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    asyncio.run(live(tmp_path_factory.mktemp("year"), steps))


def test_no_entry_may_be_taken_for_another(tmp_path: Path) -> None:
    """Whoever writes the bytes of another digest into the manifest is refused there as well."""
    now = FakeClock().now()
    entry = ManifestEntry(path=PATH, sha256=sha256(FIRST), size=len(FIRST), source="pypi", stored=now)
    manifest, _ = Manifest().add([entry], {}, "here")
    same, refused = manifest.add([msgspec.structs.replace(entry, sha256=sha256(OTHER))], {}, "here")
    assert same is manifest
    assert list(refused) == [PATH]

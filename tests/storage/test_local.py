"""The store in a folder: the contract, and what only a folder shared by processes can get wrong."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.storage.blob_store_contract import PATH, SMALL, BlobStoreContract, paths, sha256
from tests.support.stores import MemoryStore
from wheelgate.core.errors import BlobDamaged, BlobExists, BlobNotFound, StoreError
from wheelgate.storage.local import LocalStore

ROOT = Path(__file__).parents[2]
_WORKER = """
import asyncio, hashlib, json, sys
from pathlib import Path
from wheelgate.core.errors import StoreError
from wheelgate.storage.local import LocalStore

store = LocalStore(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    task = json.loads(line)
    body = hashlib.shake_128(task["seed"].encode()).digest(task["size"])
    facts = {"sha256": hashlib.sha256(body).hexdigest(), "seed": task["seed"]}
    print("putting", flush=True)
    try:
        info = asyncio.run(store.put_if_absent(task["path"], body, facts))
        print(json.dumps({"outcome": "stored", "facts": dict(info.facts)}), flush=True)
    except StoreError as error:
        print(json.dumps({"outcome": type(error).__name__}), flush=True)
"""


class Worker:
    """Another process that writes to the same folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def put(self, path: str, seed: str, size: int) -> None:
        """Begin; ``outcome`` tells how it ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"path": path, "seed": seed, "size": size}) + "\n")
        self.process.stdin.flush()

    def outcome(self) -> dict[str, Any]:
        assert self.line() == "putting"
        outcome: dict[str, Any] = json.loads(self.line())
        return outcome

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


@contextmanager
def worker(folder: Path) -> Iterator[Worker]:
    made = Worker(folder)
    try:
        yield made
    finally:
        made.kill()


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory; skips where that needs rights we do not have."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.prepare()
    return made


def left_behind(store: LocalStore) -> list[Path]:
    """Files that are neither bodies, nor their facts, nor the lock."""
    facts = {path.relative_to(store.root / ".facts") for path in (store.root / ".facts").rglob("*") if path.is_file()}
    bodies = {path.relative_to(store.root) for path in store.root.rglob("*") if path.is_file() and path.name != ".lock"}
    return [path for path in bodies if path.parts[0] == ".incoming"] + [path for path in facts if path not in bodies]


class TestLocalStore(BlobStoreContract):
    pass


class TestMemoryStore(BlobStoreContract):
    """The tests' own store is held to the contract, or what they prove with it would be worth nothing."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


@pytest.mark.parametrize("same", [True, False], ids=["equal bytes", "different bytes"])
async def test_of_two_processes_that_take_one_name_one_wins(store: LocalStore, same: bool) -> None:
    with worker(store.root) as one, worker(store.root) as other:
        for number in range(5):
            path = f"packages/demo/{number}"
            seeds = ["same", "same"] if same else [f"one {number}", f"other {number}"]
            one.put(path, seeds[0], 2_000_000)
            other.put(path, seeds[1], 2_000_000)
            outcomes = [one.outcome(), other.outcome()]
            assert sorted(outcome["outcome"] for outcome in outcomes) == ["BlobExists", "stored"]
            winner = next(outcome for outcome in outcomes if outcome["outcome"] == "stored")
            body, info = await store.read(path)
            assert info.facts == winner["facts"]
            assert info.facts["sha256"] == sha256(body)
            assert info.facts["seed"] == seeds[outcomes.index(winner)]
    assert left_behind(store) == []


async def test_a_writer_killed_at_any_moment_leaves_a_name_absent_or_whole(store: LocalStore) -> None:
    size = 24_000_000
    with worker(store.root) as measured:
        measured.put("packages/measure", "measure", size)
        assert measured.line() == "putting"
        began = time.perf_counter()
        assert json.loads(measured.line())["outcome"] == "stored"
        usual_s = time.perf_counter() - began
    whole = 0
    kills = 8
    for number in range(kills):
        path, seed = f"packages/killed/{number}", str(number)
        victim = Worker(store.root)
        victim.put(path, seed, size)
        assert victim.line() == "putting"
        time.sleep(random.uniform(0, 1.1 * usual_s))
        victim.kill()
        try:
            body, info = await store.read(path)
        except BlobNotFound:
            assert path not in await paths(store, "packages/")
        else:
            whole += 1
            usual_s *= 0.6  # it was too late to meet anything half done
            assert len(body) == size
            assert info.facts == {"sha256": sha256(body), "seed": seed}
        with worker(store.root) as again:
            again.put(path, seed, size)
            assert again.outcome()["outcome"] in ("stored", "BlobExists")
        body, info = await store.read(path)
        assert (info.size, info.facts["sha256"]) == (size, sha256(body))
    assert whole < kills, "every kill came too late to test anything"


@pytest.mark.parametrize("linked", [True, False])
async def test_what_a_killed_writer_left_goes_at_the_next_start_and_not_while_it_lives(store: LocalStore, linked: bool) -> None:
    incoming, body = store.root / ".incoming", store.root / "body"
    body.write_bytes(b"half")
    script = "import sys, time; from pathlib import Path; from wheelgate.runtime.drafts import draft; body = Path(sys.argv[2])\n"
    script += "with draft(body if sys.argv[3] else b'half', Path(sys.argv[1])): print('there', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script, incoming, body, "linked" if linked else ""]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"there\n"
        LocalStore(store.root).prepare()
        assert len(list(incoming.iterdir())) == 1, "another process is writing it now"
        writer.kill()
    assert len(list(incoming.iterdir())) == 1
    LocalStore(store.root).prepare()
    assert list(incoming.iterdir()) == []
    assert body.read_bytes() == b"half"


async def test_without_locks_only_age_tells_what_was_left_behind(store: LocalStore) -> None:
    script = "import sys; sys.modules['fcntl'] = None; from pathlib import Path\n"
    script += "from wheelgate.runtime.drafts import sweep_drafts\n"
    script += "sweep_drafts(Path(sys.argv[1]), float(sys.argv[2]))"
    half = store.root / ".incoming" / "half-written"
    half.write_bytes(b"half")
    for latest_s, is_left in ((time.time() - 3600, True), (time.time() + 1, False)):
        subprocess.run([sys.executable, "-c", script, half.parent, str(latest_s)], cwd=ROOT, check=True)
        assert half.exists() is is_left


async def test_facts_without_a_body_are_nothing(store: LocalStore) -> None:
    """What a crash between the two writes leaves."""
    await store.put_if_absent(PATH, SMALL, {"sha256": "old"})
    (store.root / PATH).unlink()
    with pytest.raises(BlobNotFound):
        await store.info(PATH)
    assert await paths(store, "packages/") == set()
    await store.put_if_absent(PATH, b"new", {"sha256": "new"})
    assert (await store.info(PATH)).facts == {"sha256": "new"}


async def test_a_body_that_somebody_copied_in_is_a_blob_without_facts(store: LocalStore) -> None:
    (store.root / PATH).parent.mkdir(parents=True)
    (store.root / PATH).write_bytes(SMALL)
    body, info = await store.read(PATH)
    assert (body, info.size, info.facts) == (SMALL, len(SMALL), {})
    os.utime(store.root / PATH, ns=(1, 1))
    assert (await store.info(PATH)).etag != info.etag
    with pytest.raises(BlobExists):
        await store.put_if_absent(PATH, SMALL, {})


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"created": 1}', b"\xff\xfe\x00"])
async def test_damaged_facts_are_one_sentence_that_names_the_file(store: LocalStore, damage: bytes) -> None:
    await store.put_if_absent(PATH, SMALL, {"sha256": "x"})
    facts = store.root / ".facts" / PATH
    facts.write_bytes(damage)
    await store.put_if_absent("packages/demo/other", SMALL, {"sha256": "y"})
    for failing in (store.info(PATH), store.read(PATH), store.set_facts(PATH, {}, "any")):
        with pytest.raises(BlobDamaged, match="damaged") as raised:
            await failing
        assert not isinstance(raised.value, BlobNotFound)
        assert str(facts) in str(raised.value)
        assert "\n" not in str(raised.value)
    found = {info.path: info async for info in store.list("packages/")}
    assert found[PATH].damage == str(raised.value)
    assert (found[PATH].facts, found["packages/demo/other"].facts) == ({}, {"sha256": "y"})
    facts.unlink()  # as it says
    assert (await store.read(PATH))[0] == SMALL


async def test_two_changes_of_facts_within_one_tick_of_the_clock_differ(store: LocalStore) -> None:
    facts = store.root / ".facts" / PATH
    before = await store.put_if_absent(PATH, SMALL, {"n": "1"})
    stamp = facts.stat().st_mtime_ns
    await store.set_facts(PATH, {"n": "2"}, before.etag)
    os.utime(facts, ns=(stamp, stamp))
    assert (await store.info(PATH)).etag != before.etag


async def test_folders_and_hidden_files_are_no_blobs_and_links_are_never_followed(store: LocalStore, tmp_path: Path) -> None:
    await store.put_if_absent(PATH, SMALL, {})
    folder = (store.root / PATH).parent
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link-1.0-py3-none-any.whl").symlink_to(tmp_path / "secret")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")
    (store.root / "packages" / "elsewhere").symlink_to(tmp_path)
    links = {f"packages/demo/{name}" for name in ("link-1.0-py3-none-any.whl", "pipe")} | {"packages/elsewhere"}
    assert {info.path: info.damage is not None async for info in store.list("packages/")} == {PATH: False} | dict.fromkeys(
        links, True
    )
    with pytest.raises(BlobNotFound):
        await store.info("packages/demo/empty")
    for path in [*links, "packages/elsewhere/secret"]:
        for asked in (store.info, store.read, lambda path: anext(store.stream(path, 0, 1))):
            with pytest.raises(BlobDamaged, match="cannot be used: it is a (symbolic link|named pipe), not a file: remove /"):
                await asked(path)
        with pytest.raises(StoreError):
            await store.put_if_absent(path, SMALL, {})
    assert [path.name for path in tmp_path.iterdir() if path != store.root] == ["secret"]


async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written: not a directory") as raised:
        LocalStore(tmp_path / "file" / "store").prepare()
    assert str(tmp_path / "file" / "store") in str(raised.value)


async def test_a_folder_that_cannot_be_written_still_reads(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = LocalStore(disk / "store")
        store.prepare()
        await store.put_if_absent(PATH, SMALL, {})
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreError, match="cannot be written: read-only file system"):
            LocalStore(disk / "store").prepare()
        with pytest.raises(StoreError, match="read-only"):
            await store.put_if_absent("packages/new", SMALL, {})
        assert (await store.read(PATH))[0] == SMALL


@pytest.mark.parametrize("spooled", [False, True])
async def test_a_full_disk_leaves_the_name_free_and_nothing_behind(tmp_path: Path, spooled: bool) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = LocalStore(disk / "store")
        store.prepare()
        await store.put_if_absent("packages/small", SMALL, {})
        spool = tmp_path / "spool"
        spool.write_bytes(bytes(2_000_000))
        for _ in range(3):
            with pytest.raises(StoreError, match="disk is full: make room at"):
                await store.put_if_absent(PATH, spool if spooled else spool.read_bytes(), {"sha256": "x"})
        with pytest.raises(BlobNotFound):
            await store.info(PATH)
        assert left_behind(store) == []
        etag = (await store.info("packages/small")).etag
        with pytest.raises(StoreError, match="disk is full"):
            await store.replace_if("packages/small", bytes(2_000_000), etag)
        assert (await store.read("packages/small"))[0] == SMALL

        await store.delete("packages/small")
        spool.write_bytes(bytes(500_000))
        await store.put_if_absent(PATH, spool, {"sha256": "y"})
        assert (await store.info(PATH)).size == 500_000


async def test_a_disk_without_room_for_the_facts_leaves_nothing_behind(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=24") as disk:
        store = LocalStore(disk / "store")
        store.prepare()
        made = 0
        with pytest.raises(StoreError, match="disk is full"):
            for made in range(20):
                await store.put_if_absent(f"packages/{made}", SMALL, {"n": str(made)})
        assert made > 0
        assert await paths(store, "packages/") == {f"packages/{number}" for number in range(made)}
        assert left_behind(store) == []


async def test_a_spool_file_is_moved_in_without_a_copy_and_its_later_removal_does_no_harm(
    store: LocalStore, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(SMALL)
    await store.put_if_absent(PATH, spool, {})
    with store.open_local(PATH) as body:
        assert os.fstat(body.fileno()).st_ino == spool.stat().st_ino
    spool.unlink()
    assert (await store.read(PATH))[0] == SMALL


_at_open: dict[str, Callable[[], object]] = {}


def _on_open(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _at_open:
        hook = _at_open.pop(Path(str(arguments[0])).name, None)  # it is opened relative to its folder
        if hook is not None:
            hook()


sys.addaudithook(_on_open)


@pytest.mark.parametrize("successor", [True, False], ids=["replaced", "deleted"])
async def test_a_blob_exchanged_between_two_looks_is_seen_as_one_or_the_other(store: LocalStore, successor: bool) -> None:
    await store.put_if_absent(PATH, b"old", {"of": "old"})
    other = LocalStore(store.root)

    def exchange() -> None:
        other._delete(PATH, None)
        if successor:
            other._put_if_absent(PATH, b"successor", {"of": "successor"})

    _at_open[Path(PATH).name] = exchange  # the body was looked at; its facts are about to be read
    if successor:
        info = await store.info(PATH)
        assert (info.size, info.facts) == (9, {"of": "successor"})
    else:
        with pytest.raises(BlobNotFound):
            await store.info(PATH)
    assert not _at_open, "the facts were never read"


async def test_a_reader_beside_writers_never_sees_a_blob_with_anothers_facts(store: LocalStore) -> None:
    """A name that comes and goes: facts are of the body they come with, or there is no blob."""
    stop = False

    async def write() -> None:
        nonlocal stop
        for number in range(60):
            body = b"x" * (number + 1)
            await store.put_if_absent(PATH, body, {"size": str(len(body))})
            await store.delete(PATH)
        stop = True

    async def look() -> int:
        seen = 0
        while not stop:
            try:
                info = await store.info(PATH)
            except BlobNotFound:
                continue
            assert info.facts == {"size": str(info.size)}
            seen += 1
        return seen

    _, *seen = await asyncio.gather(write(), look(), look())
    assert sum(n for n in seen if n is not None) > 0


async def test_another_folder_in_the_place_of_the_store_is_no_empty_store(store: LocalStore, tmp_path: Path) -> None:
    """Below a mount that is lost lies an empty folder. From what that lacks nothing follows, and nothing is written there."""
    await store.put_if_absent(PATH, b"body", {})
    away = store.root.rename(tmp_path / "away")
    store.root.mkdir()
    questions: list[Callable[[], Awaitable[object]]] = [
        lambda: store.info(PATH),
        lambda: store.read(PATH),
        lambda: store.put_if_absent("packages/demo/other.whl", b"body", {}),
        lambda: store.replace_if("state/changed", b"x", None),
        lambda: store.delete(PATH),
        lambda: anext(store.list("packages/")),
    ]
    for question in questions:
        with pytest.raises(StoreError, match="is not the folder that the store was in .*: is its mount lost") as raised:
            await question()
        assert type(raised.value) is StoreError
    assert not any(store.root.iterdir())
    store.root.rmdir()
    with pytest.raises(StoreError):
        await store.info(PATH)
    shutil.copytree(away, store.root)  # mounted again, under another device number
    assert (await store.read(PATH))[0] == b"body"
    await store.put_if_absent("packages/demo/other.whl", b"body", {})


async def test_a_store_opened_twice_is_the_same_store(store: LocalStore) -> None:
    await store.put_if_absent(PATH, b"body", {})
    again = LocalStore(store.root)
    again.prepare()
    assert (await again.read(PATH))[0] == b"body"
    assert (await store.read(PATH))[0] == b"body"
    assert [info.path async for info in again.list("")] == [PATH]

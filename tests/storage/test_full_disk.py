"""A disk that is full to the byte, or lacks inodes: each kind of write fails whole, with one sentence, or needs no room.

What frees room, or takes something away from readers, is written from a reserve.
"""

from __future__ import annotations

import resource
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from tests.storage.test_local import left_behind, small_disk
from tests.support.clock import FakeClock
from wheelgate.core.errors import StoreFull
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.local import LocalStore
from wheelgate.storage.reserve import DiskReserve
from wheelgate.storage.spool import Spool
from wheelgate.storage.tokens import Tokens
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination
from wheelgate.uploads.manage import UploadManager

BODY = b"x" * 5_000
FILE = "demo-1.0-py3-none-any.whl"
PLACE = layout.package("demo", FILE)


class House:
    """A store on a small disk, and whoever writes to it."""

    def __init__(self, disk: Path, clock: FakeClock) -> None:
        self.disk, self.clock = disk, clock
        self.store = LocalStore(disk / "store")
        self.spool = Spool(disk / "store" / ".spool", free=lambda _: 10**12)
        """It believes that there is room: somebody else takes it."""
        self.changes = StoreChanges(self.store, clock)
        self.claims, self.tokens = Claims(self.store, clock, self.changes), Tokens(self.store, clock, self.changes)
        self.uploads = UploadManager(
            [Destination("uploads", self.store, layout.PACKAGES)], store=self.store, changes=self.changes
        )
        self.token = ""

    async def furnish(self) -> None:
        self.store.prepare()
        self.spool.prepare()
        for number in range(2):
            filename = f"demo-{number + 1}.0-py3-none-any.whl"
            await self.store.put_if_absent(layout.package("demo", filename), BODY, {"sha256": sha256(BODY).hexdigest()})
        self.token = (await self.tokens.new(("read",), timedelta(days=1)))[1].id
        self.record = await self.store.replace_if(layout.record("public", "demo"), BODY, None)

    def tree(self) -> set[str]:
        """Files and folders but those of the reserve and the filler."""
        kept = (path.relative_to(self.disk) for path in self.disk.rglob("*"))
        return {str(path) for path in kept if ".reserve" not in path.parts and path.parts[0] != "filler"}

    async def fill(self) -> None:
        spooled = self.spool.new()
        try:
            await spooled.append(BODY)
        finally:
            spooled.close()


Write = Callable[[House], Awaitable[object]]
WRITES: dict[str, Write] = {
    "a page's record, new": lambda here: here.store.replace_if(layout.record("public", "other"), BODY, None),
    "a page's record, longer": lambda here: here.store.replace_if(layout.record("public", "demo"), BODY * 20, here.record),
    "core metadata": lambda here: here.store.put_if_absent(layout.metadata("0" * 64), BODY, {}),
    "a copy of a file": lambda here: here.store.put_if_absent(layout.cache_copy("public", "a", "a.whl"), BODY, {"sha256": "0"}),
    "an upload": lambda here: here.store.put_if_absent(layout.package("fresh", "fresh.whl"), BODY, {"sha256": "0"}),
    "a claim": lambda here: here.claims.claim("fresh", "uploads"),
    "a token": lambda here: here.tokens.new(("read",), timedelta(days=1)),
    "a body in the spool": lambda here: here.fill(),
}
FREEING: dict[str, Write] = {
    "an announcement": lambda here: here.changes.write([]),
    "a revocation": lambda here: here.tokens.revoke(here.token),
    "a tombstone": lambda here: Tombstones(here.store).write("gone", "gone-1.0.tar.gz", "0" * 64),
    "a yank": lambda here: here.uploads.yank(FILE, "a reason"),
    "a yank's end": lambda here: here.uploads.unyank(FILE),
    "a deletion": lambda here: here.uploads.delete(FILE),
}


def fill_bytes(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        for piece in (4096, 1):
            try:
                while file.write(bytes(piece)) == piece:
                    pass
            except OSError:
                pass


def fill_inodes(disk: Path) -> None:
    (disk / "filler").mkdir()
    number = 0
    try:
        for number in range(10**6):
            (disk / "filler" / str(number)).touch()
    except OSError:
        return


FULL = {"no bytes": ("size=3m", fill_bytes), "no inodes": ("size=30m,nr_inodes=120", fill_inodes)}


def make_room(disk: Path) -> None:
    filler = disk / "filler"
    if filler.is_dir():
        shutil.rmtree(filler)
    else:
        filler.unlink()


@pytest.fixture(params=list(FULL))
async def full(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[House]:
    options, fill = FULL[request.param]
    with small_disk(tmp_path / "disk", options) as disk:
        here = House(disk, clock)
        await here.furnish()
        fill(disk)
        yield here
        here.spool.close()


@pytest.mark.parametrize("write", list(WRITES))
async def test_what_finds_no_room_leaves_nothing_behind_and_works_once_there_is(full: House, write: str) -> None:
    before = full.tree()
    for _ in range(3):
        with pytest.raises(StoreFull, match=f"full: make room at {full.disk}"):
            await WRITES[write](full)
        assert full.tree() == before
        assert left_behind(full.store) == []
    assert (await full.store.read(PLACE))[0] == BODY
    make_room(full.disk)
    await WRITES[write](full)


@pytest.mark.parametrize("write", list(FREEING))
async def test_what_frees_room_or_takes_something_away_is_written_all_the_same(full: House, write: str) -> None:
    assert len(list((full.store.root / ".reserve").iterdir())) == 8
    await FREEING[write](full)
    assert left_behind(full.store) == []
    make_room(full.disk)
    assert DiskReserve(full.store.root / ".reserve").keep()


def test_nobody_takes_the_reserve_again_while_another_one_needs_it(tmp_path: Path) -> None:
    """Be it another thread or another process: a server, and a command beside it."""
    one, other = DiskReserve(tmp_path / "reserve"), DiskReserve(tmp_path / "reserve")
    assert one.keep()
    assert other.keep()
    needed, seen = threading.Event(), []

    def spend() -> None:
        with other.spent():
            needed.wait(0.3)
            seen.extend((tmp_path / "reserve").iterdir())

    with one.spent():
        thread = threading.Thread(target=spend)
        thread.start()
        time.sleep(0.1)
    needed.set()
    thread.join()
    assert seen == []
    assert len(list((tmp_path / "reserve").iterdir())) == 8


async def test_many_deletions_in_a_row_find_room(full: House) -> None:
    """What they write is less than what they free, and the reserve is taken again on the way."""
    for number in (1, 2):
        await full.uploads.delete(f"demo-{number}.0-py3-none-any.whl")
        await full.tokens.revoke(full.token)
    assert len(list((full.store.root / ".reserve").iterdir())) == 8
    with pytest.raises(StoreFull):
        await full.store.put_if_absent(layout.package("fresh", "fresh.whl"), BODY * 20, {})


async def test_at_whatever_step_an_upload_finds_no_more_room_it_leaves_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """One more inode is free at each try: its draft, its folders, its facts, and their folders need some."""
    options, fill = FULL["no inodes"]
    with small_disk(tmp_path / "disk", options) as disk:
        here = House(disk, clock)
        await here.furnish()
        fill(disk)
        for number in range(20):
            before = here.tree()
            try:
                await here.store.put_if_absent(layout.metadata("0" * 64), BODY, {"sha256": "0"})
            except StoreFull:
                assert here.tree() == before
            else:
                break
            (disk / "filler" / str(number)).unlink()
        assert 3 <= number < 10
        here.spool.close()


async def test_it_opens_and_says_so(full: House, caplog: pytest.LogCaptureFixture) -> None:
    again = House(full.disk, full.clock)
    again.store.prepare()
    sentence = (
        f"the disk is full: make room at {full.store.root}: what is there is served, yanked and deleted, nothing new is kept"
    )
    assert sentence in caplog.text
    assert (await again.store.read(PLACE))[0] == BODY
    await again.uploads.delete(FILE)


async def test_a_spool_without_room_for_its_folder_takes_bodies_in_once_there_is(full: House) -> None:
    again = Spool(full.disk / "store" / ".spool", free=lambda _: 10**12)
    try:
        again.prepare()
    except StoreFull:
        with pytest.raises(StoreFull):
            again.new()
        assert again.problem() == f"the spool is full: make room at {full.disk / 'store' / '.spool'}"
    make_room(full.disk)
    assert again.problem() is None
    async with again.holding() as spooled:
        await spooled.append(BODY)
    again.close()


@pytest.fixture
def limited() -> Iterator[None]:
    """No file of this process may be longer than 2,000 bytes (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_limit_of_the_process_is_a_full_disk_too(tmp_path: Path, clock: FakeClock, limited: None) -> None:
    here = House(tmp_path, clock)
    here.store.prepare()
    here.spool.prepare()
    before = here.tree()
    for write in ("an upload", "core metadata", "a page's record, new", "a body in the spool"):
        with pytest.raises(StoreFull, match="full: make room at"):
            await WRITES[write](here)
        assert here.tree() == before
    await here.claims.claim("fresh", "uploads")
    here.spool.close()

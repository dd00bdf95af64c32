"""Disks on a bad day: full, read-only, taken away. Each is a small one of its own, mounted for the rows."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.faults.engine import NotInjected
from tests.faults.model import Expect, Fault, Known, Row, find_known
from tests.faults.site import Company, company, folder_company
from tests.faults.steps import BY_NAME

MIB = 1024 * 1024
_SIZE_BYTES = 200 * MIB


def no_mounts() -> str:
    return "" if os.geteuid() == 0 and shutil.which("mount") else "mounting a small disk needs root"


@contextmanager
def own_disk(folder: Path) -> Iterator[Company]:
    """A company whose first replica has a small disk for its own data; the store is a container."""
    with company(folder, data_bytes=_SIZE_BYTES) as made:
        yield made


@contextmanager
def store_disk(folder: Path) -> Iterator[Company]:
    """A company whose store is a small disk."""
    with folder_company(folder, _SIZE_BYTES) as made:
        yield made


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece_bytes in (MIB, 4096, 1):
            try:
                while file.write(bytes(piece_bytes)) == piece_bytes:
                    pass
            except OSError:
                pass
    try:
        yield
    finally:
        filler.unlink()


def spool_full(site: Company, _name: str) -> AbstractContextManager[None]:
    return _filled(site.server.data)


def store_full(site: Company, _name: str) -> AbstractContextManager[None]:
    return _filled(Path(site.store.place))


@contextmanager
def read_only(site: Company, _name: str) -> Iterator[None]:
    """Nothing can be made, changed or removed there. A busy disk refuses to be mounted again as read-only."""
    folders = [path for path in Path(site.store.place).rglob("*") if path.is_dir()]
    done = subprocess.run(["chattr", "+i", site.store.place, *folders], capture_output=True, text=True)
    try:
        if done.returncode:
            raise NotInjected(done.stderr)
        yield
    finally:
        subprocess.run(["chattr", "-i", site.store.place, *folders], check=True)


@contextmanager
def mount_lost(site: Company, _name: str) -> Iterator[None]:
    place = Path(site.store.place)
    subprocess.run(["umount", "-l", place], check=True)
    try:
        yield
    finally:
        for left in place.iterdir():  # what was written where the disk should be
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        subprocess.run(["mount", "--bind", place.with_name("disk"), place], check=True)


@contextmanager
def spool_gone(site: Company, _name: str) -> Iterator[None]:
    """The folders of this machine's own data are taken away, and come back."""
    aside = site.server.folder / "aside"
    aside.mkdir()
    taken = list(site.server.data.iterdir())
    for each in taken:
        shutil.move(each, aside / each.name)
    try:
        yield
    finally:
        for each in taken:
            shutil.rmtree(each, ignore_errors=True)
            shutil.move(aside / each.name, each)
        aside.rmdir()


_TMPFS = "tmpfs of 200 MiB"
SPOOL_FULL = Fault("spool-full", "the disk of this machine's own data is full to the byte", _TMPFS, spool_full, no_mounts)
SPOOL_GONE = Fault("data-gone", "the data folder is emptied behind the process", "rename", spool_gone, no_mounts)
STORE_FULL = Fault("store-full", "the disk of the store is full to the byte", _TMPFS, store_full, no_mounts)
READ_ONLY = Fault("read-only", "the store becomes read-only", "its folders are made immutable", read_only, no_mounts)
LOST = Fault("mount-lost", "the mount of the store is lost: an empty folder is there", "umount", mount_lost, no_mounts)

_READS = {
    "page": Expect((200,), 2.0),
    "page-after-change": Expect((200,)),
    "new-page": Expect((200,)),
    "own-page": Expect((200,), 2.0),
    "new-own-page": Expect((200,)),
    "stream": Expect((200,)),
    "range": Expect((206,)),
    "token": Expect((200,), 2.0),
    "cold-file": Expect((200,)),
    "metadata": Expect((200,)),
    "list": Expect((200,)),
    "readyz": Expect((200,), 7.0, retry_after=False),
}
"""A disk that takes nothing in can be read all the same."""
_NO_ROOM = (503, 507)
FULL_STORE = {
    **_READS,
    "claim": Expect((200, 503)),
    "upload": Expect(_NO_ROOM),
    "yank": Expect((200,)),
    "delete": Expect((200,)),
    "revoke": Expect((200,), retry_after=False),
    "restart": Expect((200,)),
}
FULL_SPOOL = {**_READS, "upload": Expect(_NO_ROOM), "yank": Expect((200,)), "delete": Expect((200,)), "restart": Expect((200,))}
EMPTY_DATA = {**_READS, "upload": Expect((200, 503)), "yank": Expect((200,)), "restart": Expect((200,))}
READ_ONLY_STORE = {
    **_READS,
    "readyz": Expect((200, 503), 7.0, retry_after=False),
    "claim": Expect((200, 503)),
    "upload": Expect((503,)),
    "yank": Expect((503,)),
    "delete": Expect((503,)),
    "revoke": Expect((503,), retry_after=False),
}
LOST_STORE = {
    "page": Expect((200,), 2.0),
    "own-page": Expect((200,), 2.0),
    "new-page": Expect((503,)),
    "new-own-page": Expect((503,)),
    "stream": Expect((503,)),
    "metadata": Expect((200, 503)),
    "claim": Expect((200, 503)),
    "readyz": Expect((503,), 7.0, retry_after=False),
    "upload": Expect((503,)),
}
"""An empty folder where a store was says nothing of what is not in it."""
QUICK = {"spool-full/cold-file", "store-full/new-page", "store-full/delete", "store-full/revoke"}
KNOWN: dict[str, Known] = {}


def _rows() -> Iterator[Row]:
    for fault, table, site in (
        (SPOOL_FULL, FULL_SPOOL, own_disk),
        (SPOOL_GONE, EMPTY_DATA, own_disk),
        (STORE_FULL, FULL_STORE, store_disk),
        (READ_ONLY, READ_ONLY_STORE, store_disk),
        (LOST, LOST_STORE, store_disk),
    ):
        for step, expect in table.items():
            name = f"{fault.name}/{step}"
            yield Row(
                group="disk",
                fault=fault,
                step=BY_NAME[step],
                expect=replace(expect, recovers_s=8.0),
                open_site=site,
                quick=name in QUICK,
                known=find_known(name, KNOWN),
            )


ROWS = list(_rows())

"""Lists are packed behind the answer, and what they took goes back to the system."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.sources import listed
from wheelgate.core.file_list import FileList
from wheelgate.core.model import LocalFile
from wheelgate.runtime.malloc import give_back, keep_little
from wheelgate.web.packing import Packing


def some(count: int = 3) -> FileList:
    return FileList(listed("demo", f"{number}.0") for number in range(count))


async def test_lists_and_those_they_were_made_of_are_packed_soon() -> None:
    packing = Packing()
    source = some(600)
    lists = [FileList(source, [source]), some()]
    for files in lists:
        packing.later(files)
        packing.later(files)
    assert all(files.list_unpacked() for files in lists), "whoever waits for the page comes first"
    async with asyncio.timeout(5):
        while any(files.list_unpacked() for files in (source, *lists)):
            await asyncio.sleep(0.01)
    packing.later(later := some())
    async with asyncio.timeout(5):
        while later.list_unpacked():
            await asyncio.sleep(0.01)
    await packing.close()


async def test_one_that_cannot_be_packed_holds_up_no_other() -> None:
    packing = Packing()
    odd = FileList([msgspec.structs.replace(listed("demo", "1.0"), location=LocalFile("caf\udce9/demo.whl", "1"))])
    packing.later(odd)
    packing.later(files := some())
    async with asyncio.timeout(5):
        while files.list_unpacked():
            await asyncio.sleep(0.01)
    assert len(list(odd)) == 1
    await packing.close()


async def test_closing_leaves_the_rest_as_it_is() -> None:
    packing = Packing()
    packing.later(files := some())
    await packing.close()
    await asyncio.sleep(0.1)
    assert files.list_unpacked()
    assert len(files) == 3


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_free_memory_goes_back_to_the_system() -> None:
    keep_little()
    blocks = [bytes(10_000) for _ in range(10_000)]
    kept = blocks[::100]
    full = resident_bytes()
    del blocks
    give_back()
    assert full - resident_bytes() > 80_000_000
    assert len(kept) == 100

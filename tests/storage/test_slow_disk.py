"""Large bodies on a disk that is slow to keep them: a request waits as long as so many bytes may take, and no longer."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from wheelgate.core.errors import BlobNotFound
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.deadline import TooLate, limiting_request
from wheelgate.storage.local import LocalStore

PLACE = "packages/demo/demo-1.0.tar.gz"
REQUEST_S, SLOW_S = 0.1, 2.0
"""A request is cut off a second after its deadline."""


class SlowDisk:
    """A store whose disk takes long to make the first body durable, and a body of some size for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = LocalStore(folder / "store")
        self.store.prepare()
        self.body = folder / "body"
        self.steps: list[str] = []
        self._sync = os.fsync
        monkeypatch.setattr(os, "fsync", self._sync_slowly)

    def _sync_slowly(self, descriptor: int) -> None:
        if not self.steps:
            self.steps.append("begun")
            time.sleep(SLOW_S)
            self.steps.append("durable")
        self._sync(descriptor)

    async def put(self, size: int) -> BlobInfo:
        with self.body.open("wb") as file:
            file.truncate(size)  # without a block on the real disk

        async def note() -> None:
            self.steps.append("before commit")

        async with limiting_request(lambda: False, REQUEST_S):
            return await self.store.put_if_absent(PLACE, self.body, {}, before_commit=note)

    def list_drafts(self) -> list[Path]:
        return list((self.store.root / ".incoming").iterdir())


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(tmp_path, monkeypatch)


async def test_a_large_body_has_the_time_that_it_takes(disk: SlowDisk) -> None:
    size = 64 * 1024 * 1024
    assert (await disk.put(size)).size == size
    assert disk.steps == ["begun", "durable", "before commit"], "others are told right before it can be seen"
    assert not disk.list_drafts()


async def test_whoever_waits_for_a_small_one_is_cut_off_and_nothing_is_stored(disk: SlowDisk) -> None:
    with pytest.raises(TooLate):
        await disk.put(1_000)
    assert disk.list_drafts(), "its thread goes on"
    async with asyncio.timeout(2 * SLOW_S):
        while disk.list_drafts():
            await asyncio.sleep(0.05)
    assert disk.steps == ["begun", "durable"]
    with pytest.raises(BlobNotFound):
        await disk.store.info(PLACE)
    assert (await disk.put(1_000)).size == 1_000

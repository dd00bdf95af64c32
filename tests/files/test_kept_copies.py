"""Kept copies of which more is stated now than when they were kept: compared once, in nobody's time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.support.sources import listed
from tests.support.stores import WatchedStore
from wheelgate.core.errors import FileWithheld, StoreError
from wheelgate.core.model import File
from wheelgate.files.kept_copies import KeptCopies
from wheelgate.storage import layout

BODY = b"a wheel" * 1_000
SHA256, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def copies(store: WatchedStore) -> AsyncIterator[KeptCopies]:
    copies = KeptCopies(store, {})
    yield copies
    await copies.close()


async def keep(store: WatchedStore, md5: str = MD5) -> File:
    """Keep a copy as it was kept when its digest alone was known, and list it with one more."""
    file = listed("demo", "1.0", hashes={"sha256": SHA256, "md5": md5})
    await store.put_if_absent(layout.cache_copy(file.source, file.project, file.filename), BODY, {"sha256": SHA256})
    return file


async def test_a_copy_of_which_more_is_stated_now_is_read_back_once(store: WatchedStore, copies: KeptCopies) -> None:
    file = await keep(store)
    found = await asyncio.gather(*(copies.find(file) for _ in range(20)))
    assert all(copy is not None and copy.size == len(BODY) for copy in found)
    for _ in range(3):
        copies.forget()
        assert await copies.find(file) is not None
    assert store.count("stream") == 1


async def test_a_copy_that_is_something_else_is_withheld(store: WatchedStore, copies: KeptCopies) -> None:
    file = await keep(store, "0" * 32)
    for _ in range(3):
        with pytest.raises(FileWithheld, match=f"our copy of it has the md5 {MD5}"):
            await copies.find(file)
    assert store.count("stream") == 1


async def test_what_cannot_be_read_back_now_is_tried_again(store: WatchedStore, copies: KeptCopies) -> None:
    file = await keep(store)
    store.fails = lambda method, path: method == "stream"
    with pytest.raises(StoreError, match="try again"):
        await copies.find(file)
    store.up()
    assert await copies.find(file) is not None


async def test_reading_back_goes_on_when_whoever_waits_has_left(store: WatchedStore, copies: KeptCopies) -> None:
    file = await keep(store)
    begun, left = asyncio.Event(), asyncio.Event()
    inner = store.inner.stream

    async def slow(path: str, start: int, end: int) -> AsyncIterator[bytes]:
        begun.set()
        await left.wait()
        async for chunk in inner(path, start, end):
            yield chunk

    store.inner.stream = slow  # type: ignore[method-assign]
    asking = asyncio.create_task(copies.find(file))
    await begun.wait()
    asking.cancel()
    await asyncio.wait([asking])
    left.set()
    assert await copies.find(file) is not None
    assert store.count("stream") == 1

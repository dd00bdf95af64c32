"""Kept copies of which more is stated now than when they were kept: compared once, in nobody's time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.packages import wheel_bytes
from tests.support.sources import listed
from tests.support.stores import WatchedStore
from wheelgate.core.errors import FileWithheld, StoreError
from wheelgate.core.model import File
from wheelgate.files.kept_copies import KeptCopies
from wheelgate.files.vouching import Voucher
from wheelgate.storage import layout
from wheelgate.storage.spool import Spool

BODY = b"a wheel" * 1_000
SHA256, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def copies(store: WatchedStore, tmp_path: Path) -> AsyncIterator[KeptCopies]:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    copies = KeptCopies(store, {}, places={"fake": "here"}, spool=spool, voucher=Voucher())
    yield copies
    await copies.close()
    spool.close()


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


# --- copies of which no digest is stated

WHEEL = wheel_bytes("demo", "1.0", padding=200_000)
OURS = hashlib.sha256(WHEEL).hexdigest()


async def put(store: WatchedStore, file: File, body: bytes, **facts: str) -> str:
    path = layout.cache_copy(file.source, file.project, file.filename)
    await store.put_if_absent(path, body, {"sha256": hashlib.sha256(body).hexdigest(), **facts})
    return path


def unstated(**known: object) -> File:
    return listed("demo", "1.0", hashes={}, **known)


@pytest.mark.parametrize("stated", [{"sha256": "0" * 64}, {"sha512": "0" * 128}], ids=["sha256", "another algorithm"])
async def test_an_observed_copy_gives_way_to_what_is_stated_and_no_other_does(
    store: WatchedStore, copies: KeptCopies, stated: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = await put(store, unstated(), WHEEL, standing="observed")
    assert await copies.find(unstated()) is not None
    file = listed("demo", "1.0", hashes=stated)
    assert await copies.find(file) is None
    assert f"ALARM: source {file.source} states the {next(iter(stated))} 000" in caplog.text
    assert [blob async for blob in store.inner.list(path)] == []
    await put(store, file, WHEEL)  # as one that came by a stated digest, or by an earlier release
    copies.forget()
    with pytest.raises(FileWithheld):
        await copies.find(file)


async def test_an_observed_copy_that_has_what_is_stated_stays(store: WatchedStore, copies: KeptCopies) -> None:
    await put(store, unstated(), WHEEL, standing="observed")
    right = hashlib.sha512(WHEEL).hexdigest()
    for hashes in ({"sha256": OURS}, {"sha512": right}, {"sha256": OURS, "sha512": right}):
        assert await copies.find(listed("demo", "1.0", hashes=hashes)) is not None


async def test_what_an_earlier_release_kept_is_looked_through_once(store: WatchedStore, copies: KeptCopies) -> None:
    path = await put(store, unstated(), WHEEL)
    for _ in range(3):
        assert await copies.find(unstated()) is not None
        copies.forget()
    assert store.count("stream") == 1
    assert (await store.info(path)).facts["standing"] == "whole"
    # That it is whole says nothing of who vouched for it then: it does not give way.
    with pytest.raises(FileWithheld, match="never changes its content"):
        await copies.find(listed("demo", "1.0", hashes={"sha256": "0" * 64}))


@pytest.mark.parametrize("body", [b"Down for maintenance", WHEEL[:-30], wheel_bytes("demo", "2.0")], ids=["text", "cut", "other"])
async def test_rubbish_that_an_earlier_release_kept_is_withheld(store: WatchedStore, copies: KeptCopies, body: bytes) -> None:
    await put(store, unstated(), body)
    for _ in range(2):
        with pytest.raises(FileWithheld, match=r"wheelgate cache forget demo demo-1\.0-py3-none-any\.whl"):
            await copies.find(unstated())
    assert await copies.find(listed("demo", "1.0", hashes={"sha256": hashlib.sha256(body).hexdigest()})) is not None


# --- copies of a source that moved to another address


async def test_a_copy_of_another_place_is_taken_only_if_what_is_stated_proves_it(store: WatchedStore, copies: KeptCopies) -> None:
    for file, is_taken in (
        (listed("demo", "1.0", hashes={"sha256": OURS}), True),
        (listed("demo", "1.0", hashes={"sha256": "0" * 64}), False),
        (unstated(), False),
    ):
        copies.forget()
        path = await put(store, file, WHEEL, standing="observed", place="elsewhere")
        assert (await copies.find(file) is not None) == is_taken
        assert [blob.path async for blob in store.inner.list(path)] == ([path] if is_taken else [])
        await store.delete(path)

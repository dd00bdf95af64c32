"""The plain folder: whole bodies under their names, and nothing left beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.storage.folder import INCOMING, FolderStore
from wheelgate.storage.spool import Spool

BODY = hashlib.shake_128(b"x").digest(3 * 1024 * 1024 + 5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    made = FolderStore(tmp_path / "bundle")
    spool = Spool(made.root / INCOMING)
    spool.prepare()
    made.write_through(spool.folder)
    yield made
    spool.close()


@pytest.mark.parametrize("spooled", [False, True], ids=["bytes", "file"])
async def test_a_body_is_read_back(store: FolderStore, tmp_path: Path, spooled: bool) -> None:
    body = tmp_path / "elsewhere"
    body.write_bytes(BODY)
    await store.put_if_absent("demo/demo-1.0.tar.gz", body if spooled else BODY, {"upload_time": "2025-01-01T00:00:00+00:00"})
    assert (store.root / "demo" / "demo-1.0.tar.gz").read_bytes() == BODY
    read, info = await store.read("demo/demo-1.0.tar.gz")
    assert read == BODY
    assert (info.size, info.created.year, info.facts) == (len(BODY), 2025, {})
    assert b"".join([chunk async for chunk in store.stream(info.path, 5, len(BODY) - 3)]) == BODY[5:-3]
    with pytest.raises(BlobExists):
        await store.put_if_absent("demo/demo-1.0.tar.gz", b"other", {})
    assert await store.info(info.path) == info
    assert [found.path async for found in store.list("demo/")] == [info.path]
    await store.delete(info.path)
    await store.delete(info.path)
    with pytest.raises(BlobNotFound):
        await store.read(info.path)


async def test_a_record_is_replaced_by_who_read_it_last(store: FolderStore) -> None:
    first = await store.replace_if("m.json", b"1", None)
    with pytest.raises(BlobChanged):
        await store.replace_if("m.json", b"2", None)
    second = await store.replace_if("m.json", b"2", first)
    with pytest.raises(BlobChanged):
        await store.replace_if("m.json", b"3", first)
    assert (await store.read("m.json"))[0] == b"2"
    assert first != second


async def test_nothing_hidden_is_listed_and_nothing_is_left(store: FolderStore) -> None:
    await store.put_if_absent("a/a-1.tar.gz", b"a", {})
    (store.root / ".git").mkdir()
    (store.root / ".git" / "x").write_bytes(b"")
    assert [found.path async for found in store.list("")] == ["a/a-1.tar.gz"]
    assert not [path for path in (store.root / INCOMING).rglob("*") if path.is_file() and path.name != ".lock"]


async def test_what_cannot_be_used_is_said(tmp_path: Path, store: FolderStore) -> None:
    with pytest.raises(StoreError, match="was opened to be read"):
        await FolderStore(tmp_path / "bundle").put_if_absent("a/b", b"", {})
    with pytest.raises(StoreError, match="no such file"):
        _ = [found async for found in FolderStore(tmp_path / "nowhere").list("")]
    (store.root / "file").write_bytes(b"")
    with pytest.raises(BlobNotFound):
        await store.info("file/below")
    with pytest.raises(StoreError, match="cannot be used"):
        await store.put_if_absent("file/below", b"", {})

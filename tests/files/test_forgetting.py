"""Forgetting of a file: everything that could speak for its former bytes is gone, however it was kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import WatchedStore
from wheelgate.core.errors import BlobNotFound
from wheelgate.core.urls import place_key
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import ExtractedMetadata, FileRecord, Observation, ProjectRecord
from wheelgate.files.forgetting import find_remembered, forget_file
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges

SOURCE, INDEX, PROJECT, WHEEL = "team", "https://feed.example/simple/", "demo", "demo-1.0-py3-none-any.whl"
PLACE, DIGEST = f"https://feed.example/files/{WHEEL}", "d" * 64
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MADE = ExtractedMetadata(at=NOW, of=PLACE, metadata_sha256="e" * 64, requires_python=None)
BY_PLACE = layout.located_metadata(SOURCE, PROJECT, WHEEL, PLACE)
EARLIER = layout.located_metadata(SOURCE, PROJECT, WHEEL, f"{PLACE}?signed=1")
OTHERS = layout.located_metadata(SOURCE, PROJECT, "demo-2.0-py3-none-any.whl", PLACE)
BY_DIGEST = layout.upstream_metadata(layout.home_of(SOURCE, place_key(INDEX)), DIGEST)


@pytest.mark.parametrize(
    ("record", "has_copy", "path"),
    [
        (FileRecord(NOW, {}, NOW, made=MADE), False, BY_PLACE),
        (FileRecord(NOW, {}, NOW, observed=Observation(NOW, PLACE, 7)), False, BY_PLACE),
        (FileRecord(NOW, {}, NOW, made=MADE), False, EARLIER),
        (FileRecord(NOW, {"sha256": DIGEST}, NOW), False, EARLIER),
        (FileRecord(NOW, {"sha256": DIGEST}, NOW), False, BY_DIGEST),
        (FileRecord(NOW, {"sha256": DIGEST}, NOW, made=MADE), False, BY_PLACE),
        (None, True, BY_DIGEST),
    ],
    ids=[
        "by place",
        "by place, observed",
        "by an earlier place",
        "stated since",
        "by digest",
        "by place, before a digest was stated",
        "only a copy is there",
    ],
)
async def test_core_metadata_is_forgotten_however_it_was_kept(record: FileRecord | None, has_copy: bool, path: str) -> None:
    store, clock = WatchedStore(), FakeClock()
    await store.put_if_absent(path, b"Name: demo", {})
    await store.put_if_absent(OTHERS, b"Name: other", {})
    if record is not None:
        await ProjectRecords(store, SOURCE, url=INDEX).write(PROJECT, ProjectRecord({WHEEL: record}), None)
    if has_copy:
        await store.put_if_absent(layout.cache_copy(SOURCE, PROJECT, WHEEL), b"wheel", {"sha256": DIGEST})
    (found,) = await find_remembered(store, [(SOURCE, INDEX)], PROJECT, WHEEL)
    await forget_file(store, StoreChanges(store, clock), found, clock.now())
    with pytest.raises(BlobNotFound):
        await store.read(path)
    assert await store.read(OTHERS), "of another file"

"""What is remembered of a source at one address is not taken for that of another: so is what former releases kept by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.packages import wheel_name
from tests.support.sources import FakeSource
from tests.support.stores import INDEX, WatchedStore, home_of
from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.core.urls import place_key
from wheelgate.enrich.enriched import EnrichedSource
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.kept_pages import pack
from wheelgate.enrich.record_store import ProjectRecords, encode
from wheelgate.enrich.records import FileRecord, ProjectRecord
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout

NAME, WHEEL = "acme-lib", wheel_name("acme-lib", "1.0")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = "https://other.example.com/simple/"


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def keep_former(store: WatchedStore, noted: str | None) -> None:
    """Keep a record as former releases did, and their note of the address."""
    fake = FakeSource("team", FakeClock())
    fake.publish(NAME, "1.0")
    page = await fake.project_page(NAME)
    record = ProjectRecord({WHEEL: FileRecord(NOW, {"sha256": "ab" * 32}, NOW)}, pack(page))
    await store.replace_if(layout.record("team", NAME), encode(record), None)
    if noted is not None:
        note = msgspec.json.encode({"version": 1, "url": noted, "projects": [NAME]})
        await store.replace_if(layout.known_projects("team"), note, None)


@pytest.mark.parametrize(
    ("noted", "files", "has_page"),
    [(INDEX, {WHEEL}, True), (INDEX.rstrip("/"), {WHEEL}, True), (OTHER, set(), False), (None, {WHEEL}, False)],
    ids=["here", "another spelling", "elsewhere", "nowhere"],
)
async def test_what_is_believed_of_a_former_record(
    store: WatchedStore, noted: str | None, files: set[str], has_page: bool
) -> None:
    await keep_former(store, noted)
    former = store.inner.blobs[layout.record("team", NAME)]  # type: ignore[attr-defined]
    records = ProjectRecords(store, "team", url=INDEX)
    stored = await records.read(NAME)
    assert (set(stored.record.files), stored.record.page is not None, stored.etag) == (files, has_page, None)
    await records.write(NAME, stored.record, stored.etag)
    assert store.inner.blobs[layout.record("team", NAME)] == former, "replicas of that release go on with it"  # type: ignore[attr-defined]
    assert (await records.read(NAME)).record == stored.record
    assert (await ProjectRecords(store, "team", url=OTHER).read(NAME)).record.files.keys() == (
        {WHEEL} if noted in (OTHER, None) else set()
    )


async def test_a_damaged_former_record_is_as_good_as_none(store: WatchedStore) -> None:
    await store.replace_if(layout.record("team", NAME), b"wheelgate record 9\nnobody knows", None)
    assert (await ProjectRecords(store, "team", url=INDEX).read(NAME)).record == ProjectRecord({})
    await store.replace_if(layout.record("team", "other"), b"half of it", None)
    assert (await ProjectRecords(store, "team", url=INDEX).read("other")).record == ProjectRecord({})


async def test_where_there_are_no_former_records_nobody_looks_for_them_again(store: WatchedStore) -> None:
    records = ProjectRecords(store, "team", url=INDEX)
    for number in range(10):
        await records.read(f"name-{number}")
    assert store.count("read") == 10
    assert store.count("list_folder") == 1


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("https://index.example.com/simple/", "https://INDEX.example.com:443/simple", True),
        ("https://index.example.com/simple/", "http://index.example.com/simple/", False),
        ("https://index.example.com/a/simple/", "https://index.example.com/b/simple/", False),
        ("https://index.example.com/Simple/", "https://index.example.com/simple/", False),
        (
            "https://pkgs.dev.azure.com/Acme/_packaging/team/pypi/simple/",
            "https://acme.pkgs.visualstudio.com/_packaging/team/pypi/simple/",
            True,
        ),
        ("/srv/wheels", "/srv/wheels2", False),
    ],
)
def test_an_address_is_one_in_all_its_spellings(one: str, other: str, are_same: bool) -> None:
    assert (place_key(one) == place_key(other)) == are_same


async def test_a_source_that_moved_begins_anew_and_finds_what_was_kept_when_it_moves_back(
    store: WatchedStore, clock: FakeClock
) -> None:
    async def files_at(url: str, fake: FakeSource) -> dict[str, str]:
        history = FileHistory(ProjectRecords(store, "team", url=url), clock=clock, delay_s=0.001)
        cached = Cached(fake, clock=clock, metrics=Metrics(), fresh_s=60, negative_ttl_s=60, find_kept=history.find_last_good)
        source = EnrichedSource(cached, memory=history, clock=clock, metrics=Metrics())
        try:
            return {file.filename: file.hashes["sha256"] for file in (await source.project_page(NAME)).files}
        finally:
            await source.close()
            await cached.close()
            await history.close()
            clock.move(timedelta(minutes=2).total_seconds())

    here, there = FakeSource("team", clock), FakeSource("team", clock)
    here.publish(NAME, "1.0", content="ours")
    there.publish(NAME, "1.0", content="theirs")
    ours = await files_at(INDEX, here)
    there.fail()
    with pytest.raises(UpstreamUnavailable):
        await files_at(OTHER, there)  # nothing of the other place stands in
    there.mend()
    theirs = await files_at(OTHER, there)
    assert theirs != ours
    assert theirs, "and nothing there is withheld for what it had here"
    assert await files_at(INDEX, there) == {}, "but at either place a file keeps its bytes"
    assert await files_at(INDEX, here) == ours
    assert home_of("team") != home_of("team", OTHER)

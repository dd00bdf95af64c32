"""Records: small, exact, and the same whoever merges them."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from isal import isal_zlib

from tests.support.packages import sha256
from tests.support.sources import content
from tests.support.stores import INDEX, WatchedStore, home_of
from wheelgate.core.errors import BlobChanged
from wheelgate.core.model import File, ProjectPage, ProjectStatus, RemoteFile, Withheld
from wheelgate.enrich.file_memory import ProjectState
from wheelgate.enrich.kept_pages import pack
from wheelgate.enrich.record_store import NewerRecord, ProjectRecords, StoredRecord, decode, encode
from wheelgate.enrich.records import (
    BlobVersion,
    ExtractedMetadata,
    FileRecord,
    Files,
    KeptPage,
    Observation,
    ProjectRecord,
    SeenBody,
    contradicts,
    merge_file_records,
    merge_files,
    merge_forgotten,
)
from wheelgate.storage import layout

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT, SOURCE = "acme-lib", "team"
VERSION_2 = (
    "kwLEe3hemzZpZaKuoZ6BXnlGzppkMKsksUgvveqIw6npjUKnpPee+nXIcPMs5Tu+y9ve/xCp8Sva2VDeuv6dx24GAmDStf+ZoTsZwSQDKkfwQB"
    "PDpANTwGIMSwtyEpNTbzokJlEGl9rZGutZMk5qXJybYnpTwYAAOAAATNZZmpPW/2lVuQDW/2lUZ4DEq5UBkaMxLjDAAJHEn3hePcvBCcIwFABQ"
    "HMEhPDZp0rRJPbmEA/z8/tBCQosN2KsjCB49StERvAWHEDqNggff/Z2vD8gEy9mx9XfAQJnv7C0ShMt8oNBHWjZtjMO45dx1nkZGE4TBE8M+8I"
    "n/8++k0zy2IMtq2SHU2gghEYS1DYIDlIWwRQ2yaFA1oE1FzhmhNCrS0tYm19qU4IiUsXb9/nT75yql9EpfEyM81g=="
)


def row(at_s: int = 0, digest: str = "1", **known: object) -> FileRecord:
    at = NOW + timedelta(seconds=at_s)
    return msgspec.structs.replace(FileRecord(at, {"sha256": sha256(digest.encode())}, at), **known)


def file(name: str, seen: FileRecord, **known: object) -> File:
    made = File(
        filename=name,
        project=PROJECT,
        source=SOURCE,
        location=RemoteFile(f"https://files.example.com/x/{name}", SOURCE),
        hashes=seen.hashes,
        upload_time=seen.uploaded,
        size=seen.size,
    )
    return msgspec.structs.replace(made, **known)


def page(*files: File, as_of: datetime = NOW, **known: object) -> ProjectPage:
    made = ProjectPage(project=PROJECT, files=files, versions=("1.0",), as_of=as_of, known_since=NOW - timedelta(days=1))
    return msgspec.structs.replace(made, **known)


# --- what is first seen stays

moments = st.integers(0, 5).map(lambda hours: NOW + timedelta(hours=hours))
digests = st.dictionaries(st.sampled_from(["sha256", "md5"]), st.sampled_from(["aa" * 32, "bb" * 32]))
readings = st.none() | st.builds(
    ExtractedMetadata, moments, st.sampled_from(["x", "y"]), st.none() | st.just("cc" * 32), st.none()
)
versions = st.none() | st.builds(BlobVersion, st.sampled_from(["p", "q"]), st.sampled_from(["e", "f"]))
bodies = st.none() | st.builds(SeenBody, moments, st.sampled_from(["aa" * 32, "bb" * 32]), st.sampled_from([1, 2]))
plain_rows = st.builds(FileRecord, moments, digests, moments, st.none() | st.sampled_from([1, 2]), readings)
observed_rows = st.builds(FileRecord, moments, st.just({}), moments, st.none(), readings, st.none(), st.none(), bodies)
rows = plain_rows | observed_rows
blob_rows = st.builds(FileRecord, moments, digests, moments, st.none() | st.sampled_from([1, 2]), readings, versions)
records = st.dictionaries(st.sampled_from(["a", "b", "c"]), rows | blob_rows)


@given(records, records)
def test_merging_gives_the_same_in_either_order(one: Files, other: Files) -> None:
    assert merge_files(one, other) == merge_files(other, one)


# One upstream of one moment that states one digest with two sizes.
@example({"a": FileRecord(NOW, {"md5": "bb"}, NOW, 2, None)}, {"a": FileRecord(NOW, {"sha256": "aa", "md5": "bb"}, NOW, 1, None)})
@given(records, records)
def test_merging_again_changes_nothing(one: Files, other: Files) -> None:
    joined = merge_files(one, other)
    assert merge_files(one, one) == one
    assert merge_files(joined, other) == joined
    assert merge_files(joined, one) == joined


@given(st.lists(records, min_size=1, max_size=5))
def test_times_never_move_later_and_no_name_is_forgotten(many: list[Files]) -> None:
    joined: Files = {}
    for one in many:
        before, joined = joined, merge_files(joined, one)
        for name, seen in (before | one).items():
            known = before.get(name, seen)
            assert joined[name].at <= known.at or joined[name].blob != known.blob
            assert joined[name].uploaded <= known.uploaded


@given(rows, st.lists(rows, max_size=5))
def test_digests_never_change_whatever_is_seen_later(first: FileRecord, later: list[FileRecord]) -> None:
    known = first
    for seen in later:
        known = merge_file_records(known, msgspec.structs.replace(seen, at=first.at + timedelta(seconds=1)))
        assert known.hashes.items() >= first.hashes.items()
        assert first.size is None or known.size == first.size


@given(observed_rows, observed_rows, plain_rows)
def test_what_is_stated_stands_before_what_was_observed_whoever_was_first(
    one: FileRecord, other: FileRecord, stated: FileRecord
) -> None:
    seen = merge_file_records(one, other)
    assert seen.body == min(
        (body for body in (one.body, other.body) if body is not None), key=lambda body: body.at, default=None
    ) or (one.body is not None and other.body is not None and one.body.at == other.body.at)
    merged = merge_file_records(seen, stated)
    assert merged.hashes == stated.hashes
    assert merged.body is None or (not stated.hashes and stated.size in (None, merged.body.size))


def test_a_release_that_knows_nothing_of_observed_bodies_reads_a_record_that_has_some() -> None:
    """And writes it without them: what is observed is found again."""

    class FormerRest(msgspec.Struct, array_like=True, omit_defaults=True):
        hashes: dict[str, str] | None = None
        made: ExtractedMetadata | None = None
        blob: BlobVersion | None = None
        observed: Observation | None = None

    class FormerBody(msgspec.Struct, array_like=True):
        version: int
        rows: bytes
        page: KeptPage | None

    row_of = FileRecord(NOW, {}, NOW, observed=Observation(NOW, "x", 7), body=SeenBody(NOW, "aa" * 32, 7))
    stored = encode(ProjectRecord({"a": row_of}, None, {"b": NOW}))
    assert decode(stored).files["a"] == row_of
    body = msgspec.msgpack.decode(stored.partition(b"\n")[2], type=FormerBody)
    rest = msgspec.msgpack.decode(isal_zlib.decompress(body.rows))[5]
    assert msgspec.convert(rest[0], FormerRest).observed == row_of.observed


def test_other_bytes_are_told_by_a_digest_in_common_or_else_by_their_size() -> None:
    seen = FileRecord(NOW, {"sha256": "aa", "md5": "cc"}, NOW, 7)
    assert not contradicts(seen, {"sha256": "aa"}, 8), "sizes in listings may be wrong; digests say more"
    assert contradicts(seen, {"sha256": "bb"}, 7)
    assert contradicts(seen, {"sha256": "aa", "md5": "dd"}, 7)
    assert contradicts(seen, {"sha512": "aa"}, 8)
    assert contradicts(seen, {}, 8)
    assert not contradicts(seen, {}, 7)
    assert not contradicts(seen, {}, None)
    assert not contradicts(FileRecord(NOW, {}, NOW), {"sha256": "aa"}, 8)


# --- bytes


def test_a_record_is_read_as_it_was_written() -> None:
    files: Files = {
        "a-1.0.whl": row(1, "a", size=17, made=ExtractedMetadata(NOW, "place", "ab" * 32, ">=3.9")),
        "b-1.0.whl": row(2, "b", uploaded=NOW - timedelta(days=900, microseconds=1)),
        "c-1.0.tar.gz": FileRecord(NOW, {}, NOW),
        "d-1.0.tar.gz": FileRecord(NOW, {"md5": "00" * 16}, NOW),
        "e-1.0.tar.gz": FileRecord(NOW, {"md5": "00" * 16, "sha256": "12" * 32}, NOW, made=ExtractedMetadata(NOW, "x", None)),
        "f-1.0.tar.gz": row(3, "f", blob=BlobVersion("deep/f-1.0.tar.gz", "0x8D")),
    }
    listed = page(
        file("c-1.0.tar.gz", files["c-1.0.tar.gz"], yanked="", requires_python=">=3.8"),
        file("a-1.0.whl", files["a-1.0.whl"], core_metadata={}, provenance="https://index.example.com/p"),
        file("e-1.0.tar.gz", files["e-1.0.tar.gz"], core_metadata={"sha256": "34" * 32}, yanked="broken"),
        file("d-1.0.tar.gz", files["d-1.0.tar.gz"], location=RemoteFile("https://api.example.com/7", SOURCE, "bytes")),
        status=ProjectStatus("archived", "done"),
        dropped=3,
    )
    kept = pack(listed)
    read = decode(encode(ProjectRecord(files, kept)))
    assert read.files == files
    assert read.page == kept
    assert read.page is not None
    assert read.page.mark == kept.mark


async def test_a_kept_page_comes_back_whole() -> None:
    seen = {f"{name}.whl": row(digest=name, size=5) for name in "abc"}
    files = [file(name, row) for name, row in seen.items()]
    swapped = msgspec.structs.replace(files[0], hashes={"sha256": "99" * 32})
    withheld = (Withheld("d.whl", SOURCE, "digest", "as it states none that is one"), Withheld("e.whl", SOURCE, "x", "y"))
    listed = page(swapped, *files[1:], withheld=withheld)
    kept = pack(listed)
    again = await ProjectRecords(WatchedStore(), SOURCE, url=INDEX).unpack_page(
        PROJECT, decode(encode(ProjectRecord(seen, kept))).page or kept
    )
    assert content(again) == content(listed), "also the digest that is not the first seen: it must be judged again"


async def test_a_kept_page_that_cannot_be_read_whole_is_none() -> None:
    files = [file(f"{number}.whl", row(digest=f"{number}")) for number in range(200)]
    records, kept = ProjectRecords(WatchedStore(), SOURCE, url=INDEX), pack(page(*files))
    assert content(await records.unpack_page(PROJECT, kept)) == content(page(*files))
    assert await records.unpack_page("another", kept) is None
    damaged = [
        b"",
        kept.body[:-1],
        kept.body[: len(kept.body) // 2],
        kept.body.replace(b"\x95\x01", b"\x95\x7f", 1),
        *(kept.body[:at] + bytes([kept.body[at] ^ 1]) + kept.body[at + 1 :] for at in range(100, len(kept.body), 997)),
    ]
    for body in damaged:
        assert await records.unpack_page(PROJECT, msgspec.structs.replace(kept, body=body)) is None


def test_deep_nesting_and_moments_without_an_offset_are_damage() -> None:
    nested = b"\x91" * 100_000 + b"\xc0"
    empty, naive = encode(ProjectRecord({})), KeptPage(NOW.replace(tzinfo=None), None, b"")
    for body in (empty.replace(b"\n\x93", b"\n\x94") + nested, encode(ProjectRecord({}, naive))):
        with pytest.raises(ValueError, match="damaged"):
            decode(body)


def test_equal_pages_have_one_mark() -> None:
    files = [file("a.whl", row()), file("b.whl", row(2, "b"))]
    mark = pack(page(*files)).mark
    assert pack(page(*files)).mark == mark
    assert pack(page(*files[:1])).mark != mark
    assert pack(page(*reversed(files))).mark != mark


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\x1f\x8b\x08",
        b"wheelgate record 3",
        b"wheelgate record 3\n",
        b"wheelgate record 99",
        b"wheelgate record 2\n" + encode(ProjectRecord({})),
        encode(ProjectRecord({}))[:-3],
        encode(ProjectRecord({"a": row()}))[:-9] + bytes(9),
        b"{",
        b"[]",
        b"null",
        b'{"a": {}}',
        b'{"\xff": 1}',
        b"\xff\xfe\x00",
        b'{"a": {"etag": "e", "sha256": "1", "seen": "2026-01-01T00:00:00Z"}}',
        b'{"a": {"etag": "e", "sha256": "%b", "seen": "yesterday"}}' % (b"1" * 64),
        b'{"a": {"etag": "e", "sha256": "%b", "seen": "2026-01-01T00:00:00"}}' % (b"1" * 64),
    ],
)
def test_what_is_no_record_is_said_so(body: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        decode(body)


async def test_a_damaged_record_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    store, path = WatchedStore(), layout.record(home_of(SOURCE), PROJECT)
    await store.put_if_absent(path, b"{", {})
    stored = await ProjectRecords(store, SOURCE, url=INDEX).read(PROJECT)
    assert (stored.record, stored.etag is not None, stored.is_left_alone) == (ProjectRecord({}), True, False)
    assert f"source team: the record {path} cannot be read, so it begins anew: it is damaged" in caplog.text
    await ProjectRecords(store, SOURCE, url=INDEX).write(PROJECT, ProjectRecord({"a": row()}), stored.etag)
    assert (await ProjectRecords(store, SOURCE, url=INDEX).read(PROJECT)).record == ProjectRecord({"a": row()})


async def test_only_one_of_two_writers_wins() -> None:
    store = WatchedStore()
    mine = ProjectRecords(store, SOURCE, url=INDEX)
    assert await mine.read(PROJECT) == StoredRecord(ProjectRecord({}), None)
    await mine.write(PROJECT, ProjectRecord({"a": row()}), None)
    with pytest.raises(BlobChanged):
        await mine.write(PROJECT, ProjectRecord({"b": row()}), None)


# --- releases


def test_a_record_says_its_version_first() -> None:
    assert encode(ProjectRecord({"a": row()})).startswith(b"wheelgate record 3\n")


@pytest.mark.parametrize("rest", [b"", b"\xff\x00 anything", encode(ProjectRecord({}))])
def test_a_later_version_is_known_as_one_whatever_follows_it(rest: bytes) -> None:
    with pytest.raises(NewerRecord, match="format 12, which a later release wrote; this one knows formats up to 3"):
        decode(b"wheelgate record 12\n" + rest)


def test_version_2_is_still_read() -> None:
    """Written by the release before versions stood in a line of their own."""
    stored = base64.b64decode(VERSION_2)
    record = decode(stored)
    metadata = ExtractedMetadata(NOW, "place", "ab" * 32, ">=3.9")
    assert record.files == {
        "a-1.0.whl": row(1, "a", size=17, made=metadata),
        "c-1.0.tar.gz": FileRecord(NOW, {"md5": "00" * 16}, NOW),
    }
    assert record.page is not None
    assert decode(encode(record)) == record


def test_version_1_of_blobs_is_still_read() -> None:
    sha, seen = "12" * 32, "2026-01-01T00:00:00Z"
    wheel = {"etag": "e", "sha256": sha, "seen": seen, "metadata_sha256": "34" * 32, "requires_python": ">=3.9", "path": "x/y"}
    stored = msgspec.json.encode({"a.whl": wheel, "b.tar.gz": {"etag": "f", "sha256": sha, "seen": seen}})
    record = decode(stored)
    assert record.files == {
        "a.whl": FileRecord(
            at=NOW,
            hashes={"sha256": sha},
            uploaded=NOW,
            made=ExtractedMetadata(NOW, sha, "34" * 32, ">=3.9"),
            blob=BlobVersion("x/y", "e"),
        ),
        "b.tar.gz": FileRecord(NOW, {"sha256": sha}, NOW, blob=BlobVersion("", "f")),
    }
    assert decode(encode(record)) == record
    assert decode(b"{}") == ProjectRecord({})


def test_names_that_are_listed_once_and_never_again_do_not_fill_the_store() -> None:
    files = {f"{number}.whl": row(number) for number in range(100_010)}
    listed = [file(name, files[name]) for name in ("100009.whl", "0.whl")]
    kept = decode(encode(ProjectRecord(files, pack(page(*listed))))).files
    assert len(kept) == 100_000
    assert {"100009.whl", "0.whl", "99000.whl"} <= kept.keys(), "what is listed, and what was seen first"


async def test_a_large_record_is_small_and_quick() -> None:
    files: Files = {}
    listed = []
    for number in range(15_000):
        name = f"acme_lib-{number // 30}.0-cp3{number % 30}-cp3{number % 30}-manylinux_2_17_x86_64.whl"
        files[name] = row(0, name, size=number)
        url = f"https://files.example.com/{sha256(name.encode() * 2)}/{name}"
        metadata = {"sha256": sha256(name.encode() * 3)}
        listed.append(file(name, files[name], location=RemoteFile(url, SOURCE), core_metadata=metadata))
    began = time.perf_counter()
    kept = pack(page(*listed))
    body = encode(ProjectRecord(files, kept))
    written_s = time.perf_counter() - began
    began = time.perf_counter()
    assert decode(body).files == files
    read_s = time.perf_counter() - began
    assert len(body) < 180 * 15_000, "of which 128 bytes a file are four digests, which nothing can compress"
    assert written_s < 0.5
    assert read_s < 0.5


async def test_encoding_a_large_record_holds_nobody_up() -> None:
    files = {f"{number}.whl": row(number, str(number)) for number in range(15_000)}
    records = ProjectRecords(WatchedStore(), SOURCE, url=INDEX)
    worst, stop = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal worst
        while not stop.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0)
            worst = max(worst, time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    etag = await records.write(PROJECT, ProjectRecord(files), None)
    assert (await records.read(PROJECT)).etag == etag
    stop.set()
    await watching
    assert worst < 0.1


@example(["ab", "1" * 126])
@example(["a" * 64, " " + "a" * 64])
@given(st.lists(st.sampled_from(["1" * 64, "b" * 64, "0" * 64, "A" * 64, "z" * 64, "1" * 62, "1" * 66, "ab", ""]), max_size=4))
def test_digests_come_out_of_a_record_as_they_went_in_or_not_at_all(digests: list[str]) -> None:
    """None is cut in two, put in another's place, or taken for one in another case."""
    record = ProjectRecord({f"{number}": row(hashes={"sha256": digest}) for number, digest in enumerate(digests)})
    try:
        assert decode(encode(record)).files == record.files
    except ValueError:
        assert not {"1" * 64, "b" * 64, "0" * 64}.issuperset(digests)


# --- what was forgotten


async def test_what_was_forgotten_stays_so_whoever_still_knew_it() -> None:
    """A replica that has heard nothing yet writes what it knows; the record says that it is nobody's memory any more."""
    store = WatchedStore()
    mine, theirs = (ProjectRecords(store, SOURCE, url=INDEX) for _ in range(2))
    known = ProjectRecord({"a": row(), "b": row(digest="2")})
    await mine.write(PROJECT, known, None)
    state = ProjectState()
    state.take(await theirs.read(PROJECT))
    assert await mine.forget(PROJECT, "a", NOW + timedelta(seconds=5)) == known.files["a"]
    assert set((await theirs.read(PROJECT)).record.files) == {"b"}
    state.take(await theirs.read(PROJECT))
    assert set(state.files) == {"b"}
    assert not state.learn({"a": row()}), "as whoever has not heard of it remembers it"
    assert state.learn({"a": row(6, digest="3")}), "but what was first seen since is remembered"
    assert state.files["a"].hashes == row(digest="3").hashes


@given(*[st.dictionaries(st.sampled_from(["a", "b", "c"]), moments)] * 2)
def test_what_was_forgotten_is_merged_alike_in_either_order(one: dict[str, datetime], other: dict[str, datetime]) -> None:
    assert merge_forgotten(one, other) == merge_forgotten(other, one)
    many = {f"name-{number}": NOW + timedelta(seconds=number) for number in range(1_500)}
    assert len(merge_forgotten(many, one)) == 1_000

"""Records that were never written by us: of few bytes never many are made, and what is read can be written again."""

from __future__ import annotations

import struct
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from isal import isal_zlib

from wheelgate.core.file_list import TOGETHER, FileList
from wheelgate.core.model import File, LocalFile, ProjectPage, RemoteFile, StoredFile, Withheld
from wheelgate.enrich.kept_pages import pack, unpack
from wheelgate.enrich.record_store import decode, encode
from wheelgate.enrich.records import ExtractedMetadata, FileRecord, KeptPage, ProjectRecord, merge_files

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD, ZEROS = "ab" * 32, "00" * 32
MIB = 1024 * 1024


def pack_rows(rows: Any, page: Any = None) -> bytes:
    body = [3, isal_zlib.compress(msgspec.msgpack.encode(rows), level=1), page]
    return b"wheelgate record 3\n" + msgspec.msgpack.encode(body)


def rows_of(**changed: Any) -> list[Any]:
    """The rows of one file, as the format has them."""
    rows = {"names": ["a"], "sha256": bytes(32), "at": [NOW], "uploaded": [NOW], "sizes": [7], "rest": {}}
    return list({**rows, **changed}.values())


def listed(**changed: Any) -> File:
    made = File(filename="a-1.0.tar.gz", project="a", source="team", location=RemoteFile("https://h/a-1.0.tar.gz", "team"))
    return msgspec.structs.replace(made, **changed)


def pack_files(*files: File) -> KeptPage:
    return pack(ProjectPage(project="a", files=files, as_of=NOW))


# --- what is read can be written

A_MOMENT = st.one_of(
    st.just(NOW),
    st.sampled_from([
        "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+05:30", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z",
    ]),
    st.integers(-(2**63), 2**63 - 1).map(lambda second: msgspec.msgpack.Ext(-1, struct.pack(">Iq", 999_999_999, second))),
    st.integers(0, 2**32 - 1).map(lambda second: msgspec.msgpack.Ext(-1, struct.pack(">I", second))),
)  # fmt: skip
A_DIGEST = st.sampled_from(
    [GOOD, ZEROS, GOOD.upper(), "zz", "", "ab", "ab cd", GOOD + "\n", GOOD + "ab", "\N{ARABIC-INDIC DIGIT ONE}" * 64]
)
SOME_HASHES = st.none() | st.dictionaries(st.sampled_from(["sha256", "md5", ""]), A_DIGEST, max_size=2)
A_READING = st.none() | st.tuples(A_MOMENT, st.text(max_size=3), st.none() | A_DIGEST, st.none() | st.text(max_size=3))
A_BLOB = st.none() | st.tuples(st.text(max_size=3), st.text(max_size=3))
A_SIZE = st.none() | st.integers(-(2**63), 2**64 - 1)
SOME_REST = st.dictionaries(st.sampled_from([-1, 0, 1, 2]), st.tuples(SOME_HASHES, A_READING, A_BLOB), max_size=2)
A_PAGE = st.none() | st.tuples(A_MOMENT, st.none() | A_MOMENT, st.binary(max_size=8))


@st.composite
def crafted(draw: st.DrawFn) -> bytes:
    count = draw(st.integers(0, 2))
    columns = [st.lists(each, min_size=count, max_size=count) for each in (st.text(max_size=3), A_MOMENT, A_MOMENT, A_SIZE)]
    names, at, uploaded, sizes = (draw(column) for column in columns)
    sha256 = b"".join(draw(st.sampled_from([bytes(32), b"\xab" * 32])) for _ in range(count))
    return pack_rows([names, sha256, at, uploaded, sizes, draw(SOME_REST)], draw(A_PAGE))


@example(pack_rows(rows_of(rest={0: [{"sha256": "zz"}]})))
@example(pack_rows(rows_of(rest={0: [{"sha256": ZEROS}]})))
@example(pack_rows(rows_of(rest={0: [None, ["2026-01-01T00:00:00", "x", None]]})))
@example(pack_rows(rows_of(at=["0001-01-01T00:00:00+14:00"])))
@given(crafted())
def test_whatever_is_read_is_written_and_read_as_the_same(body: bytes) -> None:
    try:
        record = decode(body)
    except ValueError as error:
        assert str(error).startswith("damaged")
        return
    assert decode(encode(record)) == record
    known = {"a": FileRecord(NOW, {}, NOW, made=ExtractedMetadata(NOW, "x", None))}
    merged = ProjectRecord(merge_files(record.files, known), record.page)
    assert decode(encode(merged)) == merged


@pytest.mark.parametrize("hashes", [{"sha256": value} for value in ("zz", "", ZEROS, GOOD.upper(), "ab", "ab" * 33)])
def test_a_digest_that_is_none_spoils_no_other_file(hashes: dict[str, str]) -> None:
    """Nobody hands one to a record; if somebody did, the others would still be written, each in its own place."""
    files = {"a": FileRecord(NOW, hashes, NOW), "b": FileRecord(NOW, {"sha256": GOOD}, NOW)}
    body = encode(ProjectRecord(files))
    if hashes["sha256"] == ZEROS:
        assert decode(body).files == files
    else:
        with pytest.raises(ValueError, match="a sha256 that is none"):
            decode(body)


def test_a_damaged_page_keeps_no_large_record_from_being_written() -> None:
    files = {f"{number}.whl": FileRecord(NOW, {}, NOW) for number in range(100_001)}
    assert len(decode(encode(ProjectRecord(files, KeptPage(NOW, None, b"damaged")))).files) == 100_000


REFUSED = {
    "a digest that is none": pack_rows(rows_of(rest={0: [{"sha256": "zz"}]})),
    "a digest in capitals": pack_rows(rows_of(rest={0: [{"sha256": GOOD.upper()}]})),
    "a place for a digest": pack_rows(rows_of(rest={0: [None, [NOW, "x", "../../tokens/x"]]})),
    "a reading without an offset": pack_rows(rows_of(rest={0: [None, ["2026-01-01T00:00:00", "x", None]]})),
    "a moment before time": pack_rows(rows_of(at=["0001-01-01T00:00:00+14:00"])),
    "a page without an offset": pack_rows(rows_of(), ["2026-01-01T00:00:00", None, b""]),
    "a page of another zone": pack_rows(rows_of(), ["2026-01-01T00:00:00+01:00", None, b""]),
    "a size below nothing": pack_rows(rows_of(sizes=[-1])),
    "facts of nobody": pack_rows(rows_of(rest={1: [{"md5": "ab"}]})),
    "digests and a half": pack_rows(rows_of(sha256=bytes(33))),
    "fewer moments": pack_rows(rows_of(at=[])),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_record_that_says_what_none_can_say_is_damaged(what: str) -> None:
    decode(pack_rows(rows_of()))
    with pytest.raises(ValueError, match="^damaged"):
        decode(REFUSED[what])


PAGES = {
    "a path": listed(filename="../a-1.0.tar.gz"),
    "a moment without an offset": listed(upload_time=NOW.replace(tzinfo=None)),
    "a size below nothing": listed(size=-1),
    "a file of this machine": listed(location=LocalFile("/etc/shadow", "e", "/etc")),
    "a file of our store": listed(location=StoredFile("store", "tokens/x", "e")),
    "a digest that a later release reads": listed(hashes={"sha256": GOOD, "blake9": "00" * 32}),
    "a file through another source": listed(location=RemoteFile("https://h/a-1.0.tar.gz", "private")),
}


@pytest.mark.parametrize("what", PAGES)
def test_a_kept_page_that_lists_what_none_can_list_is_none(what: str) -> None:
    assert unpack(pack_files(listed()), "a", "team") is not None
    assert unpack(pack_files(PAGES[what]), "a", "team") is None


def test_a_kept_page_withholds_nothing_but_files() -> None:
    kept = pack(ProjectPage(project="a", files=(), as_of=NOW, withheld=(Withheld("../a", "team", "digest", "x"),)))
    assert unpack(kept, "a", "team") is None


# --- of few bytes never many are made


def bomb(head: bytes, filling: bytes = b"\0", size: int = 64 * MIB) -> bytes:
    return isal_zlib.compress(head + filling * (size // len(filling)), level=3)


def rows_bomb(head: bytes, filling: bytes = b"\0") -> bytes:
    return b"wheelgate record 3\n" + msgspec.msgpack.encode([3, bomb(head, filling), None])


def page_bomb(*blocks: bytes) -> bytes:
    return msgspec.msgpack.encode([1, (), None, 0, blocks])


FULL = isal_zlib.compress(msgspec.msgpack.encode([listed(yanked="x" * 60_000)] * TOGETHER), level=3)
BOMBS = {
    "zeros": rows_bomb(b""),
    "names without end": rows_bomb(b"\x96\xdd\xff\xff\xff\xff", b"\xa0"),
    "a long name": rows_bomb(b"\x96\x91\xdb\x03\xff\xff\x00", b"x"),
    "sizes": rows_bomb(b"\x96\x90\xc4\x00\x90\x90\xdd\x03\xff\xff\x00", b"\xc0"),
    "facts": rows_bomb(b"\x96\x90\xc4\x00\x90\x90\x90\xdf\x03\xff\xff\x00", b"\x01\x90"),
    "a block": page_bomb(bomb(b"")),
    "a block of files": page_bomb(bomb(b"\xdd\x03\xff\xff\xff", b"\xc0")),
    "many blocks": page_bomb(*[FULL] * 60),
    "blocks of nothing": page_bomb(*[b""] * 4_000),
    "withheld files": msgspec.msgpack.encode([1, (), None, 0, [], bomb(b"\xdd\x03\xff\xff\xff", b"\x93\xa0\xa0\xa0")]),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_in_little_memory(what: str) -> None:
    body = BOMBS[what]
    assert len(body) < MIB
    tracemalloc.start()
    try:
        if body.startswith(b"wheelgate"):
            with pytest.raises(ValueError, match="^damaged"):
                decode(body)
        else:
            assert unpack(KeptPage(NOW, None, body), "a", "team") is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * len(body) + 6 * MIB


def test_what_real_pages_and_records_come_to_is_far_below_the_bounds() -> None:
    """The longest texts that a page is read with, the same for every file."""
    files = [
        listed(
            filename=f"a-1.{number}.tar.gz",
            location=RemoteFile(f"https://h/{'x' * 2_000}/a-1.{number}.tar.gz", "team"),
            yanked="y" * 1_000,
            requires_python="z" * 1_000,
            provenance=f"https://h/{'p' * 1_900}/{number}",
        )
        for number in range(1_000)
    ]
    assert unpack(pack_files(*files), "a", "team") is not None
    made = ExtractedMetadata(NOW, f"https://h/{'x' * 2_000}", None, "z" * 1_000)
    record = ProjectRecord({file.filename: FileRecord(NOW, {}, NOW, made=made) for file in files})
    assert decode(encode(record)) == record


def test_blocks_are_read_in_the_memory_of_one() -> None:
    files = FileList([listed(filename=f"a-1.{number}.tar.gz", yanked=f"{number}" * 100) for number in range(64 * TOGETHER)])
    blocks = files.pack()
    tracemalloc.start()
    try:
        assert len(FileList.from_blocks(blocks)) == 64 * TOGETHER
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB

"""METADATA out of wheels, also of wheels that were made to do harm."""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.bounds import MIB, bounded
from tests.support.packages import metadata, wheel_bytes, wheel_name
from wheelgate.distfiles.core_metadata import (
    MAX_METADATA_BYTES,
    BadWheel,
    CoreMetadata,
    NoMetadata,
    read_core_metadata,
    read_fields,
)

NAME = "demo-1.0-py3-none-any.whl"
PLACE = "demo-1.0.dist-info/METADATA"
METADATA = metadata("demo", "1.0")


def read(body: bytes, filename: str = NAME) -> CoreMetadata:
    return read_core_metadata(io.BytesIO(body), filename)


def refused(body: bytes, filename: str = NAME) -> str:
    with pytest.raises(BadWheel) as caught:
        read(body, filename)
    return str(caught.value)


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def entry(name: bytes, content: bytes, *, stated: int | None = None, method: int = 0, flags: int = 0) -> tuple[bytes, bytes]:
    """A local header with its body, and a central header, by hand: for what ``zipfile`` would not write."""
    size = len(content) if stated is None else stated
    common = struct.pack("<5H3L2H", 20, flags, method, 0, 0x21, zlib.crc32(content), len(content), size, len(name), 0)
    central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, 0)
    return b"PK\x03\x04" + common + name + content, central + name


def end_record(entries: int, size: int, offset: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, size, offset, 0)


def by_hand(name: bytes, content: bytes, **more: int) -> bytes:
    local, central = entry(name, content, **more)
    return local + central + end_record(1, len(central), len(local))


def test_the_metadata_of_a_wheel_comes_out_as_it_is() -> None:
    found = read(wheel_bytes("demo", "1.0", requires=["other>=2"], requires_python=">=3.9"))
    assert found.body == metadata("demo", "1.0", requires=["other>=2"], requires_python=">=3.9")
    assert (found.name, found.version, found.requires_python) == ("demo", "1.0", ">=3.9")


def test_a_wheel_that_says_nothing_of_python_has_nothing_said_for_it() -> None:
    assert read(wheel_bytes("demo", "1.0")).requires_python is None


@pytest.mark.parametrize(
    ("name", "version", "filename", "folder"),
    [
        ("Acme.Odd", "1.1", "Acme.Odd-1.1-py3-none-any.whl", "Acme.Odd-1.1"),
        ("Acme.Odd", "1.1", "acme_odd-1.1-py3-none-any.whl", "acme_odd-1.1"),
        ("demo", "1.0+local.1", "demo-1.0+local.1-py3-none-any.whl", "demo-1.0+local.1"),
        ("demo", "1.0", "demo-1.0.0-py3-none-any.whl", "demo-1.0"),
        ("demo", "1.0", "demo-1.0-2build-py3-none-any.whl", "demo-1.0"),
        ("demo", "1!2.0", "demo-1!2.0-py3-none-any.whl", "demo-1!2.0"),
    ],
)
def test_spellings_of_one_name_and_version_agree(name: str, version: str, filename: str, folder: str) -> None:
    body = zipped((f"{folder}.dist-info/METADATA", metadata(name, version)))
    assert read(body, filename).version == version


@pytest.mark.parametrize(
    ("requires", "kept"),
    [
        (">=3.9", ">=3.9"),
        ("  >=3.9  ", ">=3.9"),
        (">=3.9,\n        <4", ">=3.9, <4"),
        ("garbage", "garbage"),
        ("≥3", None),
        (">=3" + "x" * 1_000, None),
        (">=3\x07", None),
    ],
)
def test_only_a_printable_requires_python_is_kept(requires: str, kept: str | None) -> None:
    body = f"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: {requires}\n\n".encode()
    assert read(zipped((PLACE, body))).requires_python == kept


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (metadata("other", "1.0"), "is named for demo, but its METADATA says 'other'"),
        (metadata("demo", "2.0"), "is named for version 1.0, but its METADATA says '2.0'"),
        (metadata("demo", "garbage"), "is named for version 1.0, but its METADATA says 'garbage'"),
        (b"", "is named for demo, but its METADATA says ''"),
        (b"Version: 1.0\n\nName: demo\n", "is named for demo, but its METADATA says ''"),
        (b"Name: demo\n\nVersion: 1.0\n", "is named for version 1.0, but its METADATA says ''"),
        (b"\x00\xff" * 100, "is named for demo, but its METADATA says ''"),
    ],
)
def test_metadata_of_another_name_or_version_is_refused(body: bytes, sentence: str) -> None:
    assert refused(zipped((PLACE, body))) == sentence


@pytest.mark.parametrize("name", [b"=?utf-8?b?a?=", b"=?\xff?q?demo?=", b"=?nope?q?demo?=", b"=?zlib?q?demo?="])
def test_a_name_in_encoded_words_that_nobody_decodes_is_another(name: bytes) -> None:
    stated = refused(zipped((PLACE, b"Name: " + name + b"\nVersion: 1.0\n")))
    assert stated == f"is named for demo, but its METADATA says {name.decode('utf-8', 'replace')!r}"


def test_metadata_of_another_in_its_folder_is_refused() -> None:
    assert read(zipped(("other-1.0.dist-info/METADATA", METADATA))).body == METADATA, "uv goes by what it says"
    assert "its METADATA says 'other'" in refused(zipped(("other-1.0.dist-info/METADATA", metadata("other", "1.0"))))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["demo.py"], "has no METADATA"),
        ([], "has no METADATA"),
        (["METADATA"], "has no METADATA"),
        (["sub/demo-1.0.dist-info/METADATA"], "has no METADATA"),
        (["demo-1.0.dist-info/metadata"], "has no METADATA"),
        (["demo-1.0.dist-info/METADATA/x"], "has no METADATA"),
        ([PLACE, "other-1.0.dist-info/METADATA"], "has more than one METADATA"),
        ([PLACE, "Demo-1.0.dist-info/METADATA"], "has more than one METADATA"),
        (["../demo-1.0.dist-info/METADATA"], "has no METADATA"),
        (["/demo-1.0.dist-info/METADATA"], "has no METADATA"),
    ],
)
def test_there_is_one_metadata_where_installers_look(names: list[str], sentence: str) -> None:
    with pytest.raises(NoMetadata, match=sentence):
        read(zipped(*((name, METADATA) for name in names)))


@pytest.mark.parametrize("name", ["../evil.py", "a/../../evil.py", "/etc/passwd", "a\\..\\evil.py", ".."])
def test_what_leaves_its_folder_is_for_installers_to_refuse(name: str) -> None:
    assert read(zipped((PLACE, METADATA), (name, b""))).body == METADATA


@pytest.mark.parametrize("twice", [PLACE, "demo.py"])
def test_of_two_entries_of_one_name_the_last_is_read(twice: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        body = zipped((PLACE, METADATA + b"first"), ("demo.py", b""), (twice, METADATA))
    assert read(body).body == METADATA + (b"first" if twice != PLACE else b"")


def test_a_name_cut_by_a_null_is_judged_as_it_is_read() -> None:
    first, first_central = entry(PLACE.encode(), METADATA)
    second, second_central = entry(PLACE.encode() + b"\0.txt", METADATA)
    central = first_central + second_central
    body = first + second + central + end_record(2, len(central), len(first + second))
    assert refused(body) == "is not a whole zip file", "pip cannot read the second one either, which it takes"


@pytest.mark.parametrize("kept", [0, 1, 21, 22, 100, 0.5, 0.99])
def test_a_wheel_that_is_cut_short_is_refused(kept: float) -> None:
    whole = wheel_bytes("demo", "1.0", padding=1_000)
    end = int(kept) if kept >= 1 else int(len(whole) * kept)
    assert refused(whole[:end]) == "is not a whole zip file"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"PK",
        b"<html>sign in</html>",
        b"\x1f\x8b" + b"\0" * 100,
        b"PK\x05\x06" + b"\0" * 10,
        b"PK\x05\x06" + b"\xff" * 18,
        b"PK\x06\x06" + end_record(0xFFFF, 0xFFFFFFFF, 0),
        b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + b"\0" * 16 + end_record(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        by_hand(PLACE.encode(), METADATA)[:-22] + end_record(1, 10, 0),
        by_hand(PLACE.encode(), METADATA, flags=1),  # encrypted
        by_hand(PLACE.encode(), METADATA, flags=0x20),  # patched data
        by_hand(b"\xff\xfe", METADATA, flags=0x800),  # a name that says it is UTF-8
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_only_looks_like_a_zip_is_refused(body: bytes) -> None:
    assert refused(body) == "is not a whole zip file"


def test_a_damaged_metadata_is_refused() -> None:
    body = by_hand(PLACE.encode(), METADATA)
    at = body.index(b"Summary")
    assert refused(body[:at] + b"Xummary" + body[at + 7 :]) == "is not a whole zip file"


def test_a_name_that_differs_between_the_two_headers_is_refused() -> None:
    body = by_hand(PLACE.encode(), METADATA)
    assert refused(body.replace(b"demo-1.0.dist-info", b"evil-1.0.dist-info", 1)) == "is not a whole zip file"


def test_a_metadata_bomb_is_refused_before_it_inflates() -> None:
    body = zipped((PLACE, METADATA + b"\0" * 100 * MIB))
    with bounded(mib=50, seconds=3):
        assert refused(body) == "has a METADATA larger than 10 MiB"


LZMA = b"\x09\x04\x05\x00\x5d\x00\x00\x80\x00"


@pytest.mark.parametrize("stated", [100, 200 * MIB])
@pytest.mark.parametrize(
    ("method", "content"),
    [
        (zipfile.ZIP_BZIP2, bz2.compress(METADATA + b"\0" * 80 * MIB)),
        (zipfile.ZIP_LZMA, LZMA + lzma.compress(b"\0" * 80 * MIB, lzma.FORMAT_ALONE, preset=0)[13:]),
        (zipfile.ZIP_LZMA, LZMA[:5] + b"\xff\xff\xff\x7f" + b"\0" * 50),
        (zipfile.ZIP_LZMA, b"\xff" * 50),
        (zipfile.ZIP_LZMA, b""),
        (zipfile.ZIP_BZIP2, b"BZh9"),
        (9, METADATA),
    ],
)
def test_a_bomb_in_a_rare_compression_is_refused_before_it_inflates(method: int, content: bytes, stated: int) -> None:
    body = by_hand(PLACE.encode(), content, method=method, stated=stated)
    with bounded(mib=24, seconds=3):
        sentence = refused(body)
    assert sentence == "has a METADATA larger than 10 MiB" or stated == 100


def test_a_large_description_is_no_bomb_and_costs_no_time() -> None:
    description = b"x\n" * (4 * MIB)
    body = zipped((PLACE, METADATA + description))
    with bounded(mib=60, seconds=3):
        assert read(body).body == METADATA + description


@pytest.mark.parametrize("line", [b"A: b\n", b" folded\n", b"A:\n", b"no colon\n"])
def test_megabytes_of_fields_are_not_looked_through(line: bytes) -> None:
    content = b"Name: demo\nVersion: 1.0\nSummary: a\n" + line * (2 * MIB // len(line))
    body = zipped((PLACE, content))
    with bounded(mib=20, seconds=2):
        assert read(body).body == content


def test_the_limit_itself_is_allowed() -> None:
    padding = b"x" * (MAX_METADATA_BYTES - len(METADATA))
    assert len(read(zipped((PLACE, METADATA + padding))).body) == MAX_METADATA_BYTES
    assert refused(zipped((PLACE, METADATA + padding + b"x"))) == "has a METADATA larger than 10 MiB"


def zip64_end(size: int, at: int) -> bytes:
    """A zip64 end record with its locator: ``zipfile`` believes it whatever the plain end record says."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, 0)
    return record + struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)


@pytest.mark.parametrize("plain", [(0xFFFF, 0xFFFFFFFF), (1, 46)], ids=["says so", "says otherwise"])
@pytest.mark.parametrize("zip64", [True, False])
def test_a_huge_table_of_contents_is_refused_before_it_is_read(tmp_path: Path, plain: tuple[int, int], zip64: bool) -> None:
    size = 200 * MIB
    path = tmp_path / "huge.whl"
    with path.open("wb") as file:
        file.truncate(size)  # a sparse file
        file.seek(size)
        if zip64:
            file.write(zip64_end(size, size) + end_record(*plain, 0))
        else:
            file.write(end_record(plain[0], size, 0))
    with (
        bounded(mib=20, seconds=3),
        path.open("rb") as file,
        pytest.raises(BadWheel, match="has a table of contents larger than any"),
    ):
        read_core_metadata(file, NAME)


def test_a_wheel_of_many_files_is_read() -> None:
    body = zipped(*((f"demo/{number}.py", b"") for number in range(5_000)), (PLACE, METADATA))
    assert read(body).name == "demo"


WHOLE = wheel_bytes("demo", "1.0")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_wheel_with_any_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1) | st.integers(len(body) - 300, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(body))
    except BadWheel:
        return
    assert (found.name, found.version) == ("demo", "1.0")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused(body: bytes, ended: bool) -> None:
    refused(body + (end_record(1, len(body), 0) if ended else b""))


def test_the_names_of_our_own_packages_are_read_back() -> None:
    assert read(wheel_bytes("My.Demo", "2.0"), wheel_name("My_Demo", "2.0")).name == "My.Demo"


def test_an_encoded_name_that_is_too_long_is_refused_in_no_time() -> None:
    body = b"Metadata-Version: 2.1\nName: %b\nVersion: 1.0\n\n" % (b"=?a?q? " * 20_000)
    with bounded(mib=20, seconds=1), pytest.raises(NoMetadata, match="is named for demo, but its METADATA says"):
        read_fields(body, NAME)

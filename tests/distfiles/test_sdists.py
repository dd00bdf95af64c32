"""Sdists: whole, for what they are named, and no bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.bounds import MIB, bounded
from tests.support.packages import metadata, sdist_bytes
from wheelgate.distfiles.sdists import BadSdist, check_sdist

NAME = "demo-1.0.tar.gz"
ZIP = "demo-1.0.zip"


def check(body: bytes, filename: str = NAME) -> None:
    check_sdist(io.BytesIO(body), filename)


def refused(body: bytes, filename: str = NAME) -> str:
    with pytest.raises(BadSdist) as caught:
        check(body, filename)
    return str(caught.value)


OWN = {"demo-1.0/PKG-INFO": metadata("demo", "1.0"), "demo-1.0/pyproject.toml": b""}
"""The members without which no sdist passes."""


def tarred(*names: str, style: int = tarfile.PAX_FORMAT, content: bytes = b"") -> bytes:
    """A tar file of members with that content, and :data:`OWN`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        for name, body in {**dict.fromkeys(names, content), **OWN}.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def zipped(*names: str, content: bytes = b"x", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Likewise a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
        for name in OWN.keys() - names:
            archive.writestr(name, OWN[name])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "version", "filename"),
    [
        ("demo", "1.0", NAME),
        ("Demo", "1.0", NAME),
        ("my-demo", "1.0", "my_demo-1.0.tar.gz"),
        ("my.demo", "1.0", "my-demo-1.0.tar.gz"),
        ("demo", "1.0.post1", "demo-1.0.post1.tar.gz"),
    ],
)
def test_a_sound_sdist_passes(name: str, version: str, filename: str) -> None:
    check(sdist_bytes(name, version), filename)


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("first", ["demo-1.0/", "demo-1.0/PKG-INFO", "demo-1.0/a/b/x"])
def test_every_kind_of_tar_passes(style: int, first: str) -> None:
    check(gzip.compress(tarred(first, "demo-1.0/x", style=style)))


def test_an_extended_header_in_front_is_no_mistake() -> None:
    check(gzip.compress(tarred("demo-1.0/" + "ü" * 120)))


@pytest.mark.parametrize("top", ["other-1.0/x", "demo", "demo/x", "x", "demo-utils-1.0/x", "-1.0/x"])
def test_a_top_folder_of_another_project_is_refused(top: str) -> None:
    assert refused(gzip.compress(tarred(top))).startswith("is named for demo, but holds the folder ")
    assert refused(zipped(top), ZIP).startswith("is named for demo, but holds the folder ")


@pytest.mark.parametrize("name", ["./demo-1.0/x", "./x", "../demo-1.0/x", "demo-1.0//x"])
def test_a_name_that_pip_and_uv_spell_differently_is_refused(name: str) -> None:
    """pip takes ``.`` for the top folder, and then finds nothing in it that it could build."""
    said = "leaves its folder" if ".." in name else "has an empty part"
    assert said in refused(gzip.compress(tarred(name)))
    assert said in refused(zipped(name), ZIP)


@pytest.mark.parametrize("kept", [0, 1, 9, 10, 11, 50, 0.5, 0.9, 0.99])
def test_an_sdist_that_is_cut_short_is_refused(kept: float) -> None:
    whole = sdist_bytes("demo", "1.0")
    end = int(kept) if kept >= 1 else int(len(whole) * kept)
    assert refused(whole[:end]) == "is not a whole gzip file"
    assert refused(whole[:-1]) == "is not a whole gzip file"


@pytest.mark.parametrize(
    "body", [b"", b"\x1f\x8b", b"<html>sign in</html>", b"PK\x05\x06" + b"\0" * 18, b"\0" * 2_000, b"\xff" * 100]
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    assert refused(body) == "is not a whole gzip file"


def test_a_damaged_body_is_refused() -> None:
    body = bytearray(sdist_bytes("demo", "1.0"))
    body[-6] ^= 0xFF  # the checksum
    assert refused(bytes(body)) == "is not a whole gzip file"


@pytest.mark.parametrize("inner", [b"", b"x", b"x" * 511, b"x" * 10_000, b"\0" * 10_240, zipped("demo-1.0/x")])
def test_a_gzip_without_a_tar_in_it_is_refused(inner: bytes) -> None:
    assert refused(gzip.compress(inner)) == "does not hold a tar archive"


def test_a_bomb_is_refused_before_it_has_inflated() -> None:
    body = gzip.compress(tarred("demo-1.0/x", content=bytes(100 * MIB)))
    with bounded(mib=10, seconds=5):
        assert refused(body) == "inflates to far more than an sdist needs"


def test_a_bomb_behind_a_large_body_is_refused() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = packer.compress(tarred("demo-1.0/x")) + b"".join(packer.compress(bytes(10 * MIB)) for _ in range(20)) + packer.flush()
    assert refused(body) == "inflates to far more than an sdist needs"


def test_what_compresses_well_is_no_bomb() -> None:
    check(gzip.compress(tarred("demo-1.0/x", content=bytes(60 * MIB))))


@pytest.mark.parametrize("behind", [b"x", b"\0" * 512, gzip.compress(b"more", mtime=0), sdist_bytes("other", "1.0")])
def test_nothing_stands_behind_the_end(behind: bytes) -> None:
    assert refused(sdist_bytes("demo", "1.0") + behind) == "has trailing data after its end"


def test_an_sdist_of_several_pieces_with_something_behind_its_end_is_refused_at_once() -> None:
    body = gzip.compress(tarred("demo-1.0/x") + b"\0" * 5 * MIB) + b"x"
    with bounded(mib=10, seconds=5):
        assert refused(body) == "has trailing data after its end"


def test_what_stands_behind_the_end_is_not_kept_in_memory() -> None:
    body = io.BytesIO(sdist_bytes("demo", "1.0") + bytes(100 * MIB))
    with bounded(mib=10, seconds=5), pytest.raises(BadSdist, match="has trailing data after its end"):
        check_sdist(body, NAME)


def test_a_stream_of_empty_blocks_ends() -> None:
    packer = zlib.compressobj(0, zlib.DEFLATED, 31)
    body = packer.flush(zlib.Z_SYNC_FLUSH) + b"\x00\x00\x00\xff\xff" * 400_000
    with bounded(mib=20, seconds=5):
        assert refused(body) == "is not a whole gzip file"


def test_a_sound_zip_passes() -> None:
    check(zipped("demo-1.0/PKG-INFO", "demo-1.0/setup.py", content=metadata("demo", "1.0")), ZIP)
    check(zipped(method=zipfile.ZIP_STORED), ZIP)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"PK",
        sdist_bytes("demo", "1.0"),
        zipped("demo-1.0/x")[:-1],
        zipped("demo-1.0/x")[: len(zipped("demo-1.0/x")) // 2],
    ],
)
def test_what_is_no_whole_zip_is_refused(body: bytes) -> None:
    assert refused(body, ZIP) == "is not a whole zip file"


def test_an_empty_zip_is_refused() -> None:
    assert refused(b"PK\x05\x06" + bytes(18), ZIP) == "is empty"


def test_a_damaged_entry_is_refused() -> None:
    body = zipped("demo-1.0/x", content=b"content" * 10, method=zipfile.ZIP_STORED)
    assert refused(body.replace(b"content", b"Content", 1), ZIP) == "has an entry with a wrong checksum: 'demo-1.0/x'"


@pytest.mark.parametrize("name", ["../x", "/x", "demo-1.0/../../x", "demo-1.0\\..\\x"])
def test_no_entry_of_a_zip_leaves_its_folder(name: str) -> None:
    assert refused(zipped("demo-1.0/x", name), ZIP).startswith("has an entry that leaves its folder")


def test_no_name_stands_in_a_zip_twice() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        body = zipped("demo-1.0/x", "demo-1.0/x")
    assert refused(body, ZIP) == "has two entries named 'demo-1.0/x'"


def test_a_zip_bomb_is_refused_by_what_it_says() -> None:
    body = zipped("demo-1.0/x", content=bytes(100 * MIB))
    with bounded(mib=10, seconds=5):
        assert refused(body, ZIP).startswith("inflates to far more than a distribution needs")


def lying(content: bytes, method: int, stated: int, copies: int = 1, count_size: int | None = None) -> bytes:
    """A zip whose entries state a size of their own choosing, and all share one body."""
    size = len(content) if count_size is None else count_size
    common = struct.pack("<5H3L2H", 20, 0, method, 0, 0x21, 0, size, stated, 14, 0)
    local = b"PK\x03\x04" + common + b"demo-1.0/00000" + content
    central = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, 0) + b"demo-1.0/%05d" % number
        for number in range(copies)
    )
    return local + central + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, copies, copies, len(central), len(local), 0)


def deflated(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(size)) + packer.flush()


def test_a_zip_bomb_that_lies_about_its_size_inflates_no_further_than_it_says() -> None:
    body = lying(deflated(100 * MIB), zipfile.ZIP_DEFLATED, stated=100)
    with bounded(mib=10, seconds=5):
        assert "of another size than its headers say: 'demo-1.0/00000'" in refused(body, ZIP)


def test_a_zip_bomb_of_entries_that_share_one_body_is_refused() -> None:
    body = lying(deflated(MIB), zipfile.ZIP_DEFLATED, stated=MIB, copies=2_000)
    with bounded(mib=10, seconds=5):
        assert refused(body, ZIP).startswith("inflates to far more than a distribution needs")


def test_a_zip_bomb_that_lies_about_what_it_takes_is_refused() -> None:
    body = lying(deflated(MIB), zipfile.ZIP_DEFLATED, stated=100 * MIB, count_size=100 * MIB)
    with bounded(mib=10, seconds=5):
        assert refused(body, ZIP).startswith("inflates to far more than a distribution needs")


def test_a_zip_in_a_compression_without_a_bound_is_refused() -> None:
    body = lying(bz2.compress(bytes(100 * MIB)), zipfile.ZIP_BZIP2, stated=100)
    with bounded(mib=10, seconds=5):
        assert "compressed in a way that not every installer reads" in refused(body, ZIP)


WHOLE = sdist_bytes("demo", "1.0")


@settings(deadline=None, max_examples=150)
@given(st.data(), st.booleans())
def test_an_sdist_with_any_bytes_changed_passes_or_is_refused(data: st.DataObject, as_zip: bool) -> None:
    body = bytearray(zipped("demo-1.0/PKG-INFO", "demo-1.0/x") if as_zip else WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        check(bytes(body), ZIP if as_zip else NAME)
    except BadSdist:
        return


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes) -> None:
    refused(body)
    refused(body, ZIP)
    refused(gzip.compress(body))

"""Wheels: METADATA out of any zip file, as a whole and by ranges, which must come to the same; and the check of uploads."""

from __future__ import annotations

import asyncio
import io
import zipfile

from tests.fuzzing.target import Target, assert_sentence
from tests.support.packages import wheel_bytes
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, read_core_metadata
from wheelgate.distfiles.ranged_wheel import read_by_ranges
from wheelgate.distfiles.wheels import check_wheel

_NAME = "demo-1.0-py3-none-any.whl"
_MOST_READS = 16


def check(data: bytes) -> None:
    whole = _read(lambda: read_core_metadata(io.BytesIO(data), _NAME))
    checked = _read(lambda: check_wheel(io.BytesIO(data), _NAME))
    if isinstance(checked, CoreMetadata):  # whatever passes the check, an installer reads
        assert checked == whole
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
    asked = []

    async def fetch(start: int, end: int) -> bytes:
        asked.append((start, end))
        assert 0 <= start < end <= len(data), "it asks for what is not there"
        return data[start:end]

    ranged = _read(lambda: asyncio.run(read_by_ranges(fetch, len(data), _NAME, head=data[: len(data) % 7])))
    assert len(asked) <= _MOST_READS
    if isinstance(ranged, str) and "too many places" in ranged:
        return
    if isinstance(whole, str) and isinstance(ranged, str):  # each for its reason
        return
    assert ranged == whole, "by ranges it is another wheel"
    if isinstance(whole, CoreMetadata):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (name,) = {name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1}
            assert archive.read(name) == whole.body


def _read(read: object) -> CoreMetadata | str:
    try:
        return read()  # type: ignore[operator,no-any-return]
    except BadWheel as error:
        assert_sentence(str(error))
        return str(error)


def _zip64() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(zipfile.ZipInfo("demo-1.0.dist-info/METADATA"), "w", force_zip64=True) as entry:
            entry.write(b"Name: demo\nVersion: 1.0\n")
        archive.comment = b"a comment"
    return file.getvalue()


def _change_headers(flags_and_method: bytes) -> bytes:
    """The zip64 wheel, its one entry said to be encrypted, or compressed by a method nobody has."""
    data = bytearray(_zip64())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.index(signature) + at
        data[start : start + 4] = flags_and_method
    return bytes(data)


_WHEEL = wheel_bytes("demo", "1.0")
TARGET = Target(
    check=check,
    modules=(
        "wheelgate.distfiles.core_metadata",
        "wheelgate.distfiles.ranged_wheel",
        "wheelgate.distfiles.zips",
        "wheelgate.distfiles.wheels",
        "wheelgate.distfiles.wheel_record",
        "wheelgate.distfiles.zip_directory",
        "wheelgate.distfiles.zip_reading",
        "wheelgate.distfiles.member_names",
        "wheelgate.distfiles.entry_points",
    ),
    seeds=(_WHEEL, *map(_change_headers, (b"\1\0\0\0", b"\0\0\x63\0")), _zip64(), _WHEEL + _zip64(), b"PK\x05\x06" + bytes(18)),
    words=(
        b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08", b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00", b"\xff\xff", b"\x01\x00", b"\x08\x00", b"\x0e\x00", b"\x63\x00", b"\x00\x08",
        b"\x01\x00\x08\x00", b"demo-1.0.dist-info/METADATA", b"demo-1.0.dist-info/", b"../", b"\\", b"/", b"Name: demo",
        b"Version: 1.0", b"up\x09\x00\x01",
    ),
    examples=60,
    max_bytes=4_096,
)  # fmt: skip

"""METADATA by ranges: what honest wheels cost, and that hostile ones cost no more than the limits."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

import pytest

from tests.support.packages import metadata, wheel_bytes, wheel_name
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata
from wheelgate.distfiles.ranged_wheel import TAIL_BYTES, read_by_ranges

NAME = "acme-lib"
WHEEL = wheel_name(NAME, "1.0")
INFO = "acme_lib-1.0.dist-info"
MIB = 1024 * 1024


class Remote:
    """A wheel that is read from afar."""

    def __init__(self, body: bytes, size: int | None = None) -> None:
        self.body = body
        self.size = len(body) if size is None else size
        self.spans: list[tuple[int, int]] = []

    async def fetch(self, start: int, end: int) -> bytes:
        assert 0 <= start < end <= self.size
        assert not any(start < known_end and known_start < end for known_start, known_end in self.spans), "asked twice"
        self.spans.append((start, end))
        return self.body[start:end].ljust(end - start, b"\0")

    async def read(self, **known: bytes) -> CoreMetadata:
        return await read_by_ranges(self.fetch, self.size, WHEEL, **known)

    @property
    def fetched(self) -> int:
        return sum(end - start for start, end in self.spans)


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def ordinary(members: int = 10, bytes_each: int = 10_000, metadata_first: bool = False) -> bytes:
    """As tools write them: the code, then ``.dist-info``."""
    code = {f"acme_lib/module{number:05}.py": b"#" * bytes_each for number in range(members)}
    info = {f"{INFO}/METADATA": metadata(NAME, "1.0"), f"{INFO}/WHEEL": b"", f"{INFO}/RECORD": b"x" * 50 * members}
    return zipped(info | code if metadata_first else code | info, zipfile.ZIP_STORED)


@pytest.mark.parametrize("size", ["small", "large"])
async def test_an_ordinary_wheel_costs_one_read(size: str) -> None:
    remote = Remote(ordinary(10, 100 if size == "small" else 300_000))
    assert (await remote.read()).body == metadata(NAME, "1.0")
    assert len(remote.spans) == 1
    assert remote.fetched == min(TAIL_BYTES, remote.size)


async def test_a_small_wheel_whose_beginning_is_known_costs_none() -> None:
    body = ordinary(2, 100)
    remote = Remote(body)
    assert (await remote.read(head=body)).body == metadata(NAME, "1.0")
    assert remote.spans == []


async def test_metadata_at_the_beginning_costs_two() -> None:
    remote = Remote(ordinary(10, 300_000, metadata_first=True))
    assert (await remote.read()).body == metadata(NAME, "1.0")
    assert len(remote.spans) == 2
    assert remote.fetched <= 2 * TAIL_BYTES


async def test_a_long_table_of_contents_is_read_without_the_files() -> None:
    remote = Remote(ordinary(20_000, 200))
    assert (await remote.read()).body == metadata(NAME, "1.0")
    assert len(remote.spans) <= 5
    assert remote.fetched < remote.size / 2


@pytest.mark.parametrize("members", [800, 1_500])
async def test_of_many_files_the_table_of_contents_and_metadata_are_read_together(members: int) -> None:
    remote = Remote(ordinary(members, 10_000))
    assert (await remote.read(head=remote.body[:TAIL_BYTES])).body == metadata(NAME, "1.0")
    assert len(remote.spans) == 2
    assert remote.fetched < 400_000


async def test_large_metadata_is_read_in_few_pieces() -> None:
    body = metadata(NAME, "1.0") + b"text " * 600_000
    remote = Remote(zipped({"a.py": b"x" * 5 * MIB, f"{INFO}/METADATA": body}, zipfile.ZIP_STORED))
    assert (await remote.read()).body == body
    assert len(remote.spans) <= 3


@pytest.mark.parametrize("body", [b"", b"PK", b"no zip at all" * 10_000, wheel_bytes("other", "1.0"), wheel_bytes(NAME, "2.0")])
async def test_what_is_not_this_wheel_is_said_so(body: bytes) -> None:
    with pytest.raises(BadWheel):
        await Remote(body).read()


# --- hostile


def end_record(body: bytes, **lies: int) -> bytes:
    """The wheel with other numbers in its end record (APPNOTE 4.3.16)."""
    at = body.rindex(b"PK\5\6")
    fields = ["disk", "start_disk", "here", "entries", "size", "offset", "comment"]
    values = dict(zip(fields, struct.unpack("<4H2LH", body[at + 4 : at + 22]), strict=True)) | lies
    return body[: at + 4] + struct.pack("<4H2LH", *values.values()) + body[at + 22 :]


def central(body: bytes, entry: str, **lies: int) -> bytes:
    """The wheel with other numbers in one entry of its table of contents (APPNOTE 4.3.12)."""
    name = entry.encode()
    at = body.rindex(name) - 46
    assert body[at : at + 4] == b"PK\1\2"
    changed = bytearray(body)
    for field, value in lies.items():
        offset = {"method": 10, "compressed": 20, "size": 24, "header": 42}[field]
        struct.pack_into("<H" if field == "method" else "<L", changed, at + offset, value)
    return bytes(changed)


BOMB = zipped({"pad": bytes(200_000), f"{INFO}/METADATA": metadata(NAME, "1.0") + bytes(64 * MIB)})
PLAIN = ordinary(50, 20_000)
HOSTILE: dict[str, Callable[[], Remote]] = {
    "a table of contents of 4 GiB": lambda: Remote(end_record(PLAIN, size=2**32 - 2)),
    "a table of contents of 900 MiB": lambda: Remote(end_record(PLAIN, size=900 * MIB), size=1000 * MIB),
    "a table that begins elsewhere": lambda: Remote(end_record(PLAIN, offset=5)),
    "a table behind the end": lambda: Remote(end_record(PLAIN, offset=2**32 - 2)),
    "an end record cut short": lambda: Remote(PLAIN[:-5]),
    "METADATA of 1 GiB": lambda: Remote(central(PLAIN, f"{INFO}/METADATA", size=1024 * MIB, compressed=1024 * MIB)),
    "METADATA of 4 GiB, in a file said to be as large": lambda: Remote(
        central(PLAIN, f"{INFO}/METADATA", compressed=2**32 - 2), size=2**34
    ),
    "METADATA behind the end": lambda: Remote(central(PLAIN, f"{INFO}/METADATA", header=2**31)),
    "METADATA in the middle of something": lambda: Remote(central(PLAIN, f"{INFO}/METADATA", header=777)),
    "a bomb": lambda: Remote(BOMB),
    "a bomb that says it is small": lambda: Remote(central(BOMB, f"{INFO}/METADATA", size=1000)),
    "an odd method": lambda: Remote(central(PLAIN, f"{INFO}/METADATA", method=12)),
    "two of them": lambda: Remote(zipped({f"{INFO}/METADATA": metadata(NAME, "1.0"), "x-1.dist-info/METADATA": b""})),
    "zeros": lambda: Remote(b"", size=2**40),
}


@pytest.mark.parametrize("lie", HOSTILE)
async def test_a_hostile_wheel_costs_little_and_has_no_metadata(lie: str) -> None:
    remote = HOSTILE[lie]()
    with pytest.raises(BadWheel):
        await remote.read()
    assert len(remote.spans) <= 12
    assert remote.fetched <= 24 * MIB


async def test_metadata_that_says_it_is_too_large_is_not_read() -> None:
    remote = Remote(zipped({f"{INFO}/METADATA": bytes(11 * MIB), "pad": bytes(100_000)}, zipfile.ZIP_STORED))
    with pytest.raises(BadWheel, match="larger than 10 MiB"):
        await remote.read()
    assert remote.fetched <= TAIL_BYTES


async def test_of_what_is_large_in_every_way_no_more_is_read_than_the_limit() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{INFO}/METADATA", metadata(NAME, "1.0") + bytes(10_000_000))
        for number in range(240):
            entry = zipfile.ZipInfo(f"{number}.py")
            entry.comment = b"#" * 65_000
            archive.writestr(entry, b"")
    remote = Remote(buffer.getvalue())
    with pytest.raises(BadWheel, match="too many places"):
        await remote.read()
    assert remote.fetched <= 24 * MIB


@pytest.mark.parametrize("lies", [{"entries": 60_000, "here": 60_000}, {"comment": 65_535}])
async def test_lies_that_installers_do_not_look_at_change_nothing(lies: dict[str, int]) -> None:
    assert (await Remote(end_record(PLAIN, **lies)).read()).body == metadata(NAME, "1.0")


@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_of_an_entry_named_twice_the_last_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for requires in ("first", "last"):
            archive.writestr(f"{INFO}/METADATA", metadata(NAME, "1.0", requires=[requires]))
    assert (await Remote(buffer.getvalue()).read()).body == metadata(NAME, "1.0", requires=["last"])


async def test_what_reading_raises_is_passed_on() -> None:
    async def fetch(start: int, end: int) -> bytes:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await read_by_ranges(fetch, 1000, WHEEL)

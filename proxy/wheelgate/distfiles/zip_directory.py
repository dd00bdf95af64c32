"""The table of contents of an uploaded zip file, read strictly: there is one, and every reader finds the same in it.

Readers of zip files begin at different ends: pip (``zipfile``) at the last end record that it finds, uv at the first local
header. Only a file in which nothing can be found but what both find is taken. The specification is PKWARE's APPNOTE; what
is refused beyond it is what one of the two refuses, or reads otherwise than the other.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import msgspec

from wheelgate.distfiles.member_names import show_name

STORED, DEFLATED = 0, 8
DESCRIPTOR = 0x0008
"""The flag of an entry whose checksum and sizes stand behind its data."""
_UTF8 = 0x0800
_ALLOWED_FLAGS = DESCRIPTOR | _UTF8 | 0x0006  # the last two say how hard deflate tried
_ENCRYPTED = 0x2041
MAX_ENTRIES = 150_000
MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
"""The table of contents of 100,000 files is about 10 MB."""
_NEWEST_VERSION = 63
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_BYTES = _LOCAL.size
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_FIELD, _UNICODE_PATH_FIELD = 0x0001, 0x7075


class Entry(msgspec.Struct, frozen=True):
    """An entry as the table of contents states it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int
    """Of its local header."""

    @property
    def is_folder(self) -> bool:
        """True for an entry that stands for a folder."""
        return self.name.endswith("/")


class ZipDirectory(msgspec.Struct, frozen=True):
    """The table of contents, and the place where it begins."""

    entries: tuple[Entry, ...]
    """In the order of their places in the file."""
    start: int


class LocalHeader(msgspec.Struct, frozen=True):
    """The header of an entry before its data."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    is_zip64: bool


def read_directory(file: IO[bytes], bad: type[ValueError]) -> ZipDirectory:
    """Read the table of contents of a whole file; ``bad``, whose message completes "it ...", if it breaks a rule."""
    size = file.seek(0, 2)
    count, start, length = _find_directory(file, size, bad)
    if length > MAX_DIRECTORY_BYTES or count > MAX_ENTRIES:
        raise bad("has a table of contents larger than any distribution's")
    file.seek(start)
    table = file.read(length)
    entries = sorted(_parse_entries(table, bad), key=lambda entry: entry.offset)
    if len(entries) != count:
        raise bad(f"states {count} entries in its end record, but has {len(entries)} in its table of contents")
    return ZipDirectory(tuple(entries), start)


def _find_directory(file: IO[bytes], size: int, bad: type[ValueError]) -> tuple[int, int, int]:
    """Find the table of contents: its number of entries, start and length in bytes."""
    tail_start = max(0, size - _END.size - _MAX_16)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise bad("is not a whole zip file")
    _, disk, first_disk, here, count, length, start, comment_bytes = _END.unpack_from(tail, at)
    end = tail_start + at
    comment = tail[at + _END.size :]
    if len(comment) != comment_bytes:
        raise bad("is not a whole zip file" if len(comment) < comment_bytes else "has bytes after its end record")
    if b"PK" in comment or any(1 <= byte <= 8 for byte in comment):
        raise bad("has a comment that may hide a second zip file")
    stated: tuple[int, ...] = (disk, first_disk, here, count, length, start)
    boundary = end
    file.seek(max(0, end - _LOCATOR.size))
    locator = file.read(min(end, _LOCATOR.size))
    if locator.startswith(b"PK\x06\x07") and len(locator) == _LOCATOR.size:
        _, record_disk, boundary, disks = _LOCATOR.unpack(locator)
        if boundary + _END_64.size != end - _LOCATOR.size or record_disk or disks > 1:
            raise bad("has a zip64 locator that does not lead to the record before it")
        stated = _read_end_64(file, boundary, stated, bad)
    disk, first_disk, here, count, length, start = stated
    if disk or first_disk or here != count:
        raise bad("is one part of a zip file that was split")
    if start + length != boundary:
        # Bytes before the archive shift everything: pip makes up for that, uv does not.
        extra = start + length < boundary
        raise bad("has bytes that belong to no entry before its end record" if extra else "is not a whole zip file")
    return count, start, length


def _read_end_64(file: IO[bytes], at: int, stated: tuple[int, ...], bad: type[ValueError]) -> tuple[int, ...]:
    """Read the zip64 end record, which must agree with what the other one states."""
    file.seek(at)
    signature, record_bytes, _, _, *values = _END_64.unpack(file.read(_END_64.size))
    if signature != b"PK\x06\x06" or record_bytes != _END_64.size - 12:
        raise bad("has a zip64 end record that not every installer reads")
    limits = (_MAX_16,) * 4 + (_MAX_32,) * 2
    if any(old not in (limit, new) for old, limit, new in zip(stated, limits, values, strict=True)):
        raise bad("has two end records that contradict each other")
    return tuple(values)


def _parse_entries(table: bytes, bad: type[ValueError]) -> Iterator[Entry]:
    at = 0
    while at < len(table):
        if len(table) - at < _CENTRAL.size or not table.startswith(b"PK\x01\x02", at):
            raise bad("has a damaged table of contents")
        fields = _CENTRAL.unpack_from(table, at)
        version, flags, method, crc, packed, size = fields[3], fields[5], fields[6], *fields[9:12]
        name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset = fields[12:]
        name_end = at + _CENTRAL.size + name_bytes
        extra_end = name_end + extra_bytes
        raw_name = table[at + _CENTRAL.size : name_end]
        at = extra_end + comment_bytes
        if at > len(table):
            raise bad("has a damaged table of contents")
        name = decode_name(raw_name, flags, bad)
        extra = _parse_extra(table[name_end:extra_end], name, raw_name, bad)
        packed, size, offset = _resolve(extra, name, (packed, size, offset), bad)
        entry = Entry(name, raw_name, flags, method, crc, packed, size, offset)
        _check_entry(entry, version, disk, attributes >> 16, bad)
        yield entry


def _check_entry(entry: Entry, version: int, disk: int, mode: int, bad: type[ValueError]) -> None:
    shown = show_name(entry.name)
    if entry.flags & _ENCRYPTED:
        raise bad(f"has an entry that is encrypted: {shown}")
    if entry.method not in (STORED, DEFLATED):
        raise bad(f"has an entry compressed in a way that not every installer reads (only stored and deflate are): {shown}")
    if entry.flags & ~_ALLOWED_FLAGS or version > _NEWEST_VERSION or disk:
        raise bad(f"has an entry that uses features of zip that not every installer knows: {shown}")
    if entry.method == STORED and entry.packed_bytes != entry.size_bytes:
        raise bad(f"has an entry that is stored as it is, in another size than its own: {shown}")
    if entry.is_folder and (entry.size_bytes or entry.crc):
        raise bad(f"has an entry that is a folder with content: {shown}")
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR and not entry.is_folder):
        # pip and uv write a link's target into a file; other tools follow it.
        raise bad(f"has an entry that is a link or a device, which no installer makes of it: {shown}")


def decode_name(raw: bytes, flags: int, bad: type[ValueError]) -> str:
    """Decode a name as all readers do: UTF-8 that says so, or ASCII; or raise ``bad``."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise bad(f"has an entry whose name is not UTF-8 and marked as that: {show_name(repr(raw)[2:-1])}") from None
    if not name:
        raise bad("has an entry without a name")
    return name


def _parse_extra(extra: bytes, name: str, raw_name: bytes, bad: type[ValueError]) -> bytes | None:
    """Parse the extra fields of a header for the one that matters: that of zip64, or ``None``."""
    found: dict[int, bytes] = {}
    at = 0
    while len(extra) - at >= 4:
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4 + length
        if at > len(extra) or kind in found:
            raise bad(f"has an entry with a damaged extra field: {show_name(name)}")
        found[kind] = extra[at - length : at]
    other = found.get(_UNICODE_PATH_FIELD)
    if other is not None and other != struct.pack("<BL", 1, zlib.crc32(raw_name)) + name.encode():
        raise bad(f"has an entry with a second name in an extra field: {show_name(name)}")
    return found.get(_ZIP64_FIELD)


def _resolve(extra: bytes | None, name: str, fields: tuple[int, ...], bad: type[ValueError]) -> tuple[int, ...]:
    """Resolve packed size, size and, if it is given, offset, whose true values zip64 keeps in its extra field."""
    packed, size, *offset = fields
    wanted = [size, packed, *offset]  # the order in the extra field
    places = [place for place, value in enumerate(wanted) if value == _MAX_32]
    if extra is None and not places:
        return fields
    redundant = not offset and extra == struct.pack("<2Q", size, packed)  # in a local header, where both readers allow it
    if extra is None or len(extra) != 8 * len(places):
        if redundant:
            return fields
        raise bad(f"has an entry whose zip64 sizes are not where they belong: {show_name(name)}")
    for place, value in zip(places, struct.unpack(f"<{len(places)}Q", extra), strict=True):
        wanted[place] = value
    return (wanted[1], wanted[0], *wanted[2:])


def measure_local(head: bytes, entry: Entry, bad: type[ValueError]) -> int:
    """Measure the name and the extra fields that follow the fixed part of a local header, in bytes; ``bad`` if it is none."""
    if len(head) != LOCAL_BYTES or not head.startswith(b"PK\x03\x04"):
        raise bad(f"has bytes that belong to no entry before {show_name(entry.name)}")
    name_bytes, extra_bytes = _LOCAL.unpack(head)[-2:]
    return int(name_bytes + extra_bytes)


def parse_local(head: bytes, rest: bytes, bad: type[ValueError]) -> LocalHeader:
    """Parse a local header, in its fixed part and what follows it."""
    _, version, flags, method, _, _, crc, packed, size, name_bytes, _ = _LOCAL.unpack(head)
    raw_name, extra = rest[:name_bytes], rest[name_bytes:]
    name = decode_name(raw_name, flags, bad)
    if version & 0xFF > _NEWEST_VERSION:
        raise bad(f"has an entry that uses features of zip that not every installer knows: {show_name(name)}")
    zip64 = _parse_extra(extra, name, raw_name, bad)
    packed, size = _resolve(zip64, name, (packed, size), bad)
    return LocalHeader(raw_name, flags, method, crc, packed, size, zip64 is not None)

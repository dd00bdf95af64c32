"""Zip and tar files put together by hand, header by header, for what honest tools would not write."""

from __future__ import annotations

import base64
import gzip
import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.packages import metadata

NAME, VERSION = "acme", "1.0"
WHEEL = "acme-1.0-py3-none-any.whl"
SDIST = "acme-1.0.tar.gz"
INFO = "acme-1.0.dist-info"
TOP = "acme-1.0"
MODULE = ("acme.py", b"VALUE = 1\n" * 20)
WHEEL_FILE = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = metadata(NAME, VERSION)
PYPROJECT = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import base64
WHEEL = base64.b64decode({wheel!r})
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open(folder + "/acme-1.0-py3-none-any.whl", "wb") as file:
        file.write(WHEEL)
    return "acme-1.0-py3-none-any.whl"
"""


@dataclass(frozen=True)
class Part:
    """One entry of a zip file, and how its headers differ from its content."""

    name: str | bytes
    content: bytes = b""
    method: int = 8
    data: bytes | None = None
    """Its compressed bytes, if they are not to be those of the content."""
    local: Mapping[str, Any] = field(default_factory=dict)
    """Its local header's lies: ``name``, ``flags``, ``method``, ``version``, ``crc``, ``packed``, ``size``, ``extra``."""
    central: Mapping[str, Any] = field(default_factory=dict)
    """Likewise in the table of contents, where there are ``mode`` and ``offset`` too."""
    flags: int = 0
    descriptor: str = ""
    """``plain``, ``signed``, ``zip64``: behind the data, with zeros in the local header; ``wrong``: with another size."""
    before: bytes = b""
    """Bytes before its local header."""
    listed: bool = True
    """It is in the table of contents."""
    written: bool = True
    """It is in the file; else its table entry shares the place of the entry before."""

    def pack(self) -> bytes:
        if self.data is not None:
            return self.data
        if self.method != 8:
            return self.content
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.content) + packer.flush()


def build_zip(
    parts: Sequence[Part],
    *,
    before: bytes = b"",
    shifted: bool = True,
    between: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    zip64: str = "",
    end: Mapping[str, int] | None = None,
) -> bytes:
    """A zip file.

    Args:
        parts: its entries.
        before: bytes in front; ``shifted``: the offsets count them.
        between: bytes before the table of contents.
        after: bytes behind everything.
        comment: of the end record.
        zip64: ``right``, or how it is wrong: ``count``, ``locator``, ``extensible``.
        end: fields of the end record that lie: ``count``, ``size``, ``offset``, ``disk``.
    """
    body, table, offset = bytearray(before), bytearray(), 0
    start = len(before) if shifted else 0
    for part in parts:
        body += part.before if part.written else b""
        offset = offset if not part.written else len(body) - len(before) + start
        local, central = _headers(part, offset)
        if part.written:
            body += local + part.pack() + _descriptor(part)
        table += central if part.listed else b""
    body += between
    count = sum(part.listed for part in parts)
    place = len(body) - len(before) + start
    values = {"count": count, "size": len(table), "offset": place, **(end or {})}
    body += table
    if zip64:
        record = len(body)
        number = count + (zip64 == "count")
        more = b"\0" * 8 if zip64 == "extensible" else b""
        body += struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44 + len(more), 45, 45, 0, 0, number, number, len(table), place) + more
        body += struct.pack("<4sLQL", b"PK\x06\x07", 0, record - (zip64 == "locator"), 1)
    body += struct.pack(
        "<4s4H2LH",
        b"PK\x05\x06",
        values.get("disk", 0),
        0,
        values["count"],
        values["count"],
        values["size"],
        values["offset"],
        len(comment),
    )
    return bytes(body) + comment + after


def _headers(part: Part, offset: int) -> tuple[bytes, bytes]:
    raw = part.name.encode() if isinstance(part.name, str) else part.name
    packed = part.pack()
    true: dict[str, Any] = {
        "name": raw,
        "flags": part.flags | (8 if part.descriptor else 0) | (0 if raw.isascii() or isinstance(part.name, bytes) else 0x800),
        "method": part.method,
        "crc": zlib.crc32(part.content),
        "packed": len(packed),
        "size": len(part.content),
        "extra": b"",
        "mode": 0o100644,
        "offset": offset,
        "version": 20,
    }
    zeros = {"crc": 0, "packed": 0, "size": 0} if part.descriptor else {}
    if part.descriptor == "zip64":
        zeros |= {"packed": 2**32 - 1, "size": 2**32 - 1, "extra": struct.pack("<2H2Q", 1, 16, 0, 0)}
    told, listed = {**true, **zeros, **part.local}, {**true, **part.central}

    def common(values: Mapping[str, Any]) -> bytes:
        numbers = [values[key] for key in ("flags", "method")], [values[key] for key in ("crc", "packed", "size")]
        return struct.pack("<2H", *numbers[0]) + struct.pack("<2H", 0, 0x21) + struct.pack("<3L", *numbers[1])

    local = (
        b"PK\x03\x04"
        + struct.pack("<H", told["version"])
        + common(told)
        + struct.pack("<2H", len(told["name"]), len(told["extra"]))
    )
    central = b"PK\x01\x02" + struct.pack("<BBH", 20, 3, listed["version"]) + common(listed)
    central += struct.pack("<5H2L", len(listed["name"]), len(listed["extra"]), 0, 0, 0, listed["mode"] << 16, listed["offset"])
    return local + told["name"] + told["extra"], central + listed["name"] + listed["extra"]


def _descriptor(part: Part) -> bytes:
    crc, packed, size = zlib.crc32(part.content), len(part.pack()), len(part.content)
    if part.descriptor == "zip64":
        return b"PK\x07\x08" + struct.pack("<L2Q", crc, packed, size)
    if part.descriptor == "wrong":
        return struct.pack("<3L", crc, packed, size + 1)
    return (
        struct.pack("<3L", crc, packed, size)
        if part.descriptor == "plain"
        else (b"PK\x07\x08" + struct.pack("<3L", crc, packed, size) if part.descriptor else b"")
    )


def record_line(name: str, content: bytes, algorithm: str = "sha256") -> str:
    """A line of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()
    return f"{name},{algorithm}={digest},{len(content)}\n"


def wheel_parts(
    *more: Part,
    files: Mapping[str, bytes | None] | None = None,
    module: Part | None = None,
    record: str | None = None,
    record_more: str = "",
    record_row: str = "",
    unrecorded: Sequence[str] = (),
    info: str = INFO,
) -> list[Part]:
    """The entries of a wheel.

    Args:
        more: entries beside the usual ones.
        files: entries of ``.dist-info`` in place of the usual ones, by name; ``None``: left out.
        module: in place of the usual module.
        record: all of RECORD.
        record_more: lines at its end.
        record_row: how it names itself.
        unrecorded: names that are not in it.
        info: the ``.dist-info`` folder's name.
    """
    own: dict[str, bytes | None] = {"METADATA": METADATA, "WHEEL": WHEEL_FILE, **(files or {})}
    parts = [module or Part(*MODULE), *more]
    parts += [Part(f"{info}/{name}", content) for name, content in own.items() if content is not None and name != "RECORD"]
    lines = "".join(
        record_line(part.name, part.content)
        for part in parts
        if isinstance(part.name, str) and part.name not in unrecorded and not part.name.endswith("/")
    )
    table = record if record is not None else f"{lines}{record_more}{record_row or f'{info}/RECORD'},,\n"
    return parts if "RECORD" in own and own["RECORD"] is None else [*parts, Part(f"{info}/RECORD", table.encode())]


def build_wheel(*more: Part, zipped: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    """A wheel of :func:`wheel_parts`, in a zip file made with the options ``zipped``."""
    return build_zip(wheel_parts(*more, **options), **(zipped or {}))


def tar_header(
    name: bytes,
    size: int = 0,
    kind: bytes = b"0",
    *,
    target: bytes = b"",
    checksum: int = 0,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
) -> bytes:
    """A header of a tar file; ``checksum`` is added to the right one."""
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + kind
    head += target.ljust(100, b"\0") + magic + b"\0" * 64 + b"0000000\0" * 2 + prefix.ljust(155, b"\0")
    head = head.ljust(512, b"\0")
    return head[:148] + b"%06o\0 " % (sum(head) + checksum) + head[156:]


def tar_file(name: str, content: bytes = b"", **options: Any) -> bytes:
    """A member with its content."""
    return tar_header(name.encode(), len(content), **options) + pad(content)


def pad(content: bytes) -> bytes:
    """Content with the zeros that fill its last block."""
    return content + b"\0" * (-len(content) % 512)


def gnu_name(name: str, kind: bytes = b"L") -> bytes:
    """GNU's header for a long name, or (``K``) for what a link leads to."""
    return tar_header(b"././@LongLink", len(name) + 1, kind, magic=GNU) + pad(name.encode() + b"\0")


def tar_link(name: str, target: str, kind: bytes = b"2", **options: Any) -> bytes:
    """A link: symbolic, or (``1``) hard."""
    return tar_header(name.encode(), kind=kind, target=target.encode(), **options)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    """An extended header."""
    body = b""
    for key, value in records.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(rest) + 1
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        body += str(length).encode() + rest
    return tar_header(b"pax", len(body), kind) + pad(body)


def build_backend() -> bytes:
    """A build backend that needs nothing and always builds the same wheel."""
    return BACKEND.format(wheel=base64.b64encode(build_wheel()).decode()).encode()


POSIX, GNU = b"ustar\x0000", b"ustar  \0"


def sdist_members(top: str = TOP, pkg_info: bytes | None = METADATA, magic: bytes = POSIX) -> bytes:
    """The members that every sdist has."""
    made = tar_file(f"{top}/pyproject.toml", PYPROJECT, magic=magic)
    made += tar_file(f"{top}/backend.py", build_backend(), magic=magic)
    return made + (b"" if pkg_info is None else tar_file(f"{top}/PKG-INFO", pkg_info, magic=magic))


def build_sdist(*more: bytes, first: bytes = b"", members: bytes | None = None, end: bytes = b"\0" * 1024) -> bytes:
    """A ``.tar.gz`` of the usual members, and ``more``."""
    return gzip.compress(first + (sdist_members() if members is None else members) + b"".join(more) + end, mtime=0)

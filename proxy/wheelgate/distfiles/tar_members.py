"""Members of a tar file, walked header by header. Strict: where two readers could find different members, there are none.

``tarfile`` is kept away from uploads: a crafted header makes unpatched Pythons loop for ever (CVE-2025-8194), and it ends quietly
at a damaged header where uv stops. The formats are those of POSIX (ustar and pax) and of GNU's long names, one or the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from wheelgate.distfiles.member_names import show_name

_BLOCK = 512
_PIECE_BYTES = 256 * 1024
_MAX_EXTENDED_BYTES = 1024 * 1024
_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
"""Fields that a damaged number makes the end of the archive for ``tarfile``: mode, owner, group, time, device."""
_Kind = Literal["file", "folder", "symlink", "hardlink"]
_KINDS: dict[bytes, _Kind] = {b"0": "file", b"\0": "file", b"1": "hardlink", b"2": "symlink", b"5": "folder"}
_POSIX, _GNU = b"ustar\x0000", b"ustar  \0"
_EXTENDED = {_POSIX: b"xg", _GNU: b"LK"}
_OCTAL = re.compile(rb"([0-7]+)[\0 ]+")
_NAMING = ("path", "linkpath", "size")
_VENDORS = ("SCHILY.", "LIBARCHIVE.")
"""Of records that uv passes over."""
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,6}) ")
_CUT = "is cut short"
_NOT_TAR = "does not hold a tar archive"
_DAMAGED = "has a damaged header in its tar archive"


class TarMember(msgspec.Struct, frozen=True):
    """A member, with the name that its extended headers give it."""

    name: str
    kind: _Kind
    size_bytes: int
    target: str
    """Of a link; else empty."""


class TarStream:
    """The bytes of a tar file, in order."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes; fewer only at the end."""
        taken = self._piece[self._at : self._at + size]
        self._at += len(taken)
        while len(taken) < size and self._fill():
            more = self._piece[: size - len(taken)]
            self._at = len(more)
            taken += more
        return taken

    def skip(self, size: int) -> bool:
        """Pass over bytes; ``False`` if there are fewer."""
        while size > len(self._piece) - self._at:
            size -= len(self._piece) - self._at
            if not self._fill():
                return False
        self._at += size
        return True

    def _fill(self) -> bool:
        self._piece, self._at = next((piece for piece in self._pieces if piece), b""), 0
        return bool(self._piece)


class TarWalk:
    """Strict walk through a tar file; it raises ``bad``, whose message completes "it ...", where a rule is broken."""

    def __init__(self, stream: TarStream, bad: type[ValueError]) -> None:
        self._stream = stream
        self._bad = bad
        self._left = 0
        self._padding = 0
        self._magic = b""
        """Of all headers: that of the first."""

    def __iter__(self) -> Iterator[TarMember]:
        extended: dict[str, str] = {}
        while block := self._next_header():
            magic, kind = block[257:265], block[156:157]
            if magic not in _EXTENDED or not _is_whole(block):
                raise self._bad(_DAMAGED if self._magic else _NOT_TAR)
            if self._magic not in (b"", magic):
                raise self._bad("has a tar archive that mixes two formats (POSIX and GNU)")
            self._magic = magic
            size = self._parse_size(block)
            self._left, self._padding = size, -size % _BLOCK
            if kind in _EXTENDED[magic]:
                self._read_extended(kind, size, extended)
                continue
            yield self._build(block, kind, size, extended)
            extended = {}
        if not self._magic:
            raise self._bad(_NOT_TAR)
        if extended:
            raise self._bad("has an extended header in its tar archive that belongs to no member")

    def read(self) -> bytes:
        """Read the whole content of the member that was just met."""
        content = self._stream.take(self._left)
        if len(content) < self._left:
            raise self._bad(_CUT)
        self._left = 0
        return content

    def _next_header(self) -> bytes:
        """Read the next header, of no bytes at the end, behind which there is nothing."""
        if not self._stream.skip(self._left + self._padding):
            raise self._bad(_CUT)
        self._left = self._padding = 0
        block = self._stream.take(_BLOCK)
        if block.strip(b"\0"):
            if len(block) < _BLOCK:
                raise self._bad(_CUT if self._magic else _NOT_TAR)
            return block
        if len(block) < _BLOCK or len(second := self._stream.take(_BLOCK)) < _BLOCK:
            raise self._bad(_CUT if self._magic else _NOT_TAR)
        if second.strip(b"\0"):
            raise self._bad("has bytes after the end of its tar archive")
        while rest := self._stream.take(_PIECE_BYTES):
            if rest.strip(b"\0"):
                raise self._bad("has bytes after the end of its tar archive")
        return b""

    def _parse_size(self, block: bytes) -> int:
        size = _parse_number(block[124:136])
        if size is None:
            raise self._bad(_DAMAGED)
        return size

    def _read_extended(self, kind: bytes, size: int, extended: dict[str, str]) -> None:
        """Read a header that belongs to the next member, into what is known of that."""
        if size > _MAX_EXTENDED_BYTES:
            raise self._bad("has an extended header in its tar archive larger than 1 MiB")
        body = self.read()
        if kind in b"xg":
            found = self._parse_pax(body, is_global=kind == b"g")
        else:
            found = {"path" if kind == b"L" else "linkpath": self._decode(body.rstrip(b"\0"))}
        for key, value in found.items():
            if extended.setdefault(key, value) != value:
                raise self._bad(f"has a member of two names or sizes in its tar archive: {show_name(value)}")

    def _parse_pax(self, body: bytes, *, is_global: bool) -> dict[str, str]:
        found: dict[str, bytes] = {}
        at = 0
        while at < len(body):
            length = _PAX_LENGTH.match(body, at)
            record = body[length.end() : at + int(length[1])] if length else b""
            keyword, equals, value = record.partition(b"=")
            if length is None or at + int(length[1]) > len(body) or not equals or not value.endswith(b"\n"):
                raise self._bad("has a damaged extended header in its tar archive")
            at += int(length[1])
            key = self._decode(keyword)
            if key == "hdrcharset" or ("." in key and not key.startswith(_VENDORS)):
                raise self._bad("has an extended header in its tar archive that not every installer reads")
            if key in found or (is_global and key in _NAMING):
                raise self._bad("has an extended header in its tar archive that names many members at once, or one twice")
            found[key] = value[:-1]
        return {key: self._decode(found[key]) for key in _NAMING if key in found}

    def _build(self, block: bytes, kind: bytes, size: int, extended: dict[str, str]) -> TarMember:
        name, target = (self._decode(_cut_at_zero(block[start : start + 100])) for start in (0, 157))
        prefix = block[345:500]
        if self._magic == _GNU:
            if prefix.strip(b"\0"):  # times in GNU's format, a part of the name for pip
                raise self._bad(f"has a member in a form that not every installer reads: {show_name(name)}")
        elif prefix[:1] != b"\0":
            name = f"{self._decode(_cut_at_zero(prefix))}/{name}"
        name, target = extended.get("path", name), extended.get("linkpath", target)
        shown = show_name(name)
        if kind not in _KINDS:
            raise self._bad(f"has a member that is a device, or of another kind that no installer unpacks: {shown}")
        if extended.get("size", str(size)) != str(size):
            raise self._bad(f"has a member of two sizes in its tar archive: {shown}")
        named_as_folder = name.endswith("/")
        found = "folder" if kind == b"\0" and named_as_folder else _KINDS[kind]
        if named_as_folder and found != "folder":
            raise self._bad(f"has a member that is a file, named as a folder: {shown}")
        if size and found != "file":
            raise self._bad(f"has a member that is no file, with content: {shown}")
        return TarMember(name.removesuffix("/"), found, size, target if found in ("symlink", "hardlink") else "")

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._bad(f"has a member whose name is not UTF-8: {show_name(repr(raw)[2:-1])}") from None


def stays_inside(member: TarMember, top: str) -> bool:
    """True if a symbolic link means a place below ``top``, the folder that all members are in and that pip takes away.

    It goes up first, if at all: behind a folder that is a link itself, what ``..`` means is not what it reads like.
    """
    if not is_plain(member.target) or not member.target.isprintable() or member.target.startswith("/") or "\\" in member.target:
        return False
    parts = [part for part in member.target.split("/") if part != "."]
    ups = parts.count("..")
    return parts[:ups] == [".."] * ups and ups < member.name.removeprefix(f"{top}/").count("/") + 1


def is_plain(name: str) -> bool:
    """True for a name that uv takes in a tar file: not empty, without colons, and without white space at its ends."""
    return bool(name) and ":" not in name and name == name.strip()


def _is_whole(block: bytes) -> bool:
    """True if the header's checksum and numbers are right."""
    stated = _parse_number(block[148:156])
    computed = sum(block) - sum(block[148:156]) + 8 * 0x20
    return stated == computed and all(_parse_number(block[start:end]) is not None for start, end in _NUMBERS)


def _cut_at_zero(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _parse_number(field: bytes) -> int | None:
    """Parse a number, octal or in GNU's form for what is longer; ``None``: it is none."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if not field.strip(b"\0"):
        return 0
    octal = _OCTAL.fullmatch(field)
    return int(octal[1], 8) if octal else None

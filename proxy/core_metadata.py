"""METADATA out of a wheel, without trusting the wheel (PEP 427, PEP 658; the zip rules are PyPI's)."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from email.parser import HeaderParser
from typing import IO

import msgspec
from packaging.utils import canonicalize_name, parse_wheel_filename

MAX_METADATA_BYTES = 10 * 1024 * 1024
_MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
_MAX_ENTRIES = 200_000
_METADATA = re.compile(r"([^/\\]+)\.dist-info/METADATA")
_END_RECORD = struct.Struct("<4s4H2LH")


class BadWheel(ValueError):
    """The wheel breaks a rule; the message completes "it ..."."""


class CoreMetadata(msgspec.Struct, frozen=True):
    """The file itself, and the fields that we use of it."""

    body: bytes
    name: str
    version: str
    requires_python: str | None


def read_core_metadata(wheel: IO[bytes], filename: str) -> CoreMetadata:
    """The one METADATA of a wheel, checked against the wheel's name.

    Args:
        wheel: the whole file, seekable.
        filename: its name; must parse as a wheel's.

    Raises:
        BadWheel: not a zip, without METADATA, with two, too large, or of another name or version than the file name says.
    """
    _check_directory(wheel)
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = _the_metadata_name(archive)
            body = _read(archive, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, BadWheel):
            raise
        raise BadWheel("is not a whole zip file") from None
    return _checked(body, name, filename)


def _check_directory(wheel: IO[bytes]) -> None:
    """``zipfile`` reads the whole central directory into memory; refuse one that no wheel needs before it does."""
    size = wheel.seek(0, 2)
    wheel.seek(max(0, size - 65_557))
    tail = wheel.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END_RECORD.size:
        raise BadWheel("is not a whole zip file")
    _, _, _, _, entries, directory, _, _ = _END_RECORD.unpack_from(tail, at)
    if directory > _MAX_DIRECTORY_BYTES and directory != 0xFFFFFFFF:
        raise BadWheel("has a table of contents larger than any wheel's")
    if directory == 0xFFFFFFFF or entries == 0xFFFF:
        locator = tail.rfind(b"PK\x06\x06", 0, at)
        if locator < 0:
            raise BadWheel("has a table of contents that cannot be found")
        count, length = struct.unpack_from("<QQ", tail, locator + 32)
        if length > _MAX_DIRECTORY_BYTES or count > _MAX_ENTRIES:
            raise BadWheel("has a table of contents larger than any wheel's")
    wheel.seek(0)


def _the_metadata_name(archive: zipfile.ZipFile) -> str:
    seen = set()
    for name in archive.namelist():
        if name in seen:
            raise BadWheel(f"has two entries named {name[:200]!r}")
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise BadWheel(f"has an entry that leaves its folder: {name[:200]!r}")
        seen.add(name)
    found = [name for name in seen if _METADATA.fullmatch(name)]
    if len(found) != 1:
        raise BadWheel("has no METADATA" if not found else "has more than one METADATA")
    return found[0]


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as entry:
        body = entry.read(MAX_METADATA_BYTES + 1)
        if len(body) > MAX_METADATA_BYTES:
            raise BadWheel("has a METADATA larger than 10 MiB")
        return body


def _checked(body: bytes, entry: str, filename: str) -> CoreMetadata:
    headers = HeaderParser().parsestr(body.decode("utf-8", "replace"))
    name, version = str(headers.get("Name", "")).strip(), str(headers.get("Version", "")).strip()
    project, stated, _, _ = parse_wheel_filename(filename)
    if canonicalize_name(name) != project:
        raise BadWheel(f"is named for {project}, but its METADATA says {name[:200]!r}")
    if not _same_version(version, str(stated)):
        raise BadWheel(f"is named for version {stated}, but its METADATA says {version[:200]!r}")
    folder = canonicalize_name(entry.partition(".dist-info/")[0].rpartition("-")[0])
    if folder != project:
        raise BadWheel(f"is named for {project}, but its METADATA lies in {entry[:200]!r}")
    requires = str(headers.get("Requires-Python", "")).strip()
    usable = requires and len(requires) < 1_000 and requires.isascii() and requires.isprintable()
    return CoreMetadata(body, name, version, requires if usable else None)


def _same_version(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False

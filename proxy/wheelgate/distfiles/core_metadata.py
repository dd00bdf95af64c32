"""Core metadata: METADATA out of a wheel that is not trusted (PEP 427, PEP 658; the zip rules are PyPI's)."""

from __future__ import annotations

import re
import zipfile
from email.message import Message
from email.parser import HeaderParser
from typing import IO

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from wheelgate.distfiles import zips

MAX_METADATA_BYTES = 10 * 1024 * 1024
_MAX_FIELDS_BYTES = 1024 * 1024  # a megabyte takes the parser a second; the description behind the fields takes none
_MAX_LINES = 20_000
"""Of the fields, with the lines that continue them: a README may be one of them."""
_METADATA = re.compile(r"([^/\\]+)\.dist-info/METADATA")
_BLANKS = " \t\r\n"  # what installers take off a field: any other white space is part of it
_END_OF_FIELDS = re.compile(rb"\r?\n\r?\n")


class BadWheel(ValueError):
    """A wheel that breaks a rule; the message completes "it ..."."""


class CoreMetadata(msgspec.Struct, frozen=True):
    """A METADATA file, and the fields that we use of it."""

    body: bytes
    name: str
    version: str
    requires_python: str | None


def read_core_metadata(wheel: IO[bytes], filename: str) -> CoreMetadata:
    """Read the one METADATA of a wheel, checked against the wheel's name.

    Args:
        wheel: the whole file, seekable.
        filename: its name.

    Raises:
        BadWheel: not a zip, without METADATA, with two, too large, or of another name or version than the file name says.
    """
    with zips.open_zip(wheel, BadWheel) as archive:
        found = [name for name in archive.namelist() if _METADATA.fullmatch(name)]
        if len(found) != 1:
            raise BadWheel("has no METADATA" if not found else "has more than one METADATA")
        name = found[0]
        fields = read_fields(_read(archive, name), filename)
    project = parse_wheel_filename(filename)[0]
    folder = canonicalize_name(name.partition(".dist-info/")[0].rpartition("-")[0])
    if folder != project:
        raise BadWheel(f"is named for {project}, but its METADATA lies in {name[:200]!r}")
    return fields


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if not zips.is_bounded(archive.getinfo(name)):
        raise BadWheel("has a METADATA compressed in a way that installers do not read")
    if archive.getinfo(name).file_size > MAX_METADATA_BYTES:  # says so itself: no need to read that much
        raise BadWheel("has a METADATA larger than 10 MiB")
    with archive.open(name) as entry:
        body = entry.read(MAX_METADATA_BYTES + 1)
    if len(body) > MAX_METADATA_BYTES:
        raise BadWheel("has a METADATA larger than 10 MiB")
    return body


def read_fields(body: bytes, filename: str) -> CoreMetadata:
    """Read the fields of a METADATA, checked against its wheel's name; :class:`BadWheel` if it is another's, or too large."""
    headers = parse_headers(body, "METADATA", BadWheel)
    try:
        project, stated, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        raise BadWheel("has a name that no installer reads") from None
    name, version = read_identity(headers, "METADATA", project, stated, BadWheel)
    requires = str(headers.get("Requires-Python", "")).strip()
    usable = requires and len(requires) < 1_000 and requires.isascii() and requires.isprintable()
    return CoreMetadata(body, name, version, requires if usable else None)


def parse_headers(body: bytes, file: str, bad: type[ValueError]) -> Message:
    """Parse the fields that METADATA, PKG-INFO and WHEEL are made of; ``bad``, named by their ``file``, if they are too many."""
    fields = _END_OF_FIELDS.split(body, maxsplit=1)[0]
    if len(fields) > _MAX_FIELDS_BYTES:
        raise bad(f"has more than 1 MiB of fields in its {file}")
    if len(fields.splitlines()) > _MAX_LINES:
        raise bad(f"has more than {_MAX_LINES} lines of fields in its {file}")
    return HeaderParser().parsestr(fields.decode("utf-8", "replace"))


def read_identity(headers: Message, file: str, project: str, version: Version, bad: type[ValueError]) -> tuple[str, str]:
    """Read the name and version that ``file`` states, as written; ``bad`` if they are not those of the file's name."""
    name, stated = (str(headers.get(field, "")).strip(_BLANKS) for field in ("Name", "Version"))
    if canonicalize_name(name) != project:
        raise bad(f"is named for {project}, but its {file} says {name[:200]!r}")
    try:
        is_same = Version(stated) == version
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        is_same = False
    if not is_same:
        raise bad(f"is named for version {version}, but its {file} says {stated[:200]!r}")
    return name, stated

"""Core metadata: METADATA out of a wheel that is not trusted (PEP 427, PEP 658), found where installers find it.

Whatever an installer can read of a wheel is read, as it stands there; what is odd elsewhere in the wheel is the installer's to
judge. Uploads are held to more (:mod:`~wheelgate.distfiles.wheels`).
"""

from __future__ import annotations

import re
import zipfile
from contextlib import suppress
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import HeaderParser
from typing import IO

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelgate.core.constraints import UnshowableConstraint, read_constraint
from wheelgate.core.wheel_names import parse_wheel_name
from wheelgate.distfiles import zips

MAX_METADATA_BYTES = 10 * 1024 * 1024
_MAX_FIELDS_BYTES = 1024 * 1024  # a megabyte takes the parser a second; the description behind the fields takes none
_MAX_LINES = 20_000
"""Of the fields, with the lines that continue them: a README may be one of them."""
_LONGEST_ENCODED_NAME = 1_000  # decoding takes quadratic time, during which no other thread runs
STATED_ONCE = ("Metadata-Version", "Name", "Version", "Requires-Python")
"""Fields of METADATA and PKG-INFO that decide what a file is, and who may install it."""
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_BLANKS = " \t\r\n"  # what installers take off a field: any other white space is part of it
_END_OF_FIELDS = re.compile(rb"\r?\n\r?\n")


class BadWheel(ValueError):
    """A wheel that breaks a rule; the message completes "it ..."."""


class NoMetadata(BadWheel):
    """A whole zip file without METADATA that could be this wheel's: that is definite."""


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
        NoMetadata: it has none, several, one that is too large, or one of another name or version than the file name says.
        BadWheel: it is not a whole zip file. Whether it ever was is not known.
    """
    with zips.open_zip(wheel, BadWheel) as archive:
        found = {name for name in archive.namelist() if _METADATA.fullmatch(name)}
        if len(found) != 1:
            raise NoMetadata("has no METADATA" if not found else "has more than one METADATA")
        body = _read(wheel, archive, found.pop())
    return read_fields(body, filename)


def _read(wheel: IO[bytes], archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)  # of two entries of that name the last one, as for pip
    if entry.file_size > MAX_METADATA_BYTES:  # says so itself: no need to read that much
        raise NoMetadata("has a METADATA larger than 10 MiB")
    if not zips.is_bounded(entry):
        return zips.inflate_rare(wheel, entry, NoMetadata)
    with archive.open(entry) as opened:
        body = opened.read(MAX_METADATA_BYTES + 1)
    if len(body) > MAX_METADATA_BYTES:
        raise NoMetadata("has a METADATA larger than 10 MiB")
    return body


def read_fields(body: bytes, filename: str) -> CoreMetadata:
    """Read the fields of a METADATA, checked against its wheel's name; :class:`NoMetadata` if it is another's.

    Of very many fields the first ones are read; a wheel's name that only newer installers know is compared as far as it can be.
    """
    headers = _parse(b"\n".join(_cut_fields(body).splitlines()[:_MAX_LINES]))
    project, version = _read_name(filename)
    read_as_uv(headers, version)
    name, stated = read_identity(headers, "METADATA", project, version, NoMetadata)
    return CoreMetadata(body, name, stated, _read_python(str(headers.get("Requires-Python", ""))))


def _read_python(stated: str) -> str | None:
    """Read Requires-Python as pages state it; ``None``: there is none, or it is for whoever reads the METADATA alone."""
    with suppress(UnshowableConstraint):
        requires = read_constraint(stated)
        return requires if requires is not None and len(requires) < 1_000 and requires.isascii() else None
    return None


def _read_name(filename: str) -> tuple[str, Version]:
    """Read project and version in a wheel's name, which may have further parts, or a label that none has today."""
    with suppress(InvalidWheelFilename):
        wheel = parse_wheel_name(filename)
        return wheel.project, wheel.version
    parts = filename.removesuffix(".whl").split("-")
    try:
        if not 5 <= len(parts) <= 7:
            raise NoMetadata("has a name that no installer reads")
        return canonicalize_name(parts[0]), Version(parts[1])
    except InvalidVersion:
        raise NoMetadata("has a name that no installer reads") from None


def read_as_uv(headers: Message, version: Version) -> None:
    """Let stand what uv takes beyond pip: encoded words, and a local version that the file name alone has."""
    name = str(headers.get("Name", ""))
    if "=?" in name and len(name) <= _LONGEST_ENCODED_NAME:
        with suppress(ValueError, LookupError, MessageError):
            headers.replace_header("Name", str(make_header(decode_header(name))))
    with suppress(ValueError):
        if version.local and Version(str(headers.get("Version", "")).strip(_BLANKS)) == Version(version.public):
            headers.replace_header("Version", str(version))


def _cut_fields(body: bytes) -> bytes:
    return _END_OF_FIELDS.split(body[:_MAX_FIELDS_BYTES], maxsplit=1)[0]


def parse_headers(body: bytes, file: str, bad: type[ValueError]) -> Message:
    """Parse the fields that METADATA, PKG-INFO and WHEEL are made of; ``bad``, named by their ``file``, if they are too many."""
    fields = _END_OF_FIELDS.split(body, maxsplit=1)[0]
    if len(fields) > _MAX_FIELDS_BYTES:
        raise bad(f"has more than 1 MiB of fields in its {file}")
    if len(fields.splitlines()) > _MAX_LINES:
        raise bad(f"has more than {_MAX_LINES} lines of fields in its {file}")
    return _parse(fields)


def _parse(fields: bytes) -> Message:
    return HeaderParser().parsestr(fields.decode("utf-8", "replace"))


def check_text(body: bytes, file: str, bad: type[ValueError]) -> None:
    """Check that a whole METADATA or WHEEL is UTF-8; or raise ``bad``, whose message completes "it ..."."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise bad(f"has a {file} that is not UTF-8, at which pip stops") from None


def check_stated_once(headers: Message, file: str, fields: tuple[str, ...], bad: type[ValueError]) -> None:
    """Check that none of some fields stands there twice, since readers choose one each in its way; or raise ``bad``."""
    for field in fields:
        if len(headers.get_all(field) or ()) > 1:
            raise bad(f"has a {file} that states {field} more than once")


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

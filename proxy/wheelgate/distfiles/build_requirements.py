"""Build requirements of an sdist, read without unpacking it (PEP 518).

It is read leniently, as it comes from an index: what an installer reads, is read. Uploads are judged in
:mod:`~wheelgate.distfiles.sdists`.
"""

from __future__ import annotations

import re
from typing import IO

from packaging.requirements import InvalidRequirement, Requirement

from wheelgate.distfiles import zips
from wheelgate.distfiles.pyproject import load_pyproject
from wheelgate.distfiles.tar_members import TarStream
from wheelgate.runtime.bounded_gzip import BadGzip, BoundedGunzip

_BLOCK = 512
LEGACY = ("setuptools>=40.8.0",)
"""The requirements that installers assume for a project that states none (PEP 517)."""
_PYPROJECT = re.compile(r"(\./)?[^/]+/pyproject\.toml")
_MAX_INFLATED_BYTES = 2 * 1024**3
_MAX_PYPROJECT_BYTES = 1024 * 1024


class UnknownBuildRequirements(ValueError):
    """An sdist whose build requirements cannot be read; the message completes "it ..."."""


def build_requirements(sdist: IO[bytes], filename: str) -> tuple[str, ...]:
    """Read the requirements that an sdist states for building it, or raise :class:`UnknownBuildRequirements`."""
    text = _from_zip(sdist) if filename.lower().endswith(".zip") else _from_tar(sdist, filename)
    if text is None:
        return LEGACY
    try:
        table = load_pyproject(text).get("build-system", {})
        stated = table.get("requires") if "requires" in table else list(LEGACY)
        return tuple(str(Requirement(entry)) for entry in stated)
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidRequirement):
        raise UnknownBuildRequirements("has a pyproject.toml whose build-system cannot be read") from None


def _from_zip(sdist: IO[bytes]) -> bytes | None:
    with zips.open_zip(sdist, UnknownBuildRequirements) as archive:
        zips.check_names(archive, UnknownBuildRequirements)
        for entry in archive.infolist():
            if _PYPROJECT.fullmatch(entry.filename):
                if entry.file_size > _MAX_PYPROJECT_BYTES or not zips.is_bounded(entry):
                    raise UnknownBuildRequirements("has a pyproject.toml of more than 1 MiB")
                return archive.read(entry)
    return None


def _from_tar(sdist: IO[bytes], filename: str) -> bytes | None:
    """Read the first ``<top>/pyproject.toml``; ``None``: there is none."""
    if not filename.lower().endswith((".tar.gz", ".tgz")):
        raise UnknownBuildRequirements("is not a .tar.gz or .zip file")
    gunzip = BoundedGunzip("an sdist", free_bytes=_MAX_INFLATED_BYTES, max_bytes=_MAX_INFLATED_BYTES)
    try:
        return _find_in_tar(TarStream(gunzip.read(sdist)))
    except BadGzip as error:
        raise UnknownBuildRequirements(str(error)) from None


def _find_in_tar(stream: TarStream) -> bytes | None:
    while True:
        header = stream.take(_BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            return None
        size = _size(header[124:136])
        if header[156:157] in b"0\0" and _PYPROJECT.fullmatch(_name(header)):
            if size > _MAX_PYPROJECT_BYTES:
                raise UnknownBuildRequirements("has a pyproject.toml of more than 1 MiB")
            return stream.take(size)
        if not stream.skip(-(-size // _BLOCK) * _BLOCK):
            raise UnknownBuildRequirements("is cut short")


def _name(header: bytes) -> str:
    name, prefix = (part.split(b"\0", 1)[0].decode("utf-8", "replace") for part in (header[:100], header[345:500]))
    return f"{prefix}/{name}" if prefix and header[257:262] == b"ustar" and header[257:265] != b"ustar  \0" else name


def _size(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's form for more than 8 GiB
        raise UnknownBuildRequirements("has an entry larger than any sdist's")
    try:
        size = int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        size = -1
    if size < 0:
        raise UnknownBuildRequirements("is not a whole tar archive")
    return size

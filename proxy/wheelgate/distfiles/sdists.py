"""Sdists, read without unpacking them: the check that one is whole and its own, and its build requirements (PEP 518).

``tarfile`` is kept away from them: a crafted header makes unpatched Pythons loop for ever (CVE-2025-8194). The few lines of the
format that are needed stand here.
"""

from __future__ import annotations

import re
import tomllib
from typing import IO

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename

from wheelgate.distfiles import zips
from wheelgate.runtime.bounded_gzip import MAX_RATIO, BadGzip, BoundedGunzip

_FREE_BYTES = 64 * 1024 * 1024
_BLOCK = 512
LEGACY = ("setuptools>=40.8.0",)
"""The requirements that installers assume for a project that states none (PEP 517)."""
_PYPROJECT = re.compile(r"(\./)?[^/]+/pyproject\.toml")
_CHUNK_BYTES = 256 * 1024
_MAX_INFLATED_BYTES = 2 * 1024**3
_MAX_PYPROJECT_BYTES = 1024 * 1024
_TOP = re.compile(r"([^/]+)(/|$)")


class BadSdist(ValueError):
    """An sdist that breaks a rule; the message completes "it ..."."""


def check_sdist(file: IO[bytes], filename: str) -> None:
    """Check an sdist by reading it once through.

    Raises:
        BadSdist: broken compression, not a tar file, a bomb, or another project's top folder (PEP 625).
    """
    if filename.lower().endswith(".zip"):
        _check_zip(file, filename)
        return
    gunzip = BoundedGunzip("an sdist", free_bytes=_FREE_BYTES)
    head = b""
    try:
        for piece in gunzip.read(file):
            head = head + piece[:_BLOCK] if len(head) < _BLOCK else head
    except BadGzip as error:
        raise BadSdist(str(error)) from None
    if not gunzip.is_whole:
        raise BadSdist("is not a whole gzip file")
    if gunzip.has_more or file.read(1):  # a second archive, which some readers would add to the first
        raise BadSdist("has trailing data after its end")
    _check_top_folder(head, filename)


def _check_top_folder(head: bytes, filename: str) -> None:
    if len(head) < _BLOCK or head[257:262] != b"ustar":
        raise BadSdist("does not hold a tar archive")
    kind, name = head[156:157], head[:100].rstrip(b"\0").decode("utf-8", "replace")
    if kind in b"xgL":
        return  # an extended header stands first; the name is in there
    _check_named_for(name, filename)


def _check_named_for(name: str, filename: str) -> None:
    top = _TOP.match(name.removeprefix("./"))
    project, _ = parse_sdist_filename(filename)
    if top is None or canonicalize_name(top[1].rpartition("-")[0]) != project:
        raise BadSdist(f"is named for {project}, but holds the folder {name[:100]!r}")


def _check_zip(file: IO[bytes], filename: str) -> None:
    size = file.seek(0, 2)
    with zips.open_zip(file, BadSdist) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        # Against the file itself: entries may lie about what they take, or share it. None inflates to more than it says.
        if total > _FREE_BYTES and total > size * MAX_RATIO:
            raise BadSdist("inflates to far more than an sdist needs")
        if not all(zips.is_bounded(entry) for entry in entries):
            raise BadSdist("is compressed in a way that installers do not read")
        broken = archive.testzip()
    if broken is not None:
        raise BadSdist(f"has a damaged entry: {broken[:200]!r}")
    if not entries:
        raise BadSdist("is empty")
    _check_named_for(entries[0].filename, filename)


class UnknownBuildRequirements(ValueError):
    """An sdist whose build requirements cannot be read; the message completes "it ..."."""


def build_requirements(sdist: IO[bytes], filename: str) -> tuple[str, ...]:
    """Read the requirements that an sdist states for building it, or raise :class:`UnknownBuildRequirements`."""
    text = _from_zip(sdist) if filename.lower().endswith(".zip") else _from_tar(sdist, filename)
    if text is None:
        return LEGACY
    try:
        table = tomllib.loads(text.decode("utf-8")).get("build-system", {})
        stated = table.get("requires") if "requires" in table else list(LEGACY)
        return tuple(str(Requirement(entry)) for entry in stated)
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidRequirement):
        raise UnknownBuildRequirements("has a pyproject.toml whose build-system cannot be read") from None


def _from_zip(sdist: IO[bytes]) -> bytes | None:
    with zips.open_zip(sdist, UnknownBuildRequirements) as archive:
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
    inflated = _Inflated(sdist)
    while True:
        header = inflated.take(_BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            return None
        size = _size(header[124:136])
        if header[156:157] in b"0\0" and _PYPROJECT.fullmatch(_name(header)):
            if size > _MAX_PYPROJECT_BYTES:
                raise UnknownBuildRequirements("has a pyproject.toml of more than 1 MiB")
            return inflated.take(size)
        inflated.skip(-(-size // _BLOCK) * _BLOCK)


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


class _Inflated:
    """A gzip stream read in order, in bounded memory and to a bounded length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._pieces = BoundedGunzip("an sdist", free_bytes=_MAX_INFLATED_BYTES, max_bytes=_MAX_INFLATED_BYTES).read(file)
        self._ready = b""

    def take(self, size: int) -> bytes:
        """The next bytes; fewer only at the end."""
        try:
            while len(self._ready) < size and (piece := next(self._pieces, None)) is not None:
                self._ready += piece
        except BadGzip as error:
            raise UnknownBuildRequirements(str(error)) from None
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken

    def skip(self, size: int) -> None:
        while size > 0:
            taken = len(self.take(min(size, _CHUNK_BYTES)))
            if not taken:
                raise UnknownBuildRequirements("is cut short")
            size -= taken

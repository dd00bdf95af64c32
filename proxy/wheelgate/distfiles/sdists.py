"""Check of an sdist: that it is whole and its own, without unpacking it.

``tarfile`` is kept away from it: a crafted header makes unpatched Pythons loop for ever (CVE-2025-8194).
"""

from __future__ import annotations

import re
from typing import IO

from packaging.utils import canonicalize_name, parse_sdist_filename

from wheelgate.distfiles import zips
from wheelgate.runtime.bounded_gzip import MAX_RATIO, BadGzip, BoundedGunzip

_FREE_BYTES = 64 * 1024 * 1024
_BLOCK = 512
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

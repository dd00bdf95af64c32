"""Wholeness of a distribution file of which nobody states a digest: its own structure and what it says of itself decide.

Every checksum that the archive has is compared, and it has to be the release that its name says. Beyond that nothing is asked:
what is odd in it is the installer's to judge. Uploads are held to more (:mod:`~wheelgate.distfiles.wheels`,
:mod:`~wheelgate.distfiles.sdists`).
"""

from __future__ import annotations

import bz2
import lzma
import re
from collections.abc import Iterator
from typing import IO

from packaging.version import Version

from wheelgate.core.names import same_version_key, version_of
from wheelgate.distfiles import zips
from wheelgate.distfiles.core_metadata import MAX_METADATA_BYTES, BadWheel, parse_headers, read_core_metadata, read_identity
from wheelgate.distfiles.member_names import show_name
from wheelgate.distfiles.tar_members import TarStream, TarWalk
from wheelgate.distfiles.zip_reading import MAX_INFLATED_BYTES
from wheelgate.runtime.bounded_gzip import MAX_RATIO, BadGzip, BoundedGunzip

_PIECE_BYTES = 1024 * 1024
_FREE_BYTES = 64 * 1024 * 1024
"""So many may come out at whatever ratio."""
_MAX_RARE_BYTES = 64 * 1024 * 1024
"""Of an entry that is inflated in one piece, as is one of a compression that hardly any wheel has."""
_MAX_LZMA_BYTES = 128 * 1024 * 1024
_BLOCK = 512
_HEAD_BYTES = 2 * 1024 * 1024
"""Of a tar file: its first member stands there, with whatever extends its header."""
_OCTAL = re.compile(rb"([0-7]+)[\0 ]*")
_EGG_INFO = "EGG-INFO/PKG-INFO"


class NotWhole(ValueError):
    """A file that does not prove to be whole, or to be what its name says; the message completes "it ..."."""


def prove_whole(file: IO[bytes], filename: str, project: str) -> Iterator[None]:
    """Read a file to its last byte, and compare all checksums in it; each step takes some milliseconds, and memory is bounded.

    Args:
        file: all of it, seekable.
        filename: its name.
        project: the normalised name of the project that lists it.

    Raises:
        NotWhole: it is cut short or damaged, is another release, inflates to far more than it may, or is of a kind that has no
            checksums.
    """
    lowered = filename.lower()
    if lowered.endswith(".whl"):
        try:
            read_core_metadata(file, filename)
        except BadWheel as error:
            raise NotWhole(str(error)) from None
        yield from _read_zip(file)
    elif lowered.endswith(".egg"):
        yield from _read_egg(file, filename, project)
    elif lowered.endswith(".zip"):
        with zips.open_zip(file, NotWhole) as archive:
            names = archive.namelist()
        _check_top(names[0] if names else "", filename, project)
        yield from _read_zip(file)
    else:
        yield from _read_tar(_open_tar(file, lowered), filename, project)
        if file.read(1):
            raise NotWhole("has trailing data after its end")


def _read_zip(file: IO[bytes]) -> Iterator[None]:
    """Read every entry, which ``zipfile`` compares with its checksum."""
    packed = file.seek(0, 2)
    with zips.open_zip(file, NotWhole) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > min(max(packed * MAX_RATIO, _FREE_BYTES), MAX_INFLATED_BYTES):
            raise NotWhole("inflates to far more than a distribution needs")
        for entry in entries:
            if not zips.is_bounded(entry):
                if entry.file_size > _MAX_RARE_BYTES:
                    raise NotWhole(f"has a large entry compressed in a way that hardly any file is: {show_name(entry.filename)}")
                zips.inflate_rare(file, entry, NotWhole)
                yield
                continue
            with archive.open(entry) as opened:
                while opened.read(_PIECE_BYTES):
                    yield
            yield  # of very many that are empty, too, whoever has left is seen


def _read_egg(file: IO[bytes], filename: str, project: str) -> Iterator[None]:
    with zips.open_zip(file, NotWhole) as archive:
        info = archive.NameToInfo.get(_EGG_INFO)
        if info is None or info.file_size > MAX_METADATA_BYTES or not zips.is_bounded(info):
            raise NotWhole(f"has no {_EGG_INFO} that can be read")
        headers = parse_headers(archive.read(_EGG_INFO), "PKG-INFO", NotWhole)
    try:
        version = Version(version_of(filename, project) or "")
    except ValueError:
        raise NotWhole("has a name that no installer reads") from None
    read_identity(headers, "PKG-INFO", project, version, NotWhole)
    yield from _read_zip(file)


def _open_tar(file: IO[bytes], lowered: str) -> Iterator[bytes]:
    """Open the tar file in an archive: its bytes, which end in :class:`NotWhole` unless they come to their own end."""
    file.seek(0)
    if lowered.endswith((".tar.gz", ".tgz")):
        return _gunzip(file)
    if lowered.endswith(".tar.bz2"):
        return _inflate(file, bz2.BZ2Decompressor())
    if lowered.endswith(".tar.xz"):
        return _inflate(file, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_LZMA_BYTES))
    if lowered.endswith(".tar"):
        return iter(lambda: file.read(_PIECE_BYTES), b"")
    raise NotWhole("is of a kind of file that has nothing to show that it is whole")


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    gunzip = BoundedGunzip("an sdist", free_bytes=_FREE_BYTES, max_bytes=MAX_INFLATED_BYTES)
    try:
        yield from gunzip.read(file)
    except BadGzip as error:
        raise NotWhole(str(error)) from None
    if not gunzip.is_whole:
        raise NotWhole("is cut short")
    if gunzip.has_more:
        raise NotWhole("has trailing data after its end")


def _inflate(file: IO[bytes], inflater: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> Iterator[bytes]:
    received = size = 0
    while not inflater.eof:
        chunk = file.read(_PIECE_BYTES) if inflater.needs_input else b""
        if inflater.needs_input and not chunk:
            raise NotWhole("is cut short")
        received += len(chunk)
        try:
            piece = inflater.decompress(chunk, _PIECE_BYTES)
        except (OSError, EOFError, MemoryError, lzma.LZMAError):
            raise NotWhole("cannot be inflated") from None
        size += len(piece)
        if size > min(max(received * MAX_RATIO, _FREE_BYTES), MAX_INFLATED_BYTES):
            raise NotWhole("inflates to far more than an sdist needs")
        yield piece
    if inflater.unused_data:
        raise NotWhole("has trailing data after its end")


def _read_tar(pieces: Iterator[bytes], filename: str, project: str) -> Iterator[None]:
    """Read a tar file to its end, and find in its first member what it is."""
    if filename.lower().endswith(".tar"):  # without any checksum of its own but those of its headers
        top = None
        for member in TarWalk(TarStream(pieces), NotWhole):
            top = top or member.name
            yield
        _check_top(top or "", filename, project)
        return
    head = bytearray()
    for piece in pieces:
        head += piece[: _HEAD_BYTES - len(head)]
        yield
    _check_top(_find_first(bytes(head)), filename, project)


def _find_first(head: bytes) -> str:
    """Find the name of the first member that has one below the archive's own root; empty if there is none.

    As every reader of tar files finds it, however old the file: only the beginning of a long name may be there.
    """
    at = 0
    while len(block := head[at : at + _BLOCK]) == _BLOCK and _is_header(block):
        size = _OCTAL.match(block[124:136].lstrip(b" "))
        name = _join(block)
        if block[156:157] not in (b"x", b"g", b"L", b"K") and name:
            return name
        at += _BLOCK * (1 + -(-int(size[1], 8) // _BLOCK) if size else 1)
    return ""


def _join(block: bytes) -> str:
    name, prefix = (block[start:end].split(b"\0", 1)[0] for start, end in ((0, 100), (345, 500)))
    whole = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
    return "/".join(part for part in whole.decode("utf-8", "replace").split("/") if part not in ("", "."))


def _is_header(block: bytes) -> bool:
    stated = _OCTAL.match(block[148:156].lstrip(b" "))
    return stated is not None and int(stated[1], 8) == sum(block) - sum(block[148:156]) + 8 * 0x20


def _check_top(first: str, filename: str, project: str) -> None:
    """Check that the folder that all members are in is named for the release that the file is named for."""
    top = next((part for part in first.split("/") if part not in ("", ".")), "")
    stated, found = version_of(filename, project), version_of(f"{top}.tar.gz", project) if top else None
    if not top or stated is None or found is None or same_version_key(found) != same_version_key(stated):
        raise NotWhole(f"holds the folder {show_name(top)}" if top else "is empty")

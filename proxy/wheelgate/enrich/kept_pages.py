"""Kept pages: the last good page of a remote source as its record holds it, with what it withholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from isal import isal_zlib

from wheelgate.core.digests import is_known
from wheelgate.core.file_list import TOGETHER, FileList
from wheelgate.core.inflation import inflate
from wheelgate.core.model import File, ProjectPage, ProjectStatus, RemoteFile, Withheld
from wheelgate.core.names import is_safe_filename
from wheelgate.enrich.records import KeptPage

_FORM = 1
"""To be raised with every change to :class:`~wheelgate.core.model.File` that is not one more field at its end."""
_MAX_FILES = 200_000
"""Of a page, as it was read."""
_MAX_WITHHELD_BYTES = 128 * 1024 * 1024


class _PackedPage(msgspec.Struct, array_like=True):
    """Content of a kept page: its files packed as they are in memory, so that keeping it costs next to nothing."""

    form: int
    versions: Annotated[tuple[str, ...], msgspec.Meta(max_length=5 * _MAX_FILES)]
    status: ProjectStatus | None
    dropped: int
    files: Annotated[list[bytes], msgspec.Meta(max_length=_MAX_FILES // TOGETHER)]
    withheld: bytes = b""
    """Compressed. Without these entries another source's files of the same names would take their place."""


class _PackedWithheld(msgspec.Struct, array_like=True):
    filename: str
    rule: str
    reason: str


_encode = msgspec.msgpack.Encoder().encode
_decode_page = msgspec.msgpack.Decoder(_PackedPage).decode
_decode_withheld = msgspec.msgpack.Decoder(Annotated[list[_PackedWithheld], msgspec.Meta(max_length=_MAX_FILES)]).decode


def pack(page: ProjectPage) -> KeptPage:
    """The page, to be kept. Its files are packed from then on."""
    files = FileList.of(page.files)
    content: tuple[object, ...] = (_FORM, page.versions, page.status, page.dropped, list(files.pack()))
    if page.withheld:  # one without is as the releases before wrote it, and so is its mark
        content += (_pack_withheld(page.withheld),)
    return KeptPage(page.as_of, page.known_since, _encode(content))


def _pack_withheld(entries: Sequence[Withheld]) -> bytes:
    packed = [_PackedWithheld(entry.filename, entry.rule, entry.reason) for entry in entries]
    return isal_zlib.compress(_encode(packed), level=1)


def list_files(kept: KeptPage) -> FileList:
    """The files of a kept page. Raises ValueError if it is damaged."""
    return _unpack(kept)[1]


def unpack(kept: KeptPage, project: str, source: str) -> ProjectPage | None:
    """The page of a source again; ``None`` if it is damaged, or was kept by another version of this program."""
    try:
        body, files = _unpack(kept)
        withheld = tuple(_unpack_withheld(body.withheld, source))
    except ValueError:
        return None
    if body.form != _FORM or not all(file.project == project and _is_remote(file, source) for file in files):
        return None
    return ProjectPage(
        project=project,
        files=files,
        versions=body.versions,
        status=body.status,
        as_of=kept.as_of,
        known_since=kept.known_since,
        withheld=withheld,
        dropped=body.dropped,
    )


def _unpack(kept: KeptPage) -> tuple[_PackedPage, FileList]:
    try:
        body = _decode_page(kept.body)
        return body, FileList.from_blocks(body.files)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError("damaged") from error


def _unpack_withheld(packed: bytes, source: str) -> Iterable[Withheld]:
    """Read what a page withholds, all of it of its own source. Raises ValueError if it is damaged."""
    try:
        entries = _decode_withheld(inflate(packed, _MAX_WITHHELD_BYTES)) if packed else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("damaged") from error
    if not all(is_safe_filename(entry.filename) for entry in entries):
        raise ValueError("it withholds what is no file")
    return (Withheld(entry.filename, source, entry.rule, entry.reason) for entry in entries)


def _is_remote(file: File, source: str) -> bool:
    """Tell whether a file is one of a remote source: a record in the store must name no file of this machine.

    Nor a digest that cannot be compared, as a later release may have read.
    """
    location = file.location
    is_its = file.source == source and isinstance(location, RemoteFile) and location.source == source
    return is_its and all(map(is_known, file.hashes))

"""What is remembered of one project of a remote source: every file name ever seen, and the last good page.

One compact record a project and source, about 180 bytes a file. Names that the page no longer lists stay remembered, so that a
file cannot return with other bytes. Written only when something is new. Replicas see the same news at the same time, so writing
is compare-and-swap, and the loser merges; merging gives the same whoever wins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from isal import igzip_lib, isal_zlib

from wheelgate.core.errors import BlobNotFound
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import BlobStore
from wheelgate.enrich.kept_pages import KeptPage, pack, unpack
from wheelgate.storage import layout

_VERSION = 2
_INLINE_BYTES = 64 * 1024
"""A smaller record is decoded in less time than a thread takes to start."""
_INLINE_FILES = 400
_NO_DIGEST = bytes(32)
_MAX_FILES = 100_000
"""No project has as many. An upstream that lists other names each time must not fill the store."""
_log = logging.getLogger(__name__)


class ExtractedMetadata(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What we read out of a wheel whose source sends no core metadata."""

    at: datetime
    """When. Of two readings the later one stands."""
    of: str
    """The wheel's sha256 if its source lists one, else where it was read: it says nothing of another wheel."""
    metadata_sha256: str | None
    """``None``: it has none that can be offered."""
    requires_python: str | None = None


class FileRecord(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of one file name."""

    at: datetime
    """When we first saw it, by our own clock, to the second."""
    hashes: Mapping[str, str]
    """First seen: these never change."""
    uploaded: datetime
    """The upload time that stands on the page: the source's, or else the first sight. Never moves later."""
    size: int | None = None
    made: ExtractedMetadata | None = None


Files = dict[str, FileRecord]


class ProjectRecord(msgspec.Struct):
    """Everything that is remembered of one project."""

    files: Files
    """By file name."""
    page: KeptPage | None = None
    """The last good page."""


def contradicts(seen: FileRecord, hashes: Mapping[str, str], size: int | None) -> bool:
    """Whether bytes described so are surely not those first seen. Without a digest in common only the size can tell."""
    common = seen.hashes.keys() & hashes.keys()
    if common:
        return any(seen.hashes[algorithm] != hashes[algorithm] for algorithm in common)
    return seen.size is not None and size is not None and seen.size != size


def merge_file_records(one: FileRecord, other: FileRecord) -> FileRecord:
    """Both memories of a name as one: the earlier sight decides what its bytes are; the same in either order."""
    if one is other or one == other:
        return one
    first, second = (one, other) if _sight(one) <= _sight(other) else (other, one)
    uploaded = min(first.uploaded, second.uploaded)
    if contradicts(first, second.hashes, second.size):
        return msgspec.structs.replace(first, uploaded=uploaded)
    return FileRecord(
        at=first.at,
        hashes=first.hashes if len(first.hashes) >= len(second.hashes) else {**second.hashes, **first.hashes},
        uploaded=uploaded,
        size=_size(first, second),
        made=max((made for made in (first.made, second.made) if made is not None), key=_reading, default=None),
    )


def _size(first: FileRecord, second: FileRecord) -> int | None:
    """The earlier one; of two seen at one moment the smaller, so that a third merge cannot choose anew."""
    if first.size is None or second.size is None:
        return second.size if first.size is None else first.size
    return min(first.size, second.size) if first.at == second.at else first.size


def _sight(seen: FileRecord) -> tuple[datetime, list[tuple[str, str]], int]:
    return seen.at, sorted(seen.hashes.items()), seen.size or 0


def _reading(made: ExtractedMetadata) -> tuple[datetime, str, str, str]:
    return made.at, made.of, made.metadata_sha256 or "", made.requires_python or ""


def merge_files(one: Files, other: Files) -> Files:
    """Every name that either remembers."""
    joined = dict(one)
    for name, seen in other.items():
        known = joined.get(name)
        joined[name] = seen if known is None else merge_file_records(known, seen)
    return joined


def merge_records(one: ProjectRecord, other: ProjectRecord) -> ProjectRecord:
    """Two memories as one, the same in either order: every name, and the page that was confirmed later."""
    pages = [page for page in (one.page, other.page) if page is not None]
    return ProjectRecord(merge_files(one.files, other.files), max(pages, key=lambda page: (page.as_of, page.mark), default=None))


class _Rest(msgspec.Struct, array_like=True, omit_defaults=True):
    """What few files have."""

    hashes: Mapping[str, str] | None = None
    made: ExtractedMetadata | None = None


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Rows(msgspec.Struct, array_like=True):
    names: list[str]
    sha256: bytes
    """32 bytes a name; zeros: not known."""
    at: list[_Moment]
    uploaded: list[_Moment]
    sizes: list[int | None]
    rest: dict[int, _Rest]


class _Wire(msgspec.Struct, array_like=True):
    version: int
    rows: bytes
    """Compressed; what a page has of its own is already."""
    page: _WirePage | None


class _WirePage(msgspec.Struct, array_like=True):
    as_of: _Moment
    known_since: _Moment | None
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decode = msgspec.msgpack.Decoder(_Wire).decode
_decode_rows = msgspec.msgpack.Decoder(_Rows).decode


def encode(files: Mapping[str, FileRecord], page: KeptPage | None) -> bytes:
    """A record as bytes."""
    names = _remembered(files, page)
    seen = [files[name] for name in names]
    rows = _Rows(
        names=names,
        sha256=b"".join(bytes.fromhex(sha256) if (sha256 := row.hashes.get("sha256")) else _NO_DIGEST for row in seen),
        at=[row.at for row in seen],
        uploaded=[row.uploaded for row in seen],
        sizes=[row.size for row in seen],
        rest=dict(_rests(seen)),
    )
    return _encoder.encode(
        _Wire(
            version=_VERSION,
            rows=isal_zlib.compress(_encoder.encode(rows), level=1),
            page=_WirePage(page.as_of, page.known_since, page.body) if page else None,
        )
    )


def _remembered(files: Mapping[str, FileRecord], page: KeptPage | None) -> list[str]:
    """All names; of too many, those that the page lists, and of the others the last to come are forgotten."""
    if len(files) <= _MAX_FILES:
        return list(files)
    listed = set() if page is None else files.keys() & page.filenames()
    others = sorted(files.keys() - listed, key=lambda name: (files[name].at, name))
    return [*listed, *others[: max(0, _MAX_FILES - len(listed))]]


def _rests(rows: Sequence[FileRecord]) -> Iterator[tuple[int, _Rest]]:
    for number, row in enumerate(rows):
        odd = None if not row.hashes or (len(row.hashes) == 1 and "sha256" in row.hashes) else row.hashes
        if odd is not None or row.made is not None:
            yield number, _Rest(odd, row.made)


def decode(body: bytes) -> ProjectRecord:
    """A record from its bytes.

    Raises:
        ValueError: it is none.
    """
    try:
        wire = _decode(body)
        rows = _decode_rows(isal_zlib.decompress(wire.rows)) if wire.version == _VERSION else None
    except (igzip_lib.IsalError, msgspec.MsgspecError, UnicodeDecodeError, EOFError, RecursionError) as error:  # type: ignore[misc]
        raise ValueError("it is damaged or of another version") from error
    if rows is None:
        raise ValueError("it is of another version")
    count = len(rows.names)
    columns = (len(rows.at), len(rows.uploaded), len(rows.sizes), len(rows.sha256) // 32)
    if any(length != count for length in columns):
        raise ValueError("it is damaged")
    digests = rows.sha256.hex()
    unknown = _NO_DIGEST.hex()
    hashes: list[Mapping[str, str]] = [
        {} if (digest := digests[at : at + 64]) == unknown else {"sha256": digest} for at in range(0, 64 * count, 64)
    ]
    seen = list(map(FileRecord, rows.at, hashes, rows.uploaded, rows.sizes))
    for number, rest in rows.rest.items():
        if 0 <= number < count:
            row = seen[number]
            seen[number] = FileRecord(row.at, rest.hashes or row.hashes, row.uploaded, row.size, rest.made)
    page = None if wire.page is None else KeptPage(wire.page.as_of, wire.page.known_since, wire.page.body)
    return ProjectRecord(dict(zip(rows.names, seen, strict=True)), page)


class ProjectRecords:
    """The records of one source."""

    def __init__(self, store: BlobStore, source: str) -> None:
        self._store = store
        self._source = source

    async def read(self, project: str) -> tuple[ProjectRecord, str | None]:
        """What is remembered, and the ETag to write it by (``None``: nothing yet).

        Raises:
            StoreError: it cannot be read.
        """
        try:
            body, info = await self._store.read(layout.record(self._source, project))
        except BlobNotFound:
            return ProjectRecord({}), None
        try:
            record = decode(body) if len(body) < _INLINE_BYTES else await asyncio.to_thread(decode, body)
        except ValueError as error:  # what it said is lost; a page must not be lost with it
            _log.error("source %s: the record of %s cannot be read, so it begins anew: %s", self._source, project, error)
            return ProjectRecord({}), info.etag
        return record, info.etag

    async def write(self, project: str, files: Mapping[str, FileRecord], page: KeptPage | None, etag: str | None) -> str:
        """Replace the record that has this ETag; the new one.

        Raises:
            BlobChanged: somebody else wrote it meanwhile: read it, merge, try again.
            StoreError: it cannot be written.
        """
        small = len(files) < _INLINE_FILES
        body = encode(files, page) if small else await asyncio.to_thread(encode, files, page)
        return await self._store.replace_if(layout.record(self._source, project), body, etag)

    async def pack_page(self, page: ProjectPage) -> KeptPage:
        """A page as it is kept beside what is remembered of its files."""
        return pack(page) if len(page.files) < _INLINE_FILES else await asyncio.to_thread(pack, page)

    async def unpack_page(self, project: str, kept: KeptPage) -> ProjectPage | None:
        """A kept page again; ``None`` if it is damaged."""
        if len(kept.body) < _INLINE_BYTES:
            return unpack(kept, project, self._source)
        return await asyncio.to_thread(unpack, kept, project, self._source)

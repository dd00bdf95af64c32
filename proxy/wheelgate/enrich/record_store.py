"""Record store: project records as blobs of our store, and their format, which says its version first.

A record is compact, about 180 bytes a file, and written only when something is new, by compare-and-swap. It begins with a line
that says its version; what follows, only readers of that version know.

=======  ====================================================================================================
version  body
=======  ====================================================================================================
3        after the line ``wheelgate record 3``: MessagePack, the files by columns and compressed, then the last page
2        the same without the line; blobs had no records of this kind
1        JSON, of blobs only: file name to digests and metadata
=======  ====================================================================================================

Whoever changes the format raises the version, writes the new line, and goes on reading the older ones. The line stays as it is
for ever: by it a replica of an older release knows that a record is not its own to judge or to write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated

import msgspec
from isal import isal_zlib

from wheelgate.core.digests import SHA256, Sha256
from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobNotFound, StoreError
from wheelgate.core.inflation import inflate
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import BlobStore
from wheelgate.core.urls import place_key
from wheelgate.enrich.former_records import FormerRecords
from wheelgate.enrich.kept_pages import list_files, pack, unpack
from wheelgate.enrich.records import (
    BlobVersion,
    ExtractedMetadata,
    FileRecord,
    KeptPage,
    Moment,
    Observation,
    ProjectRecord,
    SeenBody,
    may_be,
    merge_forgotten,
)
from wheelgate.runtime.logs import TroubleLog
from wheelgate.storage import layout

VERSION = 3
_HEADER = re.compile(rb"wheelgate record ([1-9][0-9]{0,8})\n")
_NO_DIGEST = bytes(32)
_UNKNOWN = _NO_DIGEST.hex()
_MAX_FILES = 100_000
"""No project has as many. An upstream that lists other names each time must not fill the store."""
_MAX_ROWS = 200_000
"""What a page lists is remembered all the same, and it lists as many at most."""
_MAX_ROWS_BYTES = 256 * 1024 * 1024
_INLINE_BYTES = 64 * 1024
"""A smaller record is decoded in less time than a thread takes to start."""
_INLINE_FILES = 400
_TRIES = 8
_log = logging.getLogger(__name__)
_A_ROW = msgspec.Meta(max_length=_MAX_ROWS)


class NewerRecord(Exception):
    """A record that a later release wrote: not to be judged, and not to be overwritten."""


class _Rest(msgspec.Struct, array_like=True, omit_defaults=True):
    """Facts that few files of a remote source have."""

    hashes: Mapping[str, str] | None = None
    made: ExtractedMetadata | None = None
    blob: BlobVersion | None = None
    observed: Observation | None = None
    body: SeenBody | None = None


class _Rows(msgspec.Struct, array_like=True):
    names: Annotated[list[str], _A_ROW]
    sha256: bytes
    """32 bytes a name; zeros: not known."""
    at: Annotated[list[Moment], _A_ROW]
    uploaded: Annotated[list[Moment], _A_ROW]
    sizes: Annotated[list[Annotated[int, msgspec.Meta(ge=0)] | None], _A_ROW]
    rest: Annotated[dict[int, _Rest], _A_ROW]


class _RecordBody(msgspec.Struct, array_like=True):
    version: int
    rows: bytes
    """Compressed; what a page has of its own is already."""
    page: KeptPage | None
    forgotten: Annotated[dict[str, Moment], _A_ROW] = {}


class _Version1(msgspec.Struct):
    """A blob in the first format."""

    etag: str
    sha256: Sha256
    seen: Moment
    metadata_sha256: Sha256 | None = None
    requires_python: str | None = None
    path: str = ""

    def as_record(self, filename: str) -> FileRecord:
        made = ExtractedMetadata(self.seen, self.sha256, self.metadata_sha256, self.requires_python)
        return FileRecord(
            at=self.seen,
            hashes={"sha256": self.sha256},
            uploaded=self.seen,
            made=made if filename.endswith(".whl") else None,
            blob=BlobVersion(self.path, self.etag),
        )


_encoder = msgspec.msgpack.Encoder()
_decode_body = msgspec.msgpack.Decoder(_RecordBody).decode
_decode_rows = msgspec.msgpack.Decoder(_Rows).decode
_decode_version_1 = msgspec.json.Decoder(dict[str, _Version1]).decode


def encode(record: ProjectRecord) -> bytes:
    """A record as bytes, in the newest format."""
    files, page = record.files, record.page
    names = _names_to_keep(files, page)
    seen = [files[name] for name in names]
    digests = _pack_digests([row.hashes for row in seen])
    rows = _Rows(
        names=names,
        sha256=b"".join([digest or _NO_DIGEST for digest in digests]),
        at=[row.at for row in seen],
        uploaded=[row.uploaded for row in seen],
        sizes=[row.size for row in seen],
        rest=dict(_rests(seen, digests)),
    )
    body = _RecordBody(
        version=VERSION,
        rows=isal_zlib.compress(_encoder.encode(rows), level=1),
        page=page,
        forgotten=record.forgotten,
    )
    return b"wheelgate record %d\n%b" % (VERSION, _encoder.encode(body))


def _names_to_keep(files: Mapping[str, FileRecord], page: KeptPage | None) -> list[str]:
    """All names; of too many, those that the page lists, and of the others the last to come are forgotten."""
    if len(files) <= _MAX_FILES:
        return list(files)
    listed: set[str] = set()
    if page is not None:
        with contextlib.suppress(ValueError):  # of a damaged page nothing is to be kept
            listed = files.keys() & {file.filename for file in list_files(page)}
    others = sorted(files.keys() - listed, key=lambda name: (files[name].at, name))
    return [*listed, *others[: max(0, _MAX_FILES - len(listed))]][:_MAX_ROWS]


def _pack_digests(tables: Sequence[Mapping[str, str]]) -> list[bytes | None]:
    """The sha256 of each, which has a column; ``None``: there are others, or it would not come out of the column as it is."""
    stated = [table.get("sha256", "") if len(table) == 1 else "" for table in tables]
    column = _unhex("".join(stated)) if set(map(len, stated)) == {64} else None  # in half the time
    digests = [_unhex(text) for text in stated] if column is None else [column[at : at + 32] for at in range(0, len(column), 32)]
    return [digest if digest and len(digest) == len(_NO_DIGEST) and digest != _NO_DIGEST else None for digest in digests]


def _unhex(text: str) -> bytes | None:
    """The bytes; ``None``: :meth:`bytes.hex` would write them otherwise."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if found.hex() == text else None


def _rests(rows: Sequence[FileRecord], digests: Sequence[bytes | None]) -> Iterator[tuple[int, _Rest]]:
    for number, (row, digest) in enumerate(zip(rows, digests, strict=True)):
        odd = row.hashes if row.hashes and digest is None else None
        if any(known is not None for known in (odd, row.made, row.blob, row.observed, row.body)):
            yield number, _Rest(odd, row.made, row.blob, row.observed, row.body)


def decode(stored: bytes) -> ProjectRecord:
    """A record from its bytes, of this version or an older one.

    Raises:
        NewerRecord: a later release wrote it.
        ValueError: it is damaged.
    """
    header = _HEADER.match(stored)
    if header is not None and int(header[1]) > VERSION:
        raise NewerRecord(f"format {int(header[1])}, which a later release wrote; this one knows formats up to {VERSION}")
    try:
        if stored.startswith(b"{"):
            record = ProjectRecord({name: blob.as_record(name) for name, blob in _decode_version_1(stored).items()})
        else:
            body = _decode_body(stored if header is None else memoryview(stored)[header.end() :])
            if body.version != (2 if header is None else VERSION):
                raise ValueError("its version is not the one it says first")
            record = _record_of(body, _decode_rows(inflate(body.rows, _MAX_ROWS_BYTES)))
        if any(moment.tzinfo is not UTC for moment in _moments_of(record)):
            raise ValueError("it has a moment that is not in UTC")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("damaged") from error
    except ValueError as error:
        raise ValueError(f"damaged: {error}") from error
    return record


def _moments_of(record: ProjectRecord) -> Iterable[datetime]:
    """List all moments. What is written is in UTC; others may have no equal there."""
    rows, page = record.files.values(), record.page
    made = (row.made.at for row in rows if row.made is not None)
    seen = (moment for row in rows if (o := row.observed) is not None for moment in (o.at, o.modified or o.at))
    bodies = (row.body.at for row in rows if row.body is not None)
    kept = () if page is None else (page.as_of, page.known_since or page.as_of)
    return chain((row.at for row in rows), (row.uploaded for row in rows), made, seen, bodies, kept, record.forgotten.values())


def _record_of(body: _RecordBody, rows: _Rows) -> ProjectRecord:
    count = len(rows.names)
    if {len(rows.at), len(rows.uploaded), len(rows.sizes)} != {count} or len(rows.sha256) != 32 * count:
        raise ValueError("its columns differ in length")
    digests = rows.sha256.hex()
    hashes: list[Mapping[str, str]] = [
        {} if (digest := digests[at : at + 64]) == _UNKNOWN else {"sha256": digest} for at in range(0, 64 * count, 64)
    ]
    seen = list(map(FileRecord, rows.at, hashes, rows.uploaded, rows.sizes))
    for number, rest in rows.rest.items():
        if not 0 <= number < count:
            raise ValueError("it has facts of a file that it does not name")
        if rest.hashes and not SHA256.fullmatch(rest.hashes.get("sha256", _UNKNOWN)):
            raise ValueError("it has a sha256 that is none")
        row = seen[number]
        stated = rest.hashes or row.hashes
        kept = rest.body if may_be(rest.body, stated, row.size) else None
        seen[number] = FileRecord(row.at, stated, row.uploaded, row.size, rest.made, rest.blob, rest.observed, kept)
    return ProjectRecord(dict(zip(rows.names, seen, strict=True)), body.page, body.forgotten)


class StoredRecord(msgspec.Struct):
    """A record as the store has it."""

    record: ProjectRecord
    etag: str | None = None
    """To write it by; ``None``: there is none yet."""
    is_left_alone: bool = False
    """Its content is unknown here, and nothing is written over it: a later release wrote it, or the store cannot read it."""


class ProjectRecords:
    """The records of one source."""

    def __init__(self, store: BlobStore, source: str, *, url: str) -> None:
        """``url``: of the source; what was kept of it at another one is not this one's."""
        self._store = store
        self.source = source
        place = place_key(url)
        self._home = layout.home_of(source, place)
        self._former = FormerRecords(store, source, place)
        self._troubles = TroubleLog(_log)

    async def read(self, project: str) -> StoredRecord:
        """The record of a project; an empty one if there is none, or if it cannot be believed. Raises StoreError."""
        path = layout.record(self._home, project)
        try:
            body, info = await self._store.read(path)
        except BlobNotFound:
            return await self._read_former(project)
        except BlobDamaged as error:  # what it said is lost; a page must not be lost with it
            self._troubles.report(path, f"source {self.source}: the record {path} is left alone: {error}")
            return StoredRecord(ProjectRecord({}), is_left_alone=True)
        try:
            record = decode(body) if len(body) < _INLINE_BYTES else await asyncio.to_thread(decode, body)
        except NewerRecord as error:
            sentence = f"source {self.source}: the record {path} is left alone: it is of {error}"
            self._troubles.report(path, sentence, logging.WARNING)
            return StoredRecord(ProjectRecord({}), info.etag, is_left_alone=True)
        except ValueError as error:
            self._troubles.report(
                path, f"source {self.source}: the record {path} cannot be read, so it begins anew: it is {error}"
            )
            return StoredRecord(ProjectRecord({}), info.etag)
        return StoredRecord(record, info.etag)

    async def _read_former(self, project: str) -> StoredRecord:
        """The record that a release kept which did not know of addresses, as far as it is this source's. It is written anew."""
        with contextlib.suppress(BlobDamaged, ValueError, NewerRecord):
            if (body := await self._former.find(project)) is not None:
                record = decode(body) if len(body) < _INLINE_BYTES else await asyncio.to_thread(decode, body)
                return StoredRecord(
                    record if self._former.pages_are_believed else ProjectRecord(record.files, None, record.forgotten)
                )
        return StoredRecord(ProjectRecord({}))

    async def write(self, project: str, record: ProjectRecord, etag: str | None) -> str:
        """Replace the record that has this ETag; the new one's.

        Raises:
            BlobChanged: somebody else wrote it meanwhile: read it, merge, try again.
            StoreError: it cannot be written.
        """
        small = len(record.files) < _INLINE_FILES
        body = encode(record) if small else await asyncio.to_thread(encode, record)
        return await self._store.replace_if(layout.record(self._home, project), body, etag)

    async def forget(self, project: str, filename: str, now: datetime) -> FileRecord | None:
        """Forget a file, for every process that reads the record from now on; what was remembered of it.

        Raises:
            StoreError: it cannot be written, or a later release wrote it.
        """
        for _ in range(_TRIES):
            stored = await self.read(project)
            if stored.is_left_alone:
                raise StoreError(f"what is remembered of {project} is of a later release: use that")
            record = stored.record
            forgotten = merge_forgotten(record.forgotten, {filename: now})
            files = {name: seen for name, seen in record.files.items() if name != filename}
            with contextlib.suppress(BlobChanged):
                await self.write(project, ProjectRecord(files, record.page, forgotten), stored.etag)
                return record.files.get(filename)
        raise StoreError(f"the record of {project} is being written by somebody else all the time")

    async def pack_page(self, page: ProjectPage) -> KeptPage:
        return pack(page) if len(page.files) < _INLINE_FILES else await asyncio.to_thread(pack, page)

    async def unpack_page(self, project: str, kept: KeptPage) -> ProjectPage | None:
        if len(kept.body) < _INLINE_BYTES:
            page = unpack(kept, project, self.source)
        else:
            page = await asyncio.to_thread(unpack, kept, project, self.source)
        if page is None:
            path = layout.record(self._home, project)
            sentence = "cannot be used: it is damaged, or of another release"
            self._troubles.report(f"{path} page", f"source {self.source}: the last good page in the record {path} {sentence}")
        return page

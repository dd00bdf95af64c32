"""Project records: the facts that are remembered of a source's files, one record a project, and how two memories become one.

Names that a page no longer lists stay remembered, so that a file cannot return with other bytes. Replicas see the same news at
the same time, so merging gives the same whoever does it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Protocol, TypeGuard

import msgspec

from wheelgate.core.digests import Sha256
from wheelgate.core.model import File

_MOST_FORGOTTEN = 1_000
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class BlobVersion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One version of one blob: an ETag means nothing of another path."""

    path: str
    etag: str


class ExtractedMetadata(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Core metadata that we read out of a wheel ourselves."""

    at: Moment
    """When. Of two readings the later one stands."""
    of: str
    """The wheel's sha256 if its source lists one, else where it was read: it says nothing of another wheel."""
    metadata_sha256: Sha256 | None
    """``None``: it has none that can be offered."""
    requires_python: str | None = None
    instead_of: str | None = None
    """The sha256 that the source advertised for metadata that it does not send, or that is not the wheel's (``""``: it
    advertised some without a digest). As long as it advertises that, this is offered instead. ``None``: it advertised none."""


class Observation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Facts that the answer to a request for a file's bytes told beside them. What its source states stands before them."""

    at: Moment
    """When. Of two observations the later one stands."""
    of: str
    """As in :class:`ExtractedMetadata`."""
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Bytes of the whole file."""
    modified: Moment | None = None
    """Moment when the file was put where it is, as whoever keeps it says (``Last-Modified``)."""


class SeenBody(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first whole body under a name of which its source stated no digest. It gives way to what the source states later."""

    at: Moment
    """When."""
    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=0)]
    """Bytes."""


class FileRecord(msgspec.Struct, frozen=True, gc=False):
    """Facts remembered of one file name."""

    at: datetime
    """Moment when we first saw these bytes under it, by our own clock."""
    hashes: Mapping[str, str]
    """Stated, or read of bytes that have a stated one: these never change, but for a blob, which is read in each version."""
    uploaded: datetime
    """The upload time that stands on the page: the source's, or else the first sight. Never moves later."""
    size: int | None = None
    made: ExtractedMetadata | None = None
    blob: BlobVersion | None = None
    """The blob that was read; ``None``: a file of a remote source."""
    observed: Observation | None = None
    body: SeenBody | None = None
    """Of a remote file; ``None`` as soon as a digest is stated."""


Files = dict[str, FileRecord]


class KeptPage(msgspec.Struct, array_like=True):
    """The last good page of a project, packed."""

    as_of: Moment
    """When the source last confirmed it."""
    known_since: Moment | None
    body: bytes

    @property
    def mark(self) -> bytes:
        """Equal for pages that say the same, whenever they were confirmed."""
        return hashlib.blake2b(self.body, digest_size=16).digest()


class ProjectRecord(msgspec.Struct):
    """Facts remembered of one project."""

    files: Files
    """By file name."""
    page: KeptPage | None = None
    """The last good page of a remote source."""
    forgotten: dict[str, Moment] = {}
    """By file name, when an operator had it forgotten, with all that was remembered of it before."""


def drop_forgotten(files: Files, forgotten: Mapping[str, datetime]) -> Files:
    """Leave out the names that were forgotten since they were first seen; the same object, if there are none."""
    gone = {name for name, moment in forgotten.items() if name in files and files[name].at < moment}
    return {name: seen for name, seen in files.items() if name not in gone} if gone else files


def merge_forgotten(one: Mapping[str, datetime], other: Mapping[str, datetime]) -> dict[str, datetime]:
    """Merge what was forgotten, of each name the last time; of very many names the latest stay."""
    merged = dict(one)
    for name, moment in other.items():
        merged[name] = max(moment, merged.get(name, moment))
    latest = sorted(merged.items(), key=lambda item: (item[1], item[0]))[-_MOST_FORGOTTEN:]
    return dict(latest)


class FactRecorder(Protocol):
    """Receiver of what the bytes of a source's files told: the memory that its listing is enriched from."""

    def learn(
        self,
        file: File,
        *,
        sha256: str | None = None,
        size: int | None = None,
        made: ExtractedMetadata | None = None,
        observed: Observation | None = None,
    ) -> None:
        """Remember facts of a listed file (``None``: nothing new); from now on the listing says so.

        ``sha256``, ``size``: of a whole body that has the digests that its source states, or proved by itself to be whole.
        """
        ...


def contradicts(seen: FileRecord, hashes: Mapping[str, str], size: int | None) -> bool:
    """Tell whether bytes described so are surely not those first seen. Without a digest in common only the size can tell."""
    common = seen.hashes.keys() & hashes.keys()
    if common:
        return any(seen.hashes[algorithm] != hashes[algorithm] for algorithm in common)
    return seen.size is not None and size is not None and seen.size != size


def merge_file_records(one: FileRecord, other: FileRecord) -> FileRecord:
    """Merge two memories of a name, the same in either order: the earlier sight decides what its bytes are.

    Of two versions of a blob the later one stands, under the upload time of the first.
    """
    if one is other or one == other:
        return one
    first, second = (one, other) if _sight(one) <= _sight(other) else (other, one)
    uploaded = min(first.uploaded, second.uploaded)
    if first.blob != second.blob:
        return msgspec.structs.replace(second, uploaded=uploaded)
    if contradicts(first, second.hashes, second.size):
        return msgspec.structs.replace(first, uploaded=uploaded)
    hashes = first.hashes if second.hashes.keys() <= first.hashes.keys() else {**second.hashes, **first.hashes}
    size = _size(first, second)
    return FileRecord(
        at=first.at,
        hashes=hashes,
        uploaded=uploaded,
        size=size,
        made=max((made for made in (first.made, second.made) if made is not None), key=_reading, default=None),
        blob=first.blob,
        observed=max((seen for seen in (first.observed, second.observed) if seen is not None), key=_observation, default=None),
        body=min((body for body in (first.body, second.body) if may_be(body, hashes, size)), key=_arrival, default=None),
    )


def may_be(body: SeenBody | None, hashes: Mapping[str, str], size: int | None) -> TypeGuard[SeenBody]:
    """Tell whether an observed body still counts beside what is stated."""
    return body is not None and not hashes and size in (None, body.size)


def _size(first: FileRecord, second: FileRecord) -> int | None:
    """The earlier one; of two seen at one moment the smaller, so that a third merge cannot choose anew."""
    if first.size is None or second.size is None:
        return second.size if first.size is None else first.size
    return min(first.size, second.size) if first.at == second.at else first.size


def _sight(seen: FileRecord) -> tuple[datetime, tuple[str, str], list[tuple[str, str]], int]:
    blob = ("", "") if seen.blob is None else (seen.blob.path, seen.blob.etag)
    return seen.at, blob, sorted(seen.hashes.items()), seen.size or 0


def _reading(made: ExtractedMetadata) -> tuple[datetime, str, str, str, bool, str]:
    return (
        made.at,
        made.of,
        made.metadata_sha256 or "",
        made.requires_python or "",
        made.instead_of is not None,
        made.instead_of or "",
    )


def _arrival(body: SeenBody) -> tuple[datetime, str, int]:
    return body.at, body.sha256, body.size


def _observation(seen: Observation) -> tuple[datetime, str, int, bool, datetime]:
    return seen.at, seen.of, -1 if seen.size is None else seen.size, seen.modified is None, seen.modified or seen.at


def merge_files(one: Files, other: Files) -> Files:
    """Merge two memories of a project's files: every name that either remembers."""
    merged = dict(one)
    for name, seen in other.items():
        known = merged.get(name)
        merged[name] = seen if known is None else merge_file_records(known, seen)
    return merged

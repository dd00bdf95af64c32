"""A page as it is kept in a record: columns, without what the record remembers of each file anyway."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from proxy.file_lists import FileList
from proxy.model import File, ProjectPage, ProjectStatus, RemoteFile

_MORE = RemoteFile.__struct_fields__[2:]
"""What a location says beyond where, and of whom."""
_WHOLE = "\0"
"""Ends a link that does not end in its file's name."""


class Remembered(Protocol):
    """What the record says of one file."""

    @property
    def hashes(self) -> Mapping[str, str]:
        """Those first seen."""
        ...

    @property
    def uploaded(self) -> datetime:
        """The time that stands on the page."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes."""
        ...


class KeptPage(msgspec.Struct):
    """The last good page of a project, packed."""

    as_of: datetime
    """When the source last confirmed it."""
    known_since: datetime | None
    names: tuple[str, ...]
    """Its files, in its order."""
    body: bytes
    """Everything else."""

    @property
    def mark(self) -> bytes:
        """Equal for pages that say the same, whenever they were confirmed."""
        digest = hashlib.blake2b("\n".join(self.names).encode(), digest_size=16)
        digest.update(self.body)
        return digest.digest()


class _Columns(msgspec.Struct, array_like=True):
    versions: tuple[str, ...]
    status: ProjectStatus | None
    dropped: int
    links: list[str]
    requires_python: list[str | None]
    yanked: list[str | None]
    metadata: list[bytes | None]
    """Digests; empty: servable, its digest not known."""
    provenance: list[str | None]
    more: dict[int, dict[str, Any]]
    """What few locations say."""
    hashes: dict[int, Mapping[str, str]]
    """Of files whose listed digests are not those first seen."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Columns)


def pack(page: ProjectPage, files: Mapping[str, Remembered]) -> KeptPage | None:
    """The page, to be kept beside what is remembered of its files; ``None`` if something of it is not, or it is no remote one."""
    names: list[str] = []
    columns = _Columns(page.versions, page.status, page.dropped, [], [], [], [], [], {}, {})
    for number, file in enumerate(page.files):
        known, place = files.get(file.filename), file.location
        if known is None or not isinstance(place, RemoteFile):
            return None
        names.append(file.filename)
        columns.links.append(_link(file.filename, place.url))
        columns.requires_python.append(file.requires_python)
        columns.yanked.append(file.yanked)
        columns.metadata.append(_metadata(file.core_metadata))
        columns.provenance.append(file.provenance)
        more = {name: value for name in _MORE if (value := getattr(place, name)) is not None}
        if more:
            columns.more[number] = more
        if file.hashes and file.hashes is not known.hashes and file.hashes != known.hashes:
            columns.hashes[number] = file.hashes
    return KeptPage(page.as_of, page.known_since, tuple(names), _encoder.encode(columns))


def unpack(kept: KeptPage, project: str, source: str, files: Mapping[str, Remembered]) -> ProjectPage | None:
    """The page again, its files' digests, sizes and times as they are remembered; ``None`` if it is damaged."""
    try:
        columns = _decoder.decode(kept.body)
        made = []
        for number, (name, link, requires, yanked, metadata, provenance) in enumerate(
            zip(
                kept.names,
                columns.links,
                columns.requires_python,
                columns.yanked,
                columns.metadata,
                columns.provenance,
                strict=True,
            )
        ):
            known = files[name]
            url = link[:-1] if link.endswith(_WHOLE) else link + name
            made.append(
                File(
                    filename=name,
                    project=project,
                    source=source,
                    location=RemoteFile(url, source, **columns.more.get(number, {})),
                    hashes=columns.hashes.get(number, known.hashes),
                    size=known.size,
                    upload_time=known.uploaded,
                    requires_python=requires,
                    yanked=yanked,
                    core_metadata=None if metadata is None else {"sha256": metadata.hex()} if metadata else {},
                    provenance=provenance,
                )
            )
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError):
        return None
    return ProjectPage(
        project=project,
        files=FileList(made),
        versions=columns.versions,
        status=columns.status,
        as_of=kept.as_of,
        known_since=kept.known_since,
        dropped=columns.dropped,
    )


def _link(name: str, url: str) -> str:
    return url[: -len(name)] if url.endswith(name) else url + _WHOLE


def _metadata(stated: Mapping[str, str] | None) -> bytes | None:
    return None if stated is None else bytes.fromhex(stated.get("sha256", ""))

"""A page as it is kept in a record: its files packed as they are in memory, so that keeping it costs next to nothing."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from wheelgate.core.file_list import FileList
from wheelgate.core.model import ProjectPage, ProjectStatus

_FORMAT = 1
"""To be raised with every change to :class:`~wheelgate.core.model.File` that is not one more field at its end."""


class KeptPage(msgspec.Struct):
    """The last good page of a project, packed."""

    as_of: datetime
    """Moment when the source last confirmed it."""
    known_since: datetime | None
    body: bytes
    """Content of the page, packed."""

    @property
    def mark(self) -> bytes:
        """Equal for pages that say the same, whenever they were confirmed."""
        return hashlib.blake2b(self.body, digest_size=16).digest()

    def filenames(self) -> list[str]:
        """Of the files it lists.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return [file.filename for file in FileList.from_blocks(_decode(self.body).files)]
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError("it is damaged") from error


class _PackedPage(msgspec.Struct, array_like=True):
    form: int
    versions: tuple[str, ...]
    status: ProjectStatus | None
    dropped: int
    files: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_PackedPage).decode


def pack(page: ProjectPage) -> KeptPage:
    """The page, to be kept. Its files are packed from then on."""
    files = FileList.of(page.files)
    body = _PackedPage(_FORMAT, page.versions, page.status, page.dropped, list(files.pack()))
    return KeptPage(page.as_of, page.known_since, _encode(body))


def unpack(kept: KeptPage, project: str, source: str) -> ProjectPage | None:
    """The page of a source again; ``None`` if it is damaged, or was kept by another version of this program."""
    try:
        body = _decode(kept.body)
        files = FileList.from_blocks(body.files) if body.form == _FORMAT else None
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if files is None or any(file.project != project or file.source != source for file in files):
        return None
    return ProjectPage(
        project=project,
        files=files,
        versions=body.versions,
        status=body.status,
        as_of=kept.as_of,
        known_since=kept.known_since,
        dropped=body.dropped,
    )

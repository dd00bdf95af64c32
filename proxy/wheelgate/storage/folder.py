"""A plain folder as a store: bodies under their paths and nothing beside them, so that azcopy, rsync or a disk can carry it.

What :class:`~wheelgate.storage.local.LocalStore` keeps in parallel trees (facts, tokens, locks) would travel along and mean
nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from wheelgate.core.protocols import BlobInfo
from wheelgate.storage.disk import DiskStore, identify_body

INCOMING = ".incoming"
"""The folder in it for what is not whole yet; gone when nobody writes. Sources do not look into names that begin with a dot."""


class FolderStore(DiskStore):
    """A :class:`~wheelgate.core.protocols.BodyStore` in a folder. Its only fact is the upload time: the file's own."""

    def __init__(self, root: Path) -> None:
        # The lock is the folder's own: a lock file would travel along.
        super().__init__(root, name=str(root), title=f"the folder {root}", lock=root, incoming=None)

    def write_through(self, scratch: Path) -> None:
        """Keep what is not whole yet in this folder, on the same disk. Whoever made it takes it away, also after a death."""
        self._incoming = scratch

    def tidy(self) -> None:
        """Take away what only writing needed."""
        with contextlib.suppress(OSError):  # another writer's files are in there
            (self.root / INCOMING).rmdir()

    def _walk(self, prefix: str) -> Iterator[BlobInfo]:
        self.root.stat()  # a folder that is not there is no empty one
        yield from super()._walk(prefix)

    def _info(self, path: str) -> BlobInfo:
        found = self._stat(path)
        return BlobInfo(path, found.st_size, identify_body(found), datetime.fromtimestamp(found.st_mtime, UTC), {})

    def _write_facts(self, path: str, ready: Path, facts: Mapping[str, str]) -> None:  # noqa: ARG002
        with contextlib.suppress(KeyError, ValueError):
            moment = datetime.fromisoformat(facts["upload_time"]).timestamp()
            os.utime(ready, (moment, moment))

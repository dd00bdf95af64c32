"""Tombstones: the digests of deleted uploads, for ever. Other bytes never take the name of one.

A tombstone is written before its file goes. An upload of other bytes that looked for a tombstone before it was written, and was
stored after the file had gone, is found out by whoever looks for the tombstone *after* having seen the file: the uploader
itself, another one of the same bytes, and every reader of the listing. So a file is believed only by that order.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from wheelgate.core.digests import SHA256
from wheelgate.core.errors import BlobDamaged, BlobExists, BlobNotFound
from wheelgate.core.protocols import BlobStore
from wheelgate.storage import layout

DAMAGED = ""
"""Digest of a tombstone that cannot be read: no bytes have it, so nothing returns under the name."""
_log = logging.getLogger(__name__)


class Tombstones:
    """The tombstones of one store, of files wherever they were."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def write(self, project: str, filename: str, sha256: str) -> None:
        """Let nothing but bytes of this digest take the name from now on.

        There may be a tombstone already, of a file that was deleted before and came back with the same bytes.
        """
        with contextlib.suppress(BlobExists):
            await self._store.put_if_absent(layout.tombstone(project, filename), sha256.encode(), {"sha256": sha256})

    async def find(self, project: str, filename: str) -> str | None:
        """The sha256 of the bytes that alone may have the name; ``None``: any may. :data:`DAMAGED`: none may."""
        path = layout.tombstone(project, filename)
        try:
            body, _ = await self._store.read(path)
        except BlobNotFound:
            return None
        except BlobDamaged:
            body = b""
        text = body.decode("ascii", "replace").strip()
        if SHA256.fullmatch(text):
            return text
        _log.error("the store's record %s is damaged: nothing can be uploaded under that name", path)
        return DAMAGED

    async def find_displaced(self, project: str, files: Mapping[str, str | None]) -> frozenset[str]:
        """Find those of the ``files`` (name to sha256, ``None``: not known) whose name is kept for other bytes.

        To be asked after the files were listed.
        """
        folder = layout.tombstone(project, "")
        listed = {info.path.removeprefix(folder): info async for info in self._store.list(folder)}
        displaced = set()
        for filename in files.keys() & listed.keys():
            digest = listed[filename].facts.get("sha256") or await self.find(project, filename)
            if digest is not None and digest != files[filename]:
                displaced.add(filename)
        return frozenset(displaced)

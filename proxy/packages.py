"""What may be done to an upload after it was accepted: yanked, taken back from that, deleted. Its bytes never change."""

from __future__ import annotations

import contextlib
import logging

from proxy.errors import BlobChanged, BlobExists, BlobNotFound, FileNotListed, StoreError, UploadRefused
from proxy.names import project_in
from proxy.protocols import BlobInfo, BlobStore
from proxy.storage import layout
from proxy.storage.changes import StoreChanges

_MAX_REASON = 500
_ATTEMPTS = 5
_log = logging.getLogger(__name__)


class Packages:
    """The files under the store's ``packages/``."""

    def __init__(self, store: BlobStore, changes: StoreChanges) -> None:
        self._store = store
        self._changes = changes

    async def yank(self, filename: str, reason: str) -> None:
        """Mark a file as not to be chosen any more (PEP 592): it installs only where it is asked for by its exact version.

        Raises:
            FileNotListed: the store has no such file.
            UploadRefused: the reason cannot stand on a page.
            StoreError: the store cannot be used.
        """
        if len(reason) > _MAX_REASON or (reason and not reason.isprintable()):
            raise UploadRefused(f"a reason is at most {_MAX_REASON} printable characters on one line")
        await self._change(filename, {"yanked": reason})

    async def unyank(self, filename: str) -> None:
        """Take the mark away.

        Raises:
            FileNotListed, StoreError: as above.
        """
        await self._change(filename, {})

    async def delete(self, filename: str) -> None:
        """Remove a file for good. Its name stays taken: the same bytes may return, other bytes never; the project stays ours.

        Raises:
            FileNotListed, StoreError: as above.
        """
        path, info = await self._found(filename)
        project = path.split("/")[1]
        # Before the file goes, so that there is no moment in which other bytes could take its name. There may be one already,
        # of a file that was deleted before and came back with the same bytes.
        with contextlib.suppress(BlobExists):
            await self._store.put_if_absent(layout.tombstone(project, filename), info.facts.get("sha256", "").encode(), {})
        await self._store.delete(path)
        await self._changes.announce()
        _log.info("deleted %s of project %s", filename, project)

    async def _change(self, filename: str, facts: dict[str, str]) -> None:
        for _ in range(_ATTEMPTS):
            path, info = await self._found(filename)
            kept = {key: value for key, value in info.facts.items() if key != "yanked"}
            try:
                await self._store.set_facts(path, {**kept, **facts}, info.etag)
            except BlobChanged:  # somebody else changed it in between: look again
                continue
            await self._changes.announce()
            return
        raise StoreError(f"{filename} is being changed by somebody else all the time: try again")

    async def _found(self, filename: str) -> tuple[str, BlobInfo]:
        project = project_in(filename)
        if project is None:
            raise FileNotListed(f"{filename[:200]!r} is not the name of a wheel or sdist")
        path = layout.package(project, filename)
        try:
            return path, await self._store.info(path)
        except BlobNotFound:
            raise FileNotListed(f"the store has no file {filename}: `wheelgate wheel list {project}` shows what it has") from None

"""Upload management: list, yank, unyank, delete. The bytes of an accepted upload never change."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import product

import msgspec

from wheelgate.core.belonging import read_belonging
from wheelgate.core.errors import BlobChanged, BlobNotFound, FileNotListed, StoreError, UploadRefused
from wheelgate.core.model import File
from wheelgate.core.names import is_distribution, is_safe_filename
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.runtime.together import together
from wheelgate.sources.page_builder import stored_file
from wheelgate.storage import layout
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination, compute_sha256

_MAX_REASON = 500
_ATTEMPTS = 5
_log = logging.getLogger(__name__)


class DamagedUpload(msgspec.Struct, frozen=True):
    """A file that is there and cannot be believed."""

    sentence: str
    """With the remedy."""


class UploadManager:
    """Manager of the files of all targets: the store's ``packages/``, and writable containers.

    Every method raises ``StoreError`` if the store cannot be used, and those about one file ``FileNotListed`` if there is none.
    """

    def __init__(self, targets: Sequence[Destination], *, store: BlobStore, changes: StoreChanges) -> None:
        """``store``: keeps the tombstones, whichever target a file was in."""
        self._targets = targets
        self._tombstones = Tombstones(store)
        self._changes = changes

    async def files(self, project: str | None = None) -> AsyncIterator[File | DamagedUpload]:
        """List every file, or those of one project, sorted by path below their targets, while they are read from there."""
        streams = [self._walk(target, project) for target in self._targets]
        heads = {number: head for number, stream in enumerate(streams) if (head := await anext(stream, None)) is not None}
        while heads:
            number = min(heads, key=lambda number: heads[number][0])
            yield heads.pop(number)[1]
            following = await anext(streams[number], None)
            if following is not None:
                heads[number] = following

    async def _walk(self, target: Destination, project: str | None) -> AsyncIterator[tuple[str, File | DamagedUpload]]:
        """Walk over the files of a target, each after its path, in the order of these."""
        async for info in target.store.list(target.prefix if project is None else target.build_path(project, "")):
            path = info.path.removeprefix(target.prefix)
            folder, _, filename = path.partition("/")
            if not is_safe_filename(filename) or not is_distribution(filename):
                continue
            if info.damage is None:
                yield path, stored_file(target.source, target.store.name, folder, filename, info)
            else:
                yield path, DamagedUpload(f"source {target.source}: {info.damage}")

    async def yank(self, filename: str, reason: str) -> None:
        """Yank a file (PEP 592): it installs only where its exact version is requested.

        Raises:
            UploadRefused: the reason is too long or not printable.
        """
        if len(reason) > _MAX_REASON or (reason and not reason.isprintable()):
            raise UploadRefused(f"a reason must be one line of at most {_MAX_REASON} printable characters")
        await self._change(filename, {"yanked": reason})

    async def unyank(self, filename: str) -> None:
        """Undo a yank."""
        await self._change(filename, {})

    async def delete(self, filename: str) -> None:
        """Remove a file for good. Its name stays taken: the same bytes may return, other bytes never; the project stays ours."""
        target, project, info = await self._find(filename)
        # Before the file goes, so that there is no moment in which other bytes could take its name. There may be one already,
        # of a file that was deleted before and came back with the same bytes.
        sha256 = info.facts.get("sha256") or await compute_sha256(target.store, info)
        async with AsyncExitStack() as stack:
            announcing = stack.enter_async_context(self._changes.changing(Change(Kind.PACKAGE, project)))
            # A tombstone for the bytes that are there changes nothing yet: it need not wait until others are told.
            await together(announcing, self._tombstones.write(project, filename, sha256))
            await target.store.delete(layout.provenance(info.path))
            await target.store.delete(info.path)
        _log.info("deleted %s of project %s", filename, project)

    async def _change(self, filename: str, facts: dict[str, str]) -> None:
        for _ in range(_ATTEMPTS):
            target, project, info = await self._find(filename)
            kept = {key: value for key, value in info.facts.items() if key != "yanked"}
            with contextlib.suppress(BlobChanged):  # somebody else changed it in between: look again
                async with self._changes.changing(Change(Kind.PACKAGE, project)):
                    await target.store.set_facts(info.path, {**kept, **facts}, info.etag)
                return
        raise StoreError(f"{filename} keeps being changed by other processes: try again")

    async def _find(self, filename: str) -> tuple[Destination, str, BlobInfo]:
        """Find a file: its target, project and blob."""
        projects = read_belonging(filename).projects if is_safe_filename(filename) else ()
        if not projects:
            raise FileNotListed(f"{filename[:200]!r} is not the name of a wheel, an sdist or another distribution file")
        for target, project in product(self._targets, projects):
            with contextlib.suppress(BlobNotFound):
                return target, project, await target.store.info(target.build_path(project, filename))
        raise FileNotListed(f"the store has no file {filename}: `wheelgate wheel list {projects[0]}` shows what it has")

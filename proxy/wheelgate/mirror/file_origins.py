"""Origins of the files to be copied: what our index lists, or what another mirror holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from wheelgate.core.errors import BadInput, StoreError
from wheelgate.core.model import File
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery
from wheelgate.mirror.manifest import NAME, Manifest, ManifestEntry, read_manifest
from wheelgate.mirror.mirror_files import MirrorFile
from wheelgate.mirror.mirror_store import MirrorStore


class IndexOrigin:
    """A :class:`~wheelgate.mirror.mirror_files.FileOrigin`: listed files, by path, as a client of ours would get them."""

    def __init__(self, delivery: Delivery, files: Mapping[str, File]) -> None:
        self._delivery = delivery
        self._files = files

    async def body(self, item: MirrorFile) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.mirror.mirror_files.FileOrigin`."""
        body = await self._delivery.open(self._files[item.path], plain=False)
        if isinstance(body, Redirect):
            raise AssertionError("only plain requests are redirected")
        async for chunk in body.chunks(0, None):
            yield chunk


class MirrorOrigin:
    """A :class:`~wheelgate.mirror.mirror_files.FileOrigin`: what another mirror holds."""

    def __init__(self, store: MirrorStore) -> None:
        self._store = store

    async def body(self, item: MirrorFile) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.mirror.mirror_files.FileOrigin`."""
        if item.size is None:
            raise StoreError(f"the size of {item.path} is not known")
        async for chunk in self._store.stream(item.path, 0, item.size):
            yield chunk


async def read_mirror_files(store: MirrorStore, place: str) -> tuple[list[MirrorFile], Manifest]:
    """Everything that a mirror says it holds.

    Raises:
        BadInput: it says nothing: there is no manifest, or a damaged one.
        StoreError: it cannot be read.
    """
    manifest, etag = await read_manifest(store, place)
    if etag is None:
        raise BadInput(f"{place} is no mirror that can be carried onward: it has no {NAME}")
    return [item_of(entry) for entry in manifest.files], manifest


def item_of(entry: ManifestEntry) -> MirrorFile:
    """The file that must arrive: these bytes and no others."""
    return MirrorFile(
        project=entry.project,
        filename=entry.filename,
        source=entry.source,
        listed={"sha256": entry.sha256},
        size=entry.size,
        upload_time=entry.upload_time,
        requires_python=entry.requires_python,
        yanked=entry.yanked,
        needed_by={label: tuple(targets) for label, targets in entry.needed_by.items()},
    )

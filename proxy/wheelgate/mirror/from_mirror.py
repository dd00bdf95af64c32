"""From one mirror to another, across whatever lies between: the same verification and resumption, and no index at all."""

from __future__ import annotations

from wheelgate.core.errors import BadInput
from wheelgate.mirror.items import Item
from wheelgate.mirror.manifest import NAME, Manifest, ManifestEntry, read_manifest
from wheelgate.mirror.mirror_store import MirrorStore


async def items_of(shelf: MirrorStore, place: str) -> tuple[list[Item], Manifest]:
    """Everything that a mirror says it holds.

    Raises:
        BadInput: it says nothing: there is no manifest, or a damaged one.
        StoreError: it cannot be read.
    """
    manifest, etag = await read_manifest(shelf, place)
    if etag is None:
        raise BadInput(f"{place} is no mirror that can be carried onward: it has no {NAME}")
    return [item_of(entry) for entry in manifest.files], manifest


def item_of(entry: ManifestEntry) -> Item:
    """The file that must arrive: these bytes and no others."""
    return Item(
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

"""Checks of what is stored: damaged records, mirrors whose names nobody said whose they are, containers that list slowly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.config import Config
from wheelgate.core.errors import BadInput, StoreError
from wheelgate.core.protocols import BlobStore, BodyStore
from wheelgate.enrich.inspection import find_damaged_records
from wheelgate.mirror.manifest import NAME as MANIFEST
from wheelgate.mirror.manifest_file import read_manifest
from wheelgate.storage.folder import FolderStore

_MOST_DAMAGE = 20
_LARGE_CONTAINER = 20_000


async def check_records(store: BlobStore) -> list[Finding]:
    """Name what is damaged in the store. The server goes on without it, so that nobody else would tell."""
    damaged = [sentence async for sentence in find_damaged_records(store)]
    findings = [Finding("store", False, sentence, check="record") for sentence in damaged[:_MOST_DAMAGE]]
    more = len(damaged) - _MOST_DAMAGE
    return [*findings, Finding("store", False, f"{more} more blobs are damaged", check="record")] if more > 0 else findings


async def check_mirrors(config: Config, containers: Mapping[str, BlobStore]) -> AsyncIterator[Finding]:
    """Warn of mirrors whose settings do not say if their names are private; the manifest of `wheelgate mirror` shows them."""
    for source in config.source:
        if source.type not in ("blob", "directory"):
            continue
        is_blob = source.type == "blob"
        store: BodyStore = containers[source.name] if is_blob else FolderStore(config.get_source_folder(source))
        try:
            _, etag = await read_manifest(store, source.name)
        except BadInput as error:
            yield Finding(label_source(source.name, private=True), False, str(error), check="mirror", source=source.name)
            continue
        except StoreError:
            continue  # not readable, which its own finding says
        if etag is None or source.private is not None or source.only is not None:
            continue
        detail = (
            f"is a mirror of other sources ({MANIFEST}), so all its names are claimed as yours permanently: set private = false "
            "if they are public, private = true if they are not"
        )
        yield Finding(label_source(source.name, private=True), True, detail, True, "mirror", source.name)


async def check_layouts(
    config: Config, containers: Mapping[str, BlobStore], large: int = _LARGE_CONTAINER
) -> AsyncIterator[Finding]:
    """Advise the other layout for containers of so many blobs that listing them whole takes long."""
    for source in config.source:
        if source.type != "blob" or source.layout != "any":
            continue
        if not await _has_more_than(large - 1, containers[source.name]):
            continue
        detail = (
            f"has {large:,} blobs or more, which are all listed again and again: new files show late, and a new server "
            f'waits for the first listing; wheelgate container reorder {source.name} prepares it for layout = "project"'
        )
        yield Finding(label_source(source.name, private=source.is_private), True, detail, True, "layout", source.name)


async def _has_more_than(most: int, store: BlobStore) -> bool:
    count = 0
    with suppress(StoreError):  # not readable, which its own finding says
        async for _ in store.list(""):
            count += 1
            if count > most:
                return True
    return False

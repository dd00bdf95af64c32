"""Checks of what is stored: damaged records, mirrors whose names nobody said whose they are, containers that list slowly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.config import Config, SourceSettings
from wheelgate.core.errors import BadInput, StoreError
from wheelgate.core.protocols import BlobStore, BodyStore
from wheelgate.enrich.inspection import find_damaged_records
from wheelgate.mirror.manifest import NAME as MANIFEST
from wheelgate.mirror.manifest import Manifest, project_of
from wheelgate.mirror.manifest_file import read_manifest
from wheelgate.storage.folder import FolderStore

_MOST_DAMAGE = 20
_MOST_NAMED = 3
_LARGE_CONTAINER = 20_000


async def check_records(store: BlobStore) -> list[Finding]:
    """Name what is damaged in the store. The server goes on without it, so that nobody else would tell."""
    damaged = [sentence async for sentence in find_damaged_records(store)]
    findings = [Finding("store", False, sentence, check="record") for sentence in damaged[:_MOST_DAMAGE]]
    more = len(damaged) - _MOST_DAMAGE
    return [*findings, Finding("store", False, f"{more} more blobs are damaged", check="record")] if more > 0 else findings


async def check_mirrors(config: Config, containers: Mapping[str, BlobStore]) -> AsyncIterator[Finding]:
    """Warn of mirrors whose settings contradict their manifest about whose their names are, or that do not tell of some."""
    for source in config.source:
        if source.type not in ("blob", "directory"):
            continue
        is_blob = source.type == "blob"
        store: BodyStore = containers[source.name] if is_blob else FolderStore(config.get_source_folder(source))
        try:
            manifest, etag = await read_manifest(store, source.name)
        except BadInput as error:
            yield Finding(label_source(source.name, private=True), False, str(error), check="mirror", source=source.name)
            continue
        except StoreError:
            continue  # not readable, which its own finding says
        if etag is not None and (detail := _find_contradiction(source, manifest)) is not None:
            yield Finding(label_source(source.name, private=source.is_private), True, detail, True, "mirror", source.name)


def _find_contradiction(source: SourceSettings, manifest: Manifest) -> str | None:
    """Find what is to be said about whose the names of a mirror are; ``None``: nothing."""
    origins: dict[str, set[str | None]] = {}
    for entry in manifest.files:
        origins.setdefault(project_of(entry.path), set()).add(entry.origin)
    own = [project for project, found in origins.items() if "private" in found]
    public = [project for project, found in origins.items() if "public" in found and "private" not in found]
    untold = [project for project, found in origins.items() if found == {None}]
    if source.private is False and own:
        return f"mirrors {_name_some(own)} from a private source, which private = false serves as public: leave private out"
    if source.private is True and public:
        return f"mirrors {_name_some(public)} from a public source, which private = true claims as yours: leave private out"
    if source.may_be_mirror and untold:
        return (
            f"is a mirror whose {MANIFEST} does not say whose {_name_some(untold)} is, so it is claimed as yours permanently: "
            "run `wheelgate mirror` there again; or set private = false if they are public, private = true if they are not"
        )
    return None


def _name_some(projects: Sequence[str]) -> str:
    named = ", ".join(sorted(projects)[:_MOST_NAMED])
    more = len(projects) - _MOST_NAMED
    return f"{named} and {more} more projects" if more > 0 else named


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

"""Origins of the files to be copied: what our index lists, or what another mirror holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from wheelgate.core.errors import BadInput, StoreError
from wheelgate.core.model import File
from wheelgate.core.protocols import BodyStore
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery
from wheelgate.mirror.manifest import NAME, Manifest, ManifestEntry, read_manifest
from wheelgate.mirror.mirror_files import FileOrigin, MirrorFile


def read_from_index(delivery: Delivery, files: Mapping[str, File]) -> FileOrigin:
    """Build the origin of listed files, by path, as a client of ours would get them."""

    async def read(file: MirrorFile) -> AsyncIterator[bytes]:
        body = await delivery.open(files[file.path], plain=False)
        if isinstance(body, Redirect):
            raise AssertionError("only plain requests are redirected")
        async for chunk in body.chunks(0, None):
            yield chunk

    return read


def read_from_mirror(store: BodyStore) -> FileOrigin:
    """Build the origin of what another mirror holds."""

    async def read(file: MirrorFile) -> AsyncIterator[bytes]:
        if file.size is None:
            raise StoreError(f"the size of {file.path} is not known")
        async for chunk in store.stream(file.path, 0, file.size):
            yield chunk

    return read


async def list_mirror_files(store: BodyStore, place: str) -> tuple[list[MirrorFile], Manifest]:
    """List everything that a mirror says it holds, to copy it without any index: verified and resumable all the same.

    Raises:
        BadInput: it says nothing: there is no manifest, or a damaged one.
        StoreError: it cannot be read.
    """
    manifest, etag = await read_manifest(store, place)
    if etag is None:
        raise BadInput(f"{place} is not a mirror that can be copied: it has no {NAME}")
    return [_build_file(entry) for entry in manifest.files], manifest


def _build_file(entry: ManifestEntry) -> MirrorFile:
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

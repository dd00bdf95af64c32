"""Companions that a mirror keeps beside a file: core metadata out of the wheel itself, and provenance as the index gave it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from packaging.utils import InvalidWheelFilename

from wheelgate.core.errors import StoreError, UpstreamError
from wheelgate.core.protocols import BodyStore, Hook
from wheelgate.distfiles.attestations import BadAttestation, check_provenance
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, read_core_metadata
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.manifest import METADATA, ManifestEntry
from wheelgate.mirror.placing import digest_small, place_body
from wheelgate.runtime.regular_file import open_regular
from wheelgate.storage import layout

FindProvenance = Callable[[MirrorFile], Awaitable[bytes | None]]
"""Fetches the provenance object of a file (PEP 740); ``None``: it has none. Raises UpstreamError, StoreError."""


async def find_no_provenance(item: MirrorFile) -> bytes | None:  # noqa: ARG001 - what others find something with
    """Find nothing: the files come from where there is no provenance."""
    return None


def read_metadata(path: Path, filename: str) -> CoreMetadata | None:
    """Read what the wheel itself says; ``None`` of anything else, and of a wheel that says nothing which can be used."""
    if not filename.endswith(".whl"):
        return None
    try:
        with open_regular(path) as wheel:
            return read_core_metadata(wheel, filename)
    except (BadWheel, InvalidWheelFilename):
        return None


async def put_metadata(store: BodyStore, path: str, metadata: CoreMetadata | None, require_meant: Hook) -> str | None:
    """Put metadata beside its wheel, if there is any, and return its digest. Raises as :func:`place_body`."""
    if metadata is None:
        return None
    digest = hashlib.sha256(metadata.body).hexdigest()
    await place_body(store, path + METADATA, metadata.body, {}, digest, require_meant)
    return digest


async def bring_provenance(
    store: BodyStore, item: MirrorFile, entry: ManifestEntry, vouched: str | None, find: FindProvenance, require_meant: Hook
) -> tuple[str | None, str | None]:
    """Bring the provenance of a file that is in place, unless it is there; return its digest, and a sentence if it did not come.

    ``vouched``: the digest of what was brought before, which no other one replaces. Raises as :func:`place_body`.
    """
    path = layout.provenance(item.path)
    if vouched is not None and await digest_small(store, path) == vouched:
        return vouched, None
    try:
        body = await find(item)
        if body is None:
            return vouched, None
        await asyncio.to_thread(check_provenance, body, item.file.filename, entry.sha256)
    except (UpstreamError, StoreError) as error:
        return vouched, f"{item.path} is mirrored without its provenance: {error}"
    except BadAttestation as error:
        return vouched, f"{item.path} is mirrored without its provenance: its attestations {error}"
    digest = hashlib.sha256(body).hexdigest()
    if vouched not in (None, digest):
        return vouched, f"{path} is damaged, and source {item.file.source} gives another one now, which is not taken for it"
    await place_body(store, path, body, {}, digest, require_meant)
    return digest, None

"""Placing of bodies in a mirror: under a name that its manifest says is for them, whatever else lay there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobExists, BlobNotFound
from wheelgate.core.protocols import BlobInfo, BodyStore, Hook
from wheelgate.mirror.verifying import compute_digests

_ATTEMPTS = 8


async def place_body(
    store: BodyStore, path: str, body: Path | bytes, facts: Mapping[str, str], sha256: str, require_meant: Hook
) -> tuple[BlobInfo, bool]:
    """Put a body in place that has this digest, and tell whether something else was taken away for it.

    Nothing is taken away but what was seen not to be it, and after that, by ``require_meant``, not to be meant. Of two who do
    this at once, each finds what the other put there.

    Raises:
        FileWithheld: another body is meant to be there, as ``require_meant`` says.
        StoreError: it is not there now.
    """
    replaced = False
    for _ in range(_ATTEMPTS):
        try:
            info = await store.info(path)
            if (await compute_digests(store, path, info.size))["sha256"] == sha256:
                return info, replaced
            await require_meant()
            await store.delete(path, info.etag)
            replaced = True
        except BlobChanged:
            continue
        except BlobDamaged:
            await require_meant()
            await store.delete(path)
            replaced = True
        except BlobNotFound:
            pass
        try:
            return await store.put_if_absent(path, body, facts), replaced
        except BlobExists:
            continue
    raise BlobChanged(f"{path} is written again and again by somebody else: try again once that has ended")


async def digest_small(store: BodyStore, path: str) -> str | None:
    """Compute the sha256 of a small body; ``None``: there is none that can be used."""
    try:
        return hashlib.sha256((await store.read(path))[0]).hexdigest()
    except (BlobNotFound, BlobDamaged):
        return None

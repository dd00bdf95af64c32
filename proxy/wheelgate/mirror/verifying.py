"""Verification of what lies in a mirror: digests of stored files, and what is missing or damaged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from wheelgate.core.digests import new_hash
from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobNotFound
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.manifest import METADATA, ManifestEntry
from wheelgate.storage import layout


async def read_stored(store: BodyStore, path: str, size: int) -> AsyncGenerator[bytes, None]:
    """Read a whole file in a store; :class:`BlobNotFound` or :class:`StoreError` if it is gone, or cannot be read."""
    async for chunk in store.stream(path, 0, size):
        yield chunk


async def compute_digests(store: BodyStore, path: str, size: int, algorithms: Iterable[str] = ("sha256",)) -> dict[str, str]:
    """Compute the digests of a file in a store; :class:`BlobNotFound` or :class:`StoreError` as for :func:`read_stored`."""
    hashes = {name: new_hash(name) for name in algorithms}
    async with aclosing(read_stored(store, path, size)) as chunks:
        async for chunk in chunks:
            for digest in hashes.values():
                await asyncio.to_thread(digest.update, chunk)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


async def find_damage(
    store: BodyStore,
    entries: Iterable[ManifestEntry],
    *,
    jobs: int = 8,
    on_bytes: Callable[[int], None] = lambda _: None,
    on_done: Callable[[ManifestEntry], None] = lambda _: None,
) -> list[str]:
    """Find damage: read every file again and compare it; a sentence for each that is missing or damaged, by path.

    Raises:
        StoreError: the mirror cannot be read.
    """
    waiting = deque(entries)
    found: list[tuple[str, str]] = []

    async def work() -> None:
        while waiting:
            entry = waiting.popleft()
            problems = [await _find_damage(store, entry.path, entry.sha256, entry.size)]
            if entry.metadata_sha256 is not None:
                problems.append(await _find_damage(store, entry.path + METADATA, entry.metadata_sha256))
            if entry.provenance_sha256 is not None:
                problems.append(await _find_damage(store, layout.provenance(entry.path), entry.provenance_sha256))
            found.extend((entry.path, problem) for problem in problems if problem is not None)
            on_bytes(entry.size)
            on_done(entry)

    await asyncio.gather(*(work() for _ in range(jobs)))
    return [problem for _, problem in sorted(found)]


async def _find_damage(store: BodyStore, path: str, sha256: str, size: int | None = None) -> str | None:
    try:
        found = (await store.info(path)).size
        if size not in (None, found):
            return f"{path} is damaged: it has {found} bytes, not {size}"
        digest = (await compute_digests(store, path, found))["sha256"]
    except BlobNotFound:
        return f"{path} is missing"
    except (BlobDamaged, BlobChanged) as error:
        return str(error)
    return None if digest == sha256 else f"{path} is damaged: its sha256 is {digest}, not {sha256}"

"""Verification that a mirror holds what its manifest says, byte for byte."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from wheelgate.core.errors import BlobNotFound
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.copying import JOBS, compute_digests
from wheelgate.mirror.manifest import METADATA, ManifestEntry


async def find_damage(
    store: BodyStore, entries: Iterable[ManifestEntry], *, jobs: int = JOBS, on_bytes: Callable[[int], None] = lambda _: None
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
            found.extend((entry.path, problem) for problem in await _check(store, entry))
            on_bytes(entry.size)

    await asyncio.gather(*(work() for _ in range(jobs)))
    return [problem for _, problem in sorted(found)]


async def _check(store: BodyStore, entry: ManifestEntry) -> list[str]:
    digests = {entry.path: entry.sha256}
    if entry.metadata_sha256 is not None:
        digests[entry.path + METADATA] = entry.metadata_sha256
    problems = []
    for path, expected in digests.items():
        try:
            size = (await store.info(path)).size
            if path == entry.path and size != entry.size:
                problems.append(f"{path} is damaged: it has {size} bytes, not {entry.size}")
                continue
            digest = (await compute_digests(store, path, size, frozenset({"sha256"})))["sha256"]
            if digest != expected:
                problems.append(f"{path} is damaged: its sha256 is {digest}, not {expected}")
        except BlobNotFound:
            problems.append(f"{path} is missing")
    return problems

"""Proof that a mirror holds what its manifest says, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable

from wheelgate.core.errors import BlobNotFound
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.copying import JOBS, digests_on
from wheelgate.mirror.manifest import METADATA, ManifestEntry


async def find_damage(
    store: BodyStore, entries: Iterable[ManifestEntry], *, jobs: int = JOBS, on_bytes: Callable[[int], None] = lambda _: None
) -> list[str]:
    """Every file read again and compared: a sentence for each that is missing or damaged, by path.

    Raises:
        StoreError: the mirror cannot be read.
    """
    waiting = deque(entries)
    found: list[tuple[str, str]] = []

    async def work() -> None:
        while waiting:
            entry = waiting.popleft()
            found.extend((entry.path, problem) for problem in await _problems(store, entry))
            on_bytes(entry.size)

    await asyncio.gather(*(work() for _ in range(jobs)))
    return [problem for _, problem in sorted(found)]


async def _problems(store: BodyStore, entry: ManifestEntry) -> list[str]:
    problems = []
    try:
        info = await store.info(entry.path)
        if info.size != entry.size:
            problems.append(f"{entry.path} is damaged: it has {info.size} bytes, not {entry.size}")
        else:
            digest = (await digests_on(store, entry.path, info.size, frozenset({"sha256"})))["sha256"]
            if digest != entry.sha256:
                problems.append(f"{entry.path} is damaged: its sha256 is {digest}, not {entry.sha256}")
    except BlobNotFound:
        problems.append(f"{entry.path} is missing")
    if entry.metadata_sha256 is not None:
        problems += await _metadata_problems(store, entry)
    return problems


async def _metadata_problems(store: BodyStore, entry: ManifestEntry) -> list[str]:
    path = entry.path + METADATA
    try:
        body, _ = await store.read(path)
    except BlobNotFound:
        return [f"{path} is missing"]
    digest = hashlib.sha256(body).hexdigest()
    return [] if digest == entry.metadata_sha256 else [f"{path} is damaged: its sha256 is {digest}, not {entry.metadata_sha256}"]

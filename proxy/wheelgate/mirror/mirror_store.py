"""Where a mirror is kept: as much of a store as copying and proving need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from wheelgate.core.protocols import BlobInfo


class MirrorStore(Protocol):
    """The part of :class:`~wheelgate.core.protocols.BlobStore` that a plain folder has too; each method does the same."""

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every body below ``prefix``."""
        ...

    async def info(self, path: str) -> BlobInfo:
        """What is known of one; of a plain folder no facts."""
        ...

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        """A small one, whole."""
        ...

    def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes of a large one."""
        ...

    async def put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        """Create one in a single step, durable when this returns."""
        ...

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        """Write the manifest, if nobody else did meanwhile."""
        ...

    async def delete(self, path: str) -> None:
        """Remove one; a missing one is fine."""
        ...

    def local_path(self, path: str) -> Path | None:
        """Its file, where it has one: then reading it again costs next to nothing."""
        ...

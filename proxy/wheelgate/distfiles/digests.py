"""Digests and bytes of whole files, read piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Compute the sha256 of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def read_pieces(path: Path) -> AsyncIterator[bytes]:
    """Read the bytes of a file, 256 KiB at a time, read off the event loop.

    Raises:
        OSError: it cannot be read.
    """
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, 256 * 1024):
            yield piece
    finally:
        file.close()

"""Locks that the newest tools wrote of the projects in ``lock_shapes``, kept without the addresses of their two indexes."""

from __future__ import annotations

from pathlib import Path

from tests.support.lock_shapes import PUBLIC, TEAM

FOLDER = Path(__file__).parents[1] / "mirror" / "locks"
KEPT = sorted((path.parent.name, path.name) for path in FOLDER.glob("*/*"))
"""The shape, which its tool's name begins, and the lock's file name."""


def read_kept(shape: str, lock: str) -> str:
    """Read a lock as it was written where the indexes are :data:`PUBLIC` and :data:`TEAM`."""
    text = (FOLDER / shape / lock).read_text()
    return text.replace("<public origin>", PUBLIC.removesuffix("/simple/")).replace(
        "<team origin>", TEAM.removesuffix("/simple/")
    )


def write_kept(shape: str, lock: str, folder: Path) -> Path:
    """Put such a lock into a folder."""
    path = folder / lock
    path.write_text(read_kept(shape, lock))
    return path

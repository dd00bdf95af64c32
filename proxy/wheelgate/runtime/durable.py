"""Files and folders that survive a power cut: the steps by which stores in folders bring a body onto their disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def bring(body: Path | bytes, ready: Path) -> None:
    """The body under a new name of the caller's, its bytes on disk; by a link where that is possible. A failure leaves nothing.

    Raises:
        OSError: it cannot be read, or not be written there.
    """
    try:
        if isinstance(body, bytes):
            ready.write_bytes(body)
        else:
            try:
                os.link(body, ready)
            except OSError:  # another file system, or one without links
                shutil.copyfile(body, ready)
        with ready.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        ready.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """The folder and those above it, each name on disk: a body is no more durable than the folders it lies in.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

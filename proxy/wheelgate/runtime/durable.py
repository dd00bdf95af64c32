"""Durable writes: files replaced in one step, bodies and names that survive a power cut, locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_DRAFT = ".draft-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: OSError) -> bool:
    """Tell whether a write failed for want of room: on the disk, in a quota, or below a limit of the process."""
    return error.errno in _FULL


def replace_file(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step, durable when this returns; the folder is made if it is missing.

    The caller holds the folder's lock: drafts in it are of processes that died, and may hold secrets.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.name == "posix":  # elsewhere folders have no locks
        for left in path.parent.glob(f"{_DRAFT}*"):
            left.unlink(missing_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut, on platforms where a folder can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_open_folder(descriptor: int | None) -> None:
    """Make a new name in an open folder survive a power cut (``None``: a platform without such descriptors)."""
    if descriptor is not None:
        os.fsync(descriptor)


@contextlib.contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder, or of a file, which is made if it is missing. The system frees it when its process dies.

    On Windows files are locked and folders are not; a platform with neither ``fcntl`` nor ``msvcrt`` has no locks. There
    writers do not wait for one another, and the last of two wins.

    Args:
        path: of the folder or file. A file may be no link.
        wait: ``False``: make no file, and wait for nobody.

    Raises:
        OSError: it cannot be opened. With ``wait=False`` also: somebody holds it, or perhaps does where there are no locks.
    """
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":
        yield
        return
    flags = os.O_RDONLY if is_folder else os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | (os.O_CREAT if wait else 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        _acquire(descriptor, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, *, wait: bool) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:  # also after ten seconds of waiting
                if not wait:
                    raise
            else:
                return
    try:
        import fcntl
    except ImportError:
        if not wait:
            raise BlockingIOError("this platform has no locks") from None
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

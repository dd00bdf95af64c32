"""Regular files opened for reading: judged once they are open, never by their names, and without waiting for anybody.

A name can be exchanged between a look at it and its use: for a link that leads elsewhere, a pipe that never ends, other bytes.
So nothing is looked at first. A file is opened without following links, where it lies in a folder that others may write to;
what was opened is judged; and whoever goes on, goes on with that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

_IS_SAFE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = _READ | _NO_LINK | getattr(os, "O_DIRECTORY", 0)
_MAX_HELD_BYTES = 16 * 1024 * 1024
_INHERITED = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularFile(OSError):
    """Something else of that name: a link where none may be, a pipe, a device; of a folder an ``IsADirectoryError``."""

    def __init__(self, mode: int, path: str) -> None:
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        super().__init__(errno.EINVAL, f"it is {kind}, not a file", path)


class FileTooLarge(OSError):
    """A file with more bytes than its reader takes."""

    def __init__(self, max_bytes: int, path: str) -> None:
        super().__init__(errno.EFBIG, f"it has more than {max_bytes} bytes", path)


def open_regular(path: Path) -> FileIO:
    """Open an operator's own file, unbuffered. Links are followed: mounted secrets and settings are links.

    Raises:
        NotRegularFile: it is no regular file; nobody waited for the other end of a pipe.
        OSError: it cannot be opened.
    """
    try:
        descriptor = _open(str(path), _READ)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise NotRegularFile(path.stat().st_mode, str(path)) from None  # a socket, or a device without a driver
    return _judge(descriptor, path)


def read_head(path: Path, max_bytes: int) -> bytes:
    """Read the first bytes of an operator's own file; raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read(max_bytes)


def read_argument(path: Path, max_bytes: int) -> bytes:
    """Read a file that a person named, or the pipe that their shell made for it (``<(...)``, ``/dev/stdin``), to its end.

    Raises as :func:`read_regular`.
    """
    if not str(path).startswith(_INHERITED):
        return read_regular(path, max_bytes)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - it is a FileIO
        return read_all(file, max_bytes)


def open_below(root: Path, path: str) -> FileIO:
    """Open a file by its path below a folder, unbuffered. The folder may be a link; nothing below it may.

    Raises:
        NotRegularFile: it, or a folder on the way to it, is a link, or it is no regular file.
        OSError: it cannot be opened.
    """
    with open_parent(root, path) as (folder, name):
        try:
            descriptor = _open(name, _READ | _NO_LINK, folder)
        except OSError as error:
            raise _explain_link(error, name, folder) from None
    return _judge(descriptor, root / path)


def stat_below(root: Path, path: str) -> os.stat_result:
    """Look at what lies at a path below a folder, itself a link or not; :class:`OSError` as of :func:`open_parent`."""
    with open_parent(root, path) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


@contextmanager
def open_parent(root: Path, path: str, *, make: bool = False) -> Iterator[tuple[int | None, str]]:
    """Open the folder that a path below ``root`` lies in: its descriptor, and the name in it, for functions with a ``dir_fd``.

    ``None`` where a platform has no such functions: the name is a whole path then. ``make``: folders on the way are made, each on
    disk before what lies in it.

    Raises:
        NotRegularFile: a folder on the way is a link.
        OSError: one cannot be opened, or made.
    """
    *folders, name = Path(path).parts
    if not _IS_SAFE:
        parent = root.joinpath(*folders)
        if make:
            parent.mkdir(parents=True, exist_ok=True)
        yield None, str(parent / name)
        return
    here = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for folder in folders:
            below = _open_folder(here, folder, make=make)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)


def _open_folder(here: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=here)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as error:
        raise _explain_link(error, name, here) from None
    try:
        os.mkdir(name, dir_fd=here)
        os.fsync(here)
    except FileExistsError:  # somebody else was faster
        pass
    return _open_folder(here, name, make=False)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read an operator's own file, links followed; raises as :func:`open_regular`, and :class:`FileTooLarge`."""
    with open_regular(path) as file:
        return read_all(file, max_bytes)


def read_below(root: Path, path: str, max_bytes: int) -> bytes:
    """Read a file by its path below a folder; raises as :func:`open_below`, and :class:`FileTooLarge`."""
    with open_below(root, path) as file:
        return read_all(file, max_bytes)


def read_all(file: FileIO, max_bytes: int) -> bytes:
    """Read an open file to its end; :class:`FileTooLarge` before more than the bound was read."""
    if os.fstat(file.fileno()).st_size > max_bytes:
        raise FileTooLarge(max_bytes, str(file.name))
    pieces, size = [], 0
    while piece := file.read(min(1024 * 1024, max_bytes + 1 - size)):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:  # it grew meanwhile
            raise FileTooLarge(max_bytes, str(file.name))
    return b"".join(pieces)


@contextmanager
def hold_open(path: Path) -> Iterator[str]:
    """Hold an operator's own file open, for libraries that take nothing but a path: one that leads to what was judged.

    Raises as :func:`open_regular`, and :class:`FileTooLarge`: no such library bounds what it reads.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MAX_HELD_BYTES:
            raise FileTooLarge(_MAX_HELD_BYTES, str(path))
        handle = f"/dev/fd/{file.fileno()}"
        yield handle if os.path.exists(handle) else str(path)  # noqa: PTH110 - not there on every platform


def _open(path: str, flags: int, folder: int | None = None) -> int:
    return os.open(path, flags, dir_fd=folder)


def _judge(descriptor: int, path: Path) -> FileIO:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", str(path))
        raise NotRegularFile(mode, str(path))
    return open(descriptor, "rb", buffering=0)


def _explain_link(error: OSError, name: str, folder: int | None) -> OSError:
    """The error of opening what is a link (ELOOP; of a folder ENOTDIR), or has no other end, in words."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return error
    if stat.S_ISLNK(mode) or (error.errno == errno.ENXIO and not stat.S_ISREG(mode)):
        return NotRegularFile(mode, name)
    return error

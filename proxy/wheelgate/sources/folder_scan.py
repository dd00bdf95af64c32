"""Folder scan: everything below a folder, read in a thread into a packed listing, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wheelgate.core.model import file_etag
from wheelgate.core.names import is_listable, show_any
from wheelgate.core.protocols import BlobInfo
from wheelgate.sources.packed_listing import FOLDER_END, ListingBuilder, PackedListing

_SCANS = 5
_TOLD_LINKS = 10
_LINKED_FOLDER = (
    "is a link to a folder, which is not followed, as it may lead out of this one, so nothing in it is offered: "
    "put the folder itself there, or make it a source of its own"
)


class FolderScan(msgspec.Struct, frozen=True):
    """One look at a folder that is complete."""

    place: str
    """The identity of the folder."""
    listing: PackedListing
    """Paths as :func:`pack_path` writes them, below the folder; ETags of :func:`~wheelgate.core.model.file_etag`."""
    changed: frozenset[str] | None
    """Projects that are not as in the look before; ``None``: any may not be."""
    links: tuple[str, ...] = ()
    """A sentence for each of the first links to folders, which are in the listing as damaged files are."""


def scan_folder(root: Path, before: PackedListing | None, *, by_project: bool = False) -> FolderScan:
    """Scan a folder, and tell it from another one of its name: a disk that is not mounted leaves one, which is empty.

    Blocks for as long as that takes: some 0.01 ms a file. ``by_project``: only what lies at ``<project>/<file>`` counts.

    Raises:
        OSError: it cannot be read, or not all of it: with a part unheard, a name would seem to be free.
    """
    place = _identify(root)
    for _ in range(_SCANS - 1):
        with contextlib.suppress(FileNotFoundError):  # something was removed meanwhile, or all of it: look again
            scan = _scan(root, place, before, by_project)
            break
    else:
        scan = _scan(root, place, before, by_project)
    if _identify(root) != place:  # mounted or unmounted meanwhile
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return scan


def _identify(root: Path) -> str:
    """The identity of a folder, which outlives a restart of the machine where the file system has one of its own."""
    stat = root.stat()
    system = os.statvfs(root).f_fsid if hasattr(os, "statvfs") else 0
    return f"{system or stat.st_dev:x}/{stat.st_ino:x}"


def _scan(root: Path, place: str, before: PackedListing | None, by_project: bool) -> FolderScan:
    builder = ListingBuilder(before, by_folder=by_project)
    start = len(os.path.join(root, ""))  # noqa: PTH118 - a path in text, with the separator at its end
    links: list[str] = []
    for entry in _walk(root):
        path = pack_path(entry.path[start:])
        stat = entry.stat(follow_symlinks=False)
        written = datetime.fromtimestamp(stat.st_mtime, UTC)
        damage = _find_damage(entry)
        if damage is not None and _is_linked_folder(entry, root, by_project=by_project):
            path, damage = path + FOLDER_END, f"{show_any(path)} {_LINKED_FOLDER}"
            links += [damage] if len(links) < _TOLD_LINKS else []
        elif not is_listable(entry.name):
            continue
        builder.add(BlobInfo(path, stat.st_size, file_etag(stat), written, {}, damage))
    steps = builder.finish()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return FolderScan(place, done.value, builder.changed, tuple(links))


def _find_damage(entry: os.DirEntry[str]) -> str | None:
    if entry.is_file(follow_symlinks=False):
        return None
    if entry.is_dir(follow_symlinks=False):
        why = "a folder: pack it into a file of that name"
    elif entry.is_symlink():
        why = "a link, which is not followed, as it may lead out of the folder: put the file itself there"
    else:
        why = "no plain file: put one there"
    return f"{show_any(entry.name)} is {why}"


def _is_linked_folder(entry: os.DirEntry[str], root: Path, *, by_project: bool) -> bool:
    """True if an entry stands for a folder whose files are listed nowhere else.

    A link within ``root`` leads to files that are listed where they lie, but not under the project that it is named for.
    """
    if not entry.is_symlink() or is_listable(entry.name):
        return False
    try:
        return entry.is_dir() and (by_project or not Path(entry.path).resolve().is_relative_to(root.resolve()))
    except (OSError, RuntimeError):  # it leads round in a circle, or to where nobody may look
        return True


def _walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below that may be a distribution by its name, and every link, in a stable order.

    Links are not followed: they may lead out of the folder.
    """
    with os.scandir(root) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if is_listable(entry.name) or entry.is_symlink():
            yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def pack_path(path: str) -> str:
    """Write a path of this machine as text that any encoding can hold: a folder may be named with any bytes."""
    return path if path.isascii() else os.fsencode(path).decode("latin-1")


def unpack_path(packed: str) -> str:
    """Read what :func:`pack_path` wrote."""
    return packed if packed.isascii() else os.fsdecode(packed.encode("latin-1"))

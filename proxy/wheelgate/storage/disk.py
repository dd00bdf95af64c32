"""Base of the two stores in folders: reading, streaming, atomic commits, locking, and errors of the disk in plain words."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.durable import file_lock, make_folder, place_body, sync_folder

T = TypeVar("T")

_CHUNK_BYTES = 1024 * 1024
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DiskStore(ABC):
    """Bodies as files below one folder, each under its own path. What is kept beside them, a subclass decides.

    A body becomes visible in one step made last (a hard link, or a rename over the former record), after its bytes are on
    disk: a crash at any moment leaves a name absent or whole.
    """

    def __init__(self, root: Path, *, name: str, title: str) -> None:
        """``title``: what sentences call the store."""
        self._root = root
        self._name = name
        self._title = title
        self._thread_lock = threading.Lock()

    @property
    def name(self) -> str:
        """Stable identity of the store."""
        return self._name

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def local_path(self, path: str) -> Path | None:
        """The body's own file."""
        return self._root / path

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        for info in await self._run(self._walk, prefix):
            yield info

    async def info(self, path: str) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._info, path)

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._read, path)

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        file = await self._run(self._open, path, start)
        try:
            while start < end:
                chunk = await self._run(file.read, min(_CHUNK_BYTES, end - start))
                if not chunk:
                    raise StoreError(f"{path} in {self._title} is shorter than it was")
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._put_if_absent, path, body, facts)

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._replace_if, path, body, etag)

    async def delete(self, path: str) -> None:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        await self._run(self._delete, path)

    def _walk(self, prefix: str) -> Sequence[BlobInfo]:
        folder, _, start = prefix.rpartition("/")
        found = []
        pending = [folder]
        while pending:
            here = pending.pop()
            try:
                entries = list(os.scandir(self._root / here))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                path = f"{here}/{entry.name}" if here else entry.name
                if entry.name.startswith(".") or (here == folder and not entry.name.startswith(start)):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_file(follow_symlinks=False):
                    try:
                        found.append(self._info(path))
                    except BlobNotFound:  # deleted since the folder was read
                        continue
        return found

    @abstractmethod
    def _info(self, path: str) -> BlobInfo:
        """Look at one blob; :class:`BlobNotFound` if there is none."""

    @property
    @abstractmethod
    def _incoming(self) -> Path:
        """The folder, on the same disk, for bodies that are not committed yet."""

    @property
    @abstractmethod
    def _lock_path(self) -> Path:
        """The file or folder whose lock serialises writers."""

    @abstractmethod
    def _write_facts(self, path: str, ready: Path, facts: Mapping[str, str]) -> None:
        """Keep the facts of the body that is ``ready`` and committed next."""

    def _stat(self, path: str) -> os.stat_result:
        try:
            found = (self._root / path).lstat()
        except _NO_FILE:
            raise self._not_found_error(path) from None
        if not stat.S_ISREG(found.st_mode):
            raise self._not_found_error(path)
        return found

    def _read(self, path: str) -> tuple[bytes, BlobInfo]:
        info = self._info(path)
        try:
            return (self._root / path).read_bytes(), info
        except _NO_FILE:
            raise self._not_found_error(path) from None

    def _open(self, path: str, start: int) -> IO[bytes]:
        self._stat(path)
        try:
            file = (self._root / path).open("rb", 0)
        except _NO_FILE:
            raise self._not_found_error(path) from None
        file.seek(start)
        return file

    def _put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        target = self._root / path
        self._refuse_taken(path)
        with self._bring_in(body) as ready:
            make_folder(target.parent)
            with self._lock():
                self._refuse_taken(path)
                self._write_facts(path, ready, facts)
                try:
                    os.link(ready, target)  # the commit: atomic, and refused if the name exists
                except FileExistsError:
                    raise self._exists_error(path) from None
                sync_folder(target.parent)
                return self._info(path)

    def _refuse_taken(self, path: str) -> None:
        if (self._root / path).exists():
            raise self._exists_error(path)

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        target = self._root / path
        with self._bring_in(body) as ready:
            make_folder(target.parent)
            with self._lock():
                try:
                    current = self._info(path)
                except BlobNotFound:
                    current = None
                if (current and current.etag) != etag:
                    raise self._changed_error(path)
                # Before the body, so that no moment has a new body under an old ETag.
                self._write_facts(path, ready, current.facts if current else {})
                ready.replace(target)
                sync_folder(target.parent)
                return self._info(path).etag

    def _delete(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    @contextmanager
    def _bring_in(self, body: Path | bytes) -> Iterator[Path]:
        """The body on this file system, its bytes on disk, under a name nobody looks at."""
        ready = self._incoming / uuid.uuid4().hex
        place_body(body, ready)
        try:
            yield ready
        finally:
            ready.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer at a time: threads of this process by a lock, other processes by the file system's."""
        with self._thread_lock, file_lock(self._lock_path):
            yield

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise self._store_error("used", error) from None

    def _store_error(self, what: str, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(f"the disk is full: make room at {self._root}")
        return StoreError(f"the store at {self._root} cannot be {what}: {(error.strerror or str(error)).lower()}")

    def _not_found_error(self, path: str) -> BlobNotFound:
        return BlobNotFound(f"{self._title} has no {path}")

    def _exists_error(self, path: str) -> BlobExists:
        return BlobExists(f"{self._title} has {path} already")

    def _changed_error(self, path: str) -> BlobChanged:
        return BlobChanged(f"{path} in {self._title} was changed by somebody else")


def identify_body(body: os.stat_result) -> str:
    """Tell one body from another of the same name."""
    return f"{body.st_ino:x}-{body.st_mtime_ns:x}-{body.st_size:x}"

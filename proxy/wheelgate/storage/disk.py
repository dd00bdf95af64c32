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
from contextlib import contextmanager, suppress
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

    def __init__(self, root: Path, *, name: str, title: str, lock: Path, incoming: Path | None) -> None:
        """Keep bodies below ``root``. ``title`` is what sentences call the store; whoever holds ``lock`` alone writes.

        ``incoming``: the folder, on the same disk, for bodies that are not committed yet; ``None``: nothing is written.
        """
        self.root = root
        self.name = name
        self._title = title
        self._place = title if str(root) in title else f"{title} at {root}"
        self._lock_path = lock
        self._incoming = incoming
        self._thread_lock = threading.Lock()

    def local_path(self, path: str) -> Path | None:
        return self.root / path

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        for info in await self._run(self._walk, prefix):
            yield info

    async def info(self, path: str) -> BlobInfo:
        return await self._run(self._info, path)

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        return await self._run(self._read, path)

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
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
        return await self._run(self._put_if_absent, path, body, facts)

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        return await self._run(self._replace_if, path, body, etag)

    async def delete(self, path: str) -> None:
        await self._run(self._delete, path)

    def _walk(self, prefix: str) -> Sequence[BlobInfo]:
        found = []
        for here, folders, names in os.walk(self.root / prefix.rpartition("/")[0], onerror=_raise_unless_gone):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(here, name).relative_to(self.root).as_posix()
                if path.startswith(prefix) and not name.startswith("."):
                    with suppress(BlobNotFound):  # a link, or deleted since the folder was read
                        found.append(self._info(path))
        return found

    @abstractmethod
    def _info(self, path: str) -> BlobInfo:
        """Look at one blob; :class:`BlobNotFound` if there is none."""

    @abstractmethod
    def _write_facts(self, path: str, ready: Path, facts: Mapping[str, str]) -> None:
        """Keep the facts of the body that is ``ready`` and committed next."""

    def _stat(self, path: str) -> os.stat_result:
        try:
            found = (self.root / path).lstat()
        except _NO_FILE:
            raise self._not_found_error(path) from None
        if not stat.S_ISREG(found.st_mode):
            raise self._not_found_error(path)
        return found

    def _read(self, path: str) -> tuple[bytes, BlobInfo]:
        info = self._info(path)
        with self._open(path, 0) as file:
            return file.read(), info

    def _open(self, path: str, start: int) -> IO[bytes]:
        self._stat(path)
        try:
            file = (self.root / path).open("rb", 0)
        except _NO_FILE:
            raise self._not_found_error(path) from None
        file.seek(start)
        return file

    def _put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        target = self.root / path
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
        if (self.root / path).exists():
            raise self._exists_error(path)

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        target = self.root / path
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
        (self.root / path).unlink(missing_ok=True)

    @contextmanager
    def _bring_in(self, body: Path | bytes) -> Iterator[Path]:
        """The body on this file system, its bytes on disk, under a name nobody looks at."""
        if self._incoming is None:
            raise StoreError(f"{self.root} was opened to be read")
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
            return StoreError(f"the disk is full: make room at {self.root}")
        return StoreError(f"{self._place} cannot be {what}: {(error.strerror or str(error)).lower()}")

    def _not_found_error(self, path: str) -> BlobNotFound:
        return BlobNotFound(f"{self._title} has no {path}")

    def _exists_error(self, path: str) -> BlobExists:
        return BlobExists(f"{self._title} has {path} already")

    def _changed_error(self, path: str) -> BlobChanged:
        return BlobChanged(f"{path} in {self._title} was changed by somebody else")


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def identify_body(body: os.stat_result) -> str:
    """Tell one body from another of the same name."""
    return f"{body.st_ino:x}-{body.st_mtime_ns:x}-{body.st_size:x}"

"""Base of the two stores in folders: reading, streaming, atomic commits, locking, and errors of the disk in plain words."""

from __future__ import annotations

import asyncio
import errno
import heapq
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from datetime import UTC, datetime
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobExists, BlobNotFound, StoreError, StoreFull
from wheelgate.core.protocols import MAX_READ_BYTES, BlobInfo, Hook
from wheelgate.runtime.deadline import extend_deadline, renew_deadline
from wheelgate.runtime.drafts import draft, entered_apart
from wheelgate.runtime.durable import file_lock, is_full, sync_open_folder
from wheelgate.runtime.regular_file import NotRegularFile, open_below, open_parent, read_all, stat_below

T = TypeVar("T")

_CHUNK_BYTES = 1024 * 1024
_LEAST_BYTES_S = 8 * 1024 * 1024
"""Of a disk, however slow: a request waits so long for a body to be durable on it, and not for ever."""
_TOGETHER = 1_000
"""Files that are looked at in one go."""
_SORTED_TOGETHER = 5_000  # a sort keeps every other thread waiting
_JOINED = 64
"""Sorted names that are held as one text: a text of its own takes 60 bytes more."""
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_OF_ONE_FILE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.EINVAL, errno.EFBIG, errno.ENXIO)
"""Where a link stands in for a file, or a pipe, or a bad sector: the next file is as good as ever."""
_NO_TIME = datetime.min.replace(tzinfo=UTC)


class DiskStore(ABC):
    """Bodies as files below one folder, each under its own path. What is kept beside them, a subclass decides.

    A body becomes visible in one step made last (a hard link, or a rename over the former record), after its bytes are on
    disk: a crash at any moment leaves a name absent or whole. The folder itself may be a link; none below it is followed.
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

    def check_answering(self) -> None:
        """See :class:`~wheelgate.core.protocols.BlobStore`. A disk is asked each time."""
        return

    def open_local(self, path: str) -> FileIO | None:
        try:
            return self._open(path)
        except OSError as error:
            raise self._store_error("used", error) from None

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        async for infos in self._run_through(self._walk(prefix)):
            for info in infos:
                yield info

    def list_folder(self, folder: str) -> AsyncGenerator[Sequence[str]]:
        return self._run_through(self._walk_folder(folder))

    async def info(self, path: str) -> BlobInfo:
        return await self._run(self._info, path)

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        return await self._run(self._read, path)

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        file = await self._run(self._open, path)
        try:
            file.seek(start)
            while start < end:
                chunk = await self._run(file.read, min(_CHUNK_BYTES, end - start))
                if not chunk:
                    raise StoreError(f"{path} in {self._title} is shorter than it was")
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def put_if_absent(
        self, path: str, body: Path | bytes, facts: Mapping[str, str], *, before_commit: Hook | None = None
    ) -> BlobInfo:
        async with AsyncExitStack() as stack:
            if isinstance(body, Path):
                body = await stack.enter_async_context(self._brought_in(path, body))
            if before_commit is not None:
                await before_commit()
            return await self._run(self._put_if_absent, path, body, facts)

    @asynccontextmanager
    async def _brought_in(self, path: str, body: Path) -> AsyncIterator[Path]:
        """A body, which may be large, durable on this disk and not committed yet, until the block ends.

        A request's deadline is put off by the time that a slow disk needs for it. One that is cut off then stores nothing.
        """

        def measure() -> int:
            self._refuse_taken(path)
            return body.stat().st_size

        extend_deadline(await self._run(measure) / _LEAST_BYTES_S)
        async with entered_apart(self._bring_in(body), self._run) as ready:
            renew_deadline()
            yield ready

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        return await self._run(self._replace_if, path, body, etag)

    async def delete(self, path: str, etag: str | None = None) -> None:
        await self._run(self._delete, path, etag)

    def _walk(self, prefix: str) -> Iterator[BlobInfo]:
        for path in self._walk_names(prefix.rpartition("/")[0]):
            if path.startswith(prefix):
                try:
                    yield self._info(path)
                except BlobNotFound:  # deleted since the folder was read
                    pass
                except BlobDamaged as error:
                    yield BlobInfo(path, 0, "", _NO_TIME, {}, str(error))

    def _walk_names(self, folder: str) -> Iterator[str]:
        """Walk over the paths of everything below a folder that is no folder, and not hidden, sorted."""
        above = f"{folder}/" if folder else ""
        for name in _sort(self._scan(folder)):
            if name.endswith("/"):
                yield from self._walk_names(above + name[:-1])
            else:
                yield above + name

    def _walk_folder(self, folder: str) -> Iterator[str]:
        for name in self._scan(folder):
            if not name.endswith("/") or next(self._scan(folder + name), None) is not None:
                yield name

    def _scan(self, folder: str) -> Iterator[str]:
        """Scan what is directly below a folder and not hidden; the name of a folder ends with a slash."""
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        yield f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
        except (FileNotFoundError, NotADirectoryError):
            return

    @abstractmethod
    def _info(self, path: str) -> BlobInfo:
        """Look at one blob; :class:`BlobNotFound` if there is none."""

    @abstractmethod
    def _write_facts(self, path: str, ready: Path, facts: Mapping[str, str]) -> None:
        """Keep the facts of the body that is ``ready`` and committed next."""

    def _stat(self, path: str) -> os.stat_result:
        with self._telling(path):
            found = stat_below(self.root, path)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError
            if not stat.S_ISREG(found.st_mode):
                raise NotRegularFile(found.st_mode, path)
            return found

    def _read(self, path: str) -> tuple[bytes, BlobInfo]:
        info = self._info(path)
        with self._telling(path), self._open(path) as file:
            return read_all(file, MAX_READ_BYTES), info

    def _open(self, path: str) -> FileIO:
        with self._telling(path):
            return open_below(self.root, path)

    @contextmanager
    def _telling(self, path: str) -> Iterator[None]:
        """Tell what is wrong with one blob from what is wrong with the store."""
        try:
            yield
        except _NO_FILE:
            raise self._not_found_error(path) from None
        except OSError as error:
            if not is_of_one_file(error) or not os.access(self.root, os.R_OK | os.X_OK):
                raise
            raise self._damaged_error(path, (error.strerror or str(error)).lower()) from None

    def _put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        self._refuse_taken(path)
        with self._bring_in(body) as ready, self._lock():
            self._refuse_taken(path)
            with self._removing_failed(path), open_parent(self.root, path, make=True) as (folder, name):
                self._write_facts(path, ready, facts)
                try:
                    os.link(ready, name, dst_dir_fd=folder)  # the commit: atomic, and refused if the name exists
                except FileExistsError:
                    raise self._exists_error(path) from None
                sync_open_folder(folder)
            return self._info(path)

    @contextmanager
    def _removing_failed(self, path: str) -> Iterator[None]:
        """Remove what the block wrote of a new blob if it fails; the lock is held, and there is no such blob yet."""
        try:
            yield
        except OSError:
            with suppress(OSError):
                self._remove(path)
            raise

    def _refuse_taken(self, path: str) -> None:
        try:
            stat_below(self.root, path)
        except FileNotFoundError:
            return
        raise self._exists_error(path)

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        with self._bring_in(body) as ready, self._lock():
            try:
                current = self._info(path)
            except BlobNotFound:
                current = None
            if (current and current.etag) != etag:
                raise self._changed_error(path)
            with (
                self._removing_failed(path) if current is None else nullcontext(),
                open_parent(self.root, path, make=True) as (folder, name),
            ):
                # Before the body, so that no moment has a new body under an old ETag.
                self._write_facts(path, ready, current.facts if current else {})
                os.replace(ready, name, dst_dir_fd=folder)
                sync_open_folder(folder)
            return self._info(path).etag

    def _delete(self, path: str, etag: str | None) -> None:
        with self._lock():
            if etag is not None and self._find_etag(path) not in (etag, None):
                raise self._changed_error(path)
            self._remove(path)

    def _find_etag(self, path: str) -> str | None:
        try:
            return self._info(path).etag
        except BlobNotFound:
            return None

    def _remove(self, path: str) -> None:
        """Remove a body and what is kept beside it; the lock is held."""
        with suppress(FileNotFoundError), open_parent(self.root, path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def _bring_in(self, body: Path | bytes) -> AbstractContextManager[Path]:
        """The body on this file system, its bytes on disk, under a name nobody looks at."""
        if self._incoming is None:
            raise StoreError(f"{self.root} was opened to be read")
        return draft(body, self._incoming)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer at a time: threads of this process by a lock, other processes by the file system's."""
        with self._thread_lock, file_lock(self._lock_path):
            yield

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(self._work, work, *arguments)
        except OSError as error:
            raise self._store_error("used", error) from None

    async def _run_through(self, items: Iterator[T]) -> AsyncGenerator[Sequence[T]]:
        """Go through what comes from the disk, many at a time: hundreds of thousands must not be held at once."""
        many = _TOGETHER
        while many == _TOGETHER:
            taken = await self._run(_take, items)
            many = len(taken)
            yield taken

    def _work(self, work: Callable[..., T], *arguments: object) -> T:
        """Do something on the disk; in a thread."""
        return work(*arguments)

    def _store_error(self, what: str, error: OSError) -> StoreError:
        if is_full(error):
            return self._full_error()
        return StoreError(f"{self._place} cannot be {what}: {(error.strerror or str(error)).lower()}")

    def _full_error(self) -> StoreFull:
        return StoreFull("the disk", self.root)

    def _not_found_error(self, path: str) -> BlobNotFound:
        return BlobNotFound(f"{self._title} has no {path}")

    def _damaged_error(self, path: str, why: str) -> BlobDamaged:
        return BlobDamaged(f"{path} in {self._title} cannot be used: {why}: remove {self.root / path}")

    def _exists_error(self, path: str) -> BlobExists:
        return BlobExists(f"{self._title} has {path} already")

    def _changed_error(self, path: str) -> BlobChanged:
        return BlobChanged(f"{path} in {self._title} was changed by somebody else")


def _take(items: Iterator[T]) -> list[T]:
    return list(islice(items, _TOGETHER))


def _sort(names: Iterator[str]) -> Iterator[str]:
    runs = []
    while run := sorted(islice(names, _SORTED_TOGETHER)):
        runs.append(["\0".join(run[start : start + _JOINED]) for start in range(0, len(run), _JOINED)])
    return heapq.merge(*((name for joined in run for name in joined.split("\0")) for run in runs))


def is_of_one_file(error: OSError) -> bool:
    """Tell whether an error says something of the one file that was opened, and nothing of the disk or this process."""
    return error.errno in _OF_ONE_FILE


def identify_body(body: os.stat_result) -> str:
    """Tell one body from another of the same name."""
    return f"{body.st_ino:x}-{body.st_mtime_ns:x}-{body.st_size:x}"

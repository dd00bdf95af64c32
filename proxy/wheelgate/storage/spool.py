"""Spool: a folder of bodies on their way in, kept there until they are known to be right.

A file on its way in (a *fill*, an upload) is written here first. Clients may follow a fill while it grows, but its last
64 KiB are held back until size and digests agree: a client that got the whole body got the right one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from wheelgate.core.digests import new_hash
from wheelgate.core.errors import StoreError, StoreFull
from wheelgate.runtime.durable import file_lock, is_full
from wheelgate.storage.room import MAX_FILE_BYTES, Promise, Room

HOLD_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_LOCK = ".lock"
_WAIT_S = 2.0
"""Whoever finds no room waits so long for others to give theirs back."""


class Spool:
    """A folder for bodies in transit. Files of processes that died are removed by the next one that starts."""

    def __init__(
        self,
        folder: Path,
        called: str | None = None,
        *,
        free: Callable[[Path], int] | None = None,
        wait_s: float = _WAIT_S,
    ) -> None:
        """A spool in a folder.

        Args:
            folder: its own; other processes have theirs in it too.
            called: its name in sentences, if it is not the server's own.
            free: bytes that are free on a folder's disk; ``None``: as the system says.
            wait_s: how long a body waits for room that others may give back.
        """
        self._called = called or "the spool"
        self._called_first = called or f"the spool folder {folder}"
        self.place = folder
        self.folder = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """This process's own; the next one takes it away should this one die."""
        self._is_prepared = False
        self._preparing = threading.Lock()
        self._held = contextlib.ExitStack()
        self._free = free or _free_bytes
        self.room = Room(self.free_bytes, self._full_error, wait_s)

    def prepare(self) -> None:
        """Make the folder, and sweep up after processes that are gone; :class:`StoreError` if it cannot be written.

        If that is for want of room, the first body that comes in tries again. Once is enough.
        """
        with self._preparing, self.writing(self._called_first):
            if self._is_prepared:
                return
            self.place.mkdir(parents=True, exist_ok=True)
            for folder in self.place.iterdir():
                with contextlib.suppress(OSError), file_lock(folder / _LOCK, wait=False):  # held as long as its process lives
                    shutil.rmtree(folder)
            with contextlib.ExitStack() as stack:
                self.folder.mkdir(mode=0o700)  # what comes in may be private
                stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
                stack.enter_context(file_lock(self.folder / _LOCK))
                self._held = stack.pop_all()
            self._is_prepared = True

    def close(self) -> None:
        """Remove the folder and everything in it."""
        self._held.close()

    def free_bytes(self) -> int:
        """Bytes that are free on its disk; :class:`StoreError` if the folder is gone."""
        try:
            return self._free(self.folder if self._is_prepared else self.place)
        except OSError as error:
            raise StoreError(f"{self._called} cannot be used: {_why(error)}") from None

    def problem(self) -> str | None:
        """The reason why it takes nothing in now, or ``None``. Downloads go on all the same, past it; uploads cannot."""
        try:
            self.prepare()
            if self.room.is_full():
                return str(self._full_error())
        except StoreError as error:
            return str(error)
        return None if os.access(self.folder, os.W_OK | os.X_OK) else f"{self._called} at {self.place} cannot be written"

    def _full_error(self) -> StoreFull:
        return StoreFull(self._called, self.place)

    def new(self, algorithms: Iterable[str] = ()) -> SpoolFile:
        """A new empty file that will be digested with sha256 and these algorithms. Room is promised to it as it grows."""
        if not self._is_prepared:
            self.prepare()
        with self.writing():
            return SpoolFile(self.folder / uuid.uuid4().hex, {"sha256", *algorithms}, self)

    @contextlib.asynccontextmanager
    async def holding(self, algorithms: Iterable[str] = (), *, size: int | None = None) -> AsyncIterator[SpoolFile]:
        """A new empty file, gone when the block ends: what is accepted out of it has been linked or copied by then.

        ``size``: bytes that it is expected to have, or ``None``; :class:`StoreFull` if there is no room for them.
        """
        spooled = self.new(algorithms)
        try:
            await spooled.promise.obtain(size)
            yield spooled
        finally:
            spooled.close()

    @contextlib.contextmanager
    def writing(self, called: str | None = None) -> Iterator[None]:
        """Name the spool in what goes wrong inside; ``called``: otherwise than usual."""
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise self._full_error() from None
            raise StoreError(f"{called or self._called} cannot be written: {_why(error)}") from None

    def refuse_longer(self, size: int) -> None:
        """Raise :class:`StoreError` for a body that is longer than any file."""
        if size > MAX_FILE_BYTES:
            raise StoreError(f"a file of more than {MAX_FILE_BYTES} bytes is not taken into {self._called}")


class SpoolFile:
    """A body being written: appended to by one task, read at any offset by many."""

    def __init__(self, path: Path, algorithms: set[str], spool: Spool) -> None:
        self._spool = spool
        self.path = path
        self.size = 0
        """Bytes written."""
        self._hashes = {name: new_hash(name) for name in algorithms}
        self._file = path.open("x+b", buffering=0)
        self.promise = Promise(spool.room)
        """Its room on the disk."""

    async def append(self, chunk: bytes) -> None:
        """Write and digest some bytes; :class:`StoreError` if the disk is full or broken, or no file is that large."""
        size = self.size + len(chunk)
        self._spool.refuse_longer(size)
        await self.promise.cover(size)
        with self._spool.writing():
            await asyncio.to_thread(self._append, chunk)
        self.size = size
        self.promise.note_written(size)

    def _append(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        for digest in self._hashes.values():
            digest.update(chunk)

    def restart(self) -> None:
        """Forget everything written, for another attempt at the whole; :class:`StoreError` if the disk is broken."""
        with self._spool.writing():
            self._file.seek(0)
            self._file.truncate()
        self._hashes = {name: new_hash(name) for name in self._hashes}
        self.size = 0
        self.promise.note_written(0)

    async def read(self, start: int, end: int) -> bytes:
        """Some bytes from ``start``, at most up to ``end``; both within :attr:`size`."""
        return await asyncio.to_thread(os.pread, self._file.fileno(), min(end - start, _READ_BYTES), start)

    def digests(self) -> dict[str, str]:
        """The digests of everything written so far, in hexadecimal, by algorithm."""
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def remove(self) -> None:
        """Take the name away; who reads the file may go on."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the bytes back to the disk."""
        self.remove()
        self._file.close()
        self.promise.give_back()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

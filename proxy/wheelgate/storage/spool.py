"""Spool: a folder of bodies on their way in, kept there until they are known to be right.

A file on its way in (a *fill*, an upload) is written here first. Clients may follow a fill while it grows, but its last
64 KiB are held back until size and digests agree: a client that got the whole body got the right one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from wheelgate.core.errors import StoreError
from wheelgate.runtime.durable import file_lock


class Hash(Protocol):
    """A digest under way, of any algorithm."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


HOLD_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_MARGIN_BYTES = 32 * 1024 * 1024
_LOCK = ".lock"
_STEP_BYTES = 16 * 1024 * 1024
"""Room is promised so much ahead to a body of unknown size."""
MAX_FILE_BYTES = 4 * 1024**3
"""No file is larger: neither an upload nor what an upstream sends without saying where it ends."""


class Spool:
    """A folder for bodies in transit. Files of processes that died are removed by the next one that starts."""

    def __init__(self, folder: Path, called: str | None = None) -> None:
        """``called``: its name in sentences, if it is not the server's own."""
        self._called = called or "the spool"
        self._called_first = called or f"the spool folder {folder}"
        self._parent = folder
        self.folder = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """This process's own; the next one takes it away should this one die."""
        self._held = contextlib.ExitStack()
        self._promised = 0

    def prepare(self) -> None:
        """Make the folder, and sweep up after processes that are gone; :class:`StoreError` if it cannot be written."""
        with _writing(self._called_first):
            self._parent.mkdir(parents=True, exist_ok=True)
            for folder in self._parent.iterdir():
                with contextlib.suppress(OSError), file_lock(folder / _LOCK, wait=False):  # held as long as its process lives
                    shutil.rmtree(folder)
            self.folder.mkdir(mode=0o700)  # what comes in may be private
            self._held.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._held.enter_context(file_lock(self.folder / _LOCK))

    def close(self) -> None:
        """Remove the folder and everything in it."""
        self._held.close()

    def has_room(self, size: int | None) -> bool:
        """True if a body of that many bytes (unknown: any) can be expected to fit; :class:`StoreError` if the folder is gone."""
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise StoreError(f"{self._called} cannot be used: {_why(error)}") from None
        return free - self._promised > (size or 0) + _MARGIN_BYTES

    def problem(self) -> str | None:
        """The reason why it takes nothing in now, or ``None``. Downloads go on all the same, past it; uploads cannot."""
        try:
            if not self.has_room(None):
                return f"{self._called} is full: make room at {self._parent}"
        except StoreError as error:
            return str(error)
        return None if os.access(self.folder, os.W_OK | os.X_OK) else f"{self._called} at {self._parent} cannot be written"

    @contextlib.contextmanager
    def reserve(self, size: int | None) -> Iterator[Reservation]:
        """Promise room to a body on its way; ``None``: as much as it turns out to need."""
        reservation = Reservation(self, size)
        try:
            yield reservation
        finally:
            reservation.give_back()

    def promise(self, more_bytes: int) -> None:
        """Count bytes as taken that are not written yet; negative ones no longer."""
        self._promised += more_bytes

    def new(self, algorithms: Iterable[str] = ()) -> SpoolFile:
        """A new empty file that will be digested with sha256 and these algorithms."""
        with _writing(self._called):
            return SpoolFile(self.folder / uuid.uuid4().hex, {"sha256", *algorithms}, self._called)

    @contextlib.contextmanager
    def holding(self, algorithms: Iterable[str] = ()) -> Iterator[SpoolFile]:
        """A new empty file, gone when the block ends: what is accepted out of it has been linked or copied by then."""
        spooled = self.new(algorithms)
        try:
            yield spooled
        finally:
            spooled.close()


class Reservation:
    """Room in a spool that is promised to one body on its way."""

    def __init__(self, spool: Spool, size: int | None) -> None:
        self._spool = spool
        self._covered_bytes = self._promised_bytes = size or 0
        spool.promise(self._promised_bytes)

    def cover(self, size: int) -> None:
        """Promise room for so many bytes in all, those that are written included; :class:`StoreError` if there is none."""
        if size > self._covered_bytes:
            self.give_back()  # what is written is no longer free either
            if not self._spool.has_room(_STEP_BYTES):
                raise StoreError(f"there is no room in the spool for more than {size} bytes")
            self._covered_bytes, self._promised_bytes = size + _STEP_BYTES, _STEP_BYTES
            self._spool.promise(self._promised_bytes)

    def give_back(self) -> None:
        self._spool.promise(-self._promised_bytes)
        self._promised_bytes = 0


def new_hash(algorithm: str) -> Hash:
    """Begin a digest that is compared with a listed one."""
    if algorithm == "blake2_256":  # upload tools' name for it; hashlib's "blake2b" is 512 bits long
        return hashlib.blake2b(digest_size=32)
    return hashlib.new(algorithm, usedforsecurity=False)


class SpoolFile:
    """A body being written: appended to by one task, read at any offset by many."""

    def __init__(self, path: Path, algorithms: set[str], called: str) -> None:
        self._called = called
        self.path = path
        self.size = 0
        """Bytes written."""
        self._hashes = {name: new_hash(name) for name in algorithms}
        self._file = path.open("x+b", buffering=0)

    async def append(self, chunk: bytes) -> None:
        """Write and digest some bytes; :class:`StoreError` if the disk is full or broken, or no file is that large."""
        if self.size + len(chunk) > MAX_FILE_BYTES:
            raise StoreError(f"a file of more than {MAX_FILE_BYTES} bytes is not taken into {self._called}")
        with _writing(self._called):
            await asyncio.to_thread(self._append, chunk)
        self.size += len(chunk)

    def _append(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        for digest in self._hashes.values():
            digest.update(chunk)

    def restart(self) -> None:
        """Forget everything written, for another attempt at the whole; :class:`StoreError` if the disk is broken."""
        with _writing(self._called):
            self._file.seek(0)
            self._file.truncate()
        self._hashes = {name: new_hash(name) for name in self._hashes}
        self.size = 0

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


@contextlib.contextmanager
def _writing(called: str) -> Iterator[None]:
    """Name the spool in what goes wrong inside."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{called} cannot be written: {_why(error)}") from None


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

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
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from wheelgate.core.errors import StoreError, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File
from wheelgate.runtime.durable import file_lock


class Hash(Protocol):
    """A digest under way, of any algorithm."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


HOLD_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_MARGIN_BYTES = 32 * 1024 * 1024
_LOCK = ".lock"
_PACE_S, _PACE_BYTES = 30.0, 30 * 1024
"""An upstream that drips is too slow: each half minute must bring at least 1 KiB a second."""


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
    def reserve(self, size: int | None) -> Iterator[None]:
        """Count a body as on its way."""
        self._promised += size or 0
        try:
            yield
        finally:
            self._promised -= size or 0

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
        """Write and digest some bytes; :class:`StoreError` if the disk is full or broken."""
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


class PromisedBody:
    """A file from upstream, compared with everything that the listing and the upstream say of it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.total = file.size
        """Bytes of the whole body; ``None`` until somebody says."""

    def announce(self, total: int | None) -> None:
        """Take the size that the upstream announces: never another than the listing's, or than it announced before."""
        if self.total is None:
            self.total = total
        elif total not in (None, self.total):
            raise self._bad_answer(f"announced {total} bytes, not {self.total}")

    def check_part(self, size: int) -> None:
        """Check that so many bytes can be part of it, before they move what readers may see."""
        if self.total is not None and size > self.total:
            raise self._bad_answer(f"sent more than {self.total} bytes")

    def check_whole(self, size: int, digests: Mapping[str, str]) -> None:
        """Check that so many bytes, of these digests, are all of it.

        Raises:
            UpstreamUnavailable: it broke off.
            UpstreamBadAnswer: it is not the file that the listing promised.
        """
        if self.total is not None and size != self.total:
            raise self._broken(f"broke off {self.file.filename} after {size} of {self.total} bytes")
        for algorithm, digest in self.file.hashes.items():
            if digests[algorithm] != digest:
                raise self._bad_answer(f"sent bytes whose {algorithm} is {digests[algorithm]}, not {digest}")

    def _broken(self, what: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"source {self.file.source} {what}", source=self.file.source)

    def _bad_answer(self, what: str) -> UpstreamBadAnswer:
        return UpstreamBadAnswer(f"source {self.file.source}, asked for {self.file.filename}, {what}", source=self.file.source)


class Fill(PromisedBody):
    """One upstream file on its way into the spool, and any number of readers who follow it.

    It belongs to the server, not to the client that asked first: clients may come, lag behind and leave.
    """

    def __init__(self, file: File, spooled: SpoolFile) -> None:
        super().__init__(file)
        self.spooled = spooled
        self.verified = False
        self.error: Exception | None = None
        """The error it failed with."""
        self._progress = asyncio.Event()
        self._readers = 0
        self._finished = False

    async def receive(self, chunks: AsyncIterator[bytes], announced: int | None) -> None:
        """Write the body, and check it.

        Raises:
            UpstreamUnavailable: it broke off, or came too slowly.
            UpstreamBadAnswer: it is not the file that the listing promised.
            StoreError: the spool is full.
        """
        self.announce(announced)
        since, received = time.monotonic(), 0  # in real time, not by the injected clock: what is measured is a real transfer
        async for chunk in chunks:
            self.check_part(self.spooled.size + len(chunk))
            await self.spooled.append(chunk)
            received += len(chunk)
            if (now := time.monotonic()) - since >= _PACE_S:
                if received < _PACE_BYTES:
                    raise self._broken(f"sends {self.file.filename} too slowly")
                since, received = now, 0
            self._advance()
        self.check_whole(self.spooled.size, self.spooled.digests())
        self.total = self.spooled.size
        self.verified = True
        self._advance()

    def fail(self, error: Exception) -> None:
        """Tell the readers that no more will come."""
        self.error = error
        self._advance()

    def finish(self) -> None:
        """No new reader will come; the spool file goes with the last one."""
        self._finished = True
        self._release()

    def _release(self) -> None:
        if self._finished and not self._readers:
            self.spooled.close()
        elif self._finished:
            self.spooled.remove()

    def _advance(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def known_total(self) -> int:
        """The size of the body, waiting until somebody says it; or the error the fill failed with."""
        while self.total is None:
            if self.error is not None:
                raise self.error
            await self._progress.wait()
        return self.total

    async def follow(self, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Bytes ``start`` to ``end`` (excluded; ``None``: to the last), as they become visible.

        Raises:
            The error the fill failed with: what was handed out until then is not the whole body.
        """
        self._readers += 1
        try:
            while end is None or start < end:
                progress = self._progress
                visible = self.spooled.size if self.verified else self.spooled.size - HOLD_BYTES
                limit = visible if end is None else min(visible, end)
                if start < limit:
                    chunk = await self.spooled.read(start, limit)
                    start += len(chunk)
                    yield chunk
                elif self.verified:
                    return
                elif self.error is not None:
                    raise self.error.with_traceback(None)  # one object, many raisers
                else:
                    await progress.wait()
        finally:
            self._readers -= 1
            self._release()


@contextlib.contextmanager
def _writing(called: str) -> Iterator[None]:
    """Name the spool in what goes wrong inside."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{called} cannot be written: {_why(error)}") from None


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

"""The store in a folder of this machine: what a laptop or a single server needs, and as durable as its disk.

A body becomes visible by a hard link made last, after its facts and its bytes are on disk; a crash at any moment leaves a
name absent or whole. Processes that share the folder (``wheelgate wheel add`` beside a running server) are serialised by a
file lock, which the kernel frees when a process dies.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.durable import bring, make_folder, sync_folder

T = TypeVar("T")

_CHUNK_BYTES = 1024 * 1024
_FACTS = ".facts"
_INCOMING = ".incoming"
_LOCK = ".lock"
_LEFT_BEHIND_S = 7 * 24 * 3600.0
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class _Facts(msgspec.Struct):
    created: datetime
    facts: dict[str, str]
    version: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    """New at every change: two changes within one tick of the file system's clock must not have one ETag."""


class LocalStore:
    """A :class:`~wheelgate.core.protocols.BlobStore` in a folder. Bodies under their own paths, facts in a parallel tree."""

    def __init__(self, root: Path, name: str = "store") -> None:
        self._root = root
        self._name = name
        self._thread_lock = threading.Lock()

    @property
    def name(self) -> str:
        """Stable identity of the store."""
        return self._name

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def prepare(self, *, left_behind_s: float = _LEFT_BEHIND_S) -> None:
        """Make the folder, prove that it can be written, and sweep up after processes that died while they wrote.

        Args:
            left_behind_s: what nobody touched for so long is half-written for good.

        Raises:
            StoreError: it cannot.
        """
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)  # hashes of tokens, and private packages
            (self._root / _INCOMING).mkdir(exist_ok=True)
            probe = self._root / _INCOMING / f"probe-{uuid.uuid4().hex}"
            probe.write_bytes(b"wheelgate")
            probe.unlink()
            with self._locked():
                self._sweep(left_behind_s)
        except OSError as error:
            raise self._failed("written", error) from None

    def _sweep(self, left_behind_s: float) -> None:
        latest = time.time() - left_behind_s
        for left in (self._root / _INCOMING).iterdir():
            with suppress(FileNotFoundError):  # another process's, just done with
                if left.stat().st_ctime < latest:
                    left.unlink()

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        for info in await self._run(self._listed, prefix):
            yield info

    def _listed(self, prefix: str) -> Sequence[BlobInfo]:
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

    async def info(self, path: str) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._info, path)

    def _info(self, path: str) -> BlobInfo:
        body = self._stat(path)
        while True:
            kept = self._kept_facts(path, body)
            again = self._stat(path)
            if _identity(again) == _identity(body):
                break
            body = again  # replaced between the two looks: its facts may belong to the other one
        etag = f"{_identity(body)}-{kept.version}"
        return BlobInfo(path, body.st_size, etag, kept.created, kept.facts)

    def _stat(self, path: str) -> os.stat_result:
        try:
            body = (self._root / path).lstat()
        except _NO_FILE:
            raise BlobNotFound(f"the store has no {path}") from None
        if not stat.S_ISREG(body.st_mode):
            raise BlobNotFound(f"the store has no {path}")
        return body

    def _kept_facts(self, path: str, body: os.stat_result) -> _Facts:
        facts_file = self._facts_file(path)
        try:
            return msgspec.json.decode(facts_file.read_bytes(), type=_Facts)
        except FileNotFoundError:  # a body that somebody else put there
            return _Facts(datetime.fromtimestamp(body.st_mtime, UTC), {}, version="0")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise StoreError(f"the store's facts about {path} are damaged: delete {facts_file}") from None

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._read, path)

    def _read(self, path: str) -> tuple[bytes, BlobInfo]:
        info = self._info(path)
        try:
            return (self._root / path).read_bytes(), info
        except _NO_FILE:
            raise BlobNotFound(f"the store has no {path}") from None

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        try:
            file = await asyncio.to_thread((self._root / path).open, "rb", 0)
        except _NO_FILE:
            raise BlobNotFound(f"the store has no {path}") from None
        except OSError as error:
            raise self._failed("read", error) from None
        try:
            while start < end:
                chunk = await self._run(os.pread, file.fileno(), min(_CHUNK_BYTES, end - start), start)
                if not chunk:
                    raise StoreError(f"the store's {path} is shorter than it was")
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._put_if_absent, path, body, facts)

    def _put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        target = self._root / path
        if target.exists():
            raise BlobExists(f"the store has {path} already")
        ready = self._incoming(body)
        try:
            with self._locked():
                if target.exists():
                    raise BlobExists(f"the store has {path} already")
                self._write_facts(path, _Facts(datetime.now(UTC), dict(facts)))
                make_folder(target.parent)
                os.link(ready, target)  # the commit: atomic, and refused if the name exists
                sync_folder(target.parent)
                return self._info(path)
        finally:
            ready.unlink(missing_ok=True)

    def _incoming(self, body: Path | bytes) -> Path:
        """The body on this file system, its bytes on disk, under a name nobody looks at."""
        ready = self._root / _INCOMING / uuid.uuid4().hex
        bring(body, ready)
        return ready

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._replace_if, path, body, etag)

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        target = self._root / path
        ready = self._incoming(body)
        try:
            with self._locked():
                try:
                    current = self._info(path)
                except BlobNotFound:
                    current = None
                if (current and current.etag) != etag:
                    raise BlobChanged(f"the store's {path} was changed by somebody else")
                # Before the body, so that no moment has a new body under an old ETag.
                self._write_facts(path, _Facts(datetime.now(UTC), dict(current.facts) if current else {}))
                make_folder(target.parent)
                ready.replace(target)
                sync_folder(target.parent)
                return self._info(path).etag
        finally:
            ready.unlink(missing_ok=True)

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._set_facts, path, facts, etag)

    def _set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> BlobInfo:
        with self._locked():
            info = self._info(path)
            if info.etag != etag:
                raise BlobChanged(f"the store's {path} was changed by somebody else")
            self._write_facts(path, _Facts(info.created, dict(facts)))
            return self._info(path)

    async def delete(self, path: str) -> None:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        await self._run(self._delete, path)

    def _delete(self, path: str) -> None:
        with self._locked():
            (self._root / path).unlink(missing_ok=True)
            self._facts_file(path).unlink(missing_ok=True)

    async def signed_url(self, path: str) -> str | None:  # noqa: ARG002
        """A folder signs nothing."""
        return None

    def local_path(self, path: str) -> Path | None:
        """The body's own file."""
        return self._root / path

    def _facts_file(self, path: str) -> Path:
        return self._root / _FACTS / path

    def _write_facts(self, path: str, facts: _Facts) -> None:
        target = self._facts_file(path)
        ready = self._incoming(msgspec.json.encode(facts))
        try:
            make_folder(target.parent)
            ready.replace(target)
        finally:
            ready.unlink(missing_ok=True)
        sync_folder(target.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: threads of this process by a lock, other processes by the kernel's."""
        with self._thread_lock, (self._root / _LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise self._failed("used", error) from None

    def _failed(self, what: str, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(f"the store's disk is full: make room at {self._root}")
        return StoreError(f"the store at {self._root} cannot be {what}: {(error.strerror or str(error)).lower()}")


def _identity(body: os.stat_result) -> str:
    """Tells one body from another of the same name."""
    return f"{body.st_ino:x}-{body.st_mtime_ns:x}-{body.st_size:x}"

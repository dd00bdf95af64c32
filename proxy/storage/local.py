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
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from proxy.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from proxy.protocols import BlobInfo

T = TypeVar("T")

_CHUNK_BYTES = 1024 * 1024
_FACTS = ".facts"
_INCOMING = ".incoming"
_LOCK = ".lock"


class _Facts(msgspec.Struct):
    created: datetime
    facts: dict[str, str]


class LocalStore:
    """A :class:`~proxy.protocols.BlobStore` in a folder. Bodies under their own paths, facts in a parallel tree."""

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

    def prepare(self) -> None:
        """Make the folder and prove that it can be written.

        Raises:
            StoreError: it cannot.
        """
        try:
            (self._root / _INCOMING).mkdir(parents=True, exist_ok=True)
            probe = self._root / _INCOMING / f"probe-{uuid.uuid4().hex}"
            probe.write_bytes(b"wheelgate")
            probe.unlink()
            with self._locked():
                pass
        except OSError as error:
            raise self._failed("written", error) from None

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See :class:`~proxy.protocols.BlobStore`."""
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
        """See :class:`~proxy.protocols.BlobStore`."""
        return await self._run(self._info, path)

    def _info(self, path: str) -> BlobInfo:
        try:
            stat = (self._root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            raise BlobNotFound(f"the store has no {path}") from None
        facts_file = self._facts_file(path)
        try:
            raw = facts_file.read_bytes()
            kept = msgspec.json.decode(raw, type=_Facts)
            version = facts_file.stat().st_mtime_ns
        except FileNotFoundError:
            kept, version = _Facts(datetime.fromtimestamp(stat.st_mtime, UTC), {}), 0
        except msgspec.MsgspecError:
            raise StoreError(f"the store's facts about {path} are damaged: delete {facts_file}") from None
        etag = f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}-{version:x}"
        return BlobInfo(path, stat.st_size, etag, kept.created, kept.facts)

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        """See :class:`~proxy.protocols.BlobStore`."""
        return await self._run(self._read, path)

    def _read(self, path: str) -> tuple[bytes, BlobInfo]:
        info = self._info(path)
        try:
            return (self._root / path).read_bytes(), info
        except FileNotFoundError:
            raise BlobNotFound(f"the store has no {path}") from None

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See :class:`~proxy.protocols.BlobStore`."""
        try:
            file = await asyncio.to_thread((self._root / path).open, "rb", 0)
        except FileNotFoundError:
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
        """See :class:`~proxy.protocols.BlobStore`."""
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
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(ready, target)  # the commit: atomic, and refused if the name exists
                _sync_folder(target.parent)
        finally:
            ready.unlink(missing_ok=True)
        return self._info(path)

    def _incoming(self, body: Path | bytes) -> Path:
        """The body on this file system, its bytes on disk, under a name nobody looks at."""
        ready = self._root / _INCOMING / uuid.uuid4().hex
        try:
            if isinstance(body, bytes):
                ready.write_bytes(body)
            else:
                try:
                    os.link(body, ready)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(body, ready)
            with ready.open("rb") as file:
                os.fsync(file.fileno())
        except BaseException:
            ready.unlink(missing_ok=True)
            raise
        return ready

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        """See :class:`~proxy.protocols.BlobStore`."""
        return await self._run(self._replace_if, path, body, etag)

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        target = self._root / path
        ready = self._incoming(body)
        try:
            with self._locked():
                try:
                    current = self._info(path).etag
                except BlobNotFound:
                    current = None
                if current != etag:
                    raise BlobChanged(f"the store's {path} was changed by somebody else")
                target.parent.mkdir(parents=True, exist_ok=True)
                ready.replace(target)
                _sync_folder(target.parent)
                return self._info(path).etag
        finally:
            ready.unlink(missing_ok=True)

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> BlobInfo:
        """See :class:`~proxy.protocols.BlobStore`."""
        return await self._run(self._set_facts, path, facts, etag)

    def _set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> BlobInfo:
        with self._locked():
            info = self._info(path)
            if info.etag != etag:
                raise BlobChanged(f"the store's {path} was changed by somebody else")
            self._write_facts(path, _Facts(info.created, dict(facts)))
            return self._info(path)

    async def delete(self, path: str) -> None:
        """See :class:`~proxy.protocols.BlobStore`."""
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
        target.parent.mkdir(parents=True, exist_ok=True)
        ready = target.with_name(f".{uuid.uuid4().hex}")
        with ready.open("wb") as file:
            file.write(msgspec.json.encode(facts))
            file.flush()
            os.fsync(file.fileno())
        ready.replace(target)
        _sync_folder(target.parent)

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
        if error.errno == errno.ENOSPC:
            return StoreError(f"the store's disk is full: make room at {self._root}")
        return StoreError(f"the store at {self._root} cannot be {what}: {(error.strerror or str(error)).lower()}")


def _sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

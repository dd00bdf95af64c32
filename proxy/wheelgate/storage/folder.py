"""A plain folder: bodies under their paths and nothing beside them, so that azcopy, rsync or a disk can carry it as it is.

What :class:`~wheelgate.storage.local.LocalStore` keeps in parallel trees (facts, tokens, locks) would travel along and mean
nothing elsewhere. A body appears by a hard link made last: a name is absent or whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.durable import bring, make_folder, sync_folder

T = TypeVar("T")
_Paths = list[str]  # spelt here, since FolderStore's own `list` hides the word inside it

INCOMING = ".incoming"
"""The folder in it for what is not whole yet; gone when nobody writes. Sources do not look into names that begin with a dot."""
_CHUNK_BYTES = 1024 * 1024


class FolderStore:
    """A :class:`~wheelgate.mirror.mirror_store.MirrorStore` in a folder. Its only fact is the upload time: the file's own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch: Path | None = None

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return str(self._root)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def write_through(self, scratch: Path) -> None:
        """What is not whole yet waits in this folder, on the same disk. Whoever made it takes it away, also after a death."""
        self._scratch = scratch

    def tidy(self) -> None:
        """Take away what only writing needed."""
        with contextlib.suppress(OSError):  # another writer's files are in there
            (self._root / INCOMING).rmdir()

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        for path in await self._run(self._listed):
            if path.startswith(prefix):
                yield await self.info(path)

    def _listed(self) -> _Paths:
        found: _Paths = []
        for folder, folders, names in os.walk(self._root, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = Path(folder).relative_to(self._root)
            found += [(below / name).as_posix() for name in sorted(names) if not name.startswith(".")]
        return found

    async def info(self, path: str) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._info, path)

    def _info(self, path: str) -> BlobInfo:
        try:
            found = (self._root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise BlobNotFound(f"{self._root} has no {path}") from None
        if not stat.S_ISREG(found.st_mode):
            raise BlobNotFound(f"{self._root} has no file {path}")
        etag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
        return BlobInfo(path, found.st_size, etag, datetime.fromtimestamp(found.st_mtime, UTC), {})

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        info = await self.info(path)
        return await self._run((self._root / path).read_bytes), info

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        await self.info(path)
        file = await self._run(lambda: (self._root / path).open("rb", 0))
        try:
            while start < end:
                chunk = await self._run(os.pread, file.fileno(), min(_CHUNK_BYTES, end - start), start)
                if not chunk:
                    raise StoreError(f"{path} became shorter while it was read")
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._put_if_absent, path, body, facts)

    def _put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        target = self._root / path
        ready = self._incoming(body)
        try:
            if (time := _moment(facts.get("upload_time"))) is not None:
                os.utime(ready, (time, time))
            make_folder(target.parent)
            try:
                os.link(ready, target)  # the commit: atomic, and refused if the name exists
            except FileExistsError:
                raise BlobExists(f"{self._root} has {path} already") from None
        finally:
            ready.unlink(missing_ok=True)
        sync_folder(target.parent)
        return self._info(path)

    def _incoming(self, body: Path | bytes) -> Path:
        """The body on this file system, its bytes on disk, under a name nobody looks at."""
        if self._scratch is None:
            raise StoreError(f"{self._root} was opened to be read")
        ready = self._scratch / uuid.uuid4().hex
        bring(body, ready)
        return ready

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        return await self._run(self._replace_if, path, body, etag)

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        ready = self._incoming(body)
        try:
            with self._locked():
                try:
                    current = self._info(path).etag
                except BlobNotFound:
                    current = None
                if current != etag:
                    raise BlobChanged(f"{self._root}/{path} was changed by somebody else")
                ready.replace(self._root / path)
        finally:
            ready.unlink(missing_ok=True)
        sync_folder((self._root / path).parent)
        return self._info(path).etag

    async def delete(self, path: str) -> None:
        """See :class:`~wheelgate.core.protocols.BlobStore`."""
        await self._run((self._root / path).unlink, True)

    def local_path(self, path: str) -> Path | None:
        """The body's own file."""
        return self._root / path

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer of records at a time, without a lock file that would travel along."""
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise self._failed("used", error) from None

    def _failed(self, what: str, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(f"the disk is full: make room at {self._root}")
        return StoreError(f"the folder {self._root} cannot be {what}: {(error.strerror or str(error)).lower()}")


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _raise(error: OSError) -> None:
    raise error

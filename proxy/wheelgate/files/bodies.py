"""Response bodies of files: a redirect, or bytes that travel through us, from wherever they are."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import msgspec

from wheelgate.core.errors import StoreError, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File, LocalFile, RemoteFile, file_etag
from wheelgate.core.protocols import BlobStore
from wheelgate.storage.spool import HOLD_BYTES, Fill
from wheelgate.upstream.client import SourceClient

_log = logging.getLogger(__name__)


class Redirect(msgspec.Struct, frozen=True):
    """Redirect of the client to the bytes: an opaque URL, perhaps signed, never to be logged or written down."""

    url: str
    ours: bool = False
    """Signed by us, for minutes: whoever asks a moment later may be given the same."""


class Body(Protocol):
    """Bytes that travel through us."""

    @property
    def path(self) -> Path | None:
        """A complete local file with the body, for the kernel to send; ``None`` if there is none."""
        ...

    async def size(self) -> int | None:
        """Bytes of the whole file; ``None`` if only its end will tell.

        Raises:
            UpstreamError, StoreError: it is not available.
        """
        ...

    def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """Bytes ``start`` to ``end`` (excluded; ``None``: to the last).

        Raises:
            UpstreamError, StoreError: there are no more to come. What was handed out until then is not the whole range, and
                of a whole file at most all but the last 64 KiB.
        """
        ...


class StoredBody:
    """A blob of a store."""

    def __init__(self, store: BlobStore, path: str, size: int) -> None:
        self._store = store
        self._path = path
        self._size = size

    @property
    def path(self) -> Path | None:
        """See :class:`Body`."""
        return self._store.local_path(self._path)

    async def size(self) -> int:
        """See :class:`Body`."""
        return self._size

    def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        return self._store.stream(self._path, start, self._size if end is None else end)


class FillBody:
    """A fill under way, or just done."""

    path = None

    def __init__(self, fill: Fill, instead: PassedBody) -> None:
        self._fill = fill
        self._instead = instead

    async def size(self) -> int | None:
        """See :class:`Body`."""
        return self._fill.total

    async def known_size(self) -> int | None:
        """The size, waiting for it."""
        try:
            return await self._fill.known_total()
        except StoreError:
            return await self._instead.size()

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`. If the spool fails before the first byte, they are passed through."""
        at = start
        try:
            async with aclosing(self._fill.follow(start, end)) as chunks:
                async for chunk in chunks:
                    at += len(chunk)
                    yield chunk
        except StoreError:
            if at > start:
                raise
        else:
            return
        async for chunk in self._instead.chunks(start, end):
            yield chunk


class PassedBody:
    """An upstream's bytes, passed through and kept nowhere."""

    path = None

    def __init__(self, client: SourceClient, file: File, location: RemoteFile) -> None:
        self._client = client
        self._file = file
        self._location = location
        self._size = file.size
        self._asked = file.size is not None

    async def size(self) -> int | None:
        """See :class:`Body`. Where the listing does not say, one byte is asked for: not every upstream answers HEAD."""
        if not self._asked:
            async with self._client.file(self._location.url, accept=self._location.accept, start=0, end=1) as answer:
                self._learn(answer.total)
        return self._size

    def _learn(self, total: int | None) -> None:
        """Take the size that the upstream announces; never another than it announced before."""
        self._asked = True
        if total is not None and self._size is not None and total != self._size:
            raise self._wrong(f"announced {total} bytes, not {self._size}")
        self._size = self._size if self._size is not None else total

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        url, accept = self._location.url, self._location.accept
        if start == 0 and (end is None or end == self._size):
            async with self._client.file(url, accept=accept) as answer:
                self._learn(answer.total)
                async for chunk in self._check_chunks(answer.chunks()):
                    yield chunk
            return
        async with self._client.file(url, accept=accept, start=start, end=end) as answer:
            self._learn(answer.total)
            chunks = answer.chunks() if answer.status == 206 else _cut(answer.chunks(), start, end)
            async for chunk in chunks:
                yield chunk

    async def _check_chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The whole body, its last bytes held back until they are known to complete the file the listing promised."""
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in self._file.hashes}
        held = b""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if self._size is not None and size > self._size:  # before what was held back follows
                raise self._wrong(f"sent more than {self._size} bytes")
            for digest in digests.values():
                digest.update(chunk)
            held += chunk
            if len(held) > HOLD_BYTES:
                yield held[:-HOLD_BYTES]
                held = held[-HOLD_BYTES:]
        if self._size is not None and size != self._size:
            raise UpstreamUnavailable(
                f"source {self._file.source} broke off {self._file.filename} after {size} of {self._size} bytes",
                source=self._file.source,
            )
        for name, listed in self._file.hashes.items():
            if (computed := digests[name].hexdigest()) != listed:
                raise self._wrong(f"sent bytes whose {name} is {computed}, not {listed}")
        yield held

    def _wrong(self, what: str) -> UpstreamBadAnswer:
        message = f"source {self._file.source}, asked for {self._file.filename}, {what}"
        _log.error(message)
        return UpstreamBadAnswer(message, source=self._file.source)


async def _cut(chunks: AsyncIterator[bytes], start: int, end: int | None) -> AsyncIterator[bytes]:
    """A range out of a whole body, for upstreams that ignore ranges."""
    at = 0
    async for chunk in chunks:
        wanted = chunk[max(0, start - at) : None if end is None else max(0, end - at)]
        at += len(chunk)
        if wanted:
            yield wanted
        if end is not None and at >= end:
            return


class LocalBody:
    """A file of a directory source."""

    @classmethod
    def open(cls, file: File, location: LocalFile) -> LocalBody:
        """The body of a listed file.

        Raises:
            StoreError: it is no longer the file that was listed.
        """
        path = Path(location.path)
        try:
            stat = path.stat()
        except OSError:
            raise StoreError(f"{file.filename} was removed from source {file.source}") from None
        if file_etag(stat) != location.etag:
            raise StoreError(f"{file.filename} is being replaced in source {file.source}: try again")
        return cls(path, stat.st_size)

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    @property
    def path(self) -> Path | None:
        """See :class:`Body`."""
        return self._path

    async def size(self) -> int:
        """See :class:`Body`."""
        return self._size

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        end = self._size if end is None else end
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            while start < end:
                chunk = await asyncio.to_thread(file.read, min(1024 * 1024, end - start))
                if not chunk:
                    raise StoreError(f"{self._path.name} became shorter while it was read")
                start += len(chunk)
                yield chunk

"""Response bodies of files: a redirect, or bytes that travel through us, from wherever they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from wheelgate.core.errors import StoreError, UpstreamBadAnswer
from wheelgate.core.model import File, LocalFile, RemoteFile, file_etag
from wheelgate.core.protocols import BlobStore
from wheelgate.storage.spool import HOLD_BYTES, Fill, PromisedBody, new_hash
from wheelgate.upstream.answers import FileAnswer
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
        self.path = store.local_path(path)
        self._store = store
        self._in_store = path
        self._size = size

    async def size(self) -> int:
        return self._size

    def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        return self._store.stream(self._in_store, start, self._size if end is None else end)


class FillBody:
    """A fill under way, or just done."""

    path = None

    def __init__(self, fill: Fill, instead: PassedBody) -> None:
        self._fill = fill
        self._instead = instead

    async def size(self) -> int | None:
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


class PassedBody(PromisedBody):
    """An upstream's bytes, passed through and kept nowhere."""

    path = None

    def __init__(self, client: SourceClient, file: File, location: RemoteFile) -> None:
        super().__init__(file)
        self._client = client
        self._location = location
        self._was_asked = file.size is not None

    async def size(self) -> int | None:
        """See :class:`Body`. Where the listing does not say, one byte is asked for: not every upstream answers HEAD."""
        if not self._was_asked:
            async with self._ask(start=0, end=1):
                pass
        return self.total

    @asynccontextmanager
    async def _ask(self, **span: int | None) -> AsyncIterator[FileAnswer]:
        async with self._client.file(self._location.url, accept=self._location.accept, **span) as answer:
            self._was_asked = True
            self.announce(answer.total)
            yield answer

    def _bad_answer(self, what: str) -> UpstreamBadAnswer:
        error = super()._bad_answer(what)
        _log.error("%s", error)
        return error

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if start == 0 and (end is None or end == self.total):
            async with self._ask() as answer:
                async for chunk in self._check_chunks(answer.chunks()):
                    yield chunk
            return
        async with self._ask(start=start, end=end) as answer:
            chunks = answer.chunks() if answer.status == 206 else _cut(answer.chunks(), start, end)
            async for chunk in chunks:
                yield chunk

    async def _check_chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The whole body, its last bytes held back until they are known to complete the file the listing promised."""
        digests = {name: new_hash(name) for name in self.file.hashes}
        held = b""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            self.check_part(size)
            for digest in digests.values():
                digest.update(chunk)
            held += chunk
            if len(held) > HOLD_BYTES:
                yield held[:-HOLD_BYTES]
                held = held[-HOLD_BYTES:]
        self.check_whole(size, {name: digest.hexdigest() for name, digest in digests.items()})
        yield held


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

    def __init__(self, file: File, location: LocalFile) -> None:
        """Look at the listed file.

        Raises:
            StoreError: it is no longer the one that was listed.
        """
        self.path = Path(location.path)
        try:
            stat = self.path.stat()
        except OSError:
            raise StoreError(f"{file.filename} was removed from source {file.source}") from None
        if file_etag(stat) != location.etag:
            raise StoreError(f"{file.filename} is being replaced in source {file.source}: try again")
        self._size = stat.st_size

    async def size(self) -> int:
        return self._size

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        end = self._size if end is None else end
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            while start < end:
                chunk = await asyncio.to_thread(file.read, min(1024 * 1024, end - start))
                if not chunk:
                    raise StoreError(f"{self.path.name} became shorter while it was read")
                start += len(chunk)
                yield chunk

"""How the bytes of a listed file travel: the only place that decides.

``redirect``: the client fetches them itself, by a short-lived signed URL. ``stream``: through us, kept nowhere. ``cache``:
through the spool into the store, once, and from then on as stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.errors import (
    BlobExists,
    BlobNotFound,
    FileWithheld,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from proxy.metrics import Metrics
from proxy.model import File, LocalFile, RemoteFile, StoredFile
from proxy.protocols import BlobInfo, BlobStore
from proxy.sources.directory import file_etag
from proxy.spool import HOLD_BYTES, Fill, Spool
from proxy.storage import layout
from proxy.upstream.client import SourceClient

JOIN_BYTES = 64 * 1024 * 1024
"""A range of a file up to this size starts (or joins) a fill; of a larger one it is passed through."""
_CONCURRENT_FILLS = 32
_log = logging.getLogger(__name__)


class Mode(Enum):
    """The operator's choice for a source, or for the store."""

    REDIRECT = "redirect"
    STREAM = "stream"
    CACHE = "cache"


class Redirect(msgspec.Struct, frozen=True):
    """Where the client finds the bytes: an opaque URL, perhaps signed, never to be logged or kept."""

    url: str


class Body(Protocol):
    """Bytes that travel through us."""

    @property
    def path(self) -> Path | None:
        """A complete local file with the body, for the kernel to send; ``None`` if there is none."""
        ...

    async def size(self) -> int | None:
        """Bytes of the whole file; ``None`` if only its end will tell.

        Raises:
            UpstreamError, StoreError: it cannot be had.
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
    """A blob of our store."""

    def __init__(self, store: BlobStore, info: BlobInfo) -> None:
        self._store = store
        self._info = info

    @property
    def path(self) -> Path | None:
        """See :class:`Body`."""
        return self._store.local_path(self._info.path)

    async def size(self) -> int:
        """See :class:`Body`."""
        return self._info.size

    def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        return self._store.stream(self._info.path, start, self._info.size if end is None else end)


class FillBody:
    """A fill under way, or just done."""

    path = None

    def __init__(self, fill: Fill) -> None:
        self._fill = fill

    async def size(self) -> int | None:
        """See :class:`Body`."""
        return self._fill.total

    async def known_size(self) -> int:
        """The size, waiting for it."""
        return await self._fill.known_total()

    def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        return self._fill.follow(start, end)


class PassedBody:
    """An upstream's bytes, passed through and kept nowhere."""

    path = None

    def __init__(self, client: SourceClient, file: File, location: RemoteFile) -> None:
        self._client = client
        self._file = file
        self._location = location
        self._size = file.size

    async def size(self) -> int | None:
        """See :class:`Body`. Where the listing does not say, one byte is asked for: not every upstream answers HEAD."""
        if self._size is None:
            async with self._client.file(self._location.url, accept=self._location.accept, start=0, end=1) as answer:
                self._size = answer.total
        return self._size

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        url, accept = self._location.url, self._location.accept
        if start == 0 and (end is None or end == self._file.size):
            async with self._client.file(url, accept=accept) as answer:
                async for chunk in self._checked(answer.chunks()):
                    yield chunk
            return
        async with self._client.file(url, accept=accept, start=start, end=end) as answer:
            chunks = answer.chunks() if answer.status == 206 else _cut(answer.chunks(), start, end)
            async for chunk in chunks:
                yield chunk

    async def _checked(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The whole body, its last bytes held back until they are known to complete the file the listing promised."""
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in self._file.hashes}
        held = b""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            for digest in digests.values():
                digest.update(chunk)
            held += chunk
            if len(held) > HOLD_BYTES:
                yield held[:-HOLD_BYTES]
                held = held[-HOLD_BYTES:]
        wrong = self._file.size is not None and size != self._file.size
        if wrong or any(digests[name].hexdigest() != digest for name, digest in self._file.hashes.items()):
            message = f"source {self._file.source} sent other bytes than it lists for {self._file.filename}"
            _log.error(message)
            raise UpstreamBadAnswer(message, source=self._file.source)
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


class Delivery:
    """Turns a listed file into a redirect or a body. Close it to stop the fills."""

    def __init__(
        self,
        *,
        store: BlobStore,
        store_mode: Mode,
        modes: Mapping[str, Mode],
        clients: Mapping[str, SourceClient],
        spool: Spool,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._store_mode = store_mode
        self._modes = modes
        self._clients = clients
        self._spool = spool
        self._metrics = metrics
        self._fills: dict[tuple[str, str, str], Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_CONCURRENT_FILLS)

    async def close(self) -> None:
        """Cancel every fill; nothing half-written is kept."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def open(self, file: File, *, plain: bool, head: bool = False) -> Redirect | Body:
        """What to answer a request for a listed file with.

        Args:
            file: an entry of the page the client sees.
            plain: a GET of the whole file. Only that may be redirected: pip fails on a redirected HEAD and uv on a
                redirected range.
            head: only the size is wanted; no body is fetched for it.

        Raises:
            FileWithheld: the bytes we hold under this name are not those now listed.
            UpstreamError, StoreError: it cannot be had now.
        """
        location = file.location
        if isinstance(location, LocalFile):
            return await asyncio.to_thread(_local_body, file, location)
        if isinstance(location, StoredFile):
            return await self._stored(await self._store.info(location.path), plain=plain)
        client = self._clients[location.source]
        mode = self._modes[location.source]
        if mode is Mode.REDIRECT and plain and client.may_be_redirected_to(location.url):
            return Redirect(location.url)
        if mode is Mode.CACHE:
            held = await self._held(file)
            if held is not None:
                return await self._stored(held, plain=plain)
            if not head and (plain or (file.size or 0) <= JOIN_BYTES):
                fill = self._fill(file, location, client)
                if fill is not None:
                    return FillBody(fill)
        return PassedBody(client, file, location)

    async def _stored(self, info: BlobInfo, *, plain: bool) -> Redirect | Body:
        if plain and self._store_mode is Mode.REDIRECT:
            url = await self._store.signed_url(info.path)
            if url is not None:
                return Redirect(url)
        return StoredBody(self._store, info)

    async def _held(self, file: File) -> BlobInfo | None:
        """Our copy, if we have one of the bytes now listed.

        Raises:
            FileWithheld: we have one of other bytes. A file name never changes its content, whoever says so now.
        """
        path = layout.cached(file.source, file.project, file.filename)
        try:
            info = await self._store.info(path)
        except BlobNotFound:
            return None
        listed, kept = file.hashes.get("sha256"), info.facts.get("sha256")
        if listed is not None and listed != kept:
            _log.error(
                "ALARM: source %s now lists %s with sha256 %s; it was %s when first fetched",
                file.source,
                file.filename,
                listed,
                kept,
            )
            raise FileWithheld(
                f"{file.filename}: source {file.source} now lists other bytes than it first served under this name; "
                "a file name never changes its content"
            )
        return info

    def _fill(self, file: File, location: RemoteFile, client: SourceClient) -> Fill | None:
        """The fill under way for the file, or a new one; ``None`` if the spool has no room for it."""
        key = (file.source, file.project, file.filename)
        fill = self._fills.get(key)
        if fill is not None and fill.file.hashes == file.hashes:
            return fill
        if fill is not None or not self._spool.has_room(file.size):
            return None
        fill = self._fills[key] = Fill(file, self._spool.new(file.hashes))
        task = asyncio.create_task(self._run(key, fill, location, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return fill

    async def _run(self, key: tuple[str, str, str], fill: Fill, location: RemoteFile, client: SourceClient) -> None:
        outcome = "failed"
        try:
            async with self._turns:
                with self._spool.promised(fill.file.size):
                    async with client.file(location.url, accept=location.accept) as answer:
                        await fill.receive(answer.chunks(), answer.total)
                    outcome = await self._keep(fill)
        except (UpstreamError, StoreError) as error:
            level = logging.ERROR if isinstance(error, UpstreamBadAnswer | StoreError) else logging.WARNING
            _log.log(level, "fill of %s failed: %s", fill.file.filename, error)
            fill.failed(error)
        except asyncio.CancelledError:
            fill.failed(UpstreamUnavailable("the server is stopping", source=fill.file.source))
            raise
        finally:
            self._metrics.fills.labels(fill.file.source, outcome).inc()
            self._fills.pop(key, None)
            fill.finish()

    async def _keep(self, fill: Fill) -> str:
        """Put the verified body into the store; whoever waits for it has it already."""
        file = fill.file
        path = layout.cached(file.source, file.project, file.filename)
        sha256 = fill.spooled.digests()["sha256"]
        try:
            await self._store.put_if_absent(path, fill.spooled.path, {"sha256": sha256})
        except BlobExists:
            kept = (await self._store.info(path)).facts.get("sha256")
            if kept != sha256:
                _log.error("ALARM: %s has sha256 %s; another process stored it with %s", file.filename, sha256, kept)
                return "conflict"
        except StoreError as error:
            _log.error("%s could not be kept: %s", file.filename, error)
            return "not kept"
        return "kept"


def _local_body(file: File, location: LocalFile) -> LocalBody:
    path = Path(location.path)
    try:
        stat = path.stat()
    except OSError:
        raise StoreError(f"{file.filename} was removed from source {file.source}") from None
    if file_etag(stat) != location.etag:
        raise StoreError(f"{file.filename} is being replaced in source {file.source}: try again")
    return LocalBody(path, stat.st_size)

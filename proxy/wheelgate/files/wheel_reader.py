"""Wheel reader: METADATA out of any listed wheel, wherever its bytes are, with as few of them as possible."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from wheelgate.core.beginnings import can_begin, has_mark
from wheelgate.core.errors import BlobNotFound, StoreError, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile, StoredFile
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, NoMetadata
from wheelgate.distfiles.ranged_wheel import TAIL_BYTES, Fetch, read_by_ranges
from wheelgate.enrich.blob_reader import read_spooled_wheel
from wheelgate.files.bodies import PassedBody
from wheelgate.files.delivery import Delivery
from wheelgate.runtime.logs import TroubleLog
from wheelgate.storage import layout
from wheelgate.storage.spool import Spool
from wheelgate.upstream.answers import FileAnswer
from wheelgate.upstream.client import SourceClient

_log = logging.getLogger(__name__)
_LITTLE_BYTES = 1024 * 1024
"""Bytes that all but odd wheels cost; of those that cost more only a few are read at a time."""
_LARGE_AT_ONCE = 2
_GLANCE_BYTES = 4
"""As many as tell an archive from a text."""
_PATIENCE_S = 10.0
"""Installers give up after 15 s of silence; a wheel that takes longer to fetch is on its way when they come again."""


class WheelReading(msgspec.Struct, frozen=True):
    """METADATA read out of a wheel."""

    metadata: CoreMetadata
    size: int
    """Of the wheel, in bytes."""
    sha256: str | None = None
    """Of the wheel, if we have all of its bytes and know it ourselves."""
    modified: datetime | None = None
    """Moment when the upstream says that the wheel was put where it is; ``None``: it does not say, or was not asked."""


class Glance(msgspec.Struct, frozen=True):
    """Facts that an upstream's answer tells of a whole file, whatever part of it was asked for."""

    size: int | None
    modified: datetime | None
    """As in :class:`WheelReading`."""


class _NoRanges(Exception):
    """The upstream gives files only whole."""


class WheelReader:
    """Finds the shortest way to the METADATA of a listed wheel: our own copy of it, ranges of it, all of it."""

    def __init__(
        self, *, stores: Mapping[str, BlobStore], clients: Mapping[str, SourceClient], delivery: Delivery, spool: Spool
    ) -> None:
        self._troubles = TroubleLog(_log)
        self._stores = stores
        self._clients = clients
        self._delivery = delivery
        self._spool = spool
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(self, file: File) -> WheelReading:
        """The METADATA of a listed wheel.

        Raises:
            BadWheel: definite: the wheel has none that can be offered.
            FileWithheld: the bytes we hold under this name are not those now listed.
            UpstreamError, StoreError: it cannot be read now; or what is sent instead of it is no wheel, which nobody can tell
                from a page for people who are to come back later.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._read(file)
        except NoMetadata:
            raise
        except BadWheel as error:
            if not isinstance(file.location, RemoteFile):
                raise
            raise UpstreamBadAnswer(
                f"source {file.source} sent something else than a wheel for {file.filename}: it {error}", source=file.source
            ) from None
        except TimeoutError:
            raise UpstreamUnavailable(
                f"source {file.source} takes long to send {file.filename}: try again in a moment", source=file.source
            ) from None

    async def glance(self, file: File) -> Glance:
        """Ask for a few bytes of a remote file, which tell of the whole: not every upstream answers HEAD.

        Raises:
            UpstreamBadAnswer: they are not those of such a file.
            UpstreamError: it cannot be heard now.
        """
        location = file.location
        if not isinstance(location, RemoteFile):
            return Glance(None, None)
        client = self._clients[location.source]
        async with client.file(location.url, accept=location.accept, start=0, end=_GLANCE_BYTES) as answer:
            body = bytearray()
            async for chunk in answer.chunks():
                body += chunk
                if len(body) >= _GLANCE_BYTES:
                    break
            if has_mark(file.filename) and not can_begin(file.filename, bytes(body[:_GLANCE_BYTES])):
                raise answer.doubt or UpstreamBadAnswer(
                    f"source {file.source} sent something else for {file.filename}", source=file.source
                )
            return Glance(answer.total, _read_modified(answer))

    async def beside(self, file: File) -> bytes | None:
        """The metadata file beside a wheel in its container, as a mirror puts it there: the same people's word."""
        location = file.location
        if not isinstance(location, StoredFile):
            return None
        try:
            return (await self._stores[location.store].read(layout.metadata_beside(location.path)))[0]
        except BlobNotFound:
            return None

    async def find_held(self, file: File) -> BlobInfo | None:
        """Our own copy of a remote wheel, as far as the store can tell; remembered for a moment.

        Raises:
            FileWithheld: the bytes we hold under this name are not those now listed.
        """
        if not isinstance(file.location, RemoteFile):
            return None
        try:
            return await self._delivery.find_copy(file)
        except StoreError as error:  # the upstream may well be there
            _log.warning("whether %s is held cannot be told: %s", file.filename, error)
            return None

    async def _read(self, file: File) -> WheelReading:
        location = file.location
        if isinstance(location, StoredFile):
            return await self._from_store(file, self._stores[location.store], location.path, location.etag)
        if not isinstance(location, RemoteFile):
            raise StoreError(f"{file.filename} of source {file.source} cannot be read in parts")
        held = await self.find_held(file)
        keeps = self._delivery.keeps(file.source)
        if held is None and not (keeps and file.size is not None and file.size <= TAIL_BYTES):  # no larger than what is read
            try:
                return await self._by_ranges(file, location)
            except _NoRanges:
                if not keeps and file.stated_hashes:
                    return await self._whole(file, location)
        if held is not None:
            reading = await self._from_store(file, self._delivery.store, held.path, held.etag)
            return msgspec.structs.replace(reading, sha256=held.facts.get("sha256"))
        async with self._delivery.fetch(file, location) as fill:

            async def fetch(start: int, end: int) -> bytes:
                return b"".join([chunk async for chunk in fill.follow(start, end)])

            reading = await self._read_parts(fetch, fill.spooled.size, file.filename)
            return msgspec.structs.replace(reading, sha256=fill.spooled.digests()["sha256"])

    async def _from_store(self, file: File, store: BlobStore, path: str, etag: str) -> WheelReading:
        info = await store.info(path)
        if info.etag != etag:
            raise StoreError(f"{file.filename} of source {file.source} is being replaced: try again")

        async def fetch(start: int, end: int) -> bytes:
            return b"".join([chunk async for chunk in store.stream(path, start, end)])

        return await self._read_parts(fetch, info.size, file.filename)

    async def _read_parts(self, fetch: Fetch, size: int, filename: str, *, head: bytes = b"") -> WheelReading:
        """Read by ranges: a few bytes at any time, more only in turn, so that memory stays bounded."""
        taken = 0
        async with AsyncExitStack() as turn:

            async def fetch_in_turn(start: int, end: int) -> bytes:
                nonlocal taken
                before, taken = taken, taken + end - start
                if before <= _LITTLE_BYTES < taken:
                    await turn.enter_async_context(self._large)
                return await fetch(start, end)

            return WheelReading(await read_by_ranges(fetch_in_turn, size, filename, head=head), size)

    async def _by_ranges(self, file: File, location: RemoteFile) -> WheelReading:
        size, head = file.stated_size, b""
        url = location.url
        """After the redirects, once a part of it was read: the others are asked for there."""
        modified: datetime | None = None

        async def part(start: int, end: int) -> tuple[int, bytes]:
            nonlocal url, modified
            try:
                total, body, answer = await self._range(file, location, url, start, end, size)
            except (UpstreamError, _NoRanges):
                if url == location.url:
                    raise
                # A signature does not hold for ever, and the next one may lead elsewhere.
                total, body, answer = await self._range(file, location, location.url, start, end, size)
            url, modified = answer.url, _read_modified(answer)
            return total, body

        async def fetch(start: int, end: int) -> bytes:
            return (await part(start, end))[1]

        if size is None:  # its beginning tells; and a small wheel is all there then
            size, head = await part(0, TAIL_BYTES)
        reading = await self._read_parts(fetch, size, file.filename, head=head)
        return msgspec.structs.replace(reading, modified=modified)

    async def _range(
        self, file: File, location: RemoteFile, url: str, start: int, end: int, size: int | None
    ) -> tuple[int, bytes, FileAnswer]:
        """The size of the whole file, bytes of it, and the answer that they came in, which is over."""
        client = self._clients[location.source]
        async with client.file(url, accept=location.accept, start=start, end=end) as answer:
            if answer.status != 206 or answer.total is None:
                raise _NoRanges
            if size is not None and answer.total != size:
                raise UpstreamBadAnswer(
                    f"source {file.source} has {answer.total} bytes of {file.filename}, not {size}", source=file.source
                )
            wanted = min(end, answer.total) - start
            body = bytearray()
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > wanted:
                    break
            if len(body) != wanted:
                raise UpstreamBadAnswer(f"source {file.source} sent another range of {file.filename}", source=file.source)
            return answer.total, bytes(body), answer

    async def _whole(self, file: File, location: RemoteFile) -> WheelReading:
        """Read all of it, where the operator wants nothing of a source kept."""
        passed = PassedBody(self._clients[location.source], file, location, self._troubles)
        async with self._spool.holding(size=file.stated_size) as spooled:
            async for chunk in passed.chunks(0, None):
                await spooled.append(chunk)
            metadata = await asyncio.to_thread(read_spooled_wheel, spooled, file.filename)
            return WheelReading(metadata, spooled.size, spooled.digests()["sha256"])


def _read_modified(answer: FileAnswer) -> datetime | None:
    """Read the moment when a file was put where it is, as whoever sends it says (RFC 9110, 8.8.2)."""
    try:
        moment = parsedate_to_datetime(answer.response.headers.get("Last-Modified", ""))
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

"""Response bodies of files: a redirect, or bytes that travel through us, from wherever they are."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from io import FileIO
from typing import Protocol

import msgspec

from wheelgate.core.digests import Hash, new_hash
from wheelgate.core.errors import StoreError, UpstreamBadAnswer
from wheelgate.core.model import File, LocalFile, RemoteFile
from wheelgate.core.names import is_index_document
from wheelgate.runtime.logs import TroubleLog
from wheelgate.sources.listed_file import check_unchanged, open_listed
from wheelgate.storage.fills import PACE_BYTES, PACE_S, Fill, PromisedBody
from wheelgate.storage.spool import HOLD_BYTES
from wheelgate.upstream.answers import FileAnswer
from wheelgate.upstream.client import SourceClient

_READ_BYTES = 1024 * 1024
_log = logging.getLogger(__name__)


class Redirect(msgspec.Struct, frozen=True):
    """Redirect of the client to the bytes: an opaque URL, perhaps signed, never to be logged or written down."""

    url: str
    ours: bool = False
    """Signed by us, for minutes: whoever asks a moment later may be given the same."""


class Body(Protocol):
    """Bytes that travel through us."""

    async def open_local(self, *, whole: bool) -> FileIO | None:
        """Open a complete local file with the body, for the kernel to send; ``None``: there is none, or it is to be checked.

        ``whole``: all of it is wanted; of a part nobody can say anything.

        Raises:
            StoreError: it is not available.
        """
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


class FillBody:
    """A fill under way, or just done."""

    def __init__(self, fill: Fill, instead: PassedBody) -> None:
        self._fill = fill
        self._instead = instead

    async def size(self) -> int | None:
        return self._fill.total if self._fill.total is not None else self._instead.total

    async def open_local(self, *, whole: bool) -> None:  # noqa: ARG002 - it is still checked
        return None

    async def known_size(self) -> int | None:
        """The size, waiting for it."""
        try:
            return await self._fill.known_total()
        except StoreError:
            return await self._instead.size()

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`. If the spool fails, they are passed through from where they are: nobody's answer is broken off."""
        at = start
        with self._fill.followed():
            try:
                async with aclosing(self._fill.follow(start, end)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
                return
            except StoreError as error:
                is_whole = start == 0 and end in (None, self._fill.total)
                if is_whole and not self._fill.file.stated_hashes:
                    raise  # nothing but all of it could show that it is the file
                if at > start:
                    _log.warning("%s is passed through from byte %d on: %s", self._fill.file.filename, at, error)
            sent = await self._digest(at) if is_whole else None
        async for chunk in self._instead.chunks(at, end, sent):
            yield chunk

    async def _digest(self, end: int) -> dict[str, Hash]:
        """Digest the bytes that left already, for the rest of them to be checked with."""
        digests, at = {name: new_hash(name) for name in self._fill.file.hashes}, 0
        while at < end:
            chunk = await self._fill.spooled.read(at, end)
            at += len(chunk)
            for digest in digests.values():
                digest.update(chunk)
        return digests


class PassedBody(PromisedBody):
    """An upstream's bytes, passed through and kept nowhere."""

    def __init__(
        self,
        client: SourceClient,
        file: File,
        location: RemoteFile,
        troubles: TroubleLog,
        begin_fill: Callable[[], Fill | None] = lambda: None,
    ) -> None:
        """``begin_fill``: begins a fill, or joins one, for a body that has to be seen whole before its end may leave."""
        super().__init__(file)
        self._troubles = troubles
        self._client = client
        self._location = location
        self._begin_fill = begin_fill
        self._was_asked = file.stated_size is not None

    async def size(self) -> int | None:
        """See :class:`Body`. Where the listing does not say, one byte is asked for: not every upstream answers HEAD."""
        if not self._was_asked:
            async with self._ask(start=0, end=1):
                pass
        return self.total

    async def open_local(self, *, whole: bool) -> None:  # noqa: ARG002
        return None

    @asynccontextmanager
    async def _ask(self, start: int | None = None, end: int | None = None) -> AsyncIterator[FileAnswer]:
        async with self._client.file(self._location.url, accept=self._location.accept, start=start, end=end) as answer:
            self.judge(answer)
            self._was_asked = True
            self.announce(answer.total)
            yield answer

    def _bad_answer(self, what: str) -> UpstreamBadAnswer:
        error = super()._bad_answer(what)
        self._troubles.report(self._location.url, str(error))
        return error

    async def chunks(self, start: int, end: int | None, sent: dict[str, Hash] | None = None) -> AsyncIterator[bytes]:
        """See :class:`Body`. ``sent``: digests of all before ``start``, which left already: the whole is checked with them."""
        if start == 0 and end in (None, self.total):
            if not (self.file.stated_hashes or is_index_document(self.file.filename)):
                async with aclosing(self._follow_fill()) as seen_whole:
                    async for chunk in seen_whole:
                        yield chunk
                return
            sent = {name: new_hash(name) for name in self.file.hashes}
        is_from_the_start = start == 0 and sent is not None
        async with self._ask() if is_from_the_start else self._ask(start=start, end=end) as answer:
            paced = self._keep_up(answer)
            chunks = paced if is_from_the_start or answer.status == 206 else _cut(paced, start, end)
            async for chunk in chunks if sent is None else self._check_chunks(chunks, start, sent):
                yield chunk

    async def _follow_fill(self) -> AsyncGenerator[bytes, None]:
        """All of a body of which no digest is stated; :class:`StoreError` if there is no room to see it whole."""
        if (fill := self._begin_fill()) is None:
            raise StoreError(
                f"source {self.file.source} states no digest of {self.file.filename}, and the spool has no room to see if it is "
                "whole: make room, or try again"
            )
        async with aclosing(fill.follow(0, None)) as chunks:
            async for chunk in chunks:
                self.total, self._was_asked = fill.total, True
                yield chunk

    def _keep_up(self, answer: FileAnswer) -> AsyncIterator[bytes]:
        """Its chunks, however many: it is the client who reads that ends them. But an upstream that drips is broken."""
        return self.keep_pace(answer.chunks(), PACE_S, lambda: PACE_BYTES)

    async def _check_chunks(self, chunks: AsyncIterator[bytes], size: int, digests: dict[str, Hash]) -> AsyncIterator[bytes]:
        """The rest of a body, its last bytes held back until they are known to complete the file the listing promised.

        ``size`` bytes of it left already, whose ``digests`` are taken further.
        """

        async def read() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                self.check_part(size)
                for digest in digests.values():
                    digest.update(chunk)
                yield chunk

        def check() -> None:
            self.check_whole(size, {name: digest.hexdigest() for name, digest in digests.items()})

        async for chunk in hold_back(read(), check):
            yield chunk


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
    """A file of a directory source: not ours, so whoever may write there may write it while it is sent.

    What is sent is what was read before the file was found to be as listed, and of a whole body also what has its digest. The
    kernel cannot send it: that sends what the file holds when the bytes leave.
    """

    def __init__(self, file: File, location: LocalFile) -> None:
        """Look at the listed file; :class:`StoreError` if it is no longer the one that was listed."""
        self._file = file
        self._location = location
        with open_listed(file, location) as opened:
            self._size = os.fstat(opened.fileno()).st_size

    async def size(self) -> int:
        return self._size

    async def open_local(self, *, whole: bool) -> None:  # noqa: ARG002
        return None

    async def chunks(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """See :class:`Body`."""
        end = self._size if end is None else end
        digests = {name: new_hash(name) for name in self._file.hashes} if (start, end) == (0, self._size) else {}
        with await asyncio.to_thread(open_listed, self._file, self._location) as opened:
            async with aclosing(hold_back(self._read(opened, start, end, digests), lambda: self._check(digests))) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _read(self, opened: FileIO, start: int, end: int, digests: Mapping[str, Hash]) -> AsyncIterator[bytes]:
        def read() -> bytes:
            opened.seek(start)
            chunk = opened.read(min(_READ_BYTES, end - start))
            for digest in digests.values():
                digest.update(chunk)
            check_unchanged(self._file, self._location, opened)
            return chunk

        while start < end:
            chunk = await asyncio.to_thread(read)
            if not chunk:
                raise StoreError(f"{self._file.filename} became shorter while it was read")
            start += len(chunk)
            yield chunk

    def _check(self, digests: Mapping[str, Hash]) -> None:
        for name, digest in digests.items():
            if digest.hexdigest() != self._file.hashes[name]:
                raise StoreError(
                    f"{self._location.path} has other bytes than a moment ago, though nothing says that it was written"
                )


async def hold_back(chunks: AsyncIterator[bytes], check: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    """A body, its last 64 KiB held back until it was checked."""
    held = b""
    async for chunk in chunks:
        held += chunk
        if len(held) > HOLD_BYTES:
            yield held[:-HOLD_BYTES]
            held = held[-HOLD_BYTES:]
    check()
    yield held

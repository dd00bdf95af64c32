"""Index documents of remote sources: the variants of each version (PEP 825), which their index changes under one name.

They go the way of pages, not of files: asked for again by their ETag, never cached as what cannot change, bounded, and the last
good one stands in while the source is silent. What leaves has the digests that our page lists. Where the two differ, the page is
the one that may be old, so its source is asked for it anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec
from cachetools import LRUCache, TTLCache

from wheelgate.core.digests import new_hash
from wheelgate.core.errors import BlobExists, BlobNotFound, StoreError, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.files.kept_copies import is_from, list_copy_facts
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.storage import layout
from wheelgate.upstream.client import SourceClient

_MAX_DOCUMENT_BYTES = 1024 * 1024
_KEPT_BYTES = 16 * 1024 * 1024
_SHORT_BYTES = 64 * 1024
_FRESH_S = 5.0
"""How often a source is asked at most, for a document, and for a page that does not fit it."""
_PAGES = 1_000
_log = logging.getLogger(__name__)
_Key = tuple[str, str, str]


class ListingOutdated(UpstreamUnavailable):
    """A document with other bytes than our page says; its source is asked for the page anew, at the next request for it."""


class _Document(msgspec.Struct, frozen=True):
    body: bytes
    url: str = ""
    etag: str | None = None
    heard_s: float = float("-inf")
    """By the monotonic clock."""


class _ListOfVariants(msgspec.Struct):
    variants: dict[str, msgspec.Raw]


_decode = msgspec.json.Decoder(_ListOfVariants).decode


class IndexDocuments:
    """The documents that remote sources list. Close it to stop what is under way."""

    def __init__(
        self,
        *,
        store: BlobStore,
        clients: dict[str, SourceClient],
        keeps: Callable[[str], bool],
        ask_again: Callable[[str, str], None],
        clock: Clock,
        max_bytes: int = _KEPT_BYTES,
    ) -> None:
        """Documents by way of their sources' clients.

        Args:
            store: keeps the last one, for an outage, another process and a server that is offline.
            clients: by source.
            keeps: whether what comes from a source may be kept in the store.
            ask_again: has a source's page of a project asked for anew.
            clock: of their age.
            max_bytes: of those in memory.
        """
        self._store = store
        self._clients = clients
        self._keeps = keeps
        self._ask_again = ask_again
        self._clock = clock
        self._known: LRUCache[_Key, _Document] = LRUCache(max_bytes, getsizeof=lambda known: 1_000 + len(known.body))
        self._asked_again: TTLCache[tuple[str, str], bool] = TTLCache(_PAGES, _FRESH_S, timer=clock.monotonic)
        self._flights: SingleFlight[_Document] = SingleFlight()
        self._writes = BackgroundTasks()
        self._troubles = TroubleLog(_log)

    async def close(self) -> None:
        """Stop asking and writing."""
        await self._flights.close()
        await self._writes.close()

    async def body(self, file: File, location: RemoteFile) -> bytes:
        """The document as its source has it now, with the digests that the listing states.

        Raises:
            ListingOutdated: it has others: look at the page again.
            UpstreamError: it is not available, or is none.
        """
        key = (file.source, file.project, file.filename)
        known = self._known.get(key)
        if known is not None and file.hashes and await _has_digests(file, known.body):
            return known.body
        if known is None or known.url != location.url or self._clock.monotonic() - known.heard_s >= _FRESH_S:
            known = await self._flights.run((*key, location.url), lambda: self._ask(key, file, location))
        if await _has_digests(file, known.body):
            return known.body
        if (file.source, file.project) not in self._asked_again:
            self._asked_again[file.source, file.project] = True
            self._ask_again(file.source, file.project)
        raise ListingOutdated(
            f"source {file.source} sends {file.filename} with another digest than it lists: try again in a moment",
            source=file.source,
        )

    async def _ask(self, key: _Key, file: File, location: RemoteFile) -> _Document:
        known = self._known.get(key)
        etag = known.etag if known is not None and known.url == location.url else None
        try:
            heard = await self._fetch(file, location, known, etag)
        except UpstreamError as error:
            kept = known or await self._find_stored(file)
            if kept is None or not await _has_digests(file, kept.body):
                raise
            self._troubles.report(location.url, f"{file.filename}: the last good one stands in: {error}", logging.WARNING)
            return kept
        self._known.pop(key, None)
        if 1_000 + len(heard.body) <= self._known.maxsize:
            self._known[key] = heard
        if known is None or known.body != heard.body:
            self._writes.start(key, lambda: self._write_newest(key, file, heard.body))
        return heard

    async def _fetch(self, file: File, location: RemoteFile, known: _Document | None, etag: str | None) -> _Document:
        answer = await self._clients[location.source].page(location.url, accept=location.accept or "*/*", etag=etag)
        now_s = self._clock.monotonic()
        if answer.status == 304 and known is not None:
            return msgspec.structs.replace(known, heard_s=now_s)
        try:
            if answer.status != 200:
                problem = f"answered {answer.status} for {file.filename}, which it lists"
            elif len(answer.body) > _MAX_DOCUMENT_BYTES:
                problem = f"sent more than 1 MiB for {file.filename}"
            elif not await asyncio.to_thread(_is_document, answer.body):
                problem = f"sent something for {file.filename} that is no list of variants"
            else:
                return _Document(bytes(answer.body), location.url, answer.etag, now_s)
        finally:
            if answer.claim is not None:
                answer.claim.release()
        raise UpstreamBadAnswer(f"source {file.source} {problem}", source=file.source)

    async def _find_stored(self, file: File) -> _Document | None:
        with suppress(StoreError):
            body, info = await self._store.read(layout.cache_copy(file.source, file.project, file.filename))
            is_right = hashlib.sha256(body).hexdigest() == info.facts.get("sha256")
            if is_right and is_from(info, self._clients[file.source].place):
                return _Document(body)
        return None

    async def _write_newest(self, key: _Key, file: File, body: bytes) -> None:
        """Keep the document, and then whatever came in its place meanwhile."""
        await self._write(file, body)
        while (known := self._known.get(key)) is not None and known.body != body:
            body = known.body
            await self._write(file, body)

    async def _write(self, file: File, body: bytes) -> None:
        """Put the document in the place of the one before it."""
        if not self._keeps(file.source):
            return
        path = layout.cache_copy(file.source, file.project, file.filename)
        facts = list_copy_facts(file, hashlib.sha256(body).hexdigest(), self._clients[file.source].place)
        try:
            with suppress(BlobNotFound):
                info = await self._store.info(path)
                if info.facts.get("sha256") == facts["sha256"]:
                    return
                await self._store.delete(path, info.etag)
            with suppress(BlobExists):  # another process was faster
                await self._store.put_if_absent(path, body, facts)
        except StoreError as error:
            self._troubles.report(path, f"{file.filename} of source {file.source} could not be kept: {error}", logging.WARNING)


async def _has_digests(file: File, body: bytes) -> bool:
    """Tell whether a document has the digests that its listing states: 60 of 1 MiB take 75 ms."""
    if len(body) <= _SHORT_BYTES:
        return _compare_digests(file, body)
    return await asyncio.to_thread(_compare_digests, file, body)


def _compare_digests(file: File, body: bytes) -> bool:
    for algorithm, digest in file.hashes.items():
        computed = new_hash(algorithm)
        computed.update(body)
        if computed.hexdigest() != digest:
            return False
    return True


def _is_document(body: bytes | bytearray) -> bool:
    try:
        _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True

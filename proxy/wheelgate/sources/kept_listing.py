"""Kept listing: the last complete listing of a container, in our store, for the next process and the other replicas.

::

    state/listings/<source>/head            the version and a digest in its first line; which parts, of what, when
    state/listings/<source>/<sha256>        some hundred blocks, named by their digest: what is the same is not written again

Only a hint of what to expect: whoever reads it decides how old it may be. What cannot be read, is not what its digest says, or is
of an earlier release, is as good as none, and written anew. An older listing never takes the place of a newer one, and of two
replicas that write at once one wins.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated
from zlib import crc32

import msgspec

from wheelgate.core.digests import Sha256
from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobStore
from wheelgate.runtime.cooperative import in_slices
from wheelgate.sources.packed_listing import Block, PackedListing, assemble
from wheelgate.storage import layout

_VERSION = 6
"""To be raised with every change of what a block's bytes say, or of its keys (``find_keys``): they are taken over."""
_HEADER = re.compile(rb"wheelgate listing ([1-9][0-9]{0,8}) ([0-9a-f]{64})\n")
_LEAST, _MOST = 32, 512
"""Blocks of a part: some hundred kilobytes."""
_CUT = 0x7F
_MOST_PARTS = 1_024
"""About ten million files. A longer listing is not kept."""
_AT_ONCE = 4
_ORPHAN_AGE = timedelta(hours=1)
"""By then whoever wrote a part has written the head that names it, or never will."""
_SKEW = timedelta(minutes=1)
"""By how much the clocks of two replicas may differ. A listing of a later time than that has not been made."""
_log = logging.getLogger(__name__)


class Scan(msgspec.Struct, frozen=True):
    """One listing that is complete, and how it came about."""

    listing: PackedListing
    at: datetime
    """When it began. Aware, UTC."""
    took_s: float
    blobs: int
    """Of all kinds."""
    place: str | None
    """The identity of the container; ``None``: it may not be asked."""

    @property
    def ended_at(self) -> datetime:
        return self.at + timedelta(seconds=self.took_s)


class _Head(msgspec.Struct):
    url: str
    at: datetime
    took_s: Annotated[float, msgspec.Meta(ge=0)]
    blobs: Annotated[int, msgspec.Meta(ge=0)]
    place: str | None
    parts: Annotated[list[Sha256], msgspec.Meta(max_length=_MOST_PARTS)]


class _Unusable(Exception):
    """A record that is damaged, incomplete, or of a later release; the sentence says which."""


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_part = msgspec.msgpack.Decoder(Annotated[list[Block], msgspec.Meta(max_length=_MOST)]).decode


class KeptListing:
    """The record of one source's listing."""

    def __init__(self, source: str, *, url: str, store: BlobStore) -> None:
        """``url``: the container's; what was listed at another one is not taken for this one's."""
        self._source = source
        self._url = url
        self._store = store
        self._parts: frozenset[str] = frozenset()
        """Those of the head when it was read or written last, each seen to be right."""

    async def load(self) -> Scan | None:
        """Read what was kept; ``None``: nothing that can be used, which is said in the log if there is something."""
        try:
            head, _ = await self._read_head()
            if head is None or head.url != self._url:
                return None
            blocks: list[Block] = []
            for start in range(0, len(head.parts), _AT_ONCE):
                parts = await asyncio.gather(*map(self._read_part, head.parts[start : start + _AT_ONCE]))
                blocks += (block for part in parts for block in part)
            listing = await in_slices(assemble(blocks))
        except (_Unusable, StoreError) as error:
            _log.warning("source %s is listed anew, since its listing that was kept cannot be used: %s", self._source, error)
            return None
        self._parts = frozenset(head.parts)
        return Scan(listing, head.at, head.took_s, head.blobs, head.place)

    async def _read_head(self) -> tuple[_Head | None, str | None]:
        """The head and its ETag. Raises _Unusable, StoreError."""
        path = layout.listing_head(self._source)
        try:
            body, info = await self._store.read(path)
        except BlobNotFound:
            return None, None
        header = _HEADER.match(body)
        if header is not None and int(header[1]) > _VERSION:
            raise _Unusable(f"{path} in the store is of a later release")
        if header is not None and int(header[1]) < _VERSION:
            raise _Replaceable(f"{path} in the store is of an earlier release", info.etag)
        if header is None or hashlib.sha256(body[header.end() :]).hexdigest().encode() != header[2]:
            raise _Damaged(path, info.etag)
        try:
            head = _decode_head(body[header.end() :])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _Damaged(path, info.etag) from error
        if head.at.tzinfo is None:
            raise _Damaged(path, info.etag)
        return head, info.etag

    async def _read_part(self, digest: str) -> list[Block]:
        path = layout.listing_part(self._source, digest)
        body, _ = await self._store.read(path)
        if hashlib.sha256(body).hexdigest() != digest:
            raise _Unusable(f"{path} in the store is damaged")
        try:
            return _decode_part(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _Unusable(f"{path} in the store is damaged") from None

    async def keep(self, scan: Scan) -> None:
        """Write it for others, unless a newer one is there. Where that fails they list, or find somebody else's."""
        try:
            etag: str | None
            try:
                head, etag = await self._read_head()
            except _Replaceable as found:
                head, etag = None, found.etag
            if head is not None and head.url == self._url and scan.at < head.at <= scan.ended_at + _SKEW:
                return
            before = frozenset(head.parts) if head is not None else frozenset[str]()
            proven = before & self._parts
            parts = [await self._write_part(part, proven) for part in _cut(scan.listing.blocks)]
            if len(parts) > _MOST_PARTS:
                raise _Unusable(f"it has more than {_MOST_PARTS} parts")
            body = _encode(_Head(self._url, scan.at, scan.took_s, scan.blobs, scan.place, parts))
            header = f"wheelgate listing {_VERSION} {hashlib.sha256(body).hexdigest()}\n".encode()
            await self._store.replace_if(layout.listing_head(self._source), header + body, etag)
            self._parts = frozenset(parts)
            if before - self._parts or head is None:
                await self._sweep(scan.at)
        except BlobChanged:
            pass  # another replica was faster: its listing is as good
        except (_Unusable, StoreError) as error:
            _log.info("the listing of source %s was not kept: %s", self._source, error)

    async def _write_part(self, blocks: Sequence[Block], proven: frozenset[str]) -> str:
        body = _encode(blocks)
        digest = hashlib.sha256(body).hexdigest()
        if digest not in proven:
            path = layout.listing_part(self._source, digest)
            try:
                await self._store.put_if_absent(path, body, {})
            except BlobExists:
                there, info = await self._store.read(path)
                if there != body:  # damaged
                    await self._store.replace_if(path, body, info.etag)
        await asyncio.sleep(0)
        return digest

    async def _sweep(self, now: datetime) -> None:
        """Delete the parts that no head names any more."""
        head = layout.listing_head(self._source)
        async for info in self._store.list(layout.listing_part(self._source, "")):
            digest = info.path.rpartition("/")[2]
            if info.path != head and digest not in self._parts and now - info.created > _ORPHAN_AGE:
                await self._store.delete(info.path)


class _Replaceable(_Unusable):
    """A head that may be written over."""

    def __init__(self, sentence: str, etag: str) -> None:
        super().__init__(sentence)
        self.etag = etag


class _Damaged(_Replaceable):
    def __init__(self, path: str, etag: str) -> None:
        super().__init__(f"{path} in the store is damaged", etag)


def _cut(blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
    """Cut into parts, where a block's digest says so: a change moves no end but its own."""
    part: list[Block] = []
    for block in blocks:
        part.append(block)
        if len(part) >= _MOST or (len(part) >= _LEAST and not crc32(block.files) & _CUT):
            yield part
            part = []
    if part:
        yield part

"""Feed records: what the service last said of a feed and of its projects, kept in our store for the next process.

Written behind the answer, by compare-and-swap; of two accounts the later one stands. A record that cannot be read, or that is of
another feed, is as good as none; one of a later release is left alone.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import BlobChanged, BlobNotFound, StoreError
from wheelgate.core.model import FormatVersion, Ownership
from wheelgate.core.protocols import BlobStore
from wheelgate.enrich.write_behind import WriteBehind
from wheelgate.feeds.findings import OwnershipFinding
from wheelgate.feeds.service import FeedDescription, VersionFact
from wheelgate.storage import layout

_VERSION = 1
_CONFIRM_AFTER = timedelta(hours=1)
"""What stays the same for days is confirmed in the store this often, so that it can stand in."""
_ATTEMPTS = 4
_DELAY_S, _MUCH_BYTES, _MOST_BYTES = 0.5, 1024 * 1024, 4 * 1024 * 1024
_WRITTEN = 4_096
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_log = logging.getLogger(__name__)


class KeptFinding(msgspec.Struct):
    """The record of one project."""

    version: FormatVersion
    feed: str
    as_of: Moment
    is_own: bool
    why: str = ""
    own: list[str] = []
    is_whole: bool = False
    versions: list[VersionFact] = []

    @classmethod
    def of(cls, finding: OwnershipFinding, feed: str, as_of: datetime) -> KeptFinding:
        is_own = finding.ownership is Ownership.OWN
        return cls(_VERSION, feed, as_of, is_own, finding.why, sorted(finding.own), finding.is_whole, list(finding.versions))

    @property
    def finding(self) -> OwnershipFinding:
        ownership = Ownership.OWN if self.is_own else Ownership.PUBLIC
        return OwnershipFinding(ownership, self.why, frozenset(self.own), self.is_whole, tuple(self.versions))


class KeptDescription(msgspec.Struct):
    """The record of the feed itself."""

    version: FormatVersion
    feed: str
    as_of: Moment
    description: FeedDescription


class _FeedRecordHead(msgspec.Struct):
    version: FormatVersion


_Record = KeptFinding | KeptDescription
R = TypeVar("R", KeptFinding, KeptDescription)


class FeedRecords:
    """The records of one feed. Close them to write what is left."""

    def __init__(self, source: str, *, feed: str, store: BlobStore) -> None:
        """``feed``: its address at the service; what was said of another one is not taken for this one's."""
        self._source = source
        self._feed = feed
        self._store = store
        self._written: LRUCache[str, tuple[bytes, datetime]] = LRUCache(_WRITTEN)
        """By path: the content that was written last, without its moment, and of which moment it was."""
        self._unwritten = WriteBehind[_Record](
            self._write,
            size_of=_estimate_bytes,
            subject=f"what the feed service says of source {source}",
            delay_s=_DELAY_S,
            much_bytes=_MUCH_BYTES,
            max_bytes=_MOST_BYTES,
        )

    async def close(self) -> None:
        """Write what is not written yet."""
        await self._unwritten.close()

    def keep(self, project: str, kept: KeptFinding) -> None:
        """Have an account of a project written, unless the store has heard it lately."""
        self._put(layout.origin(self._source, project), kept)

    def keep_description(self, description: FeedDescription, as_of: datetime) -> None:
        """Do the same for the feed itself."""
        self._put(layout.feed_description(self._source), KeptDescription(_VERSION, self._feed, as_of, description))

    async def find(self, project: str) -> KeptFinding | None:
        """Find the last account of a project that anybody kept; ``None``: there is none that can be read."""
        return await self._read(layout.origin(self._source, project), KeptFinding)

    async def find_description(self) -> KeptDescription | None:
        """Find the last description of the feed, likewise."""
        return await self._read(layout.feed_description(self._source), KeptDescription)

    def _put(self, path: str, record: _Record) -> None:
        written = self._written.get(path)
        if written is None or written[0] != _mark(record) or record.as_of - written[1] >= _CONFIRM_AFTER:
            self._unwritten.put(path, record)

    async def _read(self, path: str, form: type[R]) -> R | None:
        waiting = self._unwritten.find(path)
        if isinstance(waiting, form):
            return waiting
        try:
            body, _ = await self._store.read(path)
            kept = msgspec.json.decode(body, type=form)
        except StoreError as error:
            if not isinstance(error, BlobNotFound):
                _log.info("%s in the store cannot be read: %s", path, error)
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _log.warning(
                "%s in the store is damaged, or of a later release: what it says of source %s is not used", path, self._source
            )
            return None
        return kept if kept.feed == self._feed and kept.version == _VERSION else None

    async def _write(self, path: str, record: _Record) -> None:
        for attempt in range(_ATTEMPTS):
            etag = None
            try:
                body, info = await self._store.read(path)
                etag = info.etag
                if not self._may_replace(body, record):
                    break
            except BlobNotFound:
                pass
            try:
                await self._store.replace_if(path, msgspec.json.encode(record), etag)
                break
            except BlobChanged:
                if attempt == _ATTEMPTS - 1:
                    raise
        self._written[path] = _mark(record), record.as_of

    def _may_replace(self, body: bytes, record: _Record) -> bool:
        """Tell whether what the store has is older, or nobody's."""
        try:
            if msgspec.json.decode(body, type=_FeedRecordHead).version > _VERSION:
                return False
            kept = msgspec.json.decode(body, type=type(record))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return True
        return kept.feed != self._feed or kept.as_of < record.as_of


def _mark(record: _Record) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(record, as_of=datetime.min.replace(tzinfo=record.as_of.tzinfo)))


def _estimate_bytes(record: _Record) -> int:
    return 500 + (80 * len(record.versions) if isinstance(record, KeptFinding) else 200 * len(record.description.upstreams))

"""A few projects that a source was seen to have: by them it is known again after a restart, and found to have lost everything."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Collection

import msgspec

from wheelgate.core.errors import BlobNotFound, StoreError
from wheelgate.core.names import normalise_name
from wheelgate.core.protocols import BlobStore
from wheelgate.core.urls import place_key
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.manner import Manner
from wheelgate.storage import layout

_MOST = 8
_LAST_WRITE_S = 0.5
_VERSION = 1
_log = logging.getLogger(__name__)


class _Record(msgspec.Struct):
    version: int
    url: str
    projects: list[str] = []
    place: str | None = None
    manner: Manner = Manner()


class _NewerRecord(StoreError):
    """A record that a later release wrote: not to be judged, and not to be overwritten."""


class KnownProjects:
    """Names of projects that a source listed, the identity of the place where it did, and its manner if it is an index.

    Only hints: whoever asks the source for one of them learns if it is still there. Kept in our store by the source's name and
    address; without a store, for this process. A record that cannot be read is as good as none. Until there is one, that of a
    release that kept one for each name is read, if it is of this address; it is never written.
    """

    def __init__(self, source: str, *, url: str, store: BlobStore | None = None) -> None:
        """``url``: the source's own; what was seen at another one is not taken for this one's."""
        self._source = source
        self._url = url
        self._path = layout.known_projects(layout.home_of(source, place_key(url)))
        self._store = store
        self._names: dict[str, None] = {}
        self._gone: deque[str] = deque(maxlen=_MOST)
        """Forgotten since the record was last written."""
        self._place: str | None = None
        self.manner = Manner()
        """Of this process, or what was kept: see :meth:`recall_manner`."""
        self._seen: dict[str, object] = {}
        """Of its manner, in this process."""
        self._loaded = store is None
        self._reading: SingleFlight[None] = SingleFlight()
        self._writing = BackgroundTasks()

    async def close(self) -> None:
        """Stop reading, and writing once what was just seen is kept, if the store takes it soon."""
        await self._writing.wait("keep", within_s=_LAST_WRITE_S)
        await self._reading.close()
        await self._writing.close()

    async def names(self) -> tuple[str, ...]:
        """Those seen in this process, the latest first, then those that were kept."""
        await self._load()
        return tuple(reversed(self._names))

    async def ever_had(self) -> tuple[str, ...]:
        """Those of :meth:`names`, or, if there are none, what another replica has seen since; none: it is new.

        A StoreError if that cannot be read: whoever came first and saw nothing must not take for new what others saw projects of.
        """
        if not await self.names() and (store := self._store) is not None:
            await self._reading.run("", lambda: self._read(store))
        return await self.names()

    async def may_be_empty(self, place: str | None) -> bool:
        """True if the source may have no project at all: it never had any, or this is the very place where it had them.

        ``place``: its identity now; ``None``: it cannot be told, so that one that had projects may not be empty.
        """
        return not await self.ever_had() or (place is not None and place == self._place)

    def note(self, project: str, place: str | None = None) -> None:
        """The source was just seen to have a project; ``place``: where, if that can be told."""
        is_news = project not in self._names or place != self._place
        self._place = place
        self._names.pop(project, None)
        self._names[project] = None
        self._remember_again({project})
        if len(self._names) > _MOST:
            # One of long ago goes. What is kept need not be the latest, so that this costs no writing for each new name.
            del self._names[next(iter(self._names))]
            is_news = False
        if is_news:
            self._keep()

    def forget(self, project: str) -> None:
        """The source was just seen not to have it any more, although it was heard."""
        if project in self._names:
            del self._names[project]
            self._gone.append(project)
            self._keep()

    async def recall_manner(self) -> Manner:
        """The manner as it was seen, in this process or before. A StoreError if what was kept cannot be read."""
        await self._load()
        return self.manner

    @property
    def seen_manner(self) -> Manner:
        """The manner as far as this process saw it, whatever was kept."""
        return msgspec.convert(self._seen, Manner)

    def note_manner(self, **seen: object) -> None:
        """The source was just seen to answer so; ``seen``: fields of :class:`Manner`."""
        before = self.manner
        self._seen |= seen
        self.manner = msgspec.structs.replace(before, **seen)
        if self.manner != before:
            for sentence in self.manner.sentences():
                if sentence not in before.sentences():
                    _log.info("source %s %s", self._source, sentence)
            self._keep()

    def _keep(self) -> None:
        if (store := self._store) is not None:
            self._writing.start("keep", lambda: self._write(store))

    async def _load(self) -> None:
        if not self._loaded and (store := self._store) is not None:
            await self._reading.run("", lambda: self._read(store))

    async def _read(self, store: BlobStore) -> None:
        record = None
        with contextlib.suppress(_NewerRecord):
            record, etag = await self._fetch(store, self._path)
            if etag is None:
                record, _ = await self._fetch(store, layout.known_projects(self._source))
        self._join(record)
        self._loaded = True

    def _join(self, record: _Record | None) -> None:
        """Take over what was kept, by this process or another. What was seen in this one is later."""
        if record is None:
            return
        kept = [name for name in record.projects[:_MOST] if normalise_name(name) == name and name not in self._gone]
        names = [name for name in kept if name not in self._names] + list(self._names)
        self._names = dict.fromkeys(names[-_MOST:])
        self._place = self._place or record.place
        self.manner = msgspec.structs.replace(record.manner, **self._seen)

    def _remember_again(self, projects: Collection[str]) -> None:
        """Take them over again from whoever sees them."""
        self._gone = deque((name for name in self._gone if name not in projects), _MOST)

    def _describe(self) -> _Record:
        return _Record(_VERSION, self._url, list(self._names), self._place, self.manner)

    async def _fetch(self, store: BlobStore, path: str) -> tuple[_Record | None, str | None]:
        """The record, if it is one of this source's, and its ETag, if there is any."""
        try:
            body, info = await store.read(path)
        except BlobNotFound:
            return None, None
        try:
            record = msgspec.json.decode(body, type=_Record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _log.warning("%s in the store is damaged and is written anew: it holds names that source %s had", path, self._source)
            return None, info.etag
        if record.version > _VERSION:
            raise _NewerRecord(f"{path} in the store is of a later release")
        return (record if place_key(record.url) == place_key(self._url) else None), info.etag

    async def _write(self, store: BlobStore) -> None:
        """Write what is known. Only hints are lost where that fails, or where another replica was faster."""
        try:
            await self._load()
            written = None
            while written != self._describe():
                record, etag = await self._fetch(store, self._path)
                self._join(record)  # of other replicas: a record written whole would take away what they saw
                written, gone = self._describe(), frozenset(self._gone)
                await store.replace_if(self._path, msgspec.json.encode(written), etag)
                self._remember_again(gone)
        except StoreError as error:
            _log.info("the projects that source %s is known by were not kept: %s", self._source, error)

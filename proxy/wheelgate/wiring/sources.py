"""Each configured source with everything around it.

From the outside in, as a request meets it::

Screened        what the rules withhold
EnrichedSource  what the source left out, told from its FileHistory (index, devops, github) or BlobHistory (blob)
Cached          when to ask again, and what stands in meanwhile
the source      SimpleIndex, DevopsFeed, GithubReleases with their SourceClient; BlobPackages, BlobScan, Directory
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from wheelgate.config import NO_PROXY, SourceSettings
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore, Source
from wheelgate.enrich.blob_history import BlobHistory
from wheelgate.enrich.blob_reader import BlobReader
from wheelgate.enrich.enriched import EnrichedSource
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.file_memory import FileMemory
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import FactRecorder
from wheelgate.index.decision import Member
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.signal import Signal
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.cached import Cached
from wheelgate.sources.directory import Directory
from wheelgate.sources.github_releases import GITHUB_HEADERS, GithubReleases
from wheelgate.sources.offline import OfflineSource
from wheelgate.sources.simple_index import DEVOPS_HEADERS, DevopsFeed, SimpleIndex
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.spool import Spool
from wheelgate.uploads.accept import Destination
from wheelgate.upstream.client import SourceClient
from wheelgate.wiring.foundation import Foundation
from wheelgate.wiring.stores import enter_container

_VERSION = version("wheelgate")
_HEADERS = {"devops": DEVOPS_HEADERS, "github": GITHUB_HEADERS}
_STALE_WHILE_REVALIDATE_S = 600.0
"""How long a page may at most be served beyond its freshness, while its source is being asked."""


class Sources:
    """Builds the sources one after the other, and knows of each what others need: its client, its store, its targets."""

    def __init__(self, base: Foundation, *, store: BlobStore, spool: Spool, changes: StoreChanges, book: RuleBook) -> None:
        self._base = base
        self._store = store
        self._spool = spool
        self._changes = changes
        self._book = book
        self._public_url = None if base.config.server.public_url is None else base.config.base_url
        self.clients: dict[str, SourceClient] = {}
        """Of the sources that are asked over HTTP."""
        self.stores: dict[str, BlobStore] = {}
        """Of the sources that are containers."""
        self.targets: list[Destination] = []
        """Where uploads may go, in the operator's order."""
        self.telling: list[Signal] = []
        """What says by itself when its answers change."""
        self.recorders: dict[str, FactRecorder] = {}
        """Of the sources whose listings leave something out."""
        self._memories: dict[str, FileHistory] = {}
        self.described_ahead: list[EnrichedSource] = []
        """Private ones, whose newest wheels are described before anybody asks."""

    async def member(self, number: int, settings: SourceSettings) -> Member:
        """``source[number]``, whole: what the index asks.

        Raises:
            ConfigurationError: its key or its certificates are not available.
        """
        return self._member(await self._source(number, settings), settings)

    def again(self, settings: SourceSettings) -> Member:
        """An index by other settings, with the same client and digests, and without what it said before."""
        if self._base.config.is_offline(settings):
            return self._member(self._build_offline(settings), settings)
        return self._member(self._index(settings, self.clients[settings.name]), settings)

    def _member(self, source: Source, settings: SourceSettings) -> Member:
        base = self._base
        screened = Screened(source, private=settings.is_private, book=self._book, clock=base.clock, metrics=base.metrics)
        return Member(screened, settings.is_private, _only(settings))

    async def _source(self, number: int, settings: SourceSettings) -> Source:
        match settings.type:
            case "store":
                return self._uploads(settings)
            case "blob":
                return await self._container(number, settings)
            case "directory":
                return self._directory(settings)
            case _ if self._base.config.is_offline(settings):
                return self._build_offline(settings)
            case "github":
                return self._releases(settings, self._client(number, settings))
            case "index" | "devops":
                return self._index(settings, self._client(number, settings))

    def _uploads(self, settings: SourceSettings) -> Source:
        """What was uploaded to the store."""
        packages = BlobPackages(
            name=settings.name,
            store=self._store,
            prefix=layout.PACKAGES,
            clock=self._base.clock,
            public_url=self._public_url,
        )
        self.targets.append(Destination(settings.name, self._store, layout.PACKAGES, _only(settings)))
        self._changes.subscribe(packages.forget)
        # Fresh until somebody announces a change: a listing per page would be a round trip per page.
        cached = self._build_cached(packages, fresh_s=math.inf, negative_ttl_s=math.inf)
        self._changes.subscribe(cached.drop)
        return cached

    async def _container(self, number: int, settings: SourceSettings) -> Source:
        """A container that others fill, or uploads. Nothing is asked of it yet: one that is down must not stop the others."""
        key = f"source[{number}].account_key"
        blobs = await enter_container(self._base, settings.name, settings.url or "", settings.account_key, key)
        self.stores[settings.name] = blobs
        by_project = settings.layout == "project"
        cached = self._blobs_by_project(settings, blobs) if by_project else self._blobs_anywhere(settings, blobs)
        clock = self._base.clock
        reader = BlobReader(source=settings.name, blobs=blobs, store=self._store, spool=self._spool, clock=clock)
        memory = BlobHistory(ProjectRecords(self._store, settings.name), reader=reader, clock=clock)
        self._base.stack.push_async_callback(memory.close)
        self.recorders[settings.name] = memory
        self.telling.append(memory.changed)
        return self._enriched(cached, memory)

    def _blobs_by_project(self, settings: SourceSettings, blobs: BlobStore) -> Cached:
        packages = BlobPackages(
            name=settings.name,
            store=blobs,
            prefix="",
            clock=self._base.clock,
            names_fresh_s=settings.fresh_s,
            public_url=self._public_url,
        )
        cached = self._build_cached(packages, fresh_s=settings.fresh_s, negative_ttl_s=settings.absent)
        if settings.writable:
            self.targets.append(Destination(settings.name, blobs, only=_only(settings)))
            self._changes.subscribe(packages.forget)
            self._changes.subscribe(cached.drop)
        return cached

    def _blobs_anywhere(self, settings: SourceSettings, blobs: BlobStore) -> Cached:
        scan = BlobScan(name=settings.name, store=blobs, clock=self._base.clock, interval_s=settings.fresh_s)
        self._base.stack.push_async_callback(scan.close)
        self.telling.append(scan.changed)
        return self._build_cached(scan, fresh_s=0.0, negative_ttl_s=0.0)  # the scan itself is what is remembered

    def _directory(self, settings: SourceSettings) -> Source:
        """A folder of this machine."""
        base = self._base
        directory = Directory(name=settings.name, root=base.config.get_source_folder(settings), clock=base.clock)
        base.stack.push_async_callback(directory.close)
        return self._build_cached(
            directory, fresh_s=0.0, negative_ttl_s=0.0
        )  # it looks by itself; what stands in is remembered here

    def _build_offline(self, settings: SourceSettings) -> Source:
        """What the store holds of a source that is offline. There is no client for it at all."""
        copies = BlobPackages(
            name=settings.name,
            store=self._store,
            prefix=layout.cache_of(settings.name),
            clock=self._base.clock,
            names_fresh_s=settings.fresh_s,
        )
        cached = self._build_cached(copies, fresh_s=settings.fresh_s, negative_ttl_s=settings.absent)
        return OfflineSource(cached, alone=self._base.config.server.offline)

    def _client(self, number: int, settings: SourceSettings) -> SourceClient:
        """The way out to a source that is asked over HTTP."""
        base = self._base
        ca_file = base.ca_file
        if settings.ca_file is not None:
            ca_file = base.check_certificates(settings.ca_file, f"source[{number}].ca_file")
        proxy = settings.outbound_proxy or base.config.server.outbound_proxy
        client = self.clients[settings.name] = SourceClient(
            source=settings.name,
            url=settings.index_url,
            file_hosts=settings.all_file_hosts,
            credentials=base.keyring.of_page(settings.index_url),
            clock=base.clock,
            metrics=base.metrics,
            user_agent=f"wheelgate/{_VERSION}",
            ca_file=ca_file,
            outbound_proxy=None if proxy == NO_PROXY else proxy,
            headers=_HEADERS.get(settings.type),
        )
        base.stack.push_async_callback(client.close)
        return client

    def _index(self, settings: SourceSettings, client: SourceClient) -> Source:
        """An index of the Simple API, or a feed, which is one with ways of its own."""
        base = self._base
        kind = DevopsFeed if settings.type == "devops" else SimpleIndex
        index = kind(name=settings.name, url=settings.index_url, client=client, clock=base.clock, metrics=base.metrics)
        return self._build_remote(index, settings, fresh_s=settings.fresh_s, negative_ttl_s=settings.absent)

    def _releases(self, settings: SourceSettings, client: SourceClient) -> Source:
        releases = GithubReleases(
            name=settings.name,
            url=settings.index_url,
            repos=settings.repos,
            client=client,
            clock=self._base.clock,
            metrics=self._base.metrics,
            fresh_s=settings.fresh_s,
        )
        self._base.stack.push_async_callback(releases.close)
        return self._build_remote(releases, settings, fresh_s=0.0, negative_ttl_s=0.0)  # it remembers its listing by itself

    def _build_remote(self, source: Source, settings: SourceSettings, *, fresh_s: float, negative_ttl_s: float) -> Source:
        """A remote source with a memory: of its last good pages, of what it left out, of the bytes each name has."""
        memory = self._memory(source.name)
        # However fresh a source's pages are to be, they are never served at more than twice that age for the sake of speed.
        stale_while_revalidate_s = min(fresh_s, _STALE_WHILE_REVALIDATE_S)
        cached = self._build_cached(
            source,
            fresh_s=fresh_s,
            negative_ttl_s=negative_ttl_s,
            stale_while_revalidate_s=stale_while_revalidate_s,
            strict=settings.strict,
            find_kept=memory.find_last_good,
        )
        enriched = self._enriched(cached, memory)
        if settings.is_private:
            self.described_ahead.append(enriched)
        return enriched

    def _enriched(self, source: Source, memory: FileMemory) -> EnrichedSource:
        enriched = EnrichedSource(source, memory=memory, clock=self._base.clock, metrics=self._base.metrics)
        self._base.stack.push_async_callback(enriched.close)
        return enriched

    def _memory(self, source: str) -> FileHistory:
        """One for each source, however often it is built."""
        memory = self._memories.get(source)
        if memory is None:
            memory = FileHistory(ProjectRecords(self._store, source), clock=self._base.clock)
            self._base.stack.push_async_callback(memory.close)
            self.recorders[source] = self._memories[source] = memory
            self.telling.append(memory.changed)
        return memory

    def _build_cached(
        self,
        source: Source,
        *,
        fresh_s: float,
        negative_ttl_s: float,
        stale_while_revalidate_s: float = 0.0,
        strict: bool = False,
        find_kept: Callable[[str], Awaitable[ProjectPage | None]] | None = None,
    ) -> Cached:
        cached = Cached(
            source,
            clock=self._base.clock,
            metrics=self._base.metrics,
            fresh_s=fresh_s,
            negative_ttl_s=negative_ttl_s,
            stale_while_revalidate_s=stale_while_revalidate_s,
            strict=strict,
            find_kept=find_kept,
        )
        self._base.stack.push_async_callback(cached.close)
        return cached


def _only(settings: SourceSettings) -> NamePatterns | None:
    """The names that a source is for; ``None``: all of them."""
    return None if settings.only is None else NamePatterns(settings.only)

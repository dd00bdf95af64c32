"""Each configured source with everything around it.

From the outside in, as a request meets it::

Screened        what the rules withhold
                from there on as a private source, as a public one, or as one of each (wiring/views.py)
EnrichedSource  what the source left out, told from its FileHistory (index, devops, github) or BlobHistory (blob)
Cached          when to ask again, and what stands in meanwhile
DatedFeed       what the feed service says of its versions (devops)
the source      SimpleIndex, DevopsFeed, GithubReleases with their SourceClient; BlobPackages, BlobScan, Directory
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wheelgate.config import PUBLIC_INDEX, SourceSettings
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore, Source
from wheelgate.core.urls import place_key
from wheelgate.enrich.blob_history import BlobHistory
from wheelgate.enrich.blob_reader import BlobReader
from wheelgate.enrich.enriched import EnrichedSource
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.file_memory import FileMemory
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.enrich.records import FactRecorder
from wheelgate.feeds.judge import FeedJudge
from wheelgate.index.decision import Member
from wheelgate.index.policy_reload import rules_of
from wheelgate.index.read_ahead import ReadAhead
from wheelgate.runtime.signal import Signal
from wheelgate.sources.absence import AbsenceEvidence
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.blob_scan import BlobScan, ListedWhole
from wheelgate.sources.cached import Cached, FindKept
from wheelgate.sources.directory import Directory
from wheelgate.sources.emptiness import Emptiness
from wheelgate.sources.github_releases import GithubReleases
from wheelgate.sources.kept_listing import KeptListing
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.mirror_facts import MirroredContainer
from wheelgate.sources.offline import OfflineSource
from wheelgate.sources.simple_index import DevopsFeed, SimpleIndex
from wheelgate.storage import layout
from wheelgate.storage.change_log import Kind
from wheelgate.storage.containers import container_place
from wheelgate.storage.open_container import open_container
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination
from wheelgate.upstream.client import SourceClient
from wheelgate.wiring.clients import SourceClients
from wheelgate.wiring.feeds import build_dated_feed, build_kept_feed
from wheelgate.wiring.foundation import Foundation
from wheelgate.wiring.views import Views

if TYPE_CHECKING:
    from wheelgate.storage.azure import AzureStore

_STALE_WHILE_REVALIDATE_S = 600.0
"""How long a page may at most be served beyond its freshness, while its source is being asked."""


class Sources:
    """Builds the sources one after the other, and knows of each what others need: its client, its store, its targets."""

    def __init__(self, base: Foundation, views: Views) -> None:
        self._base = base
        self._views = views
        self._public_url = None if base.config.server.public_url is None else base.config.base_url
        self._ways_out = SourceClients(base)
        self.clients = self._ways_out.by_source
        """Of the sources that are asked over HTTP."""
        self.stores: dict[str, BlobStore] = {}
        """Of the sources that are containers."""
        self.targets: list[Destination] = []
        """Where uploads may go, in the operator's order."""
        self.changed = Signal()
        """Of sources that say by themselves when their answers change."""
        self.recorders: dict[str, FactRecorder] = {}
        """Of the sources whose listings leave something out."""
        self._listings: dict[str, Cached] = {}
        """Of the remote sources and the containers: what they said last."""
        self.absences: dict[str, AbsenceEvidence] = {}
        """Of the indexes: what a 404 of theirs is worth."""
        self.feeds: dict[str, FeedJudge] = {}
        """Of the feeds whose service tells what they are."""
        self.scans: list[ListedWhole] = []
        """Those that are listed whole, from the start of a server on."""
        self.completed: list[tuple[EnrichedSource, ReadAhead]] = []
        """Those whose pages are completed before anybody asks for what they leave out; and which files of each."""

    async def build_member(self, number: int, settings: SourceSettings) -> Member:
        """Build ``source[number]``, whole: what the index asks.

        Raises:
            ConfigurationError: its key or its certificates are not available.
        """
        return self._screen(await self._build_source(number, settings), settings)

    def ask_again(self, source: str, project: str) -> None:
        """Have a remote source asked anew for a project's page, at the next request for it."""
        self._listings[source].drop(project)
        self.changed.emit(project)

    def forget_answers(self, source: str) -> None:
        """Forget what a remote source said, but for the digests of its files and its last good pages."""
        self._listings[source].forget()
        if source in self.absences:
            self.absences[source].forget()
        self.changed.emit(None)

    def _screen(self, source: Source, settings: SourceSettings) -> Member:
        return self._views.build_member(source, settings, self._listings.get(settings.name, source))

    async def _build_source(self, number: int, settings: SourceSettings) -> Source:
        match settings.type:
            case "store":
                # Fresh until somebody announces a change: a listing per page would be a round trip per page.
                return self._build_writable(settings, self._base.store, layout.PACKAGES, math.inf, math.inf)
            case "blob":
                return await self._build_container(number, settings)
            case "directory":
                root = self._base.config.get_source_folder(settings)
                known = KnownProjects(settings.name, url=str(root), store=self._base.store)
                base = self._base
                directory = base.closing(
                    Directory(
                        name=settings.name,
                        root=root,
                        clock=base.clock,
                        known=known,
                        by_project=settings.layout == "project",
                        metrics=base.metrics,
                        table=base.table,
                    )
                )
                self.scans.append(directory)
                self._views.mirrors[settings.name] = directory.read_facts
                return self._cache(directory, 0.0, 0.0)  # it looks by itself; what stands in is remembered here
            case _ if self._base.config.is_offline(settings):
                return self._build_offline(settings)
            case "github":
                return self._build_releases(settings, self._ways_out.build(number, settings))
            case "index" | "devops":
                return self._build_index(settings, self._ways_out.build(number, settings))

    def _build_writable(
        self,
        settings: SourceSettings,
        store: BlobStore,
        prefix: str,
        fresh_s: float,
        negative_ttl_s: float,
        emptiness: Emptiness | None = None,
    ) -> Cached:
        """Build the source of a tree of packages by project, to which uploads may go."""
        is_writable = settings.type == "store" or settings.writable
        packages = BlobPackages(
            name=settings.name,
            store=store,
            prefix=prefix,
            clock=self._base.clock,
            names_fresh_s=fresh_s,
            public_url=self._public_url,
            tombstones=Tombstones(self._base.store) if is_writable else None,
            emptiness=emptiness,
            table=self._base.table,
        )
        self._base.closing(packages)
        cached = self._cache(packages, fresh_s, negative_ttl_s)
        if is_writable:
            self.targets.append(Destination(settings.name, store, prefix, _parse_only(settings)))
            self._base.changes.subscribe(Kind.PACKAGE, packages.forget)
            self._base.changes.subscribe(Kind.PACKAGE, cached.drop)
        return cached

    async def _build_container(self, number: int, settings: SourceSettings) -> Source:
        """Build a container that others or uploads fill. Nothing is asked of it yet: one that is down must stop no other."""
        base, clock = self._base, self._base.clock
        container = open_container(
            settings.url or "",
            config=base.config,
            keyring=base.keyring,
            clock=clock,
            key=f"source[{number}].account_key",
            name=settings.name,
            account_key=settings.account_key,
            whom=f"the container of source {settings.name}",
            metrics=base.metrics,
        )
        blobs = await base.stack.enter_async_context(container)
        self.stores[settings.name] = blobs
        emptiness = None
        if not settings.writable:  # else what it lacks is what nobody uploaded, or what was deleted through us
            emptiness = Emptiness(
                source=settings.name,
                is_folder=bool(container_place(settings.url or "").prefix),
                known=KnownProjects(settings.name, url=blobs.display_url, store=base.store),
                identity=blobs.identify,
            )
        if settings.layout == "project":
            cached = self._build_writable(settings, blobs, "", settings.fresh_s, settings.absent, emptiness)
        else:
            cached = self._build_scan(settings, blobs, emptiness)
        self._listings[settings.name] = cached
        mirrored = base.closing(MirroredContainer(cached, store=blobs, clock=clock, fresh_s=settings.fresh_s))
        self._views.mirrors[settings.name] = mirrored.read_facts
        reader = BlobReader(source=settings.name, blobs=blobs, store=base.store, spool=base.spool, clock=clock)
        history = base.closing(
            BlobHistory(ProjectRecords(base.store, settings.name, url=blobs.display_url), reader=reader, clock=clock)
        )
        self.recorders[settings.name] = history
        history.changed.subscribe(self.changed.emit)
        return self._enrich(mirrored, history)

    def _build_scan(self, settings: SourceSettings, blobs: AzureStore, emptiness: Emptiness | None) -> Cached:
        """Build a container in any layout, of which the listing itself is what is remembered."""
        base = self._base
        scan = BlobScan(
            name=settings.name,
            store=blobs,
            clock=base.clock,
            interval_s=settings.fresh_s,
            emptiness=emptiness,
            is_for_all=settings.only is None,
            kept=KeptListing(settings.name, url=blobs.display_url, store=base.store),
            metrics=base.metrics,
            table=base.table,
        )
        base.closing(scan).changed.subscribe(self.changed.emit)
        self.scans.append(scan)
        return self._cache(scan, 0.0, 0.0, scan.find_kept)

    def _build_offline(self, settings: SourceSettings) -> Source:
        """Build what the store holds of a source that is offline. There is no client for it at all."""
        copies = BlobPackages(
            name=settings.name,
            store=self._base.store,
            prefix=layout.cache_of(settings.name),
            place=place_key(settings.index_url),
            clock=self._base.clock,
            names_fresh_s=settings.fresh_s,
            table=self._base.table,
        )
        alone = self._base.config.server.offline
        source = OfflineSource(self._cache(copies, settings.fresh_s, settings.absent), alone=alone)
        return build_kept_feed(self._base, settings, source, self._views.judges) if settings.type == "devops" else source

    def _build_index(self, settings: SourceSettings, client: SourceClient) -> Source:
        """Build an index of the Simple API, or a feed, which is one with ways of its own."""
        base = self._base
        kind = DevopsFeed if settings.type == "devops" else SimpleIndex
        index = kind(
            name=settings.name,
            url=settings.index_url,
            client=client,
            clock=base.clock,
            metrics=base.metrics,
            known=KnownProjects(settings.name, url=settings.index_url, store=base.store),
            only=settings.own_names or (),
            expected=("pip",) if settings.index_url == PUBLIC_INDEX else (),
            is_last=self._is_last(settings),
        )
        self.absences[settings.name] = base.closing(index).absence
        source: Source = index
        if settings.type == "devops":
            judges = self._views.judges
            source, judge = build_dated_feed(base, settings, index, self._ways_out, lambda: judges.get(settings.name))
            if judge is not None:
                self.feeds[settings.name] = judges[settings.name] = judge
        return self._remember(source, settings, settings.fresh_s, settings.absent)

    def _is_last(self, settings: SourceSettings) -> bool:
        """True if its names are public, and nobody is asked after it."""
        public = [one.name for one in self._base.config.configured_sources if not one.is_private or one.may_pass_through]
        return not settings.is_private and public[-1:] in ([], [settings.name])

    def _build_releases(self, settings: SourceSettings, client: SourceClient) -> Source:
        releases = GithubReleases(
            name=settings.name,
            url=settings.index_url,
            repos=settings.repos,
            prereleases=settings.prereleases,
            client=client,
            clock=self._base.clock,
            metrics=self._base.metrics,
            fresh_s=settings.fresh_s,
            table=self._base.table,
        )
        return self._remember(self._base.closing(releases), settings, 0.0, 0.0)  # it remembers its listing by itself

    def _remember(self, source: Source, settings: SourceSettings, fresh_s: float, negative_ttl_s: float) -> Source:
        """Give a remote source a memory: of its last good pages, of what it left out, of the bytes each name has."""
        base = self._base
        history = base.closing(FileHistory(ProjectRecords(base.store, source.name, url=settings.index_url), clock=base.clock))
        self.recorders[source.name] = history
        history.changed.subscribe(self.changed.emit)
        base.changes.subscribe(Kind.RECORD, history.reread)
        cached = Cached(
            source,
            clock=base.clock,
            metrics=base.metrics,
            fresh_s=fresh_s,
            negative_ttl_s=negative_ttl_s,
            # However fresh a source's pages are to be, they are never served at more than twice that age for the sake of speed.
            stale_while_revalidate_s=min(fresh_s, _STALE_WHILE_REVALIDATE_S),
            strict=settings.strict,
            find_kept=history.find_last_good,
        )
        self._listings[source.name] = cached
        enriched = self._enrich(base.closing(cached), history)
        # What a public index leaves out is read when it is asked for; but the age of its files decides what is withheld.
        if settings.is_private or rules_of(base.config).cooldown_of(source.name, private=False) is not None:
            self.completed.append((enriched, self._views.build_read_ahead(settings, self.feeds.get(source.name))))
        return enriched

    def _enrich(self, source: Source, memory: FileMemory) -> EnrichedSource:
        base = self._base
        return base.closing(EnrichedSource(source, memory=memory, clock=base.clock, metrics=base.metrics))

    def _cache(self, source: Source, fresh_s: float, negative_ttl_s: float, find_kept: FindKept | None = None) -> Cached:
        base = self._base
        cached = Cached(
            source, clock=base.clock, metrics=base.metrics, fresh_s=fresh_s, negative_ttl_s=negative_ttl_s, find_kept=find_kept
        )
        return base.closing(cached)


def _parse_only(settings: SourceSettings) -> NamePatterns | None:
    """Read the names that a source is for; ``None``: all of them."""
    return None if settings.only is None else NamePatterns(settings.only)

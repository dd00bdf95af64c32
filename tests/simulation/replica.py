"""One simulated process, wired as the server wires it."""

from __future__ import annotations

import asyncio
import contextlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tests.simulation.former_release import FormerChanges
from tests.simulation.loop import VirtualClock, get_now_s
from tests.simulation.sources import FEED, FEED_FRESH_S, PUBLIC, FileHost, PrivateFeed, PublicIndex
from tests.simulation.store import Line
from tests.support.stores import INDEX
from wheelgate.core.errors import BlobNotFound
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Source
from wheelgate.enrich.enriched import EnrichedSource
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.runtime.generations import Generation
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout
from wheelgate.storage.change_log import Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.spool import Spool
from wheelgate.storage.tokens import Token, Tokens
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination, Uploads
from wheelgate.uploads.manage import UploadManager
from wheelgate.web.page_cache import PageCache

if TYPE_CHECKING:
    from tests.simulation.world import World

_FOREVER = float("inf")


@lru_cache(maxsize=1)
def _share_metrics() -> Metrics:
    """Counters that nobody reads: making them anew for every replica takes a tenth of all time."""
    return Metrics()


@lru_cache(maxsize=4)
def _open_spool(folder: Path) -> Spool:
    spool = Spool(folder / "spool")
    spool.prepare()
    return spool


class Replica:
    """One process over its own line to the store."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.is_former = number == world.former
        """True: of the release before, as far as announcements go."""
        self.born_s = get_now_s()
        self.clock = VirtualClock(world.skews_s[number])
        self.line = Line(world.shared, world.chance, world.weather, lambda what: world.note(f"r{number} {what}"))
        self.deaf_since_s = 0.0
        self.knows_private: dict[str, float] = {}
        """When it has itself seen a private file of a name first, or taken one."""
        self.told_absent: set[str] = set()
        """Names of which the private feed has told it that they are not there."""
        self._permissions: dict[str, tuple[Token, Generation]] = {}
        changes = (FormerChanges if self.is_former else StoreChanges)(self.line, self.clock)
        self._changes = changes
        self.claims = Claims(self.line, self.clock, changes)
        self.tokens = Tokens(self.line, self.clock, changes)
        self._metrics = _share_metrics()
        self._closing: list[Any] = []
        self.index = self._build_index(world)
        for kind in (Kind.PACKAGE, Kind.CLAIM):
            changes.subscribe(kind, self.index.invalidate)
        self.pages = PageCache(self.index, clock=self.clock, prefix="", metrics=self._metrics)
        self.index.subscribe(self.pages.drop)
        hosts = {name: cast(Any, FileHost(world)) for name in (PUBLIC, FEED)}
        self._delivery = Delivery(
            store=self.line,
            store_mode=DeliveryMode.REDIRECT,
            modes=dict.fromkeys(hosts, DeliveryMode.CACHE),
            clients=hosts,
            spool=_open_spool(world.folder),
            metrics=self._metrics,
        )
        destinations = [Destination("uploads", self.line, layout.PACKAGES)]
        self.uploads = Uploads(
            store=self.line,
            targets=destinations,
            index=self.index,
            claims=self.claims,
            changes=changes,
            clock=self.clock,
            metrics=self._metrics,
        )
        self.manager = UploadManager(destinations, store=self.line, changes=changes)
        self._closing = [self.pages, self._delivery, self.uploads, *self._closing]
        self._watch = asyncio.create_task(changes.watch())

    def _build_index(self, world: World) -> Merged:
        packages = BlobPackages(
            name="uploads", store=self.line, prefix=layout.PACKAGES, clock=self.clock, tombstones=Tombstones(self.line)
        )
        self._changes.subscribe(Kind.PACKAGE, packages.forget)
        uploads = Cached(packages, clock=self.clock, metrics=self._metrics, fresh_s=_FOREVER, negative_ttl_s=_FOREVER)
        self._changes.subscribe(Kind.PACKAGE, uploads.drop)
        self._closing.append(uploads)
        return Merged(
            [
                Member(uploads, private=True),
                Member(self._remember(PrivateFeed(world, self), FEED_FRESH_S), private=True),
                Member(self._remember(PublicIndex(world, self), 600.0), private=False),
            ],
            claims=self.claims,
            clock=self.clock,
            metrics=self._metrics,
            reserved=NamePatterns([]),
        )

    def _remember(self, source: Source, fresh_s: float) -> Source:
        """A remote source with its memory of digests and last good pages in the store."""
        history = FileHistory(ProjectRecords(self.line, source.name, url=INDEX), clock=self.clock)
        cached = Cached(
            source,
            clock=self.clock,
            metrics=self._metrics,
            fresh_s=fresh_s,
            negative_ttl_s=FEED_FRESH_S,
            find_kept=history.find_last_good,
        )
        enriched = EnrichedSource(cached, memory=history, clock=self.clock, metrics=self._metrics)
        self._closing += [enriched, cached, history]
        return enriched

    async def read_page(self, project: str) -> ProjectPage:
        """The page as a client is given it, finished and kept."""
        return (await self.pages.entry(project)).page

    async def download(self, file: File) -> bytes:
        """The bytes of a listed file, as the server's handler sends them."""
        try:
            return await self._send(file)
        except BlobNotFound:  # as web/files.py does: our copy was cleaned away
            self._delivery.forget()
            return await self._send(file)

    async def _send(self, file: File) -> bytes:
        body = await self._delivery.open(file, plain=True)
        assert not isinstance(body, Redirect)
        return b"".join([chunk async for chunk in body.chunks(0, None)])

    async def let_in(self, text: str) -> None:
        """Let the holder of a token in, or raise; warm requests ask only if what was found before still counts."""
        known = self._permissions.get(text)
        if known is None or not self.tokens.still_known(*known):
            self._permissions.pop(text, None)
            self._permissions[text] = await self.tokens.authenticate_with_generation(text)

    async def end(self) -> None:
        """Take the process away; nothing of it goes on."""
        self.line.has_crashed = True
        self.line.thaw()
        self._watch.cancel()
        with contextlib.suppress(BaseException):
            await self._watch
        for part in self._closing:
            with contextlib.suppress(BaseException):
                await part.close()

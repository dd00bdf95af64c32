"""One simulated process, wired as the server wires it, and the sources outside that it asks."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.simulation.loop import VirtualClock
from tests.simulation.store import Line
from tests.support.packages import wheel_name
from wheelgate.core.errors import ProjectNotFound
from wheelgate.core.model import File, ProjectPage, RemoteFile
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Source
from wheelgate.enrich.enriched import EnrichedSource
from wheelgate.enrich.file_history import FileHistory
from wheelgate.enrich.record_store import ProjectRecords
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout
from wheelgate.storage.change_log import Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.tokens import Tokens
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Destination, Uploads
from wheelgate.uploads.manage import UploadManager

if TYPE_CHECKING:
    from tests.simulation.world import World

PUBLIC, FEED = "pypi", "team"


class PublicIndex:
    """The public index: a stranger registers names there, and it notes who asks for what."""

    name = PUBLIC

    def __init__(self, world: World, replica: Replica) -> None:
        self._world = world
        self._replica = replica

    async def project_names(self) -> frozenset[str]:
        return frozenset()

    async def project_page(self, project: str) -> ProjectPage:
        self._world.check_asking(self._replica, project)
        await asyncio.sleep(0.05)
        if project not in self._world.registered:
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        return self._replica.page(self.name, project, "99.0", self._world.public_digest[project])


class PrivateFeed:
    """A private feed that gains names and loses them."""

    name = FEED

    def __init__(self, world: World, replica: Replica) -> None:
        self._world = world
        self._replica = replica

    async def project_names(self) -> frozenset[str]:
        return frozenset(self._world.published)

    async def project_page(self, project: str) -> ProjectPage:
        await asyncio.sleep(0.05)
        if project not in self._world.published:
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        return self._replica.page(self.name, project, "5.0", "5" * 64)


class Replica:
    """One process over its own line to the store."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.born_s = asyncio.get_running_loop().time()
        self.clock = VirtualClock(world.skews_s[number])
        self.line = Line(world.shared, world.chance, world.weather, lambda what: world.note(f"r{number} {what}"))
        self.knows_private: dict[str, float] = {}
        """When it has itself seen a private file of a name first, or taken one."""
        changes = StoreChanges(self.line, self.clock)
        self.claims = Claims(self.line, self.clock, changes)
        self.tokens = Tokens(self.line, self.clock, changes)
        self._metrics = Metrics()
        self._closing: list[Cached | EnrichedSource | FileHistory] = []
        packages = BlobPackages(
            name="uploads", store=self.line, prefix=layout.PACKAGES, clock=self.clock, tombstones=Tombstones(self.line)
        )
        changes.subscribe(Kind.PACKAGE, packages.forget)
        forever = float("inf")
        uploads = Cached(packages, clock=self.clock, metrics=self._metrics, fresh_s=forever, negative_ttl_s=forever)
        changes.subscribe(Kind.PACKAGE, uploads.drop)
        self._closing.append(uploads)
        self.index = Merged(
            [
                Member(uploads, private=True),
                Member(self._remember(PrivateFeed(world, self), 60.0), private=True),
                Member(self._remember(PublicIndex(world, self), 600.0), private=False),
            ],
            claims=self.claims,
            clock=self.clock,
            metrics=self._metrics,
            reserved=NamePatterns([]),
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
        self._watch = asyncio.create_task(changes.watch())

    def _remember(self, source: Source, fresh_s: float) -> Source:
        """A remote source with its memory of digests and last good pages in the store."""
        history = FileHistory(ProjectRecords(self.line, source.name), clock=self.clock)
        cached = Cached(
            source,
            clock=self.clock,
            metrics=self._metrics,
            fresh_s=fresh_s,
            negative_ttl_s=60.0,
            find_kept=history.find_last_good,
        )
        enriched = EnrichedSource(cached, memory=history, clock=self.clock, metrics=self._metrics)
        self._closing += [enriched, cached, history]
        return enriched

    def page(self, source: str, project: str, version: str, digest: str) -> ProjectPage:
        """What an index lists of a project: one wheel."""
        filename = wheel_name(project, version)
        file = File(
            filename=filename,
            project=project,
            source=source,
            location=RemoteFile(f"https://files.example.com/{filename}", source),
            hashes={"sha256": digest},
        )
        return ProjectPage(project=project, files=(file,), versions=(version,), as_of=self.clock.now())

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

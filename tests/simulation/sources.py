"""The places outside that simulated replicas ask: the public index, a private feed, and where their files lie."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from tests.simulation.loop import get_now_s, pause
from tests.support.packages import wheel_name
from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import File, ProjectPage, RemoteFile

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.world import World

PUBLIC, FEED = "pypi", "team"
FEED_FRESH_S = 15.0
"""So long an answer of the private feed, and any "not there", may be repeated."""
_VERSIONS = {PUBLIC: "99.0", FEED: "5.0"}


class Outside:
    """The state of everything that is not ours."""

    def __init__(self) -> None:
        self.registered_s: dict[str, float] = {}
        """Names that a stranger has registered in public, each since when."""
        self.public_content: dict[str, int] = {}
        """Of the one public file of a name; a compromised index changes it."""
        self.changed_s: dict[str, float] = {}
        """When somebody last put other bytes under a public name."""
        self.published: set[str] = set()
        """Names that the private feed lists a file of."""
        self.feed: Literal["well", "slow", "failing"] = "well"
        self.failing_since_s: float | None = None

    def register(self, project: str, content: int) -> None:
        """Let a stranger have a name, or put other bytes under the file that is there."""
        self.registered_s.setdefault(project, get_now_s())
        self.changed_s[project] = get_now_s()
        self.public_content[project] = content

    def turn_feed(self, state: Literal["well", "slow", "failing"]) -> None:
        """Let the private feed be well, answer late, or not at all."""
        self.feed = state
        self.failing_since_s = None if state != "failing" else self.failing_since_s or get_now_s()

    def get_body(self, source: str, project: str) -> bytes:
        """The bytes of the one file that a source has of a project now."""
        return _make_body(source, project, self.public_content.get(project, 0) if source == PUBLIC else 0)[0]

    def list_page(self, source: str, project: str, replica: Replica) -> ProjectPage:
        """List what a source has of a project: one wheel."""
        _, digest = _make_body(source, project, self.public_content.get(project, 0) if source == PUBLIC else 0)
        filename = wheel_name(project, _VERSIONS[source])
        file = File(
            filename=filename,
            project=project,
            source=source,
            location=RemoteFile(f"https://files.example.com/{source}/{project}/{filename}", source),
            hashes={"sha256": digest},
        )
        return ProjectPage(project=project, files=(file,), versions=(_VERSIONS[source],), as_of=replica.clock.now())


@lru_cache(maxsize=64)
def _make_body(source: str, project: str, content: int) -> tuple[bytes, str]:
    body = f"{source} {project} {content}".encode()
    return body, hashlib.sha256(body).hexdigest()


class PublicIndex:
    """The public index: a stranger registers names there, and the judge hears who asks for what."""

    name = PUBLIC

    def __init__(self, world: World, replica: Replica) -> None:
        self._world = world
        self._replica = replica

    async def project_names(self) -> frozenset[str]:
        return frozenset()

    async def project_page(self, project: str) -> ProjectPage:
        self._world.judge.check_asking(self._replica, project)
        await pause(0.05)
        outside = self._world.outside
        if project not in outside.registered_s:
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        return outside.list_page(self.name, project, self._replica)


class PrivateFeed:
    """A private feed that gains names and loses them, and has its bad days."""

    name = FEED

    def __init__(self, world: World, replica: Replica) -> None:
        self._world = world
        self._replica = replica

    async def project_names(self) -> frozenset[str]:
        return frozenset(self._world.outside.published)

    async def project_page(self, project: str) -> ProjectPage:
        outside = self._world.outside
        await pause(self._world.chance.uniform(1.0, 8.0) if outside.feed == "slow" else 0.05)
        if outside.feed == "failing":
            raise UpstreamUnavailable(f"source {self.name} is unreachable", source=self.name)
        if project not in outside.published:
            self._replica.told_absent.add(project)
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        return outside.list_page(self.name, project, self._replica)


class SmallAnswer(msgspec.Struct, frozen=True):
    """A file's answer that comes in one piece."""

    body: bytes
    status: int = 200
    coding: str = ""
    doubt: str | None = None

    @property
    def total(self) -> int:
        return len(self.body)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.body


class FileHost:
    place = "here"

    """What stands in for the client of a source: it fetches files."""

    def __init__(self, world: World) -> None:
        self._world = world

    @asynccontextmanager
    async def file(
        self, url: str, *, accept: str | None = None, start: int | None = None, end: int | None = None
    ) -> AsyncIterator[SmallAnswer]:
        source, project = url.split("/")[3:5]
        await pause(0.05)
        outside = self._world.outside
        if source == FEED and outside.feed == "failing":
            raise UpstreamUnavailable(f"source {source} is unreachable", source=source)
        yield SmallAnswer(outside.get_body(source, project))

"""A mirror among the sources of an index: whose a project is, as its manifest tells, and what nobody can tell."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.packages import sdist_bytes, sha256
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import BlobNotFound
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Decision, Member, Outcome
from wheelgate.index.merged import Merged
from wheelgate.index.mirrored import MirrorJudge, OwnFiles, ToldSource, UntoldSource
from wheelgate.index.ownership import GuardedSource
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.cached import Cached
from wheelgate.sources.directory import RESCAN_S, Directory
from wheelgate.sources.mirror_facts import MANIFEST_NAME, MirroredContainer
from wheelgate.sources.public_names import PublicNames
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

FRESH_S = 60.0


class World:
    """A folder that is a mirror, and a public index beside it that has every name."""

    def __init__(self, root: Path, blobs: WatchedStore | None = None) -> None:
        """``blobs``: of a container in place of the folder."""
        self.root = root
        self.blobs = blobs
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.claims = Claims(self.store, self.clock, StoreChanges(self.store, self.clock))
        self.pypi = FakeSource("pypi", self.clock)
        self.entries: list[dict[str, object]] = []
        metrics, book = Metrics(), RuleBook(Rules(cooldown=timedelta(days=3)))
        folder = Directory(name="mirror", root=root, clock=self.clock) if blobs is None else self._list(blobs)
        read = folder.read_facts

        def screened(source: object, private: bool) -> Screened:
            return Screened(source, private=private, book=book, clock=self.clock, metrics=metrics)  # type: ignore[arg-type]

        names = PublicNames(UntoldSource(folder, read_facts=read), remedy="say private", clock=self.clock, metrics=metrics)
        guarded = GuardedSource(folder, names=names, book=book, claims=self.claims)
        told = ToldSource(folder, guarded=guarded, read_facts=read)
        own = OwnFiles(told, read_facts=read, book=book, clock=self.clock, metrics=metrics)
        judge = MirrorJudge("mirror", read_facts=read, claims=self.claims, clock=self.clock)
        self.index = Merged(
            [
                Member(screened(own, True), True, None, judge, Member(screened(folder, False), False)),
                Member(screened(self.pypi, False), False),
            ],
            claims=self.claims,
            clock=self.clock,
            metrics=metrics,
            reserved=NamePatterns(()),
        )

    def _list(self, blobs: WatchedStore) -> MirroredContainer:
        packages = BlobPackages(name="mirror", store=blobs, prefix="", clock=self.clock)
        cached = Cached(packages, clock=self.clock, metrics=Metrics(), fresh_s=FRESH_S, negative_ttl_s=FRESH_S)
        return MirroredContainer(cached, store=blobs, clock=self.clock, fresh_s=FRESH_S)

    async def mirror(self, project: str, version: str) -> None:
        """Mirror a public file into the container, as a run of `mirror` does: the manifest is told of it before."""
        assert self.blobs is not None
        body, path = sdist_bytes(project, version), f"{project}/{project}-{version}.tar.gz"
        self.entries.append({"path": path, "sha256": sha256(body), "size": len(body), "source": "there", "origin": "public"})
        await self.write_blob(json.dumps({"wheelgate_mirror": 2, "inputs": {}, "files": self.entries, "seen": []}).encode())
        uploaded = (self.clock.now() - timedelta(days=9)).isoformat()
        await self.blobs.put_if_absent(path, body, {"sha256": sha256(body), "upload_time": uploaded})

    async def write_blob(self, text: bytes) -> None:
        """Write its manifest."""
        assert self.blobs is not None
        with contextlib.suppress(BlobNotFound):
            await self.blobs.delete(MANIFEST_NAME)
        await self.blobs.put_if_absent(MANIFEST_NAME, text, {})

    def put(self, project: str, version: str, origin: str | None = "", *, days: int = 9) -> None:
        """Put a file there. ``origin``: as the manifest says; ``None``: it does not say; empty: it does not have it."""
        body = sdist_bytes(project, version)
        path = self.root / project / f"{project}-{version}.tar.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        if origin != "":
            entry = {"path": f"{project}/{path.name}", "sha256": sha256(body), "size": len(body), "source": "there"}
            entry["upload_time"] = (self.clock.now() - timedelta(days=days)).isoformat()
            self.entries.append(entry | ({} if origin is None else {"origin": origin}))
        self.write(json.dumps({"wheelgate_mirror": 2, "inputs": {}, "files": self.entries, "seen": []}))

    def write(self, text: str) -> None:
        (self.root / "new").write_text(text)
        (self.root / "new").replace(self.root / MANIFEST_NAME)
        self.clock.move(RESCAN_S)

    async def decide(self, project: str) -> Decision:
        return await self.index.decide(project)

    async def find(self, project: str) -> tuple[str | None, list[str], bool]:
        """Who answers, with what versions, and whether the name is claimed then."""
        known = await self.decide(project)
        files = [] if known.page is None else [file.filename.removesuffix(".tar.gz").split("-")[1] for file in known.page.files]
        return known.owner, files, await self.claims.holds(project)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_each_project_is_whose_the_manifest_says(world: World) -> None:
    world.put("own", "1.0", "private", days=0)
    world.put("young", "1.0", "public", days=0)
    world.put("young", "0.9", "public")
    world.put("dropped", "1.0")
    for project in ("own", "dropped"):
        world.pypi.publish(project, "99.0")
    assert await world.find("own") == ("mirror", ["1.0"], True)
    assert await world.find("dropped") == ("mirror", ["1.0"], True)
    assert await world.find("young") == ("mirror", ["0.9"], False), "rules for public files hold, and a claim never"


async def test_of_an_own_project_public_files_are_withheld_or_go_by_their_rules(world: World) -> None:
    for version, origin, days in (("1.0", "private", 0), ("2.0", "public", 9), ("3.0", "merged", 9), ("4.0", "merged", 0)):
        world.put("own", version, origin, days=days)
    owner, files, claimed = await world.find("own")
    assert (owner, files, claimed) == ("mirror", ["1.0", "3.0"], True)
    page = (await world.decide("own")).page
    assert page is not None
    assert {entry.filename: entry.rule for entry in page.withheld} == {
        "own-2.0.tar.gz": "foreign",
        "own-4.0.tar.gz": "cooldown",
    }
    world.clock.move(4 * 86_400)
    assert (await world.find("own"))[1] == ["1.0", "3.0", "4.0"]


async def test_what_it_had_claimed_before_stays_its_own(world: World) -> None:
    world.put("known", "1.0")
    assert await world.find("known") == ("mirror", ["1.0"], True)
    world.put("known", "1.0", "public")
    world.put("known", "2.0", "public", days=0)
    assert await world.find("known") == ("mirror", ["1.0"], True), "and its files go by the rules for public ones"


async def test_public_names_that_are_told_cast_no_doubt_on_others(world: World) -> None:
    for project in ("certifi", "idna", "six"):
        world.put(project, "1.0", "public")
    world.put("mine", "1.0")
    assert await world.find("mine") == ("mirror", ["1.0"], True)


async def test_what_a_former_release_mirrored_is_private_or_in_doubt(world: World) -> None:
    world.put("own", "1.0", None)
    world.put("other", "1.0", None)
    assert await world.find("own") == ("mirror", ["1.0"], True), "as in any private source"
    world.put("told", "1.0", "public")
    assert await world.find("own") == ("mirror", ["1.0"], True), "it is claimed"
    world.pypi.publish("other", "99.0")
    known = await world.decide("other")
    assert "run `wheelgate mirror` there again for it" in str(known.error)
    assert not await world.claims.holds("other")


async def test_a_manifest_that_nobody_can_read_sends_no_name_elsewhere(world: World) -> None:
    world.put("own", "1.0", "private")
    world.write("{")
    world.pypi.publish("own", "99.0")
    known = await world.decide("own")
    assert known.owner is None
    assert known.error is not None


async def test_a_file_of_other_bytes_is_withheld(world: World) -> None:
    world.put("own", "1.0", "private")
    path = world.root / "own" / "own-1.0.tar.gz"
    body = path.read_bytes()
    path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    world.clock.move(RESCAN_S)
    page = (await world.decide("own")).page
    assert page is not None
    assert ([*page.files], [entry.rule for entry in page.withheld]) == ([], ["digest"])


@pytest.fixture
def inside(tmp_path: Path) -> World:
    return World(tmp_path, WatchedStore())


async def test_what_was_mirrored_since_the_manifest_was_read_is_not_claimed(inside: World) -> None:
    await inside.mirror("first", "1.0")
    assert await inside.find("first") == ("mirror", ["1.0"], False)
    inside.clock.move(1)
    await inside.mirror("second", "1.0")
    inside.clock.move(1)
    assert await inside.find("second") == ("mirror", ["1.0"], False)


async def test_while_a_manifest_cannot_be_read_anew_nothing_more_is_claimed(inside: World) -> None:
    await inside.mirror("first", "1.0")
    body = sdist_bytes("mine", "1.0")
    assert inside.blobs is not None
    await inside.blobs.put_if_absent("mine/mine-1.0.tar.gz", body, {"sha256": sha256(body)})
    assert await inside.find("mine") == ("mirror", ["1.0"], True)
    inside.clock.move(1)
    await inside.mirror("second", "1.0")
    await inside.write_blob(b"{")
    for _ in range(2):
        inside.clock.move(1)
        known = await inside.decide("second")
        assert "nobody can tell whether second is source mirror's own" in str(known.error)
        assert not await inside.claims.holds("second")
        assert await inside.find("mine") == ("mirror", ["1.0"], True), "which was claimed"
        inside.clock.move(FRESH_S)


async def test_what_a_manifest_said_of_a_public_name_is_what_was_said_before_an_outage(inside: World) -> None:
    """Its last account may be a day old, and the project private by now."""
    await inside.mirror("first", "1.0")
    inside.pypi.publish("first", "1.0", upload_time=inside.clock.now() - timedelta(days=9))
    assert await inside.find("first") == ("pypi", ["1.0"], False)
    read_until = inside.clock.now() + timedelta(seconds=FRESH_S)
    await inside.write_blob(b"{")
    inside.clock.move(5 * 3600)
    known = await inside.decide("first")
    judgement = known.answers[0].judgement
    assert known.answers[0].outcome is Outcome.ABSENT_BEFORE_OUTAGE
    assert judgement is not None
    assert judgement.last_heard == read_until
    assert known.owner == "pypi"

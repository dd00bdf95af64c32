"""A warm answer equals a fresh one at every moment: hypothesis plays the publishers, the network, the operator and the clock.

Two indexes stand before the same sources. One is asked through the cache of finished pages; the other decides and renders anew at
each request. They must give the same bytes, but for exactly this: a page that rests on a remote source's *page* no longer fresh
may be the one given before, while that source is asked. Then

* nothing has been announced since (no upload, no scan, no rule), and no rule's moment has passed;
* no "not there" it rests on has run out;
* it is within twice the source's freshness;
* and the next answer is the fresh one.
"""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore
from tests.web.test_page_cache import Ruled
from wheelgate.core.errors import WheelgateError
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Decision, Member, Outcome
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import HTML, JSON, LEGACY_HTML
from wheelgate.simple_api.render import render_page
from wheelgate.sources.cached import Cached
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.web.page_cache import PageCache

FRESH_S = {"uploads": float("inf"), "feed": 60.0, "public": 600.0}
ABSENT_S = {"uploads": float("inf"), "feed": 100.0, "public": 60.0}
OVERSTAY_S = {"uploads": 0.0, "feed": 60.0, "public": 600.0}
KINDS = [JSON, HTML, LEGACY_HTML]
PROJECTS = ["acme-lib", "left-pad"]

# Once claimed a name is never asked of the public index again, so one stays public for good.
a_place = st.sampled_from([("uploads", "acme-lib"), ("feed", "acme-lib"), ("public", "acme-lib"), *[("public", "left-pad")] * 3])
a_project = st.sampled_from(PROJECTS)


class Deciding:
    """One index before the sources."""

    def __init__(self, sources: dict[str, FakeSource], clock: FakeClock) -> None:
        metrics = Metrics()
        cached = {
            name: Cached(
                source,
                clock=clock,
                metrics=metrics,
                fresh_s=FRESH_S[name],
                negative_ttl_s=ABSENT_S[name],
                stale_while_revalidate_s=OVERSTAY_S[name],
            )
            for name, source in sources.items()
        }
        self.uploads = cached["uploads"]
        self.ruled = Ruled(cached["public"], clock)
        self.index = Merged(
            [Member(self.uploads, private=True), Member(cached["feed"], private=True), Member(self.ruled, private=False)],
            claims=Claims(MemoryStore(), clock, StoreChanges(MemoryStore(), clock)),
            clock=clock,
            metrics=metrics,
            reserved=NamePatterns([]),
        )
        self.pages = PageCache(self.index, clock=clock, prefix="/below", metrics=metrics)
        self.index.subscribe(self.pages.drop)


class Warm(RuleBasedStateMachine):
    """The machine."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.sources = {name: FakeSource(name, self.clock) for name in FRESH_S}
        self.warm, self.fresh = Deciding(self.sources, self.clock), Deciding(self.sources, self.clock)
        self.given: dict[str, tuple[bytes, Decision]] = {}
        """What the fresh index said when the warm one last agreed with it."""
        self.announced: set[str] = set()
        """Projects for which nothing was asked since something was announced."""
        self.versions = 0
        self.publish(("public", "left-pad"))

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.warm.pages.close())
            self.loop.close()

    def announce(self) -> None:
        for deciding in (self.warm, self.fresh):
            deciding.uploads.drop()
            deciding.index.invalidate()
        self.announced.update(PROJECTS)

    @rule(place=a_place)
    def publish(self, place: tuple[str, str]) -> None:
        source, project = place
        self.versions += 1
        self.sources[source].publish(project, f"{self.versions}.0")
        if source == "uploads":
            self.announce()

    @rule(place=a_place)
    def remove(self, place: tuple[str, str]) -> None:
        source, project = place
        self.sources[source].remove(project)
        if source == "uploads":
            self.announce()

    @rule(
        place=a_place,
        change=st.sampled_from(["publish", "remove", "yank"]),
        asked_before=st.booleans(),
        asked_between=st.booleans(),
        seconds=st.sampled_from([41, 61, 99, 101, 550]),
    )
    def change_and_wait(
        self, place: tuple[str, str], change: str, asked_before: bool, asked_between: bool, seconds: float
    ) -> None:
        """What it takes to be overtaken."""
        _, project = place
        if asked_before:
            self.ask(project, JSON)
        getattr(self, change)(place)
        if asked_between:
            self.ask(project, JSON)
        self.clock.move(seconds)
        self.ask(project, JSON)

    @rule(place=a_place)
    def yank(self, place: tuple[str, str]) -> None:
        source, project = place
        files = self.sources[source].files.get(project, {})
        for name, file in list(files.items())[:1]:
            files[name] = msgspec.structs.replace(file, yanked="broken")
            self.sources[source]._pages.pop(project, None)
        if source == "uploads":
            self.announce()

    @rule(source=st.sampled_from(["feed", "public"]))
    def fall_silent(self, source: str) -> None:
        self.sources[source].fail()

    @rule()
    def answer_again(self) -> None:
        for source in self.sources.values():
            source.mend()

    @rule(seconds=st.sampled_from([None, 40, 400]), project=a_project)
    def other_rules(self, seconds: float | None, project: str) -> None:
        """None, or one that holds the newest public file back for so long from now."""
        newest = max((file.upload_time for file in self.sources["public"].files.get(project, {}).values()), default=None)
        age = timedelta() if seconds is None or newest is None else self.clock.now() - newest + timedelta(seconds=seconds)
        for deciding in (self.warm, self.fresh):
            deciding.ruled.age = age
        self.announce()

    @rule(seconds=st.sampled_from([0.5, 6, 41, 59, 61, 99, 101, 550, 1300]), project=a_project, kind=st.sampled_from(KINDS))
    def time_passes(self, seconds: float, project: str, kind: str) -> None:
        self.clock.move(seconds)
        self.ask(project, kind)

    @rule()
    def pack(self) -> None:
        """Pages are packed a moment after they were answered with; here, at any moment."""
        for entry in self.warm.pages._entries.values():
            for files in entry.files.list_unpacked():
                files.pack()

    @rule(project=a_project, kind=st.sampled_from(KINDS))
    def ask_now(self, project: str, kind: str) -> None:
        self.ask(project, kind)

    def ask(self, project: str, kind: str) -> None:
        self.loop.run_until_complete(self._ask(project, kind))

    async def _ask(self, project: str, kind: str) -> None:
        warm = await self._warm(project, kind)
        await self._settled()
        decision = await self.fresh.index.decide(project)
        fresh = self._rendered(decision, kind)
        if warm != fresh:
            self._allowed_to_differ(project, warm, kind)
            assert await self._warm(project, kind) == fresh, "the next answer is the fresh one"
        self.given[project] = (self._rendered(decision, JSON), decision)
        self.announced.discard(project)

    def _allowed_to_differ(self, project: str, warm: bytes, kind: str) -> None:
        assert project in self.given, "it was never given before"
        _, earlier = self.given[project]
        assert warm == self._rendered(earlier, kind), "it is neither the fresh answer nor the one before"
        assert project not in self.announced, "something was announced since"
        now = self.clock.monotonic()
        assert earlier.freshness.valid_until is None or self.clock.now() < earlier.freshness.valid_until, (
            "a rule's moment has passed"
        )
        for answer in earlier.answers:
            if answer.outcome is Outcome.ABSENT:
                assert now < answer.error.fresh_until, f"{answer.source} must be heard again"  # type: ignore[union-attr]
            elif answer.page is not None:
                assert now < answer.page.freshness.fresh_until + OVERSTAY_S[answer.source], f"{answer.source}'s page is too old"

    async def _warm(self, project: str, kind: str) -> bytes:
        try:
            plain, entry = await self.warm.pages.render(project, kind, gzip=False)
        except WheelgateError as error:
            return f"{type(error).__name__}".encode()
        for file in entry.page.files:
            assert self.warm.pages.find_file(entry, file.filename) == file, "everything listed can be had"
            break
        assert gzip.decompress(entry.responses[kind, True].body) == plain.body
        return plain.body

    @staticmethod
    def _rendered(decision: Decision, kind: str) -> bytes:
        try:
            return b"".join(render_page(decision.require_page(), kind, "/below"))
        except WheelgateError as error:
            return f"{type(error).__name__}".encode()

    async def _settled(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    @invariant()
    def nothing_is_left_running(self) -> None:
        if hasattr(self, "loop"):
            assert not self.warm.pages._refreshing


TestWarm = Warm.TestCase
TestWarm.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)

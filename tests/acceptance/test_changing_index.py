"""Promises 1, 12 and 13 in any history of an index that changes its manner: two replicas over one store, wired as the server.

What the machine objects to at every step:

* the public index is asked for a private name;
* a name is claimed that the private index only passes through;
* a file in ``cache/`` is none that its index ever published, whole;
* once the index is right, and every answer has been given its time, somebody does not get what there is.

It was seen to find each of these defences missing:

=================================================================================  ====================================
a 404 counts only with evidence                                                    ``sources/absence.py``
what else it passes through is asked of a private index before a first claim       ``index/ownership.py``
and not from memory                                                                ``index/ownership.py``
what comes without a stated digest is proven whole                                 ``storage/fills.py``
what comes is compared with what is stated                                         ``storage/fills.py``
a doubt of an index ends                                                           ``sources/absence.py``
a private source that fails is not passed over                                     ``index/listing_wait.py``
what one replica saw is no news to another that began before it                    ``sources/known_projects.py``
=================================================================================  ====================================

Two illnesses cannot be told from health. What they may do, and for how long, stands in docs/reliability.md ("What is not
promised"), and :meth:`World.may_leak` is that paragraph: whatever goes beyond it is an alarm.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.clock import FakeClock
from tests.support.histories import run_histories
from tests.support.index import SIMPLE_JSON, FakeIndex, running
from tests.support.manners import NOT_FOUND, S3, TITLED, UNTITLED, WAF, Mannered, Say, empty, leads, page
from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.config import load
from wheelgate.core.errors import BlobNotFound, WheelgateError
from wheelgate.core.model import STALE_IF_ERROR_S, File
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery
from wheelgate.index.decision import Decision
from wheelgate.services import Services
from wheelgate.sources.absence import KIND_S, SEEN_S
from wheelgate.sources.public_names import WELL_KNOWN
from wheelgate.storage import layout
from wheelgate.wiring import open_services

PRIVATE = tuple(f"acme-{letter}" for letter in "abcdefgh")
PUBLIC = ("requests", "left-pad")
OWN, OUTSIDE = "1.0", "99.0"
NEGATIVE_S = 60.0
"""For which "not there" is fresh."""
RETRY_S = 5.0
"""For which what stands in for a source that fails does so unasked."""
LONG_S = 700.0
"""Beyond the freshness of every answer and the longest rest of an address."""
LOST, FILES_LOST = "all lost, or none there yet", "files lost"
MAINTENANCE = "<html><head><title>Back soon</title></head><body>Maintenance</body></html>"

Manner = tuple[Say, Say | None, Say | None]
"""What is answered for names that are lacked, for those that are there, and at the root; ``None``: as an index does."""


def manners(public: str) -> tuple[dict[str, Manner], dict[str, Manner]]:
    """The manners of an index that is well, and of one that is ill. ``public``: the URL of the public index."""
    down, portal, away = page(MAINTENANCE, status=503, Retry_After="1"), page(MAINTENANCE), leads("https://status.example.com/")
    over = leads(f"{public}NAME/")
    well: dict[str, Manner] = {
        "404": (NOT_FOUND, None, None),
        "403": (S3, None, page("<Error><Code>AccessDenied</Code></Error>", "application/xml", 403)),
        "empty pages": (empty, None, None),
        "empty pages in HTML": (TITLED, None, None),
        "redirects to a source": (over, None, None),
    }
    ill: dict[str, Manner] = {
        "maintenance, 200": (portal, portal, portal),
        "maintenance, 503": (down, down, down),
        "maintenance, 404": (NOT_FOUND, NOT_FOUND, NOT_FOUND),
        "redirects everything elsewhere": (away, away, away),
        "redirects everything to a source": (over, over, leads(public)),
        "refuses everything": (WAF, WAF, WAF),
        "forbids everything": (S3, S3, S3),
        "empty": (empty, empty, None),
        "blank": (UNTITLED, UNTITLED, UNTITLED),
        "no body": (page(), page(), page()),
        "pages lost": (NOT_FOUND, NOT_FOUND, None),
        FILES_LOST: (NOT_FOUND, empty, None),
        LOST: (NOT_FOUND, NOT_FOUND, page('{"meta": {"api-version": "1.1"}, "projects": []}', SIMPLE_JSON)),
    }
    return well, ill


@dataclass
class Changing(Mannered):
    """An index whose files change, too."""

    sends: str = "right"
    """What is sent for a file."""
    illness: str = ""
    healed_s: float = -math.inf
    shown: bool = False
    """It answered for a project as an index, to anybody."""
    words: dict[Say, float] = field(default_factory=dict)
    """How it said "not there" while it was well, and when it last was."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if self.sends != "right" and path.startswith("/packages/") and not path.endswith(".metadata"):
            project, name = path.split("/")[2:4]
            published = self.projects.get(project, {}).get(name)
            if published is not None:
                return web.Response(body=spoil(published.body, self.sends), content_type="application/octet-stream")
        self.shown |= not self.illness and path.removeprefix("/simple/").strip("/") in self.projects
        return await super().answer(request)

    @property
    def shows_itself(self) -> bool:
        """It answers as an index for names that nobody can have, and at its root, or for projects that it has."""
        return not self.illness or self.illness == FILES_LOST or self.may_be_new

    @property
    def may_be_new(self) -> bool:
        """It answers as an index without projects would, and nobody saw it have any."""
        return self.illness == LOST and not self.shown

    def behave(self, manner: Manner, illness: str, now_s: float) -> None:
        """Answer in this manner from now on."""
        if self.shows_itself:
            self.words[self.unknown] = now_s
        if self.illness and not illness:
            self.healed_s = now_s
        self.illness = illness
        self.unknown, self.known, self.root = manner


def spoil(body: bytes, how: str) -> bytes:
    """What an index sends that sends something else."""
    changed = bytearray(body)
    changed[60] ^= 1
    return {
        "maintenance": MAINTENANCE.encode(),
        "nothing": b"",
        "half": body[: len(body) // 2],
        "another wheel": wheel_bytes("other", "5.0"),
        "another version": wheel_bytes("acme-a", "7.0"),
        "damaged": bytes(changed),
    }[how]


async def read(delivery: Delivery, file: File) -> bytes:
    answer = await delivery.open(file, plain=True)
    assert not isinstance(answer, Redirect)
    return b"".join([chunk async for chunk in answer.chunks(0, None)])


class World:
    """A private index that may be at either of two addresses, a public one behind it, and two processes over one store."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.public = stack.enter_context(running(FakeIndex()))
        self.places = [stack.enter_context(running(Changing())) for _ in range(2)]
        for place in self.places:
            place.projects = self.places[0].projects
        self.well, self.ill = manners(self.public.url)
        self.genuine: dict[str, set[str]] = {}
        """Digests of what was published under each file name, whether there or outside."""
        for project in (*PUBLIC, *PRIVATE, *WELL_KNOWN):
            self.publish(self.public, project, OUTSIDE)
        for project in PRIVATE:
            self.publish(self.places[0], project, OWN)
        self.replicas: list[tuple[Services, AsyncExitStack] | None] = [None, None]
        self.at = [0, 0]
        self.heard_s = [-math.inf, -math.inf]
        """When each process last asked the index while that was well."""
        self.believed_s: dict[tuple[int, str], float] = {}
        """When a process was told "not there" of a private name by an illness that cannot be told from health."""
        self.asked_outside = dict.fromkeys(PRIVATE, 0)
        """How often the public index was asked for it, as may be."""

    def publish(self, index: FakeIndex, project: str, version: str, **entry: Any) -> None:
        body = wheel_bytes(project, version)
        self.genuine.setdefault(wheel_name(project, version), set()).add(hashlib.sha256(body).hexdigest())
        index.publish(project, wheel_name(project, version), body, **entry)

    def states(self, what: set[str]) -> None:
        """Let the index state so much of its files."""
        for project in PRIVATE:
            left_out: dict[str, Any] = {}
            if "digest" not in what:
                left_out["hashes"] = {}
            if "size" not in what:
                left_out["size"] = None
            if "time" not in what:
                left_out["upload_time"] = None
            self.publish(self.places[0], project, OWN, **left_out)

    async def start(self, number: int, place: int) -> None:
        """Start a process, or restart it, that has the index at one of its addresses."""
        await self.stop(number)
        path = self.folder / f"{number}.toml"
        path.write_text(
            f'[store]\nurl = "file:{self.folder}/store"\n'
            f'[[source]]\nname = "team"\ntype = "index"\nurl = "{self.places[place].url}"\nprivate = true\n'
            f'[[source]]\nname = "pypi"\ntype = "index"\nurl = "{self.public.url}"\nprivate = false\n'
        )
        stack = AsyncExitStack()
        config = load(path, flags={"data": str(self.folder / f"data{number}")}, environment={})
        services = await stack.enter_async_context(open_services(config, clock=self.clock))
        self.replicas[number], self.at[number] = (services, stack), place
        self.heard_s[number] = -math.inf
        for project in PRIVATE:
            self.believed_s.pop((number, project), None)

    async def stop(self, number: int) -> None:
        running_one = self.replicas[number]
        if running_one is not None:
            self.replicas[number] = None
            await running_one[1].aclose()

    async def services(self, number: int) -> Services:
        """A process that has heard of all changes."""
        held = self.replicas[number]
        assert held is not None
        await held[0].changes.look()
        return held[0]

    async def install(self, number: int, project: str) -> tuple[Decision, bytes | WheelgateError | None]:
        """Ask for a page, and for its newest file; the file's bytes or why there are none, ``None`` without a page."""
        services = await self.services(number)
        may_leak = self.may_leak(number, project)
        decision = await services.index.decide(project)
        await services.absences["team"].known._writing.wait("keep")
        if project in PRIVATE:
            self.look_at(number, project, decision, may_leak)
        if self.places[self.at[number]].shows_itself:
            self.heard_s[number] = self.clock.monotonic()
        try:
            file = list(decision.require_page().files)[-1]
        except (WheelgateError, IndexError):
            return decision, None
        try:
            try:
                return decision, await read(services.delivery, file)
            except BlobNotFound:  # the other process had another address, by which our copy was none: as the server does
                services.delivery.forget()
                return decision, await read(services.delivery, file)
        except WheelgateError as error:
            return decision, error

    def may_leak(self, number: int, project: str) -> str:
        """The limit by which the public index may be asked for a private name; empty: it may not."""
        place, now_s = self.places[self.at[number]], self.clock.monotonic()
        if project not in PRIVATE or project in self.claimed:
            return ""
        believed_s = self.believed_s.get((number, project), -math.inf)
        if not place.illness:
            stands = now_s - believed_s < NEGATIVE_S or now_s - place.healed_s < RETRY_S
            return "remembered" if stands and now_s - believed_s <= STALE_IF_ERROR_S else ""
        if place.may_be_new:
            return "new"
        words_s = place.words.get(place.known, -math.inf) if place.known is not None else -math.inf
        if now_s - words_s < (KIND_S if place.known is NOT_FOUND else SEEN_S) and now_s - self.heard_s[number] < SEEN_S:
            return "own words"
        return "remembered" if now_s - believed_s <= STALE_IF_ERROR_S else ""

    def look_at(self, number: int, project: str, decision: Decision, may_leak: str) -> None:
        """Whoever asked for a private name got what is private, or nothing, but for the limits."""
        place, now_s = self.places[self.at[number]], self.clock.monotonic()
        asked = self.public.count(f"/simple/{project}/")
        leaks = asked > self.asked_outside[project] or decision.owner == "pypi"
        assert may_leak or not leaks, f"the public index was asked for {project}: {place.illness or 'well'}, {decision.reason}"
        if leaks:
            TAKEN[f"let out: {may_leak}"] += 1
            self.asked_outside[project] = asked
            if may_leak != "remembered":
                self.believed_s[number, project] = now_s

    @property
    def claimed(self) -> set[str]:
        """Names that are claimed."""
        return {path.name for path in (self.folder / "store" / layout.CLAIMS).glob("*") if not path.name.startswith(".")}

    def check(self) -> None:
        """What holds at every moment."""
        for project in PRIVATE:
            asked = self.public.count(f"/simple/{project}/")
            assert asked == self.asked_outside[project], f"the public index was asked for {project} by the way"
        assert self.claimed <= set(PRIVATE), f"{self.claimed - set(PRIVATE)} is public, and claimed"
        for path in (self.folder / "store" / layout.CACHE).rglob("*.whl"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest in self.genuine[path.name], f"{path.name} is kept, and was never published"


a_replica = st.sampled_from([0, 1])
a_name = st.sampled_from([*PRIVATE, *PUBLIC])
a_place = st.sampled_from([0, 0, 1])
WELL, ILL = manners("")
an_illness = st.sampled_from([*ILL, LOST, LOST])
some_time = st.sampled_from([1, 6, 61, 601, 3_601, 90_000])
SENT = ["maintenance", "nothing", "half", "another wheel", "another version", "damaged", "right"]
TAKEN: Counter[str] = Counter()
"""Steps of all histories, by kind."""


class ChangingIndex(RuleBasedStateMachine):
    """Any history."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.outside = ExitStack()
        folder = self.outside.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.world = World(Path(folder), self.outside)
        self.passes = False
        self.since_healing = 0

    @initialize(name=st.sampled_from(list(WELL)), stated=st.booleans(), was_new=st.booleans())
    def begin(self, name: str, stated: bool, was_new: bool) -> None:
        """``was_new``: both processes saw the index before anything was in it."""
        self.be_well(name)
        self.state({"digest", "size", "time"} if stated else set())
        for number in (0, 1):
            self.runner.run(self.world.start(number, 0))
        if was_new:
            for number in (0, 1):
                self.fall_ill_and_ask(LOST, number, PUBLIC[0], None)
            self.be_well(name)

    @rule(name=st.sampled_from(list(WELL)), number=a_replica, project=a_name)
    def be_well_and_ask(self, name: str, number: int, project: str) -> None:
        self.be_well(name)
        self.ask(number, project)

    def be_well(self, name: str) -> None:
        TAKEN["manner"] += 1
        for place in self.world.places:
            place.behave(self.world.well[name], "", self.world.clock.monotonic())

    @rule(name=an_illness, number=a_replica, project=a_name, only=st.sampled_from([None, 0, 1]))
    def fall_ill_and_ask(self, name: str, number: int, project: str, only: int | None) -> None:
        """``only``: at one address."""
        TAKEN["illness"] += 1
        for at, place in enumerate(self.world.places):
            if only in (None, at):
                place.behave(self.world.ill[name], name, self.world.clock.monotonic())
        self.ask(number, project)

    @rule(before=st.sampled_from(list(WELL)), name=an_illness, number=a_replica, project=a_name, seconds=some_time)
    def fall_ill_when_it_is_known(self, before: str, name: str, number: int, project: str, seconds: int) -> None:
        """Somebody has just learned that it is an index, and how it says "not there"; some time later a name is asked for."""
        self.be_well(before)
        for known in (PRIVATE[0], PUBLIC[0]):
            self.ask(number, known)
        self.fall_ill_and_ask(name, number, PRIVATE[0], None)
        self.world.clock.move(seconds)
        self.ask(number, project)

    @rule(what=st.sets(st.sampled_from(["digest", "size", "time"])), number=a_replica, project=a_name)
    def state_and_ask(self, what: set[str], number: int, project: str) -> None:
        self.state(what)
        self.ask(number, project)

    def state(self, what: set[str]) -> None:
        TAKEN["statement"] += 1
        self.world.states(what)

    @rule(how=st.sampled_from(SENT), number=a_replica, project=a_name)
    def send_and_ask(self, how: str, number: int, project: str) -> None:
        TAKEN["other bytes"] += 1
        self.send(how)
        self.ask(number, project)

    def send(self, how: str) -> None:
        for place in self.world.places:
            place.sends = how

    @rule(begins=st.booleans(), number=a_replica, project=a_name)
    def pass_through_and_ask(self, begins: bool, number: int, project: str) -> None:
        TAKEN["passing"] += 1
        self.pass_through(begins)
        self.ask(number, project)

    def pass_through(self, begins: bool) -> None:
        """Pass everything public through, or cease to."""
        if begins == self.passes:
            return
        self.passes = begins
        for project in (*PUBLIC, *WELL_KNOWN):
            if begins:
                self.world.publish(self.world.places[0], project, OUTSIDE)
            else:
                self.world.places[0].projects.pop(project, None)

    @rule(seconds=some_time)
    def wait(self, seconds: int) -> None:
        TAKEN["wait"] += 1
        self.world.clock.move(seconds)

    @rule(number=a_replica, place=a_place, project=a_name)
    def restart(self, number: int, place: int, project: str) -> None:
        TAKEN["restart"] += 1
        self.runner.run(self.world.start(number, place))
        self.ask(number, project)

    @rule(number=a_replica, project=a_name)
    def ask(self, number: int, project: str) -> None:
        TAKEN["question"] += 1
        self.since_healing += 1
        self.world.clock.move(0.001)
        decision, got = self.runner.run(self.world.install(number, project))
        self.look_at(project, decision, got)

    def look_at(self, project: str, decision: Decision, got: bytes | WheelgateError | None) -> None:
        """What holds of everything that anybody ever got."""
        if decision.page is not None and project in PRIVATE and decision.owner != "pypi":  # of which the world has judged
            assert {file.source for file in decision.page.files} <= {"team"}, f"{project} is private"
        if isinstance(got, bytes) and decision.page is not None:
            names = {file.filename for file in decision.page.files}
            assert hashlib.sha256(got).hexdigest() in set().union(*(self.world.genuine[name] for name in names))

    @precondition(lambda self: self.since_healing > 4)
    @rule(number=a_replica, name=st.sampled_from(list(WELL)), what=st.sets(st.sampled_from(["digest", "size", "time"])))
    def heal(self, number: int, name: str, what: set[str]) -> None:
        """Everything is right again: within the freshness of its answers there is all that there should be."""
        TAKEN["healing"] += 1
        self.be_well(name)
        self.send("right")
        self.state(what)
        self.pass_through(False)
        self.world.clock.move(LONG_S)
        self.ask(number, PRIVATE[0])  # by which the index shows that it is one
        self.world.clock.move(SEEN_S)
        for project in (*PRIVATE[:2], *PUBLIC):  # the others are asked for first at any time
            decision, got = self.runner.run(self.world.install(number, project))
            self.look_at(project, decision, got)
            where = "team" if project in PRIVATE else "pypi"
            assert isinstance(got, bytes), f"{project}: {got or decision.error!r}"
            assert decision.owner == where, f"{project} is of {decision.owner}"
            assert decision.page is not None
            assert not decision.page.stale, f"{project} is stale"
        self.since_healing = 0

    @invariant()
    def hold(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        for number in (0, 1):
            self.runner.run(self.world.stop(number))
        self.runner.close()
        self.outside.close()


def test_an_index_that_changes_its_manner() -> None:
    run_histories(ChangingIndex, 10, 14, derandomize=True, phases=[Phase.generate])


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_an_index_that_changes_its_manner_again_and_again() -> None:
    run_histories(ChangingIndex, 1_000, 30)

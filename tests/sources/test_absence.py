"""A 404 of an index is "not there" only with evidence: the table of who may say so, and when."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from tests.support.absences import OTHERS, OWN, Behind, Say404, html, text
from tests.support.clock import FakeClock
from tests.support.index import SIMPLE_JSON, running
from tests.support.packages import wheel_name
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore, home_of
from wheelgate.core.errors import Busy, ProjectNotFound, UpstreamBadAnswer, UpstreamError
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Credential
from wheelgate.index.decision import Member, Outcome
from wheelgate.index.merged import Merged
from wheelgate.runtime.chain import CHAIN_HEADER, enter_chain
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources import simple_index
from wheelgate.sources.absence import KIND_S, SEEN_S
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.simple_index import DevopsFeed, SimpleIndex
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.upstream.client import SourceClient

NOBODYS = re.compile(r"/simple/(?:acme-)?wheelgate-asks-for-no-project-[0-9a-f]{8,16}/")


class NoCredentials:
    def for_url(self, url: str) -> Credential | None:
        return None


class House:
    """A private index, and a public source behind it that would answer for anything; processes come and go."""

    def __init__(self, index: Behind, clock: FakeClock, stack: AsyncExitStack) -> None:
        self.index = index
        self.clock = clock
        self.store = MemoryStore()
        self.metrics = Metrics()
        self._stack = stack

    async def start(self, *, only: tuple[str, ...] = (), is_last: bool = False, kind: type[SimpleIndex] = SimpleIndex) -> None:
        """A process that begins: it knows what the store has."""
        client = SourceClient(
            source="team",
            url=self.index.url,
            file_hosts=(),
            credentials=NoCredentials(),
            clock=self.clock,
            metrics=self.metrics,
            user_agent="wheelgate/test",
            says_chain=True,
        )
        self._stack.push_async_callback(client.close)
        known = KnownProjects("team", url=self.index.url, store=self.store)
        self.team = kind(
            name="team",
            url=self.index.url,
            client=client,
            clock=self.clock,
            metrics=self.metrics,
            known=known,
            only=only,
            is_last=is_last,
        )
        self._stack.push_async_callback(self.team.close)
        self.public = FakeSource("public", self.clock)
        members = [Member(self.team, private=not is_last), Member(self.public, private=False)]
        claims = Claims(WatchedStore(), self.clock, StoreChanges(WatchedStore(), self.clock))
        self.merged = Merged(members, claims=claims, clock=self.clock, metrics=Metrics(), reserved=NamePatterns([]))

    async def passes(self, project: str) -> bool:
        """Whether the question goes on to the public source."""
        self.public.asked.clear()
        decision = await self.merged.decide(project)
        assert decision.answers[0].outcome is (Outcome.ABSENT if self.public.asked else Outcome.FAILED), decision.answers[0]
        return bool(self.public.asked)

    async def sees(self, project: str) -> None:
        """Somebody installs a project of the index."""
        assert (await self.team.project_page(project)).files

    async def settle(self) -> None:
        """What is written behind is written."""
        await self.team.absence.known._writing.wait("keep")

    @property
    def asked(self) -> list[str]:
        return [asked.path for asked in self.index.asked]


@pytest.fixture
def index() -> Iterator[Behind]:
    index = Behind()
    for name in ("acme-a", "acme-b", "acme-c"):
        index.publish(name, wheel_name(name, "1.0"), b"x")
    with running(index):
        yield index


@pytest.fixture
async def house(index: Behind, clock: FakeClock) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(index, clock, stack)


# ---- who answers, and when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
async def test_an_index_is_believed_in_its_own_words(house: House, own: Say404) -> None:
    house.index.own = own
    await house.start()
    for name in ("one", "two-words", "py2neo", "not", "found", "nginx", "html", "project", "a", "x" * 200):
        assert await house.passes(name), name
    house.clock.move(KIND_S)
    assert await house.passes("another")


async def test_evidence_is_asked_for_by_this_server_whoever_waits_for_it(house: House) -> None:
    """A server of several behind one address may refuse somebody's chain as evidence is asked for: all would wait in vain."""
    await house.start()
    enter_chain("0" * 8)
    assert await house.passes("somebody-elses")
    enter_chain("")
    chains = [(asked.path, len(asked.headers[CHAIN_HEADER].split(","))) for asked in house.index.asked]
    assert {marks for path, marks in chains if path == "/simple/somebody-elses/"} == {2}
    assert {marks for path, marks in chains if path != "/simple/somebody-elses/"} == {1}


async def at_start(house: House, front: Say404) -> None:
    house.index.front = front
    await house.start()


async def in_the_middle(house: House, front: Say404) -> None:
    await house.start()
    assert await house.passes("somebody-elses")
    house.index.front = front


async def in_the_middle_while_pages_come(house: House, front: Say404) -> None:
    """A cache before it goes on answering with the pages that it has."""
    await house.start()
    await house.sees("acme-a")
    assert await house.passes("somebody-elses")
    house.index.front = front
    house.index.in_front_of = lambda path: not path.startswith("/simple/acme-")


async def an_hour_later(house: House, front: Say404) -> None:
    await in_the_middle(house, front)
    house.clock.move(KIND_S)


async def after_a_restart(house: House, front: Say404) -> None:
    await house.start()
    await house.sees("acme-a")
    assert await house.passes("somebody-elses")
    await house.settle()
    house.index.front = front
    await house.start()


async def in_front_of_names_alone(house: House, front: Say404) -> None:
    """A path rule of a load balancer: the root is still that of the index."""
    await house.start()
    house.index.front = front
    house.index.in_front_of = lambda path: path != "/simple/"


async def for_one_name_alone(house: House, front: Say404) -> None:
    """One answer of many comes from elsewhere."""
    await house.start()
    house.index.front = front
    house.index.in_front_of = lambda path: path == "/simple/acme-secret/"


async def where_nobody_lists_projects(house: House, front: Say404) -> None:
    house.index.lists = False
    await in_the_middle_of_an_index_without_root(house, front)


async def in_the_middle_of_an_index_without_root(house: House, front: Say404) -> None:
    await house.start()
    await house.sees("acme-a")
    assert await house.passes("somebody-elses")
    house.index.front = front


MOMENTS = (
    at_start,
    in_the_middle,
    in_the_middle_while_pages_come,
    an_hour_later,
    after_a_restart,
    in_front_of_names_alone,
    for_one_name_alone,
    where_nobody_lists_projects,
)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("front", OTHERS.values(), ids=OTHERS)
async def test_what_answers_in_the_place_of_an_index_sends_no_name_elsewhere(
    house: House, front: Say404, moment: Callable[[House, Say404], object]
) -> None:
    await moment(house, front)  # type: ignore[misc]
    if moment is not in_the_middle_while_pages_come:
        assert not await house.passes("acme-secret")
        assert not await house.passes("acme-secret"), "not at the second time either"
    else:
        # Whoever answers every name that is lacked, while the index is seen to live, cannot be told from it.
        await house.passes("acme-secret")
    house.clock.move(6)
    house.index.front = None
    house.index.lists = True
    assert await house.passes("acme-secret"), "the index is back"


@pytest.mark.parametrize("after_s", [0, SEEN_S])
async def test_the_very_words_of_the_index_from_another_mouth_count_for_a_minute_at_most(house: House, after_s: float) -> None:
    """A tree of pages behind a web server that loses its folder: nothing changes but that all is gone."""
    house.index.own = OWN["nginx"]
    await house.start()
    await house.sees("acme-a")
    assert await house.passes("somebody-elses")
    house.index.front = OWN["nginx"]
    house.clock.move(after_s)
    assert await house.passes("acme-secret") is (after_s < SEEN_S)
    # A project that was there just now, and is not, is a sign at once.
    house.index.front = None
    house.clock.move(6)
    assert await house.passes("somebody-elses")
    await house.sees("acme-a")
    house.index.front = OWN["nginx"]
    with pytest.raises(UpstreamError):
        await house.team.project_page("acme-a")
    assert not await house.passes("acme-secret")


# ---- roots -------------------------------------------------------------------------------------------------------------------


def says(body: str | bytes, kind: str = "text/html", status: int = 200, **headers: str) -> Callable[..., object]:
    async def handler(request: web.BaseRequest) -> web.Response:
        content = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=content, content_type=kind, headers=headers)

    return handler


_HUGE = '{"meta": {"api-version": "1.1"}, "projects": [' + ", ".join(f'{{"name": "acme-{n}"}}' for n in "abc" * 1_000_000) + "]}"
ROOTS: dict[str, tuple[Callable[..., object], bool]] = {
    "JSON": (says('{"meta":{"api-version":"1.0"},"projects":[{"name":"Acme.A"}]}', SIMPLE_JSON), True),
    "JSON with more before": (
        says('{"meta":{"_last-serial":1},"projects":[{"_last-serial":1,"name":"acme-a"}]}', SIMPLE_JSON),
        True,
    ),
    "empty JSON": (says('{"projects": [], "meta": {"api-version": "1.0"}}', SIMPLE_JSON), True),
    "JSON of a project": (says('{"meta":{"api-version":"1.0"},"name":"x","files":[]}', SIMPLE_JSON), False),
    "30 MB": (says(_HUGE, SIMPLE_JSON), True),
    "30 MB, compressed": (says(gzip.compress(_HUGE.encode(), 1), SIMPLE_JSON, **{"Content-Encoding": "gzip"}), True),
    "HTML": (
        says('<html><head><title>Simple index</title></head><body><a href="/simple/acme-a/">acme-a</a></body></html>'),
        True,
    ),
    "relative, without a heading": (says("<a href=acme-a/>acme-a</a>"), True),
    "autoindex": (says('<h1>Index of /simple/</h1><pre><a href="../">../</a>\n<a href="acme-a/">acme-a/</a></pre>'), True),
    "empty pypiserver": (says("<html><head><title>Simple Index</title></head><body><h1>Simple Index</h1></body></html>"), True),
    "empty devpi": (says("<html><head><title>reader/dev: simple list (including inherited indices)</title></head></html>"), True),
    "empty, by its meta tag": (says('<html><head><meta name="pypi:repository-version" content="1.0"></head></html>'), True),
    "a web application": (
        says('<title>Team portal</title><a href="/simple/about/">About</a><a href="/login">Sign in</a>'),
        False,
    ),
    "an empty web page": (says("<html><body>It works!</body></html>"), False),
    "text": (says("acme-a", "text/plain"), False),
    "an object": (says('{"acme-a": []}', "application/json"), False),
    "401": (says("", status=401), False),
    "403": (says("<Error><Code>AccessDenied</Code></Error>", "application/xml", 403), False),
    "404": (says("", status=404), False),
    "500": (says("", status=500), False),
    "redirect to its web page": (says("", status=302, Location="/"), False),
    "redirect elsewhere": (says("", status=302, Location="https://pypi.org/simple/"), False),
}


@pytest.mark.parametrize(("root", "shows"), ROOTS.values(), ids=ROOTS)
async def test_a_root_shows_an_index_or_one_project_does(house: House, root: Callable[..., object], shows: bool) -> None:
    house.index.handlers["/simple/"] = root  # type: ignore[assignment]
    await house.start()
    assert await house.passes("somebody-elses") is shows
    if not shows:
        await house.sees("acme-a")
        house.clock.move(6)
        assert await house.passes("somebody-elses"), "a project that it has is as good as a root"
        await house.settle()
        await house.start()
        assert await house.passes("somebody-elses"), "and is known by it after a restart"


async def test_a_new_index_without_a_project_is_one_and_one_that_lost_all_is_not(house: House) -> None:
    packages = dict(house.index.projects)
    house.index.projects.clear()
    await house.start()
    assert await house.passes("somebody-elses")
    house.index.projects |= packages
    for name in packages:
        await house.sees(name)
    house.index.projects.clear()
    house.clock.move(SEEN_S)
    assert not await house.passes("acme-secret")
    await house.settle()
    await house.start()
    assert not await house.passes("acme-secret"), "nor after a restart"
    house.clock.move(6)
    house.index.projects["acme-b"] = packages["acme-b"]
    assert await house.passes("acme-secret")


async def test_projects_that_are_taken_away_one_by_one_are_missed_by_nobody(house: House) -> None:
    await house.start()
    for name in sorted(house.index.projects):
        await house.sees(name)
    for name in sorted(house.index.projects)[:-1]:  # an index that has none is doubted
        del house.index.projects[name]
        house.clock.move(6)
        with pytest.raises(ProjectNotFound):
            await house.team.project_page(name)
    house.clock.move(SEEN_S)
    assert await house.passes("somebody-elses")


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_index_known_by_one_project_is_missed_when_it_loses_it(house: House, restarts: bool) -> None:
    lost = {name: house.index.projects.pop(name) for name in ("acme-a", "acme-b", "acme-c")}
    house.index.projects["acme-a"] = lost["acme-a"]
    await house.start()
    await house.sees("acme-a")
    await house.settle()
    house.index.projects.clear()
    if restarts:
        await house.start()
    for _ in range(3):
        with pytest.raises(UpstreamBadAnswer, match="has it lost its packages"):
            await house.team.project_page("acme-a")
        assert not await house.passes("acme-secret")
        house.clock.move(SEEN_S)
    await house.settle()
    assert await KnownProjects("team", url=house.index.url, store=house.store).names() == ("acme-a",)
    house.index.projects |= lost
    assert await house.passes("acme-secret")


# ---- cost, privacy and words -------------------------------------------------------------------------------------------------


async def test_a_hundred_names_cost_a_handful_of_questions(house: House) -> None:
    await house.start()
    await asyncio.gather(*(house.team.project_page(f"name-{number}") for number in range(50)), return_exceptions=True)
    for number in range(50, 100):
        with pytest.raises(ProjectNotFound):
            await house.team.project_page(f"name-{number}")
    more = [path for path in house.asked if "/name-" not in path]
    assert len(more) <= 4, more
    house.clock.move(SEEN_S)
    for number in range(50):
        with pytest.raises(ProjectNotFound):
            await house.team.project_page(f"name-{number}")
    assert len([path for path in house.asked if "/name-" not in path]) == len(more) + 1, "one page in a minute"


async def test_pages_that_come_anyway_are_evidence_and_cost_nothing(house: House) -> None:
    await house.start()
    await house.sees("acme-a")
    assert await house.passes("first")
    before = len(house.asked)
    for _ in range(10):
        house.clock.move(SEEN_S - 1)
        await house.sees("acme-a")
        assert await house.passes("first")
    assert len(house.asked) == before + 20


async def test_in_doubt_it_is_not_asked_again_for_each_name(house: House) -> None:
    house.index.front = OTHERS["HAProxy"]
    await house.start()
    for number in range(100):
        assert not await house.passes(f"name-{number}")
    assert len([path for path in house.asked if "/name-" not in path]) <= 4


@pytest.mark.parametrize(
    ("only", "asked_for"),
    [
        (("acme-*",), r"/simple/(acme-wheelgate-asks-for-no-project-[0-9a-f]+|acme-[abc]|acme-secret|)/?"),
        (("Acme_A", "acme-secret"), r"/simple/(acme-a-wheelgate-asks-for-no-project-[0-9a-f]+|acme-a|acme-secret|)/?"),
    ],
)
async def test_it_is_asked_for_no_name_beyond_its_only(house: House, only: tuple[str, ...], asked_for: str) -> None:
    house.index.publish("zz-other", wheel_name("zz-other", "1.0"), b"x")
    await house.start(only=only)
    assert await house.passes("acme-secret")
    assert not [path for path in house.asked if not re.fullmatch(asked_for, path)]


async def test_the_sentence_names_host_and_port_and_the_remedy_and_is_logged_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    host = house.index.origin.removeprefix("http://")
    house.index.front = OTHERS["Kubernetes"]
    await house.start()
    with caplog.at_level("INFO"):
        for number in range(3):
            with pytest.raises(UpstreamBadAnswer) as raised:
                await house.team.project_page(f"name-{number}")
            assert str(raised.value).startswith(
                f"source team at {host} answers 404, but nothing shows that an index answers there"
            )
            assert "its root answered 404" in str(raised.value)
            assert f"Check that its url ({house.index.url}) is the one that installers use" in str(raised.value)
            house.clock.move(6)
        house.index.front = None
        assert await house.passes("name-1")
        assert await house.passes("name-2")
    assert [record.levelname for record in caplog.records if record.name.endswith("absence")] == ["WARNING", "INFO"]
    assert house.metrics._registry.get_sample_value("wheelgate_absence_believed", {"source": "team"}) == 1


async def test_what_is_said_to_people(house: House) -> None:
    host = house.index.origin.removeprefix("http://")
    await house.start()
    verdict = await house.team.absence.describe()
    assert (verdict.believed, verdict.sentence) == (
        True,
        f'a 404 for a name that it lacks counts as "not there": {host} is an index (its root lists acme-a)',
    )
    house.index.handlers["/simple/"] = says("", status=403)  # type: ignore[assignment]
    await house.settle()
    house.store.blobs.clear()
    await house.start()
    verdict = await house.team.absence.describe()
    assert not verdict.believed
    by_one = "an index that lists no projects is known by one that it has: ask this server for one of them, once"
    assert f"its root answered 403 ({by_one})" in verdict.sentence


@pytest.mark.parametrize("status", [200, 403, 500])
async def test_an_index_that_has_another_answer_for_names_that_nobody_has(house: House, status: int) -> None:
    await house.start()
    house.index.own = lambda path: web.Response(status=status) if NOBODYS.fullmatch(path) else OWN["plain"](path)
    await house.sees("acme-a")
    assert not await house.passes("acme-secret")


async def test_two_servers_behind_one_address_are_not_one_index(house: House) -> None:
    await house.start()
    await house.sees("acme-a")
    turns = itertools.cycle((OTHERS["HAProxy"], OTHERS["captive portal"]))  # their headers are alike

    def in_turn(path: str) -> web.Response:
        return next(turns)(path)

    house.index.own = in_turn
    assert not await house.passes("acme-secret")


@pytest.mark.parametrize("servers", [("nginx/1.24.0", "nginx/1.26.2"), ("Jetty(9.4.44)", "Jetty(12.0.9)")])
async def test_a_cluster_that_is_upgraded_is_one_index(house: House, servers: tuple[str, str]) -> None:
    turns = itertools.cycle([html(f"<h1>404 Not Found</h1><hr>{server}", server=server) for server in servers])

    def in_turn(path: str) -> web.Response:
        return next(turns)(path)

    house.index.own = in_turn
    await house.start()
    for number in range(120):
        assert await house.passes(f"name-{number}"), number
    house.index.front = OTHERS["nginx default"]
    assert not await house.passes("acme-secret")


async def wait_for(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)


# ---- slow indexes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait_s", [3.2, 4.5])
async def test_a_404_that_takes_seconds_is_believed_within_the_patience_of_pip(house: House, wait_s: float) -> None:
    house.index.lacks_after_s = wait_s
    await house.start()
    await house.sees("acme-a")
    began_s = time.monotonic()
    assert await house.passes("first")
    assert time.monotonic() - began_s < 3 * wait_s, "two questions"
    began_s = time.monotonic()
    found = await asyncio.gather(*(house.team.project_page(f"name-{n}") for n in range(4)), return_exceptions=True)
    assert [type(error) for error in found] == [ProjectNotFound] * 4
    assert time.monotonic() - began_s < 2 * wait_s, "all at once"
    await house.sees("acme-b")


async def test_what_is_asked_goes_on_without_those_who_waited_and_answers_the_next(house: House) -> None:
    await house.start()
    await house.sees("acme-a")
    house.index.own, house.index.lacks_after_s = OWN["only letters"], 3.5  # it takes a third question, after the two
    with pytest.raises(Busy, match="is still being asked what its 404 is worth: try again"):
        await house.team.project_page("first")
    with pytest.raises(ProjectNotFound):
        await house.team.project_page("first")
    assert len([path for path in house.asked if NOBODYS.fullmatch(path)]) == 3


async def test_page_and_evidence_together_keep_nobody_longer_than_a_client_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simple_index, "_ANSWER_S", 2.0)
    await house.start()
    await house.sees("acme-a")
    house.index.lacks_after_s = 1.9
    began_s = time.monotonic()
    with pytest.raises(Busy):
        await house.team.project_page("first")
    assert time.monotonic() - began_s < 2 * 1.9


async def test_a_project_that_is_missed_needs_proof_of_after_it_was_missed(house: House) -> None:
    await house.start()
    await house.sees("acme-a")
    house.index.lacks_after_s = 2
    first = asyncio.create_task(house.team.project_page("first"))
    await wait_for(lambda: any(NOBODYS.fullmatch(path) for path in house.asked) and house.asked.count("/simple/acme-a/") == 2)
    await asyncio.sleep(0.3)
    house.index.lacks_after_s = 0
    house.index.projects.clear()
    with pytest.raises(UpstreamBadAnswer, match="has it lost its packages"):
        await house.team.project_page("acme-a")
    house.clock.move(1)
    await asyncio.gather(first, return_exceptions=True)


# ---- what is kept ------------------------------------------------------------------------------------------------------------


def known_path(house: House) -> str:
    return layout.known_projects(home_of("team", house.index.url))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"version":1,"url":"","projects":3}', b"\xff"])
async def test_a_damaged_record_is_as_good_as_none(house: House, body: bytes) -> None:
    house.store._put(known_path(house), body, {}, house.clock.now())
    await house.start()
    await house.sees("acme-a")
    await house.settle()
    assert await house.passes("somebody-elses")
    assert await KnownProjects("team", url=house.index.url, store=house.store).names() == ("acme-a",)


async def test_a_record_of_a_later_release_is_left_alone(house: House) -> None:
    body = b'{"version":9,"url":"x"}'
    house.store._put(known_path(house), body, {}, house.clock.now())
    await house.start()
    await house.sees("acme-a")
    await house.settle()
    assert await house.passes("somebody-elses")
    assert (await house.store.read(known_path(house)))[0] == body


async def test_what_was_seen_at_another_address_is_not_this_ones(house: House) -> None:
    await house.start()
    await house.sees("acme-a")
    await house.settle()
    assert await KnownProjects("team", url="https://other.example.com/simple/", store=house.store).names() == ()
    assert await KnownProjects("team", url=house.index.url, store=house.store).names() == ("acme-a",)


async def test_many_projects_are_written_a_few_times(house: House) -> None:
    known = KnownProjects("team", url="u", store=WatchedStore(house.store))
    for number in range(1_000):
        known.note(f"name-{number}")
        await asyncio.sleep(0)
    await known._writing.wait("keep")
    assert known._store.count("replace_if") <= 16  # type: ignore[union-attr]
    assert len(await KnownProjects("team", url="u", store=house.store).names()) <= 8
    await known.close()


# ---- feeds, and the last source ----------------------------------------------------------------------------------------------


FEED_SAYS: dict[str, tuple[Say404, bool]] = {
    "no such package": (text("Package 'NAME' was not found.", X_VSS_E2EID="NUMBER"), True),
    "cannot find it": (text("Cannot find the package 'NAME' in feed 'team'.", ActivityId="NUMBER"), True),
    "no such feed": (text("The feed with ID 'team' doesn't exist.", X_VSS_E2EID="NUMBER"), False),
    "no such view": (text('{"typeKey":"FeedViewNotFoundException"}', X_VSS_E2EID="NUMBER"), False),
    "no such project": (text("VS800075: The project with id 'x' does not exist.", X_VSS_E2EID="NUMBER"), False),
    "nothing in particular": (text("", X_VSS_E2EID="NUMBER"), False),
    "a sign-in host": (html("<title>Azure DevOps Services | 404</title>"), False),
    "the words of another": (text("Package 'NAME' was not found."), False),
    **{name: (front, False) for name, front in OTHERS.items()},
}


@pytest.mark.parametrize(("said", "believed"), FEED_SAYS.values(), ids=FEED_SAYS)
async def test_a_feed_that_lists_no_projects_is_believed_by_its_own_words(house: House, said: Say404, believed: bool) -> None:
    house.index.lists, house.index.own = False, said
    await house.start(kind=DevopsFeed)
    assert await house.passes("somebody-elses") is believed
    assert (await house.team.absence.describe()).believed is believed
    if believed:
        assert not [path for path in house.asked[:-1] if NOBODYS.fullmatch(path)], "it is asked for nothing more"


@pytest.mark.parametrize("front", OTHERS.values(), ids=OTHERS)
async def test_the_last_public_source_is_never_asked_for_nobodys_names_and_a_stranger_is_no_absence(
    house: House, front: Say404
) -> None:
    await house.start(is_last=True)
    for name in ("one", "two", "not", "found"):
        with pytest.raises(ProjectNotFound):
            await house.team.project_page(name)
    house.index.front = front
    with pytest.raises(UpstreamError):
        await house.team.project_page("three")
    house.clock.move(6)
    house.index.front = None
    with pytest.raises(ProjectNotFound):
        await house.team.project_page("three")
    assert not [path for path in house.asked if NOBODYS.fullmatch(path)]


async def test_the_last_public_source_costs_nothing_while_pages_come(house: House) -> None:
    await house.start(is_last=True)
    await house.sees("acme-a")
    for number in range(10):
        with pytest.raises(ProjectNotFound):
            await house.team.project_page(f"name-{number}")
    assert len(house.asked) <= 1 + 10 + 1


async def test_what_a_former_release_noted_is_read_where_it_is_of_this_address_and_never_written(house: House) -> None:
    for url, known in ((house.index.url, ("acme-a",)), ("https://other.example.com/simple/", ())):
        body = f'{{"version":1,"url":"{url}","projects":["acme-a"]}}'.encode()
        house.store._put("known/team", body, {}, house.clock.now())
        noted = KnownProjects("team", url=house.index.url, store=house.store)
        assert await noted.names() == known
        noted.note("acme-b")
        await noted._writing.wait("keep")
        await noted.close()
        assert (await house.store.read("known/team"))[0] == body
        await house.store.delete(known_path(house))

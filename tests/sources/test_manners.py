"""Each manner of an index to lack a project, and each way of being ill that looks like one: who is asked next, and when."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from tests.support.clock import FakeClock
from tests.support.index import SIMPLE_JSON, running
from tests.support.manners import NOT_FOUND, S3, TITLED, UNTITLED, WAF, Mannered, Say, empty, leads, page
from tests.support.packages import wheel_name
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import CredentialRefused, ProjectNotFound, UpstreamError
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Credential
from wheelgate.index.decision import Member, Outcome
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.absence import KIND_S, SEEN_S
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.simple_index import SimpleIndex
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.upstream.client import SourceClient

PYPI = "http://127.0.0.9:8080/simple/"
SECRET = "acme-secret"


class Signing:
    """A credential for the index."""

    connection = "acme"

    async def headers(self) -> dict[str, str]:
        return {"Authorization": "Basic eDp5"}

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, *_: object) -> None:
        return None


class Keys:
    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential

    def for_url(self, url: str) -> Credential | None:
        return self._credential


@dataclass
class Case:
    """A manner, and what a name means that is answered so."""

    unknown: Say = NOT_FOUND
    known: Say | None = None
    root: Say | None = None
    some: dict[str, Say] = field(default_factory=dict)
    signs_in: bool = False
    absent_status: tuple[int, ...] = ()


LISTS = page(
    '{"meta":{"api-version":"1.0"},"projects":[{"name":"acme-a"},{"name":"acme-b"}]}', "application/vnd.pypi.simple.v1+json"
)
LISTS_NOTHING = page('{"meta":{"api-version":"1.0"},"projects":[]}', "application/vnd.pypi.simple.v1+json")
FORBIDDEN_ROOT = page("<Error><Code>AccessDenied</Code></Error>", "application/xml", 403)
LOGIN = page("<html><head><title>Welcome to the hotel</title></head><body><a href='/login'>Sign in</a></body></html>")
REASON = page('{"message": "NAME is blocked by policy: malicious"}', "application/json", 403)

ABSENT = {
    "404": Case(),
    "redirect to a source": Case(leads(f"{PYPI}NAME/")),
    "redirect to a source, 301": Case(leads(f"{PYPI}NAME/", 301)),
    "redirect to a source, 307": Case(leads(f"{PYPI}NAME/", 307)),
    "redirect to a source, another path": Case(leads("http://127.0.0.9:8080/NAME")),
    "redirect to a source at its own origin": Case(leads("/other/simple/NAME/")),
    "empty pages": Case(empty),
    "empty pages with a title": Case(TITLED),
    "blank pages": Case(UNTITLED),
    "403 of an object store": Case(S3, root=FORBIDDEN_ROOT),
    "403 of an object store, its type with a charset": Case(
        page("<Error><Code>AccessDenied</Code></Error>", "application/xml; charset=utf-8", 403), root=FORBIDDEN_ROOT
    ),
    "403 with a list": Case(page("no", "text/plain", 403)),
    "403 to an identity, as said": Case(S3, signs_in=True, absent_status=(403,)),
    "403, as said": Case(S3, absent_status=(403,)),
}
"""What an index that is well answers for names that it lacks."""

UNCLEAR = {
    "redirect to no source": Case(leads("https://pypi.org/simple/NAME/")),
    "redirect to a source's host, another port": Case(leads("http://127.0.0.9:8081/simple/NAME/")),
    "redirect to a source's host, another scheme": Case(leads("https://127.0.0.9:8080/simple/NAME/")),
    "redirect of this name alone": Case(some={SECRET: leads(f"{PYPI}{SECRET}/")}),
    "redirect of this name elsewhere at the source": Case(
        leads(f"{PYPI}NAME/"), some={SECRET: leads("http://127.0.0.9:8080/maintenance")}
    ),
    "redirect of this name by another server": Case(
        leads(f"{PYPI}NAME/"), some={SECRET: lambda name: _by("nginx", leads(f"{PYPI}NAME/")(name))}
    ),
    "403 for this name alone": Case(some={SECRET: WAF}),
    "403 with a reason": Case(some={SECRET: REASON}),
    "403 in other words": Case(S3, some={SECRET: WAF}),
    "403 in other words, where it is said to be absent": Case(S3, some={SECRET: WAF}, absent_status=(403,)),
    "403 to an identity": Case(S3, signs_in=True),
    "401": Case(page(status=401)),
    "410": Case(page(status=410)),
    "a web page": Case(LOGIN),
    "a sign-in page": Case(leads("https://login.example.com/oauth2/authorize")),
    "an empty body": Case(page()),
    "a script": Case(page("<html><body><script>location='/login'</script></body></html>")),
}
"""What says nothing, although the index is there."""

ILL = {
    "fails over to a source": Case(leads(f"{PYPI}NAME/"), leads(f"{PYPI}NAME/"), leads(PYPI)),
    "fails over to a source, but for its root": Case(leads(f"{PYPI}NAME/"), leads(f"{PYPI}NAME/"), LISTS),
    "fails over to a source at its own origin": Case(leads("/other/simple/NAME/"), leads("/other/simple/NAME/")),
    "maintenance at a source": Case(*[leads("http://127.0.0.9:8080/maintenance")] * 3),
    "maintenance elsewhere": Case(*[leads("https://status.example.com/")] * 3),
    "signs in at a source": Case(*[leads("http://127.0.0.9:8080/sso?next=/simple/NAME/")] * 3),
    "signs in elsewhere": Case(*[leads("https://login.example.com/oauth2/authorize?next=NAME")] * 3),
    "a captive portal": Case(LOGIN, LOGIN, LOGIN),
    "a portal's redirect": Case(*[leads("http://portal.example.com/")] * 3),
    "starts with empty pages": Case(empty, empty, LISTS_NOTHING),
    "starts with empty pages and its list": Case(empty, empty, LISTS),
    "starts with titles": Case(TITLED, TITLED, LISTS_NOTHING),
    "starts with blank pages": Case(UNTITLED, UNTITLED, UNTITLED),
    "starts with empty bodies": Case(*[page()] * 3),
    "shut off by a firewall": Case(WAF, WAF, WAF),
    "shut off by a firewall, but for its root": Case(WAF, WAF, LISTS),
    "an object store without any right": Case(S3, S3, FORBIDDEN_ROOT),
    "an object store without any right, 403 being absent": Case(S3, S3, FORBIDDEN_ROOT, absent_status=(403,)),
    "half migrated, by redirects": Case(leads(f"{PYPI}NAME/"), leads(f"{PYPI}NAME/"), LISTS_NOTHING),
    "half migrated, by empty pages": Case(TITLED, TITLED, LISTS),
}
"""What answers for every name while an index is ill."""


def _by(server: str, answer):  # type: ignore[no-untyped-def]
    answer.headers["Server"] = server
    return answer


class House:
    """An index of some role, and a public source behind it that would answer for anything; processes come and go."""

    def __init__(self, index: Mannered, clock: FakeClock, stack: AsyncExitStack, role: str) -> None:
        self.index = index
        self.clock = clock
        self.role = role
        self.store, self.claimed = MemoryStore(), WatchedStore()
        self._stack = stack
        self.case = Case()

    def turn(self, case: Case) -> None:
        self.case = case
        self.index.unknown, self.index.known, self.index.root = case.unknown, case.known, case.root
        self.index.some = dict(case.some)

    async def start(self) -> None:
        """A process that begins: it knows what the store has."""
        self.metrics = Metrics()
        client = SourceClient(
            source="team",
            url=self.index.url,
            file_hosts=("pypi.org", "127.0.0.9:8081"),
            credentials=Keys(Signing() if self.case.signs_in else None),  # type: ignore[arg-type]
            clock=self.clock,
            metrics=self.metrics,
            user_agent="wheelgate/test",
            neighbours={"pypi": PYPI, "sibling": f"{self.index.origin}/other/simple/"},
            absent_status=self.case.absent_status,
        )
        self._stack.push_async_callback(client.close)
        known = KnownProjects("team", url=self.index.url, store=self.store)
        self.team = SimpleIndex(
            name="team",
            url=self.index.url,
            client=client,
            clock=self.clock,
            metrics=self.metrics,
            known=known,
            is_last=self.role == "last",
        )
        self._stack.push_async_callback(self.team.close)
        self.public = FakeSource("public", self.clock)
        others = [] if self.role == "last" else [Member(self.public, private=False)]
        members = [Member(self.team, private=self.role == "private"), *others]
        claims = Claims(self.claimed, self.clock, StoreChanges(self.claimed, self.clock))
        self.merged = Merged(members, claims=claims, clock=self.clock, metrics=Metrics(), reserved=NamePatterns([]))

    async def restart(self) -> None:
        await self.team.absence.known._writing.wait("keep")
        await self.start()

    async def hears(self, project: str) -> str:
        """What the index says of a project, and that this is what is done about others."""
        self.public.asked.clear()
        decision = await self.merged.decide(project)
        (answer, *_) = (given for given in decision.answers if given.source == "team")
        if self.role == "private":
            claimed = decision.claimed
            assert bool(self.public.asked) is (answer.outcome is Outcome.ABSENT and not claimed), answer
        return {Outcome.ABSENT: "absent", Outcome.LISTED: "listed"}.get(answer.outcome, "failed")


@pytest.fixture
def index() -> Iterator[Mannered]:
    index = Mannered()
    for name in ("acme-a", "acme-b", "acme-c"):
        index.publish(name, wheel_name(name, "1.0"), b"x")
    with running(index):
        yield index


@pytest.fixture(params=["private", pytest.param("public", marks=pytest.mark.long), "last"])
async def house(index: Mannered, clock: FakeClock, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(index, clock, stack, request.param)


LISTED = {"empty pages", "empty pages with a title"}
"""Where nobody is asked next, an empty page is as good as none, and costs nothing."""
BLANK = {"blank pages"}


def meaning(name: str, role: str) -> str:
    if role == "last" and name in LISTED:
        return "listed"
    return "failed" if role == "last" and name in BLANK else "absent"


@pytest.mark.parametrize("name", ABSENT)
async def test_an_index_that_is_well_says_not_there_in_its_own_manner(house: House, name: str) -> None:
    house.turn(ABSENT[name])
    wanted = meaning(name, house.role)
    await house.start()
    assert await house.hears("acme-a") == "listed"
    for unknown in ("requests", "two-words", "a"):
        assert await house.hears(unknown) == wanted
    house.clock.move(KIND_S)
    assert await house.hears("numpy") == wanted
    assert await house.hears("acme-b") == "listed"
    await house.restart()
    assert await house.hears("flask") == wanted


@pytest.mark.parametrize("name", UNCLEAR)
@pytest.mark.parametrize("seen", [False, True])
async def test_what_says_nothing_sends_no_name_elsewhere(house: House, name: str, seen: bool) -> None:
    house.turn(UNCLEAR[name])
    await house.start()
    if seen:
        assert await house.hears("acme-a") == "listed"
    for _ in range(2):
        assert await house.hears(SECRET) == "failed"
        house.clock.move(SEEN_S)
    await house.restart()
    assert await house.hears(SECRET) == "failed"


async def at_start(house: House, case: Case) -> None:
    house.turn(case)
    await house.start()


async def in_the_middle(house: House, case: Case) -> None:
    """It was well, and said so as it does now of everything."""
    await was_well(house, case)
    house.turn(case)
    house.clock.move(SEEN_S)


async def in_the_middle_of_404s(house: House, case: Case) -> None:
    house.turn(Case(absent_status=case.absent_status))
    await house.start()
    assert await house.hears("acme-a") == "listed"
    assert await house.hears("requests") == "absent"
    house.turn(case)


async def after_a_restart(house: House, case: Case) -> None:
    await was_well(house, case)
    house.turn(case)
    await house.restart()


async def was_well(house: House, case: Case) -> None:
    house.turn(Case(case.unknown, absent_status=case.absent_status))
    await house.start()
    assert await house.hears("acme-a") == "listed"
    await house.hears("requests")


@pytest.mark.parametrize("moment", [at_start, in_the_middle, in_the_middle_of_404s, after_a_restart], ids=lambda of: of.__name__)
@pytest.mark.parametrize("name", ILL)
async def test_an_index_that_is_ill_sends_no_name_elsewhere(
    house: House, name: str, moment: Callable[[House, Case], object]
) -> None:
    await moment(house, ILL[name])  # type: ignore[misc]
    blank = house.role == "last" and name.startswith(("starts with empty pages", "starts with titles", "half migrated, by empty"))
    for project in (SECRET, "acme-a", SECRET):
        assert await house.hears(project) == ("listed" if blank else "failed"), project
    house.index.heal()
    house.clock.move(SEEN_S)
    assert await house.hears("requests") == "absent", "it is well again"
    assert await house.hears("acme-a") == "listed"


@pytest.mark.parametrize("house", ["private"], indirect=True)
async def test_the_first_page_of_all_shows_at_once_what_nothing_showed_before(house: House) -> None:
    house.turn(ABSENT["403 of an object store"])
    await house.start()
    assert await house.hears("requests") == "failed", "nothing shows that an index answers there"
    assert await house.hears("acme-a") == "listed"
    assert await house.hears("requests") == "absent"


async def test_a_page_that_comes_while_the_index_is_in_doubt_is_not_overheard(house: House) -> None:
    house.turn(ABSENT["403 of an object store"])
    await house.start()
    both = await asyncio.gather(house.hears("acme-a"), *(house.hears("requests") for _ in range(3)))
    assert both[0] == "listed"
    assert await house.hears("numpy") == meaning("403 of an object store", house.role)


@pytest.mark.parametrize("house", ["private", "public"], indirect=True)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("redirect to a source", "fails over to a source"),
        ("empty pages", "starts with empty pages and its list"),
        ("blank pages", "starts with blank pages"),
        ("403 of an object store", "an object store without any right"),
    ],
)
async def test_a_project_that_was_there_is_missed_at_once(house: House, before: str, after: str) -> None:
    """The very words of the index, of all its names, within the minute."""
    house.turn(ABSENT[before])
    await house.start()
    assert await house.hears("acme-a") == "listed"
    assert await house.hears("requests") == "absent"
    house.turn(ILL[after])
    assert await house.hears("acme-a") == "failed"
    assert await house.hears(SECRET) == "failed", "since then it is doubted"


WELL = ("404", "redirect to a source", "empty pages", "blank pages", "403 of an object store")


@pytest.mark.parametrize("house", ["private"], indirect=True)
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("after", WELL)
@pytest.mark.parametrize("before", WELL)
async def test_a_manner_that_changes_is_known_within_a_minute(house: House, before: str, after: str, restarts: bool) -> None:
    house.turn(ABSENT[before])
    await house.start()
    assert await house.hears("acme-a") == "listed"
    assert await house.hears("requests") == "absent"
    house.turn(ABSENT[after])
    if restarts:
        await house.restart()
        assert await house.hears("acme-a") == "listed"
    else:
        assert await house.hears(SECRET) in ("absent", "failed", "listed")
        house.clock.move(SEEN_S)
    assert await house.hears("requests") == "absent"
    assert await house.hears("acme-b") == "listed"
    told = house.team.absence.known.manner
    assert (told.answers_every_name, told.refuses_unknown, told.redirects_to_source) == (
        after in ("empty pages", "blank pages"),
        after.startswith("403"),
        "pypi" if after.startswith("redirect") else "",
    )


@pytest.mark.parametrize("house", ["private", "public"], indirect=True)
@pytest.mark.parametrize("restarts", [False, True])
async def test_an_empty_page_is_a_page_once_a_name_that_nobody_can_have_gets_none(house: House, restarts: bool) -> None:
    """A project that was made and has no file yet is the index's own, and a stranger's of that name is nobody's."""
    house.turn(ABSENT["empty pages"])
    await house.start()
    assert await house.hears("acme-a") == "listed"
    assert await house.hears("requests") == "absent"
    house.turn(Case(some={SECRET: empty}))
    if restarts:
        await house.restart()
    elif house.role == "private":
        assert await house.hears("requests") == "absent", "in other words, so that it is asked anew"
    else:
        house.clock.move(SEEN_S)
    for _ in range(3):
        assert await house.hears(SECRET) == "listed"
        house.clock.move(SEEN_S / 2)


@pytest.mark.parametrize("house", ["private"], indirect=True)
async def test_what_has_anything_on_it_is_no_empty_page(house: House) -> None:
    """Unusable entries, a status, versions without files: something of that name is there."""
    house.turn(ABSENT["empty pages"])
    await house.start()
    assert await house.hears("acme-a") == "listed"
    start = '{"meta":{"api-version":"1.1"},"name":"NAME",'
    for number, rest in enumerate(
        (
            '"files":[{"filename":"acme_secret-1.0-py3.9.egg","url":"x.egg","hashes":{}}]}',
            '"files":[{"filename":"other-1.0.tar.gz","url":"http://127.0.0.2/x","hashes":{}}]}',
            '"files":[],"versions":["1.0"]}',
            '"files":[],"versions":[],"project-status":{"status":"quarantined"}}',
            '"files":[],"versions":[],"acme":"here"}',
        )
    ):
        house.index.some[f"project-{number}"] = page(start + rest, SIMPLE_JSON)
        assert await house.hears(f"project-{number}") != "absent", rest


@pytest.mark.parametrize("house", ["private", "public"], indirect=True)
@pytest.mark.parametrize("seed", [0, 3, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 24))])
async def test_through_all_manners_what_it_has_is_never_absent_and_it_heals_within_a_minute(house: House, seed: int) -> None:
    choose = random.Random(seed)
    cases = [case for table in (ABSENT, UNCLEAR, ILL) for case in table.values() if not (case.signs_in or case.absent_status)]
    well = [ABSENT[name] for name in WELL]
    await house.start()
    for name in house.index.projects:
        assert await house.hears(name) == "listed"
    for _ in range(12):
        house.turn(choose.choice(cases))
        for _ in range(choose.randint(1, 3)):
            with contextlib.suppress(UpstreamError):
                assert (await house.team.project_page(choose.choice(list(house.index.projects)))).project
            await house.hears(choose.choice(("requests", "numpy", SECRET)))
            house.clock.move(choose.choice((0, 1, 6, SEEN_S, KIND_S)))
        if choose.random() < 0.3:
            await house.restart()
        if choose.random() < 0.5:
            house.turn(choose.choice(well))
            house.clock.move(SEEN_S)
            assert await house.hears("requests") == "absent"
            assert await house.hears("acme-a") == "listed"


# ---- the cost ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("house", ["private"], indirect=True)
@pytest.mark.parametrize("name", WELL)
async def test_control_questions_are_few_and_in_nobodys_way(house: House, name: str) -> None:
    house.turn(ABSENT[name])
    await house.start()
    assert await house.hears("acme-a") == "listed"
    assert [asked.path for asked in house.index.asked] == ["/simple/acme-a/"], "a page with files needs none"
    asked = (house.team.project_page(f"name-{number}") for number in range(50))
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(error) for error in found} == {ProjectNotFound}
    for number in range(50):
        assert await house.hears(f"other-{number}") == "absent"
    control = [asked.path for asked in house.index.asked if "name-" not in asked.path and "other-" not in asked.path]
    assert len(control) <= 1 + 2 + 3, "one flight: two names that nobody can have, or three, and a project"


@pytest.mark.parametrize("house", ["private", "public"], indirect=True)
@pytest.mark.parametrize("name", ["403 for this name alone", "403 with a reason", "redirect of this name alone"])
async def test_what_is_none_of_its_ways_is_asked_about_once_a_minute(house: House, name: str) -> None:
    house.turn(UNCLEAR[name])
    await house.start()
    for _ in range(20):
        with pytest.raises(UpstreamError) as caught:
            await house.team.project_page(SECRET)
        assert isinstance(caught.value, CredentialRefused) is name.startswith("403")
        assert caught.value.answer is None
    assert len(house.index.asked) <= 20 + 2 + 4


async def test_a_name_that_is_lacked_is_no_failure_of_the_source(house: House) -> None:
    house.turn(ABSENT["403 of an object store"])
    await house.start()
    assert await house.hears("acme-a") == "listed"
    for number in range(20):
        assert await house.hears(f"name-{number}") == "absent"
    assert house.metrics.upstream_up.labels("team")._value.get() == 1

"""The part is not taken for the whole: each fault, where it may lie, and all that must go on being answered beside it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest

from tests.support import lies
from tests.support.clock import FakeClock
from tests.support.lies import Liar, Lie, Talk, running
from tests.support.packages import wheel_name
from wheelgate.core.errors import Busy, UpstreamError, UpstreamUnavailable
from wheelgate.core.protocols import Credential
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.client import SourceClient

EIGHT = [f"bad-{number}" for number in range(8)]
LATER = ("Retry-After: 300",)


class LockedVault:
    """A connection whose vault cannot be reached."""

    connection = "locked"

    async def headers(self) -> Mapping[str, str]:
        raise UpstreamUnavailable("connection locked has no secret: key vault cannot be reached")

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, *_: object) -> None:
        return None


class World:
    """A source whose pages are on one host, and its files there and on others."""

    def __init__(self, own: Liar, files: Liar, dead: str) -> None:
        self.own = own
        self.files = files
        self.dead = dead
        """Origin of a host that takes no connection."""
        self.locked_path = "nowhere"
        self.patience_s = 4.5
        self.clock = FakeClock()
        self.metrics = Metrics()
        hosts = tuple(origin.removeprefix("http://") for origin in (files.origin, dead))
        self.client = SourceClient(
            source="public",
            url=own.origin + "/",
            file_hosts=hosts,
            credentials=self,
            clock=self.clock,
            metrics=self.metrics,
            user_agent="test",
        )
        self._number = 0

    def for_url(self, url: str) -> Credential | None:
        return LockedVault() if self.locked_path in url else None

    async def page(self, name: str) -> None:
        deadline = Deadline.after(self.patience_s)
        await self.client.page(f"{self.own.url(name)}{name}/", accept=lies.JSON, deadline=deadline)

    async def file(self, name: str, at: Liar | str, *, small: bool = False) -> None:
        origin = at if isinstance(at, str) else at.origin
        url, deadline = f"{origin}/{name}/files/{wheel_name(name, '1.0')}", Deadline.after(self.patience_s)
        async with self.client.file(url, small=small, deadline=deadline) as answer:
            async for _ in answer.chunks():
                pass

    async def find_refused(self) -> set[str]:
        """Ask for a new one of everything, and return the kinds of what is not answered."""
        self._number += 1
        name = f"innocent-{self._number}"
        everything: dict[str, Awaitable[None]] = {
            "page": self.page(name),
            "file": self.file(name, self.own),
            "metadata": self.file(name, self.own, small=True),
            "file elsewhere": self.file(name, self.files),
            "metadata elsewhere": self.file(name, self.files, small=True),
        }
        refused = set()
        for kind, question in everything.items():
            try:
                async with asyncio.timeout(2):
                    await question
            except (UpstreamError, TimeoutError):
                refused.add(kind)
        return refused

    def metric(self, name: str) -> float:
        line = next(line for line in self.metrics.exposition().decode().splitlines() if line.startswith(f"{name}{{"))
        return float(line.split()[-1])


@pytest.fixture
def own() -> Iterator[Liar]:
    with running(Liar()) as made:
        yield made


@pytest.fixture
def files() -> Iterator[Liar]:
    with running(Liar()) as made:
        yield made


@pytest.fixture
async def world(own: Liar, files: Liar) -> AsyncIterator[World]:
    with socket.socket() as unused:  # bound, and never listening
        unused.bind(("127.0.0.1", 0))
        made = World(own, files, f"http://127.0.0.1:{unused.getsockname()[1]}")
        yield made
        await made.client.close()


async def all_of(questions: list[Awaitable[None]]) -> None:
    """Let all of them fail."""
    for outcome in await asyncio.gather(*questions, return_exceptions=True):
        assert isinstance(outcome, UpstreamError), outcome


async def bad_pages(world: World, lie: Lie, names: list[str] = EIGHT) -> None:
    world.own.pages |= dict.fromkeys(names, lie)
    await all_of([world.page(name) for name in names])


async def bad_files(world: World, lie: Lie, names: list[str] = EIGHT, *, elsewhere: bool = True, small: bool = False) -> None:
    at = world.files if elsewhere else world.own
    at.files |= dict.fromkeys(names, lie)
    await all_of([world.file(name, at, small=small) for name in names])


async def pages_redirected(world: World, to: str) -> None:
    """Pages that lead to another host."""

    async def lead(talk: Talk) -> None:
        await lies.redirect(talk, f"{to}/{talk.name}/simple/{talk.name}/")

    await bad_pages(world, lead)


async def redirect_targets_that_ask_to_wait(world: World) -> None:
    world.files.pages |= dict.fromkeys(EIGHT, partial(lies.status, line="503 Later", headers=LATER))
    await pages_redirected(world, world.files.origin)


async def files_on_a_dead_host(world: World) -> None:
    await all_of([world.file(name, world.dead) for name in EIGHT])


async def files_behind_a_locked_vault(world: World) -> None:
    world.locked_path = "/bad-"
    await all_of([world.file(name, world.files) for name in EIGHT])


STATUS = partial(partial, lies.status)
Inflict = Callable[[World], Awaitable[None]]
BESIDE_PAGES = {"page"}
TABLE: dict[str, tuple[Inflict, set[str]]] = {
    # what happens, and what may be refused from then on: nothing else
    "eight pages answer 500": (partial(bad_pages, lie=STATUS(line="500 No")), set()),
    "eight pages answer 503": (partial(bad_pages, lie=STATUS(line="503 No")), set()),
    "eight pages are reset": (partial(bad_pages, lie=lies.reset), set()),
    "eight pages are cut": (partial(bad_pages, lie=lies.cut_length), set()),
    "eight pages are not HTTP": (partial(bad_pages, lie=partial(lies.raw, data=b"nonsense\r\n\r\n")), set()),
    "eight pages want a credential": (partial(bad_pages, lie=STATUS(line="401 Who")), set()),
    "one page asks to wait": (partial(bad_pages, lie=STATUS(line="503 Later", headers=LATER), names=["bad"]), set()),
    "one page is throttled": (partial(bad_pages, lie=STATUS(line="429 Slower", headers=LATER), names=["bad"]), set()),
    "eight pages are throttled": (partial(bad_pages, lie=STATUS(line="429 Slower", headers=LATER)), BESIDE_PAGES),
    "one page says nothing": (partial(bad_pages, lie=lies.hang, names=["bad"]), set()),
    "eight pages say nothing": (partial(bad_pages, lie=lies.hang), BESIDE_PAGES),
    "eight pages stop in the middle": (partial(bad_pages, lie=lies.hang_in_body), set()),
    "eight files answer 500": (partial(bad_files, lie=STATUS(line="500 No")), set()),
    "eight files want a credential": (partial(bad_files, lie=STATUS(line="401 Who")), set()),
    "one file asks to wait": (partial(bad_files, lie=STATUS(line="429 Slower", headers=LATER), names=["bad"]), set()),
    "eight files elsewhere are throttled": (
        partial(bad_files, lie=STATUS(line="429 Slower", headers=LATER)),
        {"file elsewhere"},
    ),
    "eight files beside the pages are throttled": (
        partial(bad_files, lie=STATUS(line="429 Slower", headers=LATER), elsewhere=False),
        {"file"},
    ),
    "one metadata file says nothing": (partial(bad_files, lie=lies.hang, names=["bad"], small=True), set()),
    "eight metadata files say nothing": (partial(bad_files, lie=lies.hang, small=True), {"metadata elsewhere"}),
    "eight files say nothing": (partial(bad_files, lie=lies.hang), {"file elsewhere"}),
    "the identity has no requests left elsewhere": (
        partial(bad_files, lie=STATUS(line="403 No", headers=("X-RateLimit-Remaining: 0", *LATER)), names=["bad"]),
        {"file elsewhere", "metadata elsewhere"},
    ),
    "a host of files takes no connection": (files_on_a_dead_host, set()),
    "pages lead to a host that takes no connection": (lambda world: pages_redirected(world, world.dead), set()),
    "pages lead to where they are asked to wait": (redirect_targets_that_ask_to_wait, set()),
    "the vault of one connection is locked": (files_behind_a_locked_vault, set()),
}


SILENT_HOSTS = {
    "eight pages say nothing",
    "eight metadata files say nothing",
    "eight files say nothing",
    "a host of files takes no connection",
    "pages lead to a host that takes no connection",
}


@pytest.mark.parametrize("fault", TABLE)
async def test_all_but_what_failed_goes_on_being_answered(world: World, fault: str) -> None:
    inflict, may_be_refused = TABLE[fault]
    await inflict(world)
    assert await world.find_refused() <= may_be_refused
    assert world.metric("wheelgate_upstream_breaker_open") == (fault in SILENT_HOSTS)


async def test_a_silent_source_is_noticed_and_closed_to_all_but_one_at_a_time(world: World) -> None:
    """Eight at once take all the time they have to show it; whoever comes then is not kept waiting."""
    world.patience_s = 5
    began = asyncio.get_running_loop().time()
    await bad_pages(world, lies.hang)
    assert asyncio.get_running_loop().time() - began < 6
    assert world.metric("wheelgate_upstream_up") == 0
    with pytest.raises(UpstreamUnavailable, match="asked again in 2 s") as caught:
        await world.page("innocent")
    assert caught.value.retry_after_s is not None
    world.clock.move(2)
    await world.page("innocent")
    assert world.metric("wheelgate_upstream_breaker_open") == 0
    assert world.metric("wheelgate_upstream_up") == 1


async def test_one_page_that_fails_does_not_make_its_source_look_down(world: World) -> None:
    await world.page("innocent")
    await bad_pages(world, STATUS(line="500 No"), ["bad"])
    assert world.metric("wheelgate_upstream_up") == 1
    await bad_pages(world, STATUS(line="500 No"), EIGHT[:2])
    assert world.metric("wheelgate_upstream_up") == 0


async def test_what_has_broken_down_is_not_asked_three_times_for_everything(world: World) -> None:
    await bad_pages(world, STATUS(line="500 No"))
    before = len(world.own.asked)
    await bad_pages(world, STATUS(line="500 No"), [f"more-{number}" for number in range(8)])
    assert len(world.own.asked) - before == 8


async def test_a_pause_of_one_file_is_no_pause_of_the_source_and_one_of_all_is_shown_while_it_lasts(world: World) -> None:
    slower = STATUS(line="429 Slower", headers=LATER)
    await bad_pages(world, slower, ["bad"])
    assert world.metric("wheelgate_upstream_paused_seconds") == 0
    await bad_pages(world, slower)
    assert world.metric("wheelgate_upstream_paused_seconds") == 300
    world.clock.move(100)
    assert world.metric("wheelgate_upstream_paused_seconds") == 200
    world.clock.move(300)
    assert world.metric("wheelgate_upstream_paused_seconds") == 0


async def test_downloads_that_nobody_reads_hold_neither_pages_nor_metadata_nor_other_hosts(world: World) -> None:
    async with AsyncExitStack() as opened:
        world.files.sizes["large"] = lies.MIB
        for _ in range(128):  # all that work behind the scenes may hold
            await opened.enter_async_context(world.client.file(f"{world.files.origin}/large/files/x.whl"))
        assert await world.find_refused() == {"file elsewhere"}
    assert await world.find_refused() == set()


async def test_who_waits_for_us_hears_so_and_nothing_is_held_against_the_source(world: World) -> None:
    lock = asyncio.Event()

    async def wait(talk: Talk) -> None:
        await asyncio.to_thread(lambda: None)
        while not lock.is_set():
            await asyncio.sleep(0.01)
        await talk.answer(talk.page)

    names = [f"slow-{number}" for number in range(192)]  # all that work behind the scenes may hold
    world.own.pages |= dict.fromkeys(names, wait)
    slow = [asyncio.create_task(world.page(name)) for name in names]
    await asyncio.sleep(0.5)
    with pytest.raises(Busy) as caught:
        await world.client.page(f"{world.own.url('new')}new/", accept=lies.JSON, deadline=Deadline.after(2.3))
    assert caught.value.retry_after_s == 2
    assert str(caught.value).startswith("source public was not asked: this server is busy here, and ")
    assert not world.own.asked_for("new")
    lock.set()
    await asyncio.gather(*slow)
    assert world.metric("wheelgate_upstream_breaker_open") == 0
    assert await world.find_refused() == set()


async def test_an_answer_that_comes_too_late_for_our_sake_is_not_held_against_the_source(world: World) -> None:
    """Little time is left when it is asked: it is not silent, we were late."""
    await world.page("innocent")

    async def slowly(talk: Talk) -> None:
        await asyncio.sleep(1)
        with suppress(ConnectionError):
            await talk.answer(talk.page)

    names = [f"slow-{number}" for number in range(8)]
    world.own.pages |= dict.fromkeys(names, slowly)
    asked = (world.client.page(f"{world.own.url(name)}{name}/", accept=lies.JSON, deadline=Deadline.after(0.3)) for name in names)
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(outcome, Busy), outcome
    assert world.metric("wheelgate_upstream_up") == 1
    assert await world.find_refused() == set()

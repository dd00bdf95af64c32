"""Rules before a source: looked at once, again when something changed, and never a moment too late."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from tests.sources.source_contract import SourceContract
from tests.support.clock import FakeClock
from tests.support.packages import sha256, wheel_name
from tests.support.sources import FakeSource, counted, filenames, listed
from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import parse_release, parse_specifier
from wheelgate.index.rules import Cooldown, Rules, Waiver
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics

DAY = timedelta(days=1)
NAME = "demo"


def rules(deny: Sequence[str] = (), cooldown: Cooldown | None = None, waivers: Sequence[Waiver] = ()) -> Rules:
    return Rules(deny=[parse_release(text) for text in deny], cooldown=cooldown, waivers=waivers)


class World:
    gives_digests = True
    lists_names = True

    def __init__(self, clock: FakeClock, given: Rules | None = None, *, private: bool = False, max_bytes: int = 10**8) -> None:
        self.clock = clock
        self.inner = FakeSource("pypi", clock)
        self.metrics = Metrics()
        self.book = RuleBook(given or rules())
        self.source = Screened(
            self.inner, private=private, book=self.book, clock=clock, metrics=self.metrics, max_bytes=max_bytes
        )

    async def page(self) -> ProjectPage:
        return await self.source.project_page(NAME)

    def confirm(self) -> None:
        """The source says the same again, as a revalidation does."""
        page = self.inner._answer(NAME)
        self.inner._pages[NAME] = msgspec.structs.replace(page, as_of=self.clock.now())

    def count(self, rule: str) -> float:
        return counted(self.metrics, "withheld_files", source="pypi", rule=rule)

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        self.inner.publish(project, "", filename=filename, hashes={"sha256": sha256(body)})

    async def remove(self, project: str) -> None:
        self.inner.remove(project)

    async def fail(self) -> None:
        self.inner.fail()

    async def mend(self) -> None:
        self.inner.mend()


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock, rules(deny=["other", "acme-lib>99"], cooldown=timedelta(0)))


class TestScreened(SourceContract):
    pass


async def test_a_page_is_looked_at_once(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["demo<2"]))
    world.inner.publish(NAME, "1.0")
    world.inner.publish(NAME, "2.0")
    page = await world.page()
    assert filenames(page) == [wheel_name(NAME, "2.0")]
    clock.move(1e6)
    assert await world.page() is page
    assert world.count("deny") == 1


async def test_a_page_confirmed_anew_keeps_its_files(clock: FakeClock) -> None:
    """So that it need not be rendered again."""
    world = World(clock, rules(deny=["demo<2"], cooldown=3 * DAY))
    world.inner.publish(NAME, "1.0", upload_time=clock.now() - 9 * DAY)
    world.inner.publish(NAME, "2.0", upload_time=clock.now() - 9 * DAY)
    world.inner.publish(NAME, "3.0")
    page = await world.page()
    clock.move(60)
    world.confirm()
    again = await world.page()
    assert again is not page
    assert again.revision == page.revision
    assert again.withheld is page.withheld
    assert again.freshness.valid_until == page.freshness.valid_until
    assert again.as_of == clock.now()
    assert await world.page() is again
    assert world.count("deny") == 1


async def test_without_a_rule_for_it_a_page_passes_as_it_is(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["other"]))
    world.inner.publish(NAME, "1.0")
    assert await world.page() is world.inner._answer(NAME)
    world.confirm()
    assert await world.page() is world.inner._answer(NAME)


async def test_a_file_appears_on_a_cached_page_at_the_second_its_cooldown_ends(clock: FakeClock) -> None:
    world = World(clock, rules(cooldown=3 * DAY))
    world.inner.publish(NAME, "1.0", upload_time=clock.now() - 9 * DAY)
    world.inner.publish(NAME, "2.0", upload_time=clock.now())
    page = await world.page()
    assert page.freshness.valid_until == clock.now() + 3 * DAY
    clock.move(3 * 86_400 - 1)
    assert await world.page() is page
    clock.move(1)
    later = await world.page()
    assert filenames(later) == [wheel_name(NAME, "1.0"), wheel_name(NAME, "2.0")]
    assert later.freshness.valid_until is None
    assert world.inner._answer(NAME).revision == later.revision


async def test_a_waiver_ends_on_a_cached_page(clock: FakeClock) -> None:
    until = clock.now() + DAY
    world = World(clock, rules(deny=["demo"], waivers=[Waiver(NAME, "1.0", parse_specifier("1.0"), "why", "ada", until)]))
    world.inner.publish(NAME, "1.0")
    assert (await world.page()).files
    clock.move(86_400)
    assert not (await world.page()).files


async def test_new_rules_hold_for_pages_that_were_looked_at_before(clock: FakeClock) -> None:
    world = World(clock)
    world.inner.publish(NAME, "1.0")
    assert (await world.page()).files
    stricter = rules(deny=["demo"])
    world.book.rules = stricter
    assert not (await world.page()).files
    world.book.rules = rules()
    assert (await world.page()).files


async def test_a_new_answer_is_looked_at_anew(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["demo<2"]))
    world.inner.publish(NAME, "2.0")
    await world.page()
    world.inner.publish(NAME, "1.0")
    assert filenames(await world.page()) == [wheel_name(NAME, "2.0")]
    world.inner.remove(NAME)
    with pytest.raises(ProjectNotFound):
        await world.page()


async def test_failures_pass(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["demo"]))
    world.inner.publish(NAME, "1.0")
    await world.page()
    world.inner.fail()
    with pytest.raises(UpstreamUnavailable):
        await world.page()


async def test_what_a_source_withheld_itself_is_not_counted_again(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["demo<2"]))
    world.inner.publish(NAME, "1.0")
    from wheelgate.core.model import Withheld

    page = world.inner._answer(NAME)
    before = Withheld("demo-0-py3-none-any.whl", "pypi", "digest", "it changed")
    world.inner._pages[NAME] = msgspec.structs.replace(page, withheld=(before,))
    assert (await world.page()).withheld[0] is before
    assert (world.count("digest"), world.count("deny")) == (0, 1)


async def test_a_page_too_large_to_remember_is_right_all_the_same(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["demo<2"]), max_bytes=2_000)
    for version in ("1.0", "2.0", "3.0"):
        world.inner.publish(NAME, version)
    for _ in range(2):
        assert len((await world.page()).files) == 2
    assert world.source._pages._pages.currsize <= 2_000


async def test_a_rule_for_public_sources_leaves_private_ones_alone(clock: FakeClock) -> None:
    world = World(clock, rules(cooldown=3 * DAY), private=True)
    world.inner.publish(NAME, "1.0")
    assert (await world.page()).files


async def test_a_huge_page_holds_nobody_up(clock: FakeClock) -> None:
    """Judged three times: this machine does other things too."""
    given = rules(deny=["demo<0.5", "demo==1.7.*"], cooldown=3 * DAY)
    files = tuple(listed(NAME, f"{n // 5_000}.{n // 50}.{n % 50}", source="pypi") for n in range(60_000))
    page = ProjectPage(project=NAME, files=files, as_of=clock.now())
    gc.collect()
    gc.freeze()  # what other tests left is not gone through again and again while this one looks at its clock
    for _ in range(3):
        began = time.perf_counter()
        screened = given.screen(page, "pypi", False, clock.now())
        alone = time.perf_counter() - began
        world = World(clock, given)
        world.inner.files[NAME], world.inner._pages[NAME] = {}, page
        asked, longest, last = asyncio.create_task(world.page()), 0.0, time.perf_counter()
        while not asked.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        assert (await asked).files == screened.files
        if longest < alone / 2:
            return
    raise AssertionError(f"others waited for {longest:.3f} s, of {alone:.3f} s that it takes alone")


async def test_nothing_is_kept_of_a_page_that_no_rule_is_about_and_no_page_of_one_that_passes(clock: FakeClock) -> None:
    world = World(clock, rules(deny=["other"]))
    world.inner.publish(NAME, "1.0", upload_time=clock.now() - 9 * DAY)
    assert await world.page() is world.inner._answer(NAME)
    assert not world.source._pages._pages
    world.book.rules = rules(cooldown=3 * DAY)
    for _ in range(2):
        assert await world.page() is world.inner._answer(NAME)
        assert world.source._pages._pages[NAME][1] is None

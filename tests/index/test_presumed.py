"""Names that are presumed to be a source's own, and copies of sources that are offline: nothing is claimed without evidence."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.index.test_passing import OLD, OWN, PUBLIC, World, sources_of
from tests.support.sources import FakeSource
from wheelgate.core.errors import NotHeld, ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import Judgement, Ownership
from wheelgate.core.unusable import UnusableLinks
from wheelgate.index.ownership import HeldSource


class Presuming:
    """A judge of a source that had nothing from outside, and says so of every name; asked again, it says what it is told to."""

    def __init__(self, verdict: Ownership, **more: bool) -> None:
        self.verdict = Judgement(ownership=verdict, reason="as confirmed", **more)  # type: ignore[arg-type]
        self.confirmed: list[str] = []

    async def judge(self, project: str) -> Judgement:
        return Judgement(ownership=Ownership.OWN, reason="it has no upstreams", is_presumed=True)

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:
        self.confirmed.append(project)
        return self.verdict

    def note_served(self, project: str) -> None:
        pass


async def test_what_it_does_not_list_is_absent_and_nobody_is_asked_whose_it_is() -> None:
    world, judge = World(), Presuming(Ownership.UNKNOWN)
    world.pypi.publish(PUBLIC, "1.0", upload_time=world.clock.now() - OLD)
    assert sources_of(await world.index(judge).decide(PUBLIC)) == {"pypi"}
    assert judge.confirmed == []


async def test_what_it_lists_and_passes_through_by_now_is_public() -> None:
    world, judge = World(), Presuming(Ownership.PUBLIC)
    world.list_publicly()
    assert sources_of(await world.index(judge).decide(PUBLIC)) == {"pypi"}
    assert world.claimed() == set()


@pytest.mark.parametrize(("for_good", "kind"), [(False, UpstreamUnavailable), (True, NotHeld)])
@pytest.mark.parametrize("usable", [True, False])
async def test_what_it_lists_and_nobody_can_tell_is_refused_and_not_claimed(
    for_good: bool, kind: type[Exception], usable: bool
) -> None:
    world, judge = World(), Presuming(Ownership.UNKNOWN, is_for_good=for_good)
    world.list_publicly()
    if not usable:
        world.feed.errors[PUBLIC] = UnusableLinks("no link of it can be used", source="feed")
    decision = await world.index(judge).decide(PUBLIC)
    assert type(decision.error) is kind
    assert world.claimed() == set()
    assert world.pypi.asked == []


async def test_what_is_confirmed_to_be_its_own_is_claimed() -> None:
    world, judge = World(), Presuming(Ownership.OWN)
    world.feed.publish(OWN, "1.0")
    assert sources_of(await world.index(judge).decide(OWN)) == {"feed"}
    assert world.claimed() == {OWN}


async def test_copies_of_a_source_that_is_offline_make_no_claim() -> None:
    world = World()
    copies = FakeSource("devpi", world.clock)
    held = HeldSource(copies, remedy="say upstream", book=world.book, claims=world.claims)
    for project in (OWN, PUBLIC):
        copies.publish(project, "1.0")
    await world.claims.claim(OWN, "devpi")
    assert len((await held.project_page(OWN)).files) == 1
    with pytest.raises(NotHeld, match=f"{PUBLIC} was never claimed as its own, so nobody can tell whose it is: say upstream"):
        await held.project_page(PUBLIC)
    with pytest.raises(ProjectNotFound):
        await held.project_page("six")

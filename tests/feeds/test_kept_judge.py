"""Whose a project of a feed is that is offline: by the records alone, and never more than they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore
from wheelgate.core.devops import FeedPlace
from wheelgate.core.model import STALE_IF_ERROR_S, Ownership
from wheelgate.feeds.findings import OwnershipFinding
from wheelgate.feeds.kept_judge import KeptJudge
from wheelgate.feeds.records import FeedRecords, KeptFinding
from wheelgate.feeds.service import FeedDescription, FeedUpstream
from wheelgate.index.foreign_claims import ForeignClaims
from wheelgate.storage.claims import Claim

PLACE = FeedPlace("https://feeds.dev.azure.com/acme/_apis/packaging/feeds", "team")
PYPI = FeedUpstream("1", "PyPI", "public", True)
OWN, PUBLIC, UNKNOWN = Ownership.OWN, Ownership.PUBLIC, Ownership.UNKNOWN


@pytest.fixture
async def store(clock: FakeClock) -> MemoryStore:
    """A store as a process left it that asked: ``demo`` is mixed, ``idna`` public."""
    store = MemoryStore()
    records = FeedRecords("team", feed=PLACE.url, store=store)
    mixed = OwnershipFinding(OWN, "has versions of it", frozenset({"3"}))
    for project, finding in (("demo", mixed), ("idna", OwnershipFinding(PUBLIC, "has none of it but what came from PyPI"))):
        records.keep(project, KeptFinding.of(finding, PLACE.url, clock.now()))
    records.keep_description(FeedDescription((PYPI,)), clock.now())
    await records.close()
    return store


def start(store: MemoryStore, clock: FakeClock, *, alone: bool = True, feed: str = "team") -> KeptJudge:
    return KeptJudge("team", place=FeedPlace(PLACE.feeds_url, feed), clock=clock, store=store, alone=alone)


async def test_records_tell_whose_a_project_is_for_as_long_as_nobody_is_asked(store: MemoryStore, clock: FakeClock) -> None:
    clock.move(30 * STALE_IF_ERROR_S)
    judge = start(store, clock)
    own, public = await judge.judge("demo"), await judge.judge("idna")
    assert (own.ownership, own.own_versions, own.is_presumed) == (OWN, frozenset({"3"}), False)
    assert (public.ownership, public.outage_since) == (PUBLIC, None)
    assert public.last_heard is not None, "a claim is not ended by what is as old as that"


@pytest.mark.parametrize("feed", ["team", "renamed"])
async def test_what_no_record_tells_of_is_nobodys_if_there_are_copies(store: MemoryStore, clock: FakeClock, feed: str) -> None:
    judge = start(store, clock, feed=feed)
    project = "six" if feed == "team" else "demo"
    assert (await judge.judge(project)).is_presumed
    found = await judge.confirm(project, clock.now())
    assert (found.ownership, found.is_for_good) == (UNKNOWN, True)
    assert found.reason.startswith(f"nobody can tell whether {project} is source team's own or passed on by it: it is offline")
    assert 'upstream = "public"' in found.reason


async def test_beside_sources_that_are_asked_a_public_name_is_one_of_before_an_outage_for_a_day(
    store: MemoryStore, clock: FakeClock
) -> None:
    judge = start(store, clock, alone=False)
    heard = clock.now()
    clock.move(3_600)
    found = await judge.judge("idna")
    assert (found.ownership, found.outage_since, found.last_heard) == (PUBLIC, heard, heard)
    clock.move(STALE_IF_ERROR_S)
    assert (await judge.judge("idna")).ownership is UNKNOWN
    assert (await judge.judge("demo")).ownership is OWN


async def test_a_claim_is_not_called_foreign_by_what_was_heard_long_ago(store: MemoryStore, clock: FakeClock) -> None:
    member = SimpleNamespace(source=SimpleNamespace(name="team"), judge=start(store, clock))
    doubts: list[str] = []
    foreign = ForeignClaims(SimpleNamespace(members=[member]), lambda name, why: doubts.append(name))  # type: ignore[arg-type]

    async def claims() -> AsyncIterator[Claim]:
        yield Claim("idna", "team", clock.now())

    assert [claim async for claim in foreign.find(claims())] == []
    assert doubts == ["idna"]


async def test_a_feed_without_upstreams_has_its_own_alone(clock: FakeClock) -> None:
    store = MemoryStore()
    records = FeedRecords("team", feed=PLACE.url, store=store)
    records.keep_description(FeedDescription(), clock.now())
    await records.close()
    assert (await start(store, clock).confirm("demo", clock.now())).ownership is OWN

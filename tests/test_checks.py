"""What `wheelgate check` tries, beyond what a running command shows of it."""

from __future__ import annotations

import pytest

from proxy.checks import findings
from proxy.metrics import Metrics
from proxy.patterns import NamePatterns
from proxy.sources.decision import Member
from proxy.sources.merged import Merged
from proxy.storage.claims import Claims
from proxy.targets import Target
from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import WatchedStore


@pytest.fixture
def index(clock: FakeClock) -> Merged:
    members = [Member(FakeSource("box", clock), private=True)]
    claims = Claims(WatchedStore(), clock)
    return Merged(members, claims=claims, clock=clock, metrics=Metrics(), reserved=NamePatterns([]))


async def test_a_container_for_uploads_is_written_and_left_as_it_was(index: Merged) -> None:
    box = WatchedStore()
    _, found = [finding async for finding in findings("the store", index, [Target("box", box)])]
    assert found.ok
    assert len(box.written) == 1
    assert [info async for info in box.list("")] == []


async def test_one_that_may_only_be_read_is_found_before_the_first_upload(index: Merged) -> None:
    box = WatchedStore()
    box.fails = lambda method, path: method == "put_if_absent"
    _, found = [finding async for finding in findings("the store", index, [Target("box", box)])]
    assert (found.what, found.ok) == ("source box (private)", False)
    _, unwritten = [finding async for finding in findings("the store", index, [])]
    assert unwritten.ok

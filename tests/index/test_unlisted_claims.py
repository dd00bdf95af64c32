"""A claimed name that no private source lists: said once, counted, and explained with the remedy."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import WatchedStore
from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Decision, Member
from wheelgate.index.explain import explain_decision, format_explanation
from wheelgate.index.merged import Merged
from wheelgate.index.unlisted_claims import UnlistedClaims
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims


def unlisted_in(metrics: Metrics) -> float | None:
    """The gauge, as it is exposed."""
    return metrics._registry.get_sample_value("wheelgate_unlisted_claims")


async def test_it_is_said_once_counted_and_explained(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    store, metrics = WatchedStore(), Metrics()
    team, public = FakeSource("team", clock), FakeSource("public", clock)
    claims = Claims(store, clock, StoreChanges(store, clock))
    index = Merged(
        [Member(team, private=True), Member(public, private=False)],
        claims=claims,
        clock=clock,
        metrics=metrics,
        reserved=NamePatterns([]),
    )
    team.publish("acme-a", "1.0")
    public.publish("acme-a", "99.0")
    await index.decide("acme-a")
    assert (unlisted_in(metrics), caplog.messages) == (0, [])

    team.remove("acme-a")
    for _ in range(3):
        decision = await index.decide("acme-a")
    (line,) = caplog.messages
    assert "acme-a" in line
    assert "wheelgate release acme-a --reason" in line
    assert unlisted_in(metrics) == 1
    explanation = await in_slices(explain_decision(decision, await claims.get("acme-a")))
    assert "wheelgate release acme-a --reason" in explanation["reason"]
    assert "wheelgate release acme-a --reason" in format_explanation(explanation)
    assert {method for method, _ in store.calls}.isdisjoint({"list", "list_folder"}), "found by key"

    team.fail(UpstreamUnavailable("down", source="team"))  # who cannot be heard may list it
    await index.decide("acme-a")
    assert unlisted_in(metrics) == 1
    team.mend()
    team.publish("acme-a", "1.1")
    await index.decide("acme-a")
    assert unlisted_in(metrics) == 0

    team.remove("acme-a")
    await index.decide("acme-a")
    await claims.release("acme-a", "moved")
    await index.decide("acme-a")
    assert unlisted_in(metrics) == 0
    assert len(caplog.messages) == 1, "at most a line in ten seconds, however many names there are"


def test_what_is_remembered_of_them_is_bounded() -> None:
    metrics = Metrics()
    unlisted = UnlistedClaims(metrics, most=10)
    for number in range(30):
        unlisted.note(Decision(f"acme-{number}", (), "", claimed=True))
    assert unlisted_in(metrics) == 10

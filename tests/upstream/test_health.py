"""When a source is asked at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import FakeClock
from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.upstream.health import Health

DOWN = "source feed cannot be reached"


def asked(health: Health) -> bool:
    """Whether a request made now would go out."""
    try:
        health.check()
    except UpstreamUnavailable:
        return False
    return True


def opened(clock: FakeClock) -> Health:
    health = Health("feed", clock)
    for _ in range(5):
        health.check()
        health.record_failure(DOWN)
    return health


def test_four_failures_in_a_row_are_borne(clock: FakeClock) -> None:
    health = Health("feed", clock)
    for _ in range(4):
        assert asked(health)
        health.record_failure(DOWN)
    assert asked(health)


def test_after_five_failures_nobody_asks_and_everybody_hears_why(clock: FakeClock) -> None:
    health = opened(clock)
    with pytest.raises(UpstreamUnavailable) as caught:
        health.check()
    assert str(caught.value) == f"{DOWN} (asked again in 5 s)"
    assert caught.value.source == "feed"


def test_a_success_in_between_starts_the_count_anew(clock: FakeClock) -> None:
    health = Health("feed", clock)
    for _ in range(4):
        health.record_failure(DOWN)
    health.record_success()
    for _ in range(4):
        health.record_failure(DOWN)
    assert asked(health)


def test_one_request_tries_while_the_others_go_on_failing_at_once(clock: FakeClock) -> None:
    health = opened(clock)
    clock.move(4.9)
    assert not asked(health)
    clock.move(0.2)
    assert asked(health)
    assert not asked(health)


def test_a_successful_try_lets_everybody_in(clock: FakeClock) -> None:
    health = opened(clock)
    clock.move(5)
    health.check()
    health.record_success()
    assert asked(health)
    assert asked(health)


def test_the_tries_become_rarer_up_to_one_a_minute(clock: FakeClock) -> None:
    health = opened(clock)
    waits = []
    for _ in range(8):
        waited = 0
        while not asked(health):
            clock.move(1)
            waited += 1
        waits.append(waited)
        health.record_failure(DOWN)
    assert waits == [5, 10, 20, 40, 60, 60, 60, 60]


def test_many_requests_failing_in_one_outage_open_it_for_five_seconds_not_for_a_minute(clock: FakeClock) -> None:
    health = Health("feed", clock)
    under_way = 50
    for _ in range(under_way):
        health.check()
    for _ in range(under_way):
        health.record_failure(DOWN)
    clock.move(5)
    assert asked(health)


def test_a_try_whose_outcome_never_comes_does_not_close_the_source_for_ever(clock: FakeClock) -> None:
    health = opened(clock)
    clock.move(5)
    assert asked(health)  # and its caller goes away
    clock.move(5)
    assert asked(health)


def test_the_sentence_repeats_what_went_wrong_last(clock: FakeClock) -> None:
    health = opened(clock)
    clock.move(5)
    health.check()
    health.record_failure("source feed answered 500")
    with pytest.raises(UpstreamUnavailable, match="source feed answered 500"):
        health.check()


def test_a_pause_that_the_upstream_asks_for_is_kept(clock: FakeClock) -> None:
    health = Health("feed", clock)
    assert health.pause(7) == 7
    clock.move(3)
    with pytest.raises(UpstreamUnavailable) as caught:
        health.check()
    assert str(caught.value) == "source feed asked us to wait another 4 s"
    assert caught.value.retry_after_s == 4
    clock.move(4)
    assert asked(health)


@pytest.mark.parametrize(("said", "kept"), [(0, 1), (-5, 1), (1, 1), (299, 299), (86_400, 300), (float("inf"), 300)])
def test_a_pause_has_bounds(clock: FakeClock, said: float, kept: float) -> None:
    health = Health("feed", clock)
    assert health.pause(said) == kept
    clock.move(kept - 0.5)
    assert not asked(health)
    clock.move(0.5)
    assert asked(health)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["check", "failed", "succeeded", 1, 7, 30]), max_size=60))
def test_a_source_is_always_asked_again_within_a_minute(events: list[str | int]) -> None:
    clock = FakeClock()
    health = Health("feed", clock)
    for event in events:
        if event == "check":
            asked(health)
        elif event == "failed":
            health.record_failure(DOWN)
        elif event == "succeeded":
            health.record_success()
            assert asked(health)
        elif isinstance(event, int):
            clock.move(event)
    clock.move(60)
    assert asked(health)

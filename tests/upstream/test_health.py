"""What is asked at all: whatever failed is held against nothing wider than it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import FakeClock
from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.runtime.deadline import Deadline
from wheelgate.upstream.health import Health
from wheelgate.upstream.question import Fault, Question, QuestionKind

DOWN = "source feed cannot be reached"
NAMES = ("a", "b", "c", "d")


class Asking:
    """Asks a source as its client does, and lets come of it what the test says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.health = Health("feed", clock)

    @staticmethod
    def question(name: str, kind: QuestionKind = QuestionKind.PAGE, host: str = "feed.example") -> Question:
        question = Question(f"https://{host}/{name}/", kind, Deadline(math.inf))
        question.host = host
        return question

    def begin(self, name: str, kind: QuestionKind = QuestionKind.PAGE, host: str = "feed.example") -> Question:
        """Ask, or raise."""
        question = self.question(name, kind, host)
        self.health.check(question)
        self.health.check_host(question, to_ask=False)
        self.health.check_host(question, to_ask=True)
        return question

    def end(self, question: Question, outcome: str, reason: str = DOWN) -> None:
        if outcome in ("answered", "broken", "paused", "used up"):
            self.health.record_heard(question, failed=outcome != "answered")
        if outcome == "answered":
            self.health.record_answer(question)
            return
        if outcome in ("paused", "used up"):
            self.health.pause(question, 30, whole=outcome == "used up")
        faults = {"silent": Fault.SILENT, "unreachable": Fault.UNREACHABLE}
        self.health.record_fault(question, faults.get(outcome, Fault.BROKEN), reason)
        self.health.record_failure(question, reason)

    def ask(
        self, name: str, outcome: str, kind: QuestionKind = QuestionKind.PAGE, host: str = "feed.example", reason: str = DOWN
    ) -> None:
        self.end(self.begin(name, kind, host), outcome, reason)

    def may(self, name: str, kind: QuestionKind = QuestionKind.PAGE, host: str = "feed.example") -> bool:
        """Whether a question asked now would go out. It does, and nothing comes of it."""
        try:
            self.begin(name, kind, host)
        except UpstreamUnavailable:
            return False
        return True


@pytest.fixture
def asking(clock: FakeClock) -> Asking:
    return Asking(clock)


def ask_all(asking: Asking, names: Iterable[str], outcome: str) -> None:
    for name in names:
        asking.ask(name, outcome)


# ---- one address ----------------------------------------------------------------------------------------------------


def test_an_address_that_fails_five_times_in_a_row_is_given_a_rest_and_no_other(asking: Asking) -> None:
    ask_all(asking, "aaaa", "broken")
    assert asking.may("a")
    asking.ask("a", "broken")
    with pytest.raises(UpstreamUnavailable) as caught:
        asking.begin("a")
    assert str(caught.value) == f"{DOWN} (asked again in 5 s)"
    assert (caught.value.source, caught.value.retry_after_s) == ("feed", 5)
    assert asking.may("b")
    assert asking.may("a", QuestionKind.FILE)


def test_an_address_that_says_nothing_is_given_a_rest_sooner(asking: Asking) -> None:
    ask_all(asking, "aa", "silent")
    assert not asking.may("a")
    assert asking.may("b")


def test_an_answer_in_between_starts_the_count_anew(asking: Asking) -> None:
    for _ in range(2):
        ask_all(asking, "aaaa", "broken")
        asking.ask("a", "answered")
    assert asking.may("a")


def test_one_request_tries_while_the_others_go_on_failing_at_once(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "aaaaa", "broken")
    clock.move(4.9)
    assert not asking.may("a")
    clock.move(0.2)
    trying = asking.begin("a")
    assert not asking.may("a")
    asking.end(trying, "answered")
    assert asking.may("a")
    assert asking.may("a")


def test_the_tries_become_rarer_up_to_one_in_ten_seconds(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "aaaaa", "broken")
    waits = []
    for _ in range(4):
        waited = 0
        while True:
            try:
                trying = asking.begin("a")
            except UpstreamUnavailable:
                clock.move(1)
                waited += 1
            else:
                break
        waits.append(waited)
        asking.end(trying, "broken", "source feed answered 500")
    assert waits == [5, 10, 10, 10]
    with pytest.raises(UpstreamUnavailable, match="source feed answered 500"):
        asking.begin("a")


def test_many_requests_failing_in_one_outage_open_it_for_five_seconds_not_for_longer(asking: Asking, clock: FakeClock) -> None:
    for question in [asking.begin("a") for _ in range(50)]:
        asking.end(question, "broken")
    clock.move(5)
    assert asking.may("a")


def test_a_try_that_was_not_made_after_all_is_the_next_ones(asking: Asking, clock: FakeClock) -> None:
    """A busy server, or a vault that gives no secret, is not the address's doing."""
    ask_all(asking, "aaaaa", "broken")
    clock.move(5)
    asking.health.record_failure(asking.begin("a"), "busy")
    asking.ask("a", "answered")


def test_what_was_not_the_upstreams_doing_is_held_against_nobody(asking: Asking) -> None:
    for _ in range(20):
        asking.health.record_failure(asking.begin("a"), "busy")
    assert asking.may("a")


def test_failures_of_long_ago_are_forgotten(asking: Asking, clock: FakeClock) -> None:
    for _ in range(9):
        asking.ask("a", "broken")
        clock.move(601)


# ---- a pause -------------------------------------------------------------------------------------------------------


def test_a_pause_that_an_address_asks_for_is_kept_for_it_alone(asking: Asking, clock: FakeClock) -> None:
    asking.ask("a", "paused")
    clock.move(26)
    with pytest.raises(UpstreamUnavailable) as caught:
        asking.begin("a")
    assert str(caught.value) == "source feed asked us to wait another 4 s before it is asked for this again"
    assert caught.value.retry_after_s == 4
    assert asking.may("b")
    clock.move(4)
    assert asking.may("a")
    assert asking.health.paused_s <= 0


def test_what_several_addresses_ask_for_is_asked_for_by_all_of_their_kind(asking: Asking, clock: FakeClock) -> None:
    for name in "abc":
        asking.ask(name, "paused")
        clock.move(1)
    with pytest.raises(UpstreamUnavailable, match=r"another 27 s \(it says so of more than one address at feed.example\)"):
        asking.begin("d")
    assert asking.health.paused_s == 27
    assert asking.may("d", QuestionKind.FILE)
    assert asking.may("d", host="files.example")
    clock.move(27)
    assert asking.may("d")


def test_one_that_is_answered_shows_that_the_pauses_of_others_are_their_own(asking: Asking) -> None:
    ask_all(asking, "ab", "paused")
    asking.ask("c", "answered")
    asking.ask("d", "paused")
    assert asking.may("e")


def test_a_budget_that_is_used_up_is_the_hosts(asking: Asking, clock: FakeClock) -> None:
    asking.ask("a", "used up")
    assert not asking.may("b")
    assert not asking.may("b", QuestionKind.FILE)
    assert asking.may("b", host="files.example")
    clock.move(30)
    assert asking.may("b")


@pytest.mark.parametrize(("said", "kept"), [(0, 1), (-5, 1), (1, 1), (299, 299), (86_400, 300), (float("inf"), 300)])
def test_a_pause_has_bounds(asking: Asking, clock: FakeClock, said: float, kept: float) -> None:
    assert asking.health.pause(asking.question("a"), said, whole=False) == kept
    clock.move(kept - 0.5)
    assert not asking.may("a")
    clock.move(0.5)
    assert asking.may("a")


# ---- a host ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["broken", "silent"])
def test_one_address_never_silences_a_source(asking: Asking, clock: FakeClock, outcome: str) -> None:
    for _ in range(40):
        if asking.may("a"):
            asking.end(asking.question("a"), outcome)
        clock.move(1)
    assert asking.may("b")


def test_any_number_of_addresses_that_fail_soon_keep_no_other_from_being_asked(asking: Asking) -> None:
    ask_all(asking, map(str, range(500)), "broken")
    assert asking.may("b")
    assert not asking.health.is_open


def test_a_source_that_says_nothing_to_three_addresses_is_silent(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "abc", "silent")
    with pytest.raises(UpstreamUnavailable) as caught:
        asking.begin("d")
    assert (str(caught.value), caught.value.retry_after_s) == (f"{DOWN} (asked again in 2 s)", 2)
    assert asking.health.is_open
    assert asking.may("d", QuestionKind.FILE), "files may come from elsewhere behind the same name"
    assert asking.may("d", host="files.example")


def test_silence_about_made_up_names_says_nothing_of_a_source(asking: Asking) -> None:
    for name in "abcde":
        question = asking.begin(name)
        question.is_control = True
        asking.end(question, "silent")
    assert not asking.health.is_open
    assert asking.may("f")


def test_silences_far_apart_are_each_ones_own(asking: Asking, clock: FakeClock) -> None:
    for name in "abcde":
        asking.ask(name, "silent")
        clock.move(31)
    assert not asking.health.is_open


def test_a_silent_source_is_asked_by_one_every_few_seconds_however_long_it_lasts(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "abc", "silent")
    asked = []
    for second in range(600):
        clock.move(1)
        try:
            trying = asking.begin(f"name-{second}")
        except UpstreamUnavailable:
            continue
        asking.end(trying, "silent")
        asked.append(second)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert max(gaps) == 5
    clock.move(5)
    asking.ask("again", "answered")
    assert asking.may("d")
    assert not asking.health.is_open


def test_a_host_without_connections_is_found_out_by_any_five_attempts(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "aaabb", "unreachable")
    assert not asking.may("c")
    assert not asking.may("c", QuestionKind.FILE)
    assert asking.may("c", host="files.example")
    clock.move(2)
    asking.ask("c", "broken")
    assert asking.may("d"), "it answers: with a failure, but it is there"


def test_a_try_whose_outcome_never_comes_does_not_close_a_host_for_ever(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "abc", "silent")
    clock.move(2)
    assert asking.may("d")  # and its caller goes away
    clock.move(2)
    assert asking.may("d")


def test_a_try_that_one_breaker_allows_and_another_does_not_is_not_lost(asking: Asking, clock: FakeClock) -> None:
    ask_all(asking, "abc", "silent")
    clock.move(1)
    under_way = [asking.question(name) for name in "vwxyz"]
    for question in under_way:
        asking.end(question, "unreachable")
    clock.move(1)
    assert not asking.may("d"), "the kind is due, the host is not"
    clock.move(1)
    assert asking.may("d"), "both are"


def test_what_is_remembered_is_bounded(asking: Asking) -> None:
    for number in range(3_000):
        asking.ask(str(number), "broken")
        asking.ask("x", "silent", host=f"host-{number}")
    assert len(asking.health._addresses) == 1_000
    assert len(asking.health._lanes) == 256


# ---- the rule, over any sequence -------------------------------------------------------------------------------------


class Rule:
    """The rule itself, told from all that happened: no breaker, no bound, no evidence kept by."""

    def __init__(self) -> None:
        self.happened: list[tuple[float, str, str]] = []

    def allows_to_refuse(self, name: str, now: float) -> bool:
        own = self._since_answer([event for event in self.happened if event[1] == name])
        if sum({"silent": 5}.get(outcome, 2) for _, _, outcome in own) >= 10:
            return True
        if any(outcome == "paused" and now < at + 30 for at, _, outcome in own):
            return True
        if any(outcome == "used up" and now < at + 30 for at, _, outcome in self.happened):
            return True
        return self.is_silent() or self.is_unreachable() or self._asked_to_wait(now)

    def is_silent(self) -> bool:
        """Three different addresses within a minute, and no answer since."""
        since = [event for event in self._since_answer(self.happened) if event[2] == "silent"]
        return any(len({name for at, name, _ in since if last - 60 <= at <= last}) >= 3 for last, _, _ in since)

    def is_unreachable(self) -> bool:
        in_a_row = 0
        for _, _, outcome in self.happened:
            in_a_row = in_a_row + 1 if outcome == "unreachable" else in_a_row if outcome == "silent" else 0
        return in_a_row >= 5

    def _asked_to_wait(self, now: float) -> bool:
        since = [event for event in self._since_answer(self.happened) if event[2] == "paused"]
        return len({name for at, name, _ in since if now < at + 30}) >= 3

    @staticmethod
    def _since_answer(events: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
        answered = [number for number, event in enumerate(events) if event[2] == "answered"]
        return events[answered[-1] + 1 :] if answered else events


OUTCOMES = ("answered", "broken", "silent", "unreachable", "paused", "used up")
STEPS = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(OUTCOMES)),
    st.tuples(st.sampled_from(NAMES), st.sampled_from(("silent", "broken", "unreachable"))),
    st.sampled_from((0.5, 3.0, 12.0, 65.0)),
)


@settings(deadline=None, max_examples=400)
@given(st.lists(STEPS, max_size=60))
def test_nobody_is_refused_because_of_others_unless_the_source_is_silent(steps: list[tuple[str, str] | float]) -> None:
    clock, rule = FakeClock(), Rule()
    asking = Asking(clock)
    for step in steps:
        if isinstance(step, float):
            clock.move(step)
            continue
        name, outcome = step
        now = clock.monotonic()
        try:
            question = asking.begin(name)
        except UpstreamUnavailable:
            assert rule.allows_to_refuse(name, now), (name, rule.happened)
            continue
        asking.end(question, outcome)
        rule.happened.append((now, name, outcome))
        if rule.is_silent() or rule.is_unreachable():
            assert asking.health.is_open, "noticed with the last of them"
            assert not asking.may("new")
    clock.move(30)  # the longest pause of all
    assert asking.may("new")
    assert all(map(asking.may, NAMES)) or asking.health.is_open

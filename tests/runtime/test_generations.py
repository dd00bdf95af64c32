"""Generations never repeat, and say of each key alone that it changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wheelgate.runtime import generations
from wheelgate.runtime.generations import Generations

KEYS = st.sampled_from(["a", "b", "c", "d", "e"])


@given(st.lists(st.one_of(KEYS, st.none()), max_size=60))
def test_a_key_keeps_its_generation_until_it_or_everything_changes(changes: list[str | None]) -> None:
    counted = Generations()
    passed = {key: [counted.of(key)] for key in "abcde"}
    for change in changes:
        before = {key: counted.of(key) for key in passed}
        counted.advance(change)
        for key, generations_seen in passed.items():
            now = counted.of(key)
            if change is None or hash(change) % generations._COUNTERS == hash(key) % generations._COUNTERS:
                assert now not in generations_seen
                generations_seen.append(now)
            else:
                assert now == before[key]


def test_a_change_is_hardly_one_of_any_other_key_however_many_have_changed() -> None:
    """After 10,000 uploads nothing else is dropped either."""
    counted = Generations()
    for number in range(50_000):
        counted.advance(f"changed-{number}")
    before = {key: counted.of(key) for key in map(str, range(4_000))}
    counted.advance("one-more")
    assert sum(counted.of(key) != generation for key, generation in before.items()) <= 10
    assert len(counted._counts) == generations._COUNTERS

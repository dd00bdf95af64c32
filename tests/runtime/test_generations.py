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
            if change in (key, None):
                assert now not in generations_seen
                generations_seen.append(now)
            else:
                assert now == before[key]


def test_too_many_keys_are_a_change_of_everything_and_memory_stays_bounded() -> None:
    counted = Generations()
    before = counted.of("never-changed")
    for number in range(generations._MAX_KEYS + 5):
        counted.advance(str(number))
    assert counted.of("never-changed") != before
    assert len(counted._keys) < 10

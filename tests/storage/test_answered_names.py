"""Answers about names are the last ones given, and take little memory."""

from __future__ import annotations

import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from wheelgate.storage.answered_names import AnsweredNames

NAMES = st.sampled_from(["a", "ab", "a-b", "b", "b-a", "c"])


@given(steps=st.lists(st.tuples(NAMES, st.sampled_from([True, False, None])), max_size=40))
def test_the_last_answer_counts_until_it_is_forgotten(steps: list[tuple[str, bool | None]]) -> None:
    answered, model = AnsweredNames(100), dict[str, bool]()
    for name, answer in steps:
        if answer is None:
            answered.forget(name)
            model.pop(name, None)
        else:
            answered.put(name, answer)
            model[name] = answer
        assert all(answered.get(known) == model.get(known) for known in ("a", "ab", "a-b", "b", "b-a", "c", "z"))
        assert len(answered) == len(model)
    answered.forget(None)
    assert len(answered) == 0


def test_what_is_remembered_is_bounded() -> None:
    answered = AnsweredNames(10)
    answered.put("claimed", True)
    for number in range(35):
        answered.put(f"free-{number}", False)
        assert len(answered) <= 11
    assert answered.get("free-34") is False
    assert answered.get("claimed") is True


def test_a_name_takes_less_than_sixty_bytes() -> None:
    tracemalloc.start()
    try:
        answered = AnsweredNames(200_000)
        for number in range(4_000):
            answered.put(f"acme-team-{number % 70}-lib-{number:06d}", number % 3 == 0)
        gc.collect()  # Python keeps thousands of the tuples that were freed, for whoever makes the next ones
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes / 4_000 < 60

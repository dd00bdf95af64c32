"""Every fuzz target, on its seeds, on what broke it once, on long input, and on inputs made of its language.

``python -m tests.fuzzing`` runs the same targets by hand, guided by coverage.
"""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing.target import Target, find_failure, kept_inputs, load, names, shrink, try_input

_LONG_BYTES = 20 * 1024
_MOST_BYTES = 64 * 1024 * 1024
NAMES = names()


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_kept_inputs_break_nothing(name: str) -> None:
    target = load(name)
    inputs = {**{f"seed {number}": seed for number, seed in enumerate(target.seeds)}, **kept_inputs(name)}
    assert len(inputs) > 1
    for which, data in inputs.items():
        failure = find_failure(target, data)
        assert failure is None, f"{which}: {failure}"


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded(name: str) -> None:
    target = load(name)
    for data in (*target.seeds, *kept_inputs(name).values()):
        tracemalloc.start()
        try:
            target.check(data)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < _MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_one_word_again_and_again_ends_in_time(name: str) -> None:
    target = load(name)
    for word in target.words:
        try_input(target, word * (_LONG_BYTES // len(word)))


def inputs_of(target: Target) -> st.SearchStrategy[bytes]:
    """Seeds with something cut out or put in, and words in any order."""
    words = st.sampled_from([*target.words, b"\n", b"\0", b"\xff", b"", b"\xed\xa0\x80"]) | st.binary(max_size=6)
    some = st.lists(words, max_size=8).map(b"".join)

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(target.seeds))
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(data)))
            end = draw(st.integers(start, min(len(data), start + 40)))
            data = data[:start] + draw(some) + data[end:]
        return data

    return change() | some


@pytest.mark.parametrize("name", NAMES)
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    target = load(name)

    @settings(
        derandomize=True, print_blob=True, deadline=None, database=None, max_examples=target.examples,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs_of(target))
    def run(data: bytes) -> None:
        try_input(target, data)

    run()


def test_a_failure_is_told_and_shrunk() -> None:
    def check(data: bytes) -> None:
        assert b"x" not in data or b"y" not in data, "both"

    target = Target(check=check, modules=(), seeds=())
    broken = b"a" * 300 + b"x" + b"b" * 300 + b"y"
    failure = find_failure(target, broken)
    assert failure is not None
    assert failure.where.startswith("AssertionError at test_fuzzing.py:")
    assert failure.message.startswith("both")
    assert find_failure(target, b"xx") is None
    assert shrink(broken, lambda data: find_failure(target, data) is not None) == b"xy"

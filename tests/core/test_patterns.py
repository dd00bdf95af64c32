"""Name patterns of the configuration."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheelgate.core.names import normalise_name
from wheelgate.core.patterns import NamePatterns


@pytest.mark.parametrize(
    ("pattern", "project", "matches"),
    [
        ("acme", "acme", True),
        ("acme", "acme-ml", False),
        ("acme", "xacme", False),
        ("acme-*", "acme-ml", True),
        ("acme-*", "acme-ml-core", True),
        ("acme-*", "acme", False),
        ("acme-*", "acmeml", False),
        ("acme-*", "xacme-ml", False),
        ("acme*", "acme", True),
        ("*", "anything", True),
        ("*-internal", "acme-internal", True),
        ("*-internal", "acme-internal-x", False),
        ("a*c*e", "acme", True),
        # the spelling does not matter
        ("Acme_*", "acme-ml", True),
        ("ACME.ML", "acme-ml", True),
        ("acme--ml", "acme-ml", True),
        ("acme.*", "acmeml", False),  # a dot is a dash, never "any character"
    ],
)
def test_a_pattern_matches_whole_normalised_names(pattern: str, project: str, matches: bool) -> None:
    patterns = NamePatterns([pattern])
    assert (project in patterns) is matches
    assert (patterns.first_for(project) is not None) is matches


def test_the_first_pattern_that_matches_is_the_one_named() -> None:
    patterns = NamePatterns(["other", "Acme_*", "acme-ml"])
    assert patterns.first_for("acme-ml") == "acme-*"
    assert patterns.first_for("stranger") is None


def test_no_patterns_match_nothing() -> None:
    patterns = NamePatterns([])
    assert not patterns
    assert "demo" not in patterns
    assert "" not in patterns
    assert NamePatterns(["demo"])


@pytest.mark.parametrize("pattern", ["demo", "acme-*", "*", "A.b_c-9", "a" * 200])
def test_what_can_stand_for_names_is_valid(pattern: str) -> None:
    assert NamePatterns.is_valid(pattern)


@pytest.mark.parametrize("pattern", ["", "a b", "a?", "[ab]", "a/b", "démo", "a\n", "a|b", "(a)", "a" * 201, "^a$", "a\\"])
def test_what_cannot_stand_for_names_is_not_valid(pattern: str) -> None:
    assert not NamePatterns.is_valid(pattern)


@settings(deadline=None, max_examples=200)
@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True), st.data())
def test_a_name_matches_itself_in_any_spelling_and_with_any_part_starred(name: str, data: st.DataObject) -> None:
    project = normalise_name(name)
    assert project is not None
    assert project in NamePatterns([name])
    start = data.draw(st.integers(0, len(project)))
    end = data.draw(st.integers(start, len(project)))
    assert project in NamePatterns([project[:start] + "*" + project[end:]])


def test_many_stars_take_no_time() -> None:
    began = time.process_time()
    patterns = NamePatterns(["*a" * 99 + "*b"] * 5)
    for _ in range(10):
        assert "a" * 200 not in patterns
        assert patterns.first_for("a" * 200) is None
    assert time.process_time() - began < 1

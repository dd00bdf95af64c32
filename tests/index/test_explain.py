"""Explanations: stable words for scripts, sentences for people, from the same decision."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.support.sources import listed
from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.index.decision import Answer, Decision, Outcome
from wheelgate.index.explain import explain_decision, format_explanation
from wheelgate.runtime.cooperative import in_slices
from wheelgate.storage.claims import Claim

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAME = "acme-lib"


def explain(decision: Decision, claim: Claim | None = None, version: str | None = None) -> dict[str, Any]:
    return asyncio.run(in_slices(explain_decision(decision, claim, (), version)))


@pytest.mark.parametrize(
    ("answer", "word", "line"),
    [
        (
            Answer("team", True, Outcome.LISTED, "1 files", NOW, page=ProjectPage(project=NAME, files=(), as_of=NOW)),
            "listed",
            "team (private): has it, 1 files",
        ),
        (
            Answer("team", True, Outcome.ABSENT, "no such project", NOW, error=ProjectNotFound("no such project")),
            "absent",
            "team (private): not there (asked at 2026-01-02 03:04:05Z)",
        ),
        (
            Answer("team", True, Outcome.ABSENT_BEFORE_OUTAGE, "it is down", NOW, error=ProjectNotFound("it is down")),
            "absent_before_outage",
            "team (private): not there before the outage, it is down (asked at 2026-01-02 03:04:05Z)",
        ),
        (
            Answer("pypi", False, Outcome.FAILED, "a portal", NOW, error=UpstreamUnavailable("a portal")),
            "failed",
            "pypi (public): failed, a portal (asked at 2026-01-02 03:04:05Z)",
        ),
        (
            Answer("pypi", False, Outcome.NOT_ASKED, "team owns the name"),
            "not_asked",
            "pypi (public): not asked, team owns the name",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_outcome_has_a_word_for_scripts_and_one_for_people(answer: Answer, word: str, line: str) -> None:
    explanation = explain(Decision(NAME, (answer,), "because"))
    assert type(explanation["sources"][0]["outcome"]) is str
    assert explanation["sources"][0]["outcome"] == word
    assert format_explanation(explanation) == f"{NAME}: because\n  {line}"


def test_the_text_of_an_owned_name_with_more_withheld_than_is_shown() -> None:
    withheld = tuple(Withheld(f"acme_lib-{n}.0-py3-none-any.whl", "team", "deny", "policy.deny has it") for n in range(22))
    page = ProjectPage(project=NAME, files=(listed(NAME, "99.0", source="team"),), withheld=withheld, as_of=NOW)
    decision = Decision(NAME, (), "because", "team", "acme-*", claimed=True, page=page)
    lines = format_explanation(explain(decision, Claim(NAME, "team", NOW))).splitlines()
    assert lines.pop(2) == f"  page: sha256 {explain(decision)['digest']}; complete"
    assert lines[:4] == [
        "acme-lib: because",
        "  owner: team since 2026-01-02 03:04:05Z; 1 files, 22 withheld",
        "  private since 2026-01-02 03:04:05Z, first listed by team",
        "  reserved by the pattern acme-*",
    ]
    assert lines[4] == "  withheld (deny): acme_lib-0.0-py3-none-any.whl of team: policy.deny has it"
    assert (len(lines), lines[-1]) == (25, "  and 2 more withheld: --version X shows those of one version, --json all")


@pytest.mark.parametrize(("observed", "says"), [((), ""), (("size",), "; its source states no size, that of the bytes is shown")])
def test_the_text_tells_a_size_that_was_observed_from_one_that_was_stated(observed: tuple[str, ...], says: str) -> None:
    file = msgspec.structs.replace(listed(NAME, "7.0"), hashes={"sha256": "0" * 64}, size=7, observed=observed)
    explanation = explain(Decision(NAME, (), "because", page=ProjectPage(project=NAME, files=(file,), as_of=NOW)), version="7.0")
    (line,) = [line for line in format_explanation(explanation).splitlines() if line.startswith("  served: ")]
    assert line.endswith(says)
    assert ("states no size" in line) == bool(observed)


@pytest.mark.parametrize("version", [None, "7.0"])
def test_thousands_of_files_are_explained_in_short_steps(version: str | None) -> None:
    """Processor time, since the machine may be busy."""
    names = [f"acme_lib-{number}.0-py3-none-any.whl" for number in range(10_000)]
    withheld = tuple(Withheld(name, "team", "deny", "policy.deny has it") for name in names)
    page = ProjectPage(project=NAME, files=tuple(listed(NAME, f"{n}.1") for n in range(5_000)), withheld=withheld, as_of=NOW)
    steps = explain_decision(Decision(NAME, (), "because", page=page), None, (), version)
    worst_s, explanation = 0.0, None
    while explanation is None:
        began = time.thread_time()
        try:
            next(steps)
        except StopIteration as done:
            explanation = done.value
        worst_s = max(worst_s, time.thread_time() - began)
    assert len(explanation["withheld"]) == (10_000 if version is None else 1)
    assert worst_s < 0.02


def test_a_page_is_known_again_by_its_digest_and_says_whether_it_is_complete() -> None:
    files = tuple(listed(NAME, f"{number}.0") for number in range(300))
    page = ProjectPage(project=NAME, files=files, as_of=NOW, unread=3)
    explanation = explain(Decision(NAME, (), "because", page=page))
    assert explanation["unread"] == 3
    assert "; 3 files are still to be read" in format_explanation({**explanation, "owner": "team"})
    later = msgspec.structs.replace(page, as_of=NOW + timedelta(hours=1), unread=0)
    assert explain(Decision(NAME, (), "because", page=later))["digest"] == explanation["digest"]
    other = page.with_files((msgspec.structs.replace(files[0], size=1), *files[1:]), ())
    assert explain(Decision(NAME, (), "because", page=other))["digest"] != explanation["digest"]


def test_the_manner_of_an_index_stands_below_it() -> None:
    answer = Answer("pypi", False, Outcome.NOT_ASKED, "team owns the name")
    manners = {"pypi": ("states no digests", "sends no upload times"), "other": ("answers every name",)}
    explanation = asyncio.run(in_slices(explain_decision(Decision(NAME, (answer,), "because"), None, manners=manners)))
    assert explanation["sources"][0]["manner"] == ["states no digests", "sends no upload times"]
    assert format_explanation(explanation).splitlines()[-2:] == ["    states no digests", "    sends no upload times"]

"""The pure rules of precedence, as a table: what the sources answer and the settings say, and what is decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource, listed
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamBadAnswer
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Answer, Decision, Member, MergeRule, Outcome
from wheelgate.index.precedence import AskSources, Inquiry, LookUpClaim, MakePage, RecordClaim, conclude, fail, next_step

NAME = "acme-lib"
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
OUTAGE = BEFORE + timedelta(hours=2)
PRIVATE = ("uploads", "team")
MEMBERS = tuple(Member(FakeSource(name, FakeClock()), name in PRIVATE) for name in ("pypi", "uploads", "team", "mirror"))
"""Public ones in between, where they may stand: pypi comes before mirror, and both after the private ones."""


def page(source: str, *, known_since: datetime | None = BEFORE, rule: str = "", files: bool = True) -> ProjectPage:
    """One file, listed or withheld by a rule, or none."""
    file = listed(NAME, "1.0", source=source)
    withheld = (Withheld(file.filename, source, rule, "a rule"),) if rule else ()
    return ProjectPage(
        project=NAME, files=(file,) if files and not rule else (), withheld=withheld, as_of=OUTAGE, known_since=known_since
    )


def answer(name: str, word: str) -> Answer:
    """An answer by its word in the table."""
    pages = {
        "has": page(name),
        "empty": page(name, files=False),
        "new": page(name, known_since=OUTAGE),
        "ageless": page(name, known_since=None),
        "denied": page(name, rule="deny"),
        "young": page(name, rule="outage"),  # as the page is once what may be newer than the outage is withheld
    }
    if word in pages:
        return Answer(name, name in PRIVATE, Outcome.LISTED, page=pages[word])
    outcome, error = {
        "-": (Outcome.ABSENT, ProjectNotFound("no")),
        "silent": (Outcome.ABSENT_BEFORE_OUTAGE, ProjectNotFound("silent", outage_since=OUTAGE, last_heard=BEFORE)),
        "failed": (Outcome.FAILED, UpstreamBadAnswer("a portal", source=name)),
        "only": (Outcome.NOT_ASKED, None),
    }[word]
    return Answer(name, name in PRIVATE, outcome, word, error=error)


def walk(
    words: dict[str, str], *, reserved: bool = False, claimed: bool = False, merge: str = "", offline: bool = False
) -> tuple[str, Decision]:
    """Every step to the decision, as they were taken, and the decision."""
    rule = MergeRule(NamePatterns([NAME]), tuple(merge.split())) if merge else None
    inquiry = Inquiry(NAME, MEMBERS, "acme-*" if reserved else None, rule, offline)
    steps = []
    while True:
        match next_step(inquiry):
            case AskSources(members):
                names = [member.source.name for member in members]
                steps.append(f"ask {' '.join(names)}")
                given = (*inquiry.answers, *(answer(name, words.get(name, "-")) for name in names))
                inquiry = Inquiry(NAME, MEMBERS, inquiry.reserved_by, rule, offline, given, inquiry.claimed)
            case RecordClaim(source):
                steps.append(f"claim for {source}")
                inquiry = Inquiry(NAME, MEMBERS, inquiry.reserved_by, rule, offline, inquiry.answers, True)
            case LookUpClaim():
                steps.append("look up")
                inquiry = Inquiry(NAME, MEMBERS, inquiry.reserved_by, rule, offline, inquiry.answers, claimed)
            case MakePage(decision, parts, joined_by, outage) as step:
                steps.append(f"make of {' '.join(part.source for part in parts) or 'nothing'}")
                assert (decision.page, decision.error) == (None, None)
                assert (joined_by is not None) == ("a merge rule joins" in decision.reason)
                assert (outage is not None) == ("silent" in words.values())
                return ", ".join(steps), conclude(step, parts[0].page or page("") if parts else page("", files=False))
            case Decision() as decision:
                return ", ".join(steps), decision


class Row(NamedTuple):
    answers: str
    settings: dict[str, object]
    steps: str
    owner: str | None
    outcome: str
    """The error's class, or the number of files."""
    reason: str
    spared: str = ""
    """Public sources that are not asked, and why."""


ALL_PRIVATE = "ask uploads team"
ALL = f"{ALL_PRIVATE}, look up, ask pypi mirror"
FIRST, FIRST_PUBLIC = "the first private source that has it is", "no private source has it, and the first public one that does is"
RESERVED = "the name is reserved by acme-*, and no private source has it"
RESERVED_SPARES = "pypi mirror: reserved names are never asked of a public source"
CLAIMED_SPARES = "pypi mirror: a claimed name is never asked of a public source"
EMPTY = "the name was claimed by a private source, and none lists a file of it now"
NOBODY = "every source was asked, and none has it"
TABLE = [
    # Rule 1: the first private source that has it owns it, unless one before it failed.
    Row(
        "uploads has, team has, pypi has",
        {},
        f"{ALL_PRIVATE}, claim for uploads, make of uploads",
        "uploads",
        "1",
        f"{FIRST} uploads",
        "pypi mirror: uploads owns the name",
    ),
    Row(
        "uploads only, team has",
        {},
        f"{ALL_PRIVATE}, claim for team, make of team",
        "team",
        "1",
        f"{FIRST} team",
        "pypi mirror: team owns the name",
    ),
    Row("uploads has, team failed", {}, f"{ALL_PRIVATE}, claim for uploads, make of uploads", "uploads", "1", f"{FIRST} uploads"),
    Row("uploads failed, team has", {}, f"{ALL_PRIVATE}, claim for team", None, "UpstreamBadAnswer", "a portal"),
    Row("uploads failed, pypi has", {}, ALL_PRIVATE, None, "UpstreamBadAnswer", "a portal"),
    Row("uploads empty", {}, f"{ALL_PRIVATE}, make of uploads", "uploads", "0", f"{FIRST} uploads"),
    Row("uploads empty, team has", {}, f"{ALL_PRIVATE}, claim for team, make of uploads", "uploads", "0", f"{FIRST} uploads"),
    Row(
        "uploads denied",
        {},
        f"{ALL_PRIVATE}, claim for uploads, make of uploads",
        "uploads",
        "ProjectWithheld",
        f"{FIRST} uploads, but every file of acme-lib is withheld: a rule",
    ),
    # Rule 2: public sources are asked once every private one has said "not there" of a name neither reserved nor claimed.
    Row("pypi has, mirror has", {}, f"{ALL}, make of pypi", "pypi", "1", f"{FIRST_PUBLIC} pypi"),
    Row("mirror has", {}, f"{ALL}, make of mirror", "mirror", "1", f"{FIRST_PUBLIC} mirror"),
    Row("pypi failed, mirror has", {}, ALL, None, "UpstreamBadAnswer", "a portal"),
    Row("", {}, ALL, None, "ProjectNotFound", NOBODY),
    Row("", {"offline": True}, ALL, None, "NotHeld", NOBODY),
    Row("pypi silent", {}, ALL, None, "UpstreamUnavailable", "silent"),
    Row("team silent", {"offline": True}, ALL, None, "UpstreamUnavailable", "silent"),
    Row("pypi has", {"reserved": True}, ALL_PRIVATE, None, "ProjectNotFound", RESERVED, RESERVED_SPARES),
    Row("team silent", {"reserved": True}, ALL_PRIVATE, None, "UpstreamUnavailable", RESERVED, RESERVED_SPARES),
    Row("pypi has", {"claimed": True}, f"{ALL_PRIVATE}, look up, make of nothing", None, "0", EMPTY, CLAIMED_SPARES),
    Row("team silent", {"claimed": True}, f"{ALL_PRIVATE}, look up", None, "UpstreamUnavailable", "silent", CLAIMED_SPARES),
    # Rule 3: in an outage a page passes only if it was known before, and less what may be newer.
    Row("uploads silent, team has", {}, f"{ALL_PRIVATE}, claim for team, make of team", "team", "1", f"{FIRST} team"),
    Row(
        "uploads silent, team new",
        {},
        f"{ALL_PRIVATE}, claim for team",
        "team",
        "UpstreamUnavailable",
        f"{FIRST} team",
        "pypi mirror: team owns the name",
    ),
    Row("team silent, pypi has", {}, f"{ALL}, make of pypi", "pypi", "1", f"{FIRST_PUBLIC} pypi"),
    Row("team silent, pypi new", {}, ALL, "pypi", "UpstreamUnavailable", f"{FIRST_PUBLIC} pypi"),
    Row("team silent, pypi ageless", {}, ALL, "pypi", "UpstreamUnavailable", f"{FIRST_PUBLIC} pypi"),
    Row("team silent, pypi young", {}, f"{ALL}, make of pypi", "pypi", "UpstreamUnavailable", f"{FIRST_PUBLIC} pypi"),
    Row(
        "team silent, pypi denied",
        {},
        f"{ALL}, make of pypi",
        "pypi",
        "ProjectWithheld",
        f"{FIRST_PUBLIC} pypi, but every file of acme-lib is withheld: a rule",
    ),
    Row("pypi silent, mirror has", {}, f"{ALL}, make of mirror", "mirror", "1", f"{FIRST_PUBLIC} mirror"),
    # Rule 4: two sources share a project where a merge rule says so, and each of them must be heard.
    Row(
        "uploads has, mirror has",
        {"merge": "mirror uploads"},
        f"{ALL_PRIVATE}, claim for uploads, ask mirror, make of mirror uploads",
        "uploads",
        "1",
        f"{FIRST} uploads, and a merge rule joins mirror, uploads",
    ),
    Row(
        "uploads has, mirror failed",
        {"merge": "uploads mirror"},
        f"{ALL_PRIVATE}, claim for uploads, ask mirror",
        "uploads",
        "UpstreamBadAnswer",
        f"{FIRST} uploads",
    ),
    Row(
        "uploads has, team silent",
        {"merge": "uploads team"},
        f"{ALL_PRIVATE}, claim for uploads",
        "uploads",
        "UpstreamUnavailable",
        f"{FIRST} uploads",
    ),
    Row(
        "uploads silent, team has, pypi new",
        {"merge": "team pypi"},
        f"{ALL_PRIVATE}, claim for team, ask pypi",
        "team",
        "UpstreamUnavailable",
        f"{FIRST} team, and a merge rule joins team, pypi",
    ),
    Row(
        "uploads has, pypi has",
        {"merge": "uploads pypi nobody", "reserved": True},
        f"{ALL_PRIVATE}, claim for uploads, make of uploads",
        "uploads",
        "1",
        f"{FIRST} uploads, and a merge rule joins uploads",
    ),
    Row(
        "uploads has",
        {"merge": "team pypi"},
        f"{ALL_PRIVATE}, claim for uploads, make of uploads",
        "uploads",
        "1",
        f"{FIRST} uploads",
        "pypi mirror: uploads owns the name",
    ),
    Row(
        "mirror has",
        {"merge": "team mirror", "claimed": True},
        f"{ALL_PRIVATE}, look up, ask mirror, make of mirror",
        "mirror",
        "1",
        f"{FIRST_PUBLIC} mirror, and a merge rule joins mirror",
    ),
    Row(
        "pypi has",
        {"merge": "team mirror", "claimed": True},
        f"{ALL_PRIVATE}, look up, ask mirror, make of nothing",
        None,
        "0",
        EMPTY,
    ),
    Row(
        "mirror silent",
        {"merge": "team mirror", "claimed": True},
        f"{ALL_PRIVATE}, look up, ask mirror",
        None,
        "UpstreamUnavailable",
        "silent",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.answers} {row.settings}")
def test_the_decision_follows_from_answers_and_settings(row: Row) -> None:
    words = dict(pair.split() for pair in row.answers.split(", ")) if row.answers else {}
    steps, decision = walk(words, **row.settings)  # type: ignore[arg-type]
    assert steps == row.steps
    if decision.error is None:
        assert decision.page is not None
        assert str(len(decision.page.files)) == row.outcome
    else:
        assert type(decision.error).__name__ == row.outcome
        assert (decision.page is not None) == (row.outcome == "ProjectWithheld"), "people may see what is withheld"
    assert (decision.owner, decision.reason) == (row.owner, row.reason)
    assert decision.claimed == ("claim for" in steps or ("look up" in steps and bool(row.settings.get("claimed"))))
    spared = [a for a in decision.answers if not a.private and a.outcome is Outcome.NOT_ASKED]
    if row.spared:
        assert f"{' '.join(a.source for a in spared)}: {spared[0].detail}" == row.spared
    elif "merge" in row.settings:
        assert not spared


def test_a_claim_that_was_not_written_and_one_that_cannot_be_read() -> None:
    inquiry = Inquiry(NAME, MEMBERS, answers=tuple(answer(name, "-") for name in PRIVATE))
    assert next_step(inquiry) == LookUpClaim()
    decision = fail(inquiry, StoreError("the store is down"))
    assert (decision.reason, decision.claimed, len(decision.answers)) == ("the store is down", False, 2)
    given = (answer("uploads", "has"), answer("team", "-"))
    step = next_step(Inquiry(NAME, MEMBERS, answers=given, claimed=True, unrecorded=True))
    assert isinstance(step, MakePage)
    assert step.decision.unrecorded

"""The rules of precedence as a table: what the sources answer and the settings say, who is asked, and what is decided."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from tests.support.clock import FakeClock
from tests.support.sources import listed
from tests.support.stores import WatchedStore
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamBadAnswer
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Decision, Member, MergeRule, Outcome
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

NAME = "acme-lib"
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
OUTAGE = BEFORE + timedelta(hours=2)
PRIVATE = ("uploads", "team")
SOURCES = ("pypi", "uploads", "team", "mirror")
"""Public ones in between, where they may stand: pypi comes before mirror, and both after the private ones."""


def page(
    source: str, *, known_since: datetime | None = BEFORE, denied: bool = False, files: bool = True, young: bool = False
) -> ProjectPage:
    """One file, listed or withheld by a rule, or none."""
    file = listed(NAME, "1.0", source=source, hashes={}, **({"upload_time": OUTAGE} if young else {}))  # type: ignore[arg-type]
    withheld = (Withheld(file.filename, source, "deny", "a rule"),) if denied else ()
    return ProjectPage(
        project=NAME, files=(file,) if files and not denied else (), withheld=withheld, as_of=OUTAGE, known_since=known_since
    )


class TableSource:
    """A source that answers by its word in the table, and notes that it was asked."""

    def __init__(self, name: str, word: str, steps: list[str]) -> None:
        self.name = name
        self._word = word
        self._steps = steps

    async def project_page(self, project: str) -> ProjectPage:
        if self._steps and self._steps[-1].startswith("ask"):
            self._steps[-1] += f" {self.name}"
        else:
            self._steps.append(f"ask {self.name}")
        match self._word:
            case "-":
                raise ProjectNotFound("no")
            case "silent":
                raise ProjectNotFound("silent", outage_since=OUTAGE, last_heard=BEFORE)
            case "failed":
                raise UpstreamBadAnswer("a portal", source=self.name)
        pages = {
            "has": page(self.name),
            "empty": page(self.name, files=False),
            "new": page(self.name, known_since=OUTAGE),
            "ageless": page(self.name, known_since=None),
            "denied": page(self.name, denied=True),
            "young": page(self.name, young=True),  # the page is older than the outage, and the file may be newer
        }
        return pages[self._word]

    async def project_names(self) -> frozenset[str]:
        return frozenset()


class TableClaims(Claims):
    """Claims that note each question, and fail if told to."""

    def __init__(self, steps: list[str], claimed: bool, broken: bool) -> None:
        super().__init__(WatchedStore(), FakeClock(), StoreChanges(WatchedStore(), FakeClock()))
        self._steps = steps
        self._claimed = claimed
        self._broken = broken

    async def holds(self, project: str) -> bool:
        for _ in range(5):  # a look-up takes longer than asking these sources
            await asyncio.sleep(0)
        self._steps.append("look up")
        if self._broken:
            raise StoreError("the store is down")
        return self._claimed

    async def claim(self, project: str, source: str, *, listed: bool = False) -> None:
        assert listed
        self._steps.append(f"claim for {source}")
        if self._broken:
            raise StoreError("the store is down")


async def decide(
    words: dict[str, str],
    *,
    reserved: bool = False,
    claimed: bool = False,
    merge: str = "",
    offline: bool = False,
    broken: bool = False,
) -> tuple[str, Decision]:
    """The questions in their order, and the decision."""
    steps: list[str] = []
    nothing = NamePatterns([])
    index = Merged(
        [
            Member(
                TableSource(name, words.get(name, "-"), steps), name in PRIVATE, nothing if words.get(name) == "only" else None
            )
            for name in SOURCES
        ],
        claims=TableClaims(steps, claimed, broken),
        clock=FakeClock(),
        metrics=Metrics(),
        reserved=NamePatterns(["acme-*"] if reserved else []),
        merges=[MergeRule(NamePatterns([NAME]), tuple(merge.split()))] if merge else [],
        offline=offline,
    )
    decision = await index.decide(NAME)
    # The claim is looked up beside the private sources, whether or not it will matter; what matters is that it is known in time.
    looked_up = steps.index("look up")
    assert not any(public in step for step in steps[:looked_up] for public in ("pypi", "mirror"))
    return ", ".join(step for step in steps if step != "look up"), decision


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
EMPTY = (
    "the name was claimed by a private source, and none lists a file of it now; if public sources should answer: "
    f"wheelgate release {NAME} --reason ..."
)
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
        "ask team, claim for team, make of team",
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
async def test_the_decision_follows_from_answers_and_settings(row: Row) -> None:
    words = dict(pair.split() for pair in row.answers.split(", ")) if row.answers else {}
    steps, decision = await decide(words, **row.settings)  # type: ignore[arg-type]
    questions, _, made_of = row.steps.partition(", make of ")
    assert steps == questions.replace(", look up", "")
    if decision.page is not None:
        sources = {entry.source for entry in (*decision.page.files, *decision.page.withheld)}
        assert sources == ({"empty": set(), "nothing": set()}.get(words.get(made_of, made_of), set(made_of.split())))
    if decision.error is None:
        assert decision.page is not None
        assert str(len(decision.page.files)) == row.outcome
    else:
        assert type(decision.error).__name__ == row.outcome
        assert (decision.page is not None) == (row.outcome == "ProjectWithheld"), "people may see what is withheld"
    assert (decision.owner, decision.reason) == (row.owner, row.reason)
    assert decision.claimed == ("claim for" in steps or ("look up" in questions and bool(row.settings.get("claimed"))))
    spared = [a for a in decision.answers if not a.private and a.outcome is Outcome.NOT_ASKED]
    if row.spared:
        assert f"{' '.join(a.source for a in spared)}: {spared[0].detail}" == row.spared
    elif "merge" in row.settings:
        assert not spared


async def test_a_claim_that_was_not_written_and_one_that_cannot_be_read() -> None:
    steps, decision = await decide({}, broken=True)
    assert steps == "ask uploads team"
    assert (decision.reason, decision.claimed, len(decision.answers)) == ("the store is down", False, 2)
    steps, decision = await decide({"uploads": "has"}, broken=True)
    assert (decision.owner, decision.claimed, type(decision.error)) == (None, True, StoreError)
    assert (
        decision.reason
        == "source uploads has acme-lib, which cannot be recorded as private, so it is not served: the store is down"
    )

"""Decisions about a name, and the answers of sources that they rest on, as values."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum

import msgspec
from packaging.specifiers import SpecifierSet

from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable, WheelgateError
from wheelgate.core.model import Freshness, Judgement, ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import OwnershipJudge, Source
from wheelgate.core.unusable import HoldsProject


class Member(msgspec.Struct, frozen=True):
    """A source of the index, and how far the operator trusts it."""

    source: Source
    private: bool
    only: NamePatterns | None = None
    """Asked for these names alone; ``None``: for all."""
    judge: OwnershipJudge | None = None
    """Tells which projects of a private source are its own; ``None``: all are."""
    public: Member | None = None
    """The same source as a public one, for what it passes through from outside; ``None``: it is not asked for such."""

    def may_hold(self, project: str) -> bool:
        """Tell whether the operator lets this source be asked for the name."""
        return self.only is None or project in self.only


class MergeRule(msgspec.Struct, frozen=True):
    """Projects whose files come from several sources, the earlier one winning a file name."""

    names: NamePatterns
    sources: tuple[str, ...]
    public_versions: SpecifierSet | None = None
    """The versions that public sources may add; ``None``: all."""


class Outcome(StrEnum):
    """The kinds of answer a source can give about a name. The words are stable: scripts read them in ``/explain``."""

    LISTED = "listed"
    ABSENT = "absent"
    """Definitely: the source was heard, or its "not there" is fresh."""
    ABSENT_BEFORE_OUTAGE = "absent_before_outage"
    """The source is unreachable, and this is what it said before. Nothing may be built on it but what was known then."""
    FAILED = "failed"
    NOT_ASKED = "not_asked"


_FOR_EVER = Freshness(math.inf, math.inf)
"""Not being asked follows from settings and claims, and whoever changes those announces it."""


class Answer(msgspec.Struct, frozen=True):
    """The answer of one source about one name, or why it was not asked."""

    source: str
    private: bool
    outcome: Outcome
    detail: str = ""
    asked_at: datetime | None = None
    """The time of the answer (aware, UTC): exact for a page and what stands in for one, else that of asking here."""
    page: ProjectPage | None = None
    """Given if and only if the project is listed."""
    error: WheelgateError | None = None
    """Given for a failure, and for an absence."""
    judgement: Judgement | None = None
    """Whose the project is, of a source that has a judge."""

    @property
    def has_files(self) -> bool:
        """True if the source has files of the project, whether or not one of them can be offered."""
        if self.page is not None:
            return bool(self.page.files or self.page.withheld)
        return isinstance(self.error, HoldsProject)

    @property
    def failure(self) -> WheelgateError | None:
        """The error of a request that needs this answer; ``None``: the source was heard.

        A remembered "not there" is no definite one, so it is an error too.
        """
        if self.outcome is Outcome.ABSENT_BEFORE_OUTAGE:
            return UpstreamUnavailable(self.detail, source=self.source)
        return self.error if self.outcome is Outcome.FAILED else None

    @property
    def freshness(self) -> Freshness:
        """Cache control of this answer, as far as its source told us.

        A page may be served stale while it is revalidated, where its source allows it: what it lists was listed. A "not there"
        never is. It is what lets a page of a source further down be served at all, so once it has run out the source must be
        heard before the next answer, or a name it has gained meanwhile would go on being answered by somebody else.
        """
        if self.outcome is Outcome.NOT_ASKED:
            return _FOR_EVER
        if self.page is not None:
            stated, judged_until = self.page.freshness, math.inf if self.judgement is None else self.judgement.fresh_until
            fresh_until = min(stated.fresh_until, judged_until)
            return msgspec.structs.replace(
                stated, fresh_until=fresh_until, stale_until=max(stated.stale_until, stated.fresh_until)
            )
        until = self.error.fresh_until if isinstance(self.error, ProjectNotFound) else -math.inf
        return Freshness(until, until)


class Decision(msgspec.Struct, frozen=True):
    """Precedence applied to one name: everything that page, file and ``explain`` go by."""

    project: str
    answers: tuple[Answer, ...]
    reason: str
    owner: str | None = None
    reserved_by: str | None = None
    """The pattern."""
    claimed: bool = False
    """A private source lists a file of it, or did once. False as well where the decision did not depend on it."""
    merge: MergeRule | None = None
    """The rule that joins sources for it, as it stood when the decision began."""
    page: ProjectPage | None = None
    """With every file withheld there is a page and an error: people may see it, installers may not."""
    error: WheelgateError | None = None
    """The failure of the request."""

    @property
    def freshness(self) -> Freshness:
        """Cache control of the decision: that of the answer it rests on which ends first."""
        return Freshness.earliest(answer.freshness for answer in self.answers)

    def require_page(self) -> ProjectPage:
        """The page.

        Raises:
            ProjectNotFound, ProjectWithheld, UpstreamError, StoreError: there is none to give.
        """
        if self.error is not None or self.page is None:
            raise self.error or ProjectNotFound(f"no source has a project {self.project}")
        return self.page

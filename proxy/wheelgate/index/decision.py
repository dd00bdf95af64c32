"""Who may answer for a name, and how that came about: the values that precedence is decided with."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec
from packaging.specifiers import SpecifierSet

from wheelgate.core.errors import ProjectNotFound, WheelgateError
from wheelgate.core.model import Freshness, ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Source


class Member(msgspec.Struct, frozen=True):
    """A source and its place in the order of trust."""

    source: Source
    private: bool
    only: NamePatterns | None = None
    """Asked for these names alone; ``None``: for all."""

    def may_hold(self, project: str) -> bool:
        """Whether the operator lets this source be asked for the name."""
        return self.only is None or project in self.only


class MergeRule(msgspec.Struct, frozen=True):
    """Projects whose files come from several sources, the earlier one winning a file name."""

    names: NamePatterns
    sources: tuple[str, ...]
    public_versions: SpecifierSet | None = None
    """The versions that public sources may add; ``None``: all."""


ABSENT_BEFORE = "not there before the outage"
_FOR_EVER = Freshness(math.inf, math.inf)
"""Settings and claims say so, and whoever changes those says that they changed."""


class Answer(msgspec.Struct):
    """What one source said, or that it was not asked, and why."""

    source: str
    private: bool
    outcome: str
    """``has it``, ``not there``, ``not there before the outage``, ``failed`` or ``not asked``."""
    detail: str = ""
    asked_at: datetime | None = None
    """When it said so: of a page and of what stands in for one exactly; else when it was asked here. Aware, UTC."""
    page: ProjectPage | None = None
    error: WheelgateError | None = None

    @property
    def freshness(self) -> Freshness:
        """Cache control of this answer, as far as its source told us.

        A page may be served stale while it is revalidated, where its source allows it: what it lists was listed. A "not there"
        never is. It is what lets a page of a source further down be served at all, so once it has run out the source must be
        heard before the next answer, or a name it has gained meanwhile would go on being answered by somebody else.
        """
        if self.outcome == "not asked":
            return _FOR_EVER
        if self.page is not None:
            stated = self.page.freshness
            return msgspec.structs.replace(stated, stale_until=max(stated.stale_until, stated.fresh_until))
        until = self.error.fresh_until if isinstance(self.error, ProjectNotFound) else -math.inf
        return Freshness(until, until)


class Decision(msgspec.Struct):
    """Who answers for a name, and how that came about: the whole of what page, file and ``explain`` go by."""

    project: str
    answers: list[Answer]
    reason: str = ""
    owner: str | None = None
    reserved_by: str | None = None
    """The pattern."""
    claimed: bool = False
    """A private source lists a file of it, or did once."""
    merge: MergeRule | None = None
    """The rule that joins sources for it, as it stood when the decision began."""
    unrecorded: bool = False
    """The claim could not be written: to be tried again at the next question."""
    page: ProjectPage | None = None
    """With every file withheld there is a page and an error: people may see it, installers may not."""
    error: WheelgateError | None = None
    """What the request fails with."""

    @property
    def freshness(self) -> Freshness:
        """Cache control of the decision: that of the answer it rests on which ends first."""
        earliest = Freshness.earliest(answer.freshness for answer in self.answers)
        return Freshness(valid_until=earliest.valid_until) if self.unrecorded else earliest

    def outcome(self) -> ProjectPage:
        """The page.

        Raises:
            ProjectNotFound, ProjectWithheld, UpstreamError, StoreError: there is none to give.
        """
        if self.error is not None:
            raise self.error
        if self.page is None:
            raise ProjectNotFound(f"no source has a project {self.project}")
        return self.page

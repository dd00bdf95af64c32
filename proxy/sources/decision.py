"""Who may answer for a name, and how that came about: the values that precedence is decided with."""

from __future__ import annotations

import msgspec

from proxy.errors import ProjectNotFound, WheelgateError
from proxy.model import ProjectPage
from proxy.patterns import NamePatterns
from proxy.protocols import Source


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


class Answer(msgspec.Struct):
    """What one source said, or that it was not asked, and why."""

    source: str
    private: bool
    outcome: str
    """``has it``, ``not there``, ``not there before the outage``, ``failed`` or ``not asked``."""
    detail: str = ""
    page: ProjectPage | None = None
    error: WheelgateError | None = None


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
    page: ProjectPage | None = None
    error: WheelgateError | None = None
    """What the request fails with when there is no page."""

    def outcome(self) -> ProjectPage:
        """The page.

        Raises:
            ProjectNotFound, UpstreamError, StoreError: there is none to give.
        """
        if self.page is None:
            raise self.error or ProjectNotFound(f"no source has a project {self.project}")
        return self.page

"""Whose a project of a private source is where the operator has said what else it passes through, or has said nothing.

* ``upstream = "none"``, or nothing said of a source that lists no public names: all is its own. There is no judge for that.
* ``upstream = "public"``: :class:`StatedJudge`.
* Nothing said of a source that lists well-known public names: :class:`GuardedSource`. Of a name that nobody has claimed there
  it cannot be told whose it is, so that the source fails for it: a public source is not asked, since the name may be the
  operator's, and it is not served as private, since it would be claimed for ever and come past the rules.
"""

from __future__ import annotations

import math
from datetime import datetime

from wheelgate.core.errors import NotHeld, StoreError, UpstreamUnavailable
from wheelgate.core.model import Judgement, Ownership, ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Source, SourceWrapper
from wheelgate.index.screened import RuleBook
from wheelgate.sources.public_names import WELL_KNOWN, PublicNames
from wheelgate.storage.claims import Claims


class StatedJudge:
    """The :class:`~wheelgate.core.protocols.OwnershipJudge` of a source with ``upstream = "public"``.

    Its own are the names that its ``only`` covers, those that are reserved, and those that it has claimed.
    """

    def __init__(self, source: str, *, only: NamePatterns | None, book: RuleBook, claims: Claims) -> None:
        self._source = source
        self._only = only
        self._book = book
        self._claims = claims

    async def judge(self, project: str) -> Judgement:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. What is claimed already stays the source's own."""
        stated = self._judge_by_patterns(project)
        if stated.ownership is not Ownership.PUBLIC:
            return stated
        try:
            claimant = await self._claims.claimed_by(project)
        except StoreError as error:
            reason = f"source {self._source} cannot be asked for {project}, since nobody can tell if that is its own: {error}"
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason)
        if claimant == self._source:
            return _own(f"it was claimed by source {self._source}")
        return stated

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:  # noqa: ARG002 - as the protocol has it
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. Nothing is presumed here."""
        return await self.judge(project)

    def note_served(self, project: str) -> None:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. What is stated need not be remembered."""

    def judge_anew(self, project: str) -> Judgement:
        """Judge a project as if it had not been claimed: whether its claim was a mistake."""
        if self._only is None:
            reason = (
                f"source {self._source} does not say which of the names it claimed are its own: list them in its `only`, beside "
                'upstream = "public"'
            )
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason)
        return self._judge_by_patterns(project)

    def _judge_by_patterns(self, project: str) -> Judgement:
        if (pattern := self._book.reserved.first_for(project)) is not None:
            return _own(f"the name is reserved by {pattern}")
        if self._only is not None and (pattern := self._only.first_for(project)) is not None:
            return _own(f"`only` of source {self._source} covers it ({pattern})")
        unnamed = "the name is neither reserved, nor in its `only`, nor claimed by it"
        reason = f'{project} comes to source {self._source} from outside, as its upstream = "public" says: {unnamed}'
        return Judgement(ownership=Ownership.PUBLIC, reason=reason, fresh_until=math.inf)


def _own(reason: str) -> Judgement:
    """It is the source's own, until rules or claims change, which whoever changes them announces."""
    return Judgement(ownership=Ownership.OWN, reason=reason, fresh_until=math.inf)


class GuardedSource(SourceWrapper):
    """A private source of which nobody said what it passes through. If it lists public names, it fails for what is unclaimed."""

    def __init__(self, source: Source, *, names: PublicNames, book: RuleBook, claims: Claims) -> None:
        super().__init__(source)
        self._public_names = names
        self._book = book
        self._claims = claims

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`.

        Raises:
            UpstreamUnavailable: beside what the source raises: nobody can tell whose the project is.
            StoreError: it is not known whether the source claimed it.
        """
        page = await self._source.project_page(project)
        names = self._public_names
        if project in self._book.reserved or await self._claims.claimed_by(project) == self.name:
            if project in WELL_KNOWN:  # it was claimed before anybody looked
                names.look_soon()
            return page
        if page.stale:  # of a time when nobody asked, or when it was not claimed for a reason
            raise UpstreamUnavailable(
                f"source {self.name} cannot be asked now, and whose {project} is was not known before: try again once it answers",
                source=self.name,
            )
        # A claim is for ever: an index that began to pass public packages through a moment ago must not have one made.
        doubt = await names.find_doubt(page.as_of)
        if doubt is None:
            return page
        then = f"nobody can tell whose {project} is" if doubt.is_certain else f"{project} is not served for now"
        raise UpstreamUnavailable(f"{doubt.cause}, so {then}: {doubt.remedy}", source=self.name)


class HeldSource(SourceWrapper):
    """A private source of which nobody said what it passes through, and which is offline.

    It cannot be asked for public names. Its copies were made when it was asked, and what was its own was claimed then.
    """

    def __init__(self, source: Source, *, remedy: str, book: RuleBook, claims: Claims) -> None:
        super().__init__(source)
        self._remedy = remedy
        self._book = book
        self._claims = claims

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`.

        Raises:
            NotHeld: beside what the source raises: nobody can tell whose the project is.
            StoreError: it is not known whether it is claimed.
        """
        page = await self._source.project_page(project)
        if project in self._book.reserved or await self._claims.holds(project):
            return page
        cause = f"source {self.name} is offline, and {project} was never claimed as its own, so nobody can tell whose it is"
        raise NotHeld(f"{cause}: {self._remedy}", source=self.name)

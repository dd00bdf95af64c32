"""Judge of a feed that is offline: what its service said last of its projects, by the records in the store alone.

A name of which there is no record is nobody's that could be told: copies of it are neither claimed nor served as public ones.
Where other sources are asked, a public name is one of before an outage; a day later nobody can tell any more.
"""

from __future__ import annotations

from datetime import datetime

from wheelgate.core.devops import FeedPlace
from wheelgate.core.model import STALE_IF_ERROR_S, Judgement, Ownership
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.feeds.judge import REMEDY
from wheelgate.feeds.records import FeedRecords, KeptFinding
from wheelgate.feeds.service import VersionFact

_FRESH_S = 60.0
"""Another process, which asks, may write a record."""


class KeptJudge:
    """An :class:`~wheelgate.core.protocols.OwnershipJudge` that asks nobody."""

    def __init__(self, source: str, *, place: FeedPlace, clock: Clock, store: BlobStore, alone: bool) -> None:
        """``alone``: no source of this server is asked."""
        self._source = source
        self._clock = clock
        self._alone = alone
        self._records = FeedRecords(source, feed=place.url, store=store)

    async def judge(self, project: str) -> Judgement:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`."""
        kept = await self._records.find(project)
        if kept is None:
            reason = f"source {self._source} is offline, and the store has no record of whose {project} is"
            return Judgement(ownership=Ownership.OWN, reason=reason, is_presumed=True, fresh_until=self._fresh_until)
        return self._judge_by(project, kept)

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:  # noqa: ARG002 - as the protocol has it
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`."""
        kept = await self._records.find(project)
        if kept is not None:
            return self._judge_by(project, kept)
        described = await self._records.find_description()
        if described is not None and not described.description.upstreams:
            reason = f"source {self._source} had no upstream sources when its service was last asked"
            return Judgement(ownership=Ownership.OWN, reason=reason, fresh_until=self._fresh_until)
        return self._unknown(project, "it is offline, and the store has no record of that")

    def note_served(self, project: str) -> None:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. What is kept stays as it is."""

    async def find_facts(self, project: str) -> tuple[VersionFact, ...]:
        """Find what the service said of the versions of a project. Raises nothing."""
        kept = await self._records.find(project)
        return () if kept is None else tuple(kept.versions)

    @property
    def _fresh_until(self) -> float:
        return self._clock.monotonic() + _FRESH_S

    def _judge_by(self, project: str, kept: KeptFinding) -> Judgement:
        when = f"by what its service said on {kept.as_of:%Y-%m-%d}"
        reason = f"source {self._source} {kept.why}, {when}"
        if kept.is_own:
            own = None if kept.is_whole else frozenset(kept.own)
            return Judgement(ownership=Ownership.OWN, reason=reason, own_versions=own, fresh_until=self._fresh_until)
        if not self._alone and (self._clock.now() - kept.as_of).total_seconds() > STALE_IF_ERROR_S:
            return self._unknown(project, f"it is offline, and was last heard of it on {kept.as_of:%Y-%m-%d}")
        return Judgement(
            ownership=Ownership.PUBLIC,
            reason=reason,
            fresh_until=self._fresh_until,
            outage_since=None if self._alone else kept.as_of,
            last_heard=kept.as_of,
            is_vouched_for=True,
        )

    def _unknown(self, project: str, cause: str) -> Judgement:
        reason = f"nobody can tell whether {project} is source {self._source}'s own or passed on by it: {cause}; {REMEDY}"
        return Judgement(ownership=Ownership.UNKNOWN, reason=reason, is_for_good=True)

"""Judge of a feed: what the service says of its projects, remembered as pages are.

What was said is good for as long as a page of the feed is, and for "not there" as long as that. Where the service fails, or says
what nobody can judge by, its last account stands in: of a name that is public for 24 h, of one that is the feed's own for as long
as it is remembered, since a claim does not end either. So it does after a restart, and for other replicas, by a record in the
store. One that was never judged is unknown then, and the sentence says what the operator can do about it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import datetime

import msgspec
from cachetools import LRUCache

from wheelgate.core.devops import FeedPlace
from wheelgate.core.errors import CredentialRefused, UpstreamError, UpstreamUnavailable, without_frames
from wheelgate.core.model import STALE_IF_ERROR_S, Judgement, Ownership
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.feeds.descriptions import PATIENCE_S, RETRY_S, FeedDescriptions
from wheelgate.feeds.findings import OwnershipFinder, OwnershipFinding
from wheelgate.feeds.records import FeedRecords, KeptFinding
from wheelgate.feeds.service import FeedService, VersionFact
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.singleflight import SingleFlight

REMEDY = 'say upstream = "public" or upstream = "none" for it, or in `only` which names are its own'
_REST_S = 300.0
"""For which dates are not asked for again where the service refuses: they are worth less than a question for every page."""
_MOST_BYTES = 8 * 1024 * 1024
_log = logging.getLogger(__name__)


class _KnownProject(msgspec.Struct):
    """The last account of one project."""

    finding: OwnershipFinding
    heard_s: float
    """By the monotonic clock."""
    heard_at: datetime
    retry_at_s: float = -math.inf
    """Monotonic: while the service fails, it is not asked again before."""
    outage_since: datetime | None = None
    is_vouched_for: bool = False
    """Somebody has the name in public: it was saved from there, or served."""


class FeedJudge:
    """An :class:`~wheelgate.core.protocols.OwnershipJudge` that asks the feed's own service. Close it to write what is left."""

    def __init__(
        self,
        source: str,
        *,
        place: FeedPlace,
        service: FeedService,
        clock: Clock,
        fresh_s: float,
        absent_s: float,
        store: BlobStore,
        max_bytes: int = _MOST_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``fresh_s``, ``absent_s``: lifetimes of a page of the feed, and of its "not there".

        ``patience_s``: so long an account that may stand in waits for its successor.
        """
        self._source = source
        self._place = place
        self._service = service
        self._clock = clock
        self._fresh_s = fresh_s
        self._absent_s = absent_s
        self._patience_s = patience_s
        self._records = FeedRecords(source, feed=place.url, store=store)
        self._descriptions = FeedDescriptions(
            source, place=place, service=service, records=self._records, clock=clock, fresh_s=fresh_s
        )
        self._findings = OwnershipFinder(self._descriptions.find, service.list_versions)
        self._known: LRUCache[str, _KnownProject] = LRUCache(max_bytes, getsizeof=lambda known: known.finding.size_bytes)
        self._flights: SingleFlight[_KnownProject] = SingleFlight()
        self._facts_rest_until_s = -math.inf
        self._troubles = TroubleLog(_log)
        self._is_failing = False

    async def close(self) -> None:
        """Cancel what is under way, and write what is not written yet."""
        await self._flights.close()
        await self._descriptions.close()
        await self._records.close()

    async def judge(self, project: str) -> Judgement:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`."""
        if (known := self._find_usable(project)) is None:
            try:
                if not (await self._descriptions.find(self._place)).upstreams:
                    return self._own_all(project)
                known = await self._hear(project)
            except UpstreamError as error:
                if (known := await self._find_stand_in(project)) is None:
                    return self._unknown(project, str(error), error)
                self._note_outage(known, error)
        if known.finding.ownership is Ownership.UNKNOWN:
            return self._unknown(project, known.finding.why)
        return self._tell(known)

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`.

        The feed may have got an upstream source since it was asked what it is, or have lost the one that a page which is
        remembered came from, and a claim is for ever.
        """
        known = self._known.get(project)
        try:
            if known is None or not known.finding.is_evident:
                known = await self._hear_since(project, listed_at)
        except UpstreamError as error:
            known = await self._find_stand_in(project)
            if known is None or not (known.finding.is_evident or known.finding.ownership is Ownership.PUBLIC):
                return self._unknown(project, str(error), error)
            self._note_outage(known, error)
        finding = known.finding
        if finding.ownership is Ownership.UNKNOWN:
            return self._unknown(project, finding.why)
        if finding.ownership is Ownership.OWN and not finding.is_evident and self._descriptions.has_changed_since(listed_at):
            return self._unknown(
                project, "it was listed when the feed may have had other upstream sources, and is asked for again"
            )
        return msgspec.structs.replace(self._tell(known), is_presumed=False)

    def note_served(self, project: str) -> None:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`."""
        if (known := self._known.get(project)) is not None and known.outage_since is None:
            known.is_vouched_for = True
            self._keep(project, known)

    async def find_facts(self, project: str) -> tuple[VersionFact, ...]:
        """Find what the service says of the versions of a project; nothing where it cannot be asked. Raises nothing."""
        if self._clock.monotonic() < self._facts_rest_until_s:
            return ()
        try:
            known = self._find_usable(project) or await self._hear(project)
        except UpstreamError as error:
            if not isinstance(error, UpstreamUnavailable):
                self._facts_rest_until_s = self._clock.monotonic() + _REST_S
            self._troubles.report("facts", f"the files of source {self._source} have no dates of its feed: {error}", logging.INFO)
            return ()
        return known.finding.versions

    async def find_saved(self, project: str) -> frozenset[str] | None:
        """Find the keys of the versions that the feed has; what else it lists, it would save once that is downloaded.

        ``None``: it passes nothing on. None that can be told of, where the service cannot be asked.
        """
        try:
            if not any(upstream.is_live for upstream in (await self._descriptions.find(self._place)).upstreams):
                return None
        except UpstreamError:
            return frozenset()
        return frozenset(fact.key for fact in await self.find_facts(project) if not fact.is_deleted)

    async def describe(self) -> str:
        """Ask the service what the feed is, for people: completes "source team ...".

        Raises:
            UpstreamError: it does not say.
        """
        feed = await self._service.describe(self._place)
        live = [upstream for upstream in feed.upstreams if upstream.is_live]
        if not live:
            return "has no upstream sources: all that it lists is its own"
        said = ", ".join(f"{upstream.name} ({'public' if upstream.kind == 'public' else 'another feed'})" for upstream in live)
        return f"passes on packages of {said}: own ones are claimed, public ones stay public"

    def _find_usable(self, project: str) -> _KnownProject | None:
        """Find what need not be asked for now; ``None``: it has to be."""
        known, now = self._known.get(project), self._clock.monotonic()
        if known is None or now >= self._find_end(known):
            return None
        return known

    def _find_end(self, known: _KnownProject) -> float:
        lifetime_s = {Ownership.OWN: self._fresh_s, Ownership.PUBLIC: self._absent_s}.get(known.finding.ownership, RETRY_S)
        fresh_until = known.heard_s + min(lifetime_s, math.inf)
        return max(fresh_until, known.retry_at_s if self._may_stand_in(known) else -math.inf)

    def _may_stand_in(self, known: _KnownProject) -> bool:
        if known.finding.ownership is Ownership.OWN:
            return True
        return known.finding.ownership is Ownership.PUBLIC and self._clock.monotonic() - known.heard_s <= STALE_IF_ERROR_S

    async def _hear(self, project: str) -> _KnownProject:
        known = self._known.get(project)
        flight = self._flights.run(project, lambda: self._ask(project))
        if known is None or not self._may_stand_in(known):
            return await flight
        try:
            async with asyncio.timeout(self._patience_s) as patience:
                return await flight
        except TimeoutError:
            if not patience.expired():
                raise
            known.retry_at_s = self._clock.monotonic() + RETRY_S  # the flight goes on, for those who come then
            # What was public hours ago may be the feed's own by now: it is no more than what was said before an outage.
            known.outage_since = known.outage_since or self._clock.now()
            return known

    async def _hear_since(self, project: str, moment: datetime) -> _KnownProject:
        """Hear of a project what was so at a moment or later, or what stays so.

        Raises:
            UpstreamError: the service does not say.
        """
        await self._descriptions.find_since(moment)
        for _ in range(2):  # a flight that is under way may have begun too early
            known = await self._flights.run(project, lambda: self._ask(project))
            if known.finding.is_evident or (known.outage_since is None and known.heard_at >= moment):
                return known
        raise UpstreamUnavailable("the feed service does not answer", source=self._source)

    async def _ask(self, project: str) -> _KnownProject:
        asked_at = self._clock.now()
        try:
            finding = await self._findings.find(self._place, project)
        except UpstreamError as error:
            known = await self._find_stand_in(project)
            if known is None:
                raise without_frames(error) from None
            self._note_outage(known, error)
            return known
        if finding.ownership is Ownership.UNKNOWN and (known := await self._find_stand_in(project)) is not None:
            known.outage_since = known.outage_since or self._clock.now()
            return known
        if self._is_failing:
            self._is_failing = False
            self._troubles.report("service", f"source {self._source}: the feed service answers again", logging.INFO)
        known = _KnownProject(finding, self._clock.monotonic(), asked_at)
        self._remember(project, known)
        known.is_vouched_for = bool(finding.versions)
        if finding.own or finding.versions:  # else it may be a name that nobody has
            self._keep(project, known)
        return known

    def _keep(self, project: str, known: _KnownProject) -> None:
        if known.finding.ownership is not Ownership.UNKNOWN:
            self._records.keep(project, KeptFinding.of(known.finding, self._place.url, known.heard_at))

    def _note_outage(self, known: _KnownProject, error: UpstreamError) -> None:
        self._is_failing = True
        known.outage_since = known.outage_since or self._clock.now()
        self._troubles.report("service", f"source {self._source}: what is known of its feed stands in: {error}", logging.WARNING)

    def _remember(self, project: str, known: _KnownProject) -> None:
        self._known.pop(project, None)
        if known.finding.size_bytes <= self._known.maxsize:
            self._known[project] = known

    async def _find_stand_in(self, project: str) -> _KnownProject | None:
        """Find what was known of a project last, here or by the store; ``None``: nothing that is good for it any more."""
        known = self._known.get(project)
        if (known is None or not self._may_stand_in(known)) and (kept := await self._records.find(project)) is not None:
            age_s = max(0.0, (self._clock.now() - kept.as_of).total_seconds())
            known = _KnownProject(kept.finding, self._clock.monotonic() - age_s, kept.as_of, is_vouched_for=True)
            self._remember(project, known)
        if known is None or not self._may_stand_in(known):
            return None
        known.retry_at_s = self._clock.monotonic() + RETRY_S
        return known

    def _own_all(self, project: str) -> Judgement:
        known = self._known.get(project)
        return Judgement(
            ownership=Ownership.OWN,
            reason=f"source {self._source} has no upstream sources: all that it lists was published to it",
            is_presumed=known is None or not known.finding.is_evident,
            fresh_until=self._descriptions.fresh_until,
        )

    def _tell(self, known: _KnownProject) -> Judgement:
        finding = known.finding
        is_own, own = finding.ownership is Ownership.OWN, finding.own or frozenset(version.key for version in finding.versions)
        # A feed of which nothing was heard for a day may pass on more of it by now.
        is_whole = finding.is_whole and self._clock.monotonic() - known.heard_s <= STALE_IF_ERROR_S
        return Judgement(
            ownership=finding.ownership,
            reason=f"source {self._source} {finding.why}",
            own_versions=own if is_own and not is_whole else None,
            is_presumed=is_own and not finding.is_evident,
            is_evident=is_own and finding.is_evident,
            fresh_until=self._find_end(known),
            outage_since=known.outage_since,
            is_vouched_for=known.is_vouched_for,
            last_heard=None if known.outage_since is None else known.heard_at,
        )

    def _unknown(self, project: str, cause: str, error: UpstreamError | None = None) -> Judgement:
        once = ""
        if isinstance(error, CredentialRefused):
            once = "mend that, or, if this identity may never ask there, "
        elif error is not None:
            once = "try again; if it can never be asked, "
        reason = f"nobody can tell whether {project} is source {self._source}'s own or passed on by it: {cause}; {once}{REMEDY}"
        self._troubles.report("unknown", reason.replace(project, "...", 1), logging.WARNING)
        is_refused = error is not None and not isinstance(error, UpstreamUnavailable)
        return Judgement(ownership=Ownership.UNKNOWN, reason=reason, is_refused=is_refused)

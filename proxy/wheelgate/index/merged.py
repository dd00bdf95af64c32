"""Precedence: which source may answer for a name. This is where dependency confusion is prevented.

The attack, step by step. ``acme-secrets`` lives in a private feed. A stranger registers ``acme-secrets`` 99.0 in public. If both
were asked and the answers merged, every build would install the stranger's. If the public index were asked whenever the feed is
unreachable, the stranger would only have to wait for an outage. If it were asked once the last private file has been deleted, for
the next clean-up. So:

1. All private sources that may hold the name are asked at once. The first, in the operator's order, that has it owns it;
   nobody else is asked. If one that comes before it cannot be reached, the request fails.
2. Only when every private source has said "not there", and the name is neither claimed nor reserved, are the public ones
   asked, at once, by the same rule.
3. A private source that cannot be reached, and said "not there" before, lets a public page through only if we knew that page
   before the outage, and without the files uploaded since the source was last heard.
4. Two sources share a project only where a merge rule says so.

The rules themselves are in :mod:`wheelgate.index.precedence`; here sources are asked, claims recorded and pages made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

import msgspec

from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamError
from wheelgate.core.memory_cost import RECENT_BYTES
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Clock
from wheelgate.index.decision import Answer, Decision, Member, MergeRule, Outcome
from wheelgate.index.merge_cache import MergeCache
from wheelgate.index.merge_pages import merge_pages
from wheelgate.index.outage_window import OutageWindow, withhold_uncertain
from wheelgate.index.precedence import AskSources, Inquiry, LookUpClaim, MakePage, RecordClaim, conclude, fail, next_step
from wheelgate.index.rules import limit_versions
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.signal import Listener, Signal
from wheelgate.storage.claims import Claims

_log = logging.getLogger(__name__)


class Merged:
    """Many sources as one :class:`~wheelgate.core.protocols.Source`, by the rules above."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        claims: Claims,
        clock: Clock,
        metrics: Metrics,
        reserved: NamePatterns,
        merges: Sequence[MergeRule] = (),
        offline: bool = False,
        max_bytes: int = RECENT_BYTES,
    ) -> None:
        """An index over some sources.

        Args:
            members: in the operator's order; private ones come first all the same.
            claims: read before a public source is asked, and written when a private one lists a file.
            clock: of the times at which sources were asked.
            metrics: count the files that a merge rule or an outage withholds.
            reserved: names that no public source is asked for.
            merges: the first that names a project applies.
            offline: no remote source is asked for anything.
            max_bytes: kept of pages made of others.
        """
        self._order = tuple(members)
        self._claims = claims
        self._clock = clock
        self._metrics = metrics
        self._reserved = reserved
        self._merges = tuple(merges)
        self._offline = offline
        self._merge_cache = MergeCache(max_bytes)
        self._invalidated = Signal()

    @property
    def name(self) -> str:
        """The name of the whole."""
        return "index"

    @property
    def members(self) -> Sequence[Member]:
        """The sources in the order they are asked: private ones, then public ones."""
        return tuple(sorted(self._order, key=lambda member: not member.private))

    def replace_member(self, newer: Member) -> None:
        """Ask this source in the place of the one of its name from now on, and drop what was decided with the old one."""
        self._order = tuple(newer if member.source.name == newer.source.name else member for member in self._order)
        self._merge_cache.clear()
        self.invalidate()

    def replace_rules(self, reserved: NamePatterns, merges: Sequence[MergeRule]) -> None:
        """Apply these from the next decision on, and drop what was made by the old ones."""
        self._reserved = reserved
        self._merges = tuple(merges)
        self._merge_cache.clear()
        self.invalidate()

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` whenever decisions may be out of date before their time."""
        self._invalidated.subscribe(listener)

    def invalidate(self) -> None:
        """Announce that something decisions rest on has changed: the store, a scan, a rule."""
        self._invalidated.emit()

    async def project_names(self) -> frozenset[str]:
        """Every name a private source holds, and those that public sources care to list."""
        members = self._order
        held = await asyncio.gather(*(member.source.project_names() for member in members))
        return frozenset(name for member, names in zip(members, held, strict=True) for name in names if member.may_hold(name))

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        return (await self.decide(project)).require_page()

    async def decide(self, project: str, *, learn: bool = True) -> Decision:
        """Take the steps that precedence asks for, to the decision. Never raises for what a source did: the decision carries it.

        ``learn=False``: for people who only look. A name that a private source lists is not claimed by that.
        """
        order = self._order
        progress: Inquiry | Decision = Inquiry(
            project, order, self._reserved.first_for(project), self._merge_rule(project), self._offline
        )
        while isinstance(progress, Inquiry):
            progress = await self._take_step(progress, learn=learn)
            if self._order is not order:  # a source changed sides on the way, and might be heard on neither
                return await self.decide(project, learn=learn)
        return progress

    async def _take_step(self, inquiry: Inquiry, *, learn: bool) -> Inquiry | Decision:
        project = inquiry.project
        match next_step(inquiry):
            case AskSources(members):
                return msgspec.structs.replace(inquiry, answers=(*inquiry.answers, *await self._ask(members, project)))
            case RecordClaim(source):
                recorded = not learn or await self._record_claim(project, source)
                return msgspec.structs.replace(inquiry, claimed=True, unrecorded=not recorded)
            case LookUpClaim():
                try:
                    return msgspec.structs.replace(inquiry, claimed=await self._claims.holds(project))
                except StoreError as error:
                    return fail(inquiry, error)
            case MakePage() as step:
                return conclude(step, await self._make_page(step))
            case Decision() as decision:
                return decision

    async def _ask(self, members: Sequence[Member], project: str) -> list[Answer]:
        if len(members) == 1:  # as nearly always; a task of its own would only cost time
            return [await self._ask_source(members[0], project)]
        return list(await asyncio.gather(*(self._ask_source(member, project) for member in members)))

    async def _ask_source(self, member: Member, project: str) -> Answer:
        name = member.source.name
        if not member.may_hold(project):
            return Answer(name, member.private, Outcome.NOT_ASKED, "its `only` does not cover the name")
        try:
            page = await member.source.project_page(project)
        except ProjectNotFound as error:
            outcome = Outcome.ABSENT if error.outage_since is None else Outcome.ABSENT_BEFORE_OUTAGE
            asked_at = error.last_heard or self._clock.now()
            return Answer(name, member.private, outcome, str(error), asked_at, error=error)
        except (UpstreamError, StoreError) as error:
            return Answer(name, member.private, Outcome.FAILED, str(error), self._clock.now(), error=error)
        return Answer(name, member.private, Outcome.LISTED, _summarise(page), page.as_of, page=page)

    async def _record_claim(self, project: str, source: str) -> bool:
        """Make the name private for ever, from the first file on; tell whether that could be written."""
        try:
            await self._claims.claim(project, source)
        except StoreError as error:
            # What is listed is private and right; at risk is only the memory of it beyond this process.
            _log.error("project %s could not be recorded as private: %s", project, error)
            return False
        return True

    async def _make_page(self, step: MakePage) -> ProjectPage:
        project, rule, outage = step.decision.project, step.rule, step.outage
        pages = [part.page for part in step.parts if part.page is not None]
        if not pages:
            empty = ProjectPage(project=project, files=(), as_of=self._clock.now())
            return await self._merge_cache.page(project, None, (), lambda: empty)
        page = pages[0]
        if rule is not None and (len(pages) > 1 or rule.public_versions is not None):
            page = await self._merge_cache.page(project, rule, pages, lambda: self._merge(rule, step.parts))
        if outage is None:
            return page
        key = f"{project} outage {outage.last_heard.timestamp()}"
        public = {part.source for part in step.parts if not part.private}
        return await self._merge_cache.page(key, None, [page], lambda: self._withhold_uncertain(page, outage, public))

    def _merge(self, rule: MergeRule, parts: Sequence[Answer]) -> ProjectPage:
        limit = rule.public_versions
        page = merge_pages(
            [
                part.page if part.private or limit is None else limit_versions(part.page, part.source, limit)
                for part in parts
                if part.page is not None
            ]
        )
        for entry in page.withheld:
            if entry.rule == "merge":
                _log.warning("project %s: %s of %s is withheld: %s", page.project, entry.filename, entry.source, entry.reason)
                self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return page

    def _withhold_uncertain(self, page: ProjectPage, outage: OutageWindow, public: Collection[str]) -> ProjectPage:
        certain = withhold_uncertain(page, outage, public)
        for entry in certain.withheld[len(page.withheld) :]:
            self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return certain

    def comes_before(self, one: str, other: str) -> bool:
        """Tell whether the first source is trusted more than the second."""
        order = [member.source.name for member in self.members]
        return order.index(one) < order.index(other)

    def merge_sources(self, project: str) -> tuple[str, ...]:
        """The sources that a merge rule joins for this project; empty: it belongs to one alone."""
        rule = self._merge_rule(project)
        return rule.sources if rule else ()

    def _merge_rule(self, project: str) -> MergeRule | None:
        return next((rule for rule in self._merges if project in rule.names), None)


def _summarise(page: ProjectPage) -> str:
    stale = ", its last good page" if page.stale else ""
    dropped = f", {page.dropped} unusable entries left out" if page.dropped else ""
    return f"{len(page.files)} files as of {page.as_of:%Y-%m-%d %H:%M:%S}Z{stale}{dropped}"

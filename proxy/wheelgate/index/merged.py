"""Precedence: which source may answer for a name. This is where dependency confusion is prevented.

The scenario, step by step. ``acme-secrets`` lives in a private feed. A stranger registers ``acme-secrets`` 99.0 in public.
If both were asked and the answers joined, every build would install the stranger's. If the public index were asked whenever
the feed is silent, the stranger would only have to wait for an outage. If it were asked once the last private file is gone,
for a clean-up. So:

1. All private sources that may hold the name are asked at once. The first, in the operator's order, that has it owns it;
   nobody else is asked. If one that comes before it could not be heard, the request fails.
2. Only when every private source has said "not there", and the name is neither claimed nor reserved, the public ones are
   asked, at once, by the same rule.
3. A private source that cannot be heard, and said "not there" before, lets a public page through only if we knew that page
   before the outage, and without the files uploaded since the source was last heard.
4. Two sources share a project only where a merge rule says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from wheelgate.core.errors import NotHeld, ProjectNotFound, StoreError, UpstreamError, UpstreamUnavailable
from wheelgate.core.memory_cost import RECENT_BYTES
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Clock
from wheelgate.index.decision import ABSENT_BEFORE, Answer, Decision, Member, MergeRule
from wheelgate.index.merge_cache import MergeCache
from wheelgate.index.merge_pages import merge_pages, wholly_withheld
from wheelgate.index.outage_window import OutageWindow, find_outage_window, withhold_uncertain
from wheelgate.index.rules import limit_versions
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.offline import how_to_mirror
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
        self._seat(tuple(members))
        self._claims = claims
        self._clock = clock
        self._metrics = metrics
        self._reserved = reserved
        self._merges = tuple(merges)
        self._offline = offline
        self._remade = MergeCache(max_bytes)
        self._listeners: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """What the whole is called."""
        return "index"

    @property
    def members(self) -> Sequence[Member]:
        """The sources in the order they are asked: private ones, then public ones."""
        return (*self._private, *self._public)

    def _seat(self, order: tuple[Member, ...]) -> None:
        self._order = order
        self._private = [member for member in order if member.private]
        self._public = [member for member in order if not member.private]
        self._members: Mapping[str, Member] = {member.source.name: member for member in order}

    def replace_member(self, newer: Member) -> None:
        """From now on, ask this one in the place of the one of its name. What was decided with the old one is dropped."""
        self._seat(tuple(newer if member.source.name == newer.source.name else member for member in self._order))
        self._remade.clear()
        self.overtaken()

    def replace_rules(self, reserved: NamePatterns, merges: Sequence[MergeRule]) -> None:
        """From the next decision on, go by these. What was made by the old ones is dropped."""
        self._reserved = reserved
        self._merges = tuple(merges)
        self._remade.clear()
        self.overtaken()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever what was decided may have been overtaken before its time."""
        self._listeners.append(listener)

    def overtaken(self) -> None:
        """Something that decisions rest on has changed: the store, a scan, a rule."""
        for listener in self._listeners:
            listener()

    async def project_names(self) -> frozenset[str]:
        """Every name a private source holds, and those that public sources care to list."""
        members = self.members
        held = await asyncio.gather(*(member.source.project_names() for member in members))
        return frozenset(name for member, names in zip(members, held, strict=True) for name in names if member.may_hold(name))

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        return (await self.decide(project)).outcome()

    async def decide(self, project: str, *, learn: bool = True) -> Decision:
        """Ask who has to be asked, and decide. Never raises for what a source did: the decision says it.

        ``learn=False``: for people who only look. A name that a private source lists is not claimed by that.
        """
        order = self._order
        decision = Decision(project, [], reserved_by=self._reserved.first_for(project), merge=self._merge_rule(project))
        try:
            await self._decide(project, decision, learn=learn)
        except (ProjectNotFound, UpstreamError, StoreError) as error:
            decision.page, decision.error = None, error
            decision.reason = decision.reason or str(error)
        if self._order is not order:  # a source changed sides on the way, and might have been heard on neither
            return await self.decide(project, learn=learn)
        return decision

    async def _decide(self, project: str, decision: Decision, *, learn: bool) -> None:
        private = await self._ask(self._private, project)
        decision.answers += private
        # Whoever owns it, and whether or not there will be a page: a private source listed a file.
        decision.claimed = await self._claim(decision, private) if learn else await self._claims.holds(project)
        owner = self._owner(private)
        if owner is not None and owner.page is not None:
            decision.owner = owner.source
            decision.reason = f"the first private source that has it is {owner.source}"
            await self._finish(decision, owner, private)
            return
        silent = next((answer for answer in private if answer.outcome == ABSENT_BEFORE), None)
        if decision.reserved_by is not None:
            decision.reason = f"the name is reserved by {decision.reserved_by}, and no private source has it"
            self._not_asked(decision, "reserved names are never asked of a public source")
            _must_have_been_heard(silent)
            raise ProjectNotFound(f"no private source has {project}, and {decision.reserved_by} is reserved for them")
        decision.claimed = await self._claims.holds(project)
        shared = decision.merge.sources if decision.merge else ()
        allowed = [member for member in self._public if not decision.claimed or member.source.name in shared]
        if not allowed and decision.claimed:
            self._not_asked(decision, "a claimed name is never asked of a public source")
            await self._without_files(decision, silent)
            return
        public = await self._ask(allowed, project)
        decision.answers += public
        owner = self._owner(public)
        if owner is None:
            silent = silent or next((answer for answer in public if answer.outcome == ABSENT_BEFORE), None)
            if decision.claimed:
                await self._without_files(decision, silent)
                return
            _must_have_been_heard(silent)
            decision.reason = "every source was asked, and none has it"
            raise self._nowhere(project)
        decision.owner = owner.source
        decision.reason = f"no private source has it, and the first public one that does is {owner.source}"
        await self._finish(decision, owner, [*private, *public])

    def _nowhere(self, project: str) -> ProjectNotFound | NotHeld:
        """Nobody has it; where nobody can be asked, that says nothing about what there is elsewhere."""
        if self._offline:
            return NotHeld(f"this server is offline and holds nothing of {project}: {how_to_mirror(project)}")
        return ProjectNotFound(f"no source has a project {project}")

    async def _without_files(self, decision: Decision, silent: Answer | None) -> None:
        """The page of a claimed name that nobody lists a file of.

        An empty page, not an absence: a client with further indexes of its own must stop here too.
        """
        _must_have_been_heard(silent)
        project = decision.project
        decision.reason = "the name was claimed by a private source, and none lists a file of it now"
        decision.page = await self._remade.page(
            project, None, (), lambda: ProjectPage(project=project, files=(), as_of=self._clock.now())
        )

    async def _ask(self, members: Sequence[Member], project: str) -> list[Answer]:
        if len(members) == 1:  # as nearly always; a task of its own would only cost time
            return [await self._answer(members[0], project)]
        return list(await asyncio.gather(*(self._answer(member, project) for member in members)))

    async def _answer(self, member: Member, project: str) -> Answer:
        name = member.source.name
        if not member.may_hold(project):
            return Answer(name, member.private, "not asked", "its `only` does not cover the name")
        try:
            page = await member.source.project_page(project)
        except ProjectNotFound as error:
            outcome = "not there" if error.outage_since is None else ABSENT_BEFORE
            asked_at = error.last_heard or self._clock.now()
            return Answer(name, member.private, outcome, str(error), asked_at, error=error)
        except (UpstreamError, StoreError) as error:
            return Answer(name, member.private, "failed", str(error), self._clock.now(), error=error)
        return Answer(name, member.private, "has it", _described(page), page.as_of, page=page)

    @staticmethod
    def _owner(answers: Sequence[Answer]) -> Answer | None:
        """The first that has the project.

        Raises:
            UpstreamError, StoreError: one before it could not be heard, so that it may be the owner.
        """
        for answer in answers:
            if answer.outcome == "failed" and answer.error is not None:
                raise answer.error
            if answer.page is not None:
                return answer
        return None

    async def _claim(self, decision: Decision, private: Sequence[Answer]) -> bool:
        """From the first file on, the name is private for ever. Whether one is listed now."""
        lister = next((a for a in private if a.page is not None and (a.page.files or a.page.withheld)), None)
        if lister is None:
            return False
        try:
            await self._claims.claim(decision.project, lister.source)
        except StoreError as error:
            # What is listed is private and right; at risk is only the memory of it beyond this process.
            _log.error("project %s could not be recorded as private: %s", decision.project, error)
            decision.unrecorded = True
        return True

    def comes_before(self, one: str, other: str) -> bool:
        """Whether the first source is asked with more trust than the second."""
        order = [member.source.name for member in self.members]
        return order.index(one) < order.index(other)

    def merge_sources(self, project: str) -> tuple[str, ...]:
        """The sources that a merge rule joins for this project; empty: it belongs to one alone."""
        rule = self._merge_rule(project)
        return rule.sources if rule else ()

    def _merge_rule(self, project: str) -> MergeRule | None:
        return next((rule for rule in self._merges if project in rule.names), None)

    async def _finish(self, decision: Decision, owner: Answer, heard: Sequence[Answer]) -> None:
        """The owner's page, joined with those a merge rule names, less what an outage puts in doubt."""
        pages = [(owner.source, owner.page)]
        rule = decision.merge if decision.merge and owner.source in decision.merge.sources else None
        if rule is not None:
            pages = await self._shared_pages(decision, rule.sources, heard)
            decision.reason += f", and a merge rule joins {', '.join(name for name, _ in pages)}"
        else:
            self._not_asked(decision, f"{owner.source} owns the name")
        inputs = tuple(page for _, page in pages if page is not None)
        page = inputs[0]
        if rule is not None and (len(inputs) > 1 or rule.public_versions is not None):
            page = await self._remade.page(decision.project, rule, inputs, lambda: self._joined(rule, pages))
        doubt = find_outage_window(heard, owner)
        if doubt is not None:
            page = await self._without_doubtful(page, doubt)
        decision.page = page
        if page.withheld and not page.files:
            decision.error = wholly_withheld(page)
            decision.reason += f", but {decision.error}"

    async def _shared_pages(
        self, decision: Decision, shared: Sequence[str], heard: Sequence[Answer]
    ) -> list[tuple[str, ProjectPage | None]]:
        answers = {answer.source: answer for answer in heard}
        missing = [
            self._members[name]
            for name in shared
            if name in self._members and name not in answers and (self._members[name].private or decision.reserved_by is None)
        ]
        for answer in await self._ask(missing, decision.project):
            answers[answer.source] = answer
            decision.answers.append(answer)
        pages: list[tuple[str, ProjectPage | None]] = []
        for answer in (answers[name] for name in shared if name in answers):
            # Were it left out, its files would silently be missing, or another's take their place.
            if answer.outcome == "failed" and answer.error is not None:
                raise answer.error
            _must_have_been_heard(answer)
            if answer.page is not None:
                pages.append((answer.source, answer.page))
        return pages

    def _not_asked(self, decision: Decision, why: str) -> None:
        asked = {answer.source for answer in decision.answers}
        decision.answers += [
            Answer(member.source.name, member.private, "not asked", why)
            for member in self._public
            if member.source.name not in asked
        ]

    def _joined(self, rule: MergeRule, pages: Sequence[tuple[str, ProjectPage | None]]) -> ProjectPage:
        parts = [
            page
            if self._members[name].private or rule.public_versions is None
            else limit_versions(page, name, rule.public_versions)
            for name, page in pages
            if page is not None
        ]
        page = merge_pages(parts)
        for entry in page.withheld:
            if entry.rule == "merge":
                _log.warning("project %s: %s of %s is withheld: %s", page.project, entry.filename, entry.source, entry.reason)
                self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return page

    async def _without_doubtful(self, page: ProjectPage, doubt: OutageWindow) -> ProjectPage:
        """What was known before a source fell silent; nothing that may have been put there since.

        Raises:
            UpstreamUnavailable: the page itself was not known before, or nothing of it is left.
        """
        if page.known_since is None or page.known_since >= doubt.outage_since:
            raise UpstreamUnavailable(doubt.sentence, source=doubt.source)
        key = f"{page.project} outage {doubt.last_heard.timestamp()}"
        certain = await self._remade.page(key, None, (page,), lambda: self._certain(page, doubt))
        if page.files and not certain.files:
            raise UpstreamUnavailable(doubt.sentence, source=doubt.source)
        return certain

    def _certain(self, page: ProjectPage, doubt: OutageWindow) -> ProjectPage:
        certain = withhold_uncertain(page, doubt, {member.source.name for member in self._public})
        for entry in certain.withheld[len(page.withheld) :]:
            self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return certain


def _must_have_been_heard(answer: Answer | None) -> None:
    """A remembered "not there" is no definite one: nothing may be built on it but what was known before the outage.

    Raises:
        UpstreamUnavailable: the source repeats what it said before it fell silent.
    """
    if answer is not None and answer.outcome == ABSENT_BEFORE:
        raise UpstreamUnavailable(answer.detail, source=answer.source)


def _described(page: ProjectPage) -> str:
    stale = ", its last good page" if page.stale else ""
    dropped = f", {page.dropped} unusable entries left out" if page.dropped else ""
    return f"{len(page.files)} files as of {page.as_of:%Y-%m-%d %H:%M:%S}Z{stale}{dropped}"

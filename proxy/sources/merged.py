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
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from cachetools import LRUCache

from proxy.errors import ProjectNotFound, StoreError, UpstreamError, UpstreamUnavailable
from proxy.metrics import Metrics
from proxy.model import File, ProjectPage, Withheld
from proxy.patterns import NamePatterns
from proxy.protocols import Clock
from proxy.sources.decision import Answer, Decision, Member, MergeRule
from proxy.sources.weight import page_bytes
from proxy.storage.claims import Claims

_MADE_BYTES = 32 * 1024 * 1024
_log = logging.getLogger(__name__)


class Merged:
    """Many sources as one :class:`~proxy.protocols.Source`, by the rules above."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        claims: Claims,
        clock: Clock,
        metrics: Metrics,
        reserved: NamePatterns,
        merges: Sequence[MergeRule] = (),
    ) -> None:
        self._private = [member for member in members if member.private]
        self._public = [member for member in members if not member.private]
        self._members: Mapping[str, Member] = {member.source.name: member for member in members}
        self._claims = claims
        self._clock = clock
        self._metrics = metrics
        self._reserved = reserved
        self._merges = merges
        self._made: LRUCache[str, _Made] = LRUCache(_MADE_BYTES, getsizeof=_made_bytes)

    @property
    def name(self) -> str:
        """What the whole is called."""
        return "index"

    @property
    def members(self) -> Sequence[Member]:
        """The sources in the order they are asked: private ones, then public ones."""
        return (*self._private, *self._public)

    async def project_names(self) -> frozenset[str]:
        """Every name a private source holds, and those that public sources care to list."""
        members = self.members
        held = await asyncio.gather(*(member.source.project_names() for member in members))
        return frozenset(name for member, names in zip(members, held, strict=True) for name in names if member.may_hold(name))

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~proxy.protocols.Source`. The same object again while nothing changed."""
        return (await self.decide(project)).outcome()

    async def decide(self, project: str, *, learn: bool = True) -> Decision:
        """Ask who has to be asked, and decide. Never raises for what a source did: the decision says it.

        ``learn=False``: for people who only look. A name that a private source lists is not claimed by that.
        """
        decision = Decision(project, [], reserved_by=self._reserved.first_for(project))
        try:
            await self._decide(project, decision, learn=learn)
        except (ProjectNotFound, UpstreamError, StoreError) as error:
            decision.page, decision.error = None, error
            decision.reason = decision.reason or str(error)
        return decision

    async def _decide(self, project: str, decision: Decision, *, learn: bool) -> None:
        private = await self._ask(self._private, project)
        decision.answers += private
        # Whoever owns it, and whether or not there will be a page: a private source listed a file.
        decision.claimed = await self._claim(project, private) if learn else await self._claims.holds(project)
        owner = self._owner(private)
        if owner is not None and owner.page is not None:
            decision.owner = owner.source
            decision.reason = f"the first private source that has it is {owner.source}"
            await self._finish(decision, owner, private)
            return
        silent = next((answer for answer in private if answer.outcome == _ABSENT_BEFORE), None)
        if decision.reserved_by is not None:
            decision.reason = f"the name is reserved by {decision.reserved_by}, and no private source has it"
            self._not_asked(decision, "reserved names are never asked of a public source")
            _must_have_been_heard(silent)
            raise ProjectNotFound(f"no private source has {project}, and {decision.reserved_by} is reserved for them")
        decision.claimed = await self._claims.holds(project)
        allowed = [m for m in self._public if not decision.claimed or m.source.name in self.merge_sources(project)]
        if not allowed and decision.claimed:
            self._not_asked(decision, "a claimed name is never asked of a public source")
            self._without_files(decision, silent)
            return
        public = await self._ask(allowed, project)
        decision.answers += public
        owner = self._owner(public)
        if owner is None:
            silent = silent or next((answer for answer in public if answer.outcome == _ABSENT_BEFORE), None)
            if decision.claimed:
                self._without_files(decision, silent)
                return
            _must_have_been_heard(silent)
            decision.reason = "every source was asked, and none has it"
            raise ProjectNotFound(f"no source has a project {project}")
        decision.owner = owner.source
        decision.reason = f"no private source has it, and the first public one that does is {owner.source}"
        await self._finish(decision, owner, [*private, *public])

    def _without_files(self, decision: Decision, silent: Answer | None) -> None:
        """The page of a claimed name that nobody lists a file of.

        An empty page, not an absence: a client with further indexes of its own must stop here too.
        """
        _must_have_been_heard(silent)
        project = decision.project
        decision.reason = "the name was claimed by a private source, and none lists a file of it now"
        decision.page = self._remade(project, (), lambda: ProjectPage(project=project, files=(), as_of=self._clock.now()))

    async def _ask(self, members: Sequence[Member], project: str) -> list[Answer]:
        return list(await asyncio.gather(*(self._answer(member, project) for member in members)))

    async def _answer(self, member: Member, project: str) -> Answer:
        name = member.source.name
        if not member.may_hold(project):
            return Answer(name, member.private, "not asked", "its `only` does not cover the name")
        try:
            page = await member.source.project_page(project)
        except ProjectNotFound as error:
            outcome = "not there" if error.outage_since is None else _ABSENT_BEFORE
            return Answer(name, member.private, outcome, str(error), error=error)
        except (UpstreamError, StoreError) as error:
            return Answer(name, member.private, "failed", str(error), error=error)
        return Answer(name, member.private, "has it", _described(page), page=page)

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

    async def _claim(self, project: str, private: Sequence[Answer]) -> bool:
        """From the first file on, the name is private for ever. Whether one is listed now."""
        lister = next((a for a in private if a.page is not None and (a.page.files or a.page.withheld)), None)
        if lister is None:
            return False
        try:
            await self._claims.claim(project, lister.source)
        except StoreError as error:
            # What is listed is private and right; at risk is only the memory of it beyond this process.
            _log.error("project %s could not be recorded as private: %s", project, error)
        return True

    def comes_before(self, one: str, other: str) -> bool:
        """Whether the first source is asked with more trust than the second."""
        order = [member.source.name for member in self.members]
        return order.index(one) < order.index(other)

    def merge_sources(self, project: str) -> tuple[str, ...]:
        """The sources that a merge rule joins for this project; empty: it belongs to one alone."""
        return next((rule.sources for rule in self._merges if project in rule.names), ())

    async def _finish(self, decision: Decision, owner: Answer, heard: Sequence[Answer]) -> None:
        """The owner's page, joined with those a merge rule names, less what an outage puts in doubt."""
        pages = [(owner.source, owner.page)]
        shared = self.merge_sources(decision.project)
        if owner.source in shared:
            pages = await self._shared_pages(decision, shared, heard)
            decision.reason += f", and a merge rule joins {', '.join(name for name, _ in pages)}"
        else:
            self._not_asked(decision, f"{owner.source} owns the name")
        inputs = tuple(page for _, page in pages if page is not None)
        doubt = self._doubt(heard, owner)
        page = inputs[0]
        if len(inputs) > 1:
            page = self._remade(decision.project, inputs, lambda: self._joined(decision.project, inputs))
        if doubt is not None:
            page = self._without_doubtful(page, doubt)
        decision.page = page

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

    def _joined(self, project: str, pages: Sequence[ProjectPage]) -> ProjectPage:
        """One page of several: the earlier source keeps a file name, the later one's is withheld if its bytes differ."""
        files: dict[str, File] = {}
        withheld = [entry for page in pages for entry in page.withheld]
        for page in pages:
            for file in page.files:
                kept = files.setdefault(file.filename, file)
                if kept is not file and _differ(kept, file):
                    reason = f"{file.source} has other bytes under this name than {kept.source}, which comes first"
                    withheld.append(Withheld(file.filename, file.source, "merge", reason))
                    _log.warning("project %s: %s of %s", project, reason, file.filename)
                    self._metrics.withheld_files.labels(file.source, "merge").inc()
        versions = dict.fromkeys(version for page in pages for version in page.versions)
        return ProjectPage(
            project=project,
            files=tuple(files.values()),
            versions=tuple(versions),
            status=pages[0].status,
            withheld=tuple(withheld),
            as_of=min(page.as_of for page in pages),
            known_since=_latest(page.known_since for page in pages),
            stale=any(page.stale for page in pages),
            dropped=sum(page.dropped for page in pages),
        )

    def _remade(self, project: str, inputs: tuple[ProjectPage, ...], make: Callable[[], ProjectPage]) -> ProjectPage:
        """A page made of others, made once: the same object while the others are."""
        made = self._made.get(project)
        if made is None or len(made[0]) != len(inputs) or any(a is not b for a, b in zip(made[0], inputs, strict=True)):
            self._made.pop(project, None)
            made = (inputs, make())
            if _made_bytes(made) <= self._made.maxsize:
                self._made[project] = made
        return made[1]

    @staticmethod
    def _doubt(heard: Sequence[Answer], owner: Answer) -> _Doubt | None:
        """The outages of sources that would come before the owner, taken together."""
        doubts = []
        for answer in heard:
            if answer is owner:
                break
            if answer.outcome == _ABSENT_BEFORE and isinstance(answer.error, ProjectNotFound):
                doubts.append((answer.source, answer.error))
        if not doubts:
            return None
        source, error = doubts[0]
        return _Doubt(
            source=source,
            sentence=str(error),
            outage_since=min(_moment(error.outage_since) for _, error in doubts),
            last_heard=min(_moment(error.last_heard) for _, error in doubts),
        )

    def _without_doubtful(self, page: ProjectPage, doubt: _Doubt) -> ProjectPage:
        """What was known before a source fell silent; nothing that may have been put there since.

        Raises:
            UpstreamUnavailable: the page itself was not known before.
        """
        if page.known_since is None or page.known_since >= doubt.outage_since:
            raise UpstreamUnavailable(doubt.sentence, source=doubt.source)
        key = f"{page.project} outage {doubt.last_heard.timestamp()}"
        return self._remade(key, (page,), lambda: self._screened(page, doubt))

    def _screened(self, page: ProjectPage, doubt: _Doubt) -> ProjectPage:
        doubtful = {
            file.filename: file
            for file in page.files
            if not self._members[file.source].private and (file.upload_time is None or file.upload_time >= doubt.last_heard)
        }
        if not doubtful:
            return page
        withheld = [
            Withheld(file.filename, file.source, "outage", f"it may have been uploaded since: {doubt.sentence}")
            for file in doubtful.values()
        ]
        for entry in withheld:
            self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return msgspec.structs.replace(
            page,
            files=tuple(file for file in page.files if file.filename not in doubtful),
            withheld=(*page.withheld, *withheld),
        )


class _Doubt(msgspec.Struct, frozen=True):
    """What the silence of sources that come before the owner puts in doubt."""

    source: str
    sentence: str
    outage_since: datetime
    """The first of them fell silent."""
    last_heard: datetime
    """The longest unheard of them was heard."""


_Made = tuple[tuple[ProjectPage, ...], ProjectPage]
"""What a page was made of, and the page."""
_ABSENT_BEFORE = "not there before the outage"


def _made_bytes(made: _Made) -> int:
    return sum(map(page_bytes, (*made[0], made[1])))


def _must_have_been_heard(answer: Answer | None) -> None:
    """A remembered "not there" is no definite one: nothing may be built on it but what was known before the outage.

    Raises:
        UpstreamUnavailable: the source repeats what it said before it fell silent.
    """
    if answer is not None and answer.outcome == _ABSENT_BEFORE:
        raise UpstreamUnavailable(answer.detail, source=answer.source)


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    """Since when all of them: ``None`` if that is not known of one."""
    latest = None
    for moment in moments:
        if moment is None:
            return None
        latest = moment if latest is None else max(latest, moment)
    return latest


def _described(page: ProjectPage) -> str:
    stale = ", its last good page" if page.stale else ""
    dropped = f", {page.dropped} unusable entries left out" if page.dropped else ""
    return f"{len(page.files)} files as of {page.as_of:%Y-%m-%d %H:%M:%S}Z{stale}{dropped}"


def _differ(one: File, other: File) -> bool:
    """Whether two files of one name may have different bytes. Without a digest in common, they may."""
    common = one.hashes.keys() & other.hashes.keys()
    return not common or any(one.hashes[algorithm] != other.hashes[algorithm] for algorithm in common)


def _moment(moment: datetime | None) -> datetime:
    if moment is None:
        raise AssertionError("an outage without its times")
    return moment

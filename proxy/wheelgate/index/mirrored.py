"""Whose the projects of a mirror are that its manifest tells of: private where it came from a private source, public elsewhere.

Nothing is configured for that. A project of which a file came from a private source is the mirror's own: it is claimed, and what
a public source had under that name is withheld, or, where a merge rule joined the two outside, goes by the rules for public
files. Every other project that the manifest tells of is public, as if a public source listed it, and is never claimed. Of names
that it does not tell of, and of a folder or container without a manifest, all is as in any other private source.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamError
from wheelgate.core.file_list import RECENT_BYTES, FileList
from wheelgate.core.model import STALE_IF_ERROR_S, File, Judgement, Ownership, ProjectPage, Withheld
from wheelgate.core.protocols import Clock, Source, SourceWrapper
from wheelgate.index.merge_pages import FOREIGN_RULE, MadePages
from wheelgate.index.screened import RuleBook
from wheelgate.index.unlisted_claims import advise_release
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.mirror_facts import MirrorFacts, ReadFacts, ToldProject
from wheelgate.storage.claims import Claims

_OVERDUE_S = 1.0
"""A manifest that was due before could not be read: after one that was, it is due later."""


class MirrorJudge:
    """The :class:`~wheelgate.core.protocols.OwnershipJudge` of a folder or container that may be a mirror."""

    def __init__(self, source: str, *, read_facts: ReadFacts, claims: Claims, clock: Clock) -> None:
        self._source = source
        self._read_facts = read_facts
        self._claims = claims
        self._clock = clock

    async def judge(self, project: str) -> Judgement:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. What the source has claimed stays its own."""
        judgement = await self.judge_anew(project)
        is_own = judgement.ownership is Ownership.OWN
        if is_own and not judgement.is_presumed:
            return judgement
        try:
            is_claimed = await self._claims.claimed_by(project) == self._source
        except StoreError as error:
            if is_own:
                return judgement
            reason = f"source {self._source} cannot be asked for {project}, since nobody can tell if that is its own: {error}"
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason)
        if not is_claimed:
            return judgement
        if is_own:
            return msgspec.structs.replace(judgement, is_presumed=False)
        reason = f"{project} was claimed by source {self._source} before its manifest said otherwise: {advise_release(project)}"
        return Judgement(ownership=Ownership.OWN, reason=reason, fresh_until=judgement.fresh_until)

    async def judge_anew(self, project: str) -> Judgement:
        """Judge a project as if it had not been claimed: whether its claim was a mistake. Raises nothing: see UNKNOWN."""
        try:
            facts, fresh_until = await self._read_facts()
        except (StoreError, UpstreamError) as error:
            reason = f"nobody can tell whether {project} is source {self._source}'s own: {error}"
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason, is_refused=True)
        if project in facts.doubtful:
            reason = (
                f"source {self._source} mirrors {project} since a former release, which did not note whose it is, so nobody can "
                "tell: run `wheelgate mirror` there again for it, or say private = true or false"
            )
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason, fresh_until=fresh_until)
        told = facts.projects.get(project)
        if told is None:
            reason = f"no manifest of source {self._source} tells whose {project} is"
            return Judgement(ownership=Ownership.OWN, reason=reason, is_presumed=True, fresh_until=fresh_until)
        reason = (
            f"source {self._source} mirrors {project} from source {told.source}, a {'private' if told.is_own else 'public'} one"
        )
        ownership = Ownership.OWN if told.is_own else Ownership.PUBLIC
        if ownership is Ownership.OWN:
            return Judgement(ownership=ownership, reason=reason, fresh_until=fresh_until)
        # While the manifest cannot be read, what it said is as old as the moment at which it was to be read again.
        silent_s = self._clock.monotonic() - fresh_until
        if silent_s > STALE_IF_ERROR_S:
            reason = f"the manifest of source {self._source} cannot be read any more, so nobody can tell whose {project} is"
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason, is_refused=True)
        silent_since = None if silent_s < _OVERDUE_S else self._clock.now() - timedelta(seconds=silent_s)
        return Judgement(
            ownership=ownership,
            reason=reason,
            fresh_until=fresh_until,
            outage_since=silent_since,
            last_heard=silent_since,
            is_vouched_for=True,
        )

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:  # noqa: ARG002 - a long listing ended later
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. A manifest tells of files before they are there."""
        try:
            facts, _ = await self._read_facts(self._clock.now())
        except (StoreError, UpstreamError) as error:
            reason = f"nobody can tell whether {project} is source {self._source}'s own: {error}"
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason)
        judgement = await self.judge(project)
        if judgement.ownership is Ownership.OWN and project in facts.projects:  # what was listed went by no word of it
            reason = f"the manifest of source {self._source} tells of {project} since a moment ago: try again"
            return Judgement(ownership=Ownership.UNKNOWN, reason=reason)
        return msgspec.structs.replace(judgement, is_presumed=False)

    def note_served(self, project: str) -> None:
        """See :class:`~wheelgate.core.protocols.OwnershipJudge`. What is told need not be remembered."""


class ToldSource(SourceWrapper):
    """A private source whose manifest tells of some projects; of all others it is ``guarded``."""

    def __init__(self, source: Source, *, guarded: Source, read_facts: ReadFacts) -> None:
        super().__init__(source)
        self._guarded = guarded
        self._read_facts = read_facts

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`."""
        source = self._source if project in await _find_told(self._read_facts) else self._guarded
        return await source.project_page(project)


class UntoldSource(SourceWrapper):
    """A source less the projects that its manifest tells of, so that these are no reason to doubt whose the others are."""

    def __init__(self, source: Source, *, read_facts: ReadFacts) -> None:
        super().__init__(source)
        self._read_facts = read_facts

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`."""
        if project in await _find_told(self._read_facts):
            raise ProjectNotFound(f"source {self.name} is told whose {project} is")
        return await self._source.project_page(project)


class OwnFiles(SourceWrapper):
    """A mirror's pages of its own projects: what came from public sources is withheld, or goes by the rules for public files."""

    def __init__(
        self,
        source: Source,
        *,
        read_facts: ReadFacts,
        book: RuleBook,
        clock: Clock,
        metrics: Metrics,
        max_bytes: int = RECENT_BYTES,
    ) -> None:
        super().__init__(source)
        self._read_facts = read_facts
        self._book = book
        self._clock = clock
        self._pages = MadePages(max_bytes, metrics)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        page = await self._source.project_page(project)
        if project not in await _find_told(self._read_facts):
            return page
        facts, _ = await self._read_facts()
        now = self._clock.now()
        by = (facts.etag, self._book.rules)
        return await self._pages.page(project, by, [page], now, lambda: self._screen(page, facts))

    def _screen(self, page: ProjectPage, facts: MirrorFacts) -> ProjectPage:
        own: list[File] = []
        joined: list[File] = []
        foreign: list[Withheld] = []
        is_own = facts.projects[page.project].is_own
        for file in page.files:
            match facts.find_origin(file):
                case "public" if is_own:
                    reason = (
                        f"it comes from a public source through source {self.name}, and {page.project} is private there: join "
                        "the two by a policy.merge rule where it is mirrored from if both are wanted"
                    )
                    foreign.append(Withheld(file.filename, file.source, FOREIGN_RULE, reason))
                case "merged" | "public":
                    joined.append(file)
                case _:
                    own.append(file)
        if not joined and not foreign:
            return page
        public = self._book.rules.screen(page.with_files(FileList(joined), ()), self.name, False, self._clock.now())
        files = sorted((*own, *public.files), key=lambda file: file.filename)
        made = page.with_files(FileList(files, [page.files]), (*page.withheld, *public.withheld, *foreign))
        # Until a rule changes one of the files that go by it.
        return msgspec.structs.replace(made, freshness=public.freshness)


async def _find_told(read_facts: ReadFacts) -> Mapping[str, ToldProject]:
    """Find what a manifest tells; nothing where it cannot be read, when the page is a last good one, or fails by itself."""
    try:
        return (await read_facts())[0].projects
    except (StoreError, UpstreamError):
        return {}

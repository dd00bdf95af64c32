"""Feed facts: what the service says of versions, on the feed's own pages.

A file of a version that the service speaks of was put into the feed when it says so; one of a version that was deleted is not
offered. Of whatever it does not speak of nothing is said. A page never waits long for it, and never fails for want of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import NotSaved, ProjectNotFound
from wheelgate.core.file_list import RECENT_BYTES, FileList, page_bytes
from wheelgate.core.model import File, Ownership, ProjectPage, Withheld
from wheelgate.core.names import same_version_key, version_of
from wheelgate.core.protocols import OwnershipJudge, Source, SourceWrapper
from wheelgate.feeds.service import VersionFact
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.logs import TroubleLog

DELETED_RULE = "deleted"
_PATIENCE_S = 2.0
_SLICE = 500
_log = logging.getLogger(__name__)


class FactsTeller(Protocol):
    """Whoever knows the versions of a feed."""

    async def find_facts(self, project: str) -> tuple[VersionFact, ...]:
        """Find what the service says of the versions of a project. Raises nothing."""


class _DatedPage(msgspec.Struct, frozen=True):
    """A page as it was made last, and what of."""

    revision: int
    facts: tuple[VersionFact, ...]
    page: ProjectPage


class DatedFeed(SourceWrapper):
    """A feed whose files carry the time at which they came into it, without those of deleted versions."""

    def __init__(self, source: Source, *, facts: FactsTeller | None, find_judge: Callable[[], OwnershipJudge | None]) -> None:
        """A feed with what is known of its versions.

        Args:
            source: the feed's pages.
            facts: tells of versions; ``None``: nobody does.
            find_judge: finds who tells whose a project is, where the feed has nothing of it saved; ``None``: nobody.
        """
        super().__init__(source)
        self._facts = facts
        self._find_judge = find_judge
        self._troubles = TroubleLog(_log)
        self._pages: LRUCache[str, _DatedPage] = LRUCache(RECENT_BYTES, getsizeof=lambda made: page_bytes(made.page))

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. Under the same revision while neither page nor facts changed.

        Raises:
            NotSaved: beside what the feed raises: the feed may have it by an upstream that is not public.
        """
        try:
            page = await self._source.project_page(project)
        except NotSaved as error:
            judge = self._find_judge()
            judgement = None if judge is None else await judge.judge(project)
            if judgement is None or judgement.ownership is not Ownership.PUBLIC or judgement.outage_since is not None:
                raise
            self._troubles.report(
                "reader", f"{error}; what it has saved is served, and nothing else of its upstreams", logging.WARNING
            )
            raise ProjectNotFound(f"source {self.name} has no project {project} for this identity: {error}") from None
        facts = await self._find_facts(project)
        made = self._pages.get(project)
        if made is None or made.revision != page.revision or made.facts != facts:
            made = _DatedPage(page.revision, facts, await in_slices(_date(page, facts)))
            self._pages.pop(project, None)
            if page_bytes(made.page) <= self._pages.maxsize:
                self._pages[project] = made
        return made.page.with_state_of(page)

    async def _find_facts(self, project: str) -> tuple[VersionFact, ...]:
        if self._facts is None:
            return ()
        try:
            async with asyncio.timeout(_PATIENCE_S) as patience:
                return await self._facts.find_facts(project)
        except TimeoutError:
            if not patience.expired():
                raise
            made = self._pages.get(project)
            return () if made is None else made.facts


def _date(page: ProjectPage, facts: Sequence[VersionFact]) -> Steps[ProjectPage]:
    """Put facts on a page; the same object if they say nothing of it."""
    known = {fact.key: fact for fact in facts}
    files: list[File] = []
    withheld: list[Withheld] = []
    is_changed = False
    for number, file in enumerate(page.files if known else ()):
        if not number % _SLICE:
            yield
        version = version_of(file.filename, page.project)
        fact = None if version is None else known.get(same_version_key(version))
        if fact is not None and fact.is_deleted:
            reason = (
                f"version {version} of {page.project} was deleted from source {file.source}: restore it there if it is wanted"
            )
            withheld.append(Withheld(file.filename, file.source, DELETED_RULE, reason))
            continue
        if fact is not None and fact.published is not None and fact.published != file.upload_time:
            file = msgspec.structs.replace(file, upload_time=fact.published)  # noqa: PLW2901 - the same file, dated
            is_changed = True
        files.append(file)
    if not withheld and not is_changed:
        return page
    return page.with_files(FileList(files, [page.files]), (*page.withheld, *withheld))

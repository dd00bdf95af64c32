"""A source behind the rules: its pages less what they withhold."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec
from cachetools import LRUCache

from wheelgate.core.memory_cost import RECENT_BYTES, page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Clock, Source
from wheelgate.core.source_wrapper import SourceWrapper
from wheelgate.index.merge_cache import INLINE_FILES
from wheelgate.index.rules import Rules
from wheelgate.runtime.metrics import Metrics


class RuleBook:
    """The rules in force, shared by everyone who goes by them; replaced whole, between two requests."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @property
    def rules(self) -> Rules:
        """Those in force now: another object after each change."""
        return self._rules

    def replace(self, rules: Rules) -> None:
        """Go by these from now on. Pages made by the old ones must not be served any more: the caller invalidates the index."""
        self._rules = rules


class _Verdict(msgspec.Struct, frozen=True):
    """A page as the rules left it."""

    given: tuple[object, ...]
    """The rules, and the revision and next change of the page, that it depends on."""
    valid_until: datetime | None
    """The moment (aware, UTC) at which a rule lets a file go, or the page changes by itself; ``None``: never."""
    screened: ProjectPage | None
    """``None``: it passes as it is."""

    def apply(self, page: ProjectPage) -> ProjectPage:
        """Withhold the same files of the same content, confirmed anew."""
        if self.screened is None:
            return page
        freshness = msgspec.structs.replace(page.freshness, valid_until=self.valid_until)
        return self.screened.with_state_of(msgspec.structs.replace(page, freshness=freshness))


class Screened(SourceWrapper):
    """A :class:`~wheelgate.core.protocols.Source` that withholds files of another one by the rules in force.

    A page that no rule is about passes through. Any other is screened once: again only when the source says something else, the
    rules change, or the moment has come at which a rule lets a file go.
    """

    def __init__(
        self,
        source: Source,
        *,
        private: bool,
        book: RuleBook,
        clock: Clock,
        metrics: Metrics,
        max_bytes: int = RECENT_BYTES,
    ) -> None:
        super().__init__(source)
        self._private = private
        self._book = book
        self._clock = clock
        self._metrics = metrics
        self._verdicts: LRUCache[str, _Verdict] = LRUCache(max_bytes, getsizeof=_weigh)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        page = await self._source.project_page(project)
        rules, now = self._book.rules, self._clock.now()
        given = (rules, page.revision, page.freshness.valid_until)
        verdict = self._verdicts.get(project)
        if verdict is not None and verdict.given == given and (verdict.valid_until is None or now < verdict.valid_until):
            screened = verdict.apply(page)
        elif rules.may_withhold(page, self.name, self._private, now):
            screened = await self._screen(page, rules, now)
        else:
            return page
        verdict = _Verdict(given, screened.freshness.valid_until, None if screened is page else screened)
        self._verdicts.pop(project, None)
        if _weigh(verdict) <= self._verdicts.maxsize:
            self._verdicts[project] = verdict
        return screened

    async def _screen(self, page: ProjectPage, rules: Rules, now: datetime) -> ProjectPage:
        if len(page.files) <= INLINE_FILES:
            screened = rules.screen(page, self.name, self._private, now)
        else:
            screened = await asyncio.to_thread(rules.screen, page, self.name, self._private, now)
        for entry in screened.withheld[len(page.withheld) :]:
            self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return screened


def _weigh(verdict: _Verdict) -> int:
    return 500 if verdict.screened is None else page_bytes(verdict.screened)

"""A source behind the rules: its pages less what they withhold."""

from __future__ import annotations

import msgspec

from wheelgate.core.file_list import RECENT_BYTES
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Clock, Source, SourceWrapper
from wheelgate.index.merge_pages import MadePages
from wheelgate.index.rules import Rules
from wheelgate.runtime.metrics import Metrics


class RuleBook(msgspec.Struct):
    """The rules in force, shared by everyone who goes by them.

    Replaced whole, between two requests. Whoever does so invalidates the index, as pages made by the old ones must not be served.
    """

    rules: Rules
    reserved: NamePatterns = msgspec.field(default_factory=lambda: NamePatterns(()))
    """The names that no public source is asked for."""


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
        self._pages = MadePages(max_bytes, metrics)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        page = await self._source.project_page(project)
        rules, now = self._book.rules, self._clock.now()
        if not rules.may_withhold(page, self.name, self._private, now):
            return page
        return await self._pages.page(project, rules, [page], now, lambda: rules.screen(page, self.name, self._private, now))

"""Rules: what a source lists, less what is withheld."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
from cachetools import LRUCache

from wheelgate.core.memory_cost import RECENT_BYTES, page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Clock, Source
from wheelgate.index.rules import Rules
from wheelgate.runtime.metrics import Metrics

_INLINE_FILES = 2_000
"""Looking through more would hold everybody else up."""


class RuleBook:
    """The rules in force, shared by everyone who goes by them; replaced whole, between two requests."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._listeners: list[Callable[[], None]] = []

    @property
    def rules(self) -> Rules:
        """Those that hold now: another object after each change."""
        return self._rules

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change: what was made by the old rules must not be served any more."""
        self._listeners.append(listener)

    def replace(self, rules: Rules) -> None:
        """From now on, go by these."""
        self._rules = rules
        for listener in self._listeners:
            listener()


class _Made(msgspec.Struct):
    """What became of a page, by which rules, and until when."""

    given: ProjectPage
    rules: Rules
    screened: ProjectPage


class Screened:
    """A :class:`~wheelgate.core.protocols.Source` that withholds files of another one by the rules in force.

    A page is looked at once: again only when the source says something else, the rules change, or the moment has come at which
    a rule lets a file go.
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
        self._source = source
        self._private = private
        self._book = book
        self._clock = clock
        self._metrics = metrics
        self._made: LRUCache[str, _Made] = LRUCache(max_bytes, getsizeof=_weight)

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    async def project_names(self) -> frozenset[str]:
        """The source's own: that a project is there is not withheld."""
        return await self._source.project_names()

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        page = await self._source.project_page(project)
        rules, now = self._book.rules, self._clock.now()
        made = self._made.get(project)
        if made is not None and made.rules is rules and _holds(made.screened.freshness.valid_until, now):
            if made.given is page:
                return made.screened
            if _same_listing(made.given, page):
                return self._keep(project, page, rules, _confirmed(made, page))
        if len(page.files) <= _INLINE_FILES:
            screened = rules.screen(page, self.name, self._private, now)
        else:
            screened = await asyncio.to_thread(rules.screen, page, self.name, self._private, now)
        for entry in screened.withheld[len(page.withheld) :]:
            self._metrics.withheld_files.labels(entry.source, entry.rule).inc()
        return self._keep(project, page, rules, screened)

    def _keep(self, project: str, page: ProjectPage, rules: Rules, screened: ProjectPage) -> ProjectPage:
        made = _Made(page, rules, screened)
        self._made.pop(project, None)
        if _weight(made) <= self._made.maxsize:
            self._made[project] = made
        return screened


def _holds(valid_until: datetime | None, now: datetime) -> bool:
    return valid_until is None or now < valid_until


def _same_listing(one: ProjectPage, other: ProjectPage) -> bool:
    """Whether there is nothing in which rules could tell them apart. Sources hand the same files on while nothing changed."""
    return one.revision == other.revision and one.freshness.valid_until == other.freshness.valid_until


def _confirmed(made: _Made, page: ProjectPage) -> ProjectPage:
    """A page with the same files, confirmed anew: the same ones are withheld of it."""
    if made.screened is made.given:
        return page
    freshness = msgspec.structs.replace(page.freshness, valid_until=made.screened.freshness.valid_until)
    return msgspec.structs.replace(made.screened.with_state_of(page), freshness=freshness)


def _weight(made: _Made) -> int:
    return 500 + page_bytes(made.given)

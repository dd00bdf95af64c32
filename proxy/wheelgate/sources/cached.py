"""Cache of a source's answers: fresh for a while, then stale-while-revalidate, stale-if-error for a day, and a negative cache."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import (
    Busy,
    ProjectNotFound,
    RefusedByRule,
    StillListing,
    StoreError,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.file_list import RECENT_BYTES, FileList, page_bytes
from wheelgate.core.model import NEVER_FRESH, STALE_IF_ERROR_S, Freshness, ProjectPage
from wheelgate.core.protocols import Clock, Source, SourceWrapper
from wheelgate.runtime.generations import Generation, Generations
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api.packing import Packer
from wheelgate.upstream.failures import ChainRefused

FindKept = Callable[[str], Awaitable[ProjectPage | None]]
"""Finds a page of before this process began, by the project; ``None``: there is none."""
_PACKED_AFTER_S = 2.0  # by then a page has been answered with, or nobody will
_RETRY_S = 5.0  # while an answer stands in, the source is asked again at most this often per project
_log = logging.getLogger(__name__)


class _CachedAnswer(msgspec.Struct):
    """A source's last answer about one project, with the moments that decide what it is good for."""

    page: ProjectPage | None
    """``None``: not there (the negative cache), or refused."""
    heard_s: float
    """By the monotonic clock: no turn of the wall clock makes an answer young or old."""
    heard_at: datetime
    known_since: datetime
    """Moment when the source first had a page of this project, as far as this process knows."""
    fresh_until: float = -math.inf
    """By the same clock. Later than our own lifetimes say where the source itself knows better."""
    overtaken: bool = False
    """The source's content changed since: good to stand in, no longer fresh."""
    retry_at_s: float = -math.inf
    """Monotonic: while the source fails, it is not asked again before."""
    outage_since: datetime | None = None
    """Moment when the source fell silent, if it has not answered about this project since, whatever it says of others."""
    stale_page: ProjectPage | None = None
    """The page as it stands in."""
    is_refused: bool = False
    """A rule of the source's own withholds it: never fresh, and in an outage no earlier page stands in."""


class Cached(SourceWrapper):
    """A :class:`~wheelgate.core.protocols.Source` that remembers another one's answers.

    * Fresh: within ``fresh_s`` (pages) or ``negative_ttl_s`` ("not there") the source is not asked.
    * Stale-while-revalidate: a page says until when it need not be asked for again, and until when it may be used while it is.
    * Stale-if-error: if the source fails, or is slow, its last good page stands in for 24 h, marked stale; of a source that fails
      also one of before this process began, if ``find_kept`` finds it. A remembered "not there" is repeated too, but marked with
      the outage, because it may have been overtaken: what may follow from it is for :class:`~wheelgate.index.merged.Merged` to
      decide. ``strict`` makes it a failure instead.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock,
        metrics: Metrics,
        fresh_s: float,
        negative_ttl_s: float,
        stale_while_revalidate_s: float = 0.0,
        strict: bool = False,
        find_kept: FindKept | None = None,
        patience_s: float = 5.0,
        max_bytes: int = RECENT_BYTES,
    ) -> None:
        """``patience_s``: so long a page that was good a while ago waits for its successor. What was never heard of waits on."""
        super().__init__(source)
        self._clock = clock
        self._metrics = metrics
        self._fresh_s = fresh_s
        self._negative_ttl_s = negative_ttl_s
        self._stale_while_revalidate_s = stale_while_revalidate_s
        self._strict = strict
        self._find_kept = find_kept
        self._patience_s = patience_s
        self._answers: LRUCache[str, _CachedAnswer] = LRUCache(max_bytes, getsizeof=_answer_bytes)
        self._flights: SingleFlight[ProjectPage | None] = SingleFlight()
        self._packer = Packer(_PACKED_AFTER_S)
        self._failing_since: datetime | None = None
        self._failing_as: type[Exception] | None = None
        self._generations = Generations()

    def drop(self, project: str | None = None) -> None:
        """Let a project's answer, or none (``None``), be fresh any more: the content changed. They are kept to stand in."""
        self._generations.advance(project)
        answers = self._answers.values() if project is None else filter(None, [self._answers.get(project)])
        for answer in answers:
            answer.overtaken = True
            answer.retry_at_s = -math.inf

    def forget(self) -> None:
        """Forget every answer, as at a start: they were given to somebody else. Pages that were kept may stand in."""
        self._generations.advance(None)
        self._answers.clear()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._flights.close()
        await self._packer.close()

    async def project_page(self, project: str) -> ProjectPage:
        answer = self._answers.get(project)
        if answer is not None and self._is_fresh(answer):
            return self._page_or_absence(project, answer.page, answer.fresh_until)
        if answer is not None and self._clock.monotonic() < answer.retry_at_s and self._may_stand_in(answer):
            return self._stand_in(project, answer)
        # A flight that began before the content changed must not answer for after it, so the generation is in the key.
        generation = self._generations.of(project)
        flight = self._flights.run((project, generation), lambda: self._fetch(project, generation))
        if answer is None or answer.page is None or answer.overtaken or not self._may_stand_in(answer):
            page = await flight
        else:
            try:
                async with asyncio.timeout(self._patience_s) as patience:
                    page = await flight
            except TimeoutError:
                if not patience.expired():
                    raise
                if generation != self._generations.of(project):  # what there is to go on with was changed meanwhile
                    return await self.project_page(project)
                answer.retry_at_s = self._clock.monotonic() + _RETRY_S  # the flight goes on, for those who come then
                return self._stand_in(project, answer)
        heard = self._answers.get(project)
        return self._page_or_absence(project, page, -math.inf if heard is None or heard.overtaken else heard.fresh_until)

    def _is_fresh(self, answer: _CachedAnswer) -> bool:
        lifetime = self._negative_ttl_s if answer.page is None else self._fresh_s
        return not answer.overtaken and self._clock.monotonic() - answer.heard_s < lifetime

    def _may_stand_in(self, answer: _CachedAnswer) -> bool:
        return self._clock.monotonic() - answer.heard_s <= STALE_IF_ERROR_S

    def _page_or_absence(self, project: str, page: ProjectPage | None, fresh_until: float) -> ProjectPage:
        if page is None:
            raise ProjectNotFound(f"source {self.name} has no project {project}", fresh_until=fresh_until)
        return page

    async def _fetch(self, project: str, generation: Generation) -> ProjectPage | None:
        page: ProjectPage | None
        try:
            page = await self._source.project_page(project)
            stated_s = page.freshness.fresh_until
            self._packer.pack_soon(FileList.of(page.files))
        except ProjectNotFound as error:
            page, stated_s = None, error.fresh_until
        except (Busy, StillListing, ChainRefused) as error:  # not its source's fault: what it said last is as good as before
            answer = self._answers.get(project)
            if isinstance(error, StillListing):  # in this process it has said nothing
                answer = answer or await self._revive(project)
            if answer is not None and answer.page is not None and self._may_stand_in(answer):
                return self._stand_in(project, answer)
            raise
        except (UpstreamError, StoreError) as error:
            return await self._use_stale(project, error)
        if self._failing_since is not None:
            _log.info("source %s answers again", self.name)
            self._failing_since = None
        now, heard_s = self._clock.now(), self._clock.monotonic()
        earlier = self._answers.get(project)
        known_since = earlier.known_since if earlier and earlier.page and page else now
        fresh_until = max(heard_s + (self._negative_ttl_s if page is None else self._fresh_s), stated_s)
        if generation != self._generations.of(project):
            # Overtaken by a change while it was on its way: for those who waited, for nobody later.
            return page and msgspec.structs.replace(page, known_since=known_since, freshness=NEVER_FRESH)
        if page is not None:
            freshness = Freshness(fresh_until, fresh_until + self._stale_while_revalidate_s, page.freshness.valid_until)
            page = msgspec.structs.replace(page, known_since=known_since, freshness=freshness)
        self._answers.pop(project, None)
        answer = _CachedAnswer(page, heard_s, now, known_since, fresh_until)
        if _answer_bytes(answer) <= self._answers.maxsize:
            self._answers[project] = answer
        return page

    def _note_refusal(self, project: str) -> None:
        """It was heard, and what it said before is over."""
        self._failing_since = None
        now, heard_s = self._clock.now(), self._clock.monotonic()
        self._answers[project] = _CachedAnswer(None, heard_s, now, now, overtaken=True, is_refused=True)

    async def _use_stale(self, project: str, error: UpstreamError | StoreError) -> ProjectPage:
        if isinstance(error, RefusedByRule):
            self._note_refusal(project)
            raise error
        if self._failing_since is None or type(error) is not self._failing_as:  # a refused credential is news in any outage
            _log.warning("source %s fails, asked for %s: %s", self.name, project, error)
        self._failing_since, self._failing_as = self._failing_since or self._clock.now(), type(error)
        answer = self._answers.get(project) or await self._revive(project)
        if answer is None or answer.is_refused or not self._may_stand_in(answer):
            raise error
        answer.outage_since = answer.outage_since or self._failing_since
        answer.retry_at_s = self._clock.monotonic() + _RETRY_S
        return self._stand_in(project, answer, error)

    async def _revive(self, project: str) -> _CachedAnswer | None:
        """The answer of before this process began, if it was kept: good to stand in, never fresh."""
        page = await self._find_kept(project) if self._find_kept is not None else None
        if page is None:
            return None
        age_s = max(0.0, (self._clock.now() - page.as_of).total_seconds())
        answer = _CachedAnswer(page, self._clock.monotonic() - age_s, page.as_of, page.known_since or page.as_of, overtaken=True)
        if self._may_stand_in(answer) and _answer_bytes(answer) <= self._answers.maxsize:
            _log.warning(
                "source %s: serving the stale page of %s as of %s", self.name, project, page.as_of.isoformat(" ", "seconds")
            )
            self._answers[project] = answer
        return answer

    def _stand_in(self, project: str, answer: _CachedAnswer, error: UpstreamError | StoreError | None = None) -> ProjectPage:
        """The stale answer. ``error``: the source's, just now; ``None``: it was not asked, because it failed a moment ago."""
        if answer.page is None:
            why = error or "it failed a moment ago"
            if self._strict:
                silent = f"source {self.name} is unreachable, asked for {project}: {why}"
                raise error or UpstreamUnavailable(silent, source=self.name)
            raise ProjectNotFound(
                f"source {self.name} is unreachable ({why}); before that it had no project {project}",
                outage_since=answer.outage_since,
                last_heard=answer.heard_at,
            )
        if answer.stale_page is None:
            answer.stale_page = msgspec.structs.replace(answer.page, stale=True, freshness=NEVER_FRESH)
        self._metrics.stale_pages.labels(self.name).inc()
        return answer.stale_page


def _answer_bytes(answer: _CachedAnswer) -> int:
    return 300 if answer.page is None else 300 + page_bytes(answer.page)

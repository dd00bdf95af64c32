"""Descriptions of feeds: what the service said of a feed and of those behind it, remembered as pages are, by a record too."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime

import msgspec
from cachetools import LRUCache

from wheelgate.core.devops import FeedPlace
from wheelgate.core.errors import UpstreamError, UpstreamUnavailable, without_frames
from wheelgate.core.model import STALE_IF_ERROR_S
from wheelgate.core.protocols import Clock
from wheelgate.feeds.records import FeedRecords
from wheelgate.feeds.service import FeedDescription, FeedService
from wheelgate.runtime.singleflight import SingleFlight

RETRY_S = 5.0
PATIENCE_S = 3.0
_MOST_FEEDS = 64


class _KnownFeed(msgspec.Struct):
    """The last account of one feed."""

    description: FeedDescription
    heard_s: float
    asked_at: datetime
    same_since: datetime
    """The first moment in a row at which it was asked for and said the same."""
    retry_at_s: float = -math.inf
    trouble: str = ""
    """The reason why it was not heard since."""


class FeedDescriptions:
    """The memory of what feeds are, which asks the service for what it does not know."""

    def __init__(
        self, source: str, *, place: FeedPlace, service: FeedService, records: FeedRecords, clock: Clock, fresh_s: float
    ) -> None:
        """``place``: the feed of which a record is kept."""
        self._source = source
        self._place = place
        self._service = service
        self._records = records
        self._clock = clock
        self._fresh_s = fresh_s
        self._known: LRUCache[str, _KnownFeed] = LRUCache(_MOST_FEEDS)
        self._flights: SingleFlight[FeedDescription] = SingleFlight()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._flights.close()

    @property
    def fresh_until(self) -> float:
        """Monotonic seconds until which the feed itself need not be asked for."""
        known = self._known.get(self._place.url)
        return -math.inf if known is None else max(known.heard_s + self._fresh_s, known.retry_at_s)

    def has_changed_since(self, moment: datetime) -> bool:
        """Tell whether the feed itself may have been another one at a moment: nobody asked by then, or heard something else."""
        known = self._known.get(self._place.url)
        return known is None or moment < known.same_since

    async def find(self, place: FeedPlace) -> FeedDescription:
        """Find what a feed is; what was known of it stands in for a day.

        Raises:
            UpstreamError: the service does not say, and nobody knows.
        """
        known, now = self._known.get(place.url), self._clock.monotonic()
        if known is not None and now < max(known.heard_s + self._fresh_s, known.retry_at_s):
            return known.description
        flight = self._flights.run(place.url, lambda: self._ask(place))
        if known is None or now - known.heard_s > STALE_IF_ERROR_S:
            return await flight
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                return await flight
        except TimeoutError:
            if not patience.expired():
                raise
            known.retry_at_s = self._clock.monotonic() + RETRY_S
            known.trouble = f"the feed service took more than {PATIENCE_S:.0f} s"
            return known.description

    async def find_since(self, moment: datetime) -> FeedDescription:
        """Find what the feed itself is, as it was asked for at a moment or later.

        Raises:
            UpstreamError: the service does not say.
        """
        for _ in range(2):  # one that was under way already may have begun too early; the next one cannot have
            known = self._known.get(self._place.url)
            if known is not None and known.asked_at >= moment:
                return known.description
            if known is not None and self._clock.monotonic() < known.retry_at_s:
                break
            await self._flights.run(self._place.url, lambda: self._ask(self._place))
        known = self._known.get(self._place.url)
        if known is not None and known.asked_at >= moment:
            return known.description
        trouble = (known and known.trouble) or "the feed service could not be asked"
        raise UpstreamUnavailable(trouble, source=self._source)

    async def _ask(self, place: FeedPlace) -> FeedDescription:
        asked_at = self._clock.now()
        try:
            description = await self._service.describe(place)
        except UpstreamError as error:
            known = self._known.get(place.url) or await self._revive(place)
            if known is None or self._clock.monotonic() - known.heard_s > STALE_IF_ERROR_S:
                raise without_frames(error) from None
            known.retry_at_s, known.trouble = self._clock.monotonic() + RETRY_S, str(error)
            return known.description
        before = self._known.get(place.url)
        same_since = before.same_since if before is not None and before.description == description else asked_at
        self._known[place.url] = _KnownFeed(description, self._clock.monotonic(), asked_at, same_since)
        if place is self._place:
            self._records.keep_description(description, self._clock.now())
        return description

    async def _revive(self, place: FeedPlace) -> _KnownFeed | None:
        kept = await self._records.find_description() if place is self._place else None
        if kept is None:
            return None
        age_s = max(0.0, (self._clock.now() - kept.as_of).total_seconds())
        known = self._known[place.url] = _KnownFeed(kept.description, self._clock.monotonic() - age_s, kept.as_of, kept.as_of)
        return known

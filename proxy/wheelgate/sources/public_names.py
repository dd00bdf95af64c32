"""Control questions that find out if a private source passes public packages through, of which nobody said anything.

An index that falls back to public PyPI, a proxy, a virtual repository, a folder that half of PyPI was copied into: each lists
public names beside the operator's. Taken for a plain private source it would claim all of them, for ever, and serve their files
past the rules for public ones. It gives itself away by names that nobody owns in private.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from wheelgate.core.errors import NotHeld, PageTooLarge, ProjectNotFound, StoreError, UpstreamBadAnswer, UpstreamError
from wheelgate.core.protocols import Clock, Source
from wheelgate.runtime.asker import BACKGROUND, set_asker
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight

_FIRST = ("certifi", "idna", "six")
WELL_KNOWN = frozenset(
    {*_FIRST, "attrs", "charset-normalizer", "click", "colorama", "packaging", "python-dateutil", "pytz"}
    | {"typing-extensions", "urllib3"}
)
"""Public projects that everything depends on and nobody builds for himself, as is done with numpy, pip or torch."""
_SEVERAL = 3
"""One or two of them may have been put there by hand."""
_FRESH_S, _RETRY_S = 60.0, 5.0
_WAIT_S = 5.0
"""For which a request waits for the answers at most; they are still being asked for then."""
_log = logging.getLogger(__name__)


class Doubt(msgspec.Struct, frozen=True):
    """The reason why nobody can tell whose the names of a source are, and the remedy."""

    cause: str
    """A sentence that names the source."""
    remedy: str
    """What to do about it."""
    is_certain: bool
    """It lists public names; ``False``: it could not be asked for them."""

    def __str__(self) -> str:
        return f"{self.cause}: {self.remedy}"


class PublicNames:
    """The watch on one private source: whether it lists well-known public names."""

    def __init__(
        self,
        source: Source,
        *,
        remedy: str,
        clock: Clock,
        metrics: Metrics,
        drop: Callable[[str], None] | None = None,
    ) -> None:
        """The watch on a source, which has not been asked yet.

        Args:
            source: asked for those names, which reveals nothing.
            remedy: the settings that say what the source is.
            clock: the age of what was heard.
            metrics: tell whether it passes public packages through.
            drop: has the source asked anew for a project; ``None``: it remembers no answers.
        """
        self._source = source
        self._drop = drop
        self._remedy = remedy
        self._clock = clock
        self._metrics = metrics
        self._doubt: Doubt | None = None
        self._fresh_until_s = -math.inf
        self._asked_at: datetime | None = None
        self._flights: SingleFlight[Doubt | None] = SingleFlight()
        self._looking = BackgroundTasks()
        self._troubles = TroubleLog(_log)

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._looking.close()
        await self._flights.close()

    async def find_doubt(self, since: datetime | None = None) -> Doubt | None:
        """Find out if it lists such names, as of a minute ago at most; ``None``: it does not.

        ``since``: that it does not must have been heard at this moment or later; ``None``: a minute ago will do.
        """
        if self._is_known(since):
            return self._doubt
        try:
            async with asyncio.timeout(_WAIT_S):
                doubt = await self._flights.run("", self._ask)
                # One that was under way already may have begun too early; the next one cannot have.
                return doubt if self._is_known(since) else await self._flights.run("", self._ask)
        except TimeoutError:
            return self._doubt or self._find_silence()

    def _is_known(self, since: datetime | None) -> bool:
        if self._clock.monotonic() >= self._fresh_until_s:
            return False
        return self._doubt is not None or since is None or (self._asked_at is not None and self._asked_at >= since)

    def look_soon(self) -> None:
        """Find it out in the background."""
        if self._clock.monotonic() >= self._fresh_until_s:
            self._looking.start("", self._look)

    async def _look(self) -> None:
        await self.find_doubt()

    def _find_silence(self) -> Doubt:
        cause = f"source {self._source.name} could not be asked whether it passes public packages through"
        return Doubt(cause, "try again once it answers", False)

    async def _ask(self) -> Doubt | None:
        set_asker(BACKGROUND)
        asked_at = self._clock.now()
        heard = await self._ask_for(_FIRST)
        if True in heard.values():
            heard |= await self._ask_for(sorted(WELL_KNOWN.difference(_FIRST)))
        listed = [name for name, is_listed in heard.items() if is_listed]
        doubt, lasts_s = None, _FRESH_S
        if len(listed) >= _SEVERAL:
            found = f"{', '.join(listed[: _SEVERAL - 1])} and {listed[_SEVERAL - 1]}"
            doubt = Doubt(f"source {self._source.name} lists public packages beside its own ({found})", self._remedy, True)
            self._troubles.report("", f"{doubt}; until then nothing more is claimed of it, and names not claimed yet are refused")
        elif False not in heard.values():
            was_certain = self._doubt is not None and self._doubt.is_certain
            doubt, lasts_s = self._doubt if was_certain else self._find_silence(), _RETRY_S
        elif self._doubt is not None and self._doubt.is_certain:
            self._troubles.report("", f"source {self._source.name} lists no public packages any more", logging.INFO)
        self._doubt, self._fresh_until_s, self._asked_at = doubt, self._clock.monotonic() + lasts_s, asked_at
        self._metrics.passes_through.labels(self._source.name).set(doubt is not None and doubt.is_certain)
        return doubt

    async def _ask_for(self, names: Iterable[str]) -> dict[str, bool | None]:
        """Ask for names: whether each is listed; ``None``: the source could not be heard."""
        asked = list(names)
        return dict(zip(asked, await asyncio.gather(*map(self._is_listed, asked)), strict=True))

    async def _is_listed(self, project: str) -> bool | None:
        if self._drop is not None:
            self._drop(project)
        try:
            page = await self._source.project_page(project)
        except ProjectNotFound as error:
            return False if error.outage_since is None else None
        except PageTooLarge:
            return None
        except (
            UpstreamBadAnswer,
            NotHeld,
        ):  # it was heard, and does not list it: it refuses, or says "not there" in a way of its own
            return False
        except (UpstreamError, StoreError):
            return None
        return None if page.stale else bool(page.files or page.withheld)

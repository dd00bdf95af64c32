"""A judge under the test's control, that forgets nothing within a day."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.support.clock import FakeClock
from wheelgate.core.model import STALE_IF_ERROR_S, Judgement, Ownership


class FakeService:
    """A service that knows of each project of one source which versions were published to it, until it is silent."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.own: dict[str, set[str]] = {}
        self.mixed: set[str] = set()
        """Projects that have versions from outside as well."""
        self.is_silent = False
        self.asked: list[str] = []

    def ask(self, project: str) -> frozenset[str] | None:
        """The versions that are its own; ``None``: it is silent."""
        self.asked.append(project)
        return None if self.is_silent else frozenset(self.own.get(project, ()))


class FakeJudge:
    """A judge that asks that service, remembers what it said, and goes on by that for a day while it is silent."""

    def __init__(self, service: FakeService, clock: FakeClock, fresh_s: float = 60.0) -> None:
        self._service = service
        self._clock = clock
        self._fresh_s = fresh_s
        self.remembered: dict[str, tuple[frozenset[str], datetime, float]] = {}
        self._silent_since: datetime | None = None

    def note_served(self, project: str) -> None:
        pass

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:
        return await self.judge(project)

    async def judge(self, project: str) -> Judgement:
        known = self.remembered.get(project)
        if known is None or self._clock.monotonic() >= known[2]:
            own = self._service.ask(project)
            if own is not None:
                self._silent_since = None
                known = self.remembered[project] = (own, self._clock.now(), self._clock.monotonic() + self._fresh_s)
            else:
                self._silent_since = self._silent_since or self._clock.now()
                if known is None or self._clock.now() - known[1] > timedelta(seconds=STALE_IF_ERROR_S):
                    reason = f"source {self._service.source} cannot be asked whose {project} is: say upstream"
                    return Judgement(ownership=Ownership.UNKNOWN, reason=reason)
        own, heard_at, fresh_until = known
        silence = {"outage_since": self._silent_since, "last_heard": heard_at} if self._clock.monotonic() >= fresh_until else {}
        if not own:
            reason = f"nothing of {project} was published to source {self._service.source}"
            return Judgement(ownership=Ownership.PUBLIC, reason=reason, fresh_until=fresh_until, **silence)
        reason = f"versions of {project} were published to source {self._service.source}"
        versions = own if project in self._service.mixed else None
        return Judgement(
            ownership=Ownership.OWN, reason=reason, own_versions=versions, is_evident=True, fresh_until=fresh_until, **silence
        )

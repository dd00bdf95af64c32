"""Circuit breaker of a source: whether it makes sense to ask it right now."""

from __future__ import annotations

from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.core.protocols import Clock

_FAILURES_TO_OPEN = 5
_FIRST_PROBE_S = 5.0
_LAST_PROBE_S = 60.0
_MAX_PAUSE_S = 300.0


class Health:
    """A circuit breaker for one source, which also keeps the pauses that the upstream asks for.

    After five failures in a row the source is asked once every 5 s, then 10, 20 ... 60 s, and every other request fails at
    once: a frozen upstream must not make each build wait ten seconds. One success closes it.
    """

    def __init__(self, source: str, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._failures = 0
        self._last_reason = ""
        self._probing = False
        self._closed_until = 0.0
        self._paused_until = 0.0

    def check(self) -> None:
        """Let a request through, or raise :class:`UpstreamUnavailable`: not now, and what went wrong last."""
        now = self._clock.monotonic()
        if now < self._paused_until:
            raise UpstreamUnavailable(
                f"source {self._source} asked us to wait another {self._paused_until - now:.0f} s",
                source=self._source,
                retry_after_s=self._paused_until - now,
            )
        if self._failures < _FAILURES_TO_OPEN:
            return
        if now < self._closed_until:
            raise UpstreamUnavailable(
                f"{self._last_reason} (asked again in {self._closed_until - now:.0f} s)", source=self._source
            )
        self._probing = True
        self._closed_until = now + self._probe_interval()  # this request is the probe; the others wait for its outcome

    def _probe_interval(self) -> float:
        return min(_FIRST_PROBE_S * 2.0 ** (self._failures - _FAILURES_TO_OPEN), _LAST_PROBE_S)

    def record_success(self) -> None:
        """The upstream answered, whatever it said."""
        self._failures = 0
        self._probing = False

    def record_failure(self, reason: str) -> None:
        """It could not be reached, or not in time; ``reason`` is the sentence later callers get."""
        self._last_reason = reason
        if self._failures >= _FAILURES_TO_OPEN and not self._probing:
            return  # one of many that were under way when it opened: the same outage, not a longer one
        self._probing = False
        self._failures = min(self._failures + 1, _FAILURES_TO_OPEN + 8)
        if self._failures >= _FAILURES_TO_OPEN:
            self._closed_until = self._clock.monotonic() + self._probe_interval()

    def pause(self, seconds: float) -> float:
        """It asked us to come back later (RFC 9110, Retry-After); how long we will really wait."""
        seconds = min(max(seconds, 1.0), _MAX_PAUSE_S)
        self._paused_until = self._clock.monotonic() + seconds
        return seconds

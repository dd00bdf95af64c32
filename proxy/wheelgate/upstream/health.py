"""Health of a source: what makes sense to be asked right now, judged by what failed and by nothing wider.

A fault belongs to the address that was asked. It is held against all of its kind at a host (a *lane*) only if several different
addresses were met with silence and none was answered; against a host, if it gives no connections. So is a pause that an upstream
asks for: it is the address's, unless several were asked to wait and none was answered, or the answer says that the identity has
no requests left.
"""

from __future__ import annotations

from cachetools import LRUCache

from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.core.protocols import Clock
from wheelgate.upstream.question import Fault, Question, QuestionKind

SEVERAL = 3
"""Different addresses that fail, none of them answered meanwhile, say something of all."""
SILENCE_S = 4.0
"""An answer that takes longer counts as silence. Quick failures cost nobody time, and are the address's own."""
_EVIDENCE_S = 60.0
_NO_CONNECTIONS = 5
_FORGET_S = 600.0
_WEIGHTS, _HEAVY = {Fault.BROKEN: 2, Fault.UNREACHABLE: 2, Fault.SILENT: 5}, 10
"""An address is given a rest after five failures in a row, or after two silences, which cost each caller seconds."""
_MAX_PAUSE_S = 300.0
_MAX_ADDRESSES, _MAX_LANES = 1_000, 256


class _Breaker:
    """A circuit breaker: closed, or open but for one request at a time that tries."""

    def __init__(self, first_s: float, last_s: float) -> None:
        """Try again after ``first_s``, then after twice as long each time, up to ``last_s``."""
        self._first_s = first_s
        self._last_s = last_s
        self._openings = 0
        self._open_until = 0.0
        self._trying = False
        self._reason = ""

    @property
    def is_open(self) -> bool:
        return self._openings > 0

    def check(self, now: float, source: str) -> None:
        """Let a request pass, or raise :class:`UpstreamUnavailable`: not now, and what went wrong last."""
        if self._openings and now < self._open_until:
            wait_s = self._open_until - now
            raise UpstreamUnavailable(f"{self._reason} (asked again in {wait_s:.0f} s)", source=source, retry_after_s=wait_s)

    def note_try(self, now: float) -> None:
        """A request that passed is made now: the others wait for what comes of it."""
        if self._openings:
            self._trying = True
            self._open_until = now + self._wait_s()

    def forgo_try(self, now: float) -> None:
        """It was not made after all: let the next one pass."""
        if self._trying:
            self._trying = False
            self._open_until = now

    def open(self, now: float, reason: str) -> None:
        self._reason = reason
        if self._openings and not self._trying:
            return  # one of many that were under way when it opened: the same outage, not a longer one
        self._trying = False
        self._openings += 1
        self._open_until = now + self._wait_s()

    def close(self) -> None:
        self._openings, self._trying = 0, False

    def _wait_s(self) -> float:
        return min(self._first_s * 2.0 ** min(self._openings - 1, 8), self._last_s)


class _Address:
    """An address that failed and has not answered since."""

    def __init__(self) -> None:
        self.breaker = _Breaker(5.0, 10.0)
        self.weight = 0
        self.paused_until = 0.0
        self.failed_s = 0.0


class _Lane:
    """All addresses of one kind at a host, or the host itself."""

    def __init__(self) -> None:
        self.breaker = _Breaker(2.0, 5.0)
        self.paused_until = 0.0
        self.silent: dict[str, float] = {}
        """Addresses that were met with silence, and when; never more than ``SEVERAL``."""
        self.waiting: dict[str, float] = {}
        """Addresses that were asked to wait, and until when; never more than ``SEVERAL``."""
        self.connections_failed = 0

    def note(self, evidence: dict[str, float], address: str, value: float, since: float) -> bool:
        """Add to the evidence, without what is older than ``since``; tell whether several addresses agree now."""
        for old in [known for known, at in evidence.items() if at < since]:
            del evidence[old]
        if address in evidence or len(evidence) < SEVERAL:
            evidence[address] = value
        return len(evidence) >= SEVERAL


class Health:
    """Circuit breakers and pauses of one source, all of them bounded: 1,000 failing addresses, 256 lanes.

    A frozen upstream must not make each build wait ten seconds, nor one broken page keep all others from being asked.
    """

    def __init__(self, source: str, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._addresses: LRUCache[str, _Address] = LRUCache(_MAX_ADDRESSES)
        self._lanes: LRUCache[tuple[str, QuestionKind | None], _Lane] = LRUCache(_MAX_LANES)
        """By host and kind; those of no kind are of whole hosts."""

    @property
    def is_open(self) -> bool:
        """True if a host, or all of one kind there, is not asked now but by one request at a time."""
        return any(lane.breaker.is_open for lane in self._lanes.values())

    @property
    def paused_s(self) -> float:
        """Seconds for which a host, or all of one kind there, still asks us to wait."""
        now = self._clock.monotonic()
        return max((lane.paused_until - now for lane in self._lanes.values() if lane.paused_until > now), default=0.0)

    def check(self, question: Question) -> None:
        """Let a question pass, or raise :class:`UpstreamUnavailable`: its own address is not to be asked now."""
        now, known = self._clock.monotonic(), self._addresses.get(question.address)
        if known is None:
            return
        if now > known.failed_s + _FORGET_S:
            del self._addresses[question.address]
            return
        self._check_pause(now, known.paused_until, "before it is asked for this again")
        known.breaker.check(now, self._source)
        known.breaker.note_try(now)

    def check_host(self, question: Question, *, to_ask: bool) -> None:
        """Do the same for the host that is to be asked next. ``to_ask``: at once, if it may be."""
        now = self._clock.monotonic()
        known = [self._lanes.get((question.host, kind)) for kind in (None, question.kind)]
        lanes = [lane for lane in known if lane is not None]
        for lane in lanes:
            self._check_pause(now, lane.paused_until, f"(it says so of more than one address at {question.host})")
            lane.breaker.check(now, self._source)
        if to_ask:
            for lane in lanes:
                lane.breaker.note_try(now)

    def _check_pause(self, now: float, until: float, what: str) -> None:
        if now < until:
            wait_s = until - now
            sentence = f"source {self._source} asked us to wait another {wait_s:.0f} s {what}"
            raise UpstreamUnavailable(sentence, source=self._source, retry_after_s=wait_s)

    def record_heard(self, question: Question, *, failed: bool) -> None:
        """The host answered. ``failed``: with a failure, which says no more than that it can be reached."""
        if (host := self._lanes.get((question.host, None))) is not None:
            host.connections_failed = 0
            host.breaker.close()
        lane = self._lanes.get((question.host, question.kind))
        if lane is not None and not failed:
            lane.breaker.close()
            lane.paused_until = 0.0
            lane.silent.clear()
            lane.waiting.clear()

    def record_fault(self, question: Question, fault: Fault, reason: str) -> None:
        """A request failed; ``reason`` is the sentence that later callers get."""
        now = self._clock.monotonic()
        question.fault = fault
        if fault is Fault.UNREACHABLE:
            lane = self._find_lane(question.host, None)
            lane.connections_failed += 1
            if lane.connections_failed >= _NO_CONNECTIONS:
                lane.breaker.open(now, reason)
        elif fault is Fault.SILENT and not question.is_control:  # made-up names and roots say nothing of pages
            lane = self._find_lane(question.host, question.kind)
            if lane.note(lane.silent, question.address, now, now - _EVIDENCE_S) or lane.breaker.is_open:
                lane.breaker.open(now, reason)

    def record_answer(self, question: Question) -> None:
        """A question was answered, whatever the answer says: nothing is held against its address any more."""
        self._addresses.pop(question.address, None)

    def record_failure(self, question: Question, reason: str) -> None:
        """A question was given up. What was not the upstream's doing is held against nobody."""
        now, known = self._clock.monotonic(), self._addresses.get(question.address)
        if question.fault is None:
            if known is not None:
                known.breaker.forgo_try(now)
            return
        known = self._find_address(question)
        known.failed_s = now
        known.weight += _WEIGHTS[question.fault]
        if known.weight >= _HEAVY:
            known.breaker.open(now, reason)

    def pause(self, question: Question, seconds: float, *, whole: bool) -> float:
        """An answer asked us to come back later (RFC 9110, Retry-After); return how many seconds we will really wait.

        ``whole``: it says that the identity may ask this host for nothing more until then.
        """
        seconds, now = min(max(seconds, 1.0), _MAX_PAUSE_S), self._clock.monotonic()
        known = self._find_address(question)
        known.failed_s, known.paused_until = now, now + seconds
        lane = self._find_lane(question.host, None if whole else question.kind)
        if whole:
            lane.paused_until = now + seconds
        elif lane.note(lane.waiting, question.address, now + seconds, now):
            lane.paused_until = min(lane.waiting.values())
        return seconds

    def _find_address(self, question: Question) -> _Address:
        known = self._addresses.get(question.address)
        if known is None:
            known = self._addresses[question.address] = _Address()
        return known

    def _find_lane(self, host: str, kind: QuestionKind | None) -> _Lane:
        lane = self._lanes.get((host, kind))
        if lane is None:
            lane = self._lanes[host, kind] = _Lane()
        return lane

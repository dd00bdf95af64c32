"""Allowances: a number of tries that each client may fail at, which grows back."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import LRUCache

_MAX_CLIENTS = 4_096
_ROUNDING_S = 1e-3


class Allowances:
    """The tries that each client has left: ``most`` at first, and ``per_s`` more a second up to that number.

    What one client spends is taken from no other. Bounded: beyond 4,096 clients, the least recently seen starts afresh.
    """

    def __init__(self, monotonic: Callable[[], float], *, most: int, per_s: float) -> None:
        """``monotonic``: the clock, in seconds."""
        self._monotonic = monotonic
        self._per_s = per_s
        self._span_s = most / per_s
        """Time in which a client that has spent everything has all of it again."""
        self._whole_at_s: LRUCache[str, float] = LRUCache(_MAX_CLIENTS)
        """Monotonic, by client: when it has all of its tries again. Who is not here has them."""

    def spend(self, client: str) -> float:
        """Take one try of a client's, and return 0; or take none, and return how long it has to wait for one, in seconds."""
        now_s = self._monotonic()
        spent_until_s = max(now_s, self._whole_at_s.get(client, now_s)) + 1 / self._per_s
        wait_s = spent_until_s - now_s - self._span_s
        if wait_s > _ROUNDING_S:
            return wait_s
        self._whole_at_s[client] = spent_until_s
        return 0.0

    def refund(self, client: str) -> None:
        """Give a try back that did not fail."""
        if client in self._whole_at_s:
            self._whole_at_s[client] -= 1 / self._per_s

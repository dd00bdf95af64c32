"""Generations: counters that tell whether a key was overtaken by a change while somebody worked on it."""

from __future__ import annotations

_COUNTERS = 4_096

Generation = tuple[int, int]


class Generations:
    """The generation of every key: it grows with each change of the key, and with each change of everything.

    Whoever computes something slowly notes the generation before, and keeps the result only if it is still the same. Bounded:
    4,096 counters are shared by all keys, so that a change of one counts as a change of one in 4,096 others too.
    """

    def __init__(self) -> None:
        self._all = 0
        self._counts = [0] * _COUNTERS

    def of(self, key: str) -> Generation:
        """The key's generation now. One that has passed never comes again."""
        return self._all, self._counts[hash(key) % _COUNTERS]

    def advance(self, key: str | None) -> None:
        """Let a key's generation end; ``None``: everybody's."""
        if key is None:
            self._all += 1
        else:
            self._counts[hash(key) % _COUNTERS] += 1

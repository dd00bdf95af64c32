"""Generations: counters that tell whether a key was overtaken by a change while somebody worked on it."""

from __future__ import annotations

_MAX_KEYS = 10_000

Generation = tuple[int, int]


class Generations:
    """The generation of every key: it grows with each change of the key, and with each change of everything.

    Whoever computes something slowly notes the generation before, and keeps the result only if it is still the same. Bounded:
    beyond 10,000 keys, a change of one more counts as a change of everything.
    """

    def __init__(self) -> None:
        self._all = 0
        self._keys: dict[str, int] = {}

    def of(self, key: str) -> Generation:
        """The key's generation now. One that has passed never comes again."""
        return self._all, self._keys.get(key, 0)

    def advance(self, key: str | None) -> None:
        """Let a key's generation end; ``None``: everybody's."""
        if key is None or (key not in self._keys and len(self._keys) >= _MAX_KEYS):
            self._all += 1
            self._keys.clear()
        else:
            self._keys[key] = self._keys.get(key, 0) + 1

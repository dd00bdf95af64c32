"""A signal: listeners that are told, in order and at once, what changed."""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str | None], None]
"""Takes the key of what changed, such as a project's name; ``None``: anything may have."""


class Signal:
    """Callbacks of whoever holds something that a change makes old. They are quick, and raise nothing."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def emit(self, key: str | None = None) -> None:
        for listener in self._listeners:
            listener(key)

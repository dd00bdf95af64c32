"""A signal: listeners that are told, in order and at once, that something changed."""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[], None]


class Signal:
    """Callbacks of whoever holds something that a change makes old. They are quick, and raise nothing."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def emit(self) -> None:
        for listener in self._listeners:
            listener()

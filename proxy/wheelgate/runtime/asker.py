"""Askers: the clients for whom work is done, so that what all of them share is shared out fairly."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context

BACKGROUND = ""
"""The asker of work that no client waits for: it comes after all of them."""
_MOST = 8
"""Askers of one piece of work that are known by name: it is the turn of one of them soon enough."""


class Askers:
    """Those for whom a piece of work is done. Others may join them while it goes on."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self._listeners: list[Callable[[str], None]] = []

    def add(self, name: str) -> None:
        """Take one more in, and tell whoever listens; a few are enough."""
        if name not in self.names and len(self.names) < _MOST:
            self.names.append(name)
            for listener in tuple(self._listeners):
                listener(name)

    def follow(self, others: Askers) -> None:
        """Take in those others, and whoever joins them later."""
        for name in others.names:
            self.add(name)
        others.listen(self.add)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Tell of everyone who joins from now on."""
        self._listeners.append(listener)

    def mute(self, listener: Callable[[str], None]) -> None:
        """Tell no more."""
        self._listeners.remove(listener)


_askers: ContextVar[Askers] = ContextVar("askers")


def get_askers() -> Askers:
    """Return those for whom this task works. It has them from the work that started it."""
    return _askers.get(None) or Askers(BACKGROUND)


def set_asker(name: str) -> None:
    """Say for whom this task works from now on."""
    _askers.set(Askers(name))


def open_context() -> tuple[Askers, Context]:
    """Make a context for work that others may join: its askers are those of now, and whoever is added to them."""
    askers, context = Askers(), copy_context()
    askers.follow(get_askers())
    context.run(_askers.set, askers)
    return askers, context

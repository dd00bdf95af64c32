"""Computations in slices, run straight through."""

from __future__ import annotations

from typing import TypeVar

from wheelgate.runtime.cooperative import Steps

T = TypeVar("T")


def straight(steps: Steps[T]) -> T:
    """The result, computed without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result

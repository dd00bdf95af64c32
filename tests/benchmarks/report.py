"""What was seen, as one table: each row beside its bar, and whether it reaches it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One bar, and one value for every repetition."""

    work: str
    bar: float
    values: Sequence[float]
    unit: str = "x"
    at_most: bool = False
    """Whether the bar is an upper bound: the upper quartile has to keep it then, else the lower one."""
    seen: str = ""
    """What stands behind the values."""

    @property
    def reached(self) -> bool:
        low, _, high = quartiles(self.values)
        return high <= self.bar if self.at_most else low >= self.bar


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def print_head() -> None:
    print(f"\n{'work':58} {'bar':>10} {'lower':>8} {'median':>8} {'upper':>8}  {'verdict':8} seen")


def print_row(row: Row) -> None:
    figures = " ".join(f"{value:8,.{_digits(value)}f}" for value in quartiles(row.values))
    bar = f"{'<=' if row.at_most else '>='} {row.bar:g} {row.unit}"
    print(f"{row.work:58} {bar:>10} {figures}  {'reached' if row.reached else 'MISSED':8} {row.seen}", flush=True)


def _digits(value: float) -> int:
    return 2 if value < 10 else 1 if value < 100 else 0

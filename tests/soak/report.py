"""Everything that was seen, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.soak.crowd import percentile
from tests.soak.ledger import Kind, Record
from tests.soak.replicas import Replica, Sample
from tests.soak.store_watch import MOST_SILENT, StoreWatch

P99_MS = 50.0
_MOST_FORGIVEN = 20
_JUDGED_FROM_S = 600.0
"""How long the spared replica has to have lived before its slope says more of leaks than of caches that fill."""
_MAX_GROWN_MIB, _MAX_MORE_DESCRIPTORS, _MAX_MORE_THREADS, _MAX_MORE_TASKS = 24.0, 32, 8, 32


@dataclass(frozen=True)
class Slope:
    """How what one process holds changes over the second half of its life: least squares, from its beginning to its end."""

    minutes: float
    rss_mib: float
    descriptors: float
    threads: float
    tasks: float

    @property
    def grows(self) -> bool:
        """True if it holds more and more."""
        return (
            self.rss_mib > _MAX_GROWN_MIB
            or self.descriptors > _MAX_MORE_DESCRIPTORS
            or self.threads > _MAX_MORE_THREADS
            or self.tasks > _MAX_MORE_TASKS
        )

    def __str__(self) -> str:
        held = (
            f"{self.rss_mib:+.1f} MiB, {self.descriptors:+.1f} descriptors, {self.threads:+.1f} threads, {self.tasks:+.1f} tasks"
        )
        return f"{held} in {self.minutes:.1f} minutes"


def measure_slope(samples: list[Sample]) -> Slope:
    half = samples[len(samples) // 2 :]
    seconds = half[-1].age_s - half[0].age_s
    ages = [sample.age_s for sample in half]
    return Slope(
        seconds / 60,
        seconds * _tilt(ages, [sample.rss_mib for sample in half]),
        seconds * _tilt(ages, [float(sample.descriptors) for sample in half]),
        seconds * _tilt(ages, [float(sample.threads) for sample in half]),
        seconds * _tilt(ages, [float(sample.tasks) for sample in half]),
    )


def _tilt(xs: list[float], ys: list[float]) -> float:
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else 0.0


def judge_slope(replica: Replica, record: Record) -> Slope | None:
    """The slope of the replica that was spared; ``None``: it did not live long enough to have any."""
    samples = max(replica.samples.values(), key=len, default=[])
    if len(samples) < 8:
        return None
    slope = measure_slope(samples)
    if slope.grows and samples[-1].age_s - samples[0].age_s > _JUDGED_FROM_S:
        record.break_(f"grows: {slope}", replica.name)
    return slope


def judge_crowd(figures: dict[str, Any], record: Record) -> None:
    if figures["p99 of the server, ms"] > P99_MS:
        record.break_(f"p99 of a warm page in the crowd: {figures['p99 of the server, ms']:.1f} ms")


def judge_store(watch: StoreWatch, record: Record) -> None:
    """Forgive what the store's own silence excuses; a store that was silent too long is no measurement of anything."""
    record.forgive(watch)
    if watch.silent_part > MOST_SILENT:
        record.break_(
            f"not a measurement: the store itself was silent for {watch.silent_s:.0f} s, "
            f"{100 * watch.silent_part:.1f} % of the time ({100 * MOST_SILENT:.0f} % at most)"
        )


def format_verdict(record: Record, watch: StoreWatch, slope: Slope | None, crowd: dict[str, Any]) -> str:
    """What the soak is there for, and what it found."""
    rows = [(str(kind), str(sum(broken.kind is kind for broken in record.broken))) for kind in Kind]
    silences = len(watch.silences)
    rows += [
        ("forgiven: while the store itself was silent, or right after", str(len(record.forgiven))),
        ("silence of the store", f"{silences} times, {watch.silent_s:.1f} s, {100 * watch.silent_part:.2f} % of the time"),
        ("answers of the store to us: p50 / p99 / most, s", _spread(watch.answers_s) if watch.answers_s else "none"),
        ("kill -9, drains", f"{record.counts['kill -9']}, {record.counts['drains']}"),
        ("the spared replica's slope, its life's second half", "none" if slope is None else str(slope)),
    ]
    if crowd:
        crowded = f"p99 of a warm page with {crowd['idle connections']} idle connections and {crowd['installs at once']} installs"
        figures = f"{crowd['p99 of the server, ms']:.1f}, by the clock {crowd['p99 by the clock, ms']:.1f} (bound: {P99_MS:.0f})"
        rows.append((f"{crowded}, ms", figures))
    rows.append(("verdict", "FAILED" if record.broken else "holds"))
    return "\n".join([*_format_table(rows), *(f"forgiven: {each.line}" for each in record.forgiven[:_MOST_FORGIVEN])])


def format_figures(record: Record, replicas: list[Replica], crowd: dict[str, Any]) -> str:
    """Everything that was counted and timed."""
    rows = [("minutes", f"{record.age_s / 60:.1f}")]
    rows += sorted((what, str(count)) for what, count in record.counts.items())
    rows += [(f"{what}: p50 / p99 / most, s", _spread(times)) for what, times in sorted(record.times_s.items())]
    samples = [sample for replica in replicas for life in replica.samples.values() for sample in life]
    if samples:
        rows.append(("most memory of any replica, MiB", f"{max(sample.rss_mib for sample in samples):.0f}"))
        most = f"{max(s.descriptors for s in samples)}, {max(s.threads for s in samples)}, {max(s.tasks for s in samples)}"
        rows.append(("most descriptors, threads, tasks", most))
    rows += [(f"crowd: {what}", f"{figure:.1f}" if isinstance(figure, float) else str(figure)) for what, figure in crowd.items()]
    return "\n".join(_format_table(rows))


def _format_table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(what) for what, _ in rows)
    lines = [f"| {what.ljust(width)} | {figure} |" for what, figure in rows]
    return [f"| {'what'.ljust(width)} | seen |", f"|{'-' * (width + 2)}|---|", *lines]


def _spread(times: list[float]) -> str:
    return f"{percentile(times, 50):.2f} / {percentile(times, 99):.2f} / {max(times):.2f} ({len(times)})"

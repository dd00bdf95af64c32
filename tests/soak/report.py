"""Everything that was seen, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.soak.crowd import percentile
from tests.soak.ledger import Record
from tests.soak.replicas import Replica, Sample

P99_MS = 50.0
_JUDGED_FROM_S = 600.0
"""How long the spared replica has to have lived before its slope says more of leaks than of caches that fill."""
_MAX_GROWN_MIB, _MAX_MORE_DESCRIPTORS, _MAX_MORE_THREADS = 24.0, 32, 8


@dataclass(frozen=True)
class Slope:
    """How what one process holds changes over the second half of its life: least squares, from its beginning to its end."""

    minutes: float
    rss_mib: float
    descriptors: float
    threads: float


def measure_slope(samples: list[Sample]) -> Slope:
    half = samples[len(samples) // 2 :]
    seconds = half[-1].age_s - half[0].age_s
    ages = [sample.age_s for sample in half]
    return Slope(
        seconds / 60,
        seconds * _tilt(ages, [sample.rss_mib for sample in half]),
        seconds * _tilt(ages, [float(sample.descriptors) for sample in half]),
        seconds * _tilt(ages, [float(sample.threads) for sample in half]),
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
    grows = slope.rss_mib > _MAX_GROWN_MIB or slope.descriptors > _MAX_MORE_DESCRIPTORS or slope.threads > _MAX_MORE_THREADS
    if grows and samples[-1].age_s - samples[0].age_s > _JUDGED_FROM_S:
        record.break_(f"grows: {slope}", replica.name)
    return slope


def judge_crowd(figures: dict[str, Any], record: Record) -> None:
    if figures["p99 of the server, ms"] > P99_MS:
        record.break_(f"p99 of a warm page in the crowd: {figures['p99 of the server, ms']:.1f} ms")


def format_report(record: Record, replicas: list[Replica], slope: Slope | None, crowd: dict[str, Any]) -> str:
    """The table, and what broke."""
    rows = [("minutes", f"{record.age_s / 60:.1f}")]
    rows += sorted((what, str(count)) for what, count in record.counts.items())
    rows += [(f"{what}: p50 / p99 / most, s", _spread(times)) for what, times in sorted(record.times_s.items())]
    samples = [sample for replica in replicas for life in replica.samples.values() for sample in life]
    if samples:
        rows.append(("most memory of any replica, MiB", f"{max(sample.rss_mib for sample in samples):.0f}"))
        rows.append(("most descriptors, threads", f"{max(s.descriptors for s in samples)}, {max(s.threads for s in samples)}"))
    if slope is not None:
        rows.append(
            (
                f"the spared replica's last {slope.minutes:.1f} minutes",
                f"{slope.rss_mib:+.1f} MiB, {slope.descriptors:+.1f} descriptors, {slope.threads:+.1f} threads",
            )
        )
    rows += [(f"crowd: {what}", f"{figure:.1f}" if isinstance(figure, float) else str(figure)) for what, figure in crowd.items()]
    rows.append(("broken", str(len(record.broken))))
    width = max(len(what) for what, _ in rows)
    lines = [f"| {what.ljust(width)} | {figure} |" for what, figure in rows]
    return "\n".join([f"| {'what'.ljust(width)} | seen |", f"|{'-' * (width + 2)}|---|", *lines])


def _spread(times: list[float]) -> str:
    return f"{percentile(times, 50):.2f} / {percentile(times, 99):.2f} / {max(times):.2f} ({len(times)})"

"""Load, and what comes of it: interleaved runs, medians and quartiles."""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.benchmarks.servers import LOAD_CORE, System

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass
class Run:
    """One run of wrk."""

    requests: int
    rate: float
    """Requests per second."""
    cpu_us: float
    """Processor time of the server per request: says more than the rate where others use the machine."""
    bytes_per_s: float
    p99_s: float


@dataclass
class Cell:
    """What one system did in one row, over all repetitions."""

    runs: list[Run] = field(default_factory=list)

    def median(self, what: str) -> float:
        return statistics.median(getattr(run, what) for run in self.runs)

    def __str__(self) -> str:
        return f"{self.median('rate'):,.0f}/s, {self.median('cpu_us'):.0f} us"


def wrk(system: System, path: str, *, connections: int, seconds: int, headers: Mapping[str, str]) -> Run:
    """Load one URL. Fails unless every answer was as expected: 2xx or 3xx."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    before = system.cpu_s()
    output = subprocess.run([*command, system.url + path], capture_output=True, text=True, check=True).stdout
    cpu_s = system.cpu_s() - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{system.name} {path}: {output}")
    count = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m), ([\d.]+)([KMGT]?)B read", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", output)
    if count is None or p99 is None:
        raise SystemExit(f"wrk said something else than expected: {output}")
    requests, took_s = int(count[1]), float(count[2]) * _UNITS[count[3]]
    read = float(count[4]) * 1024 ** " KMGT".index(count[5] or " ")
    return Run(requests, requests / took_s, cpu_s / max(requests, 1) * 1e6, read / took_s, float(p99[1]) * _UNITS[p99[2]])


def ratios(ours: Cell, theirs: Cell) -> list[float]:
    """Pair by pair, of the rates: the runs of one repetition stand side by side in time."""
    return [a.rate / b.rate for a, b in zip(ours.runs, theirs.runs, strict=True)]

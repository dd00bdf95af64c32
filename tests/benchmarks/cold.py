"""Cold pages: what the first request costs over the upstream's own time, and whom it holds up."""

from __future__ import annotations

import http.client
import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.benchmarks.measure import Run, wrk
from tests.benchmarks.report import Row
from tests.benchmarks.servers import JSON, System

_HEADERS = {"Accept": JSON, "Accept-Encoding": "gzip"}
_BARS_MS = {"small": 3, "large": 40, "huge": 140}
_FILES = {"small": "250", "large": "4,400", "huge": "15,000"}
_AFTER_S = 3.0
"""By then pages are packed, and what is remembered of them is written. The kernel counts the time of a process that runs by the
tick: one answer alone may seem to have cost some milliseconds less than it did."""
_AHEAD = 16
"""More huge pages than are rendered in one repetition."""


def pages(origin: str, ours: System, pairs: int) -> Iterator[Row]:
    """First requests for pages never seen."""
    _first_s(ours.url, "small-warming")
    time.sleep(_AFTER_S)
    for kind, bar_ms in _BARS_MS.items():
        over, before = [], ours.cpu_s()
        for number in range(pairs):
            project = f"{kind}-{kind}{number}"
            _prepare(origin, project)
            alone_s = min(_first_s(origin, project) for _ in range(3))
            over.append((_first_s(ours.url, project) - alone_s) * 1e3)
        time.sleep(_AFTER_S)
        each_ms = (ours.cpu_s() - before) / pairs * 1e3
        seen = f"{each_ms:.1f} ms of processor time with all that follows the answer"
        yield Row(f"cold page of {_FILES[kind]} files, over upstream's time", bar_ms, over, "ms", at_most=True, seen=seen)


def neighbours(origin: str, ours: System, pairs: int, seconds: int) -> Iterator[Row]:
    """Warm small pages while huge ones are rendered cold, one after the other."""
    _first_s(ours.url, "small-warming")
    names = (f"huge-cold{number}" for number in itertools.count())
    ready: list[str] = []
    rendered: list[int] = []
    runs: list[Run] = []
    for _ in range(pairs):
        while len(ready) < _AHEAD:
            ready.append(next(names))
            _prepare(origin, ready[-1])
        stop = threading.Event()
        thread = threading.Thread(target=_render, args=(ours.url, ready, stop))
        thread.start()
        runs.append(wrk(ours, "/simple/small-warming/", connections=16, seconds=seconds, headers=_HEADERS))
        stop.set()
        thread.join()
        rendered.append(_AHEAD - len(ready))
    seen = f"{statistics.median(rendered):.0f} pages rendered meanwhile; {statistics.median(run.rate for run in runs):,.0f}/s"
    yield Row("p99 of warm small pages meanwhile", 20, [run.p99_s * 1e3 for run in runs], "ms", at_most=True, seen=seen)


def _render(url: str, ready: list[str], stop: threading.Event) -> None:
    while not stop.is_set() and ready:
        _first_s(url, ready.pop())


def _prepare(origin: str, project: str) -> None:
    _first_s(origin, project, "/prepare/")


def _first_s(url: str, project: str, below: str = "/simple/") -> float:
    """How long one request takes on a connection that stands already, to the last byte."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", f"{below}{project}/" if below == "/simple/" else f"{below}{project}", headers=_HEADERS)
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{url} {project}: {answer.status}")
    return took

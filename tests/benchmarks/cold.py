"""Cold pages: what the first request costs over the upstream's own time, and whom it holds up."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.measure import wrk
from tests.benchmarks.servers import JSON, LOAD_CORE, wheelgate

_HEADERS = {"Accept": JSON, "Accept-Encoding": "gzip"}


def measure(folder: Path, origin: str, pairs: int) -> None:
    """First requests for pages never seen, and warm ones meanwhile."""
    print("\ncold pages: ms over the upstream's own time, median of so many different pages")
    own = threading.get_native_id()
    subprocess.run(["taskset", "-cp", LOAD_CORE, str(own)], check=True, capture_output=True)
    with wheelgate(folder, origin, name="wheelgate, cold") as ours:
        _first(ours.url, "small-warming")
        for kind in ("small", "large", "huge"):
            over, cpu = [], []
            for number in range(pairs):
                project = f"{kind}-{kind}{number}"
                _first(origin, project, "/prepare/")
                alone_s = min(_first(origin, project) for _ in range(3))
                before = ours.cpu_s()
                over.append((_first(ours.url, project) - alone_s) * 1e3)
                cpu.append((ours.cpu_s() - before) * 1e3)
            print(
                f"  {kind:6} {statistics.median(over):8.1f} ms ({min(over):.1f} to {max(over):.1f}); "
                f"processor {statistics.mean(cpu):.1f} ms"
            )
        projects = [f"huge-huge{number}" for number in range(1_000, 1_020)]
        for project in projects:
            _first(origin, project, "/prepare/")
        stop = threading.Event()

        def cold_ones() -> None:
            while projects and not stop.is_set():
                _first(ours.url, projects.pop())

        thread = threading.Thread(target=cold_ones)
        thread.start()
        run = wrk(ours, "/simple/small-warming/", connections=16, seconds=3, headers=_HEADERS)
        stop.set()
        thread.join()
        print(
            f"  p99 of warm small pages while huge ones are rendered cold: {run.p99_s * 1e3:.1f} ms "
            f"({20 - len(projects)} rendered)"
        )


def _first(url: str, project: str, below: str = "/simple/") -> float:
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

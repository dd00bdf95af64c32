"""Measures Wheelgate beside its yardsticks and prints a table: each row with its bar, the quartiles seen, and the verdict."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import cold, files, growth, process, resolving, warm
from tests.benchmarks.report import Row, print_head, print_row
from tests.benchmarks.servers import LOAD_CORE, upstream, wheelgate


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="interleaved repetitions (9)")
    parser.add_argument("--seconds", type=int, default=2, help="how long load lasts in each, whole seconds (2)")
    parser.add_argument("--only", choices=_ALL, action="append", metavar="WORK", help=f"leave the rest out: {', '.join(_ALL)}")
    given = parser.parse_args()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    print(f"{platform.python_implementation()} {platform.python_version()}, {given.pairs} repetitions of {given.seconds} s")
    with tempfile.TemporaryDirectory(prefix="wheelgate-benchmark-") as folder:
        print_head()
        for row in _rows(Path(folder), given.only or _ALL, given.pairs, given.seconds):
            print_row(row)


def _rows(folder: Path, wanted: list[str], pairs: int, seconds: int) -> Iterator[Row]:
    with ExitStack() as stack:
        origin = stack.enter_context(upstream(folder))
        if "start" in wanted:
            yield from process.start(folder, origin, pairs)
        ours = stack.enter_context(wheelgate(folder, origin))
        loads: dict[str, Callable[[], Iterator[Row]]] = {
            "warm": lambda: warm.pages(folder, origin, ours, pairs, seconds),
            "files": lambda: files.small(folder, ours, pairs, seconds),
            "big": lambda: files.big(origin, ours, pairs, seconds),
            "cold": lambda: cold.pages(origin, ours, pairs),
            "p99": lambda: cold.neighbours(origin, ours, pairs, seconds),
        }
        held: dict[str, float] = {}
        for name in filter(wanted.__contains__, loads):
            yield from loads[name]()
            held[name] = ours.memory_bytes() / 2**20
        if held:
            yield process.memory_after(ours, held)
        if "redirects" in wanted:
            yield from files.redirects(folder, origin, pairs, seconds)
    if "growth" in wanted:
        with upstream(folder) as origin:
            yield from growth.growth(folder, origin, pairs)
    if "uv" in wanted:
        yield from resolving.resolved(folder, pairs)
    if "feed" in wanted:
        yield from resolving.resolved_from_feed(folder, pairs)


_ALL = ["start", "warm", "files", "big", "cold", "p99", "redirects", "growth", "uv", "feed"]

if __name__ == "__main__":
    main()

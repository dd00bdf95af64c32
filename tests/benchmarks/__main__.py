"""Measures Wheelgate beside its yardsticks and writes down what was seen: ``python -m tests.benchmarks --help``."""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import cold, files
from tests.benchmarks.measure import Cell, ratios, wrk
from tests.benchmarks.servers import JSON, System, bare, fetched, nginx, pypiron, upstream, wheelgate

_GZIP = {"Accept": JSON, "Accept-Encoding": "gzip"}
PROJECTS = {"small": "small-0", "large": "large-0"}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="interleaved repetitions (9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each (2)")
    parser.add_argument("--only", choices=["warm", "cold", "files"], action="append", help="leave the rest out")
    given = parser.parse_args()
    wanted = given.only or ["warm", "cold", "files"]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{given.pairs} interleaved repetitions of {given.seconds:g} s"
    )
    with tempfile.TemporaryDirectory(prefix="wheelgate-benchmark-") as name:
        folder = Path(name)
        with upstream(folder) as origin:
            if "warm" in wanted:
                _warm(folder, origin, given.pairs, given.seconds)
            if "cold" in wanted:
                cold.measure(folder, origin, given.pairs)
            if "files" in wanted:
                files.measure(folder, origin, given.pairs, given.seconds)
                files.measure_redirects(folder, origin, given.pairs, given.seconds)


def _warm(folder: Path, origin: str, pairs: int, seconds: float) -> None:
    """Warm pages: ours, ours with a token, and everybody else with the same pages."""
    with ExitStack() as stack:
        ours = stack.enter_context(wheelgate(folder, origin))
        closed, authorization = stack.enter_context(_with_token(folder, origin))
        pages = {project: fetched(f"{ours.url}/simple/{project}/", **_GZIP)[2] for project in PROJECTS.values()}
        plain = stack.enter_context(bare(folder, pages))
        static = stack.enter_context(nginx(folder, pages))
        peer = stack.enter_context(pypiron(folder, origin))
        systems = [system for system in (ours, closed, plain, static, peer) if system is not None]
        rows: list[tuple[str, str, Callable[[System], Mapping[str, str]]]] = [
            ("small page, gz", PROJECTS["small"], lambda _: _GZIP),
            ("large page, gz", PROJECTS["large"], lambda _: _GZIP),
            ("small page, 304", PROJECTS["small"], lambda system: {**_GZIP, "If-None-Match": etags[system.name]}),
        ]
        etags = {system.name: _etag(system, PROJECTS["small"], authorization) for system in systems}
        for title, project, headers in rows:
            cells = {system.name: Cell() for system in systems}
            for _ in range(pairs):
                for system in systems:
                    given = {**headers(system), **(authorization if system is closed else {})}
                    run = wrk(system, f"/simple/{project}/", connections=16, seconds=seconds, headers=given)
                    cells[system.name].runs.append(run)
            _print_row(title, cells)
        print(f"memory after this: {', '.join(f'{system.name} {system.memory_bytes() / 2**20:.0f} MiB' for system in systems)}")


def _with_token(folder: Path, origin: str):
    return files.with_token(folder, origin)


def _etag(system: System, project: str, authorization: Mapping[str, str]) -> str:
    _, headers, _ = fetched(f"{system.url}/simple/{project}/", **_GZIP, **authorization)
    return headers.get("ETag", '"none"')


def _print_row(title: str, cells: Mapping[str, Cell]) -> None:
    print(f"\n{title}")
    print(
        f"  {'':22} {'requests/s':>10} {'MB/s':>7} {'p99 ms':>7} {'cpu us':>7}   ratio to bare aiohttp: quartiles (by cpu time)"
    )
    yardstick = cells["bare aiohttp"]
    for name, cell in cells.items():
        low, middle, high = ratios(cell, yardstick)
        cpu = ratios(yardstick, cell, "cpu_us")[1]
        print(
            f"  {name:22} {cell.median('rate'):10,.0f} {cell.median('bytes_per_s') / 1e6:7,.0f} "
            f"{cell.median('p99_s') * 1e3:7.1f} {cell.median('cpu_us'):7.1f}   {low:.2f} / {middle:.2f} / {high:.2f} ({cpu:.2f})"
        )


if __name__ == "__main__":
    main()

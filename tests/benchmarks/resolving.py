"""A build's first question, answered: ``uv pip compile`` of six packages that need 57, nothing kept by the client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.catalogue import FEED
from tests.benchmarks.report import Row
from tests.benchmarks.servers import System, catalogue, linked, wheelgate
from tests.benchmarks.wheels import PROJECTS, ROOTS
from tests.support.clients import uv

_QUIET_CPU_S = 0.02
_FAR_MS = 30.0
_COLD = 3


def resolved(folder: Path, pairs: int) -> Iterator[Row]:
    """Through us, beside the index itself. Each has the server's core when its turn comes."""
    with catalogue(folder) as origin, _ours(folder, "resolving", f"{origin}/simple/") as system:
        url = f"{system.url}/simple/"
        cold = _compile_s(folder, url)
        ours, theirs = _pairs(folder, url, f"{origin}/simple/", pairs)
    yield Row(
        "uv pip compile, 57 pins, warm / the index itself",
        1.25,
        [a / b for a, b in zip(ours, theirs, strict=True)],
        at_most=True,
        seen=f"{_shown(ours)}, cold {cold:.2f} s; the index itself {_shown(theirs)}",
    )


def resolved_from_feed(folder: Path, pairs: int) -> Iterator[Row]:
    """Through us, beside the client directly before a feed that has no metadata: answers that take time, and a way that does."""
    with catalogue(folder, delay_ms=_FAR_MS) as origin:
        yield _beside_feed(folder, origin, pairs, f"before a feed without metadata: {_FAR_MS:g} ms an answer")
    with catalogue(folder) as near, linked(folder, near, round_trip_ms=_FAR_MS) as origin:
        yield _beside_feed(folder, origin, pairs, f"before a feed without metadata: {_FAR_MS:g} ms away")


def _beside_feed(folder: Path, origin: str, pairs: int, work: str) -> Row:
    feed = f"{origin}{FEED}"
    cold = []
    for number in range(_COLD):
        with _ours(folder, f"feed {origin.rpartition(':')[2]} {number}", feed, private=True) as system:
            url = f"{system.url}/simple/"
            cold.append(_compile_s(folder, url))
            if number == _COLD - 1:
                _settle(system)
                ours, theirs = _pairs(folder, url, feed, pairs)
    values = [b / a for a, b in zip(ours, theirs, strict=True)]
    return Row(work, 5, values, seen=f"{_shown(ours)}, cold {_shown(cold)}; directly {_shown(theirs)}")


@contextmanager
def _ours(folder: Path, name: str, url: str, *, private: bool = False) -> Iterator[System]:
    config = (
        '[[source]]\nname = "uploads"\ntype = "store"\n\n'
        f'[[source]]\nname = "upstream"\ntype = "index"\nurl = "{url}"\nprivate = {str(private).lower()}\n'
    )
    with wheelgate(folder, name=f"wheelgate, {name}", config=config) as system:
        yield system


def _settle(system: System) -> None:
    """Until it has described ahead what it does: two quiet seconds, or a minute."""
    for _ in range(30):
        before = system.cpu_s()
        time.sleep(2)
        if system.cpu_s() - before < _QUIET_CPU_S:
            return


def _pairs(folder: Path, ours: str, theirs: str, pairs: int) -> tuple[list[float], list[float]]:
    for url in (ours, theirs):
        _compile_s(folder, url)
    both = [(_compile_s(folder, ours), _compile_s(folder, theirs)) for _ in range(pairs)]
    return [a for a, _ in both], [b for _, b in both]


def _compile_s(folder: Path, index: str) -> float:
    """How long the client takes, from its start to its end."""
    home = folder / "client"
    home.mkdir(exist_ok=True)
    (home / "requirements.in").write_text("\n".join(ROOTS))
    options = ["--no-cache", "--no-header", "--no-annotate", "--quiet", "--python-version", "3.11"]
    began = time.perf_counter()
    done = uv(home, "pip", "compile", "requirements.in", "--index-url", index, *options)
    took = time.perf_counter() - began
    pins = {line.partition("==")[0] for line in done.stdout.split()}
    if pins != PROJECTS.keys():
        raise SystemExit(f"{index}: not the pins that there are, but {sorted(pins ^ PROJECTS.keys())} less or more")
    return took


def _shown(seconds: list[float]) -> str:
    return f"{sorted(seconds)[len(seconds) // 2]:.2f} s"

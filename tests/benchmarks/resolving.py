"""A build's first question, answered: ``uv pip compile`` of six packages that need 57, nothing kept by the client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.catalogue import DELAY_S, FEED, PROJECTS, ROOTS
from tests.benchmarks.report import Row
from tests.benchmarks.servers import System, catalogue, wheelgate
from tests.support.clients import uv

_QUIET_CPU_S = 0.02


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
    """Through us, beside the client directly before a feed that has no metadata."""
    with catalogue(folder) as origin, _ours(folder, "feed", f"{origin}{FEED}", private=True) as system:
        url = f"{system.url}/simple/"
        cold = _compile_s(folder, url)
        _settle(system)
        ours, theirs = _pairs(folder, url, f"{origin}{FEED}", pairs)
    yield Row(
        f"the same before a feed without metadata, {DELAY_S * 1e3:g} ms: how much faster",
        5,
        [b / a for a, b in zip(ours, theirs, strict=True)],
        seen=f"{_shown(ours)}, cold {cold:.2f} s; directly {_shown(theirs)}",
    )


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

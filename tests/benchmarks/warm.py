"""Warm pages: ours, with and without a token, beside everybody else with the same pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.measure import Cell, ratios, wrk
from tests.benchmarks.report import Row
from tests.benchmarks.servers import JSON, System, bare, fetched, nginx, pypiron, wheelgate, with_token

_GZIP = {"Accept": JSON, "Accept-Encoding": "gzip"}
_SMALL, _LARGE = "small-0", "large-0"
# work, page, whether it is known already, and what ours has to be, beside bare aiohttp and pypiron, and with a token
_WORK = (
    ("small page, gz", _SMALL, False, 1.5, 1.0, 1.3),
    ("large page, gz", _LARGE, False, 1.2, 2.0, None),
    ("small page, 304", _SMALL, True, 1.5, None, None),
)
_WORTH = {_SMALL: 3.0, _LARGE: 1.2}
"""By page: what the fast path has to save of the processor time without it, or it is not worth its module."""


def pages(folder: Path, origin: str, ours: System, pairs: int, seconds: int) -> Iterator[Row]:
    """Requests per second, 16 connections."""
    with ExitStack() as stack:
        slow = stack.enter_context(wheelgate(folder, origin, name="wheelgate, no fast path", flags=["--no-fast-path"]))
        closed, authorization = stack.enter_context(with_token(folder, origin))
        finished = {project: fetched(f"{ours.url}/simple/{project}/", **_GZIP)[2] for project in (_SMALL, _LARGE)}
        plain = stack.enter_context(bare(folder, finished))
        static = stack.enter_context(nginx(folder, finished))
        peer = stack.enter_context(pypiron(folder, origin))
        systems = [system for system in (ours, slow, closed, plain, static, peer) if system is not None]
        for work, project, known, bar, peer_bar, token_bar in _WORK:
            cells = {system.name: Cell() for system in systems}
            sent = {system.name: {**_GZIP, **(authorization if system is closed else {})} for system in systems}
            for system in systems:
                fetched(f"{system.url}/simple/{project}/", **sent[system.name])
            if known:
                sent = {system.name: {**sent[system.name], **_etag(system, project, sent[system.name])} for system in systems}
            for _ in range(pairs):
                for system in systems:
                    run = wrk(system, f"/simple/{project}/", connections=16, seconds=seconds, headers=sent[system.name])
                    cells[system.name].runs.append(run)
            cell = cells[ours.name]
            beside = f"nginx {cells[static.name]}" if static else ""
            yield Row(
                f"{work} / bare aiohttp", bar, ratios(cell, cells[plain.name]), seen=f"{cell}; {cells[plain.name]}; {beside}"
            )
            without = cells[slow.name]
            saved = [slower.cpu_us / faster.cpu_us for slower, faster in zip(without.runs, cell.runs, strict=True)]
            yield Row(f"{work}, processor time / without the fast path", _WORTH[project], saved, seen=f"{without}")
            if peer and peer_bar:
                yield Row(f"{work} / pypiron", peer_bar, ratios(cell, cells[peer.name]), seen=f"pypiron {cells[peer.name]}")
            if token_bar:
                tokened = cells[closed.name]
                yield Row(
                    f"{work}, with a token / bare aiohttp", token_bar, ratios(tokened, cells[plain.name]), seen=f"{tokened}"
                )


def _etag(system: System, project: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    return {"If-None-Match": fetched(f"{system.url}/simple/{project}/", **headers)[1].get("ETag", '"none"')}

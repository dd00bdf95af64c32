"""One of many: what one address, file, host or client does at an upstream is held against nobody else."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.gate import Gate
from tests.support.hasty_index import HastyIndex, hasty_index
from tests.support.packages import wheel_name
from tests.support.waiting import until


def config_of(index: HastyIndex) -> str:
    return f'[[source]]\nname = "public"\ntype = "index"\nprivate = false\nurl = "{index.url}"\n'


@pytest.fixture
def quick() -> Iterator[HastyIndex]:
    with hasty_index() as index:
        yield index


@pytest.fixture
def slow() -> Iterator[HastyIndex]:
    with hasty_index(0.4) as index:
        yield index


async def ask(gate: Gate, path: str, address: str = "127.0.0.1") -> tuple[int, float]:
    """Ask as the client of that address: the status, and how many seconds it took."""
    host, _, port = gate.url.removeprefix("http://").partition(":")
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
    writer.close()
    return status, time.monotonic() - began


async def ask_all(gate: Gate, names: Iterable[str], address: str = "127.0.0.1") -> list[tuple[int, float]]:
    """Ask for pages at once."""
    return await asyncio.gather(*(ask(gate, f"/simple/{name}/", address) for name in names))


def metric(gate: Gate, name: str) -> float:
    line = next(
        line for line in gate.get("/metrics").body.decode().splitlines() if line.startswith(f'{name}{{source="public"}} ')
    )
    return float(line.split()[-1])


def summarise(answers: list[tuple[int, float]]) -> str:
    return f"{Counter(status for status, _ in answers)}, the last after {max(seconds for _, seconds in answers):.1f} s"


async def test_three_thousand_unknown_names_at_once_are_all_answered(slow: HastyIndex, start_gate: Callable[..., Gate]) -> None:
    gate = start_gate(config_of(slow))
    answers = await ask_all(gate, [f"unknown-{number}" for number in range(3_000)])
    print(summarise(answers))
    assert Counter(status for status, _ in answers) == {404: 3_000}, summarise(answers)
    assert max(seconds for _, seconds in answers) < 12
    assert metric(gate, "wheelgate_upstream_breaker_open") == 0

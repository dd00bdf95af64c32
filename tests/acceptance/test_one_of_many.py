"""One of many: what one address, file, host or client does at an upstream is held against nobody else."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from unittest.mock import ANY

import pytest

from tests.support.gate import Gate
from tests.support.hasty_index import HastyIndex, hasty_index
from tests.support.lies import file_of


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
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
        if "/files/" in path:
            await reader.read()
        return status, time.monotonic() - began
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


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
    assert max(seconds for _, seconds in answers) < 15, "so long an installer waits in silence"
    assert metric(gate, "wheelgate_upstream_breaker_open") == 0


async def test_one_client_with_three_thousand_names_keeps_no_other_waiting(
    slow: HastyIndex, start_gate: Callable[..., Gate]
) -> None:
    """Two clients with many names, one of a few, and one whose name is also among the many."""
    gate = start_gate(config_of(slow))
    many = asyncio.gather(
        ask_all(gate, [f"unknown-{number}" for number in range(1_500)], "127.0.0.2"),
        ask_all(gate, [f"other-{number}" for number in range(500)], "127.0.0.3"),
    )
    await asyncio.sleep(1)
    began = time.monotonic()
    few = await ask_all(gate, ["held-1", "held-2", "unknown-1499", "other-499"], "127.0.0.4")
    took_s = time.monotonic() - began
    assert not many.done()
    assert [status for status, _ in few] == [200, 200, 404, 404]
    for answers in await many:
        print(summarise(answers))
        assert {status for status, _ in answers} == {404}
    print(f"the few: {took_s:.1f} s")
    assert took_s < 6


async def test_eight_broken_names_keep_no_other_from_being_answered(quick: HastyIndex, start_gate: Callable[..., Gate]) -> None:
    gate = start_gate(config_of(quick))
    for _ in range(2):
        broken = await ask_all(gate, [f"broken-{number}" for number in range(8)])
        assert {status for status, _ in broken} == {503}
        assert await ask_all(gate, ["held-1", "unknown-1"]) == [(200, ANY), (404, ANY)]
    assert metric(gate, "wheelgate_upstream_breaker_open") == 0


@pytest.mark.parametrize("word", ["later", "sulking"])
async def test_what_one_page_or_file_asks_for_is_kept_for_it_alone(
    quick: HastyIndex, start_gate: Callable[..., Gate], word: str
) -> None:
    gate = start_gate(config_of(quick))
    name = f"{word}-1"
    path = f"/simple/{name}/" if word == "later" else file_of(name)
    for _ in range(3):
        assert (await ask(gate, path))[0] == 503
    assert quick.asked(word) == (1 if word == "later" else 2), "the pause is kept: one request for a page, one for its file"
    assert (await ask(gate, "/simple/held-1/"))[0] == 200
    assert (await ask(gate, file_of("held-1")))[0] == 200
    assert metric(gate, "wheelgate_upstream_paused_seconds") == 0


async def test_a_first_byte_after_seven_seconds_arrives(start_gate: Callable[..., Gate]) -> None:
    with hasty_index(7.0) as index:
        gate = start_gate(config_of(index))
        answers = await ask_all(gate, [f"held-{number}" for number in range(8)])
        assert {status for status, _ in answers} == {200}
        assert max(seconds for _, seconds in answers) < 9, "nobody was asked twice"
        assert index.asked("held") == 8
        assert metric(gate, "wheelgate_upstream_breaker_open") == 0


async def test_a_frozen_upstream_is_noticed_and_heard_again_within_seconds(
    quick: HastyIndex, start_gate: Callable[..., Gate]
) -> None:
    gate = start_gate(config_of(quick))
    assert (await ask(gate, "/simple/held-0/"))[0] == 200
    quick.freeze()
    first = await ask_all(gate, [f"held-{number}" for number in range(1, 9)])
    assert {status for status, _ in first} == {503}
    assert max(seconds for _, seconds in first) < 11, "what is slow is waited for; what is silent so long is not"
    assert metric(gate, "wheelgate_upstream_breaker_open") == 1
    later = [await ask(gate, f"/simple/held-{number}/") for number in range(10, 40)]
    assert {status for status, _ in later} == {503}
    assert sorted(seconds for _, seconds in later)[-3] < 2, "all but those who try are answered at once"
    quick.thaw()
    thawed = time.monotonic()
    while (await ask(gate, "/simple/held-50/"))[0] != 200:
        assert time.monotonic() - thawed < 10
        await asyncio.sleep(0.2)
    print(f"heard again after {time.monotonic() - thawed:.1f} s")
    assert {status for status, _ in await ask_all(gate, [f"held-{number}" for number in range(60, 90)])} == {200}
    assert metric(gate, "wheelgate_upstream_breaker_open") == 0


async def test_files_that_nobody_reads_keep_no_page_and_no_other_client_waiting(
    quick: HastyIndex, start_gate: Callable[..., Gate]
) -> None:
    """They stop in the middle: a client that has asked for many waits for them, and nobody else does."""
    gate = start_gate(config_of(quick) + 'delivery = "stream"\n')
    names = [f"stuck-{number}" for number in range(260)]
    assert {status for status, _ in await ask_all(gate, names, "127.0.0.2")} == {200}
    many = [asyncio.create_task(ask(gate, file_of(name), "127.0.0.2")) for name in names]
    until_asked = time.monotonic() + 20
    while quick.asked("stuck") < 260 + 190:
        assert time.monotonic() < until_asked
        await asyncio.sleep(0.1)
    assert (await ask(gate, "/simple/held-1/", "127.0.0.3"))[0] == 200
    assert (await ask(gate, file_of("held-1"), "127.0.0.3"))[0] == 200
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)

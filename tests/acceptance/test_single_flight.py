"""Single flight: however many ask for one thing at once, the upstream is asked once, and nobody suffers for another."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import aiohttp
import pytest

from tests.support import lies
from tests.support.gate import Gate
from tests.support.lies import (
    MIB,
    Liar,
    Lie,
    Talk,
    assert_nothing_wrong_is_kept,
    config_for,
    file_of,
    honest_file,
    kept,
    running,
    stalled,
    wait_until,
)
from tests.support.packages import metadata, sha256

CLIENTS = 200
LARGE = 24 * MIB


@pytest.fixture
def liar() -> Iterator[Liar]:
    with running(Liar(sizes={"large": LARGE})) as made:
        yield made


def after(seconds: float, lie: Lie) -> Lie:
    """So late that everybody is waiting for it."""

    async def late(talk: Talk) -> None:
        await asyncio.sleep(seconds)
        await lie(talk)

    return late


async def honest_page(talk: Talk) -> None:
    await talk.answer(talk.page)


async def all_at_once(gate: Gate, path: str, count: int = CLIENTS) -> list[tuple[int, bytes]]:
    """Statuses and bodies of that many requests, each on a connection of its own."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> tuple[int, bytes]:
            async with session.get(gate.url + path) as response:
                return response.status, await response.read()

        return await asyncio.gather(*(ask() for _ in range(count)))


async def test_many_cold_requests_for_a_page_make_one_upstream_request(start_gate: Callable[..., Gate], liar: Liar) -> None:
    liar.pages["demo"] = after(0.7, honest_page)
    gate = start_gate(config_for(liar, ["demo"]))
    answers = await all_at_once(gate, "/simple/demo/")
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1
    assert sha256(liar.body("demo")).encode() in answers[0][1]
    assert len(liar.asked) == 1


async def test_many_cold_requests_for_a_file_make_one_upstream_request(start_gate: Callable[..., Gate], liar: Liar) -> None:
    liar.sizes["demo"] = 200_000
    liar.files["demo"] = after(0.7, honest_file)
    gate = start_gate(config_for(liar, ["demo"]))
    answers = await all_at_once(gate, file_of("demo"))
    assert answers == [(200, liar.body("demo"))] * CLIENTS
    assert [asked.path.split("/")[2] for asked in liar.asked] == ["simple", "files"]
    assert gate.get(file_of("demo")).body == liar.body("demo")
    assert len(liar.asked) == 2


async def test_many_cold_requests_for_metadata_make_one_upstream_request(start_gate: Callable[..., Gate], liar: Liar) -> None:
    body = metadata("demo", "1.0")
    liar.entry["demo"] = {"core-metadata": {"sha256": sha256(body)}}
    liar.files["demo"] = after(0.5, partial(lies.content, body=body, kind="text/plain"))
    gate = start_gate(config_for(liar, ["demo"]))
    answers = await all_at_once(gate, file_of("demo") + ".metadata")
    assert answers == [(200, body)] * CLIENTS
    assert len(liar.asked) == 2


async def test_an_error_is_shared_and_then_forgotten(start_gate: Callable[..., Gate], liar: Liar) -> None:
    liar.pages["demo"] = after(0.5, partial(lies.status, line="401 Who"))
    gate = start_gate(config_for(liar, ["demo"]))
    answers = await all_at_once(gate, "/simple/demo/", 50)
    assert {status for status, _ in answers} == {502}
    assert len(liar.asked) == 1
    liar.pages.clear()
    assert gate.get("/simple/demo/").status == 200
    assert len(liar.asked) == 2


async def test_an_error_of_a_file_is_shared_and_then_forgotten(start_gate: Callable[..., Gate], liar: Liar) -> None:
    liar.files["demo"] = after(0.5, lies.file_other)
    gate = start_gate(config_for(liar, ["demo"]))
    answers = await all_at_once(gate, file_of("demo"), 50)
    assert {status for status, _ in answers} == {502}
    assert len(liar.asked) == 2
    liar.files.clear()
    assert gate.get(file_of("demo")).body == liar.body("demo")
    assert len(liar.asked) == 3
    assert_nothing_wrong_is_kept(gate, liar)


async def test_a_first_client_that_leaves_harms_nobody(start_gate: Callable[..., Gate], liar: Liar) -> None:
    liar.pages["demo"] = after(0.7, honest_page)
    liar.files["large"] = after(0.7, honest_file)
    gate = start_gate(config_for(liar, ["demo", "large"]))
    gate.get("/simple/large/")
    for path, name in (("/simple/demo/", "demo"), (file_of("large"), "large")):
        first = stalled(gate, path)
        await asyncio.to_thread(wait_until, lambda name=name: bool(liar.asked_for(name)))
        others = asyncio.create_task(all_at_once(gate, path, 5))
        await asyncio.sleep(0.2)
        first.close()
        assert {status for status, _ in await others} == {200}
    assert len(liar.asked_for("demo")) == 1
    assert len(liar.asked_for("large")) == 2


def test_a_fill_goes_on_when_its_only_client_leaves(start_gate: Callable[..., Gate], liar: Liar) -> None:
    gate = start_gate(config_for(liar, ["large"]))
    client = stalled(gate, file_of("large"))
    client.recv(10_000)
    client.close()
    wait_until(kept(gate, "large").exists)
    assert gate.get(file_of("large")).body == liar.body("large")
    assert len(liar.asked_for("large")) == 2
    assert not list((gate.data / "store" / ".spool").glob("*/[0-9a-f]*")), "the spool is empty again"


async def test_a_slow_first_client_slows_nobody(start_gate: Callable[..., Gate], liar: Liar) -> None:
    """One reads 50 kB a second, and the others get the whole file meanwhile; then the slow one gets its rest."""
    gate = start_gate(config_for(liar, ["large"]))
    slow = stalled(gate, file_of("large"))
    received = 0
    is_slow = True

    async def read_slowly() -> None:
        nonlocal received
        while is_slow:
            received += len(await asyncio.to_thread(slow.recv, 5_000))
            await asyncio.sleep(0.1)

    reading = asyncio.create_task(read_slowly())
    await asyncio.to_thread(wait_until, lambda: received > 0)
    began = time.monotonic()
    answers = await all_at_once(gate, file_of("large"), 5)
    took = time.monotonic() - began
    assert answers == [(200, liar.body("large"))] * 5
    assert took < 5, "others wait for the slow one"
    assert received < 1 * MIB
    is_slow = False
    await reading  # cancelled, it would lose what it had just read
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
    while chunk := await asyncio.to_thread(slow.recv, MIB):
        received += len(chunk)
        if received > LARGE:
            break
    assert received > LARGE
    slow.close()
    assert len(liar.asked_for("large")) == 2

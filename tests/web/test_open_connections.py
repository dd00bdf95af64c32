"""Who has to make room when there are as many connections as there may be."""

from __future__ import annotations

import asyncio

import pytest

from wheelgate.runtime.metrics import Metrics
from wheelgate.web.client_connection import ClientConnection, ClientLimits, Ended
from wheelgate.web.open_connections import RESERVE, OpenConnections, choose_limit, find_holder


class Behind(asyncio.Protocol):
    """Answers nothing."""


class Client(ClientConnection):
    """A connection that says of itself what it does."""

    def __init__(self, *, age_s: float = 10.0, idle_s: float | None = None, busy: bool = False) -> None:
        super().__init__(Behind(), ClientLimits())
        now = asyncio.get_running_loop().time()
        self._made_at = now - age_s
        self._idle_since = None if idle_s is None else now - idle_s
        self._handling = busy
        self.reason: Ended | None = None

    def end(self, why: Ended) -> None:
        self.reason = why
        self.ended(self, why)


@pytest.mark.parametrize(
    ("descriptors", "wanted", "limit"),
    [
        (1_024, None, 384),
        (256, None, 16),
        (20_000, None, 4_096),
        (65_536, None, 4_096),
        (65_536, 20_000, 20_000),
        (65_536, 100, 100),
        (1_024, 1_000, 384),
        (None, None, 4_096),
    ],
)
def test_the_limit_leaves_descriptors_for_files_and_upstreams(descriptors: int | None, wanted: int | None, limit: int) -> None:
    assert choose_limit(descriptors, wanted) == limit


def test_a_limit_that_cannot_be_kept_is_said(caplog: pytest.LogCaptureFixture) -> None:
    choose_limit(1_024, 1_000)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("server.max_connections: 1000 connections need 2256 file descriptors, and this process may have 1024")


@pytest.mark.parametrize(
    ("host", "holder"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:9::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_an_address_stands_for_the_network_of_one_machine(host: str, holder: str) -> None:
    assert find_holder(host) == holder


async def fill(limit: int, *clients: tuple[str, Client]) -> OpenConnections:
    connections = OpenConnections(limit, Metrics())
    for host, client in clients:
        connections.add(client, host)
    return connections


async def test_those_without_a_head_go_before_idle_ones_and_the_oldest_first() -> None:
    idle, busy, young, old = Client(idle_s=60), Client(busy=True), Client(age_s=2), Client(age_s=9)
    connections = await fill(4, ("a", idle), ("a", busy), ("b", young), ("b", old))
    order = []
    for _ in range(3):
        connections.add(Client(busy=True), "c")
        order.append(next(client for client in (idle, busy, young, old) if client.reason and client not in order))
    assert order == [old, young, idle]
    assert idle.reason is Ended.MADE_ROOM
    connections.add(late := Client(), "c")
    assert late.over_limit
    assert not busy.reason


async def test_of_equals_whoever_holds_most_makes_room() -> None:
    greedy = [Client(idle_s=1) for _ in range(30)]
    others = [Client(idle_s=60) for _ in range(10)]
    connections = await fill(40, *(("6.6.6.6", client) for client in greedy), *((f"10.0.0.{n}", c) for n, c in enumerate(others)))
    for _ in range(20):
        connections.add(Client(idle_s=0), "6.6.6.6")
    assert not any(client.reason for client in others)


async def test_a_few_newcomers_are_spared_and_many_are_not() -> None:
    """A few are about to send a head; many are a flood, and idle connections of others would all go before it."""
    idle = [Client(idle_s=5) for _ in range(50)]
    connections = await fill(64, *(("a", client) for client in idle))
    few = [Client(age_s=0.01) for _ in range(10)]
    for client in few:
        connections.add(client, "a")
    assert not any(client.reason for client in few)
    before = sum(client.reason is None for client in idle)
    for _ in range(500):
        connections.add(Client(age_s=0.01), "a")
    assert before - sum(client.reason is None for client in idle) <= 10
    assert len(connections) == 56


async def test_one_address_leaves_an_eighth_to_others() -> None:
    connections = await fill(16, *(("a", Client(busy=True)) for _ in range(14)))
    connections.add(one_more := Client(busy=True), "a")
    connections.add(other := Client(busy=True), "b")
    assert (one_more.over_limit, other.over_limit) == (True, False)


async def test_beyond_the_limit_the_oldest_goes() -> None:
    connections = await fill(16, *((f"10.0.0.{n}", Client(busy=True)) for n in range(16)))
    beyond = [Client(busy=True) for _ in range(RESERVE + 5)]
    for client in beyond:
        connections.add(client, "b")
    assert [client.reason for client in beyond] == [Ended.OVER_LIMIT] * 5 + [None] * RESERVE
    for client in beyond[5:]:
        client.ended(client, None)
    assert len(connections) == 16


async def test_a_place_is_free_when_its_connection_is_over() -> None:
    first = Client(busy=True)
    connections = await fill(16, ("a", first), *((f"10.0.0.{n}", Client(busy=True)) for n in range(15)))
    first.ended(first, None)
    connections.add(second := Client(busy=True), "a")
    assert not second.over_limit

"""A link to somewhere far away, as far as a connection over loopback can be made to feel like one.

It stands between a client and a server and keeps of a network what no network can do without:

- the way takes half a round trip in each direction;
- a new connection waits for its handshakes, TCP's and that of TLS 1.3, before it carries anything: one round trip each;
- a connection begins with ten segments of 1,460 bytes in flight (RFC 6928), and each byte that is acknowledged, a round trip
  after it was sent, lets one more follow: the window doubles every round trip.

Nothing is ever lost, windows never end nor shrink, and the link itself is as fast as this process unless a rate is given. So
whoever is measured through it is better off than behind a real link of that length.
"""

from __future__ import annotations

import argparse
import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

_SLICE_BYTES = 64 * 1024
"""What one connection sends at a time where the rate is bounded and others wait."""
_AHEAD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Link:
    """What the way is like."""

    round_trip_s: float = 0.03
    handshakes: int = 2
    """Round trips before a new connection carries anything."""
    rate: float | None = None
    """Bytes per second in each direction, of all connections together."""
    window: int = 10 * 1460
    """Bytes in flight at first."""


class _Wire:
    """One direction of the link, which all connections share."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_s = 0.0

    @property
    def slice_bytes(self) -> int | None:
        """The most that is put on it at a time."""
        return None if self._rate is None else _SLICE_BYTES

    def sent(self, size: int, now_s: float) -> float:
        """When the last of so many bytes has left."""
        if self._rate is None:
            return now_s
        self._free_s = max(self._free_s, now_s) + size / self._rate
        return self._free_s


class _Later:
    """Things that are to happen, in the order they were told, each at its time."""

    def __init__(self, happen: Callable[[float, memoryview], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._happen = happen
        self._things: deque[tuple[float, memoryview]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._things)

    def add(self, at_s: float, piece: memoryview) -> None:
        self._things.append((at_s, piece))
        self._wait()

    def stop(self) -> None:
        self._things.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        if self._timer is None and self._things:
            self._timer = self._loop.call_at(self._things[0][0], self._due)

    def _due(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        while self._things and self._things[0][0] <= now_s:
            self._happen(*self._things.popleft())
        self._wait()


class _Flow:
    """One direction of one connection."""

    def __init__(self, link: Link, wire: _Wire, open_s: float) -> None:
        """``open_s``: when the handshakes are done."""
        self._loop = asyncio.get_running_loop()
        self._half_s = link.round_trip_s / 2
        self._wire = wire
        self._open_s = open_s
        self._window = link.window
        self._in_flight = 0
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._on_the_way = _Later(self._arrived)
        self._acknowledged = _Later(self._may_follow)
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self._end_sent = False
        self.arrived = False
        """All of it, its end too."""
        self.on_arrival: Callable[[], None] = lambda: None

    def send(self, data: bytes) -> None:
        """What the source wrote, in order."""
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _AHEAD_BYTES + self._window and self.source is not None:
            self.source.pause_reading()
        self.leave()

    def end(self) -> None:
        """The source writes no more."""
        self._ended = True
        self.leave()

    def leave(self) -> None:
        """Send as much as the window allows; all of it needs the target to be connected."""
        now_s = self._loop.time()
        if self.target is None:
            return
        if now_s < self._open_s:
            self._loop.call_at(self._open_s, self.leave)
            return
        while self._waiting and (room := self._window - self._in_flight) > 0:
            piece = self._taken(min(room, self._wire.slice_bytes or room))
            self._in_flight += len(piece)
            self._on_the_way.add(self._wire.sent(len(piece), now_s) + self._half_s, piece)
        if self._ended and not self._waiting and not self._end_sent:
            self._end_sent = True
            self._on_the_way.add(self._wire.sent(0, now_s) + self._half_s, memoryview(b""))

    def stop(self) -> None:
        """Forget what is on its way."""
        self._on_the_way.stop()
        self._acknowledged.stop()
        self._waiting.clear()

    def _taken(self, room: int) -> memoryview:
        piece = self._waiting.popleft()
        if len(piece) > room:
            self._waiting.appendleft(piece[room:])
            piece = piece[:room]
        self._waiting_bytes -= len(piece)
        if self._waiting_bytes <= _AHEAD_BYTES and self.source is not None and not self.source.is_closing():
            self.source.resume_reading()
        return piece

    def _arrived(self, at_s: float, piece: memoryview) -> None:
        if self.target is None or self.target.is_closing():
            return
        if not piece:
            self.target.write_eof()
            self.arrived = True
            self.on_arrival()
            return
        self.target.write(piece)
        self._acknowledged.add(at_s + self._half_s, piece)

    def _may_follow(self, _: float, piece: memoryview) -> None:
        self._in_flight -= len(piece)
        self._window += len(piece)
        self.leave()


class _End(asyncio.Protocol):
    """One end of a connection: what comes in goes one way, what comes out came the other."""

    def __init__(self, outgoing: _Flow, incoming: _Flow, lost: Callable[[], None]) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._outgoing.source = self._incoming.target = transport
        self._incoming.leave()

    def data_received(self, data: bytes) -> None:
        self._outgoing.send(data)

    def eof_received(self) -> bool:
        self._outgoing.end()
        return True  # the other way stays open

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


class _Connection:
    """Both ends, both ways."""

    def __init__(self, link: Link, there: _Wire, back: _Wire) -> None:
        open_s = asyncio.get_running_loop().time() + link.handshakes * link.round_trip_s
        self._there, self._back = _Flow(link, there, open_s), _Flow(link, back, open_s)
        self._there.on_arrival = self._back.on_arrival = self._end_if_both_have

    def client(self) -> _End:
        return _End(self._there, self._back, self.close)

    def server(self) -> _End:
        return _End(self._back, self._there, self.close)

    def close(self) -> None:
        """One end is gone: the other one goes too, with what had arrived there."""
        for way in (self._there, self._back):
            way.stop()
            if way.target is not None:
                way.target.close()

    def _end_if_both_have(self) -> None:
        if self._there.arrived and self._back.arrived:
            self.close()


@asynccontextmanager
async def linked(port: int, target_port: int, link: Link) -> AsyncIterator[asyncio.Server]:
    """A link from a port of this machine to another one, until the block ends."""
    loop = asyncio.get_running_loop()
    there, back = _Wire(link.rate), _Wire(link.rate)
    reaching: set[asyncio.Task[None]] = set()
    connections: weakref.WeakSet[_Connection] = weakref.WeakSet()

    async def reach(connection: _Connection) -> None:
        try:
            await loop.create_connection(connection.server, "127.0.0.1", target_port)
        except OSError:
            connection.close()

    def accepted() -> _End:
        connection = _Connection(link, there, back)
        connections.add(connection)
        task = loop.create_task(reach(connection))
        reaching.add(task)
        task.add_done_callback(reaching.discard)
        return connection.client()

    async with await loop.create_server(accepted, "127.0.0.1", port, backlog=1024) as server:
        try:
            yield server
        finally:
            await asyncio.gather(*reaching)
            for connection in connections:
                connection.close()
            await asyncio.sleep(0)


async def _main(port: int, target_port: int, link: Link) -> None:
    async with linked(port, target_port, link) as server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("target_port", type=int)
    arguments.add_argument("--round-trip-ms", type=float, default=30)
    arguments.add_argument("--rate-mbit", type=float, help="megabits per second; unbounded without")
    given = arguments.parse_args()
    rate = given.rate_mbit and given.rate_mbit * 1e6 / 8
    asyncio.run(_main(given.port, given.target_port, Link(given.round_trip_ms / 1e3, rate=rate)))

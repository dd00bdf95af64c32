"""A small balancer of TCP connections that honours readiness, a process of its own.

``python -m tests.soak.balancer PORT REPLICA_PORT...``. Every second each replica's ``/readyz`` is asked. A new connection goes to
a ready one, in turn; if that one refuses it, to the next. What is connected stays where it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence

CHECK_EVERY_S = 1.0
_CHECK_TIMEOUT_S = 3.0
_PATIENCE_S = 10.0
"""How long a new connection waits while nobody is ready."""


class Balancer:
    def __init__(self, ports: Sequence[int]) -> None:
        self._ready = dict.fromkeys(ports, False)
        self._turn = 0

    async def watch(self, port: int) -> None:
        """Follow the readiness of one replica, for ever."""
        while True:
            self._ready[port] = await is_ready(port)
            await asyncio.sleep(CHECK_EVERY_S)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connected = await self._connect()
            if connected is not None:
                inner_reader, inner_writer = connected
                await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        deadline_s = asyncio.get_running_loop().time() + _PATIENCE_S
        while asyncio.get_running_loop().time() < deadline_s:
            for port in self._in_turn():
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.1)
        return None

    def _in_turn(self) -> list[int]:
        self._turn += 1
        ready = [port for port, is_ready in self._ready.items() if is_ready]
        start = self._turn % max(1, len(ready))
        return ready[start:] + ready[:start]


async def is_ready(port: int) -> bool:
    """True if a replica answers that new requests may come."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way; its end ends both ways, as nobody here has more to say after half a connection is closed."""
    with contextlib.suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(port: int, replicas: Sequence[int]) -> None:
    """Balance until the process ends."""
    balancer = Balancer(replicas)
    server = await asyncio.start_server(balancer.accept, "127.0.0.1", port, backlog=1024)
    async with server, asyncio.TaskGroup() as group:
        for replica in replicas:
            group.create_task(balancer.watch(replica))


if __name__ == "__main__":
    listen, *behind = map(int, sys.argv[1:])
    asyncio.run(serve(listen, behind))

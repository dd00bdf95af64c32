"""A relay before a server on loopback, that passes every byte on, stands still, or is gone and comes back at the same port."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


class Relay:
    """Passes connections on to a port, as long as it is well."""

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self._to_port = to_port
        self._flows = threading.Event()
        self._flows.set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        """Accept, and pass nothing on from now on."""
        self._flows.clear()

    def vanish(self) -> None:
        """Listen no more, and cut what is open."""
        self._do(self._end())

    def come_back(self) -> None:
        """Be well again. What was frozen stays so: its bytes are lost."""
        if not self._flows.is_set():
            self._do(self._end())
            self._flows.set()
        if self._server is None:
            self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
            try:
                await asyncio.gather(self._pass_on(reader, there_writer), self._pass_on(there_reader, writer))
            finally:
                there_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._talks.discard(task)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            while not self._flows.is_set():
                await asyncio.sleep(0.05)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof() if writer.can_write_eof() else writer.close()


@contextmanager
def relayed(to_port: int) -> Iterator[Relay]:
    """A relay to this port, until the block ends."""
    relay = Relay(to_port)
    thread = threading.Thread(target=relay._loop.run_forever, daemon=True)
    thread.start()
    relay.come_back()
    try:
        yield relay
    finally:
        relay.vanish()
        relay._loop.call_soon_threadsafe(relay._loop.stop)
        thread.join(10)
        relay._loop.close()

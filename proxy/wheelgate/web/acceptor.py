"""Acceptor: takes connections from the listening socket, a few a turn of the event loop, within the limits.

asyncio's own would accept a thousand at once, in front of any limit; without descriptors it writes a trace for each and then
listens to nobody for a second.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable
from functools import partial

from wheelgate.runtime.background import cancel_all
from wheelgate.runtime.logs import RepeatedWarning
from wheelgate.web.client_connection import ClientConnection, ClientLimits, Ended
from wheelgate.web.open_connections import OpenConnections

_AT_ONCE = 16
"""Connections a turn: a quarter of the reserve, so that whoever asks at once is heard before others take its place."""
_PAUSE_S = 0.02
_SPARE = 8
_TLS_BUFFER_BYTES = 64 * 1024
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections until it is stopped.

    Keeps a few descriptors in hand, and gives them up where there are no others: so a probe is answered, and says that the
    process lives, while everything else of it may want for descriptors.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], ClientConnection],
        connections: OpenConnections,
        limits: ClientLimits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make = make
        self._connections = connections
        self._tls = tls
        self._handshake_s = limits.head_s if tls is not None else None
        self._opening: set[asyncio.Task[None]] = set()
        self._spare: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._short = RepeatedWarning(_log, "no more connections can be accepted: the process has used up its file descriptors")

    def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        if self._tls is not None:
            _shrink_tls_buffers()
        self._spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(_SPARE)]
        self._loop.add_reader(self._listener, self._accept)

    async def stop(self) -> None:
        """Accept no more, and refuse whoever asks; those that are accepted go on."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        while self._spare:
            os.close(self._spare.pop())
        await cancel_all(self._opening)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED and not self._give_up_spare():
                    return
                continue  # others are about the one connection, which is gone again
            accepted.setblocking(False)
            connection = self._make()
            self._connections.add(connection, address[0] if isinstance(address, tuple) else "", short=len(self._spare) < _SPARE)
            opening = self._loop.create_task(self._open(connection, accepted))
            connection.opening = opening
            self._opening.add(opening)
            opening.add_done_callback(partial(self._note_opened, connection, accepted))

    async def _open(self, connection: ClientConnection, accepted: socket.socket) -> None:
        await self._loop.connect_accepted_socket(
            lambda: connection, accepted, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
        )

    def _note_opened(self, connection: ClientConnection, accepted: socket.socket, opening: asyncio.Task[None]) -> None:
        self._opening.discard(opening)
        connection.opening = None
        if opening.cancelled() or opening.exception() is not None:  # whoever came spoke no TLS, or left, or had to make room
            accepted.close()
            connection.ended(connection, connection.why or Ended.NO_HANDSHAKE)

    def _give_up_spare(self) -> bool:
        """Free a descriptor for the next connection; ``False``: there was none, and nobody is accepted for a moment."""
        self._short.give()
        self._connections.make_room()
        if not self._spare:
            self._connections.end_over_limit(_SPARE // 2)
        if self._timer is None:
            self._timer = self._loop.call_later(_PAUSE_S, self._recover)
        if self._spare:
            os.close(self._spare.pop())
            return True
        self._loop.remove_reader(self._listener)
        return False

    def _recover(self) -> None:
        """Take spare descriptors in hand again as they become free, and accept."""
        self._timer = None
        try:
            while len(self._spare) < _SPARE:
                self._spare.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            self._timer = self._loop.call_later(_PAUSE_S, self._recover)
        if self._spare:
            self._loop.add_reader(self._listener, self._accept)


def _shrink_tls_buffers() -> None:
    """Have asyncio give each TLS connection a buffer of 64 KiB, not 256, which it fills with zeros; a record has 16 at most."""
    protocol = sslproto.SSLProtocol
    if getattr(protocol, "max_size", 0) > _TLS_BUFFER_BYTES:
        protocol.max_size = _TLS_BUFFER_BYTES

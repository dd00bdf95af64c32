"""Open connections: how many there may be, who makes room when there are too many, and how many one address may have.

When the limit is reached, a new connection takes the place of a quiet one, of those that have not sent a whole head first, and of
the address that holds most: whoever fills the server with connections competes with himself. Behind an ingress all
come from one address, and the longest quiet one goes. Where nobody is quiet, a few more are taken in all the same: they are told
503, and probes are answered.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter, deque
from heapq import nsmallest
from itertools import islice

from wheelgate.runtime.logs import RepeatedWarning
from wheelgate.runtime.metrics import Metrics
from wheelgate.web.client_connection import ClientConnection, Ended, Quiet

RESERVE = 64
"""Connections beyond the limit, for probes and for saying 503."""
USUAL_LIMIT = 4_096
_KEPT_DESCRIPTORS = 256
"""Of the process itself, for upstreams, and for the store."""
_LOOK_AGAIN_S = 0.05
_NEWCOMER_S = 1.0
_log = logging.getLogger(__name__)


def choose_limit(descriptors: int | None, wanted: int | None) -> int:
    """Choose how many connections there may be: as many as wanted (4,096), if the descriptors suffice.

    Each connection may be sent a file, so it counts twice; 256 are left for everything else.
    """
    limit = USUAL_LIMIT if wanted is None else wanted
    possible = limit if descriptors is None else max(16, (descriptors - _KEPT_DESCRIPTORS) // 2)
    if wanted is not None and possible < wanted:
        _log.warning(
            "server.max_connections: %d connections need %d file descriptors, and this process may have %s; "
            "the limit is %d. Raise the descriptor limit (ulimit -Hn, LimitNOFILE)",
            wanted,
            2 * wanted + _KEPT_DESCRIPTORS,
            descriptors,
            possible,
        )
    return min(limit, possible)


def find_holder(host: str) -> str:
    """The network that an address stands for: itself in IPv4, its /64 in IPv6, of which one machine has all."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False).network_address)


class OpenConnections:
    """The connections of one server, counted by address."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self.limit = limit
        self._share = limit - limit // 8
        """How many one address may have: enough behind an ingress, and others find a place."""
        self._at_once = max(1, limit // 16)
        """How many are chosen to be closed at a time; by the next, others have come."""
        self._loop = asyncio.get_running_loop()
        self._holders: dict[ClientConnection, str] = {}
        self._held: Counter[str] = Counter()
        self._over_limit: dict[ClientConnection, None] = {}
        """In the order in which they came."""
        self._quiet: dict[str | None, tuple[float, deque[ClientConnection]]] = {}
        """Those to close next, by the address whose they are to be, and when to look for more."""
        self._ended = metrics.client_connections_ended
        metrics.client_connections_limit.set(limit)
        metrics.client_connections.set_function(lambda: len(self._holders) + len(self._over_limit))
        self._full = RepeatedWarning(
            _log,
            f"clients have as many connections as they may ({limit}, one address {self._share}): "
            "those that are quiet longest are closed",
        )
        self._busy = RepeatedWarning(
            _log,
            f"clients have as many connections as they may ({limit}, one address {self._share}), and all are busy: "
            "new ones are told 503; see server.max_connections and the limit of file descriptors",
        )

    def __len__(self) -> int:
        return len(self._holders) + len(self._over_limit)

    def add(self, connection: ClientConnection, host: str, *, short: bool = False) -> None:
        """Take a connection in; ``short``: there are no descriptors left, so it is for probes alone."""
        holder = find_holder(host)
        connection.ended = self._remove
        has_room = not short and (len(self._holders) < self.limit or self._displace(None))
        if has_room and self._held[holder] >= self._share:
            has_room = self._displace(holder)
        if has_room:
            self._holders[connection] = holder
            self._held[holder] += 1
            return
        if not short:
            self._busy.give()
        connection.over_limit = True
        if len(self._over_limit) >= RESERVE:
            self.end_over_limit(1)
        self._over_limit[connection] = None

    def _displace(self, holder: str | None) -> bool:
        has_room = self.make_room(holder)
        if has_room:
            self._full.give()
        return has_room

    def make_room(self, holder: str | None = None) -> bool:
        """Close the connection that can be missed most (``holder``: of one address alone); ``False``: all are busy."""
        now = self._loop.time()
        look_again, candidates = self._quiet.get(holder, (now, deque[ClientConnection]()))
        if not candidates and now >= look_again:
            candidates = self._find_quiet(now, holder)
            # Looking takes a millisecond for a thousand, and a flood brings more than that a second.
            is_worth_it = len(candidates) == self._at_once
            self._quiet[holder] = (now if is_worth_it else now + _LOOK_AGAIN_S, candidates)
        while candidates:
            connection = candidates.popleft()
            if connection in self._holders and connection.find_quiet(now) is not None:
                self._close(connection, Ended.MADE_ROOM)
                return True
        return False

    def end_over_limit(self, count: int) -> None:
        """Close the oldest connections beyond the limit: they had their moment."""
        for connection in list(islice(self._over_limit, count)):
            self._close(connection, Ended.OVER_LIMIT)

    def end_unowed(self) -> int:
        """Close those that are owed no answer, since the server stops; how many still are."""
        connections = [*self._holders, *self._over_limit]
        owed = [connection for connection in connections if connection.owes_answer]
        for connection in set(connections).difference(owed):
            self._close(connection, Ended.STOPPING)
        return len(owed)

    def _find_quiet(self, now: float, holder: str | None) -> deque[ClientConnection]:
        """Find those that could be closed, those first that can be missed most.

        Somebody who has just connected is about to send a head, and idle connections are closed before his; unless there are so
        many of his kind that idle ones would all go.
        """
        found = []
        for number, (connection, whose) in enumerate(self._holders.items()):
            if (holder is None or whose == holder) and (quiet := connection.find_quiet(now)) is not None:
                found.append((*quiet, -self._held[whose], number, connection))
        newcomers = sum(kind is Quiet.SILENT and now - since < _NEWCOMER_S for kind, since, *_ in found)
        order = [Quiet.SILENT, Quiet.STALLED, Quiet.IDLE]

        def rank(entry: tuple[Quiet, float, int, int, ClientConnection]) -> tuple[int, int, float, int]:
            kind, since, held, number, _ = entry
            is_spared = kind is Quiet.SILENT and now - since < _NEWCOMER_S and newcomers <= self.limit // 4
            return len(order) if is_spared else order.index(kind), held, since, number

        return deque(connection for *_, connection in nsmallest(self._at_once, found, key=rank))

    def _close(self, connection: ClientConnection, why: Ended) -> None:
        self._forget(connection)
        connection.end(why)

    def _remove(self, connection: ClientConnection, why: Ended | None) -> None:
        self._forget(connection)
        if why is not None:
            self._ended.labels(why).inc()

    def _forget(self, connection: ClientConnection) -> None:
        self._over_limit.pop(connection, None)
        holder = self._holders.pop(connection, None)
        if holder is not None:
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]

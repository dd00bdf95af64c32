"""HTTP sessions of one source: the addresses they may reach, their proxy and their certificates."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from wheelgate.core.urls import HostRules
from wheelgate.runtime.fair_slots import FairSlots
from wheelgate.runtime.regular_file import hold_open
from wheelgate.upstream import addresses
from wheelgate.upstream.question import Question, QuestionKind

Begin = Callable[[], None]

_SOON = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=10)
"""What is slow is waited for until the deadline of its question: asked again, it would be slow again."""
_TIMES = {
    QuestionKind.PAGE: _SOON,
    QuestionKind.METADATA: _SOON,
    QuestionKind.FILE: aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=30),
}
_CONNECTIONS = {QuestionKind.PAGE: 384, QuestionKind.METADATA: 128, QuestionKind.FILE: 256}
"""By kind, at one host."""
_MAX_WAITING = 8_192
_MAX_HOSTS = 8
"""Hosts in use that have connections of their own; those beyond share a host's."""
_TO_ANSWER_S = 2.0
"""Time that is left to the upstream: a connection that comes later is of no use."""


class _Connector(aiohttp.TCPConnector):
    """Never hands on a connection on which something lies already: it would be taken for the answer to the next question."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class Sessions:
    """A session for hosts that may be inner addresses, and one for hosts that may not, of each kind of question.

    A connection of the first kind must never be reused for the second. Connections are counted apart for each kind, since clients
    that read their files slowly must not hold those that a page could be asked by, and for each host, since one that hangs must
    not hold those to another. Of each, clients get a fair share (:class:`~wheelgate.runtime.fair_slots.FairSlots`).
    """

    def __init__(self, rules: HostRules, headers: Mapping[str, str], *, ca_file: str | None, outbound_proxy: str | None) -> None:
        self._rules = rules
        self._headers = headers
        self._ca_file = ca_file
        self._proxy = URL(outbound_proxy) if outbound_proxy is not None else None
        self._sessions: dict[tuple[bool, QuestionKind], aiohttp.ClientSession] = {}
        self._slots: dict[tuple[QuestionKind, str], FairSlots] = {}

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return sum(slots.waiting for slots in self._slots.values())

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def get(
        self, question: Question, target: URL, headers: Mapping[str, str], proxy_headers: dict[str, str] | None, begin: Begin
    ) -> aiohttp.ClientResponse:
        """One answer, redirects not followed; or an error of aiohttp or the system, :class:`ForbiddenAddress` among them.

        ``begin`` is called once there is a connection for it, and may still raise.

        Raises:
            NoTurn: too many wait for a connection.
        """
        slot = await self._find_slots(question).take(question.deadline.earlier(_TO_ANSWER_S))
        try:
            begin()
            response = await self._ask(question.kind, target, headers, proxy_headers)
        except BaseException:
            slot.release()
            raise
        if (connection := response.connection) is None:  # the whole answer is here
            slot.release()
        else:
            connection.add_callback(slot.release)
        return response

    def _find_slots(self, question: Question) -> FairSlots:
        key = (question.kind, question.host)
        if (slots := self._slots.get(key)) is None:
            for idle in [known for known, slots in self._slots.items() if slots.is_idle]:
                del self._slots[idle]
            if sum(kind is question.kind for kind, _ in self._slots) >= _MAX_HOSTS:
                key = next(known for known in self._slots if known[0] is question.kind)
            slots = self._slots.setdefault(key, FairSlots(_CONNECTIONS[question.kind], max_waiting=_MAX_WAITING))
        return slots

    async def _ask(
        self, kind: QuestionKind, target: URL, headers: Mapping[str, str], proxy_headers: dict[str, str] | None
    ) -> aiohttp.ClientResponse:
        inner = self._rules.names(target)
        if self._proxy is not None:
            # Names are resolved beyond the proxy, where we cannot look; an address that stands in the URL itself, we can judge.
            with suppress(ValueError):
                addresses.check_address(target.host or "", inner=inner)
            inner = True  # the proxy is, and the configuration names it
            if target.scheme == "http":  # no tunnel: the proxy reads the request itself, and takes out what is for it
                headers = {**headers, **(proxy_headers or {})}
                proxy_headers = None
        session = self._sessions.get((inner, kind))
        if session is None:
            session = self._sessions[inner, kind] = self._open_session(inner=inner)
        return await session.get(
            target,
            headers=headers,
            timeout=_TIMES[kind],
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=proxy_headers,
        )

    def _open_session(self, *, inner: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(
                limit=0,  # bounded by the slots, and by nothing that does not know who asks
                socket_factory=partial(addresses.socket_for, inner=inner),
                ssl=build_tls_context(self._ca_file),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            auto_decompress=False,
            trust_env=False,  # a netrc or proxy variable of the machine must not choose credentials or routes
        )


@lru_cache(maxsize=8)
def build_tls_context(ca_file: str | None) -> ssl.SSLContext:
    """The machine's certificates and the operator's. Reading them takes time and memory: once per process."""
    context = ssl.create_default_context()
    if ca_file is not None:  # beside the machine's own: a private index and the public one are asked by the same server
        with hold_open(Path(ca_file)) as handle:
            context.load_verify_locations(handle)
    return context

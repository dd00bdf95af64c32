"""HTTP sessions of one source: the addresses they may reach, their proxy and their certificates."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

import aiohttp
from yarl import URL

from wheelgate.core.urls import HostRules
from wheelgate.upstream import addresses

PAGE_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=5)
FILE_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=30)
_CONNECTIONS = {PAGE_TIMES: 64, FILE_TIMES: 256}


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
    """A session for hosts that may be inner addresses, and one for hosts that may not; for pages, and for files.

    A connection of the first kind must never be reused for the second; and clients that read their files slowly must not hold
    every connection that a page could be asked by.
    """

    def __init__(self, rules: HostRules, headers: Mapping[str, str], *, ca_file: str | None, outbound_proxy: str | None) -> None:
        self._rules = rules
        self._headers = headers
        self._ca_file = ca_file
        self._proxy = URL(outbound_proxy) if outbound_proxy is not None else None
        self._sessions: dict[tuple[bool, aiohttp.ClientTimeout], aiohttp.ClientSession] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def get(
        self, target: URL, headers: Mapping[str, str], times: aiohttp.ClientTimeout, proxy_headers: dict[str, str] | None
    ) -> aiohttp.ClientResponse:
        """One answer, redirects not followed; or an error of aiohttp or the system, :class:`ForbiddenAddress` among them."""
        inner = self._rules.names(target)
        if self._proxy is not None:
            # Names are resolved beyond the proxy, where we cannot look; an address that stands in the URL itself, we can judge.
            with suppress(ValueError):
                addresses.check_address(target.host or "", inner=inner)
            inner = True  # the proxy is, and the configuration names it
            if target.scheme == "http":  # no tunnel: the proxy reads the request itself, and takes out what is for it
                headers = {**headers, **(proxy_headers or {})}
                proxy_headers = None
        session = self._sessions.get((inner, times))
        if session is None:
            session = self._sessions[inner, times] = self._open_session(times, inner=inner)
        return await session.get(
            target,
            headers=headers,
            timeout=times,
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=proxy_headers,
        )

    def _open_session(self, times: aiohttp.ClientTimeout, *, inner: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(
                limit=_CONNECTIONS[times],
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
        context.load_verify_locations(ca_file)
    return context

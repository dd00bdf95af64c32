"""HTTP transport of Azure's own clients (Microsoft Entra, key vaults, storage): their proxy and their certificates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.request import proxy_bypass

import aiohttp
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from yarl import URL

from wheelgate.config import NO_PROXY
from wheelgate.core.urls import is_loopback_host
from wheelgate.upstream.addresses import refuse_reason
from wheelgate.upstream.sessions import build_tls_context

UNANSWERED = (ServiceRequestError, ServiceResponseError)
"""What azure-core raises where there was no connection, or where it broke or stayed silent."""
MAX_PAUSE_S = 2.0
"""Who asks to be left alone for longer (``Retry-After``) is not asked again for the same request."""
_ANSWER_S = 4
_METADATA_HOST = "169.254.169.254"
SignIn = Callable[[], Awaitable[Mapping[str, str] | None]]
_failure: ContextVar[Exception | None] = ContextVar("failure", default=None)
"""Of the task's own last request: others are under way beside it."""


class AskedToWait(Exception):
    """An answer that asks to come back later than anybody waits: in :attr:`seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"asks to be left alone for {seconds:.0f} s")
        self.seconds = seconds


class AzureTransport:
    """Certificates and proxy for the clients of azure-core: of identities, of vaults, and of storage.

    What gives a machine its identity is asked directly, whatever the settings or the platform say: it answers this machine alone,
    and a proxy would be given the token (or, asked on a network of its own, give us that of another machine).
    """

    def __init__(self, ca_file: str | None = None, outbound_proxy: str | None = None, sign_in: SignIn | None = None) -> None:
        """``outbound_proxy``: its URL; ``"none"``: there is none; ``None``: the one that the platform's ``HTTPS_PROXY`` says.

        ``sign_in``: the headers for the proxy alone. Hosts that the platform's ``NO_PROXY`` names are asked without the proxy.
        """
        self.ca_file = ca_file
        self.proxy = outbound_proxy
        self.sign_in = sign_in
        self.on_answer: Callable[[], None] = lambda: None
        """Called with every answer, whatever it says."""

    @property
    def failure(self) -> Exception | None:
        """Why this task's last request got no answer that can be used; ``None``: it got one.

        azure-identity tells only that it failed.
        """
        return _failure.get()

    @property
    def display_name(self) -> str:
        """The proxy, for the end of a sentence about what cannot be reached."""
        return "" if self.proxy in (None, NO_PROXY) else f" through {self.proxy} (server.outbound_proxy)"

    def client(self, **settings: Any) -> dict[str, Any]:
        """Arguments for a client of azure-core that make it use this transport. ``settings``: of its transport."""
        return {"transport": _Transport(self, settings)}

    def quick_client(self) -> dict[str, Any]:
        """The same for a client whose answers somebody waits for: each of them comes soon, or none is waited for.

        Such a client raises :class:`AskedToWait` where azure-core would sleep for as long as it was told to.
        """
        retries = {"retry_total": 2, "retry_connect": 1, "retry_read": 0, "retry_backoff_factor": 0.2}
        settings = {"connection_timeout": 2, "read_timeout": _ANSWER_S}
        return {"transport": _Transport(self, settings, keeps_waiting_short=True), **retries}

    def goes_directly(self, host: str) -> bool:
        """True if a host is never asked through a proxy."""
        if self.proxy == NO_PROXY or is_loopback_host(host):
            return True
        try:
            return refuse_reason(host, inner=False) is not None
        except ValueError:  # a name
            return self.proxy is not None and bool(proxy_bypass(host))


class _Transport(AioHttpTransport):  # type: ignore[misc]  # azure-core hands it out untyped
    def __init__(self, way: AzureTransport, settings: dict[str, Any], *, keeps_waiting_short: bool = False) -> None:
        # As azure-core's own sessions: without a setting, HTTPS_PROXY leads to Azure.
        super().__init__(session=_open_session(way.ca_file, trust_env=way.proxy is None), **settings)
        self._way = way
        self._keeps_waiting_short = keeps_waiting_short
        self._directly = AioHttpTransport(session=_open_session(way.ca_file, trust_env=False), **settings)

    async def send(self, request: Any, **options: Any) -> Any:
        way = self._way
        _failure.set(None)
        try:
            response = await self._send(request, **options)
        except UNANSWERED as error:
            if URL(request.url).host != _METADATA_HOST:  # where a machine has no identity, nobody answers there
                _failure.set(error)
            raise
        way.on_answer()
        pause_s = read_pause_s(response) if response.status_code in (429, 503) else None
        if self._keeps_waiting_short and pause_s is not None and pause_s > MAX_PAUSE_S:
            asked = AskedToWait(pause_s)
            _failure.set(asked)
            raise asked
        return response

    async def _send(self, request: Any, **options: Any) -> Any:
        options.pop("proxies", None)
        if self._way.goes_directly(URL(request.url).host or ""):
            return await self._directly.send(request, **options)
        if self._way.proxy is not None:
            options |= {"proxy": self._way.proxy, "proxy_headers": self._way.sign_in and await self._way.sign_in()}
        return await super().send(request, **options)

    async def close(self) -> None:
        await super().close()
        await self._directly.close()


def read_pause_s(response: Any) -> float | None:
    """Read for how long an answer asks to be left alone, in seconds; ``None``: it does not."""
    text = "" if response is None else response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _open_session(ca_file: str | None, *, trust_env: bool) -> aiohttp.ClientSession:
    """A session that trusts the operator's certificates beside the machine's.

    The option of azure-core for them trusts nobody else: an authority for one private index would lock us out of Azure.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=build_tls_context(ca_file)),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=trust_env,
    )

"""The way of one request from URL to URL: each is judged before it is asked, and gets its own credential or none.

A credential is attached here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import aiohttp
from yarl import URL

from wheelgate.core.protocols import Credential, Credentials
from wheelgate.core.urls import HostRules, UnsafeUrl, parse, read
from wheelgate.upstream.answers import Hop, Sender
from wheelgate.upstream.auth_errors import is_refusal
from wheelgate.upstream.failures import Failures
from wheelgate.upstream.sessions import Sessions

_MAX_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_BYTES = 16 * 1024
_REDIRECT_S = 0.1
"""Of a redirect's body no more is read, and it is waited for no longer, to keep the connection: a new one costs more."""


class Hops:
    """Of one source."""

    def __init__(
        self,
        *,
        rules: HostRules,
        sessions: Sessions,
        credentials: Credentials,
        failures: Failures,
        headers: Mapping[str, str],
        outbound_proxy: str | None,
    ) -> None:
        """``headers``: what this kind of upstream wants with every request."""
        self._rules = rules
        self._sessions = sessions
        self._credentials = credentials
        self._failures = failures
        self._headers = dict(headers)
        self._proxy = outbound_proxy

    @asynccontextmanager
    async def last(self, url: str, headers: Mapping[str, str], times: aiohttp.ClientTimeout) -> AsyncIterator[Hop]:
        """The answer that the redirects lead to, whatever it says; a redirect to a sign-in page is such an answer itself.

        Raises:
            UpstreamUnavailable: nobody answered.
            AddressRefused: a hop leads where this source may not ask.
            UpstreamBadAnswer: the redirects lead nowhere.
        """
        sender = None
        for _ in range(_MAX_HOPS + 1):
            hop = await self._asked(url, headers, times, sender)
            try:
                if hop.response.status not in _REDIRECTS or is_refusal(hop.response):
                    yield hop
                    return
                url, sender = self._next(hop), _sender_after(hop)
            finally:
                await _let_go(hop.response)
        raise self._failures.bad(f"redirected more than {_MAX_HOPS} times")

    async def first_open(self, url: str, headers: Mapping[str, str], times: aiohttp.ClientTimeout) -> str | None:
        """The first URL on the way that needs no credential, not asked yet; ``None``: the way ends before.

        Raises:
            UpstreamUnavailable, CredentialRefused, UpstreamBadAnswer: a hop before it failed.
        """
        for _ in range(_MAX_HOPS + 1):
            self._judged(url)
            if self._credentials.for_url(url) is None:
                return url
            hop = await self._asked(url, headers, times, None)
            try:
                await self._failures.check(hop)
                if hop.response.status not in _REDIRECTS:
                    return None
                url = self._next(hop)
            finally:
                await _let_go(hop.response)
        raise self._failures.bad(f"redirected more than {_MAX_HOPS} times")

    async def _asked(self, url: str, headers: Mapping[str, str], times: aiohttp.ClientTimeout, sender: Sender | None) -> Hop:
        """One hop, with the credential of its URL; once more if that was refused and another is found in its place."""
        target = self._judged(url)
        credential = self._credentials.for_url(url)
        response = await self._response(target, credential, headers, times)
        if credential is not None and is_refusal(response):
            try:
                renewed = await credential.renew()
            except BaseException:
                response.close()
                raise
            if renewed:
                response.close()
                response = await self._response(target, credential, headers, times)
        return Hop(url, response, credential, sender)

    async def _response(
        self, target: URL, credential: Credential | None, headers: Mapping[str, str], times: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        own = {**self._headers, **headers}
        asked = target
        if credential is not None:
            own |= await credential.headers()
            asked = URL(await credential.sign_url(str(target)), encoded=True)
        try:
            return await self._sessions.get(asked, own, times, await proxy_headers(self._credentials, self._proxy))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failures.unreachable(target, error) from None

    def _judged(self, url: str) -> URL:
        try:
            target = parse(url)
        except UnsafeUrl as error:
            raise self._failures.malformed_url(error) from None
        if not self._rules.allows(target):
            raise self._failures.forbidden(target, "which is neither its own host nor among its file_hosts")
        return target

    def _next(self, hop: Hop) -> str:
        location = hop.response.headers.get("Location", "")
        try:
            target = read(hop.url).join(read(location))
        except ValueError:
            raise self._failures.bad("redirected to a malformed address") from None
        if not location:
            raise self._failures.bad("redirected without saying where")
        return str(target.with_fragment(None))


async def proxy_headers(credentials: Credentials, proxy: str | None) -> dict[str, str] | None:
    """How we sign in to the outbound proxy, where a connection is stored for it."""
    credential = credentials.for_url(proxy) if proxy is not None else None
    if credential is None:
        return None
    said = await credential.headers()
    return {"Proxy-Authorization": said["Authorization"]} if "Authorization" in said else None


def _sender_after(hop: Hop) -> Sender | None:
    if hop.credential is None:
        return hop.sender
    return Sender(parse(hop.url).host or "", hop.credential.connection)


async def _let_go(response: aiohttp.ClientResponse) -> None:
    """Have the connection ready for the next question, if the answer has been read to its end; of a redirect that is little."""
    length = response.content_length
    try:
        if response.status in _REDIRECTS and length is not None and length <= _REDIRECT_BYTES:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with asyncio.timeout(_REDIRECT_S):
                    await response.content.read()
    finally:
        if response.content.is_eof():
            response.release()
        else:
            response.close()  # what is left must never be taken for the next answer

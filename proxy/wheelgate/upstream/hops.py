"""Redirects followed by hand: each hop is judged before it is asked, and gets its own credential or none.

A credential is attached here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import aiohttp
from yarl import URL

from wheelgate.core.protocols import Credential, Credentials
from wheelgate.core.urls import HostRules, UnsafeUrl, display_host, parse, read
from wheelgate.runtime.chain import CHAIN_HEADER, extend_chain
from wheelgate.runtime.fair_slots import NoTurn
from wheelgate.upstream.answers import Hop
from wheelgate.upstream.failures import is_refusal, read_words
from wheelgate.upstream.hop_failures import HopFailures
from wheelgate.upstream.question import Question, QuestionKind
from wheelgate.upstream.sessions import Sessions
from wheelgate.upstream.told_failures import read_told

_MAX_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_BYTES = 16 * 1024
_REDIRECT_S = 0.1
"""Of a redirect's body no more is read, and it is waited for no longer, to keep the connection: a new one costs more."""


class Hops:
    """The follower of redirects of one source, or of one download."""

    def __init__(
        self,
        *,
        rules: HostRules,
        credentials: Credentials,
        failures: HopFailures,
        headers: Mapping[str, str],
        ca_file: str | None,
        outbound_proxy: str | None,
        is_final: Callable[[aiohttp.ClientResponse], bool] = is_refusal,
        says_chain: bool = False,
    ) -> None:
        """``headers``: of every request here. ``is_final``: whether a redirect is an answer itself, and not followed.

        ``says_chain``: whoever is asked may be a server like this one, and hears by way of which the question comes.
        """
        self._says_chain = says_chain
        self._rules = rules
        self._credentials = credentials
        self._failures = failures
        self._proxy = outbound_proxy
        self._is_final = is_final
        self._sessions = Sessions(rules, headers, ca_file=ca_file, outbound_proxy=outbound_proxy)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return self._sessions.waiting

    async def close(self) -> None:
        await self._sessions.close()

    @asynccontextmanager
    async def follow(self, question: Question, headers: Mapping[str, str]) -> AsyncIterator[Hop]:
        """Yield the answer that the redirects lead to, whatever it says; a redirect to a sign-in page is such an answer itself.

        An :class:`UpstreamError` if nobody answered, a hop leads where nobody may be asked, or the redirects lead nowhere.
        """
        url, sender = question.url, None
        for _ in range(_MAX_HOPS + 1):
            hop = await self._ask(question, url, headers, sender)
            try:
                if hop.response.status not in _REDIRECTS or self._is_final(hop.response):
                    yield hop
                    return
                url, sender = self._next_url(hop), hop.sender if hop.credential is None else hop
                if question.stays:
                    self._check_stay(hop, url)
            finally:
                await _release(hop.response)
        raise self._failures.bad(f"redirected more than {_MAX_HOPS} times")

    async def resolve_redirect_target(self, question: Question, headers: Mapping[str, str]) -> str | None:
        """Find the first URL on the way that needs no credential, not asked yet; ``None``: the way ends before."""
        url = question.url
        for _ in range(_MAX_HOPS + 1):
            self._parse_allowed(question, url)
            if self._credentials.for_url(url) is None:
                return url
            hop = await self._ask(question, url, headers, None)
            try:
                await self._failures.check(hop)
                if hop.response.status not in _REDIRECTS:
                    return None
                url = self._next_url(hop)
            finally:
                await _release(hop.response)
        raise self._failures.bad(f"redirected more than {_MAX_HOPS} times")

    async def _ask(self, question: Question, url: str, headers: Mapping[str, str], sender: Hop | None) -> Hop:
        """Ask one URL, with the credential of its URL; once more if that was refused, by no rule, and another is in its place."""
        target = self._parse_allowed(question, url)
        credential = self._credentials.for_url(url)
        response = await self._send(question, target, credential, headers)
        said = None
        if credential is not None and is_refusal(response):
            try:
                if response.status == 403 and read_told(response, said := await read_words(response)) is not None:
                    return Hop(question, url, response, credential, sender, said)
                renewed = await credential.renew()
            except BaseException:
                response.close()
                raise
            if renewed:
                response.close()
                response, said = await self._send(question, target, credential, headers), None
        return Hop(question, url, response, credential, sender, said)

    async def _send(
        self, question: Question, target: URL, credential: Credential | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        question.turn_to(display_host(target))
        self._failures.admit(question, to_ask=False)
        asked = target
        if credential is not None:
            headers = {**headers, **await credential.headers()}
            asked = URL(await credential.sign_url(str(target)), encoded=True)
        if self._says_chain:
            headers = {**headers, CHAIN_HEADER: extend_chain()}
        through = await proxy_headers(self._credentials, self._proxy)

        def begin() -> None:
            self._failures.admit(question, to_ask=True)  # much may have happened in the line
            question.begin()

        try:
            response = await self._sessions.get(question, asked, headers, through, begin)
        except NoTurn:
            raise self._failures.busy(self._sessions.waiting) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = self._failures.unreachable(target, error)
            self._failures.blame(question, error, failure)
            raise failure from None
        self._failures.note(question, response)
        return response

    def _parse_allowed(self, question: Question, url: str) -> URL:
        try:
            target = parse(url, empty_segments=question.kind is not QuestionKind.PAGE)
        except UnsafeUrl as error:
            raise self._failures.refused_link(f": a link cannot be followed: {error}") from None
        if not self._rules.allows(target):
            raise self._failures.forbidden(target, self._rules.find_cause(target), redirected=url != question.url)
        return target

    def _check_stay(self, hop: Hop, url: str) -> None:
        """Let a redirect pass that does not lead away from the source; the next hop judges an address that is none."""
        with suppress(UnsafeUrl):
            target = parse(url)
            if not self._rules.is_inside(target):
                cause = self._rules.find_cause(target) if self._rules.forgets_tls(target) else None
                raise self._failures.led_away(hop, target, self._rules.find_neighbour(target), cause)

    def _next_url(self, hop: Hop) -> str:
        location = hop.response.headers.get("Location", "")
        try:
            target = read(hop.url).join(read(location))
        except ValueError:
            raise self._failures.bad("redirected to a malformed address") from None
        if not location:
            raise self._failures.bad("redirected without saying where")
        return str(target.with_fragment(None))


async def proxy_headers(credentials: Credentials, proxy: str | None) -> dict[str, str] | None:
    """Build the headers that sign in to the outbound proxy; ``None``: no connection is stored for it."""
    credential = credentials.for_url(proxy) if proxy is not None else None
    if credential is None:
        return None
    said = await credential.headers()
    return {"Proxy-Authorization": said["Authorization"]} if "Authorization" in said else None


async def _release(response: aiohttp.ClientResponse) -> None:
    """Keep the connection for the next request, if the answer has been read to its end; of a redirect that is little."""
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

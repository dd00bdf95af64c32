"""The outgoing HTTP of one source: pages whole and checked, files as streams, redirects by hand, retries within a budget.

A credential is attached here and nowhere else, chosen anew for every URL that is asked.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
from yarl import URL

from proxy.errors import AddressRefused, CredentialRefused, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from proxy.metrics import Metrics
from proxy.protocols import Clock, Credential, Credentials
from proxy.upstream import addresses
from proxy.upstream.answers import FileAnswer, PageAnswer, page_body
from proxy.upstream.causes import cause_of
from proxy.upstream.health import Health
from proxy.upstream.refusals import (
    SIGN_IN_REASON,
    activity_of,
    beginning_of,
    is_refusal,
    is_sign_in_page,
    is_throttled,
    reason_of,
)
from proxy.upstream.sessions import FILE_TIMES, PAGE_TIMES, Sessions
from proxy.urls import HostRules, UnsafeUrl, parse, read, shown

PAGE_BUDGET_S = 10.0
"""All attempts at one page together: pip gives up after 15 s of silence."""
_ATTEMPTS = 3
_MAX_HOPS = 5
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _Hop(msgspec.Struct, frozen=True):
    """One answer, and what it was asked with."""

    url: str
    """Without what the credential added."""
    response: aiohttp.ClientResponse
    credential: Credential | None


class SourceClient:
    """Talks to one source's origin and file hosts, and to nothing else. Close it when done."""

    def __init__(
        self,
        *,
        source: str,
        url: str,
        file_hosts: tuple[str, ...],
        credentials: Credentials,
        clock: Clock,
        metrics: Metrics,
        user_agent: str,
        ca_file: str | None = None,
        outbound_proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``headers``: what this kind of upstream wants with every request."""
        self.rules = HostRules(parse(url), file_hosts)
        self._source = source
        self._credentials = credentials
        self._clock = clock
        self._metrics = metrics
        self._headers = dict(headers or {})
        self._health = Health(source, clock)
        self._proxy = outbound_proxy
        self._sessions = Sessions(self.rules, user_agent=user_agent, ca_file=ca_file, outbound_proxy=outbound_proxy)

    async def close(self) -> None:
        """Close every connection."""
        await self._sessions.close()

    async def handed_on(self, url: str, *, accept: str | None = None) -> str | None:
        """Where a client of ours finds a file by itself: the first address, from this one on, that needs no credential.

        ``None``: there is none, since the upstream sends the bytes itself, for our credential alone.

        Raises:
            UpstreamUnavailable, CredentialRefused, UpstreamBadAnswer: as for :meth:`page`.
        """
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "identity"}
        self._health.check()
        for _ in range(_MAX_HOPS + 1):
            self._judged(url)
            if self._credentials.for_url(url) is None:
                return url
            hop = await self._asked(url, headers, PAGE_TIMES)
            try:
                await self._refuse_failures(hop)
                if hop.response.status not in _REDIRECTS:
                    return None
                url = self._next_hop(url, hop.response)
            finally:
                _let_go(hop.response)
        raise self._bad(f"redirected more than {_MAX_HOPS} times")

    async def page(self, url: str, *, accept: str, etag: str | None = None) -> PageAnswer:
        """A page, whole, inflated and bounded: 200, 304 (only if ``etag`` was given) or 404.

        Raises:
            UpstreamUnavailable: unreachable, throttled, failing or too slow, also on second thought.
            CredentialRefused: 401, 403 or a sign-in page in any form.
            UpstreamBadAnswer: anything else that is not an answer to the question.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        try:
            self._health.check()
            try:
                async with asyncio.timeout(PAGE_BUDGET_S):
                    answer = await self._page_with_retries(url, headers)
            except TimeoutError:
                reason = f"source {self._source} did not answer within {PAGE_BUDGET_S:.0f} s"
                self._health.failed(reason)
                raise UpstreamUnavailable(reason, source=self._source) from None
        except UpstreamError as error:
            self._metrics.upstream_requests.labels(self._source, type(error).__name__).inc()
            self._metrics.upstream_up.labels(self._source).set(0)
            raise
        self._metrics.upstream_requests.labels(self._source, str(answer.status)).inc()
        self._metrics.upstream_up.labels(self._source).set(1)
        return answer

    async def _page_with_retries(self, url: str, headers: Mapping[str, str]) -> PageAnswer:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._page_once(url, headers)
            except UpstreamUnavailable as error:
                if attempt == _ATTEMPTS or error.retry_after_s is not None:
                    self._health.failed(str(error))
                    raise
                await asyncio.sleep(_back_off(attempt))
            except AddressRefused:  # perhaps nobody was asked
                raise
            except UpstreamBadAnswer:
                self._health.succeeded()
                raise
            else:
                self._health.succeeded()
                return answer
        raise AssertionError

    async def _page_once(self, url: str, headers: Mapping[str, str]) -> PageAnswer:
        async with self._open(url, headers, PAGE_TIMES) as hop:
            await self._refuse_failures(hop)
            response, final = hop.response, hop.url
            if response.status == 304 and "If-None-Match" in headers:
                return PageAnswer(304, final)
            if response.status == 404:
                return PageAnswer(404, final, body=await beginning_of(response))
            if response.status != 200:
                raise self._bad(f"answered {response.status}, which is no answer to a page request")
            body = await page_body(response, self._source)
            kind = response.content_type.lower()
            if kind == "text/html" and is_sign_in_page(body):
                if hop.credential is not None:
                    await hop.credential.renewed()  # what follows may be asked with another
                raise self._refused(hop, SIGN_IN_REASON)
            charset, etag = response.charset or "utf-8", response.headers.get("ETag")
            return PageAnswer(200, final, content_type=kind, charset=charset, etag=etag, body=body)

    @asynccontextmanager
    async def file(
        self, url: str, *, accept: str | None = None, start: int | None = None, end: int | None = None
    ) -> AsyncIterator[FileAnswer]:
        """A file's body, or bytes ``start`` (included) to ``end`` (excluded) of it, as an open stream.

        Raises:
            UpstreamUnavailable, CredentialRefused, UpstreamBadAnswer: as for :meth:`page`; a listed file that answers 404 is
                a bad answer, and so is another range than the one asked for.
        """
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "identity"}
        if start is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(PAGE_BUDGET_S):  # until the body begins: whoever waits hears of it in time
                    response = await self._opened_with_retries(stack, url, headers)
            except TimeoutError:
                reason = f"source {self._source} did not begin to send a file within {PAGE_BUDGET_S:.0f} s"
                self._health.failed(reason)
                raise UpstreamUnavailable(reason, source=self._source) from None
            yield self._file_answer(response, start, end)

    async def _opened_with_retries(self, stack: AsyncExitStack, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """An answer that is not a failure of the source; ``stack`` closes it."""
        self._health.check()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with AsyncExitStack() as opened:
                    hop = await opened.enter_async_context(self._open(url, headers, FILE_TIMES))
                    await self._refuse_failures(hop)
                    stack.push_async_exit(opened.pop_all())
            except UpstreamUnavailable as error:
                if attempt == _ATTEMPTS or error.retry_after_s is not None:
                    self._health.failed(str(error))
                    raise
                await asyncio.sleep(_back_off(attempt))
            except AddressRefused:
                raise
            except UpstreamBadAnswer:
                self._health.succeeded()
                raise
            else:
                self._health.succeeded()
                return hop.response
        raise AssertionError

    def _file_answer(self, response: aiohttp.ClientResponse, start: int | None, end: int | None) -> FileAnswer:
        if response.status not in ((200,) if start is None else (200, 206)):
            raise self._bad(f"answered {response.status} for a file that it lists")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self._bad("sent a file in an encoding we did not ask for")
        if response.content_type == "text/html":
            raise CredentialRefused(
                f"source {self._source} answered with a web page (a sign-in page?) for a file that it lists",
                source=self._source,
            )
        total = response.content_length
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            total = int(match[3]) if match and match[3] != "*" else None
            last = min((e for e in (end, total) if e is not None), default=None)
            if match is None or int(match[1]) != start or (last is not None and int(match[2]) != last - 1):
                raise self._bad("answered with another range of a file than it was asked for")
        return FileAnswer(response.status, total, response, self._source)

    @asynccontextmanager
    async def _open(self, url: str, headers: Mapping[str, str], times: aiohttp.ClientTimeout) -> AsyncIterator[_Hop]:
        """The answer of the last hop. Every hop is judged, and gets the credential of its own URL or none."""
        for _ in range(_MAX_HOPS + 1):
            hop = await self._asked(url, headers, times)
            try:
                if hop.response.status not in _REDIRECTS or is_refusal(hop.response):
                    yield hop
                    return
                url = self._next_hop(url, hop.response)
            finally:
                _let_go(hop.response)
        raise self._bad(f"redirected more than {_MAX_HOPS} times")

    async def _asked(self, url: str, headers: Mapping[str, str], times: aiohttp.ClientTimeout) -> _Hop:
        """One hop, with the credential of its URL; once more if that was refused and another is found in its place."""
        target = self._judged(url)
        credential = self._credentials.for_url(url)
        response = await self._response(target, credential, headers, times)
        if credential is not None and is_refusal(response):
            try:
                renewed = await credential.renewed()
            except BaseException:
                response.close()
                raise
            if renewed:
                response.close()
                response = await self._response(target, credential, headers, times)
        return _Hop(url, response, credential)

    async def _response(
        self, target: URL, credential: Credential | None, headers: Mapping[str, str], times: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        own = {**self._headers, **headers}
        asked = target
        if credential is not None:
            own |= await credential.headers()
            asked = URL(await credential.signed(str(target)), encoded=True)
        try:
            return await self._sessions.get(asked, own, times, await self._proxy_headers())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(target, error) from None

    async def _proxy_headers(self) -> dict[str, str] | None:
        """How we sign in to the outbound proxy, where a connection is stored for it."""
        credential = self._credentials.for_url(self._proxy) if self._proxy is not None else None
        if credential is None:
            return None
        said = await credential.headers()
        return {"Proxy-Authorization": said["Authorization"]} if "Authorization" in said else None

    def _judged(self, url: str) -> URL:
        try:
            target = parse(url)
        except UnsafeUrl as error:
            raise AddressRefused(f"source {self._source}: a link cannot be followed: {error}", source=self._source) from None
        if not self.rules.allows(target):
            raise AddressRefused(
                f"source {self._source} points to {target.host}, which is neither its own host nor among its file_hosts",
                source=self._source,
            )
        return target

    def _next_hop(self, at: str, response: aiohttp.ClientResponse) -> str:
        location = response.headers.get("Location", "")
        try:
            target = read(at).join(read(location))
        except ValueError:
            raise self._bad("redirected to a malformed address") from None
        if not location:
            raise self._bad("redirected without saying where")
        return str(target.with_fragment(None))

    async def _refuse_failures(self, hop: _Hop) -> None:
        """Raise for every answer that is a failure of the source rather than an answer."""
        response, status = hop.response, hop.response.status
        self._note_budget(response)
        if is_refusal(response):
            raise self._refused(hop, await reason_of(response))
        if is_throttled(response) or status >= 500:
            wait_s = self._wait_s(response)
            paused = self._health.pause(wait_s) if wait_s is not None else None
            self._metrics.upstream_paused.labels(self._source).set(paused or 0)
            raise self._unavailable(f"answered {status}{_activity(response)}", retry_after_s=paused)

    def _refused(self, hop: _Hop, reason: str) -> CredentialRefused:
        """The answer refused our credential, or wants one that it did not get."""
        host = parse(hop.url).host or ""
        activity = _activity(hop.response)
        if hop.credential is not None:
            self._metrics.connection_refused.labels(hop.credential.connection, host).inc()
            return CredentialRefused(
                f"connection {hop.credential.connection} was refused by {host}: {reason}{activity}", source=self._source
            )
        status = hop.response.status
        how = f"{status} with a sign-in page" if status < 400 else str(status)
        return CredentialRefused(
            f"source {self._source} wants a credential at {host} (it answered {how}){activity}: no connection is stored for "
            f"{shown(hop.url)}",
            source=self._source,
        )

    def _note_budget(self, response: aiohttp.ClientResponse) -> None:
        """Azure DevOps and GitHub say how many requests an identity has left: operators want to see it shrink."""
        remaining = response.headers.get("X-RateLimit-Remaining", "")
        if remaining.isascii() and remaining.isdecimal() and len(remaining) < 10:
            self._metrics.upstream_budget.labels(self._source).set(int(remaining))

    def _wait_s(self, response: aiohttp.ClientResponse) -> float | None:
        """How long it asks us to wait, in seconds or until a moment; ``None``: nothing that can be read.

        ``Retry-After`` (RFC 9110, 10.2.3) or, where a budget is used up, the moment it is filled again.
        """
        text = response.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdecimal() and len(text) < 7:
            return float(text)
        reset = response.headers.get("X-RateLimit-Reset", "")
        if not text and response.headers.get("X-RateLimit-Remaining") == "0" and reset.isascii() and reset.isdecimal():
            return float(reset[:12]) - self._clock.now().timestamp()
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        return None if moment.tzinfo is None else (moment - self._clock.now()).total_seconds()

    def _unreachable(self, target: URL, error: Exception) -> UpstreamError:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, addresses.ForbiddenAddress):
            return AddressRefused(f"source {self._source} points to {target.host}, and {cause}", source=self._source)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self._unavailable(f"cannot be reached: the outbound proxy answered {error.status}")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return self._unavailable(f"cannot be reached: the outbound proxy does not answer ({cause_of(error)})")
        if isinstance(error, aiohttp.ClientSSLError):
            return self._unavailable(f"has no trustworthy certificate for {target.host} ({cause_of(error)})")
        if isinstance(error, aiohttp.ClientResponseError):
            return self._unavailable("answered with something that is not HTTP")
        return self._unavailable(f"cannot be reached at {shown(target.origin())} ({cause_of(error)})")

    def _unavailable(self, what: str, *, retry_after_s: float | None = None) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"source {self._source} {what}", source=self._source, retry_after_s=retry_after_s)

    def _bad(self, what: str) -> UpstreamBadAnswer:
        return UpstreamBadAnswer(f"source {self._source} {what}", source=self._source)


def _let_go(response: aiohttp.ClientResponse) -> None:
    if response.status in _REDIRECTS or not response.content.is_eof():
        response.close()  # not read to its end: what is left must never be taken for the next answer
    else:
        response.release()


def _activity(response: aiohttp.ClientResponse) -> str:
    found = activity_of(response)
    return f" (activity {found})" if found else ""


def _back_off(attempt: int) -> float:
    return random.uniform(0.1, 0.3) * attempt  # noqa: S311 - spreads retries, protects nothing

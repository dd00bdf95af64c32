"""The outgoing HTTP of one source: pages whole and checked, files as streams, redirects by hand, retries within a budget.

A credential is attached here and nowhere else, chosen anew for every URL that is asked.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Any

import aiohttp
import msgspec
from isal import igzip_lib, isal_zlib
from yarl import URL

from proxy.errors import AddressRefused, CredentialRefused, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from proxy.metrics import Metrics
from proxy.protocols import Clock, Credentials
from proxy.upstream import addresses
from proxy.upstream.causes import cause_of
from proxy.upstream.health import Health
from proxy.urls import HostRules, UnsafeUrl, parse, read, shown

MAX_PAGE_BYTES = 64 * 1024 * 1024
PAGE_BUDGET_S = 10.0
"""All attempts at one page together: pip gives up after 15 s of silence."""
_ATTEMPTS = 3
_MAX_HOPS = 5
_MAX_RATIO = 200
_RATIO_FREE_BYTES = 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_SIGN_IN = re.compile(r"/(_?signin|login|oauth2?|_signedin)(?=[/.]|$)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PAGE_CONNECTIONS = 64
_FILE_CONNECTIONS = 256
_PAGE_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=5)
_FILE_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=30)


class PageAnswer(msgspec.Struct, frozen=True):
    """A whole answer to a page request: 200 with a body, 304, or 404."""

    status: int
    url: str
    """Where it came from after redirects: links are relative to this."""
    content_type: str = ""
    charset: str = "utf-8"
    etag: str | None = None
    body: bytes | bytearray = b""


class FileAnswer:
    """A file's answer, open: its body is still to be read."""

    def __init__(self, status: int, total: int | None, response: aiohttp.ClientResponse, source: str) -> None:
        self.status = status
        """200, or 206 where a range was asked and given."""
        self.total = total
        """Bytes of the whole file, if the upstream says."""
        self._response = response
        self._source = source

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, in pieces of at most 256 KiB.

        Raises:
            UpstreamUnavailable: the connection broke or stalled before the announced end.
        """
        try:
            async for chunk in self._response.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(
                f"source {self._source} broke off in the middle of a file ({cause_of(error)})", source=self._source
            ) from None


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
    ) -> None:
        self.rules = HostRules(parse(url), file_hosts)
        self._source = source
        self._credentials = credentials
        self._clock = clock
        self._metrics = metrics
        self._user_agent = user_agent
        self._ca_file = ca_file
        self._health = Health(source, clock)
        self._sessions: dict[tuple[bool, int], aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()

    def may_be_redirected_to(self, url: str) -> bool:
        """Whether a client of ours may be sent to this URL: it needs no credential, and is one we would ask ourselves."""
        try:
            return self.rules.allows(parse(url)) and self._credentials.for_url(url) is None
        except UnsafeUrl:
            return False

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
        async with self._open(url, headers, _PAGE_TIMES) as response:
            self._refuse_failures(response)
            final = str(response.url)
            if response.status == 304 and "If-None-Match" in headers:
                return PageAnswer(304, final)
            if response.status == 404:
                return PageAnswer(404, final)
            if response.status != 200:
                raise self._bad(f"answered {response.status}, which is no answer to a page request")
            return PageAnswer(
                200,
                final,
                content_type=response.content_type.lower(),
                charset=response.charset or "utf-8",
                etag=response.headers.get("ETag"),
                body=await self._body(response),
            )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | bytearray:
        """The inflated body, never more than the limits and never cut short."""
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise self._bad(f"sent a page in an encoding we did not ask for ({encoding[:20]!r})")
        inflater = None if encoding == "identity" else isal_zlib.decompressobj(wbits=31)
        body = bytearray()  # grows in place: joining pieces at the end would copy sixty megabytes in one go
        received = 0
        try:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)  # bounded too: empty blocks inflate to no byte at all, for ever
                for part in _inflated(inflater, chunk):
                    body += part
                    size = len(body)
                    if max(size, received) > MAX_PAGE_BYTES or size > max(received * _MAX_RATIO, _RATIO_FREE_BYTES):
                        raise self._bad("sent a page larger than any index page is")
                    await asyncio.sleep(0)
                if inflater is not None and inflater.unused_data:
                    raise self._bad("sent a compressed page with more behind its end")
        except igzip_lib.IsalError:  # type: ignore[misc]
            raise self._bad("sent a page whose compression is broken") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(f"broke off in the middle of a page ({cause_of(error)})") from None
        if not _is_whole(response, inflater, body):
            raise self._unavailable("broke off in the middle of a page")
        return body

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
                    response = await opened.enter_async_context(self._open(url, headers, _FILE_TIMES))
                    self._refuse_failures(response)
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
                return response
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
    async def _open(
        self, url: str, headers: Mapping[str, str], times: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of the last hop. Every hop is judged, and gets the credential of its own URL or none."""
        for _ in range(_MAX_HOPS + 1):
            target = self._judged(url)
            credential = self._credentials.for_url(url)
            own = {**headers, **(await credential.headers())} if credential else headers
            try:
                session = self._session(target, _PAGE_CONNECTIONS if times is _PAGE_TIMES else _FILE_CONNECTIONS)
                response = await session.get(target, headers=own, timeout=times, allow_redirects=False)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable(target, error) from None
            try:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                url = self._next_hop(target, response)
            finally:
                if response.status in _REDIRECTS or not response.content.is_eof():
                    response.close()  # not read to its end: what is left must never be taken for the next answer
                else:
                    response.release()
        raise self._bad(f"redirected more than {_MAX_HOPS} times")

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

    def _next_hop(self, at: URL, response: aiohttp.ClientResponse) -> str:
        location = response.headers.get("Location", "")
        try:
            target = at.join(read(location))
        except ValueError:
            raise self._bad("redirected to a malformed address") from None
        if not location:
            raise self._bad("redirected without saying where")
        # Projects may be called login or oauth2: only a word that was not asked for says anything.
        if _SIGN_IN.search(target.raw_path) and not _SIGN_IN.search(at.raw_path):
            raise CredentialRefused(
                f"source {self._source} redirected to a sign-in page: it wants a credential, or refused ours",
                source=self._source,
            )
        return str(target.with_fragment(None))

    def _session(self, target: URL, connections: int) -> aiohttp.ClientSession:
        """A session for hosts that may be inner addresses, or the one for hosts that may not; for pages, or for files.

        A connection of the first kind must never be reused for the second; and clients that read their files slowly must not
        hold every connection that a page could be asked by.
        """
        inner = self.rules.names(target)
        session = self._sessions.get((inner, connections))
        if session is None:
            session = self._sessions[inner, connections] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=connections,
                    socket_factory=partial(addresses.socket_for, inner=inner),
                    ssl=_trust(self._ca_file),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent},
                auto_decompress=False,
                trust_env=False,  # a netrc or proxy variable of the machine must not choose credentials or routes
            )
        return session

    def _refuse_failures(self, response: aiohttp.ClientResponse) -> None:
        """Raise for every status that is a failure of the source rather than an answer."""
        status = response.status
        if status in (401, 403):
            raise CredentialRefused(
                f"source {self._source} answered {status}: it wants a credential, or refused ours", source=self._source
            )
        if status == 203:
            raise CredentialRefused(
                f"source {self._source} answered 203 with a sign-in page: the credential is expired or missing",
                source=self._source,
            )
        if status in (408, 425, 429) or status >= 500:
            wait_s = self._wait_s(response.headers.get("Retry-After", "").strip())
            paused = self._health.pause(wait_s) if wait_s is not None else None
            self._metrics.upstream_paused.labels(self._source).set(paused or 0)
            raise self._unavailable(f"answered {status}", retry_after_s=paused)

    def _wait_s(self, retry_after: str) -> float | None:
        """What ``Retry-After`` asks for, as seconds or as a date (RFC 9110, 10.2.3); ``None``: nothing that can be read."""
        if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 7:
            return float(retry_after)
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        return None if moment.tzinfo is None else (moment - self._clock.now()).total_seconds()

    def _unreachable(self, target: URL, error: Exception) -> UpstreamError:
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, addresses.ForbiddenAddress):
            return AddressRefused(f"source {self._source} points to {target.host}, and {error.os_error}", source=self._source)
        if isinstance(error, aiohttp.ClientSSLError):
            return self._unavailable(f"has no trustworthy certificate for {target.host} ({cause_of(error)})")
        if isinstance(error, aiohttp.ClientResponseError):
            return self._unavailable("answered with something that is not HTTP")
        return self._unavailable(f"cannot be reached at {shown(target.origin())} ({cause_of(error)})")

    def _unavailable(self, what: str, *, retry_after_s: float | None = None) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"source {self._source} {what}", source=self._source, retry_after_s=retry_after_s)

    def _bad(self, what: str) -> UpstreamBadAnswer:
        return UpstreamBadAnswer(f"source {self._source} {what}", source=self._source)


def _inflated(inflater: Any, chunk: bytes) -> Iterator[bytes]:
    """A piece of a body as it is or, with ``inflater``, in pieces of at most 1 MiB; no further than the caller goes."""
    if inflater is None:
        yield chunk
        return
    while chunk:
        yield inflater.decompress(chunk, _RATIO_FREE_BYTES)
        chunk = inflater.unconsumed_tail


def _is_whole(response: aiohttp.ClientResponse, inflater: Any, body: bytearray) -> bool:
    """Whether a body ends where it should. Where only the closed connection says so, HTTP itself cannot tell."""
    if inflater is not None:
        return bool(inflater.eof)
    if "Content-Length" in response.headers or "Transfer-Encoding" in response.headers:
        return True
    return body[-1_000:].rstrip().lower().endswith((b"</html>", b"</body>", b"}"))


@lru_cache(maxsize=8)
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """The machine's certificates and the operator's. Reading them takes time and memory: once per process."""
    context = ssl.create_default_context()
    if ca_file is not None:  # beside the machine's own: a private index and the public one are asked by the same server
        context.load_verify_locations(ca_file)
    return context


def _back_off(attempt: int) -> float:
    return random.uniform(0.1, 0.3) * attempt  # noqa: S311 - spreads retries, protects nothing

"""HTTP client of one source: pages whole and checked, files as streams, each with retries within a budget."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from wheelgate.core.errors import AddressRefused, CredentialRefused, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.protocols import Clock, Credentials
from wheelgate.core.urls import HostRules, parse
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.answers import FileAnswer, Hop, PageAnswer, page_body
from wheelgate.upstream.failures import SIGN_IN_REASON, Failures, is_sign_in_page, read_beginning
from wheelgate.upstream.health import Health
from wheelgate.upstream.hops import Hops
from wheelgate.upstream.sessions import FILE_TIMES, PAGE_TIMES

PAGE_BUDGET_S = 10.0
"""All attempts at one page together: pip gives up after 15 s of silence."""
_ATTEMPTS = 3
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
T = TypeVar("T")


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
        self._metrics = metrics
        self._health = Health(source, clock)
        self._failures = Failures(source, clock=clock, metrics=metrics, health=self._health)
        self._hops = Hops(
            rules=self.rules,
            credentials=credentials,
            failures=self._failures,
            headers={"User-Agent": user_agent, **(headers or {})},
            ca_file=ca_file,
            outbound_proxy=outbound_proxy,
        )

    async def close(self) -> None:
        await self._hops.close()

    async def resolve_redirect_target(self, url: str, *, accept: str | None = None) -> str | None:
        """Find where a client of ours gets a file by itself: the first address, from this one on, that needs no credential.

        ``None``: there is none, since the upstream sends the bytes itself, for our credential alone. Raises as :meth:`page`.
        """
        self._health.check()
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "identity"}
        return await self._hops.resolve_redirect_target(url, headers, PAGE_TIMES)

    async def page(self, url: str, *, accept: str, etag: str | None = None) -> PageAnswer:
        """A page, whole, inflated and bounded: 200, 304 (only if ``etag`` was given) or 404.

        Raises:
            UpstreamUnavailable: unreachable, throttled, failing or too slow, also when asked again.
            CredentialRefused: 401, 403 or a sign-in page in any form.
            UpstreamBadAnswer: anything else that is not an answer to the question.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        try:
            answer = await self._ask_in_time("answer", lambda: self._fetch_page_once(url, headers))
        except UpstreamError as error:
            self._metrics.upstream_requests.labels(self._source, type(error).__name__).inc()
            self._metrics.upstream_up.labels(self._source).set(0)
            raise
        self._metrics.upstream_requests.labels(self._source, str(answer.status)).inc()
        self._metrics.upstream_up.labels(self._source).set(1)
        return answer

    async def _fetch_page_once(self, url: str, headers: Mapping[str, str]) -> PageAnswer:
        async with self._hops.follow(url, headers, PAGE_TIMES) as hop:
            await self._failures.check(hop)
            response, final = hop.response, hop.url
            if response.status == 304 and "If-None-Match" in headers:
                return PageAnswer(304, final)
            if response.status == 404:
                return PageAnswer(404, final, body=await read_beginning(response))
            if response.status != 200:
                raise self._failures.bad(f"answered {response.status}, which is no answer to a page request")
            body, digest = await page_body(response, self._source)
            kind = response.content_type.lower()
            if kind == "text/html" and is_sign_in_page(body):
                if hop.credential is not None:
                    await hop.credential.renew()  # what follows may be asked with another
                raise self._failures.credential_refused(hop, SIGN_IN_REASON)
            charset, etag = response.charset or "utf-8", response.headers.get("ETag")
            return PageAnswer(200, final, content_type=kind, charset=charset, etag=etag, body=body, digest=digest)

    @asynccontextmanager
    async def file(
        self, url: str, *, accept: str | None = None, start: int | None = None, end: int | None = None
    ) -> AsyncIterator[FileAnswer]:
        """A file's body, or bytes ``start`` (included) to ``end`` (excluded) of it, as an open stream.

        Raises as :meth:`page`; a listed file that answers 404 is a bad answer, and so is another range than the one asked for.
        """
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "identity"}
        if start is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        async with AsyncExitStack() as stack:
            # Until the body begins: whoever waits hears of it in time.
            hop = await self._ask_in_time("begin to send a file", lambda: self._open_once(stack, url, headers))
            yield self._check_file_answer(hop, start, end)

    async def _open_once(self, stack: AsyncExitStack, url: str, headers: Mapping[str, str]) -> Hop:
        """An answer that is not a failure of the source; ``stack`` closes it."""
        async with AsyncExitStack() as opened:
            hop = await opened.enter_async_context(self._hops.follow(url, headers, FILE_TIMES))
            await self._failures.check(hop)
            stack.push_async_exit(opened.pop_all())
        return hop

    def _check_file_answer(self, hop: Hop, start: int | None, end: int | None) -> FileAnswer:
        response = hop.response
        if response.status not in ((200,) if start is None else (200, 206)):
            raise self._failures.bad(f"answered {response.status} for a file that it lists")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self._failures.bad("sent a file in an encoding we did not ask for")
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
                raise self._failures.bad("answered with another range of a file than it was asked for")
        return FileAnswer(response.status, hop.url, total, response, self._source)

    async def _ask_in_time(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask up to three times within the budget; ``what`` the source should do, for the sentence."""
        self._health.check()
        try:
            async with asyncio.timeout(PAGE_BUDGET_S):
                return await self._ask_with_retries(ask)
        except TimeoutError:
            error = self._failures.unavailable(f"did not {what} within {PAGE_BUDGET_S:.0f} s")
            self._health.record_failure(str(error))
            raise error from None

    async def _ask_with_retries(self, ask: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await ask()
            except UpstreamUnavailable as error:
                if attempt == _ATTEMPTS or error.retry_after_s is not None:
                    self._health.record_failure(str(error))
                    raise
                await asyncio.sleep(random.uniform(0.1, 0.3) * attempt)  # noqa: S311 - spreads retries, protects nothing
            except AddressRefused:  # perhaps nobody was asked
                raise
            except UpstreamBadAnswer:
                self._health.record_success()
                raise
            else:
                self._health.record_success()
                return answer
        raise AssertionError

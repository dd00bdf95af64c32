"""HTTP client of one source: pages whole and checked, files as streams, each with retries within a budget."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import ceil
from typing import TypeVar

from wheelgate.core.errors import (
    AddressRefused,
    Busy,
    FailedBelow,
    RefusedByRule,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
    without_frames,
)
from wheelgate.core.protocols import Clock, Credentials
from wheelgate.core.urls import HostRules, parse, place_key
from wheelgate.runtime.byte_budget import ByteBudget, ByteClaim
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.answers import (
    FileAnswer,
    Hop,
    PageAnswer,
    beginning_of,
    busy_with_pages,
    page_body,
    read_marks,
)
from wheelgate.upstream.codings import read_media_type
from wheelgate.upstream.failures import SIGN_IN_REASON, ChainRefused, Failures, is_sign_in_page, read_beginning
from wheelgate.upstream.file_answers import check_file_answer, judge_type
from wheelgate.upstream.health import SEVERAL, Health
from wheelgate.upstream.hops import Hops
from wheelgate.upstream.question import Fault, Question, QuestionKind
from wheelgate.upstream.told_failures import tells_absence

PAGE_BUDGET_S = 10.0
"""All attempts at one page together: pip gives up after 15 s of silence."""
_UNNOTICED_S = 0.5
_ATTEMPTS = 3
_AGAIN_AND_AGAIN = 5
_SMALL_BYTES = 1024 * 1024
_PROBE_BYTES = 64 * 1024
_BEGINNING_S = 4.0
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
        page_memory: ByteBudget | None = None,
        says_chain: bool = False,
        neighbours: Mapping[str, str] | None = None,
        absent_status: Collection[int] = (),
    ) -> None:
        """A client of one source.

        Args:
            source: the operator's name for it.
            url: its own.
            file_hosts: where else its files may be.
            credentials: for each URL, one or none.
            clock: the age of what failed.
            metrics: count what is asked and what fails.
            user_agent: who asks.
            ca_file: certificates to trust beside the system's.
            outbound_proxy: asked instead of the source's own hosts.
            headers: what this kind of upstream wants with every request.
            page_memory: shared with other sources.
            says_chain: as for :class:`~wheelgate.upstream.hops.Hops`.
            neighbours: the other configured sources' names, and their URLs.
            absent_status: statuses beside 404 that say that there is no such project, as the operator knows.
        """
        self._page_memory = page_memory or ByteBudget()
        self.place = place_key(url)
        """Key of the source's URL: what was kept of it at another one is not this one's."""
        self.rules = HostRules(parse(url), file_hosts, neighbours or {})
        self.absent_status = frozenset(absent_status)
        self._source = source
        self._credentials = credentials
        self._metrics = metrics
        self._health = Health(source, clock)
        self._failing: Counter[str] = Counter()
        """Addresses of pages that failed since one was answered, and how often; never more than :data:`SEVERAL`."""
        self._failures = Failures(source, clock=clock, metrics=metrics, health=self._health, absent_status=self.absent_status)
        self._hops = Hops(
            rules=self.rules,
            credentials=credentials,
            failures=self._failures,
            headers={"User-Agent": user_agent, **(headers or {})},
            ca_file=ca_file,
            outbound_proxy=outbound_proxy,
            says_chain=says_chain,
        )
        metrics.upstream_paused.labels(source).set_function(lambda: ceil(self._health.paused_s))
        metrics.upstream_breaker_open.labels(source).set_function(lambda: self._health.is_open)
        metrics.upstream_waiting.labels(source).set_function(lambda: self._hops.waiting)

    async def close(self) -> None:
        await self._hops.close()

    def signs_in(self, url: str) -> bool:
        """True if a credential goes along with this URL."""
        return self._credentials.for_url(url) is not None

    def _deadline(self) -> Deadline:
        return Deadline.within(PAGE_BUDGET_S, f"source {self._source}")

    async def resolve_redirect_target(
        self, url: str, *, accept: str | None = None, deadline: Deadline | None = None
    ) -> str | None:
        """Find where a client of ours gets a file by itself: the first address, from this one on, that needs no credential.

        ``None``: there is none, since the upstream sends the bytes itself, for our credential alone. Raises as :meth:`page`.
        """
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "identity"}
        question = Question(url, QuestionKind.METADATA, deadline or self._deadline())
        find = partial(self._hops.resolve_redirect_target, question, headers)
        return await self._ask_in_time(question, "say where a file is", find)

    async def page(
        self, url: str, *, accept: str, etag: str | None = None, deadline: Deadline | None = None, stays: bool = False
    ) -> PageAnswer:
        """A page, whole, inflated and bounded: 200, 304 (only if ``etag`` was given) or 404.

        ``deadline``: of all attempts and all waiting together; ``None``: :data:`PAGE_BUDGET_S` from now, or the request's.
        ``stays``: none of the file hosts may answer.

        Raises:
            Busy: it was not asked, or not read, for want of a connection, of time or of memory.
            UpstreamUnavailable: unreachable, throttled, failing or too slow, also when asked again.
            RefusedByRule, FailedBelow: it says so itself.
            CredentialRefused: 401, 403 or a sign-in page in any form; with an answer if that may be what an absence looks like.
            AddressRefused: a redirect elsewhere; with an answer if it leads away from the source, as it may of an absence.
            UpstreamBadAnswer: anything else that is not an answer to the question.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        question = Question(url, QuestionKind.PAGE, deadline or self._deadline(), stays=stays)
        try:
            answer = await self._ask_for_page(question, headers)
        except UpstreamError as error:
            self._metrics.upstream_requests.labels(self._source, type(error).__name__).inc()
            if not isinstance(error, Busy | ChainRefused | RefusedByRule | FailedBelow):
                self._note_failing(url)
            raise
        self._metrics.upstream_requests.labels(self._source, str(answer.status)).inc()
        self.note_answer()
        return answer

    def note_answer(self) -> None:
        """A page was answered, also where that looked like a failure first."""
        self._metrics.upstream_up.labels(self._source).set(1)
        self._failing.clear()

    def _note_failing(self, url: str) -> None:
        """Take the source for down if several pages failed, or one again and again, and none was answered meanwhile."""
        if url in self._failing or len(self._failing) < SEVERAL:
            self._failing[url] += 1
        if len(self._failing) >= SEVERAL or max(self._failing.values()) >= _AGAIN_AND_AGAIN:
            self._metrics.upstream_up.labels(self._source).set(0)

    async def _ask_for_page(self, question: Question, headers: Mapping[str, str]) -> PageAnswer:
        claim = self._page_memory.claim()
        try:
            return await self._ask_in_time(question, "answer", lambda: self._fetch_page_once(question, headers, claim), claim)
        except UpstreamError as error:
            claim.release()
            raise without_frames(error) from None
        except BaseException:
            claim.release()  # a traceback would hold it
            raise

    async def _fetch_page_once(self, question: Question, headers: Mapping[str, str], claim: ByteClaim) -> PageAnswer:
        async with self._hops.follow(question, headers) as hop:
            await self._failures.check(hop)
            response, final = hop.response, hop.url
            if response.status == 304 and "If-None-Match" in headers:
                return PageAnswer(304, final)
            if response.status == 404:
                return await self._read_words(hop)
            if response.status != 200:
                raise self._failures.bad(f"answered {response.status}, which is no answer to a page request")
            try:
                body, digest = await page_body(response, self._source, claim)
            except Busy:
                raise
            except UpstreamUnavailable as error:
                self._health.record_fault(question, Fault.BROKEN, str(error))
                raise
            kind = read_media_type(response)
            if kind == "text/html" and is_sign_in_page(body):
                if hop.credential is not None:
                    await hop.credential.renew()  # what follows may be asked with another
                raise self._failures.credential_refused(hop, SIGN_IN_REASON)
            charset, etag = response.charset or "utf-8", response.headers.get("ETag")
            return PageAnswer(200, final, content_type=kind, charset=charset, etag=etag, body=body, digest=digest, claim=claim)

    async def probe(self, url: str, *, accept: str) -> PageAnswer:
        """The answer to a control question, whatever its status: of a 200 the beginning of its body, else what is said.

        It may take as long as a page. Silence is held against its own address alone. A redirect away is an answer.

        Raises:
            Busy, UpstreamUnavailable: nobody answered, or is to be asked now.
            UpstreamBadAnswer: the redirects lead nowhere; :class:`AddressRefused`: they lead where nobody may be asked.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        question = Question(url, QuestionKind.PAGE, self._deadline(), is_control=True, stays=True)
        self._metrics.upstream_requests.labels(self._source, "control").inc()
        try:
            return await self._ask_in_time(question, "answer", lambda: self._probe_once(question, headers))
        except AddressRefused as error:
            if isinstance(error.answer, PageAnswer):
                return error.answer
            raise

    async def _probe_once(self, question: Question, headers: Mapping[str, str]) -> PageAnswer:
        async with self._hops.follow(question, headers) as hop:
            if hop.response.status != 200:
                return await self._read_words(hop)
            body = await beginning_of(hop.response, _PROBE_BYTES, _BEGINNING_S)
            return PageAnswer(200, hop.url, content_type=read_media_type(hop.response), body=body)

    async def _read_words(self, hop: Hop) -> PageAnswer:
        """Read what an answer without a page says, and who says it."""
        response = hop.response
        said = await read_beginning(hop)
        if tells_absence(response):
            said = b""
        kind = read_media_type(response) if "Content-Type" in response.headers else ""
        return PageAnswer(response.status, hop.url, content_type=kind, body=said, marks=read_marks(response))

    @asynccontextmanager
    async def file(
        self,
        url: str,
        *,
        accept: str | None = None,
        start: int | None = None,
        end: int | None = None,
        small: bool = False,
        deadline: Deadline | None = None,
    ) -> AsyncIterator[FileAnswer]:
        """A file's body, or bytes ``start`` (included) to ``end`` (excluded) of it, as an open stream.

        ``small``: it is core metadata, which waits behind no download, like short ranges. ``deadline``: of its beginning, as
        for :meth:`page`.

        Raises as :meth:`page`; a listed file that answers 404 is a bad answer, and so is another range than the one asked for.
        """
        headers = {"Accept": accept or "*/*", "Accept-Encoding": "identity"}
        if start is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            small = small or (end is not None and end - start <= _SMALL_BYTES)
        question = Question(url, QuestionKind.METADATA if small else QuestionKind.FILE, deadline or self._deadline())
        async with AsyncExitStack() as stack:
            # Until the body begins: whoever waits hears of it in time.
            open_once = partial(self._open_once, stack, question, headers, start, end)
            yield await self._ask_in_time(question, "begin to send a file", open_once)

    async def _open_once(
        self, stack: AsyncExitStack, question: Question, headers: Mapping[str, str], start: int | None, end: int | None
    ) -> FileAnswer:
        """An answer that is not a failure of the source; ``stack`` closes it."""
        async with AsyncExitStack() as opened:
            hop = await opened.enter_async_context(self._hops.follow(question, headers))
            await self._failures.check(hop)
            answer = await judge_type(check_file_answer(hop, self._failures, self._source, start, end), start)
            stack.push_async_exit(opened.pop_all())
        return answer

    async def _ask_in_time(
        self, question: Question, what: str, ask: Callable[[], Awaitable[T]], claim: ByteClaim | None = None
    ) -> T:
        """Ask up to three times before the deadline; ``what`` the source should do, for the sentence.

        ``claim``: of what the answer needs. A source that had to wait for it did not have the whole time.
        """
        self._health.check(question)
        patience_s = question.deadline.left_s()
        try:
            async with question.deadline.limit():
                answer = await self._ask_with_retries(question, ask)
        except TimeoutError:
            if claim is not None and claim.waited_s > _UNNOTICED_S:
                raise busy_with_pages(self._source) from None
            error = self._failures.late(question, f"{what} within {patience_s:.0f} s")
            self._health.record_failure(question, str(error))
            raise error from None
        except asyncio.CancelledError:  # whoever asked had less time than we
            self._health.record_failure(question, str(self._failures.late(question, f"{what} in time")))
            raise
        except UpstreamUnavailable as error:
            self._health.record_failure(question, str(error))
            raise
        except AddressRefused as error:
            if error.answer is not None:  # else perhaps nobody was asked
                self._health.record_answer(question)
            raise
        except (UpstreamBadAnswer, RefusedByRule):
            self._health.record_answer(question)
            raise
        self._health.record_answer(question)
        return answer

    async def _ask_with_retries(self, question: Question, ask: Callable[[], Awaitable[T]]) -> T:
        # Of several failing pages each is asked once: they would be three times the load on what has broken down.
        attempts = 1 if question.kind is QuestionKind.PAGE and len(self._failing) >= SEVERAL else _ATTEMPTS
        for attempt in range(1, attempts):
            try:
                return await ask()
            except UpstreamUnavailable as error:
                if error.retry_after_s is not None or isinstance(error, FailedBelow):
                    raise
            await asyncio.sleep(random.uniform(0.1, 0.3) * attempt)  # noqa: S311 - spreads retries, protects nothing
        return await ask()

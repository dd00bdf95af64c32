"""Failures of a source: refused credentials in plain words, the errors that callers get, the figures that operators watch."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp

from wheelgate.core.errors import (
    Busy,
    CredentialRefused,
    ErrorKind,
    FailedBelow,
    LoopDetected,
    NotSaved,
    RefusedByRule,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import display_host, parse, redact_url
from wheelgate.runtime.chain import CHAIN_HEADER, RefusedForChain, get_chain, read_chain
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.answers import Hop, PageAnswer, beginning_of, read_marks
from wheelgate.upstream.codings import read_media_type
from wheelgate.upstream.health import SILENCE_S, Health
from wheelgate.upstream.hop_failures import BUSY_S, HopFailures
from wheelgate.upstream.question import Fault, Question
from wheelgate.upstream.told_failures import ERROR_HEADER, ToldFailure, read_told, repeats_secret

_LOOK_BYTES = 16 * 1024
_LOOK_S = 2.0
_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
"""Errors of those who never got to ask: refused, not resolved, not trusted, not let through."""
SIGN_IN_REASON = "it sent its sign-in page: the credential has expired, or is wrong"
SIGN_IN = re.compile(r"/(_?signin|login|oauth2?|_signedin)(?=[/.]|$)", re.IGNORECASE)
READER_REASON = "the identity is only a Reader of the feed: what its upstreams have needs Feed and Upstream Reader (Collaborator)"
_NOT_SAVED = re.compile(rb"No local versions of package|not yet been saved to your feed", re.IGNORECASE)
"""Azure Artifacts says so of what it might save, with 401 or 404, to whoever may not have it do that."""
# What the services write into such answers. Only our own words leave here: an upstream may well repeat what it was sent.
_PHRASES = (
    (rb"Personal Access Token used has expired", "the PAT has expired: make a new one"),
    (
        rb"TF400813|is not authorized to access this resource",
        "not valid in that organisation: the PAT is mistyped, revoked or of another one, or the identity is no user of it",
    ),
    (rb"TF400733|has been canceled|exceeding usage", "throttled: too many requests by this identity"),
    (rb"You need to have '(AddPackage\w*|\w*Upstream\w*)'|provide authentication to save package from upstream", READER_REASON),
    (rb"You need to have 'ReadPackages'", "the identity may not read this feed: make it a Reader"),
    (rb"protected by organization SAML", "its organisation wants single sign-on: authorise the token for it (Configure SSO)"),
    (rb"has an IP allow list enabled", "its organisation lets only listed addresses in, and this server's is not among them"),
    (rb"not accessible by (?:personal access token|integration)", "the token lacks a permission (it needs Contents: read)"),
    (rb"vso\.packaging|required scope|Packaging \(read\)", "the token lacks the scope Packaging (Read)"),
    (rb"AuthenticationFailed|Signature not valid|Signed expiry", "the signature has expired or is wrong"),
    (rb"AuthorizationPermissionMismatch|AuthorizationFailure", "the identity lacks a role on that storage"),
)
_SECONDARY_LIMIT = re.compile(rb"exceeded a secondary rate limit|triggered an abuse detection", re.IGNORECASE)
"""GitHub says so with 403, often without a header that tells how long to wait."""
_SECONDARY_LIMIT_S = 60.0
_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_SIGN_IN_PAGE = re.compile(rb"Azure DevOps Services \| Sign In|<title>[^<]{0,80}sign.?in", re.IGNORECASE)
# A page of an index may be about a project called sign-in.
_NOT_A_PAGE = re.compile(rb"Azure DevOps Services \| Sign In|<title>(?![^<]*links for)[^<]{0,80}\bsign.?in\b", re.IGNORECASE)
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), words) for pattern, words in _PHRASES]


class ChainRefused(LoopDetected, RefusedForChain):
    """A source that refused the way on which this question came to us. Asked by others, or by ourselves, it may answer."""


class Failures(HopFailures):
    """The errors of one source, and the figures that its operators watch."""

    def __init__(
        self, source: str, *, clock: Clock, metrics: Metrics, health: Health, absent_status: Collection[int] = ()
    ) -> None:
        """``absent_status``: as for :class:`~wheelgate.upstream.client.SourceClient`."""
        super().__init__(f"source {source}", source=source, not_allowed="which is neither its own host nor among its file_hosts")
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._absent_status = absent_status

    def admit(self, question: Question, *, to_ask: bool) -> None:
        self._health.check_host(question, to_ask=to_ask)

    def note(self, question: Question, response: aiohttp.ClientResponse) -> None:
        question.is_heard = True
        failed = is_throttled(response) or (response.status >= 500 and ERROR_HEADER not in response.headers)
        self._health.record_heard(question, failed=failed)

    def blame(self, question: Question, error: Exception, failure: UpstreamError) -> None:
        if isinstance(failure, UpstreamUnavailable):  # else nobody was asked
            fault = Fault.SILENT if question.asked_for_s() >= SILENCE_S else Fault.BROKEN
            self._health.record_fault(question, Fault.UNREACHABLE if isinstance(error, _NO_CONNECTION) else fault, str(failure))

    def late(self, question: Question, what: str) -> UpstreamUnavailable:
        """The time is up; ``what`` it should have done, in how many seconds. It is to blame only if it had some of them."""
        if question.asked_for_s() < SILENCE_S:
            if question.fault is None:
                return Busy(
                    f"{self._subject} was not asked in time: this server was busy, or waited for a credential; try again",
                    source=self._source,
                    retry_after_s=BUSY_S,
                )
            return self.unavailable(f"did not {what}")
        error = self.unavailable(f"did not {what}")
        self._health.record_fault(question, Fault.BROKEN if question.is_heard else Fault.SILENT, str(error))
        return error

    async def check(self, hop: Hop) -> None:
        """Let an answer pass that is one.

        Raises:
            RefusedByRule, FailedBelow: as it says itself.
            CredentialRefused: it refuses our credential, or wants one.
            UpstreamUnavailable: it is busy or broken. If it says for how long, this is not asked for before.
        """
        question, response, status = hop.question, hop.response, hop.response.status
        # Azure DevOps and GitHub say how many requests an identity has left: operators want to see it shrink.
        remaining = response.headers.get("X-RateLimit-Remaining", "")
        if remaining.isascii() and remaining.isdecimal() and len(remaining) < 10:
            self._metrics.upstream_budget.labels(self._source).set(int(remaining))
        refused = is_refusal(response)
        words = b""
        if refused or ERROR_HEADER in response.headers:
            words = await read_words(response) if hop.said is None else hop.said
            if (told := read_told(response, words)) is not None:
                raise await self._retell(hop, told)
        if refused:
            said = announced_by(response) + words
            if status == 403 and _SECONDARY_LIMIT.search(said):
                rest_s = self._health.pause(question, _SECONDARY_LIMIT_S, whole=True)
                raise self.unavailable("wants fewer requests at a time (its secondary rate limit)", retry_after_s=rest_s)
            if (not_saved := find_not_saved(said, self._source)) is not None:
                raise not_saved
            explained = hop.credential and hop.credential.explain_refusal(read_code(response, said), self._clock.now())
            credential_refused = self.credential_refused(hop, explained or find_reason(response, said))
            # To whoever signs in, 403 may also say that the identity may not see the project, unless the operator knows better.
            if status in self._absent_status or (status == 403 and hop.credential is None and hop.sender is None):
                kind = read_media_type(response)
                credential_refused.answer = PageAnswer(status, hop.url, kind, body=said, marks=read_marks(response))
            raise credential_refused
        if status == 508 and CHAIN_HEADER in response.headers:
            raise self._looped(read_chain(response.headers[CHAIN_HEADER]))
        if is_throttled(response) or status >= 500:
            asked_s = read_wait_s(response, self._clock.now())
            paused = None if asked_s is None else self._health.pause(question, asked_s, whole=is_used_up(response))
            error = self.unavailable(f"answered {status}{read_activity(response)}", retry_after_s=paused)
            slow = status >= 500 and question.asked_for_s() >= SILENCE_S  # a gateway that waited for what says nothing
            self._health.record_fault(question, Fault.SILENT if slow else Fault.BROKEN, str(error))
            raise error

    async def _retell(self, hop: Hop, told: ToldFailure) -> UpstreamError:
        """It says itself why it fails. What others hear of that names this source, and repeats nothing that it was asked with."""
        sentence = f"{self._subject}: {told.sentence}"
        if hop.credential is not None:
            url = await hop.credential.sign_url(hop.url)
            if repeats_secret(told.sentence, await hop.credential.headers(), url):
                sentence = f"{self._subject} answered {hop.response.status}, and repeats the credential that it was asked with"
        if told.kind is ErrorKind.WITHHELD:
            return RefusedByRule(sentence, source=self._source)
        if told.kind is ErrorKind.BAD_ANSWER:
            return FailedBelow(sentence, source=self._source)
        wait_s = read_wait_s(hop.response, self._clock.now())
        # Not asked again for this answer, which took it long enough. But no pause: it says so of what it asked itself.
        error = UpstreamUnavailable(sentence, source=self._source, retry_after_s=wait_s or BUSY_S)
        self._health.record_fault(hop.question, Fault.BROKEN, sentence)
        return error

    def _looped(self, chain: str) -> LoopDetected:
        """It is this server, or asks it in turn."""
        way = f" ({' > '.join(chain.split(','))})" if chain else ""
        loop = ChainRefused if get_chain() else LoopDetected
        return loop(
            f"{self._subject} leads back to this server{way}: give it the url of an index that does not ask this one, or `only` "
            "for names that the other does not ask for here",
            source=self._source,
            chain=chain,
        )

    def credential_refused(self, hop: Hop, reason: str) -> CredentialRefused:
        """The answer refused our credential, or wants one that it did not get."""
        url, status, activity = parse(hop.url, empty_segments=True), hop.response.status, read_activity(hop.response)
        host = display_host(url)
        if hop.credential is not None:
            self._metrics.connection_refused.labels(hop.credential.connection, url.host or "").inc()
            sentence = f"connection {hop.credential.connection} was refused by {host}: {reason}{activity}"
        elif hop.sender is not None and hop.sender.credential is not None and status == 403 and "?" in hop.url:
            sender = display_host(parse(hop.sender.url, empty_segments=True))
            sentence = (
                f"source {self._source}: {host} refused the signed URL that {sender} redirected to "
                f"(403){activity}: the URL has expired, or that host keeps this machine's network out; no connection is "
                f"missing, and {hop.sender.credential.connection} was accepted"
            )
        else:
            how = f"{status} with a sign-in page" if status < 400 else str(status)
            sentence = (
                f"source {self._source} wants a credential at {host} (it answered {how}){activity}: no connection is stored for "
                f"{redact_url(hop.url)}"
            )
        return CredentialRefused(sentence, source=self._source)


def find_not_saved(said: bytes | bytearray, source: str) -> NotSaved | None:
    """Find out if a feed says that it has saved nothing of what it was asked for; ``None``: it says something else."""
    if _NOT_SAVED.search(said) is None:
        return None
    return NotSaved(f"source {source} has saved no version of it, and {READER_REASON}", source=source)


def is_refusal(response: aiohttp.ClientResponse) -> bool:
    """True if an answer says that a credential is missing, wrong or not enough.

    Azure DevOps answers an expired PAT with 203 and a sign-in page, or with a redirect to one.
    """
    if response.status in (401, 403, 203):
        return not is_throttled(response)
    if response.status not in (301, 302, 303, 307, 308):
        return False
    at, to = response.url.raw_path, response.headers.get("Location", "").partition("?")[0]
    # Projects may be called login or oauth2: only a word that was not asked for says anything.
    return bool(SIGN_IN.search(to)) and not SIGN_IN.search(at)


def is_throttled(response: aiohttp.ClientResponse) -> bool:
    """True if it asks us to come back later. GitHub says so with 403, too."""
    if response.status == 403:
        return response.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in response.headers
    return response.status in (408, 425, 429)


def is_used_up(response: aiohttp.ClientResponse) -> bool:
    """True if it says that this identity may ask the host for nothing more, for now: Azure DevOps and GitHub do."""
    return is_throttled(response) and response.headers.get("X-RateLimit-Remaining") == "0"


def read_wait_s(response: aiohttp.ClientResponse, now: datetime) -> float | None:
    """Read how many seconds it asks us to wait, also where it names a moment; ``None``: nothing that can be read.

    ``Retry-After`` (RFC 9110, 10.2.3) or, where a budget is used up, the moment it is filled again.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 7:
        return float(text)
    reset = response.headers.get("X-RateLimit-Reset", "")
    if not text and response.headers.get("X-RateLimit-Remaining") == "0" and reset.isascii() and reset.isdecimal():
        return float(reset[:12]) - now.timestamp()
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else (moment - now).total_seconds()


def is_sign_in_page(body: bytes | bytearray) -> bool:
    """True if the body of a 200 is a sign-in page, which has no file on it and would pass for an empty index."""
    return _NOT_A_PAGE.search(body, 0, _LOOK_BYTES) is not None


def find_reason(response: aiohttp.ClientResponse, text: bytes) -> str:
    """Find the reason why an answer refuses, as far as its beginning says; never its own words."""
    for pattern, words in _PATTERNS:
        if pattern.search(text):
            return words
    if response.status == 203 or response.status < 400 or _SIGN_IN_PAGE.search(text):
        return SIGN_IN_REASON
    if response.status == 403:
        return "the credential is wrong or has no right here (403)"  # pypiserver says so of a wrong password, too
    return "the credential is wrong, has expired, or is one of another organisation (401)"


def read_code(response: aiohttp.ClientResponse, text: bytes) -> str:
    """Read the code that Azure Storage gives of an error; empty without one."""
    found = _CODE.search(text)
    return response.headers.get("x-ms-error-code") or (found[1].decode() if found is not None else "")


def read_activity(response: aiohttp.ClientResponse) -> str:
    """The service's own number of a request, which its support asks for, for the end of a sentence; empty without one."""
    found = response.headers.get("X-VSS-E2EID") or response.headers.get("ActivityId") or response.headers.get("x-ms-request-id")
    return f" (activity {found})" if found and re.fullmatch(r"[0-9A-Fa-f-]{8,64}", found) else ""


async def read_beginning(hop: Hop) -> bytes:
    """Read the beginning of an answer that carries no page: its reason phrase and some of its body, never for show."""
    return announced_by(hop.response) + (await read_words(hop.response) if hop.said is None else hop.said)


async def read_words(response: aiohttp.ClientResponse) -> bytes:
    """Read some of an answer's body; a small one to its end, so that the connection can be used again."""
    return await beginning_of(response, _LOOK_BYTES, _LOOK_S)


def announced_by(response: aiohttp.ClientResponse) -> bytes:
    """Read what the head of an answer says in words, a line each."""
    announced = f"{(response.reason or '')[:1_000]}\n{response.headers.get('X-TFS-ServiceError', '')[:2_000]}\n"
    return announced.replace("%20", " ").replace("+", " ").encode("utf-8", "replace")

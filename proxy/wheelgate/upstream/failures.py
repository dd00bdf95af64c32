"""Failures of a source: the errors that its callers get, and the figures that its operators watch."""

from __future__ import annotations

import aiohttp
from yarl import URL

from wheelgate.core.errors import AddressRefused, CredentialRefused, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import display_host, parse, redact_url
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.addresses import ForbiddenAddress
from wheelgate.upstream.answers import Hop, cause_of
from wheelgate.upstream.auth_errors import find_reason, is_refusal, is_throttled, read_activity, read_wait_s
from wheelgate.upstream.health import Health


class HopFailures:
    """The errors on the way from hop to hop, for raising: sentences that begin with whoever was to be asked."""

    def __init__(self, subject: str, *, source: str = "", not_allowed: str) -> None:
        """``not_allowed``: how the sentence about a host that the rules refuse ends."""
        self._subject = subject
        self._source = source
        self._not_allowed = not_allowed

    def unavailable(self, what: str, *, retry_after_s: float | None = None) -> UpstreamUnavailable:
        """It may answer later."""
        return UpstreamUnavailable(f"{self._subject} {what}", source=self._source, retry_after_s=retry_after_s)

    def bad(self, what: str) -> UpstreamBadAnswer:
        """It answered, but not what was asked."""
        return UpstreamBadAnswer(f"{self._subject} {what}", source=self._source)

    def forbidden(self, target: URL, why: str | None = None) -> AddressRefused:
        """It leads where nobody may be asked on its behalf."""
        return self.refused_link(f" points to {display_host(target)}, {why or self._not_allowed}")

    def refused_link(self, what: str) -> AddressRefused:
        """It leads to what is not asked; ``what`` follows the subject at once."""
        return AddressRefused(f"{self._subject}{what}", source=self._source)

    def unreachable(self, target: URL, error: Exception) -> UpstreamError:
        """There was no answer at all."""
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, ForbiddenAddress):
            return self.forbidden(target, f"and {cause}")
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self.unavailable(f"cannot be reached: the outbound proxy answered {error.status}")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return self.unavailable(f"cannot be reached: the outbound proxy does not answer ({cause_of(error)})")
        if isinstance(error, aiohttp.ClientSSLError):
            return self.unavailable(f"has no trustworthy certificate for {display_host(target)} ({cause_of(error)})")
        if isinstance(error, aiohttp.ClientResponseError):
            return self.unavailable("answered with something that is not HTTP")
        return self.unavailable(f"cannot be reached at {redact_url(target.origin())} ({cause_of(error)})")

    async def check(self, hop: Hop) -> None:
        """Let an answer pass that refuses nothing, and raise for any other."""
        raise NotImplementedError


class Failures(HopFailures):
    """The errors of one source, and the figures that its operators watch."""

    def __init__(self, source: str, *, clock: Clock, metrics: Metrics, health: Health) -> None:
        super().__init__(f"source {source}", source=source, not_allowed="which is neither its own host nor among its file_hosts")
        self._clock = clock
        self._metrics = metrics
        self._health = health

    async def check(self, hop: Hop) -> None:
        """Let an answer pass that is one.

        Raises:
            CredentialRefused: it refuses our credential, or wants one.
            UpstreamUnavailable: it is busy or broken. If it says for how long, the source is not asked before.
        """
        response, status = hop.response, hop.response.status
        self._note_budget(response)
        if is_refusal(response):
            raise self.credential_refused(hop, await find_reason(response))
        if is_throttled(response) or status >= 500:
            asked_s = read_wait_s(response, self._clock.now())
            paused = None if asked_s is None else self._health.pause(asked_s)
            self._metrics.upstream_paused.labels(self._source).set(paused or 0)
            raise self.unavailable(f"answered {status}{read_activity(response)}", retry_after_s=paused)

    def credential_refused(self, hop: Hop, reason: str) -> CredentialRefused:
        """The answer refused our credential, or wants one that it did not get."""
        url, status, activity = parse(hop.url), hop.response.status, read_activity(hop.response)
        host = display_host(url)
        if hop.credential is not None:
            self._metrics.connection_refused.labels(hop.credential.connection, url.host or "").inc()
            sentence = f"connection {hop.credential.connection} was refused by {host}: {reason}{activity}"
        elif hop.sender is not None and hop.sender.credential is not None and status == 403 and "?" in hop.url:
            sentence = (
                f"source {self._source}: {host} refused the signed URL that {display_host(parse(hop.sender.url))} redirected to "
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

    def _note_budget(self, response: aiohttp.ClientResponse) -> None:
        """Azure DevOps and GitHub say how many requests an identity has left: operators want to see it shrink."""
        remaining = response.headers.get("X-RateLimit-Remaining", "")
        if remaining.isascii() and remaining.isdecimal() and len(remaining) < 10:
            self._metrics.upstream_budget.labels(self._source).set(int(remaining))

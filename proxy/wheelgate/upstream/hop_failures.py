"""Failures on the way from hop to hop, of a source or of a download: the errors that callers get."""

from __future__ import annotations

import aiohttp
from yarl import URL

from wheelgate.core.errors import AddressRefused, Busy, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.urls import describe_place, display_host, redact_url
from wheelgate.upstream.addresses import ForbiddenAddress
from wheelgate.upstream.answers import Hop, PageAnswer, cause_of, read_marks
from wheelgate.upstream.codings import read_media_type
from wheelgate.upstream.question import Question

BUSY_S = 2.0
SWITCH_OFF = (
    "switch that off there (pypiserver: --disable-fallback; GitLab: Forward PyPI package requests, in the settings of the group "
    "or the instance), or name the projects that it does have by `only`"
)
"""Completes a sentence about an index that redirects names that it does not have."""


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

    def forbidden(self, target: URL, why: str | None = None, *, redirected: bool = False) -> AddressRefused:
        """It leads where nobody may be asked on its behalf. ``why``: the cause, if it is known; it ends the sentence."""
        verb = "redirects" if redirected else "points"
        return self.refused_link(f" {verb} to {describe_place(target)}, {why or self._not_allowed}")

    def led_away(self, hop: Hop, target: URL, neighbour: str | None, cause: str | None) -> AddressRefused:
        """A page is redirected away from the source.

        ``neighbour``: the source that the target belongs to; ``None``: to none. ``cause``: why, if that is known.
        """
        host = display_host(target)
        if neighbour is not None:
            why = f"{host}, where source {neighbour} is, and nothing shows that it does so with each name that it does not have"
        elif cause is not None:
            why = f"{describe_place(target)}, {cause}"
        else:
            why = f"{host}; its pages are at its own origin alone: if it does so with names that it does not have, {SWITCH_OFF}"
        error = AddressRefused(f"{self._subject} redirects this page to {why}", source=self._source)
        error.answer = PageAnswer(
            hop.response.status,
            hop.url,
            read_media_type(hop.response),
            marks=read_marks(hop.response),
            leads_to=str(target),
        )
        return error

    def refused_link(self, what: str) -> AddressRefused:
        """It leads to what is not asked; ``what`` follows the subject at once."""
        return AddressRefused(f"{self._subject}{what}", source=self._source)

    def busy(self, waiting: int) -> Busy:
        """It was not asked, since it was nobody's turn to; ``waiting``: requests that wait for a connection."""
        return Busy(
            f"{self._subject} was not asked: this server is busy here, and {waiting} requests wait for a connection to it; "
            "nothing is known to be wrong there",
            source=self._source,
            retry_after_s=BUSY_S,
        )

    def admit(self, question: Question, *, to_ask: bool) -> None:
        """Let a question go to its host, or raise :class:`UpstreamUnavailable`. ``to_ask``: it is asked at once, if it may be."""

    def note(self, question: Question, response: aiohttp.ClientResponse) -> None:
        """The host answered, whatever it says."""

    def blame(self, question: Question, error: Exception, failure: UpstreamError) -> None:
        """There was no answer at all. ``error``: the HTTP client's; ``failure``: what callers get."""

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

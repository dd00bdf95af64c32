"""Trial of a signed URL, as a client would use it: without any credential, and without a word of its signature."""

from __future__ import annotations

import re

from yarl import URL

from wheelgate.core.errors import UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.urls import HostRules, display_host, parse, redact_url
from wheelgate.runtime.deadline import Deadline
from wheelgate.upstream.answers import Hop
from wheelgate.upstream.hop_failures import HopFailures
from wheelgate.upstream.hops import Hops
from wheelgate.upstream.question import Question, QuestionKind

_PATIENCE_S = 10.0
_CODE = re.compile(r"[A-Za-z]{1,60}", re.ASCII)


async def try_signed_url(url: str, *, ca_file: str | None = None) -> None:
    """Read the first byte behind a signed URL.

    Raises:
        UpstreamUnavailable: its host cannot be reached.
        UpstreamBadAnswer: its host refuses it.
    """
    target = parse(url)
    failures = _SignedFailures(target)
    hops = Hops(
        rules=HostRules(target),
        credentials=failures,
        failures=failures,
        headers={"Accept": "*/*", "Accept-Encoding": "identity", "Range": "bytes=0-0"},
        ca_file=ca_file,
        outbound_proxy=None,
        is_final=lambda _: True,
    )
    question = Question(url, QuestionKind.METADATA, Deadline.after(_PATIENCE_S))
    try:
        async with question.deadline.limit(), hops.follow(question, {}) as hop:
            await failures.check(hop)
    except TimeoutError:
        raise UpstreamUnavailable(f"{redact_url(target)} did not answer within {_PATIENCE_S:.0f} s") from None
    finally:
        await hops.close()


class _SignedFailures(HopFailures):
    """The way to whoever is to take the signature."""

    def __init__(self, target: URL) -> None:
        super().__init__(redact_url(target), not_allowed="which the signature is not for")
        self._host = display_host(target)

    def for_url(self, url: str) -> None:
        """No credential is sent beside the signature."""

    async def check(self, hop: Hop) -> None:
        response = hop.response
        if response.status not in (200, 206):
            code = response.headers.get("x-ms-error-code", "")
            why = f", {code}" if _CODE.fullmatch(code) else ""
            raise UpstreamBadAnswer(f"{self._host} refuses it ({response.status}{why})")

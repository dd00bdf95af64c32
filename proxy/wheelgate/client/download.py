"""Download of one file from a URL that a person gave to a command: bounded, and without any credential."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
from yarl import URL

from wheelgate.config.signature_limits import explain_refusal
from wheelgate.core.beginnings import can_begin, is_web_page
from wheelgate.core.errors import (
    CredentialRefused,
    TooLarge,
    UploadRefused,
    UpstreamUnavailable,
)
from wheelgate.core.names import project_in
from wheelgate.core.urls import HostRules, UnsafeUrl, is_loopback_host, parse, redact_url
from wheelgate.runtime.deadline import Deadline
from wheelgate.upstream.answers import Hop, cause_of, first_bytes
from wheelgate.upstream.hop_failures import HopFailures
from wheelgate.upstream.hops import Hops
from wheelgate.upstream.question import Question, QuestionKind

_CHUNK_BYTES = 256 * 1024
_PATIENCE_S = 60.0
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)
_OTHER_DIGESTS = frozenset({"md5", "sha1", "sha224", "sha384", "sha512"})


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is on its way: its name is known, its body is still to be read."""

    filename: str
    """Of a wheel or sdist."""
    size: int | None
    """Bytes, if the server says."""
    place: str
    """The URL, for sentences."""
    sha256: str | None
    """As the URL states it."""
    max_bytes: int
    response: aiohttp.ClientResponse
    beginning: bytes
    """Of the body: what was looked at already."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, in pieces of at most 256 KiB; or :class:`TooLarge`, or :class:`UpstreamUnavailable` if it breaks off."""
        received = len(self.beginning)
        if self.beginning:
            yield self.beginning
        try:
            async for chunk in self.response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                if received > self.max_bytes:
                    raise TooLarge(f"{self.place} is larger than the {self.max_bytes} bytes that one file may have")
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"{self.place} broke off in the middle: {cause_of(error)}") from None

    def verify(self, sha256: str) -> None:
        """Compare the digest of the whole body with the one that the URL states, if any; or :class:`UploadRefused`."""
        if self.sha256 is not None and self.sha256 != sha256:
            raise UploadRefused(f"{self.place} has sha256 {sha256}, not the {self.sha256} that its URL states")


@asynccontextmanager
async def download(
    url: str, *, max_bytes: int, user_agent: str, ca_file: str | None = None, outbound_proxy: str | None = None
) -> AsyncIterator[Download]:
    """Open the file behind an https URL (http from this machine only). A ``#sha256=`` behind it is what its body must have.

    Inner addresses are reached only on the host that the URL itself names, never through a redirect.

    Raises:
        UploadRefused: the URL cannot be used, or nothing says the name of a wheel or sdist.
        UpstreamUnavailable: it cannot be reached, or the server fails.
        CredentialRefused, UpstreamBadAnswer, AddressRefused: there is no file to get there.
        TooLarge: it announces more than ``max_bytes``.
    """
    try:
        target = parse(url)
    except UnsafeUrl as error:
        raise UploadRefused(f"the URL cannot be used: {error}") from None
    rules = _HttpsRules(target)
    if not rules.allows(target):
        raise UploadRefused(f"{redact_url(target)} would be readable by everybody on the way: use an https URL")
    sha256 = _read_digest(target)
    failures = _DownloadFailures(redact_url(target), max_bytes)
    hops = Hops(
        rules=rules,
        credentials=failures,
        failures=failures,
        headers={"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
        ca_file=ca_file,
        outbound_proxy=outbound_proxy,
        is_final=lambda _: False,
    )
    try:
        question = Question(str(target.with_fragment(None)), QuestionKind.FILE, Deadline.after(_PATIENCE_S))
        async with hops.follow(question, {}) as hop:
            await failures.check(hop)
            filename = _find_filename(target, hop.response)
            yield Download(
                beginning=await failures.look_into(hop.response, filename, stated=sha256 is not None),
                filename=filename,
                size=hop.response.content_length,
                place=redact_url(target),
                sha256=sha256,
                max_bytes=max_bytes,
                response=hop.response,
            )
    finally:
        await hops.close()


class _HttpsRules(HostRules):
    """Any host by https, whatever redirects to it; by http this machine alone, and only if the given URL is http itself."""

    def allows(self, url: URL) -> bool:
        """True if nobody on the way reads along."""
        return url.scheme == "https" or (url.scheme in self._schemes and is_loopback_host(url.host or ""))

    def find_cause(self, url: URL) -> None:
        """None: there is one rule, which the sentence says."""


class _DownloadFailures(HopFailures):
    """The way from a given URL to whoever has the bytes: as nobody, with sentences about that URL."""

    def __init__(self, place: str, max_bytes: int) -> None:
        super().__init__(place, not_allowed="which is not https, and so not followed")
        self._max_bytes = max_bytes

    def for_url(self, url: str) -> None:
        """No credential is sent to anybody."""

    async def check(self, hop: Hop) -> None:
        status, length = hop.response.status, hop.response.content_length
        if status in (404, 410):
            raise UploadRefused(f"{self._subject}: there is no such file ({status})")
        if status in (401, 403) and "x-ms-error-code" in hop.response.headers and "sig=" in hop.url:
            raise CredentialRefused(f"{self._subject} answered {status}: {_explain_signature(hop)}")
        if status in (401, 403, 203):
            raise CredentialRefused(
                f"{self._subject} answered {status}: it wants a credential, and none is sent; download it yourself"
            )
        if status >= 500 or status in (408, 425, 429):
            raise self.unavailable(f"answered {status}: try again later")
        if status != 200:
            raise self.bad(f"answered {status}, which is no file")
        if length is not None and length > self._max_bytes:
            raise TooLarge(f"{self._subject} has {length} bytes, more than the {self._max_bytes} that one file may have")

    async def look_into(self, response: aiohttp.ClientResponse, filename: str, *, stated: bool) -> bytes:
        """Read the beginning of a body whose headers call it something else. ``stated``: its digest will tell."""
        is_page = response.content_type == "text/html"
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if not is_page and coding in ("", "identity"):
            return b""
        beginning = await first_bytes(response, self._subject)
        is_file = stated or can_begin(filename, beginning, coding=coding)
        if is_page and (is_web_page(beginning) or not is_file):
            raise self.bad("is a web page, not a file: give the URL that its download link leads to")
        if not is_file:
            raise self.bad("was sent in an encoding that was not asked for")
        return beginning


def _explain_signature(hop: Hop) -> str:
    """Explain why a signed URL is refused, by the clock of whoever refused it."""
    headers = hop.response.headers
    try:
        now = parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        now = datetime.min.replace(tzinfo=UTC)
    query, code = hop.url.partition("?")[2], headers.get("x-ms-error-code")
    return f"the signature in its URL {explain_refusal(query, now, code, ('r',), is_of_blob=True)}"


def _read_digest(url: URL) -> str | None:
    stated = dict(part.partition("=")[::2] for part in url.raw_fragment.split("&"))
    if other := _OTHER_DIGESTS & stated.keys():
        raise UploadRefused(f"{redact_url(url)}: only #sha256= is compared, not {min(other)}")
    sha256 = stated.get("sha256")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise UploadRefused(f"{redact_url(url)}: #sha256= is not followed by 64 hexadecimal digits")
    return None if sha256 is None else sha256.lower()


def _find_filename(url: URL, response: aiohttp.ClientResponse) -> str:
    """Find the name in the URL; where that is no distribution's name (``/download?id=7``), as the server says."""
    said = response.content_disposition.filename if response.content_disposition is not None else None
    for name in (url.name, said):
        if name and project_in(name) is not None:
            return name
    raise UploadRefused(f"{redact_url(url)} does not end with the name of a wheel or sdist (acme_tool-1.0-py3-none-any.whl)")

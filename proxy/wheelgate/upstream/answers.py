"""Answers of upstreams: hops as they begin; pages whole, inflated and bounded; files as open streams; why there was none."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import msgspec

from wheelgate.core.beginnings import BEGINNING_BYTES
from wheelgate.core.errors import Busy, PageTooLarge, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.protocols import Credential
from wheelgate.runtime.bounded_gzip import BadGzip, GzipTooLarge
from wheelgate.runtime.byte_budget import BudgetExhausted, ByteClaim
from wheelgate.upstream.codings import MAX_PAGE_BYTES, PageInflater, UnreadableCoding, list_codings
from wheelgate.upstream.question import Question

PAGE_FACTOR = 3
"""Bytes of memory for each of a page's body until it is packed: itself, and its files as values."""
_CHUNK_BYTES = 256 * 1024
_BUSY_S = 2.0
_WHO = ("Server", "X-Powered-By", "X-AspNet-Version", "X-Jfrog-Version", "X-Wheelgate-Error")
_VERSIONS = re.compile(r"\([^()]*\)?|/[^\s()]*|(?<!\S)v?\d\S*")
_NUMBERED = (
    *("X-VSS-E2EID", "X-TFS-ProcessId", "ActivityId", "x-ms-request-id", "x-amz-request-id", "X-GitHub-Request-Id"),
    *("X-Artifactory-Id", "X-Azure-Ref", "CF-RAY", "X-Gitlab-Meta"),
)


class Hop(msgspec.Struct, frozen=True):
    """One answer as it begins, and what it was asked with."""

    question: Question
    url: str
    """Without what the credential added."""
    response: aiohttp.ClientResponse
    credential: Credential | None
    sender: Hop | None
    """The last hop before it that was asked with a credential, and whose redirect led here."""
    said: bytes | None = None
    """The beginning of its body, where that was read already."""


class PageAnswer(msgspec.Struct, frozen=True):
    """A whole answer to a page request: 200 with a body, 304, or 404; or any answer to a control question, as it begins.

    Of an error that carries one: 403, or a redirect away from the source.
    """

    status: int
    url: str
    """Where it came from after redirects: links are relative to this. Without what a credential added to it."""
    content_type: str = ""
    charset: str = "utf-8"
    etag: str | None = None
    body: bytes | bytearray = b""
    """Of a 404: the beginning of what it says; nothing of what a Wheelgate says, whose headers tell."""
    marks: tuple[str, ...] = ()
    """Of a 404: headers that tell who answers, such as the name of a server or of a service; the same in each of its answers."""
    digest: bytes = b""
    """Of the inflated body: equal ones are of equal pages, however they were compressed."""
    claim: ByteClaim | None = None
    """Of the memory that the body takes and what is made of it: to be held for as long as that is."""
    leads_to: str = ""
    """The URL that a redirect away from the source leads to; nobody was asked there."""


class FileAnswer(msgspec.Struct, frozen=True):
    """A file's answer, open: its body is still to be read."""

    status: int
    """200, or 206 where a range was asked and given."""
    url: str
    """Where it came from after redirects, without what a credential added to it. If signed, it is a secret for a while."""
    total: int | None
    """Bytes of the whole file, if the upstream says."""
    response: aiohttp.ClientResponse
    source: str
    beginning: bytes = b""
    """Of the body: what was looked at already."""
    coding: str = ""
    """Said to have been applied to the body, though none was asked for (``gzip``); the bytes are taken as they came."""
    doubt: UpstreamBadAnswer | None = None
    """Why the bytes may not be the file: to be raised unless a digest or a size, or they themselves, say that they are."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, in pieces of at most 256 KiB; :class:`UpstreamUnavailable` if it breaks off or stalls before its end."""
        if self.beginning:
            yield self.beginning
        try:
            async for chunk in self.response.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(
                f"source {self.source} broke off in the middle of a file ({cause_of(error)})", source=self.source
            ) from None


async def first_bytes(response: aiohttp.ClientResponse, subject: str, source: str = "") -> bytes:
    """Read the first bytes of a file as they come; :class:`UpstreamUnavailable`, about the ``subject``, if it breaks off."""
    body = b""
    try:
        while len(body) < BEGINNING_BYTES and (piece := await response.content.read(BEGINNING_BYTES - len(body))):
            body += piece
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UpstreamUnavailable(f"{subject} broke off at the beginning of a file ({cause_of(error)})", source=source) from None
    return body


def read_marks(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    """Read the headers by which an answerer is known again: of some the products that they name, of others only their own name.

    Without versions and comments: while a cluster is upgraded, its servers differ in those.
    """
    headers = response.headers
    named = (f"{name}: {' '.join(_VERSIONS.sub(' ', headers[name][:200]).split())}" for name in _WHO if name in headers)
    return (*named, *(name for name in _NUMBERED if name in headers))


async def beginning_of(response: aiohttp.ClientResponse, max_bytes: int, within_s: float) -> bytes:
    """Read the beginning of a body, inflated, as far as it comes in time and can be read."""
    body = b""
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with asyncio.timeout(within_s):
            while len(body) < max_bytes and (piece := await response.content.read(max_bytes - len(body))):
                body += piece
    with suppress(BadGzip, UnreadableCoding):
        return next(PageInflater(list_codings(response)).feed(body), b"")[:max_bytes]
    return b""


async def page_body(response: aiohttp.ClientResponse, source: str, claim: ByteClaim) -> tuple[bytes | bytearray, bytes]:
    """Read a page's body and its digest: inflated, never more than the limits and never cut short.

    ``claim`` grows with it, and the upstream waits while there is no room.

    Raises:
        UpstreamUnavailable: it broke off.
        PageTooLarge: it is larger than any index page.
        UpstreamBadAnswer: in an encoding that was not asked for or is broken.
        Busy: there was no room for it in time.
    """
    inflater = _choose_inflater(response, source)
    digest = hashlib.sha256()
    body = bytearray()  # grows in place: joining pieces at the end would copy sixty megabytes in one go
    received = 0
    try:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            received += len(chunk)  # bounded too: empty blocks inflate to no byte at all, for ever
            if received > MAX_PAGE_BYTES:
                raise PageTooLarge(f"source {source} sent a page larger than any index page is", source=source)
            for part in inflater.feed(chunk):
                await claim_memory(claim, PAGE_FACTOR * (len(body) + len(part)), source)
                body += part
                digest.update(part)
                await asyncio.sleep(0)
            if inflater.has_more:
                raise _bad(source, "sent a compressed page with more behind its end")
    except GzipTooLarge as error:
        raise PageTooLarge(f"source {source} sent a compressed page that {error}", source=source) from None
    except BadGzip as error:
        raise _bad(source, f"sent a compressed page that {error}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UpstreamUnavailable(
            f"source {source} broke off in the middle of a page ({cause_of(error)})", source=source
        ) from None
    if not _is_whole(response, inflater, body):
        raise UpstreamUnavailable(f"source {source} broke off in the middle of a page", source=source)
    return body, digest.digest()


def _choose_inflater(response: aiohttp.ClientResponse, source: str) -> PageInflater:
    try:
        return PageInflater(list_codings(response))
    except UnreadableCoding as error:
        raise _bad(source, f"sent a page in an encoding that was not asked for and is not read here ({str(error)!r})") from None


async def claim_memory(claim: ByteClaim, to_bytes: int, source: str) -> None:
    """ByteClaim so many bytes in all for a page, waiting for room; :class:`Busy` if there is none in time."""
    try:
        await claim.grow(to_bytes)
    except BudgetExhausted:
        raise busy_with_pages(source) from None


def busy_with_pages(source: str) -> Busy:
    """Build the error about a page for which there is no room beside the others."""
    sentence = f"too many large pages are being read to read another of source {source} now: try again"
    return Busy(sentence, source=source, retry_after_s=_BUSY_S)


def _bad(source: str, what: str) -> UpstreamBadAnswer:
    return UpstreamBadAnswer(f"source {source} {what}", source=source)


def _is_whole(response: aiohttp.ClientResponse, inflater: PageInflater, body: bytearray) -> bool:
    """True if a body ends where it should. Where only the closed connection says so, HTTP itself cannot tell."""
    if inflater.is_coded:
        return inflater.is_whole
    if "Content-Length" in response.headers or "Transfer-Encoding" in response.headers:
        return True
    return body[-1_000:].rstrip().lower().endswith((b"</html>", b"</body>", b"}"))


def cause_of(error: BaseException) -> str:
    """The reason behind an error of the HTTP client, for a sentence: no class names, no tuples, no URLs."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", "") or "its certificate is not to be trusted")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _system_reason(error.os_error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body was cut short"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed"
    if isinstance(error, OSError):
        return _system_reason(error)
    return "it answered with something that is not HTTP"


def _system_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS there" if error.reason == "WRONG_VERSION_NUMBER" else (error.reason or "TLS failed").lower()
    if error.errno:
        return os.strerror(error.errno).lower()  # asyncio's own text for it is a Python tuple
    return "no connection"

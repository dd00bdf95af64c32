"""One file from a URL that a person gave to a command: bounded, without any credential, redirects followed by hand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from wheelgate.core.errors import (
    AddressRefused,
    CredentialRefused,
    TooLarge,
    UploadRefused,
    UpstreamBadAnswer,
    UpstreamUnavailable,
)
from wheelgate.core.names import project_in
from wheelgate.core.urls import HostRules, UnsafeUrl, is_loopback, parse, read, redact_url
from wheelgate.upstream.addresses import ForbiddenAddress
from wheelgate.upstream.error_text import cause_of
from wheelgate.upstream.sessions import FILE_TIMES, Sessions

_MAX_HOPS = 5
_CHUNK_BYTES = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)
_OTHER_DIGESTS = frozenset({"md5", "sha1", "sha224", "sha384", "sha512"})


class Download:
    """A file that is on its way: its name is known, its body is still to be read."""

    def __init__(
        self, *, filename: str, place: str, sha256: str | None, max_bytes: int, response: aiohttp.ClientResponse
    ) -> None:
        self.filename = filename
        """Of a wheel or sdist."""
        self.size = response.content_length
        """Bytes, if the server says."""
        self._place = place
        self._sha256 = sha256
        self._max_bytes = max_bytes
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, in pieces of at most 256 KiB.

        Raises:
            TooLarge: it goes on beyond the limit.
            UpstreamUnavailable: it broke off or stalled.
        """
        received = 0
        try:
            async for chunk in self._response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                if received > self._max_bytes:
                    raise TooLarge(f"{self._place} is larger than the {self._max_bytes} bytes that one file may have")
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"{self._place} broke off in the middle: {cause_of(error)}") from None

    def verify(self, sha256: str) -> None:
        """Compare the digest of the whole body with the one that the URL states, if it states one.

        Raises:
            UploadRefused: they differ.
        """
        if self._sha256 is not None and self._sha256 != sha256:
            raise UploadRefused(f"{self._place} has sha256 {sha256}, not the {self._sha256} that its URL states")


@asynccontextmanager
async def download(
    url: str, *, max_bytes: int, user_agent: str, ca_file: str | None = None, outbound_proxy: str | None = None
) -> AsyncIterator[Download]:
    """Open the file behind an https URL (http from this machine only). A ``#sha256=`` behind it is what its body must have.

    Inner addresses are reached only on the host that the URL itself names, never through a redirect.

    Raises:
        UploadRefused: the URL cannot be used, or nothing says the name of a wheel or sdist.
        UpstreamUnavailable: it cannot be reached, or the server fails.
        CredentialRefused, UpstreamBadAnswer, AddressRefused: there is no file to be had there.
        TooLarge: it announces more than ``max_bytes``.
    """
    try:
        target = parse(url)
    except UnsafeUrl as error:
        raise UploadRefused(f"the URL cannot be used: {error}") from None
    sha256 = _stated_digest(target)
    sessions = Sessions(HostRules(target), user_agent=user_agent, ca_file=ca_file, outbound_proxy=outbound_proxy)
    try:
        async with _Hops(target.with_fragment(None), sessions).response() as response:
            _check(response, redact_url(target), max_bytes)
            filename = _filename(target, response)
            yield Download(filename=filename, place=redact_url(target), sha256=sha256, max_bytes=max_bytes, response=response)
    finally:
        await sessions.close()


class _Hops:
    """The way from the URL that was given to whoever has the bytes."""

    def __init__(self, given: URL, sessions: Sessions) -> None:
        self._given = given
        self._sessions = sessions

    @asynccontextmanager
    async def response(self) -> AsyncIterator[aiohttp.ClientResponse]:
        """What the last of them answers."""
        target = self._given
        for _ in range(_MAX_HOPS + 1):
            self._judge(target)
            try:
                response = await self._sessions.get(target, _HEADERS, FILE_TIMES, None)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable(target, error) from None
            try:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                target = self._next(target, response.headers.get("Location", ""))
            finally:
                response.close()
        raise UpstreamBadAnswer(f"{redact_url(self._given)} redirects more than {_MAX_HOPS} times")

    def _judge(self, target: URL) -> None:
        if target.scheme == "https" or (is_loopback(target) and self._given.scheme == "http"):
            return
        if target is self._given:
            raise UploadRefused(f"{redact_url(target)} would travel open to everybody on the way: use an https URL")
        raise AddressRefused(f"{redact_url(self._given)} redirects to {target.host} without https, which is not followed")

    def _next(self, at: URL, location: str) -> URL:
        try:
            return parse(str(at.join(read(location)).with_fragment(None)))
        except ValueError:  # UnsafeUrl is one
            raise UpstreamBadAnswer(f"{redact_url(self._given)} redirects to a malformed address") from None

    def _unreachable(self, target: URL, error: Exception) -> Exception:
        place = redact_url(self._given)
        if target is not self._given:
            place += f" redirects to {redact_url(target.origin())}, which"
        reason = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(reason, ForbiddenAddress):
            return AddressRefused(f"{place} may not be asked: {reason}")
        return UpstreamUnavailable(f"{place} cannot be reached: {cause_of(error)}")


def _stated_digest(url: URL) -> str | None:
    stated = dict(part.partition("=")[::2] for part in url.raw_fragment.split("&"))
    if other := _OTHER_DIGESTS & stated.keys():
        raise UploadRefused(f"{redact_url(url)}: only #sha256= is compared, not {min(other)}")
    sha256 = stated.get("sha256")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise UploadRefused(f"{redact_url(url)}: what stands behind #sha256= is not 64 hexadecimal digits")
    return None if sha256 is None else sha256.lower()


def _check(response: aiohttp.ClientResponse, place: str, max_bytes: int) -> None:
    status = response.status
    if status in (404, 410):
        raise UploadRefused(f"{place}: there is no such file ({status})")
    if status in (401, 403, 203):
        raise CredentialRefused(f"{place} answered {status}: it wants a credential, and none is sent; download it yourself")
    if status >= 500 or status in (408, 425, 429):
        raise UpstreamUnavailable(f"{place} answered {status}: try again later")
    if status != 200:
        raise UpstreamBadAnswer(f"{place} answered {status}, which is no file")
    if response.content_type == "text/html":
        raise UpstreamBadAnswer(f"{place} is a web page, not a file: give the URL that its download link leads to")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UpstreamBadAnswer(f"{place} was sent in an encoding that was not asked for")
    if response.content_length is not None and response.content_length > max_bytes:
        raise TooLarge(f"{place} has {response.content_length} bytes, more than the {max_bytes} that one file may have")


def _filename(url: URL, response: aiohttp.ClientResponse) -> str:
    """As the URL says; where that is no distribution's name (``/download?id=7``), as the server says."""
    said = response.content_disposition.filename if response.content_disposition is not None else None
    for name in (url.name, said):
        if name and project_in(name) is not None:
            return name
    raise UploadRefused(f"{redact_url(url)} does not end with the name of a wheel or sdist (acme_tool-1.0-py3-none-any.whl)")

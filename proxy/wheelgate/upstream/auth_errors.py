"""Refused credentials: the reason in plain words, since the remedy depends on it."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp

from wheelgate.runtime.bounded_gzip import BadGzip, BoundedGunzip

_LOOK_BYTES = 16 * 1024
_LOOK_S = 2.0
SIGN_IN_REASON = "it sent its sign-in page: the credential has expired, or is wrong"
SIGN_IN = re.compile(r"/(_?signin|login|oauth2?|_signedin)(?=[/.]|$)", re.IGNORECASE)
# What the services write into such answers. Only our own words leave here: an upstream may well repeat what it was sent.
_PHRASES = (
    (rb"Personal Access Token used has expired", "the PAT has expired: make a new one"),
    (rb"TF400813|is not authorized to access this resource", "nobody it knows in that organisation: is the target's right?"),
    (rb"TF400733|has been canceled|exceeding usage", "throttled: too many requests by this identity"),
    (
        rb"You need to have '(AddPackage\w*|\w*Upstream\w*)'",
        "the identity is only a Reader of the feed: what its upstreams have needs Feed and Upstream Reader (Collaborator)",
    ),
    (rb"You need to have 'ReadPackages'", "the identity may not read this feed: make it a Reader"),
    (rb"vso\.packaging|required scope|Packaging \(read\)", "the token lacks the scope Packaging (Read)"),
    (rb"AuthenticationFailed|Signature not valid|Signed expiry", "the signature has expired or is wrong"),
    (rb"AuthorizationPermissionMismatch|AuthorizationFailure", "the identity lacks a role on that storage"),
)
_SIGN_IN_PAGE = re.compile(rb"Azure DevOps Services \| Sign In|<title>[^<]{0,80}sign.?in", re.IGNORECASE)
# A page of an index may be about a project called sign-in.
_NOT_A_PAGE = re.compile(rb"Azure DevOps Services \| Sign In|<title>(?![^<]*links for)[^<]{0,80}\bsign.?in\b", re.IGNORECASE)
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), words) for pattern, words in _PHRASES]


def is_refusal(response: aiohttp.ClientResponse) -> bool:
    """Whether an answer says that a credential is missing, wrong or not enough.

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
    """Whether it asks us to come back later. GitHub says so with 403, too."""
    if response.status == 403:
        return response.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in response.headers
    return response.status in (408, 425, 429)


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
    """Whether the body of a 200 is a sign-in page, which has no file on it and would pass for an empty index."""
    return _NOT_A_PAGE.search(body, 0, _LOOK_BYTES) is not None


async def find_reason(response: aiohttp.ClientResponse) -> str:
    """Find the reason why an answer refuses, as far as it says; never its own words."""
    text = await read_beginning(response)
    for pattern, words in _PATTERNS:
        if pattern.search(text):
            return words
    if response.status == 203 or response.status < 400 or _SIGN_IN_PAGE.search(text):
        return SIGN_IN_REASON
    if response.status == 403:
        return "the credential is wrong or has no right here (403)"  # pypiserver says so of a wrong password, too
    return "the credential is wrong, has expired, or is one of another organisation (401)"


def read_activity(response: aiohttp.ClientResponse) -> str:
    """The service's own number of a request, which its support asks for, for the end of a sentence; empty without one."""
    found = response.headers.get("X-VSS-E2EID") or response.headers.get("ActivityId") or response.headers.get("x-ms-request-id")
    return f" (activity {found})" if found and re.fullmatch(r"[0-9A-Fa-f-]{8,64}", found) else ""


async def read_beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read the beginning of an answer that carries no page: its reason phrase and some of its body, never for show.

    A small body is read to its end, so that the connection can be used again.
    """
    announced = f"{(response.reason or '')[:1_000]}\n{response.headers.get('X-TFS-ServiceError', '')[:2_000]}\n"
    body = b""
    try:
        async with asyncio.timeout(_LOOK_S):
            while len(body) < _LOOK_BYTES and (piece := await response.content.read(_LOOK_BYTES - len(body))):
                body += piece
        if response.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip"):
            body = next(BoundedGunzip("a sentence", free_bytes=_LOOK_BYTES).feed(body, _LOOK_BYTES), b"")
    except (aiohttp.ClientError, TimeoutError, OSError, BadGzip):
        pass
    return announced.replace("%20", " ").replace("+", " ").encode("utf-8", "replace") + body

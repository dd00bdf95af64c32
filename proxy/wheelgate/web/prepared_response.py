"""Prepared responses: whole answers, built once and given by aiohttp or by the fast path for as long as they are right.

And conditional requests (RFC 9110, section 13), which they answer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

SLICE_BYTES = 256 * 1024
"""Of a large body, what is written at once: a client that takes nothing costs no more than twice that."""
LARGE_BYTES = 512 * 1024
"""Bodies up to this are written whole: the system takes that much for any client, and one call costs less than several."""
_OF_A_BODY = ("Content-Type", "Content-Encoding")


def parse_if_none_match(request: web.BaseRequest) -> frozenset[str]:
    """Read which ETags the client has already, without quotes, for the weak comparison of 13.1.2; ``*``: whatever there is."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return frozenset("*")
    return frozenset(etag.value for etag in request.if_none_match or ()) - {"*"}


def is_held(held: frozenset[str], etags: Collection[str]) -> bool:
    """True if one of these ETags is among those that a client has."""
    return bool(held) and ("*" in held or not held.isdisjoint(etags))


class PreparedResponse(msgspec.Struct, frozen=True):
    """An answer to whoever does not have its body yet, and one (304) to whoever has."""

    status: int
    body: bytes
    etags: tuple[str, ...]
    """Any of them in a client's hands means that it has the body."""
    headers: Mapping[int, Mapping[str, str]]
    """By status."""
    heads: Mapping[int, bytes]
    """By status: the same as it goes over the wire, without the empty line at the end."""
    until_s: float
    """When it is no longer to be given, by the monotonic clock."""

    def choose_status(self, held: frozenset[str]) -> int:
        """Choose the status for a client that has bodies with the ETags ``held``."""
        return 304 if is_held(held, self.etags) else self.status

    def respond(self, request: web.BaseRequest) -> web.Response:
        """Answer a request by aiohttp."""
        status = self.choose_status(parse_if_none_match(request))
        return web.Response(status=status, headers=self.headers[status], body=None if status == 304 else self.body)


SERVER = {"Server": "Wheelgate"}
"""The header that aiohttp would fill with its own name and version."""


class _SlicedBody(Payload):
    """A large body that is written as the client takes it: asyncio keeps whatever is written and not taken yet."""

    async def write(self, writer: AbstractStreamWriter) -> None:
        body = memoryview(self._value)
        for start in range(0, len(body), SLICE_BYTES):
            await writer.write(body[start : start + SLICE_BYTES])

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)


def slice_body(response: web.StreamResponse) -> None:
    """Have a large body of a response that is not sent yet leave in slices."""
    if isinstance(response, web.Response) and isinstance(response.body, bytes) and len(response.body) > LARGE_BYTES:
        response.headers["Content-Length"] = str(len(response.body))
        response.body = _SlicedBody(response.body)


def prepare_response(
    body: bytes,
    headers: Mapping[str, str],
    etags: tuple[str, ...] = (),
    *,
    status: int = 200,
    held: Mapping[str, str] | None = None,
    until_s: float = math.inf,
) -> PreparedResponse:
    """Prepare an answer. ``held``: the headers of a 304 instead, but for those about a body; ``None``: the same ones."""
    unmodified = {name: value for name, value in (held or headers).items() if name not in _OF_A_BODY}
    by_status = {status: {**headers, "Content-Length": str(len(body))}, 304: unmodified}
    heads = {status: _write_head(status, headers) for status, headers in by_status.items()}
    return PreparedResponse(status, body, etags, by_status, heads, until_s)


def build_headers(content_type: str, cache_control: str, etags: tuple[str, ...]) -> dict[str, str]:
    """Build the headers that every body has. The first of ``etags`` is its own."""
    headers = {"Content-Type": content_type, "Cache-Control": cache_control, "X-Content-Type-Options": "nosniff"}
    return {**headers, "ETag": f'"{etags[0]}"'} if etags else headers


def _write_head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")

"""Prepared responses: bytes as they go over the wire, but for the few header lines that differ from one time to the next."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec


class PreparedResponse(msgspec.Struct, frozen=True):
    """A body, and the heads it is sent under."""

    body: bytes
    etags: frozenset[str]
    """Any of them in a client's hands means that it has the body."""
    heads: Mapping[int, bytes]
    """By status (200 or 302, and 304): status line and headers, without the empty line at the end."""
    status: int = 200
    """Of the answer to somebody who does not have the body."""


def prepare_response(body: bytes, etags: frozenset[str], headers: Mapping[str, str], held: Mapping[str, str]) -> PreparedResponse:
    """Prepare a body. ``headers`` go with it (200), ``held`` with a 304."""
    full = {**headers, "Content-Length": str(len(body))}
    return PreparedResponse(body, etags, {200: _head(200, full), 304: _head(304, held)})


def prepare_redirect(url: str, etags: frozenset[str], held: Mapping[str, str]) -> PreparedResponse:
    """Prepare a 302 that is never stored: pip stores a 301 or 308 for good, and fails once the signature has expired."""
    headers = {"Location": url, "Cache-Control": "no-store", "Content-Length": "0"}
    return PreparedResponse(b"", etags, {302: _head(302, headers), 304: _head(304, held)}, 302)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")

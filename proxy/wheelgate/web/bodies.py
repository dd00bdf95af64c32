"""Response bodies, whole or a range of them (RFC 9110, section 14).

Never a header before the first byte is sure, never a clean end to a body that is not whole.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from io import FileIO

import msgspec
from aiohttp import web

from wheelgate.core.errors import StoreError, WheelgateError
from wheelgate.files.bodies import Body
from wheelgate.web.prepared_response import SERVER

_WRITE_S = 60.0
"""A client that takes nothing for that long is gone."""
_SENDFILE_BYTES = 4 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)
_log = logging.getLogger(__name__)


class Range(msgspec.Struct, frozen=True):
    """One byte range as asked for: from ``first`` to ``last`` (both included), or the last ``suffix`` bytes."""

    first: int = 0
    last: int | None = None
    suffix: int | None = None

    def within(self, size: int) -> tuple[int, int] | None:
        """``(start, end)``, end excluded, within a body of that size; ``None``: it cannot be satisfied (416)."""
        if self.suffix is not None:
            return (max(0, size - self.suffix), size) if self.suffix and size else None
        if self.first >= size:
            return None
        return self.first, size if self.last is None else min(self.last + 1, size)


def parse_range(request: web.BaseRequest, etag: str | None) -> Range | None:
    """Read the range a GET asks for, if there is one to honour.

    Several ranges, malformed ones, and an If-Range that does not match are ignored: 14.2 allows it, and the whole file is
    always a right answer.
    """
    if request.method != "GET":
        return None
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and (etag is None or condition.strip() != f'"{etag}"'):
        return None
    if not match[1]:
        return Range(suffix=int(match[2]))
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        return None
    return Range(first, int(match[2]) if match[2] else None)


async def send(
    request: web.BaseRequest, body: Body, headers: Mapping[str, str], *, start: int, end: int | None, status: int = 200
) -> web.StreamResponse:
    """Answer with bytes ``start`` to ``end`` (excluded; ``None``: as many as there are) of a body.

    Raises:
        UpstreamError, StoreError: before anything was sent; afterwards the connection is broken off instead, so that the client
            can tell.
    """
    response = web.StreamResponse(status=status, headers={**headers, **SERVER})
    is_head = request.method == "HEAD"
    opened = None if is_head or start == end else await body.open_local(whole=end is None)
    if end is None and (is_head or opened is not None):
        end = await body.size()
    if end is not None:
        response.content_length = end - start
    if opened is not None and end is not None:
        with opened:
            return await _send_file(request, response, opened, start, end)
    if is_head or start == end:
        await response.prepare(request)
        return response
    async with aclosing(body.chunks(start, end)) as chunks:  # type: ignore[type-var]
        first = await anext(chunks, None)  # an upstream that refuses does so here, while a status can still say it
        if response.content_length is None and (total := await body.size()) is not None:
            response.content_length = total
        await response.prepare(request)
        await _send_chunks(request, response, first, chunks)
    return response


async def _send_chunks(
    request: web.BaseRequest, response: web.StreamResponse, chunk: bytes | None, chunks: AsyncIterator[bytes]
) -> None:
    announced, sent = response.content_length, 0
    try:
        while chunk is not None:
            sent += len(chunk)
            if announced is not None and sent > announced:  # the server would cut it off in silence
                raise StoreError(f"there were more than the {announced} bytes announced")
            async with asyncio.timeout(_WRITE_S):
                await response.write(chunk)
            chunk = await anext(chunks, None)
        if announced is not None and sent < announced:  # the client would take the next answer for the rest of this one
            raise StoreError(f"there were {sent} bytes of the {announced} announced")
        await response.write_eof()
    except ConnectionError:
        raise
    except (WheelgateError, TimeoutError) as error:
        _log.warning("response aborted: %s", error if str(error) else "the client read nothing for a minute")
        _break_off(request)
    except Exception:
        _log.exception("response aborted")  # another answer must not follow in the middle of this one
        _break_off(request)


async def _send_file(
    request: web.BaseRequest, response: web.StreamResponse, file: FileIO, start: int, end: int
) -> web.StreamResponse:
    """Let the kernel send a complete file, as it was opened, where the event loop can have it do that."""
    try:
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        while start < end:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client is gone")
            async with asyncio.timeout(_WRITE_S * 5):
                try:
                    sent = await loop.sendfile(request.transport, file, start, min(_SENDFILE_BYTES, end - start))
                except NotImplementedError:  # uvloop
                    chunk = await asyncio.to_thread(os.pread, file.fileno(), min(_READ_BYTES, end - start), start)
                    await response.write(chunk)
                    sent = len(chunk)
            if not sent:
                raise TimeoutError("the file became shorter")
            start += sent
        await response.write_eof()
    except TimeoutError as error:
        _log.warning("response aborted: %s", error)
        _break_off(request)
    return response


def _break_off(request: web.BaseRequest) -> None:
    """Close without the end that HTTP needs: the client sees a cut body, and asks again."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("broken off")

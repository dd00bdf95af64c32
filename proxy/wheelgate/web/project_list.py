"""``/simple/``: the list of projects, sent while it is rendered, so that no more than a slice of it is ever held."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator

from aiohttp import web
from isal import isal_zlib

from wheelgate.index.merged import Merged
from wheelgate.runtime.cooperative import SLICE_S, Steps, in_slices
from wheelgate.simple_api.render import render_names
from wheelgate.web.page_cache import build_etags, build_page_headers
from wheelgate.web.prepared_response import SERVER, is_held, parse_if_none_match, prepare_response

_WHOLE_BYTES = 64 * 1024
"""A list up to this length is answered whole, tagged with its digest."""
_PIECE_BYTES = 32 * 1024
_WRITE_S = 60.0
"""A client that takes nothing for that long is gone."""
_PROCESS = uuid.uuid4().hex


class ProjectListHandler:
    """Handler of the list of projects."""

    def __init__(self, index: Merged, *, prefix: str, cache_control: str) -> None:
        self._index = index
        self._prefix = prefix
        self._cache_control = cache_control

    async def answer(self, request: web.BaseRequest, content_type: str, *, gzip: bool) -> web.StreamResponse:
        """Answer with the names as they stand now.

        Raises:
            StoreError, UpstreamError: a source cannot tell its names, or not yet.
        """
        projects = await self._index.list_projects()
        parts = render_names(projects.merge(), content_type, self._prefix)
        beginning, is_whole = await in_slices(_take(parts, _WHOLE_BYTES))
        # A long one has no digest before its end. The names are known by their revision, which is of this process alone.
        content = beginning if is_whole else f"{_PROCESS} {projects.revision} {content_type} {self._prefix}".encode()
        etags = build_etags(hashlib.sha256(content).hexdigest()[:32], gzip=gzip)
        headers = build_page_headers(content_type, self._cache_control, etags, gzip=gzip)
        if is_whole or is_held(parse_if_none_match(request), etags):
            body = isal_zlib.compress(beginning, level=1, wbits=31) if gzip else beginning
            return prepare_response(body, headers, etags).respond(request)
        response = web.StreamResponse(headers={**headers, **SERVER})
        await response.prepare(request)
        if request.method != "HEAD":
            rest = _chain(beginning, parts)
            await _send(response, _compress(rest) if gzip else rest)
        return response


def _take(parts: Iterator[bytes], size: int) -> Steps[tuple[bytes, bool]]:
    """Take the first so many bytes and a few more; and tell whether that was all."""
    taken = bytearray()
    for part in parts:
        taken += part
        if len(taken) > size:
            return bytes(taken), False
        yield
    return bytes(taken), True


def _chain(beginning: bytes, parts: Iterable[bytes]) -> Iterator[bytes]:
    yield beginning
    yield from parts


def _compress(parts: Iterable[bytes]) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(level=1, wbits=31)
    for part in parts:
        yield compressor.compress(part)
    yield compressor.flush()


async def _send(response: web.StreamResponse, parts: Iterable[bytes]) -> None:
    """Send what is made as it is made, in slices with everyone else served in between."""
    piece, resumed = bytearray(), time.perf_counter()
    for part in parts:
        piece += part
        if len(piece) >= _PIECE_BYTES:
            async with asyncio.timeout(_WRITE_S):
                await response.write(bytes(piece))
            piece.clear()
        if time.perf_counter() - resumed > SLICE_S:
            await asyncio.sleep(0)
            resumed = time.perf_counter()
    await response.write_eof(bytes(piece))

"""A relay before a server on loopback that asks for HTML alone, or leaves out core metadata: clients cannot be told to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.support.index import SIMPLE_JSON, running

_METADATA = re.compile(rb' data-(?:dist-info|core)-metadata="[^"]*"')
_OURS_TO_SAY = ("host", "connection", "content-length", "content-encoding", "transfer-encoding")


@dataclass
class Retelling:
    """Passes requests on, and every answer back; pages as they are, but for what is said here."""

    to: str
    """Origin of the server."""
    html: bool = False
    """Pages are asked for in HTML, whatever the client accepts."""
    without_metadata: frozenset[str] = frozenset()
    """Projects whose pages advertise no core metadata."""
    origin: str = ""
    url: str = ""
    page_types: set[str] = field(default_factory=set)
    """Content types of the pages that were passed on."""
    paths: list[str] = field(default_factory=list)
    """Raw paths that were asked for."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        self.paths.append(path)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OURS_TO_SAY}
        headers["Accept-Encoding"] = "identity"
        if self.html:
            headers["Accept"] = "text/html"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, self.to + request.raw_path, headers=headers, allow_redirects=False) as there,
        ):
            body = await there.read()
            back = {name: value for name, value in there.headers.items() if name.lower() not in _OURS_TO_SAY}
            if request.method == "HEAD":
                back["Content-Length"] = there.headers.get("Content-Length", "0")
        match path.strip("/").split("/"):
            case ["simple", project] if there.status == 200:
                self.page_types.add(there.content_type)
                if project in self.without_metadata:
                    body = _leave_out_metadata(body, there.content_type)
        return web.Response(status=there.status, reason=there.reason, headers=back, body=body)


def _leave_out_metadata(page: bytes, content_type: str) -> bytes:
    if content_type != SIMPLE_JSON:
        return _METADATA.sub(b"", page)
    told = json.loads(page)
    for file in told["files"]:
        file.pop("core-metadata", None)
    return json.dumps(told).encode()


@contextmanager
def retold(to: str, *, html: bool = False, without_metadata: frozenset[str] = frozenset()) -> Iterator[Retelling]:
    """A relay before the server at this origin, until the block ends."""
    with running(Retelling(to, html, without_metadata)) as relay:
        yield relay

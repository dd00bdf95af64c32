"""An index on loopback that does as it is told, and remembers everything it was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_BARE = ("filename", "url", "hashes", "requires-python")
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Asked:
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Published:
    """One file of a project."""

    body: bytes
    entry: dict[str, Any]
    metadata: bytes | None = None


@dataclass
class FakeIndex:
    """PEP 691 pages at ``/simple/{project}/``, files at ``/packages/{project}/{filename}``; anything else as ``handlers`` say.

    Runs on a thread of its own, so that it serves tests of either colour and the processes they start.
    """

    projects: dict[str, dict[str, Published]] = field(default_factory=dict)
    handlers: dict[str, Handler] = field(default_factory=dict)
    """Raw path to a handler that answers instead of the index."""
    asked: list[Asked] = field(default_factory=list)
    html: bool = False
    """Pages in HTML alone, as old indexes do."""
    etags: bool = False
    bare: bool = False
    """Whatever was published, entries say nothing but name, link and digest, and there is no core metadata: as Azure's feeds."""
    ranges: bool = True
    heads: bool = True
    """Whether files answer HEAD, or 405."""
    modified: str | None = None
    """What file answers say as ``Last-Modified``."""
    redirects: bool = False
    """Files are redirected (303) to a signed place, another one each time."""
    lists: bool = True
    """Whether its root lists its projects, as most do."""
    delay_s: float = 0.0
    """Every answer takes this long."""
    down: bool = False
    """Every answer is 503."""
    sent_bytes: int = 0
    """Of files, all in all."""
    url: str = ""
    origin: str = ""

    def publish(self, project: str, filename: str, body: bytes, *, metadata: bytes | None = None, **entry: Any) -> None:
        """Add or replace a file. ``entry`` overrides keys of its JSON entry (underscores for dashes); ``None`` removes one."""
        made: dict[str, Any] = {
            "filename": filename,
            "url": f"../../packages/{project}/{quote(filename)}",
            "hashes": {"sha256": hashlib.sha256(body).hexdigest()},
            "size": len(body),
            "upload-time": "2025-01-01T00:00:00.000000Z",
        }
        if metadata is not None:
            made["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
        for key, value in entry.items():
            if value is None:
                made.pop(key.replace("_", "-"), None)
            else:
                made[key.replace("_", "-")] = value
        self.projects.setdefault(project, {})[filename] = Published(body, made, metadata)

    def count(self, path: str) -> int:
        """How often this raw path was asked for."""
        return sum(request.path == path for request in self.asked)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        self.asked.append(Asked(request.method, path, dict(request.headers)))
        await asyncio.sleep(self.delay_s)
        if self.down:
            return web.Response(status=503)
        if path in self.handlers:
            return await self.handlers[path](request)
        match path.strip("/").split("/"):
            case ["packages", project, name] if self.redirects and not name.endswith(".metadata"):
                if request.method == "HEAD" and not self.heads:
                    return web.Response(status=405)
                place = f"/signed/{project}/{name}?sig={len(self.asked)}"
                return web.Response(status=303, headers={"Location": place})
            case ["signed", project, name]:
                return self._file(request, project, name)
            case ["simple"] if self.lists:
                return self._root()
            case ["simple", project] if project in self.projects:
                return self._page(request, project)
            case ["packages", project, name]:
                return self._file(request, project, name)
        return web.Response(status=404, text="not found")

    def _root(self) -> web.Response:
        if self.html:
            links = "".join(f'<a href="/simple/{project}/">{project}</a><br>' for project in self.projects)
            page = f"<!DOCTYPE html><html><head><title>Simple index</title></head><body>{links}</body></html>"
            return web.Response(text=page, content_type="text/html")
        listed = {"meta": {"api-version": "1.1"}, "projects": [{"name": project} for project in self.projects]}
        return web.json_response(listed, content_type=SIMPLE_JSON)

    def _page(self, request: web.BaseRequest, project: str) -> web.Response:
        entries = [published.entry for published in self.projects[project].values()]
        if self.bare:
            entries = [{key: value for key, value in entry.items() if key in _BARE} for entry in entries]
        if self.html:
            body, kind = self._html(project, entries).encode(), "text/html; charset=utf-8"
        else:
            page = {"meta": {"api-version": "1.1"}, "name": project, "files": entries}
            body, kind = json.dumps(page).encode(), SIMPLE_JSON
        headers = {"Content-Type": kind}
        if self.etags:
            headers["ETag"] = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    @staticmethod
    def _html(project: str, entries: list[dict[str, Any]]) -> str:
        links = []
        for entry in entries:
            digest = "".join(f"#{name}={value}" for name, value in entry.get("hashes", {}).items())
            requires = f' data-requires-python="{escape(entry["requires-python"])}"' if "requires-python" in entry else ""
            links.append(f'<a href="{entry["url"]}{digest}"{requires}>{entry["filename"]}</a><br>')
        title = f"Links for {project}"
        return f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1>{''.join(links)}</body></html>"

    def _file(self, request: web.BaseRequest, project: str, name: str) -> web.Response:
        from urllib.parse import unquote

        name = unquote(name)
        published = self.projects.get(project, {}).get(name.removesuffix(".metadata"))
        if published is None:
            return web.Response(status=404)
        if name.endswith(".metadata"):
            missing = published.metadata is None or self.bare
            return web.Response(status=404) if missing else web.Response(body=published.metadata)
        if request.method == "HEAD" and not self.heads:
            return web.Response(status=405)
        body = published.body
        span = request.http_range
        headers = {} if self.modified is None else {"Last-Modified": self.modified}
        if not self.ranges or (span.start is None and span.stop is None):
            self.sent_bytes += len(body)
            return web.Response(body=body, headers=headers, content_type="application/octet-stream")
        start, stop, _ = span.indices(len(body))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        self.sent_bytes += stop - start
        return web.Response(status=206, body=body[start:stop], headers=headers, content_type="application/octet-stream")


class Answering(Protocol):
    """Whatever answers requests once it is told its own address."""

    url: str
    origin: str

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse: ...


Index = TypeVar("Index", bound=Answering)


@contextmanager
def running(index: Index, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Index]:
    """Serve the index until the block ends."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(index.answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, host, 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        index.origin = f"{'https' if tls else 'http'}://{host}:{port}"
        index.url = f"{index.origin}/simple/"
        started.set()
        await stop.wait()
        await runner.cleanup()
        await asyncio.sleep(0.02 if tls else 0)  # a connection over TLS takes some turns of the loop to end

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield index
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()

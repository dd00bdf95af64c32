"""The 57 projects as two upstreams show them: an index with everything, and a feed with next to nothing.

- ``/simple/``: JSON, gzipped, with the wheels' metadata beside them (PEP 658), no delay.
- ``/feed/pypi/simple/``: as an Azure Artifacts feed. HTML alone, with link, digest and ``requires-python``; no metadata; HEAD of
  a file is 405, GET is a 303 to a signed URL, another one each time, and only there ranges are known. Every answer, the
  storage's too, takes as long as it is told to.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import itertools
import json
import zlib
from html import escape
from typing import Any

from aiohttp import web

from tests.benchmarks.wheels import PROJECTS, Project, Wheel, metadata_of, requires_python

FEED = "/feed/pypi/simple/"
_JSON = "application/vnd.pypi.simple.v1+json"


class _Upstream:
    """Both faces of the catalogue, their pages finished beforehand."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._wheels: dict[str, Wheel] = {}
        self._signatures = itertools.count()
        self._pages = {name: self._both(project) for name, project in PROJECTS.items()}

    def _both(self, project: Project) -> tuple[bytes, bytes]:
        """The page in JSON, gzipped, and in HTML."""
        entries: list[dict[str, Any]] = []
        anchors: list[str] = []
        stem = project.stem
        for version in project.versions:
            wheels = {f"{stem}-{version}-{tag}.whl": Wheel(project, version, tag) for tag in project.tags}
            self._wheels |= wheels
            described = {"sha256": hashlib.sha256(metadata_of(project, version)).hexdigest()}
            python = requires_python(project, version)
            sdist = f"{stem}-{version}.tar.gz"
            digests = {sdist: hashlib.sha256(sdist.encode()).hexdigest()} | {name: wheel.sha256 for name, wheel in wheels.items()}
            for name, sha256 in digests.items():
                entry: dict[str, Any] = {
                    "filename": name,
                    "url": f"/packages/{sha256[:2]}/{sha256[2:4]}/{sha256[4:]}/{name}",
                    "hashes": {"sha256": sha256},
                    "requires-python": python,
                    "size": wheels[name].size if name in wheels else project.wheel_bytes // 2,
                    "upload-time": "2026-01-02T03:04:05.678901Z",
                    "yanked": False,
                }
                if name in wheels:
                    entry["core-metadata"] = entry["dist-info-metadata"] = described
                entries.append(entry)
                anchors.append(
                    f'<a href="/feed/pypi/download/{project.name}/{version}/{name}#sha256={sha256}" '
                    f'data-requires-python="{escape(python)}">{name}</a><br/>\n'
                )
        made = {"meta": {"api-version": "1.1"}, "name": project.name, "versions": project.versions, "files": entries}
        compressor = zlib.compressobj(6, wbits=31)
        page = compressor.compress(json.dumps(made, separators=(",", ":")).encode()) + compressor.flush()
        title = f"Links for {project.name}"
        html = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1>{''.join(anchors)}</body></html>"
        return page, html.encode()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.rel_url.raw_path.strip("/").split("/"):
            case ["simple", project] if project in self._pages:
                return web.Response(body=self._pages[project][0], headers={"Content-Type": _JSON, "Content-Encoding": "gzip"})
            case ["packages", *_, name] if name.removesuffix(".metadata") in self._wheels:
                wheel = self._wheels[name.removesuffix(".metadata")]
                return web.Response(body=wheel.metadata if name.endswith(".metadata") else _whole(wheel))
            case ["feed", *rest]:
                await asyncio.sleep(self._delay_s)
                return self._fed(request, rest)
        return web.Response(status=404)

    def _fed(self, request: web.BaseRequest, path: list[str]) -> web.Response:
        match path:
            case ["pypi", "simple", project] if project in self._pages:
                headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
                return web.Response(body=self._pages[project][1], headers=headers)
            case ["pypi", "download", _, _, name] if name in self._wheels:
                if request.method == "HEAD":
                    return web.Response(status=405)
                location = f"/feed/storage/{name}?sig={next(self._signatures)}"
                return web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
            case ["storage", name] if name in self._wheels:
                return _stored(request, self._wheels[name])
        return web.Response(status=404)


@functools.lru_cache(maxsize=128)
def _whole(wheel: Wheel) -> bytes:
    """All of it, at hand for the next one who asks."""
    return wheel.between(0, wheel.size)


def _stored(request: web.BaseRequest, wheel: Wheel) -> web.Response:
    """A blob. Ranges are of the forms that Blob Storage knows: with a beginning."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if "Range" not in request.headers or request.headers["Range"].startswith("bytes=-"):
        return web.Response(body=_whole(wheel), headers=headers)
    start, end, _ = request.http_range.indices(wheel.size)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{wheel.size}"
    return web.Response(status=206, body=wheel.between(start, end), headers=headers)


async def _serve(port: int, delay_s: float) -> None:
    runner = web.ServerRunner(web.Server(_Upstream(delay_s).answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("--delay-ms", type=float, default=0, help="of each answer of the feed and of its storage")
    given = arguments.parse_args()
    asyncio.run(_serve(given.port, given.delay_ms / 1e3))

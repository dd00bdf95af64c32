"""The stand-in upstream: generated pages, finished and compressed beforehand, so that its own time is next to nothing.

Any project named ``small-N``, ``large-N`` or ``huge-N`` exists; ``small-file`` and any ``big-N`` have a wheel,
of 80 kB and of 85 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import json
import zlib

from aiohttp import web

from tests.benchmarks.pages import HUGE, LARGE, SMALL, page
from tests.support.packages import wheel_bytes, wheel_name

_JSON = "application/vnd.pypi.simple.v1+json"
_SIZES = {"small": SMALL, "large": LARGE, "huge": HUGE}
_SMALL_BYTES, _BIG_BYTES = 80_000, 85 * 1024 * 1024
_SLICE_BYTES = 256 * 1024
_FEED_S = 0.03
"""An answer of a private index, none of which has what it is asked for."""


@functools.cache
def _finished(kind: str, project: str) -> bytes:
    """Gzipped JSON. One page of a kind is generated; the others are the same under their own name."""
    body = json.dumps(page(project, _SIZES[kind], files_at="/packages"), separators=(",", ":")).encode()
    compressor = zlib.compressobj(6, wbits=31)
    return compressor.compress(body) + compressor.flush()


@functools.lru_cache(maxsize=3)
def _wheel(project: str) -> tuple[bytes, str]:
    """The one wheel of a project, and its digest."""
    body = wheel_bytes(project, "1.0", padding=_SMALL_BYTES if project == "small-file" else _BIG_BYTES)
    return body, hashlib.sha256(body).hexdigest()


async def _sent(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """By the slice: a transport copies what it cannot send at once."""
    response = web.StreamResponse()
    response.content_length = len(body)
    await response.prepare(request)
    for start in range(0, len(body), _SLICE_BYTES):
        await response.write(memoryview(body)[start : start + _SLICE_BYTES])
    return response


def _only_project(feed: str) -> str:
    return f"acme-of-feed-{feed}"


def _feed(number: str, names: list[str]) -> bytes:
    """The root of a private index, or the page of its one project."""
    project = _only_project(number)
    file = {"filename": wheel_name(project, "1.0"), "url": f"/packages/{wheel_name(project, '1.0')}", "hashes": {}}
    held = {"name": project, "files": [file]} if names else {"projects": [{"name": project}]}
    return json.dumps({"meta": {"api-version": "1.0"}, **held}).encode()


def _has_wheel(project: str) -> bool:
    return project == "small-file" or project.startswith("big-")


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    match request.rel_url.raw_path.strip("/").split("/"):
        case ["simple", project] if _has_wheel(project):
            name, (body, digest) = wheel_name(project, "1.0"), _wheel(project)
            entry = {"filename": name, "url": f"/packages/{project}/{name}", "hashes": {"sha256": digest}, "size": len(body)}
            made = {"meta": {"api-version": "1.1"}, "name": project, "files": [entry]}
            return web.Response(body=json.dumps(made).encode(), headers={"Content-Type": _JSON})
        case ["simple", project] if project.partition("-")[0] in _SIZES:
            headers = {"Content-Type": _JSON, "Content-Encoding": "gzip"}
            return web.Response(body=_finished(project.partition("-")[0], project), headers=headers)
        case ["packages", project, _] if _has_wheel(project):
            return await _sent(request, _wheel(project)[0])
        case ["feeds", number, "simple", *names]:
            await asyncio.sleep(_FEED_S)
            if not names or names == [_only_project(number)]:
                return web.Response(body=_feed(number, names), headers={"Content-Type": _JSON})
            return web.Response(status=404, body=b'{"message": "not found"}', headers={"Content-Type": "application/json"})
        case ["prepare", project]:
            await asyncio.to_thread(_finished, project.partition("-")[0], project)
            return web.Response()
    return web.Response(status=404)


async def _serve(port: int) -> None:
    runner = web.ServerRunner(web.Server(_answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    asyncio.run(_serve(arguments.parse_args().port))

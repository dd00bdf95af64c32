"""However many large pages are asked for, what is kept of them is bounded (promise 8 in docs/architecture.md)."""

from __future__ import annotations

import concurrent.futures
import json
import os
import time
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.acceptance.configs import uploads_and
from tests.acceptance.test_memory import MIB, growth
from tests.benchmarks.pages import LARGE, page
from tests.support.gate import Gate
from tests.support.index import SIMPLE_JSON, FakeIndex

PAGES = int(os.environ.get("LARGE_PAGES", "5000"))
MAX_BYTES = 256 * 1024 * 1024


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_five_thousand_large_pages_leave_memory_bounded(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    body = json.dumps(page("large-0000", LARGE, files_at="/packages")).encode()

    async def answer(request: web.BaseRequest) -> web.Response:
        name = request.rel_url.raw_path.strip("/").rpartition("/")[2]
        named = body.replace(b"large-0000", name.encode()).replace(b"large_0000", name.replace("-", "_").encode())
        return web.Response(body=named, headers={"Content-Type": SIMPLE_JSON})

    names = [f"large-{number:04}" for number in range(PAGES)]
    index.handlers |= {f"/simple/{name}/": answer for name in names}
    gate = start_gate(uploads_and(index))
    peak = 0
    for number, name in enumerate(names):
        answered = gate.get(f"/simple/{name}/", {"Accept": SIMPLE_JSON, "Accept-Encoding": "gzip"})
        assert answered.status == 200
        if number % 50 == 0:
            peak = max(peak, gate.rss_bytes())
            print(f"{number:5} pages: {gate.rss_bytes() / 2**20:.0f} MiB")
    assert peak < MAX_BYTES
    assert gate.page("large-0000")["files"], "one that was dropped is made again"


@pytest.mark.parametrize(
    ("pages", "files", "most_mib", "kept_mib"),
    [(8, 10_000, 110, 80), pytest.param(20, 40_000, 200, 100, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
    ids=["6 MB", "25 MB"],
)
def test_cold_pages_at_once_leave_memory_bounded(
    start_gate: Callable[..., Gate], index: FakeIndex, pages: int, files: int, most_mib: int, kept_mib: int
) -> None:
    """All are answered in the end, by whoever comes again as it is told; what they took goes back to the system.

    On a busy machine the index here, one thread that makes twenty large bodies, may also be slow to answer: that is 503 as well.
    """
    body = json.dumps(page("large-0000", files, files_at="/packages")).encode()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        """Chunked: nobody knows the size before the end."""
        name = request.rel_url.raw_path.strip("/").rpartition("/")[2]
        named = body.replace(b"large-0000", name.encode()).replace(b"large_0000", name.replace("-", "_").encode())
        response = web.StreamResponse(headers={"Content-Type": SIMPLE_JSON})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(named), MIB):
            await response.write(named[start : start + MIB])
        await response.write_eof()
        return response

    names = [f"large-{number:04}" for number in range(pages)]
    index.handlers |= {f"/simple/{name}/": answer for name in names}
    index.publish("small", "small-1.0-py3-none-any.whl", b"")
    gate = start_gate(uploads_and(index))

    def fetch(name: str) -> int:
        while True:
            answered = gate.get(f"/simple/{name}/", {"Accept": SIMPLE_JSON, "Accept-Encoding": "gzip"})
            if answered.status != 503:
                return answered.status
            assert 1 <= int(answered.headers["Retry-After"]) <= 5
            time.sleep(int(answered.headers["Retry-After"]))

    fetch("small")
    before = gate.rss_bytes()
    with growth(gate) as grown, concurrent.futures.ThreadPoolExecutor(pages) as pool:
        answers = [pool.submit(fetch, name) for name in names]
        time.sleep(0.3)
        began = time.monotonic()
        assert gate.page("small")["files"]
        assert time.monotonic() - began < 5, "a small page waits behind no large one"
        assert {answer.result() for answer in answers} == {200}
    assert grown[0] < most_mib * MIB
    deadline = time.monotonic() + 60
    while (kept := gate.rss_bytes() - before) > kept_mib * MIB and time.monotonic() < deadline:
        time.sleep(1)
    print(f"kept {kept / MIB:.1f} MiB")
    assert kept < kept_mib * MIB

"""However many large pages are asked for, what is kept of them is bounded (promise 8 in docs/architecture.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.acceptance.configs import uploads_and
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

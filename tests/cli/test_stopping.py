"""How a server ends while somebody is still downloading."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from aiohttp import web

from tests.acceptance.configs import uploads_and
from tests.support.gate import Answer, Gate
from tests.support.index import FakeIndex

SIZE = 300_000


@pytest.fixture
def pause_s() -> float:
    """Between the 30 pieces of the download."""
    return 0.13


@pytest.fixture
def download(start_gate: Callable[..., Gate], index: FakeIndex, pause_s: float) -> Iterator[tuple[Gate, Future[Answer]]]:
    """A server, and a download through it that has begun."""
    begun = threading.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = SIZE
        await response.prepare(request)
        for _ in range(30):
            await response.write(bytes(SIZE // 30))
            begun.set()
            await asyncio.sleep(pause_s)
        return response

    index.publish("demo", "demo-1.0.tar.gz", b"", hashes={}, size=SIZE)
    index.handlers["/packages/demo/demo-1.0.tar.gz"] = slow
    gate = start_gate(uploads_and(index))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(gate.get, "/files/demo/demo-1.0.tar.gz")
        assert begun.wait(20)
        yield gate, future


def test_sigterm_lets_a_download_end(download: tuple[Gate, Future[Answer]]) -> None:
    gate, future = download
    began = time.monotonic()
    assert gate.stop(signal.SIGTERM, wait_s=20) == 0
    assert len(future.result().body) == SIZE
    assert time.monotonic() - began < 10
    assert "stopping once 1 requests under way have ended" in gate.log


@pytest.mark.parametrize("pause_s", [1.0])
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["ctrl-c", "a second sigterm"])
def test_who_is_in_a_hurry_does_not_wait_for_it(download: tuple[Gate, Future[Answer]], signals: list[signal.Signals]) -> None:
    gate, future = download
    began = time.monotonic()
    for position, how in enumerate(signals):
        if position:
            time.sleep(0.3)
        gate.send(how)
    assert gate.stop(signals[-1], wait_s=20) == 0
    assert time.monotonic() - began < 15, "half of what the download takes"
    with pytest.raises(Exception, match=r"(?i)incomplete|reset|closed"):
        future.result()
    assert "Traceback" not in gate.log

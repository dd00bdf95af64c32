"""How a server ends while somebody is still downloading, or has not taken the whole of an answer."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
import trustme
from aiohttp import web

from tests.acceptance.configs import uploads_and
from tests.support.gate import WHEELGATE, Answer, Gate, environment
from tests.support.index import FakeIndex

SIZE = 300_000
LARGE_BYTES = 12_000_000
"""More than the systems on both sides hold of an answer that is not read."""
FILES = 10_000


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

    index.publish("demo", "demo-1.0.tar.gz", bytes(SIZE))
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


class SlowReader:
    """A client that takes what the system takes for it, and then nothing until it is told to go on."""

    def __init__(self, gate: Gate, path: str, ca_file: Path | None) -> None:
        self.path = path
        where = urlsplit(gate.url)
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plain.settimeout(20)
        plain.connect((where.hostname, where.port))
        context = None if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
        self._socket = plain if context is None else context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        self._answer = HTTPResponse(self._socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        self._socket.close()

    def begin(self) -> None:
        """Read the head of the answer."""
        self._answer.begin()
        assert self._answer.status == 200, self.path

    def read_rest(self) -> bytes:
        try:
            return self._answer.read()
        except IncompleteRead as error:
            return error.partial


@pytest.fixture(params=["plain", "tls"])
def ca_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The authority of the server's certificate; ``None``: it speaks HTTP."""
    if request.param == "plain":
        return None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path / "ca.pem"


def test_sigterm_sees_every_answer_out_to_its_client(
    start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path, ca_file: Path | None
) -> None:
    """Whoever was answered has the answer: from the disk, from upstream, from memory, and what is only left in a buffer."""
    body = random.Random(4).randbytes(LARGE_BYTES)
    for name in ("held", "small", "passing"):
        index.publish(name, f"{name}-1.0.tar.gz", body[: SIZE // 2] if name == "small" else body)
    for name in ("warm", "cold"):
        for number in range(FILES):
            index.publish(name, f"{name}-1.{number}.tar.gz", b"", hashes={"sha256": f"{number:064}"})
    arguments = [] if ca_file is None else ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    gate = start_gate(uploads_and(index), *arguments)
    if ca_file is not None:
        gate.trust(ca_file)
    warm = gate.get("/simple/warm/").body
    for name in ("held", "small"):
        assert gate.get(f"/files/{name}/{name}-1.0.tar.gz").status == 200
    files = [f"/files/{name}/{name}-1.0.tar.gz" for name in ("passing", "held", "small")]
    with ExitStack() as stack:
        handled, given = (
            [stack.enter_context(SlowReader(gate, path, ca_file)) for path in paths]
            for paths in (files[:2], [files[2], "/simple/warm/", "/simple/cold/"])
        )
        for reader in (*handled, *given):
            reader.begin()
        gate.send(signal.SIGTERM)
        time.sleep(0.5)
        received = {reader.path: reader.read_rest() for reader in handled}
        time.sleep(2)  # nobody is at work on the others any more
        assert not gate.has_ended()
        received |= {reader.path: reader.read_rest() for reader in given}
        assert gate.stop(wait_s=10) == 0
    lacking = [path for path in ("/simple/warm/", "/simple/cold/") if received[path].replace(b"cold", b"warm") != warm]
    expected = {path: body[: SIZE // 2] if "small" in path else body for path in files}
    assert lacking + [path for path in files if received[path] != expected[path]] == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_whoever_reads_that_it_runs_may_stop_it(tmp_path: Path, how: signal.Signals) -> None:
    """While the welcome is written, which takes as long as its reader likes, signals are heeded already."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, bytes(4_096)):
            pass
    os.set_blocking(writing, True)
    command = [WHEELGATE, "serve", "--offline", "--data", tmp_path / "data", "--port", str(port)]
    with subprocess.Popen(command, stderr=writing, env=environment(tmp_path)) as process, os.fdopen(reading, "rb") as said:
        os.close(writing)
        deadline = time.monotonic() + 20
        with socket.socket() as asking:
            while asking.connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
                time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(how)
        time.sleep(0.1)
        assert said.read().endswith(b"stopped\n")
        assert process.wait(10) == 0

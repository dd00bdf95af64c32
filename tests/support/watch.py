"""Watches a running server from outside: how long its event loop held everybody up, and how much memory it took.

Runs as a process of its own (the test's own threads would distort it) and asks ``/livez`` on one connection every 5 ms. On a
busy machine a slow answer proves nothing, so the time in which the kernel let neither the server's main thread nor this
process run (``/proc/.../schedstat``) is not counted.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.gate import Gate

_EVERY_S = 0.005


@dataclass
class Seen:
    """What was seen while the block ran; known after it."""

    held_up_s: float = 0.0
    """The longest time that the loop answered nobody, less what the machine was busy elsewhere."""
    slowest_s: float = 0.0
    """The same by the clock on the wall."""
    asked: int = 0
    grown_bytes: int = 0
    """The most memory that the process held, less what it held at the beginning."""


@contextmanager
def watched(gate: Gate) -> Iterator[Seen]:
    """Watch a server while the block runs."""
    seen = Seen()
    place = urlsplit(gate.url)
    command = [sys.executable, str(Path(__file__)), str(place.hostname), str(place.port), str(gate.pid)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(Path(__file__).parents[2])}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # it is there
        try:
            yield seen
        finally:
            process.stdin.close()
            for key, value in json.loads(process.stdout.readline()).items():
                setattr(seen, key, value)


def _waited_s(schedstat: Path) -> float:
    """How long a thread was ready to run and the kernel had no processor for it."""
    return int(schedstat.read_text().split()[1]) / 1e9


def _rss_bytes(pid: str) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _watch(host: str, port: str, pid: str) -> Seen:
    seen = Seen()
    server, own = Path(f"/proc/{pid}/task/{pid}/schedstat"), Path("/proc/thread-self/schedstat")
    question = f"GET /livez HTTP/1.1\r\nHost: {host}\r\nUser-Agent: watch\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(question)
        connection.recv(65536)
        first = _rss_bytes(pid)
        print("watching", flush=True)
        sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        import selectors

        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ)
            while not selector.select(_EVERY_S):
                waited = _waited_s(server) + _waited_s(own)
                began = time.perf_counter()
                connection.sendall(question)
                connection.recv(65536)
                took = time.perf_counter() - began
                waited = _waited_s(server) + _waited_s(own) - waited
                seen.asked += 1
                seen.slowest_s = max(seen.slowest_s, took)
                seen.held_up_s = max(seen.held_up_s, took - waited)
                seen.grown_bytes = max(seen.grown_bytes, _rss_bytes(pid) - first)
    return seen


if __name__ == "__main__":
    print(json.dumps(vars(_watch(*sys.argv[1:]))), flush=True)

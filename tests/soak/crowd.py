"""Many at once: 1,000 idle connections to one replica, 200 installs at a time, and how long a warm page takes meanwhile.

The page is asked for by a process of its own (``python -m tests.soak.crowd ...``), on one connection, since the clients beside it
would distort what it measures. Time that the replica's main thread or that process waited for a processor is told apart: on a
machine that does other things, only what is left says something about the server. What is left is its least: both may have
waited at once.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tests.soak.clients import PlainInstallers, Site, note_trouble
from tests.soak.http import JSON_PAGE
from tests.soak.ledger import wheel
from tests.soak.replicas import Replica
from tests.soak.weather import WARM
from tests.support.packages import metadata, wheel_name

IDLE, INSTALLS = 1_000, 200
_EVERY_S = 0.01
_PAUSE_S = (0.5, 1.5)
"""Between two installs of one client: what pip takes to start and to unpack."""


async def gather_crowd(site: Site, replica: Replica, seconds: float) -> dict[str, Any]:
    """Figures of a crowd before one replica and the balancer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    installers = PlainInstallers(site)
    done = 0

    async def install(number: int) -> None:
        nonlocal done
        await asyncio.sleep(site.dice.uniform(*_PAUSE_S) * number / INSTALLS)
        while True:
            name = WARM[number % len(WARM)]
            began_s = time.monotonic()
            trouble = await installers.fetch(name, wheel_name(name, "1.0"), wheel(name, "1.0"), metadata(name, "1.0"))
            if trouble:
                note_trouble(site.record, f"in the crowd: {trouble}", began_s)
            done += 1
            await asyncio.sleep(site.dice.uniform(*_PAUSE_S))

    await site.http.once(f"{replica.url}/simple/{WARM[0]}/", JSON_PAGE)
    idle = [await _idle_connection(replica) for _ in range(IDLE)]
    clients = [asyncio.create_task(install(number)) for number in range(INSTALLS)]
    assert replica.process is not None
    arguments = [str(replica.port), str(replica.process.pid), f"/simple/{WARM[0]}/", site.http.token, str(seconds)]
    sampler = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.soak.crowd", *arguments, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    output, _ = await sampler.communicate()
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    still = sum(not reader.at_eof() for reader, _ in idle)
    for _, writer in idle:
        writer.close()
    if still < IDLE:
        site.record.break_(f"{IDLE - still} of {IDLE} idle connections were ended", replica.name)
    figures: dict[str, Any] = json.loads(output)
    return {**figures, "idle connections": still, "installs at once": INSTALLS, "installs a second": done / seconds}


async def _idle_connection(replica: Replica) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that was used once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: soak\r\n\r\n")
    await reader.readuntil(b"alive")
    await reader.readuntil(b"}")
    return reader, writer


def _waited_s(schedstat: Path) -> float:
    """How long a thread was ready to run and the kernel had no processor for it."""
    return int(schedstat.read_text().split()[1]) / 1e9


def _sample(port: int, pid: str, path: str, token: str, seconds: float) -> dict[str, float]:
    import base64

    server, own = Path(f"/proc/{pid}/task/{pid}/schedstat"), Path("/proc/thread-self/schedstat")
    credential = base64.b64encode(f"__token__:{token}".encode()).decode()
    head = f"GET {path} HTTP/1.1\r\nHost: soak\r\nAuthorization: Basic {credential}\r\nAccept: */*\r\n\r\n".encode()
    by_the_clock, of_the_server = [], []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, connection.makefile("rb") as answers:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            waited = _waited_s(server) + _waited_s(own)
            began = time.perf_counter()
            connection.sendall(head)
            status = answers.readline()
            length = 0
            while (line := answers.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
            took = time.perf_counter() - began
            assert status.split()[1] == b"200", status
            by_the_clock.append(took)
            of_the_server.append(max(0.0, took - (_waited_s(server) + _waited_s(own) - waited)))
            time.sleep(_EVERY_S)
    return {
        "asked": len(by_the_clock),
        "p50 by the clock, ms": 1e3 * percentile(by_the_clock, 50),
        "p99 by the clock, ms": 1e3 * percentile(by_the_clock, 99),
        "p99 of the server, ms": 1e3 * percentile(of_the_server, 99),
    }


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


if __name__ == "__main__":
    asked_port, asked_pid, asked_path, asked_token, asked_seconds = sys.argv[1:]
    print(json.dumps(_sample(int(asked_port), asked_pid, asked_path, asked_token, float(asked_seconds))))

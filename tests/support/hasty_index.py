"""An index as a process of its own, so that it can be frozen, and quick enough to be slow on purpose for thousands at once.

``python -m tests.support.hasty_index DELAY_S`` prints its port. Every answer takes the delay. Pages are at ``/simple/{name}/``:

* ``held...``: one wheel, and its core metadata;
* ``broken...``: 500, at once;
* ``silent...``: nothing, ever;
* ``later...``: 503 with ``Retry-After: 300``;
* ``stuck...``: a page whose file stops in the middle;
* ``sulking...``: a page whose file answers 429 with ``Retry-After: 300``;
* anything else: 404; its root lists ``held-1``.

``/asked`` counts what was asked before it, by the first word of the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.gate import fetch
from tests.support.packages import sha256, wheel_bytes, wheel_name

_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class HastyIndex:
    """A running one."""

    process: subprocess.Popen[bytes]
    origin: str

    @property
    def url(self) -> str:
        return f"{self.origin}/simple/"

    def asked(self, word: str) -> int:
        """How many requests there were for names that begin so."""
        found: dict[str, int] = json.loads(fetch(f"{self.origin}/asked").body)
        return found.get(word, 0)

    def freeze(self) -> None:
        """Let connections be made, and say nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def hasty_index(delay_s: float = 0.0) -> Iterator[HastyIndex]:
    """Run one until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", __name__, str(delay_s)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield HastyIndex(process, f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()  # also a frozen one
        process.wait(10)
        process.stdout.close()


class _Serving:
    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._asked: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                answer = await self._answer(path)
                stuck = path.startswith("/files/stuck")
                writer.write(answer[:-200] if stuck else answer)
                await writer.drain()
                if stuck:
                    await asyncio.sleep(300)
        writer.close()

    async def _answer(self, path: str) -> bytes:
        if path == "/asked":
            return _respond("200 OK", json.dumps(self._asked).encode())
        if path.strip("/") in ("", "simple"):
            await asyncio.sleep(self._delay_s)
            return _respond("200 OK", b'{"meta":{"api-version":"1.0"},"projects":[{"name":"held-1"}]}')
        place, name = path.strip("/").split("/")[:2]
        word = name.partition("-")[0]
        self._asked[word] += 1
        match place, word:
            case _, "silent":
                await asyncio.Event().wait()
            case _, "broken":
                return _respond("500 No", b"")
            case _, "later":
                return _respond("503 Later", b"", "Retry-After: 300")
            case "files", "sulking":
                return _respond("429 Slower", b"", "Retry-After: 300")
        await asyncio.sleep(self._delay_s)
        if word not in ("held", "stuck", "sulking"):
            return _respond("404 Not Found", b"")
        body = wheel_bytes(name, "1.0")
        if place == "files":
            return _respond("200 OK", body, kind="application/octet-stream")
        entry = {"filename": wheel_name(name, "1.0"), "url": f"/files/{name}/{wheel_name(name, '1.0')}", "size": len(body)}
        page = {"meta": {"api-version": "1.0"}, "name": name, "files": [{**entry, "hashes": {"sha256": sha256(body)}}]}
        return _respond("200 OK", json.dumps(page).encode())


def _respond(status: str, body: bytes, *lines: str, kind: str = _JSON) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


async def _main(delay_s: float) -> None:
    server = await asyncio.start_server(_Serving(delay_s).serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))

"""A company's outbound proxy on loopback, and a world behind it: host names lead where a test says, over real TLS."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trustme

from tests.support.lies import listening

Route = Callable[[str, int], int | None]
"""The port on loopback behind a host and port; ``None``: no such host."""


@dataclass
class Passed:
    """One request to the proxy itself: all that it can see."""

    line: str
    headers: dict[str, str]


@dataclass
class OutboundProxy:
    """Opens tunnels (CONNECT), passes plain http on, and remembers what it was asked and every byte it could read."""

    route: Route
    password: str | None = None
    """Of the user ``gate``; without one, everybody may pass."""
    answer: bytes | None = None
    """Said instead of opening a tunnel."""
    passed: list[Passed] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    """Every byte that clients sent, up to 1 MiB."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hosts(self) -> set[str]:
        """The authorities that tunnels were asked for."""
        return {passed.line.split()[1] for passed in self.passed if passed.line.startswith("CONNECT ")}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self._note(head)
        line, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        self.passed.append(Passed(line, headers))
        if self.password is not None:
            wanted = "Basic " + base64.b64encode(f"gate:{self.password}".encode()).decode()
            if headers.get("proxy-authorization") != wanted:
                answer = b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=proxy\r\nContent-Length: 0\r\n\r\n"
                writer.write(answer)
                return
        if self.answer is not None:
            writer.write(self.answer)
            return
        method, target, _ = line.split(" ")
        authority = target if method == "CONNECT" else target.split("/")[2]
        host, _, port = authority.rpartition(":") if ":" in authority else (authority, "", "80")
        found = self.route(host, int(port))
        if found is None:
            writer.write(b"HTTP/1.1 502 No such host\r\nContent-Length: 0\r\n\r\n")
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", found)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                kept = [text for text in lines if not text.lower().startswith("proxy-")]
                path = "/" + target.split("/", 3)[3]
                far_writer.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
            await asyncio.gather(self._pass(reader, far_writer, note=True), self._pass(far_reader, writer, note=False))
        finally:
            far_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool) -> None:
        try:
            while piece := await reader.read(65_536):
                if note:
                    self._note(piece)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def _note(self, data: bytes) -> None:
        if len(self.seen) < 1024 * 1024:
            self.seen += data


@contextmanager
def outbound(route: Route, *, password: str | None = None) -> Iterator[OutboundProxy]:
    """The proxy, gone when the block ends."""
    proxy = OutboundProxy(route, password)
    with listening(proxy.serve, "127.0.0.1") as proxy.port:
        yield proxy


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's side of TLS under these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context

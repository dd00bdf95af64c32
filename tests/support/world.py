"""The world behind a company's proxy, as witnesses: every host answers, and remembers each byte of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.support.lies import listening
from tests.support.tunnels import OutboundProxy, certified, outbound

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.pypi.simple.v1+json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
)


@dataclass
class Heard:
    """One request as it arrived somewhere."""

    url: str
    """Scheme, the host that was asked, and the raw path with its query."""
    head: bytes


@dataclass
class World:
    """Hosts by name, all of them witnesses; reached through ``proxy``."""

    heard: list[Heard] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)
    """A URL, and what is said there instead of a page."""
    proxy: OutboundProxy = None  # type: ignore[assignment]
    ca_file: Path = Path()

    def clear(self) -> None:
        self.heard.clear()
        self.answers.clear()

    def redirect(self, at: str, to: str, code: int) -> None:
        """Answer a URL with a redirect."""
        line = f"HTTP/1.1 {code} Over there\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.answers[at] = line.encode()

    async def _serve(self, scheme: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").split("\r\n")
            host = next(text.partition(":")[2].strip() for text in lines if text.lower().startswith("host:"))
            url = f"{scheme}://{host}{line.split(' ')[1]}"
            self.heard.append(Heard(url, head))
            writer.write(self.answers.get(url.partition("?")[0], ANSWER))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextmanager
def world(folder: Path, hosts: Sequence[str]) -> Iterator[World]:
    """These hosts, on every port, by https and http; gone when the block ends."""
    authority = trustme.CA()
    made = World(ca_file=folder / "ca.pem")
    authority.cert_pem.write_to_path(str(made.ca_file))
    with ExitStack() as stack:

        async def over_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await made._serve("https", reader, writer)

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await made._serve("http", reader, writer)

        tls = stack.enter_context(listening(over_tls, "127.0.0.1", certified(authority, *hosts)))
        clear = stack.enter_context(listening(plain, "127.0.0.1"))
        made.proxy = stack.enter_context(
            outbound(lambda host, port: (clear if port == 80 else tls) if host.lower() in hosts else None)
        )
        yield made

"""A container of as many blobs as wanted, at the wire: List Blobs as the service answers it, in a process of its own.

``python -m tests.support.fake_container BLOBS [--latency S]`` prints its port. The emulator holds as many, but takes an hour to
be filled and keeps them in its own memory. Names, sizes and times follow from a blob's number; nothing is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

PAGE = 5_000
ACCOUNT = "devstoreaccount1"
_HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://127.0.0.1/" ContainerName="big">'
_BLOB = (
    "<Blob><Name>{path}</Name><Properties><Creation-Time>Sun, 29 Nov 2026 10:{minute:02}:{second:02} GMT</Creation-Time>"
    "<Last-Modified>Sun, 29 Nov 2026 10:{minute:02}:{second:02} GMT</Last-Modified><Etag>0x8DF{etag:012X}</Etag>"
    "<Content-Length>{size}</Content-Length><Content-Type>application/octet-stream</Content-Type><Content-Encoding />"
    "<Content-Language /><Content-CRC64 /><Content-MD5>nXQhF7L9wrzZE5gkRiUkiA==</Content-MD5><Cache-Control />"
    "<Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true"
    "</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
    "<ServerEncrypted>true</ServerEncrypted></Properties>{facts}<OrMetadata /></Blob>"
)
_FILES = 10
"""Of a project."""


def path_of(number: int) -> str:
    """The blob of this number: ten sdists a project, in folders by team."""
    project = number // _FILES
    return f"team-{project % 97:02}/acme_part_{project:06}-1.{number % _FILES}.0.tar.gz"


def project_of(number: int) -> str:
    """The project of the blob of this number."""
    return f"acme-part-{number // _FILES:06}"


def _order(blobs: int) -> list[int]:
    return sorted(range(blobs), key=path_of)


def render_page(order: list[int], start: int, with_facts: bool) -> bytes:
    """One page of the listing, as the service writes it."""
    rows = []
    for number in order[start : start + PAGE]:
        digest = hashlib.sha256(b"%d" % number).hexdigest() if with_facts else ""
        facts = f"<Metadata><sha256>{digest}</sha256></Metadata>" if with_facts else "<Metadata />"
        rows.append(
            _BLOB.format(
                path=path_of(number),
                minute=number // 60 % 60,
                second=number % 60,
                etag=number * 7919,
                size=1000 + number % 90_000,
                facts=facts,
            )
        )
    following = str(start + PAGE) if start + PAGE < len(order) else ""
    marker = f"<NextMarker>{following}</NextMarker>" if following else "<NextMarker />"
    return f"{_HEAD}<Blobs>{''.join(rows)}</Blobs>{marker}</EnumerationResults>".encode()


_NOT_FOUND = (
    b"HTTP/1.1 404 The specified blob does not exist.\r\nx-ms-error-code: BlobNotFound\r\nx-ms-request-id: fake\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class _Service:
    def __init__(self, blobs: int, latency_s: float, with_facts: bool) -> None:
        self._order = _order(blobs)
        self._latency_s = latency_s
        self._with_facts = with_facts
        self._pages: dict[int, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
                if not query and target.count("/") > 2:  # no blob that anybody asks for by name
                    writer.write(_NOT_FOUND)
                    continue
                body = await self._answer(query)
                writer.write(
                    b'HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nETag: "0x8DC0FFEE"\r\nx-ms-request-id: fake\r\n'
                    b"Last-Modified: Sun, 29 Nov 2026 10:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, query: dict[str, str]) -> bytes:
        if query.get("comp") != "list":
            return b""
        await asyncio.sleep(self._latency_s)
        start = int(query.get("marker", "0"))
        if start not in self._pages:
            self._pages[start] = render_page(self._order, start, self._with_facts)
        return self._pages[start]


async def _run(blobs: int, latency_s: float, with_facts: bool) -> None:
    service = _Service(blobs, latency_s, with_facts)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def fake_container(blobs: int, *, latency_s: float = 0.0, with_facts: bool = True) -> Iterator[str]:
    """The URL of a container of so many blobs, until the block ends."""
    options = [str(blobs), "--latency", str(latency_s), *(["--facts"] if with_facts else [])]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_container", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/{ACCOUNT}/big"
        finally:
            process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("blobs", type=int)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--facts", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(_run(chosen.blobs, chosen.latency, chosen.facts))

"""An upstream on loopback that lies, byte by byte: raw sockets, because no HTTP library lets one answer this wrongly.

Each lie has a name, which is also the name of a project and the first segment of its paths: ``/{name}/simple/{name}/`` is its
page and ``/{name}/files/...`` are its files. So every lie can be a source of its own, with a health of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.gate import Gate
from tests.support.packages import sha256, wheel_bytes, wheel_name

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
MIB = 1024 * 1024
UNAVAILABLE, WRONG = 503, 502


@dataclass
class Asked:
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""


class Talk:
    """One request and the connection it came by: the lie writes whatever it likes."""

    def __init__(self, liar: Liar, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.liar = liar
        self.asked = asked
        self.name = asked.path.strip("/").split("/")[0]
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def head(self, *lines: str, status: str = "200 OK", kind: str | None = JSON) -> None:
        head = [f"HTTP/1.1 {status}", *([f"Content-Type: {kind}"] if kind else []), *lines, "", ""]
        await self.send("\r\n".join(head).encode("latin-1"))

    async def answer(self, body: bytes, *lines: str, status: str = "200 OK", kind: str | None = JSON) -> None:
        """A whole, well-formed answer."""
        await self.head(f"Content-Length: {len(body)}", *lines, status=status, kind=kind)
        await self.send(body)

    async def chunk(self, body: bytes) -> None:
        await self.send(b"%x\r\n" % len(body), body, b"\r\n")

    @property
    def page(self) -> bytes:
        """The honest page."""
        return self.liar.page(self.name)

    @property
    def html(self) -> bytes:
        return self.liar.html(self.name)

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Lie = Callable[[Talk], Awaitable[None]]


@dataclass
class Liar:
    """Serves an honest page and an honest file for every name, but where ``pages`` or ``files`` know a lie for it."""

    pages: dict[str, Lie] = field(default_factory=dict)
    files: dict[str, Lie] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """By name: bytes of padding in its wheel."""
    entry: dict[str, dict[str, object]] = field(default_factory=dict)
    """By name: keys that replace those of the listing; ``None`` leaves one out."""
    asked: list[Asked] = field(default_factory=list)
    origin: str = ""

    def url(self, name: str) -> str:
        return f"{self.origin}/{name}/simple/"

    def body(self, name: str) -> bytes:
        return _wheel(name, self.sizes.get(name, 0))

    def page(self, name: str) -> bytes:
        body = self.body(name)
        entry: dict[str, object] = {
            "filename": wheel_name(name, "1.0"),
            "url": f"../../files/{wheel_name(name, '1.0')}",
            "hashes": {"sha256": hashlib.sha256(body).hexdigest()},
            "size": len(body),
            "upload-time": "2025-01-01T00:00:00Z",
            **self.entry.get(name, {}),
        }
        entry = {key: value for key, value in entry.items() if value is not None}
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": [entry]}).encode()

    def html(self, name: str) -> bytes:
        file = wheel_name(name, "1.0")
        link = f'<a href="../../files/{file}#sha256={hashlib.sha256(self.body(name)).hexdigest()}">{file}</a>'
        return f"<!DOCTYPE html><html><head><title>Links for {name}</title></head><body>{link}</body></html>".encode()

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    def asked_for(self, name: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.startswith(f"/{name}/")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:]) if key}
                asked = Asked(method, path, headers)
                self.asked.append(asked)
                talk = Talk(self, asked, writer)
                await self._lie(talk)
                if writer.is_closing():
                    break
        writer.close()

    async def _lie(self, talk: Talk) -> None:
        segments = talk.asked.path.strip("/").split("/")
        lies = self.files if segments[1:2] == ["files"] else self.pages
        if talk.name in lies:
            await lies[talk.name](talk)
        elif segments[1:2] == ["files"]:
            await honest_file(talk)
        else:
            await talk.answer(talk.page)


def config_for(liar: Liar, names: Iterable[str], **settings: object) -> str:
    """A source for each lie, so that none is believed less because of another."""
    more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    return "".join(
        f'[[source]]\nname = "{name}"\ntype = "index"\nurl = "{liar.url(name)}"\nprivate = false\n'
        f'only = ["{name}", "{name}-again*"]\n{more}'
        for name in names
    )


def file_of(name: str) -> str:
    """Where the server has the one file of a name."""
    return f"/files/{name}/{wheel_name(name, '1.0')}"


def kept(gate: Gate, name: str) -> Path:
    """Where the store keeps it."""
    return gate.data / "store" / "cache" / name / name / wheel_name(name, "1.0")


def assert_nothing_wrong_is_kept(gate: Gate, liar: Liar) -> None:
    """Every body in the store is the one that the honest listing of its project promises, and the spool is empty."""
    for path in (gate.data / "store" / "cache").rglob("*"):
        if path.is_file():
            assert sha256(path.read_bytes()) == sha256(liar.body(path.parent.name)), path
    wait_until(lambda: not list((gate.data / "store" / ".spool").glob("*/[0-9a-f]*")))


def stalled(gate: Gate, path: str) -> socket.socket:
    """A connection that has asked for something, with a small window, and has read nothing yet."""
    place = urlsplit(gate.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.settimeout(30)
    connection.connect((place.hostname, place.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def wait_until(condition: Callable[[], bool], wait_s: float = 10) -> None:
    """Fails if it does not come about."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@cache
def _wheel(name: str, padding: int) -> bytes:
    return wheel_bytes(name, "1.0", padding=padding)


async def honest_file(talk: Talk) -> None:
    """The wheel, or the range of it that was asked for."""
    body = talk.liar.body(talk.name)
    start, end = span(talk.asked.headers.get("range"), len(body))
    kind = "application/octet-stream"
    if "range" not in talk.asked.headers:
        await talk.answer(body, kind=kind)
    else:
        content_range = f"Content-Range: bytes {start}-{end - 1}/{len(body)}"
        await talk.answer(body[start:end], content_range, status="206 Partial Content", kind=kind)


def span(header: str | None, size: int) -> tuple[int, int]:
    first, _, last = (header or "bytes=0-").removeprefix("bytes=").partition("-")
    if not first:
        return size - int(last), size
    return int(first), min(int(last) + 1, size) if last else size


@contextmanager
def running(liar: Liar, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Liar]:
    """Serve until the block ends, on a thread of its own."""
    with listening(liar.serve, host, tls) as port:
        liar.origin = f"{'https' if tls else 'http'}://{host}:{port}"
        yield liar


@contextmanager
def witness(host: str) -> Iterator[tuple[int, list[str]]]:
    """A port where nobody may come: the port, and the peers that came all the same."""
    seen: list[str] = []

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(str(writer.get_extra_info("peername")))
        writer.close()

    with listening(note, host) as port:
        yield port, seen


@contextmanager
def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    host: str,
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """A TCP server on a thread of its own; its port."""
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()
    port = 0

    async def run() -> None:
        nonlocal port
        talks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            try:
                await serve(reader, writer)
            except asyncio.CancelledError:
                writer.transport.abort()
            finally:
                talks.discard(task)

        server = await asyncio.start_server(accept, host, 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await hang_up()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def hang_up() -> None:
    """End every connection of this loop, also those whose end nobody waited for: half a handshake, half a farewell."""
    for transport in list(asyncio.get_running_loop()._transports.values()):  # type: ignore[attr-defined]
        transport.abort()
    await asyncio.sleep(0.02)


# ---- bodies cut short, too long, or never ending ------------------------------------------------------------------------


async def cut_length(talk: Talk) -> None:
    await talk.head(f"Content-Length: {len(talk.page)}")
    await talk.send(talk.page[: len(talk.page) // 2])
    talk.writer.close()


async def cut_chunked(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked")
    await talk.chunk(talk.page[: len(talk.page) // 2])
    talk.writer.close()


async def cut_close(talk: Talk) -> None:
    await talk.head("Connection: close")
    await talk.send(talk.page[:-20])
    talk.writer.close()


async def cut_close_html(talk: Talk) -> None:
    await talk.head("Connection: close", kind=HTML)
    await talk.send(talk.html[: talk.html.index(b"</a>")])
    talk.writer.close()


async def cut_gzip(talk: Talk) -> None:
    await talk.answer(gzip.compress(talk.page)[:-12], "Content-Encoding: gzip")


async def broken_gzip(talk: Talk) -> None:
    body = bytearray(gzip.compress(talk.page))
    body[20:60] = b"\xff" * 40
    await talk.answer(bytes(body), "Content-Encoding: gzip")


async def no_gzip(talk: Talk) -> None:
    await talk.answer(talk.page, "Content-Encoding: gzip")


async def length_too_small(talk: Talk) -> None:
    await talk.head(f"Content-Length: {len(talk.page) - 50}")
    await talk.send(talk.page[:-50])
    await asyncio.sleep(0.05)
    await talk.send(talk.page[-50:])


async def length_too_large(talk: Talk) -> None:
    await talk.head(f"Content-Length: {len(talk.page) + 50}")
    await talk.send(talk.page)
    talk.writer.close()


async def length_of_nothing(talk: Talk) -> None:
    await talk.head("Content-Length: 0")


async def gzip_bomb(talk: Talk) -> None:
    """1 GB of zeros in 1 MB."""
    await talk.answer(bomb(), "Content-Encoding: gzip")


@cache
def bomb() -> bytes:
    """Takes seconds to make: who measures how long a server needs makes it before."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(1000)) + packer.flush()


async def gzip_members(talk: Talk) -> None:
    """Many small members, each an empty body of its own."""
    await talk.head("Transfer-Encoding: chunked", "Content-Encoding: gzip")
    members = gzip.compress(b" ") * 10_000
    for _ in range(400):
        await talk.chunk(members)
    await talk.chunk(b"")


async def gzip_then_more(talk: Talk) -> None:
    """A right page, and behind it what never ends."""
    await talk.head("Transfer-Encoding: chunked", "Content-Encoding: gzip")
    await talk.chunk(gzip.compress(talk.page))
    while True:
        await talk.chunk(bytes(MIB))


async def gzip_of_nothing(talk: Talk) -> None:
    """Compressed data without end that inflates to no byte at all: empty stored blocks (RFC 1951, 3.2.4)."""
    await talk.head("Transfer-Encoding: chunked", "Content-Encoding: gzip")
    await talk.chunk(gzip.compress(b"")[:10])
    while True:
        await talk.chunk(b"\x00\x00\x00\xff\xff" * 100_000)


async def endless(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked")
    await talk.chunk(talk.page[:-2])
    while True:
        await talk.chunk(b',{"filename":"x"}' * 60_000)


async def endless_without_framing(talk: Talk) -> None:
    await talk.head("Connection: close", kind=HTML)
    while True:
        await talk.send(b"<a href=x>x</a>" * 60_000)


async def endless_headers(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await talk.send(b"X-More: and more\r\n" * 1000)


async def endless_header(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        await talk.send(b"x" * 60_000)


async def endless_interim(talk: Talk) -> None:
    while True:
        await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await asyncio.sleep(0.01)


# ---- failing, silent and slow -------------------------------------------------------------------------------------------


async def status(talk: Talk, line: str, headers: tuple[str, ...] = ()) -> None:
    await talk.answer(b"sorry", *headers, status=line, kind="text/plain")


async def reset(talk: Talk) -> None:
    talk.reset()


async def reset_in_body(talk: Talk) -> None:
    await talk.head(f"Content-Length: {len(talk.page)}")
    await talk.send(talk.page[:50])
    talk.reset()


async def close(talk: Talk) -> None:
    talk.writer.close()


async def hang(_talk: Talk) -> None:
    await asyncio.sleep(60)


async def hang_in_body(talk: Talk) -> None:
    await talk.head(f"Content-Length: {len(talk.page)}")
    await talk.send(talk.page[:50])
    await asyncio.sleep(60)


async def hang_at_the_end(talk: Talk) -> None:
    """All bytes are there; the length says otherwise."""
    await talk.head(f"Content-Length: {len(talk.page) + 50}")
    await talk.send(talk.page)
    await asyncio.sleep(60)


async def drip(talk: Talk) -> None:
    await talk.head(f"Content-Length: {len(talk.page)}")
    for at in range(len(talk.page)):
        await talk.send(talk.page[at : at + 1])
        await asyncio.sleep(0.3)


async def drip_headers(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\n")
    for at in range(200):
        await talk.send(f"X-{at}: y\r\n".encode())
        await asyncio.sleep(0.3)


# ---- redirects ----------------------------------------------------------------------------------------------------------

INNER = {
    "link-local": "http://169.254.7.7/simple/x/",
    "metadata": "http://169.254.169.254/metadata/identity",
    "metadata-in-ipv6": "http://[::ffff:169.254.169.254]/",
    "metadata-as-number": "http://2852039166/",
    "metadata-as-octal": "http://0251.0376.0251.0376/",
    "wire-server": "http://168.63.129.16/machine",
    "inner": "http://10.0.0.1/simple/x/",
    "inner-ipv6": "http://[fd00::1]/",
    "loopback-ipv6": "http://[::1]:9/",
    "this-host": "http://0.0.0.0/",
    "half-an-ipv6": "http://[::1/",
    "script": "javascript:alert(1)",
    "local-file": "file:///etc/passwd",
    "other-scheme": "ftp://127.0.0.1/",
    "signed-in": "http://user:secret@127.0.0.1/",
    "backslash": "http:\\\\127.0.0.1\\",
    "public-elsewhere": "https://elsewhere.invalid/simple/x/",
}
"""Where no upstream may lead us."""


async def redirect(talk: Talk, to: str, code: int = 302) -> None:
    await talk.answer(b"", f"Location: {to}", status=f"{code} Elsewhere", kind=None)


async def redirect_loop(talk: Talk) -> None:
    await redirect(talk, talk.asked.path)


async def redirect_without_end(talk: Talk) -> None:
    await redirect(talk, talk.asked.path + "x/")


# ---- what is not an index page, or not this one -------------------------------------------------------------------------

SIGN_IN = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action=/login><input></form></body></html>"


async def content(talk: Talk, body: bytes, kind: str | None = JSON, line: str = "200 OK") -> None:
    await talk.answer(body, status=line, kind=kind)


async def of_type(talk: Talk, kind: str | None) -> None:
    await talk.answer(talk.page, kind=kind)


async def raw(talk: Talk, data: bytes) -> None:
    await talk.send(data)
    talk.writer.close()


async def encoded(talk: Talk, encoding: str) -> None:
    await talk.answer(talk.page, f"Content-Encoding: {encoding}")


async def bad_chunk(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked")
    await talk.send(b"zz\r\n", talk.page, b"\r\n0\r\n\r\n")


async def length_and_chunked(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked", "Content-Length: 5")
    await talk.chunk(talk.page)
    await talk.chunk(b"")


def _json(**keys: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "files": [], **keys}).encode()


PAGES: dict[str, tuple[Lie, int]] = {
    "cut-length": (cut_length, UNAVAILABLE),
    "cut-chunked": (cut_chunked, UNAVAILABLE),
    "cut-close": (cut_close, UNAVAILABLE),
    "cut-close-html": (cut_close_html, UNAVAILABLE),
    "cut-gzip": (cut_gzip, UNAVAILABLE),
    "broken-gzip": (broken_gzip, WRONG),
    "no-gzip": (no_gzip, WRONG),
    "length-too-small": (length_too_small, WRONG),
    "length-too-large": (length_too_large, UNAVAILABLE),
    "length-of-nothing": (length_of_nothing, WRONG),
    "gzip-bomb": (gzip_bomb, WRONG),
    "gzip-members": (gzip_members, WRONG),
    "gzip-then-more": (gzip_then_more, WRONG),
    "gzip-of-nothing": (gzip_of_nothing, WRONG),
    "endless": (endless, WRONG),
    "endless-without-framing": (endless_without_framing, WRONG),
    "endless-headers": (endless_headers, UNAVAILABLE),
    "endless-header": (endless_header, UNAVAILABLE),
    "status-500": (partial(status, line="500 No"), UNAVAILABLE),
    "status-502": (partial(status, line="502 No"), UNAVAILABLE),
    "status-503": (partial(status, line="503 No"), UNAVAILABLE),
    "status-504": (partial(status, line="504 No"), UNAVAILABLE),
    "status-429": (partial(status, line="429 Slower"), UNAVAILABLE),
    "status-410": (partial(status, line="410 Gone"), WRONG),
    "status-400": (partial(status, line="400 Bad"), WRONG),
    "status-204": (partial(raw, data=b"HTTP/1.1 204 No\r\n\r\n"), WRONG),
    "status-304": (partial(raw, data=b"HTTP/1.1 304 Same\r\n\r\n"), WRONG),
    "status-206": (partial(content, body=_json(), line="206 Part"), WRONG),
    "reset": (reset, UNAVAILABLE),
    "reset-in-body": (reset_in_body, UNAVAILABLE),
    "close": (close, UNAVAILABLE),
    "redirect-loop": (redirect_loop, WRONG),
    "redirect-without-end": (redirect_without_end, WRONG),
    "redirect-nowhere": (partial(raw, data=b"HTTP/1.1 302 Elsewhere\r\nContent-Length: 0\r\n\r\n"), WRONG),
    "redirect-to-sign-in": (partial(redirect, to="/_signin?realm=x"), WRONG),
    "redirect-to-login": (partial(redirect, to="/login/?next=x"), WRONG),
    "status-401": (
        partial(
            status,
            line="401 Who",
        ),
        WRONG,
    ),
    "status-403": (partial(status, line="403 No"), WRONG),
    "sign-in-203": (partial(content, body=SIGN_IN, kind=HTML, line="203 Sign in"), WRONG),
    "sign-in-200": (partial(content, body=SIGN_IN, kind=HTML), WRONG),
    "portal": (partial(content, body=b'<html><body><a href="/terms.html">Accept</a></body></html>', kind=HTML), WRONG),
    "nothing-html": (partial(content, body=b"", kind=HTML), WRONG),
    "not-http": (partial(raw, data=b"SSH-2.0-OpenSSH_9.0\r\n"), UNAVAILABLE),
    "not-http-binary": (partial(raw, data=bytes(range(256)) * 100), UNAVAILABLE),
    "http-0": (partial(raw, data=b"<html>hello</html>"), UNAVAILABLE),
    "status-999999": (partial(raw, data=b"HTTP/1.1 999999 What\r\nContent-Length: 0\r\n\r\n"), UNAVAILABLE),
    "length-and-chunked": (length_and_chunked, UNAVAILABLE),
    "length-negative": (partial(raw, data=b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), UNAVAILABLE),
    "two-lengths": (
        partial(raw, data=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        UNAVAILABLE,
    ),
    "type-text": (partial(of_type, kind="text/plain"), WRONG),
    "type-json": (partial(of_type, kind="application/json"), WRONG),
    "type-image": (partial(of_type, kind="image/png"), WRONG),
    "type-none": (partial(of_type, kind=None), WRONG),
    "type-broken": (partial(of_type, kind=";;;/"), WRONG),
    "type-html-of-json": (partial(of_type, kind=HTML), WRONG),
    "charset-unknown": (partial(content, body=b"<title>Links for x</title>", kind="text/html; charset=klingon"), WRONG),
    "encoding-br": (partial(encoded, encoding="br"), WRONG),
    "encoding-zstd": (partial(encoded, encoding="zstd"), WRONG),
    "encoding-twice": (partial(encoded, encoding="gzip, gzip"), WRONG),
    "json-not": (partial(content, body=b"{]"), WRONG),
    "json-null": (partial(content, body=b"null"), WRONG),
    "json-list": (partial(content, body=b"[]"), WRONG),
    "json-number": (partial(content, body=b"1" * 1_000_000), WRONG),
    "json-deep": (partial(content, body=b'{"files":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"), WRONG),
    "json-deep-meta": (partial(content, body=b'{"files":[],"meta":' + b'{"a":' * 500_000 + b"1" + b"}" * 500_001), WRONG),
    "json-files-null": (partial(content, body=_json(files=None)), WRONG),
    "json-files-text": (partial(content, body=_json(files="all of them")), WRONG),
    "json-utf16": (partial(content, body=_json().decode().encode("utf-16")), WRONG),
    "json-other-name": (partial(content, body=_json(name="another")), WRONG),
    "json-version-2": (partial(content, body=_json(meta={"api-version": "2.0"})), WRONG),
}
"""Lies about a page that end quickly, and the status that each deserves."""

COSTLY = [name for name in PAGES if name.startswith(("gzip-", "endless", "json-deep", "json-number"))]
"""Those of them that would cost memory or time, if they could."""

SLOW_PAGES: dict[str, tuple[Lie, int]] = {
    "hang": (hang, UNAVAILABLE),
    "hang-in-body": (hang_in_body, UNAVAILABLE),
    "hang-at-the-end": (hang_at_the_end, UNAVAILABLE),
    "drip": (drip, UNAVAILABLE),
    "bad-chunk": (bad_chunk, UNAVAILABLE),
    "drip-headers": (drip_headers, UNAVAILABLE),
    "endless-interim": (endless_interim, UNAVAILABLE),
}
"""Lies about a page that cost all the time there is."""

ODD_PAGES: dict[str, Lie] = {
    "html-deep": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<div>" * 2_000_000),
    "html-deep-mixed": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<b><i><table><a href=#>" * 100_000),
    "html-attribute": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b'<a x="' * 500_000),
    "html-attributes": partial(content, kind=HTML, body=b"<title>Links for x</title><a " + b"x=y " * 300_000 + b">"),
    "html-comment": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<!--" * 1_000_000),
    "html-declaration": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<!DOCTYPE [" * 300_000),
    "html-entity": partial(content, kind=HTML, body=b"<title>Links for x</title><a href='" + b"&#x2e;" * 1_000_000 + b"'>"),
    "html-href": partial(content, kind=HTML, body=b"<title>Links for x</title><a href='" + b"../" * 1_000_000 + b"x.whl'>"),
    "html-text": partial(content, kind=HTML, body=b"<title>" + b"Links for x " * 3_000_000 + b"</title>"),
    "html-tag": partial(content, kind=HTML, body=b"<title>Links for x</title><" + b"x" * 20_000_000 + b">"),
    "html-anchors": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<a href=x>" * 700_000),
    "html-bases": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<base href=/x>" * 500_000),
    "html-meta": partial(content, kind=HTML, body=b"<title>Links for x</title>" + b"<meta name=a content=b>" * 500_000),
    "html-null": partial(content, kind=HTML, body=b"<title>Links for x</title>" + bytes(5_000_000)),
    "json-keys": partial(content, body=b'{"files":[' + b",".join(b'{"%d":1}' % at for at in range(300_000)) + b"]}"),
    "json-versions": partial(content, body=b'{"files":[],"versions":[' + b'"1.0",' * 3_000_000 + b'"1"]}'),
    "json-meta": partial(content, body=b'{"files":[],"meta":{' + b",".join(b'"%d":0' % at for at in range(900_000)) + b"}}"),
    "json-unknown": partial(content, body=b'{"files":[],"more":[' + b"[]," * 6_000_000 + b"1]}"),
    "json-string": partial(content, body=b'{"files":[],"more":"' + b"x" * 60_000_000 + b'"}'),
    "json-escapes": partial(content, body=b'{"files":[],"name":"' + b"\\u0041" * 3_000_000 + b'"}'),
    "json-numbers": partial(content, body=b'{"files":[' + b"1e999," * 700_000 + b"1]}"),
    "json-hashes": partial(
        content, body=b'{"files":[{"filename":"x","url":"y","hashes":{' + b'"a":"b",' * 900_000 + b'"c":"d"}}]}'
    ),
}
"""Pages made to cost time or memory. Each is legal enough to be answered either way, but never late."""


# ---- files --------------------------------------------------------------------------------------------------------------

BYTES = "application/octet-stream"


async def file_cut(talk: Talk) -> None:
    body = talk.liar.body(talk.name)
    await talk.head(f"Content-Length: {len(body)}", kind=BYTES)
    await talk.send(body[:-1000])
    talk.writer.close()


async def file_cut_chunked(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked", kind=BYTES)
    await talk.chunk(talk.liar.body(talk.name)[:-1000])
    talk.writer.close()


async def file_cut_close(talk: Talk) -> None:
    await talk.head("Connection: close", kind=BYTES)
    await talk.send(talk.liar.body(talk.name)[:-1000])
    talk.writer.close()


async def file_announced_shorter(talk: Talk) -> None:
    await talk.answer(talk.liar.body(talk.name)[:-1000], kind=BYTES)


async def file_longer(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked", kind=BYTES)
    await talk.chunk(talk.liar.body(talk.name))
    await talk.chunk(bytes(200_000))
    await talk.chunk(b"")


async def file_endless(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked", kind=BYTES)
    await talk.chunk(talk.liar.body(talk.name))
    while True:
        await talk.chunk(bytes(MIB))


async def file_other(talk: Talk) -> None:
    """Right length, other bytes: the last one is changed."""
    body = talk.liar.body(talk.name)
    await talk.answer(body[:-1] + bytes([body[-1] ^ 1]), kind=BYTES)


async def file_other_chunked(talk: Talk) -> None:
    body = talk.liar.body(talk.name)
    await talk.head("Transfer-Encoding: chunked", kind=BYTES)
    await talk.chunk(body[:-1] + bytes([body[-1] ^ 1]))
    await talk.chunk(b"")


async def file_gzipped(talk: Talk) -> None:
    await talk.answer(gzip.compress(talk.liar.body(talk.name)), "Content-Encoding: gzip", kind=BYTES)


async def file_broken_in_the_middle(talk: Talk) -> None:
    body = talk.liar.body(talk.name)
    await talk.head(f"Content-Length: {len(body)}", kind=BYTES)
    await talk.send(body[: len(body) // 2])
    talk.reset()


FILES: dict[str, tuple[Lie, int]] = {
    "file-cut": (file_cut, UNAVAILABLE),
    "file-cut-chunked": (file_cut_chunked, UNAVAILABLE),
    "file-cut-close": (file_cut_close, UNAVAILABLE),
    "file-announced-shorter": (file_announced_shorter, WRONG),
    "file-longer": (file_longer, WRONG),
    "file-endless": (file_endless, WRONG),
    "file-other": (file_other, WRONG),
    "file-other-chunked": (file_other_chunked, WRONG),
    "file-gzipped": (file_gzipped, WRONG),
    "file-broken-in-the-middle": (file_broken_in_the_middle, UNAVAILABLE),
    "file-reset": (reset, UNAVAILABLE),
    "file-404": (partial(status, line="404 No"), WRONG),
    "file-410": (partial(status, line="410 Gone"), WRONG),
    "file-401": (partial(status, line="401 Who"), WRONG),
    "file-403": (partial(status, line="403 No"), WRONG),
    "file-429": (partial(status, line="429 Slower"), UNAVAILABLE),
    "file-503": (partial(status, line="503 No"), UNAVAILABLE),
    "file-206": (partial(content, body=b"part", kind=BYTES, line="206 Part"), WRONG),
    "file-203": (partial(content, body=SIGN_IN, kind=HTML, line="203 Sign in"), WRONG),
    "file-sign-in": (partial(content, body=SIGN_IN, kind=HTML), WRONG),
    "file-to-sign-in": (partial(redirect, to="/_signin?x"), WRONG),
    "file-loop": (redirect_loop, WRONG),
}
"""Lies about a small file that end quickly: no byte of it may be sent, so that the status can say what is wrong."""


# ---- pages whose entries lie --------------------------------------------------------------------------------------------


def entries(name: str, count: int) -> list[dict[str, object]]:
    """Honest-looking entries for many files."""
    return [
        {
            "filename": f"{name.replace('-', '_')}-{at}.0-py3-none-any.whl",
            "url": f"../../files/{name.replace('-', '_')}-{at}.0-py3-none-any.whl",
            "hashes": {"sha256": hashlib.sha256(f"{name} {at}".encode()).hexdigest()},
            "size": 1000 + at,
            "upload-time": "2025-01-01T00:00:00Z",
        }
        for at in range(count)
    ]


def json_of(name: str, files: list[dict[str, object]]) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()


def html_of(name: str, files: list[dict[str, object]]) -> bytes:
    links = "".join(f'<a href="{f["url"]}#sha256={f["hashes"]["sha256"]}">{f["filename"]}</a>\n' for f in files)  # type: ignore[index]
    return f"<!DOCTYPE html><html><head><title>Links for {name}</title></head><body>{links}</body></html>".encode()

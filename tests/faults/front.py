"""A front of the storage emulator on loopback: passes every request on, or does to it what a bad day at Azure does.

Answers of failing storage are worded as the service words them (the status, `x-ms-error-code`, the XML body; none to HEAD):
learn.microsoft.com, "Common REST API error codes" and "Blob service error codes".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

from tests.support.lies import hang_up


@dataclass
class Asked:
    """One request to the storage account."""

    method: str
    target: str
    head: bytes
    body: bytes
    number: int = 0
    """Of the writes that the front counted, from 1; 0 if this is none."""

    @property
    def path(self) -> str:
        """Below the container."""
        return self.target.partition("?")[0].split("/", 3)[-1]

    @property
    def writes(self) -> bool:
        return self.method in ("PUT", "DELETE")

    @property
    def lists(self) -> bool:
        return "comp=list" in self.target and "restype=container" in self.target


@dataclass
class Answered:
    """The emulator's answer, whole."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])


class StorageTalk:
    """One request, and the connection it came by."""

    def __init__(self, front: Front, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.front = front
        self.asked = asked
        self._writer = writer

    async def forward(self) -> Answered:
        """Ask the emulator."""
        return await self.front.forward(self.asked)

    async def send(self, answered: Answered) -> None:
        self._writer.write(answered.head + answered.body)
        await self._writer.drain()

    async def pass_on(self) -> None:
        await self.send(await self.forward())

    async def send_raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def fail(self, status: str, code: str, message: str, *headers: str, detail: str = "") -> None:
        """Answer with an error as the service words it."""
        when = "2026-11-29T12:00:00.0000000Z"
        more = f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>" if detail else ""
        body = (
            f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}\n'
            f"RequestId:00000000-001e-0000-0000-000000000000\nTime:{when}</Message>{more}</Error>"
        ).encode()
        head = [
            f"HTTP/1.1 {status}",
            f"Content-Length: {len(body) if self.asked.method != 'HEAD' else 0}",
            "Content-Type: application/xml",
            "Server: Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
            "x-ms-request-id: 00000000-001e-0000-0000-000000000000",
            f"x-ms-error-code: {code}",
            f"Date: {formatdate(usegmt=True)}",
            *headers,
            "",
            "",
        ]
        await self.send_raw("\r\n".join(head).encode() + (body if self.asked.method != "HEAD" else b""))

    def reset(self) -> None:
        """End the connection with RST."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


Trouble = Callable[[StorageTalk], Awaitable[None]]


@dataclass
class Front:
    """Listens before an emulator; ``trouble`` answers every request while it is set."""

    port: int
    """The emulator's."""
    url: str = ""
    trouble: Trouble | None = None
    deaf: bool = False
    """Nothing more is read of a request that has begun, and nothing is answered."""
    asked: list[str] = field(default_factory=list)
    """Method and target of each request."""
    kill_at: int | None = None
    """End the process ``victim`` by ``kill -9`` at the write of this number, counted from when it was set."""
    kill_after: bool = False
    """Only when the emulator has done it."""
    victim: int = 0
    written: int = 0
    killed: threading.Event = field(default_factory=threading.Event)
    on_port: int = 0
    """Listen there; 0: anywhere."""

    def arm(self, number: int, victim: int, *, after: bool) -> None:
        """Kill at the write of this number from now on."""
        self.killed.clear()
        self.written, self.victim, self.kill_after, self.kill_at = 0, victim, after, number

    def disarm(self) -> None:
        self.kill_at = None

    async def forward(self, asked: Asked) -> Answered:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", asked.head)[:-2] + b"Connection: close\r\n\r\n" + asked.body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = b"" if asked.method == "HEAD" else await _read_body(head, reader, until_end=True)
        finally:
            writer.close()
        kept = re.sub(rb"(?i)\r\n(connection|keep-alive|transfer-encoding): [^\r]*", b"", head)
        if not re.search(rb"(?i)\r\ncontent-length:", kept) and asked.method != "HEAD" and not kept.startswith(b"HTTP/1.1 304"):
            kept = kept[:-2] + b"Content-Length: %d\r\n\r\n" % len(body)
        return Answered(kept, body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the front stops listening, and then nobody waits for this task.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                while self.deaf:
                    await asyncio.sleep(0.05)
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                if re.search(rb"(?i)\r\nexpect: 100-continue", head):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                asked = Asked(method, target, head, await _read_body(head, reader, until_end=False))
                await self._answer(asked, writer)
        writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked.append(f"{asked.method} {asked.target}")
        talk = StorageTalk(self, asked, writer)
        if self.kill_at is not None and asked.writes:
            self.written += 1
            asked.number = self.written
            if self.written == self.kill_at:
                if self.kill_after:
                    await self.forward(asked)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.victim, signal.SIGKILL)
                self.killed.set()
                return talk.reset()
        if self.trouble is not None:
            return await self.trouble(talk)
        try:
            await talk.pass_on()
        except (OSError, asyncio.IncompleteReadError):
            talk.reset()
        return None


async def _read_body(head: bytes, reader: asyncio.StreamReader, *, until_end: bool) -> bytes:
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
        return body
    if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        return await reader.readexactly(int(length[1]))
    return await reader.read() if until_end else b""


@contextmanager
def front_listening(front: Front) -> Iterator[None]:
    """Listen; again on the same port, if it did before."""
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(front.serve, "127.0.0.1", front.on_port, limit=1024 * 1024, reuse_address=True)
        front.on_port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await hang_up()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert started.wait(10)
    front.url = f"http://127.0.0.1:{front.on_port}"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()

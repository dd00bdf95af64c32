"""The upload form: any body under any content type, through aiohttp's own reader, in one packet or in many."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from tests.fuzzing.target import Target, assert_sentence
from tests.support.clock import FakeClock
from tests.support.packages import wheel_bytes
from tests.support.stores import MemoryStore
from tests.web.test_fast_path_protocol import Connection, settle
from wheelgate.core.errors import WheelgateError
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.spool import Spool
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.accept import AcceptedUpload
from wheelgate.uploads.checks import ReceivedFile
from wheelgate.web.auth import Authentication
from wheelgate.web.errors import build_error_response
from wheelgate.web.upload import UploadHandlers

_BOUNDARY = b"----boundary"


def check(data: bytes) -> None:
    """The first line is what follows ``multipart/form-data;``, the rest the body."""
    kind, _, body = data.partition(b"\n")
    kind = bytes(byte for byte in kind if byte >= 32 and byte != 127)
    logging.disable(logging.CRITICAL)  # aiohttp tells of each broken request
    try:
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            asyncio.run(_send(kind, body, Path(folder)))
    finally:
        logging.disable(logging.NOTSET)


class _Packages:
    """What would be done, without doing it."""

    def __init__(self) -> None:
        self.accepted: list[tuple[str, bytes]] = []

    async def accept(self, received: ReceivedFile) -> AcceptedUpload:
        self.accepted.append((received.filename, received.path.read_bytes()))
        return AcceptedUpload("demo", received.filename, "", new=True)

    async def yank(self, filename: str, reason: str) -> None: ...

    async def unyank(self, filename: str) -> None: ...

    async def delete(self, filename: str) -> None: ...


async def _send(kind: bytes, body: bytes, folder: Path) -> None:
    packages, clock = _Packages(), FakeClock()
    spool = Spool(folder)
    spool.prepare()
    store = MemoryStore()
    tokens = Tokens(store, clock, StoreChanges(store, clock))
    text, _ = await tokens.new(("upload",), timedelta(days=1))
    services: Any = SimpleNamespace(uploads=packages, packages=packages, spool=spool, store=store)
    handlers = UploadHandlers(services, Authentication(tokens, anonymous_read=True), stall_s=5)
    unforeseen: list[BaseException] = []
    refused: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handlers.act(request)
        except WheelgateError as error:
            answer = build_error_response(error, request, "id")
            refused.append(bytes(answer.body).decode())  # type: ignore[arg-type]
            return answer
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            unforeseen.append(error)
            raise

    server = web.Server(handle, access_log=None, auto_decompress=False)
    head = b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: multipart/form-data; %b\r\n"
    head = head % (text.encode(), kind) + b"Content-Length: %d\r\n\r\n" % len(body)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # aiohttp's, of headers that it reads loosely
        for step in (len(body) or 1, max(1, len(body) // 5)):
            await _post(server, [head, *(body[start : start + step] for start in range(0, len(body), step))])
    await server.shutdown(0)
    if unforeseen:
        raise unforeseen[0]
    for sentence in refused:
        assert_sentence(sentence)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]|\n.", sentence), "an answer with control characters"
    assert len(packages.accepted) in (0, 2), "how the bytes are cut makes a difference"
    assert not packages.accepted or packages.accepted[0] == packages.accepted[1]
    left = [path.name for path in spool.folder.iterdir() if path.name != ".lock"]
    spool.close()
    assert left == [], f"something stays in the spool: {left}"


async def _post(server: web.Server, packets: Sequence[bytes]) -> None:
    connection = Connection(server)
    for packet in packets:
        connection.receive(packet)
        await settle()
    for _ in range(200):
        if connection.sent or connection.closed:
            break
        await asyncio.sleep(0.001)
    connection.close()
    await settle()


def _part(disposition: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"--" + _BOUNDARY, b"Content-Disposition: form-data; " + disposition, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body + b"\r\n"


_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_END = b"--" + _BOUNDARY + b"--\r\n"
_FILE = _part(b'name="content"; filename="demo-1.0-py3-none-any.whl"', wheel_bytes("demo", "1.0")[:200])
_START = b"boundary=" + _BOUNDARY + b"\n"
TARGET = Target(
    check=check,
    modules=("wheelgate.web.upload",),
    seeds=(
        _START + _part(b'name=":action"', b"file_upload") + _FILE + _END,
        _START + _FILE + _part(b'name="sha256_digest"', b"a" * 64) + _END,
        _START + _part(b'name=":action"', b"yank") + _part(b'name="filename"', b"demo-1.0.tar.gz") + _END,
        _START + _part(b'name="_charset_"', b"utf-16") + _END,
        _START + _part(b'name="description"', b"x" * 300, b"Content-Transfer-Encoding: base64") + _END,
        _START + _part(b'name="content"; filename*=utf-8\'\'d%C3%A9mo.whl', b"x", b"Content-Length: 1") + _END,
    ),
    words=(
        b"\r\n", b"\n", b"--", b"--" + _BOUNDARY, b"--" + _BOUNDARY + b"--", b"Content-Disposition: form-data; ", b"name=",
        b"filename=", b"filename*=", b"filename*0=", b"UTF-7''%00", b"x-unknown''a", b"Content-Length: ", b"-1",
        b"99999999999", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"binary", b"Content-Encoding: gzip",
        b"Content-Type: multipart/mixed; boundary=x", b"Content-Type: text/plain; charset=x", b'"', b"\\", b"_charset_",
        b"content", b":action", b"boundary=", b"boundary=x", b'boundary="', b";", b"\x00", b"\xff", b"../../etc/passwd",
    ),
    examples=60,
)  # fmt: skip

"""A client's connection: any bytes in any packets are answered by the fast path as without it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import re

from tests.fuzzing.target import Target
from tests.web.test_fast_path_protocol import PLAIN, Connection, Site, converse, settle

_WAIT, _GO_ON = b"\xfe", b"\xff"
"""Between packets: the next comes after what came before was answered, or right behind it. HTTP allows neither byte."""
_LINGERING_ROUNDS = 40
_RUNNER = asyncio.Runner()
atexit.register(_RUNNER.close)
_SITES: dict[bool, Site] = {}
_VARYING = re.compile(rb"(?i)\r\n(?:date|x-request-id|age|server): [^\r]*|(?<=\"request_id\":\")\w+")
_PACKETS = re.compile(b"([\xfe\xff])")


def check(data: bytes) -> None:
    logging.disable(logging.CRITICAL)  # aiohttp tells of each broken request
    try:
        _RUNNER.run(_compare(data[:4_096].replace(b"{PLAIN}", PLAIN.sent, 20)))
    finally:
        logging.disable(logging.NOTSET)


async def _compare(data: bytes) -> None:
    parts = [*_PACKETS.split(data), _WAIT]
    packets = [(part, sign == _WAIT) for part, sign in zip(parts[::2], parts[1::2], strict=True) if part]
    seen = []
    for fast_path in (True, False):
        if fast_path not in _SITES:
            _SITES[fast_path] = await Site().open(fast_path=fast_path)
        site = _SITES[fast_path]
        site.heads._known.clear()
        (await converse(site, [(PLAIN.sent, True)])).close()
        for _ in range(2):  # whatever may be remembered is remembered the first time
            connection: Connection = await converse(site, packets)
            seen.append((fast_path, _VARYING.sub(b"", connection.sent), connection.closed))
            connection.close()
        for head in site.heads._known:
            assert head.endswith(b"\r\n\r\n")
            assert not re.search(rb"content-length|transfer-encoding|HTTP/1\.0", head, re.IGNORECASE)
        for _ in range(_LINGERING_ROUNDS):  # whoever broke off within a body is listened to for 2 s
            await settle()
            if not site.server.connections:
                break
            await asyncio.sleep(0.1)
        assert not site.server.connections, "the server keeps a connection that is closed"
    for (_, fast, fast_closed), (_, slow, slow_closed) in zip(seen[:2], seen[2:], strict=True):
        assert fast == slow, "the answers differ"
        assert fast_closed == slow_closed, "one closes the connection"


_GET = b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n"
TARGET = Target(
    check=check,
    modules=("wheelgate.web.fast_path", "wheelgate.web.known_heads"),
    seeds=(
        b"{PLAIN}\xfe{PLAIN}\xff{PLAIN}",
        _GET + b"\r\n\xfe" + _GET + b"Content-Length: 5\r\n\r\nhello\xfe" + _GET + b"\r\n",
        _GET + b"Content-Length: 5\r\n\r\n\xfehello\xfe" + _GET + b"Content-Length: 5\r\n\r\n\xfehello\xfe{PLAIN}",
        _GET + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\xfe{PLAIN}",
        b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n\xfeabc\xfe{PLAIN}",
        b"HEAD /simple/demo/ HTTP/1.0\r\n\r\n\xfe" + _GET + b"Connection: close\r\n\r\n\xff{PLAIN}",
        _GET + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n\xfe{PLAIN}",
    ),
    words=(
        b"{PLAIN}", _WAIT, _GO_ON, b"\r\n\r\n", b"\r\n", b"\n\n", b"\r", b"\n", b"GET ", b"HEAD ", b"POST ", b"OPTIONS ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"/simple/demo/", b" HTTP/1.1", b" HTTP/1.0", b"Host: x\r\n",
        b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"content-length:5\r\n", b"Content-Length : 5\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:\tchunked\r\n", b"Transfer-Encoding: identity\r\n",
        b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Upgrade: h2c\r\n",
        b"Expect: 100-continue\r\n", b"If-None-Match: *\r\n", b"Range: bytes=0-1\r\n", b"Accept-Encoding: gzip\r\n",
        b"X: \x00\r\n", b" folded\r\n", b"Trailer: x\r\n", b"hello",
    ),
    max_bytes=2_048,
    examples=40,
)  # fmt: skip

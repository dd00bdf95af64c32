"""A server over one object graph: what `serve` runs for people, and `mirror` for uv, for as long as it resolves."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socket

from wheelgate.web.server import Serving, listening_socket, serving
from wheelgate.wiring import Services


@asynccontextmanager
async def answering(
    gate: Services, listener: socket, *, tls: ssl.SSLContext | None, prefix: str, anonymous_read: bool
) -> AsyncIterator[Serving]:
    """Answer requests on a bound socket until the block ends."""
    async with serving(
        listener=listener,
        tls=tls,
        index=gate.index,
        delivery=gate.delivery,
        metadata_files=gate.metadata_files,
        provenance_files=gate.provenance_files,
        store=gate.store,
        claims=gate.claims,
        rules=gate.rules,
        clock=gate.clock,
        uploads=gate.uploads,
        packages=gate.packages,
        tokens=gate.tokens,
        spool=gate.spool,
        metrics=gate.metrics,
        prefix=prefix,
        anonymous_read=anonymous_read,
    ) as running:
        yield running


@asynccontextmanager
async def answering_ourselves(gate: Services) -> AsyncIterator[str]:
    """The URL of an index on loopback, with a token in it that nobody else has, until the block ends."""
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with answering(gate, listener, tls=None, prefix="", anonymous_read=False):
            yield f"http://mirror:{gate.tokens.guest()}@127.0.0.1:{port}/simple/"

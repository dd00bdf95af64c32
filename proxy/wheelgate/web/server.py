"""HTTP server: listener, TLS, and graceful shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from wheelgate.core.errors import ConfigurationError
from wheelgate.core.model import STALE_IF_ERROR_S
from wheelgate.runtime.background import cancel_all
from wheelgate.runtime.regular_file import hold_open, read_regular
from wheelgate.services import Services
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tokens import LAST_KNOWN_S
from wheelgate.web.acceptor import Acceptor
from wheelgate.web.auth import Authentication
from wheelgate.web.client_connection import ClientLimits
from wheelgate.web.dispatcher import Dispatcher, Handler
from wheelgate.web.fast_path import build_server
from wheelgate.web.files import FileHandlers
from wheelgate.web.json_api import JsonApiHandlers
from wheelgate.web.known_heads import KnownHeads
from wheelgate.web.open_connections import OpenConnections
from wheelgate.web.ops import OpsHandlers
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import Route
from wheelgate.web.project_list import ProjectListHandler
from wheelgate.web.request_log import RequestLog
from wheelgate.web.simple import SimpleHandlers
from wheelgate.web.upload import UploadHandlers

_FINISH_S = 20.0
"""How long requests under way may take to end: orchestrators kill after 30 s, of which a load balancer had 5."""
_LOOK_AGAIN_S = 0.05
_CUT_S = 1.0
_MAX_PEM_BYTES = 1024 * 1024
_BACKLOG = 1_024
_log = logging.getLogger(__name__)


def open_listener(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Raises:
        ConfigurationError: the address is not available.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ConfigurationError([f"server.host: {host} is not an address of this machine ({error.strerror})"]) from None
    is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigurationError([f"server.host: this machine has no address {host}; choose another with --host"]) from None
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigurationError(
            [f"server.port: cannot listen on {host} port {port}: {why}; choose another with --port"]
        ) from None


def build_tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Build a context for TLS 1.2 or newer with the given certificate chain.

    Raises:
        ConfigurationError: the files cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        with hold_open(cert) as cert_handle, hold_open(key) as key_handle:
            context.load_cert_chain(cert_handle, key_handle, password=lambda: b"")  # else it is asked for at the terminal
    except FileNotFoundError as error:
        raise ConfigurationError([f"server.tls_cert, server.tls_key: {error.filename or cert}: no such file"]) from None
    except ssl.SSLError as error:
        raise ConfigurationError([f"server.tls_cert, server.tls_key: {_find_pem_problem(error, cert, key)}"]) from None
    except OSError as error:
        raise ConfigurationError([f"server.tls_cert, server.tls_key: cannot be used: {error.strerror or 'unreadable'}"]) from None
    return context


def _find_pem_problem(error: ssl.SSLError, cert: Path, key: Path) -> str:
    """Find out by their headings what is wrong with the two files: OpenSSL only says "PEM lib"."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} does not belong to the certificate in {cert}"
    if b" CERTIFICATE-----" not in read_regular(cert, _MAX_PEM_BYTES):
        return f"{cert} holds no certificate (PEM: it begins with -----BEGIN CERTIFICATE-----)"
    text = read_regular(key, _MAX_PEM_BYTES)
    if b"ENCRYPTED" in text:
        return f"the key in {key} has a pass phrase: store it without one (openssl pkey -in {key.name} -out NEW)"
    if b"PRIVATE KEY-----" not in text:
        return f"{key} holds no private key (PEM: it begins with -----BEGIN PRIVATE KEY-----)"
    return f"the certificate in {cert} or the key in {key} is damaged"


class RunningServer:
    """A server that answers until it is told to stop."""

    def __init__(self, ops: OpsHandlers, acceptor: Acceptor, connections: OpenConnections) -> None:
        self._ops = ops
        self._acceptor = acceptor
        self._connections = connections
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def heed_signals(self) -> None:
        """Have SIGTERM and SIGINT stop the server in order, from now on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)

    async def until_stopped(self, drain_s: float) -> None:
        """Wait for a signal, and bring what is under way to its end.

        After SIGTERM: refuse readiness and go on serving for ``drain_s``, so that a load balancer has time to notice; then accept
        no more, and see the answers under way out to their clients, for 20 s at most. SIGINT, or a second signal, ends that at
        once.
        """
        await self._stop.wait()
        _log.info("stopping: not ready from now on, and no new connections in %.0f s", drain_s)
        self._ops.draining = True
        await self._wait_unless_in_a_hurry(asyncio.sleep(drain_s), drain_s)
        await self._acceptor.stop()
        if owed := self._connections.end_unowed():
            _log.info("stopping once %d requests under way have ended; a second signal cuts them off", owed)
            await self._wait_unless_in_a_hurry(self._see_answers_out(), _FINISH_S)

    async def _see_answers_out(self) -> None:
        while self._connections.end_unowed():  # noqa: ASYNC110 - the system tells nobody when a client has taken what was sent
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _terminate(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _interrupt(self) -> None:
        self._stop.set()
        self._hurry.set()

    async def _wait_unless_in_a_hurry(self, wait: Coroutine[None, None, object], at_most_s: float) -> None:
        tasks = {asyncio.create_task(wait), asyncio.create_task(self._hurry.wait())}
        await asyncio.wait(tasks, timeout=at_most_s, return_when=asyncio.FIRST_COMPLETED)
        await cancel_all(tasks)


@asynccontextmanager
async def open_server(
    services: Services,
    listener: socket.socket,
    *,
    prefix: str,
    anonymous_read: bool,
    public_url: str | None = None,
    tls: ssl.SSLContext | None = None,
    fast_path: bool = True,
    max_connections: int = 256,
    limits: ClientLimits | None = None,
) -> AsyncIterator[RunningServer]:
    """Answer requests on a bound socket until the block ends. What is still under way then is cut off.

    ``public_url``: what clients reach the server by, with the prefix; ``None``: links have no host anywhere.
    """
    clock, index = services.clock, services.index
    pages = PageCache(index, clock=clock, prefix=prefix, metrics=services.metrics, shared=anonymous_read)
    index.subscribe(pages.drop)
    authentication = Authentication(services.tokens, anonymous_read=anonymous_read)
    projects = ProjectListHandler(index, prefix=prefix, cache_control=pages.cache_control)
    simple = SimpleHandlers(pages, projects, clock)
    json_api = JsonApiHandlers(pages, services.metadata_files, clock, base=public_url or prefix)
    stands_in_s = STALE_IF_ERROR_S if anonymous_read else LAST_KNOWN_S
    if isinstance(services.store, LocalStore):  # without its disk it has no file to give, and another server may have one
        stands_in_s = 0.0
    ops = OpsHandlers(services, pages, known_stands_in_s=stands_in_s)
    files, upload = FileHandlers(services, pages, shared=anonymous_read), UploadHandlers(services, authentication)
    log = RequestLog(services.metrics)
    finders = {Route.PROJECT: simple.build_finder, Route.JSON_API: json_api.build_finder}
    finders |= {Route.FILE: files.build_finder, Route.METADATA: files.build_finder}
    known_heads = KnownHeads(finders, log, clock)
    routes = _build_routes(simple, json_api, files, upload, ops, prefix)
    dispatcher = Dispatcher(routes, authentication, known_heads, log, prefix)
    limits = limits or ClientLimits()
    server = await build_server(dispatcher.handle, known_heads, clock, fast_path=fast_path, limits=limits)
    runner = web.ServerRunner(server, shutdown_timeout=_CUT_S)
    await runner.setup()
    connections = OpenConnections(max_connections, services.metrics)
    acceptor = Acceptor(listener, server, connections, limits, tls)
    try:
        for scan in services.scans:
            scan.start()
        acceptor.start()
        yield RunningServer(ops, acceptor, connections)
    finally:
        await acceptor.stop()
        await runner.cleanup()
        await json_api.close()
        await pages.close()
        log.flush()


def _build_routes(
    simple: SimpleHandlers,
    json_api: JsonApiHandlers,
    files: FileHandlers,
    upload: UploadHandlers,
    ops: OpsHandlers,
    prefix: str,
) -> dict[Route, Handler]:
    return {
        Route.PROJECT: simple.project,
        Route.JSON_API: json_api.answer,
        Route.FILE: files.file,
        Route.METADATA: files.metadata,
        Route.PROVENANCE: files.provenance,
        Route.EXPLAIN: ops.explain,
        Route.LIST: lambda request, _: simple.names(request),
        Route.UPLOAD: lambda request, _: upload.act(request),
        Route.LIVEZ: lambda *_: ops.livez(),
        Route.READYZ: lambda *_: ops.readyz(),
        Route.METRICS: lambda *_: ops.metrics(),
        Route.HOME: lambda *_: ops.home(prefix),
    }


@asynccontextmanager
async def open_private_server(services: Services) -> AsyncIterator[str]:
    """Serve on loopback until the block ends; the index's URL, with a token in it that nobody else has (for uv, by `mirror`)."""
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with open_server(services, listener, prefix="", anonymous_read=False):
            yield f"http://mirror:{services.tokens.guest()}@127.0.0.1:{port}/simple/"

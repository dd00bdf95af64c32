"""Another Wheelgate as a command talks to it: what is sent where, and what people are told."""

from __future__ import annotations

import io
import json
import re
import socket
import traceback
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.index import FakeIndex
from tests.support.packages import make_wheel
from wheelgate.client.project_names import read_names
from wheelgate.client.wheelgate_client import WheelgateClient
from wheelgate.core.errors import (
    ConfigurationError,
    FileNotListed,
    Forbidden,
    Unauthenticated,
    UploadRefused,
    UpstreamBadAnswer,
    UpstreamUnavailable,
    WheelgateError,
)
from wheelgate.core.model import File

TOKEN = "wgt_abcdefgh_this-is-a-secret_123456"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, "acme-lib", "1.0", padding=300_000)


class Server:
    """Answers every upload as it is told, and keeps what it got."""

    def __init__(self, index: FakeIndex) -> None:
        self.index = index
        self.status, self.body, self.headers = 200, "", {"Content-Type": "text/plain"}
        self.reads_body = True
        self.received = b""
        index.handlers["/legacy/"] = self.answer

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.reads_body:
            self.received = await request.read()
        return web.Response(status=self.status, body=self.body.encode(), headers=self.headers)


@pytest.fixture
def server(index: FakeIndex) -> Server:
    return Server(index)


def nothing(count: int) -> None:
    pass


# --- where a token may go


@pytest.mark.parametrize(
    "url", ["http://wheelgate.example.com/", "http://10.0.0.1:8080/simple/", "http://127.0.0.1.example.com/"]
)
def test_a_token_does_not_travel_readable(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the token would be sent unencrypted to .*: use an https URL") as raised:
        WheelgateClient(url, TOKEN)
    assert TOKEN not in str(raised.value)
    WheelgateClient(url, None)


@pytest.mark.parametrize(
    "url", ["https://wheelgate.example.com", "http://127.0.0.1:1/", "http://localhost:1", "http://[::1]:1/x/"]
)
def test_a_token_may_go_to_https_and_to_this_machine(url: str) -> None:
    WheelgateClient(url, TOKEN)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "https://user:pass@example.com/",
        "user:pass@example.com",
        "wgt_01.canary-pass",
        "PASSWORDpass0123456789",
        "https://a b/",
        "a b",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_one_problem_without_the_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the server's URL cannot be used: it ") as raised:
        WheelgateClient(url, TOKEN)
    assert "pass" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:8080/simple/", "http://localhost:8080"),
        ("[::1]:80", "http://[::1]:80"),
        ("wheelgate.example.com", "https://wheelgate.example.com"),
        ("wheelgate.example.com/python/legacy/", "https://wheelgate.example.com/python"),
    ],
)
def test_a_url_without_a_scheme_is_told_with_one(url: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^the server's URL has no scheme: write {re.escape(meant)}$"):
        WheelgateClient(url, TOKEN)


def test_a_credential_in_the_url_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigurationError, match="it carries user information; a token belongs in WHEELGATE_TOKEN"):
        WheelgateClient(f"https://build:{TOKEN}@wheelgate.example.com/simple/", None)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://w.example.com/legacy", "https://w.example.com"),
        ("https://w.example.com/legacy/", "https://w.example.com"),
        ("https://w.example.com/simple//", "https://w.example.com"),
        ("https://w.example.com:8443/python/legacy/", "https://w.example.com:8443/python"),
        ("https://w.example.com", "https://w.example.com"),
        ("https://w.example.com/", "https://w.example.com"),
        ("https://w.example.com/simple", "https://w.example.com"),
        ("https://w.example.com/simple/", "https://w.example.com"),
        ("https://w.example.com:8443/python/simple/", "https://w.example.com:8443/python"),
    ],
)
def test_the_index_url_will_do_and_a_files_url_is_permanent(url: str, base: str) -> None:
    gate = WheelgateClient(url, TOKEN)
    assert gate.file_url("acme-lib", "acme_lib-1.0-py3-none-any.whl") == f"{base}/files/acme-lib/acme_lib-1.0-py3-none-any.whl"


@pytest.mark.parametrize("ending", ["", "/", "/simple", "/simple/", "/legacy", "/legacy/"])
async def test_uploads_go_to_the_form_whatever_the_urls_ending(server: Server, wheel: Path, ending: str) -> None:
    server.body = f"{wheel.name} stored\n"
    await WheelgateClient(server.index.origin + ending, TOKEN).add(wheel, nothing)
    assert [(asked.method, asked.path) for asked in server.index.asked] == [("POST", "/legacy/")]


async def test_below_a_prefix_uploads_stay_below_it(server: Server, wheel: Path) -> None:
    server.index.handlers["/python/legacy/"] = server.answer
    server.body = f"{wheel.name} stored\n"
    await WheelgateClient(f"{server.index.origin}/python/simple/", TOKEN).add(wheel, nothing)
    assert server.index.asked[0].path == "/python/legacy/"


# --- what is sent


async def test_the_file_the_token_and_the_progress(server: Server, wheel: Path) -> None:
    server.body = f"{wheel.name} stored\n"
    sent: list[int] = []
    assert await WheelgateClient(server.index.url, TOKEN).add(wheel, sent.append)
    assert wheel.read_bytes() in server.received
    assert f'filename="{wheel.name}"'.encode() in server.received
    assert sum(sent) == wheel.stat().st_size
    headers = server.index.asked[0].headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert "Content-Encoding" not in headers


async def test_without_a_token_none_is_sent(server: Server, wheel: Path) -> None:
    server.body = f"{wheel.name} stored\n"
    await WheelgateClient(server.index.url, None).add(wheel, nothing)
    assert "Authorization" not in server.index.asked[0].headers


async def test_an_action_is_sent_with_its_file_and_reason(server: Server) -> None:
    server.body = "acme_lib-1.0.tar.gz yanked\n"
    await WheelgateClient(server.index.url, TOKEN).act("yank", "acme_lib-1.0.tar.gz", 'bröken & "bad"')
    for part in (":action", "yank", "acme_lib-1.0.tar.gz", 'bröken & "bad"'):
        assert part.encode() in server.received


# --- what is answered


async def test_known_already_is_told_apart_also_for_a_project_of_that_name(server: Server, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "already-known", "1.0")
    gate = WheelgateClient(server.index.url, TOKEN)
    server.body = f"{wheel.name} stored\n"
    assert await gate.add(wheel, nothing)
    server.body = f"{wheel.name} known already, with the same bytes\n"
    assert not await gate.add(wheel, nothing)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UploadRefused),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, FileNotListed),
        (405, UpstreamUnavailable),
        (413, UploadRefused),
        (429, UpstreamUnavailable),
        (500, UpstreamUnavailable),
        (503, UpstreamUnavailable),
        (204, UpstreamUnavailable),
    ],
)
@pytest.mark.parametrize("reads_body", [True, False])
async def test_each_status_is_its_own_error_with_the_servers_sentence(
    server: Server, wheel: Path, status: int, kind: type[WheelgateError], reads_body: bool
) -> None:
    server.status, server.body, server.reads_body = status, "" if status == 204 else "what went wrong", reads_body
    with pytest.raises(kind) as raised:
        await WheelgateClient(server.index.url, TOKEN).add(wheel, nothing)
    assert type(raised.value) is kind
    assert server.body in str(raised.value)
    assert kind is not UpstreamUnavailable or str(status) in str(raised.value)


async def test_a_large_file_refused_before_it_was_read_is_told_why(server: Server, tmp_path: Path) -> None:
    big = tmp_path / "acme_lib-9.0.tar.gz"
    big.write_bytes(bytes(40_000_000))
    server.status, server.body, server.reads_body = 401, "a token is required", False
    with pytest.raises(Unauthenticated, match="a token is required"):
        await WheelgateClient(server.index.url, TOKEN).add(big, nothing)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(server: Server, second_index: FakeIndex, wheel: Path, status: int) -> None:
    server.status, server.headers = status, {"Location": f"{second_index.origin}/legacy/"}
    with pytest.raises(UpstreamUnavailable, match=f"answered {status}"):
        await WheelgateClient(server.index.url, TOKEN).add(wheel, nothing)
    assert second_index.asked == []


@pytest.mark.parametrize("body", ["", "<html><title>Sign in</title></html>", "ok", "other-1.0.tar.gz stored"])
async def test_a_friendly_answer_of_somebody_else_is_no_success(server: Server, wheel: Path, body: str) -> None:
    server.body = body
    with pytest.raises(UpstreamBadAnswer, match="did not answer as Wheelgate does"):
        await WheelgateClient(server.index.url, TOKEN).add(wheel, nothing)


async def test_an_error_is_one_line_without_the_token_or_anything_that_moves_a_terminal(server: Server, wheel: Path) -> None:
    gate = WheelgateClient(server.index.url, TOKEN)
    for status in (400, 401, 403, 404, 500, 502):
        server.status = status
        server.body = f"<html>\n<h1>{status}</h1>\r\n\x1b[2J\x07Authorization: Bearer {TOKEN}\n</html>" + "x" * 100_000
        with pytest.raises(WheelgateError) as raised:
            await gate.add(wheel, nothing)
        shown = "".join(traceback.format_exception(raised.value, chain=True))
        assert TOKEN not in shown
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 5_000
    assert TOKEN not in repr(gate)


async def test_a_dead_server_is_one_sentence(wheel: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UpstreamUnavailable, match=rf"^http://127\.0\.0\.1:{port}/? cannot be reached: ") as raised:
        await WheelgateClient(f"http://127.0.0.1:{port}/simple/", TOKEN).add(wheel, nothing)
    assert TOKEN not in str(raised.value)


async def test_a_server_that_hangs_up_is_one_sentence(server: Server, wheel: Path) -> None:
    async def hang_up(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.index.handlers["/legacy/"] = hang_up
    with pytest.raises(UpstreamUnavailable, match="cannot be reached: "):
        await WheelgateClient(server.index.url, TOKEN).add(wheel, nothing)


async def test_a_file_that_cannot_be_read_is_not_the_servers_fault(
    server: Server, tmp_path: Path, make_missing: Callable[[], Path]
) -> None:
    with pytest.raises(OSError, match="No such file") as raised:
        await WheelgateClient(server.index.url, TOKEN).add(make_missing(), nothing)
    assert raised.value.filename is not None


@pytest.fixture
def make_missing(tmp_path: Path) -> Callable[[], Path]:
    return lambda: tmp_path / "acme_lib-3.0-py3-none-any.whl"


# --- what it lists


def page(*files: dict[str, object]) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "acme-lib", "files": list(files)}).encode()


def json_answer(body: bytes) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": "application/vnd.pypi.simple.v1+json"})

    return answer


async def listed(client: WheelgateClient, project: str | None = None) -> list[File]:
    return [file async for file in client.files(project)]


async def test_the_files_of_every_listed_project_with_the_token(index: FakeIndex) -> None:
    index.publish("acme-lib", "acme_lib-1.0.tar.gz", b"body", yanked="old")
    index.publish("acme-lib", "acme_lib-0.1.tar.gz", b"body", yanked=True, size=None, upload_time=None, hashes={})
    index.publish("other", "other-1.0.tar.gz", b"body")
    names = b'{"projects": [{"name": "../x"}, {"name": "Odd_Name"}, {"name": "acme-lib"}, {"name": "gone"}, {"name": "other"}]}'
    index.handlers["/simple/"] = json_answer(names)
    files = await listed(WheelgateClient(index.url, TOKEN))
    assert [file.filename for file in files] == ["acme_lib-0.1.tar.gz", "acme_lib-1.0.tar.gz", "other-1.0.tar.gz"]
    assert [file.yanked for file in files] == ["", "old", None]
    assert (files[0].size, files[0].upload_time, files[0].hashes) == (None, None, {})
    assert files[1].upload_time == datetime(2025, 1, 1, tzinfo=UTC)
    assert {asked.headers.get("Authorization") for asked in index.asked} == {f"Bearer {TOKEN}"}
    assert sorted(asked.path for asked in index.asked) == [
        "/simple/",
        "/simple/acme-lib/",
        "/simple/gone/",
        "/simple/other/",
    ]


async def test_one_project_and_none_of_it(index: FakeIndex) -> None:
    index.publish("acme-lib", "acme_lib-1.0.tar.gz", b"body")
    gate = WheelgateClient(index.url, None)
    assert [file.filename for file in await listed(gate, "acme-lib")] == ["acme_lib-1.0.tar.gz"]
    assert await listed(gate, "nothing") == []


async def test_names_that_could_write_to_a_terminal_are_left_out(index: FakeIndex) -> None:
    names = ("acme_lib-1.0\x1b[2J.tar.gz", "acme_lib-1.0.tar.gz")
    body = page(*({"filename": name, "url": "/files/acme-lib/x", "hashes": {}} for name in names))
    index.handlers["/simple/acme-lib/"] = json_answer(body)
    assert [file.filename for file in await listed(WheelgateClient(index.url, None), "acme-lib")] == ["acme_lib-1.0.tar.gz"]


@pytest.mark.parametrize("body", [b"", b"<html>sign in</html>", b"[]", b'{"files": 1}', b"[" * 100_000, b"\xff"])
async def test_a_page_of_somebody_else_is_said_so(index: FakeIndex, body: bytes) -> None:
    index.handlers["/simple/acme-lib/"] = json_answer(body)
    with pytest.raises(UpstreamBadAnswer, match="did not answer as Wheelgate does"):
        await listed(WheelgateClient(index.url, TOKEN), "acme-lib")


async def test_a_list_of_any_length_is_gone_through_page_by_page(index: FakeIndex) -> None:
    index.publish("p3", "p3-1.0.tar.gz", b"x")
    many = json.dumps({"meta": {"api-version": "1.4"}, "projects": [{"name": f"p{n}"} for n in range(100_000)]})
    index.handlers["/simple/"] = json_answer(many.encode())
    files = WheelgateClient(index.url, TOKEN).files()
    assert (await anext(files)).project == "p3"
    await files.aclose()
    assert len(index.asked) <= 1 + 8


def test_names_of_a_long_list_are_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(json.dumps({"meta": {}, "projects": [{"name": f"acme-{n}", "_x": [1]} for n in range(100_000)]}, indent=1))
    tracemalloc.start()
    try:
        with path.open("rb") as body:
            assert sum(name.startswith("acme-") for name in read_names(body)) == 100_000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "{}", '{"projects":[', '{"projects":[{"name":"a"}', '{"projects":[{"name":', '{"projects":[' + "[" * 60_000],
)
def test_a_list_that_is_none_or_was_cut_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        list(read_names(io.BytesIO(text.encode())))


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthenticated), (403, Forbidden), (302, UpstreamUnavailable)])
async def test_who_may_not_list_is_told_why(index: FakeIndex, status: int, kind: type[WheelgateError]) -> None:
    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text="what went wrong", headers={"Location": "/elsewhere/"})

    index.handlers["/simple/"] = refuse
    with pytest.raises(kind, match="what went wrong"):
        await listed(WheelgateClient(index.url, TOKEN))
    assert len(index.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
@pytest.mark.parametrize("project", [None, "acme-lib"])
async def test_an_error_in_json_is_told_in_words(index: FakeIndex, status: int, project: str | None) -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        assert "json" in request.headers["Accept"]
        fields = {"error": status, "reason": "what\x1b[2J went wrong", "request_id": "x"}
        return web.json_response(fields, status=status)

    index.handlers["/simple/"] = index.handlers["/simple/acme-lib/"] = refuse
    if status == 404 and project:
        assert await listed(WheelgateClient(index.url, TOKEN), project) == []
        return
    with pytest.raises(WheelgateError, match="what.* went wrong") as raised:
        await listed(WheelgateClient(index.url, TOKEN), project)
    assert not set(str(raised.value)) & {"{", '"', "\x1b"}


async def test_an_error_in_json_without_end_is_an_error_like_any_other(index: FakeIndex) -> None:
    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500, body=b'{"x":' + b"[" * 3_900, content_type="application/json")

    index.handlers["/simple/"] = refuse
    with pytest.raises(UpstreamUnavailable):
        await listed(WheelgateClient(index.url, TOKEN))


async def test_whoever_has_no_token_is_told_where_to_put_one(index: FakeIndex) -> None:
    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        reason = "a token is required: send it as the password, with any user name"
        return web.json_response({"error": 401, "reason": reason, "request_id": "x"}, status=401)

    index.handlers["/simple/"] = refuse
    with pytest.raises(Unauthenticated, match="^a token is required: set WHEELGATE_TOKEN$"):
        await listed(WheelgateClient(index.url, None))

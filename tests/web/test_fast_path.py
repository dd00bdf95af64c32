"""The warm path, from outside: the same bytes on the wire as the application's, whoever asks, and never another's."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from aiohttp import web

from tests.acceptance.configs import uploads_and
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.packages import metadata, wheel_bytes, wheel_name

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
LEGACY = "text/html"
CHANGING = {"Date", "X-Request-ID", "Age", "Server"}


class Wire:
    """One connection that sends exactly what it is told, and reads whole answers."""

    def __init__(self, gate: Gate) -> None:
        self._socket = socket.create_connection(("127.0.0.1", int(gate.url.rpartition(":")[2])), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        status = int(self._stream.readline().split()[1])
        headers = {}
        while line := self._stream.readline().strip().decode():
            name, _, value = line.partition(": ")
            assert name not in headers, f"{name} twice"
            headers[name] = value
        length = int(headers.get("Content-Length", 0))
        return status, headers, b"" if head or status == 304 else self._stream.read(length)

    def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.send(data)
        return self.answer(head=data.startswith(b"HEAD"))

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def is_closed(self) -> bool:
        self._socket.settimeout(5)
        return self._stream.read(1) == b""


def head(project: str, method: str = "GET", query: str = "", **headers: str) -> bytes:
    lines = [f"{method} /simple/{project}/{query} HTTP/1.1", "Host: somewhere"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def publish(index: FakeIndex, project: str, *versions: str) -> None:
    for version in versions:
        index.publish(project, wheel_name(project, version), wheel_bytes(project, version))


def warm_count(gate: Gate) -> int:
    """How many requests the fast path has answered: those the application never saw."""
    found = re.search(r"wheelgate_warm_requests_total (\d+)", gate.get("/metrics").body.decode())
    assert found is not None
    return int(found[1])


@pytest.fixture
def gate(start_gate: Callable[..., Gate], index: FakeIndex) -> Gate:
    publish(index, "demo", "1.0", "2.0")
    publish(index, "other", "1.0")
    return start_gate(uploads_and(index), "--log-format", "json")


Dial = Callable[[Gate], Wire]


@pytest.fixture
def dial() -> Iterator[Dial]:
    with ExitStack() as stack:

        def dialled(gate: Gate) -> Wire:
            return stack.enter_context(closing(Wire(gate)))

        yield dialled


QUESTIONS = [
    pytest.param(head("demo", Accept=JSON), id="json"),
    pytest.param(head("demo", Accept=JSON, Accept_Encoding="gzip"), id="json, gzip"),
    pytest.param(head("demo", Accept=HTML), id="html"),
    pytest.param(head("demo", Accept=HTML, Accept_Encoding="gzip, br"), id="html, gzip"),
    pytest.param(head("demo", Accept=LEGACY, Accept_Encoding="gzip;q=0"), id="legacy, no gzip"),
    pytest.param(head("demo"), id="nothing said"),
    pytest.param(head("demo", query=f"?format={JSON}"), id="format in the query"),
    pytest.param(head("other", Accept=JSON), id="another project"),
    pytest.param(head("demo", "HEAD", Accept=JSON, Accept_Encoding="gzip"), id="HEAD"),
    pytest.param(head("demo", Accept=JSON, If_None_Match='"something-else"'), id="a condition that fails"),
    pytest.param(head("demo", Accept=JSON, If_None_Match="*"), id="a condition on anything"),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_fast_path_answers_as_the_application_does(gate: Gate, question: bytes, dial: Dial) -> None:
    wire = dial(gate)
    before = warm_count(gate)
    status, headers, body = wire.ask(question)
    assert warm_count(gate) == before
    for _ in range(3):
        warm_status, warm_headers, warm_body = wire.ask(question)
        assert (warm_status, warm_body) == (status, body)
        kept = {name: value for name, value in headers.items() if name not in CHANGING}
        assert {name: value for name, value in warm_headers.items() if name not in CHANGING} == kept
        assert warm_headers["Age"].isdecimal()
        assert warm_headers["Date"].endswith(" GMT")
    assert warm_count(gate) == before + 3


@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
def test_a_url_can_ask_for_a_format(gate: Gate, dial: Dial, plus: str) -> None:
    _, headers, _ = dial(gate).ask(head("demo", query=f"?format={JSON.replace('+', plus)}"))
    assert headers["Content-Type"] == JSON


def test_formats_and_encodings_are_never_mixed_up(gate: Gate, dial: Dial) -> None:
    questions = [question.values[0] for question in QUESTIONS]
    expected = [dial(gate).ask(question) for question in questions]
    wire = dial(gate)
    for _ in range(3):
        for question, (status, headers, body) in zip(questions, expected, strict=True):
            again = wire.ask(question)
            assert again[0] == status
            assert again[2] == body
            for name in ("Content-Type", "Content-Encoding", "ETag", "Vary"):
                assert again[1].get(name) == headers.get(name), name


def test_what_the_client_holds_is_not_sent_again(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    status, headers, body = wire.ask(head("demo", Accept=JSON, Accept_Encoding="gzip"))
    assert json.loads(gzip.decompress(body))["name"] == "demo"
    question = head("demo", Accept=JSON, Accept_Encoding="gzip", If_None_Match=f"W/{headers['ETag']}")
    for _ in range(2):
        status, again, body = wire.ask(question)
        assert (status, again["ETag"], body) == (304, headers["ETag"], b"")
        assert "Content-Length" not in again
        assert "Content-Encoding" not in again


def test_a_page_that_changed_is_sent_to_whoever_holds_the_old_one(gate: Gate, dial: Dial) -> None:
    name = wheel_name("acme-new", "1.0")
    path = gate.folder / name
    path.write_bytes(wheel_bytes("acme-new", "1.0"))
    assert gate.run("wheel", "add", path).returncode == 0
    wire = dial(gate)
    deadline = time.monotonic() + 5
    while wire.ask(head("acme-new", Accept=JSON))[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _, headers, _ = wire.ask(head("acme-new", Accept=JSON))
    question = head("acme-new", Accept=JSON, If_None_Match=headers["ETag"])
    assert [wire.ask(question)[0] for _ in range(3)] == [304] * 3
    assert gate.run("wheel", "yank", name, "--reason", "broken").returncode == 0
    deadline = time.monotonic() + 5
    while (answer := wire.ask(question))[0] == 304:
        assert time.monotonic() < deadline, "a change is seen within 5 s, also by whoever asks all the time"
        time.sleep(0.1)
    assert json.loads(answer[2])["files"][0]["yanked"] == "broken"


def path_of(gate: Gate, project: str) -> str:
    url: str = gate.page(project)["files"][0]["url"]
    return url


def get(path: str, method: str = "GET", **headers: str) -> bytes:
    return head("demo", method, **headers).replace(b"/simple/demo/", path.encode(), 1)


def test_small_files_and_metadata_come_from_memory(gate: Gate, index: FakeIndex, dial: Dial) -> None:
    body, told = wheel_bytes("small", "1.0", padding=50_000), metadata("small", "1.0")
    index.publish("small", wheel_name("small", "1.0"), body, metadata=told)
    path = path_of(gate, "small")
    for asked, expected in ((path, body), (f"{path}.metadata", told)):
        wire = dial(gate)
        deadline = time.monotonic() + 5
        while True:  # the first comes by the spool, the next from the store
            before = warm_count(gate)
            status, headers, received = wire.ask(get(asked))
            assert (status, received) == (200, expected)
            if warm_count(gate) > before:
                break
            cold = headers
            assert time.monotonic() < deadline
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Accept-Ranges", "X-Content-Type-Options"):
            assert headers.get(name) == cold.get(name), name
        assert wire.ask(get(asked, If_None_Match=headers["ETag"]))[::2] == (304, b"")
        assert wire.ask(get(asked, "HEAD"))[1]["Content-Length"] == str(len(expected))
        assert wire.ask(get(asked, Range="bytes=0-9"))[0] == (206 if asked == path else 200)
        wire.close()
    files = len(index.asked)
    assert dial(gate).ask(get(path))[2] == body
    assert len(index.asked) == files


def test_a_file_that_is_no_longer_listed_is_no_longer_had(gate: Gate, dial: Dial) -> None:
    name = wheel_name("acme-new", "1.0")
    path = gate.folder / name
    path.write_bytes(wheel_bytes("acme-new", "1.0"))
    assert gate.run("wheel", "add", path).returncode == 0
    wait_for(lambda: gate.get("/simple/acme-new/").status == 200)
    wire = dial(gate)
    question = get(path_of(gate, "acme-new"))
    assert [wire.ask(question)[0] for _ in range(4)] == [200] * 4
    assert gate.run("wheel", "delete", name, "--yes").returncode == 0
    wait_for(lambda: wire.ask(question)[0] == 404)


def test_a_copy_that_was_cleaned_away_is_fetched_again(gate: Gate, index: FakeIndex, dial: Dial) -> None:
    body = wheel_bytes("large", "1.0", padding=400_000)
    index.publish("large", wheel_name("large", "1.0"), body)
    path = path_of(gate, "large")
    assert [gate.get(path).body for _ in range(3)] == [body] * 3
    wait_for(lambda: any((gate.data / "store" / "cache").rglob(wheel_name("large", "1.0"))))  # the first come by the spool
    for copy in (gate.data / "store").rglob(f"cache/**/{wheel_name('large', '1.0')}*"):
        copy.unlink()
    assert [gate.get(path).body for _ in range(2)] == [body] * 2


# --- only whole heads between requests


def test_bytes_of_a_body_are_no_request(gate: Gate, dial: Dial) -> None:
    """A body that reads like a question asked before must stay a body: a balancer in front may share connections."""
    wire = dial(gate)
    question = head("demo", Accept=JSON)
    wire.ask(question)
    wire.ask(question)
    wire.send(f"GET /simple/other/ HTTP/1.1\r\nHost: x\r\nAccept: {JSON}\r\nContent-Length: {len(question)}\r\n\r\n".encode())
    assert wire.answer()[0] == 400
    time.sleep(0.2)
    wire.send(question)
    assert wire.is_closed(), "nothing behind the announced body is answered on this connection"


def test_the_rest_of_a_head_is_no_request(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    question = head("demo", Accept=JSON)
    wire.ask(question)
    wire.ask(question)
    wire.send(b"GET /simple/other/ HTTP/1.1\r\nX-Made-Of:")
    time.sleep(0.2)
    wire.send(question)
    assert json.loads(wire.answer()[2])["name"] == "other"


def test_a_question_asked_while_another_is_being_answered_is_not_taken_for_it(gate: Gate, index: FakeIndex, dial: Dial) -> None:
    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return index._page(request, "demo")

    index.handlers["/simple/demo/"] = slowly
    wire = dial(gate)
    first, second = head("demo", Accept=JSON, X_Request_ID="one"), head("other", Accept=JSON)
    dial(gate).ask(second)  # the fast path knows it, and must let the other go first all the same
    wire.send(first)
    time.sleep(0.2)
    wire.send(second)
    assert json.loads(wire.answer()[2])["name"] == "demo"
    assert json.loads(wire.answer()[2])["name"] == "other"
    for _ in range(2):
        assert json.loads(dial(gate).ask(first)[2])["name"] == "demo"
        assert json.loads(dial(gate).ask(second)[2])["name"] == "other"


def test_pieces_of_a_known_head_are_put_together(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    question = head("demo", Accept=JSON)
    wire.ask(question)
    for at in (1, 20, len(question) - 2):
        wire.send(question[:at])
        time.sleep(0.1)
        wire.send(question[at:])
        assert json.loads(wire.answer()[2])["name"] == "demo"


def test_pipelined_questions_are_answered_each_and_in_order(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    names = ["demo", "other", "demo", "demo", "other"]
    for name in names:
        wire.ask(head(name, Accept=JSON))
    wire.send(b"".join(head(name, Accept=JSON) for name in names))
    assert [json.loads(wire.answer()[2])["name"] for _ in names] == names
    for name in names:  # one by one, without waiting
        wire.send(head(name, Accept=JSON))
        time.sleep(0.01)
    assert [json.loads(wire.answer()[2])["name"] for _ in names] == names


def test_who_asks_and_does_not_read_is_not_answered_into_memory(gate: Gate, index: FakeIndex, dial: Dial) -> None:
    for number in range(3_000):
        index.publish("large", wheel_name("large", f"{number}.0"), b"")
    question = head("large", Accept=JSON)
    wire = dial(gate)
    wire.ask(question)
    assert len(wire.ask(question)[2]) > 500_000
    before = gate.rss_bytes()
    for _ in range(150):
        wire.send(question)
        time.sleep(0.01)
    time.sleep(0.5)
    assert gate.rss_bytes() - before < 32 * 1024 * 1024, warm_count(gate)


@pytest.mark.parametrize("last", ["Connection: close", "HTTP/1.0"])
def test_a_connection_that_is_to_end_ends(gate: Gate, last: str, dial: Dial) -> None:
    question = head("demo", Accept=JSON, **({"Connection": "close"} if last != "HTTP/1.0" else {}))
    if last == "HTTP/1.0":
        question = question.replace(b"HTTP/1.1", b"HTTP/1.0")
    for _ in range(3):
        wire = dial(gate)
        assert json.loads(wire.ask(question)[2])["name"] == "demo"
        assert wire.is_closed()


# --- who asks


def test_a_revoked_token_is_refused_within_5_s_also_on_the_warm_path(
    start_gate: Callable[..., Gate], index: FakeIndex, dial: Dial
) -> None:
    publish(index, "demo", "1.0")
    gate = start_gate(uploads_and(index), "--anonymous", "none")
    token, other = new_token(gate, "read:demo"), new_token(gate, "read")
    question = head("demo", Accept=JSON, Authorization=f"Bearer {token}")
    others = head("demo", Accept=JSON, Authorization=f"Bearer {other}")
    wire = dial(gate)
    wait_for(lambda: wire.ask(question)[0] == 200 and wire.ask(others)[0] == 200)
    assert [wire.ask(question)[0] for _ in range(5)] == [200] * 5
    assert wire.ask(head("demo", Accept=JSON))[0] == 401
    assert wire.ask(question.replace(b"demo", b"other"))[0] == 403
    assert wire.ask(question.replace(token.encode(), token.encode()[:-1] + b"~"))[0] == 401
    before = warm_count(gate)
    assert [wire.ask(question)[0] for _ in range(5)] == [200] * 5
    assert warm_count(gate) == before + 5
    assert gate.run("token", "revoke", token.split("_")[1]).returncode == 0
    # Others go on asking, so that the page itself is warm again at once.
    wait_for(lambda: wire.ask(others)[0] == 200 and wire.ask(question)[0] == 401)
    assert [(wire.ask(others)[0], wire.ask(question)[0]) for _ in range(5)] == [(200, 401)] * 5


def test_a_token_that_expires_is_refused_from_then_on(start_gate: Callable[..., Gate], index: FakeIndex, dial: Dial) -> None:
    publish(index, "demo", "1.0")
    gate = start_gate(uploads_and(index), "--anonymous", "none")
    token = new_token(gate, "read", "4s")
    question = head("demo", Accept=JSON, Authorization=f"Bearer {token}")
    wire = dial(gate)
    before = warm_count(gate)
    wait_for(lambda: wire.ask(question)[0] == 200 and warm_count(gate) > before)
    wait_for(lambda: wire.ask(question)[0] == 401)


def new_token(gate: Gate, scope: str, life: str = "1d") -> str:
    made = re.search(r"wgt_\w+", gate.run("token", "new", "--scope", scope, "--expires", life).stdout)
    assert made is not None
    return made[0]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "within 5 s"
        time.sleep(0.05)


# --- what is written down


def test_every_answer_has_a_line_and_an_identifier_of_its_own(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    question = head("demo", Accept=JSON, User_Agent="pip/26")
    identifiers = [wire.ask(question)[1]["X-Request-ID"] for _ in range(5)]
    assert len(set(identifiers)) == 5
    assert all(re.fullmatch(r"[0-9a-f]{16}", identifier) for identifier in identifiers)
    deadline = time.monotonic() + 5
    while not all(identifier in gate.log for identifier in identifiers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lines = [json.loads(line) for line in gate.log.splitlines() if line.startswith("{") and "wheelgate.access" in line]
    told = [{**line, "time": "", "seconds": 0, "request_id": ""} for line in lines if line["request_id"] in identifiers]
    assert all(line == told[0] for line in told)
    assert (told[0]["project"], told[0]["status"], told[0]["agent"], told[0]["client"]) == ("demo", 200, "pip/26", "127.0.0.1")
    assert 'wheelgate_requests_total{route="project",status="200"} 5.0' in gate.get("/metrics").body.decode()


def test_the_last_lines_are_written_before_the_end(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    for _ in range(5):
        identifier = wire.ask(head("demo", Accept=JSON))[1]["X-Request-ID"]
    gate.stop()
    assert identifier in gate.log


def test_an_identifier_that_came_along_is_kept(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    for number in range(3):
        answer = wire.ask(head("demo", Accept=JSON, X_Request_ID=f"balancer-{number}"))
        assert answer[1]["X-Request-ID"] == f"balancer-{number}"


def test_what_is_remembered_of_heads_is_bounded(gate: Gate, dial: Dial) -> None:
    wire = dial(gate)
    before = gate.rss_bytes()
    for number in range(6_000):
        assert wire.ask(head("demo", Accept=JSON, User_Agent=f"agent-{number}-{'x' * 1_500}"))[0] == 200
    assert gate.rss_bytes() - before < 40 * 1024 * 1024
    assert wire.ask(head("demo", Accept=JSON))[0] == 200

"""A lying upstream, where one question is not enough to tell; single lies are rows of the table in `tests/faults/`."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import lies
from tests.support.gate import Answer, Gate
from tests.support.lies import (
    INNER,
    MIB,
    UNAVAILABLE,
    Liar,
    Talk,
    config_for,
    entries,
    html_of,
    json_of,
    running,
    witness,
)
from tests.support.watch import watched

JSON = {"Accept": lies.JSON}
HELD_UP_S = 0.1


def assert_trouble(answer: Answer, status: int) -> None:
    assert answer.status == status, (answer.status, answer.reason, answer.body[:300])
    if status == UNAVAILABLE:
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
    problem = json.loads(answer.body)
    assert problem["error"] == status
    assert problem["reason"].isprintable()
    assert "source" in problem["reason"]


@pytest.mark.parametrize("code", ["429 Slower", "503 Later"])
def test_a_pause_that_an_upstream_asks_for_is_kept(tmp_path: Path, code: str, start_gate: Callable[..., Gate]) -> None:
    liar = Liar({"paused": partial(lies.status, line=code, headers=("Retry-After: 2",))})
    with running(liar):
        server = start_gate(config_for(liar, ["paused"]))
        for _ in range(3):
            assert_trouble(server.get("/simple/paused/", JSON), UNAVAILABLE)
        assert len(liar.asked) == 1
        liar.pages.clear()
        time.sleep(2)
        assert server.get("/simple/paused/").status == 200
        assert len(liar.asked) == 2


def test_a_lasting_pause_is_not_passed_on_to_installers(start_gate: Callable[..., Gate]) -> None:
    """pip sleeps for as long as it is told, five times."""
    liar = Liar({"paused": partial(lies.status, line="503 Later", headers=("Retry-After: 86400",))})
    with running(liar):
        answer = start_gate(config_for(liar, ["paused"])).get("/simple/paused/", JSON)
        assert_trouble(answer, UNAVAILABLE)


def test_a_dead_upstream_is_a_503_that_says_so_in_its_reason_phrase(start_gate: Callable[..., Gate]) -> None:
    liar = Liar()
    with running(liar):
        pass
    answer = start_gate(config_for(liar, ["dead"])).get("/simple/dead/", JSON)
    assert_trouble(answer, UNAVAILABLE)
    assert "dead" in answer.reason
    assert "cannot be reached" in answer.reason


@pytest.mark.parametrize("later_s", [0.0, 0.3])
def test_bytes_behind_an_answer_are_never_taken_for_the_next_one(start_gate: Callable[..., Gate], later_s: float) -> None:
    """The connection is kept alive, and a second answer waits in it: another page than the one that will be asked for."""
    first, second = Liar().page("first"), json_of("first-again", [])
    smuggled = f"HTTP/1.1 200 OK\r\nContent-Type: {lies.JSON}\r\nContent-Length: {len(second)}\r\n\r\n".encode() + second

    async def two_answers(talk: Talk) -> None:
        await talk.answer(first)
        await asyncio.sleep(later_s)
        await talk.send(smuggled)

    liar = Liar({"first": two_answers})
    with running(liar):
        server = start_gate(config_for(liar, ["first"]))
        assert server.get("/simple/first/").status == 200
        time.sleep(2 * later_s)

        async def absent(talk: Talk) -> None:
            await (lies.status(talk, line="404 No") if "again" in talk.asked.path else talk.answer(first))

        liar.pages["first"] = absent
        assert server.get("/simple/first-again/").status == 404


class Links:
    """A page with one honest file among entries that lie."""

    NAME = "links"

    def __init__(self, port: int, other_port: int) -> None:
        self.good = entries(self.NAME, 1)[0]
        self.hrefs = [
            *INNER.values(),
            f"http://127.0.0.2:{port}/links-9.0.tar.gz",
            f"http://127.0.0.1:{other_port}/links-9.0.tar.gz",
            f"//127.0.0.2:{port}/links-9.0.tar.gz",
            f"http://127.0.0.1:{other_port}@127.0.0.1/links-9.0.tar.gz",
            f"\\\\127.0.0.2:{port}\\links-9.0.tar.gz",
            "../../%2e%2e/%2e%2e/etc/links-9.0.tar.gz",
            "..%2f..%2flinks-9.0.tar.gz",
            "links-9.0.tar.gz\r\nX: y",
            "\x00links-9.0.tar.gz",
            "data:text/plain,x",
            "mailto:links-9.0.tar.gz",
            "",
        ]
        self.filenames = [
            "../../links-9.0.tar.gz",
            "..\\links-9.0.tar.gz",
            "links-9.0.tar.gz\r\nSet-Cookie: a=b",
            "links-9.0.tar.gz\x00",
            "/etc/links-9.0.tar.gz",
            "links-9.0.tar.gz.metadata",
            "links-9.0%2f.tar.gz",
            "links-<script>-9.0.tar.gz",
            "other-9.0.tar.gz",
            "other-9.0-py3-none-any.whl",
            "linksother-9.0-py3-none-any.whl",
            ".links-9.0.tar.gz",
            "links-9.0" + "9" * 300 + ".tar.gz",
            "links-\u0660.0.tar.gz",
            "",
        ]
        mistyped: list[dict[str, object]] = [
            {"url": None},
            {"url": 5},
            {"url": ["x"]},
            {"filename": None},
            {"filename": {}},
            {"hashes": None},
            {"hashes": "sha256"},
            {"hashes": {"sha256": None}},
            {"hashes": {"sha256": "short"}},
            {"hashes": {"sha256": "g" * 64}},
        ]
        bad = "links-9.0.tar.gz"
        self.entries = [
            *({**self.good, "filename": bad, "url": href} for href in self.hrefs),
            *({**self.good, "filename": filename} for filename in self.filenames),
            *({**self.good, "filename": bad, **change} for change in mistyped),
            None,
            "a string",
            7,
            [],
            {},
        ]


@pytest.mark.parametrize("form", ["json", "html"])
def test_entries_that_lie_are_left_out_and_the_others_stay(start_gate: Callable[..., Gate], form: str) -> None:
    liar = Liar()
    with witness("127.0.0.2") as (port, seen), witness("127.0.0.1") as (other_port, also_seen), running(liar):
        page = Links(port, other_port)
        if form == "json":
            lie = partial(lies.content, body=json_of(page.NAME, [*page.entries, page.good]))  # type: ignore[list-item]
        else:
            anchors = "".join(f'<a href="{escape(href)}">x</a>' for href in page.hrefs)
            good = html_of(page.NAME, [page.good])
            lie = partial(lies.content, body=good.replace(b"<body>", b"<body>" + anchors.encode()), kind=lies.HTML)
        liar.pages[page.NAME] = lie
        server = start_gate(config_for(liar, [page.NAME]))
        listed = server.page(page.NAME)["files"]
        assert [entry["filename"] for entry in listed] == [page.good["filename"]]
        as_html = server.get(f"/simple/{page.NAME}/", {"Accept": "text/html"}).body
        assert as_html.count(b"<a ") == 1
        unchecked = ("links-9.0.tar.gz", "links-9.0.tar.gz.metadata")
        for filename in filter(None, (*unchecked, *page.filenames)):
            # What has a digest that nobody can check is withheld, and says so.
            status = 403 if filename in unchecked else 404
            assert server.get(f"/files/links/{quote(filename, safe='')}").status == status
        assert seen + also_seen == []
        assert "Traceback" not in server.log


def test_mistyped_optional_fields_cost_the_field_and_not_the_file(start_gate: Callable[..., Gate]) -> None:
    wrong: list[dict[str, object]] = [
        {"size": "big"},
        {"size": -1},
        {"size": 2**80},
        {"size": 1.5},
        {"upload-time": "yesterday"},
        {"upload-time": 5},
        {"upload-time": "2025-01-01T00:00:00"},
        {"requires-python": "\r\n"},
        {"yanked": []},
        {"core-metadata": "yes"},
        {"core-metadata": {"sha256": 5}},
        {"provenance": "javascript:alert(1)"},
        {"provenance": {}},
        {"gpg-sig": "maybe"},
        dict.fromkeys(("size", "upload-time", "requires-python", "yanked", "core-metadata", "provenance")),
        {"requires-python": 3},
    ]
    files = [{**entry, **change} for entry, change in zip(entries("odd", len(wrong)), wrong, strict=True)]
    liar = Liar({"odd": partial(lies.content, body=json_of("odd", files))})
    with running(liar):
        server = start_gate(config_for(liar, ["odd"]))
        page = server.page("odd")
        assert [entry["filename"] for entry in page["files"]] == [entry["filename"] for entry in files[:-1]]
        unreadable = server.get(f"/files/odd/{files[-1]['filename']}")
        assert unreadable.status == 403, "nobody knows for which Python it is not: that costs the file"
        assert "Requires-Python" in unreadable.body.decode()
        assert b"null" not in server.get("/simple/odd/", JSON).body
        assert b"javascript" not in server.get("/simple/odd/", {"Accept": "text/html"}).body


@pytest.mark.parametrize("form", ["json", "html", "gzip"])
def test_twenty_thousand_files_are_listed_and_hold_up_nobody(start_gate: Callable[..., Gate], form: str) -> None:
    files = entries("many", 20_000)
    body = html_of("many", files) if form == "html" else json_of("many", files)

    async def page(talk: Talk) -> None:
        if form == "gzip":
            await talk.answer(gzip.compress(body, 1), "Content-Encoding: gzip")
        else:
            await talk.answer(body, kind=lies.HTML if form == "html" else lies.JSON)

    liar = Liar({"many": page})
    with running(liar):
        server = start_gate(config_for(liar, ["many"]))
        server.get("/livez")
        with watched(server) as seen:
            listed = server.get("/simple/many/", {**JSON, "Accept-Encoding": "gzip"})
            as_html = server.get("/simple/many/", {"Accept": "text/html"})
        assert json.loads(gzip.decompress(listed.body))["files"][19_999]["filename"] == files[19_999]["filename"]
        assert as_html.body.count(b"<a ") == 20_000
        assert seen.held_up_s < HELD_UP_S, seen
        assert seen.grown_bytes < 128 * MIB, seen

"""Wheelgate under Wheelgate, three levels of real processes: what the lowest one says is what clients of the highest hear."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Answer, Gate, gate
from tests.support.index import SIMPLE_JSON, FakeIndex, Handler, running
from tests.support.packages import make_wheel, metadata, wheel_bytes, wheel_name
from tests.support.waiting import until

POLICY = """
[policy]
reserved = ["acme-reserved"]
deny = ["evil", "half==2.0"]
"""


class Levels(NamedTuple):
    """Three servers, each in front of the one before, and the index below the lowest."""

    index: FakeIndex
    low: Gate
    middle: Gate
    high: Gate

    def ask(self, path: str, accept: str = SIMPLE_JSON) -> list[Answer]:
        """The answers of all three, from the lowest up."""
        return [level.get(path, {"Accept": accept}) for level in (self.low, self.middle, self.high)]


def above(url: str, more: str = "", *, private: bool = True) -> str:
    source = f'[[source]]\nname = "below"\ntype = "index"\nurl = "{url}"\nprivate = {str(private).lower()}\n'
    return UPLOADS + source + 'fresh = "0s"\nabsent = "0s"\n' + more


async def with_status(_: web.BaseRequest) -> web.Response:
    status = {"status": "deprecated", "reason": "use full"}
    page = {"meta": {"api-version": "1.4"}, "name": "retired", "versions": ["1.0"], "files": [], "project-status": status}
    return web.json_response(page, content_type=SIMPLE_JSON)


async def nonsense(_: web.BaseRequest) -> web.Response:
    return web.Response(text="{}", content_type=SIMPLE_JSON)


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Levels]:
    folder = tmp_path_factory.mktemp("levels")
    with running(FakeIndex()) as index:
        for name, version in (("evil", "1.0"), ("half", "1.0"), ("half", "2.0"), ("changing", "1.0"), ("broken", "1.0")):
            body = metadata(name, version)
            index.publish(name, wheel_name(name, version), wheel_bytes(name, version, metadata_body=body), metadata=body)
        index.publish(
            "full", wheel_name("full", "1.0"), wheel_bytes("full", "1.0"), yanked="broken, take 2.0", requires_python=">=3.8",
            upload_time="2024-05-06T07:08:09Z", provenance="https://index.example.com/provenance/full",
        )  # fmt: skip
        index.publish("full", wheel_name("full", "2.0"), wheel_bytes("full", "2.0"))
        settings = UPLOADS + index_source(index, "public", private=False, fresh="0s", absent="0s") + POLICY
        with (
            gate(folder / "low", settings) as low,
            gate(folder / "middle", above(low.index_url)) as middle,
            gate(folder / "high", above(middle.index_url)) as high,
        ):
            added = low.run("wheel", "add", make_wheel(folder, "acme-own", "1.0"))
            assert added.returncode == 0, added.stderr
            index.handlers["/simple/retired/"] = with_status
            index.handlers["/simple/odd/"] = nonsense
            yield Levels(index, low, middle, high)


@pytest.mark.parametrize("path", ["/simple/evil/", f"/files/evil/{wheel_name('evil', '1.0')}", "/pypi/evil/json"])
@pytest.mark.parametrize("accept", [SIMPLE_JSON, "text/html", "*/*"])
def test_a_refusal_by_a_rule_reaches_the_top_with_its_sentence(levels: Levels, path: str, accept: str) -> None:
    before = levels.index.count("/simple/evil/")
    low, *upper = levels.ask(path, accept)
    assert low.status == 403
    said = json.loads(low.body)["reason"] if "json" in accept else low.body.decode().strip()
    assert "deny" in said
    prefix = ""
    for answer in upper:
        prefix += "source below: "
        assert answer.status == 403
        body = json.loads(answer.body)["reason"] if "json" in accept else answer.body.decode().strip()
        assert body.startswith(prefix)
        assert "policy.deny" in body or "deny" in body
        assert answer.reason.startswith(prefix), "pip prints the reason phrase"
        assert "credential" not in body
    assert levels.index.count("/simple/evil/") - before <= 3, "one question a level and request, not repeated"


def test_what_a_page_says_is_the_same_on_every_level(levels: Levels) -> None:
    low, *upper = (level.page("full") for level in (levels.low, levels.middle, levels.high))
    first, second = low["files"]
    assert (first["yanked"], first["upload-time"]) == ("broken, take 2.0", "2024-05-06T07:08:09Z")
    assert first["provenance"] == "https://index.example.com/provenance/full"
    assert "yanked" not in second
    for page in upper:
        assert page == low
    statuses = [level.page("retired").get("project-status") for level in (levels.low, levels.middle, levels.high)]
    assert statuses == [{"status": "deprecated", "reason": "use full"}] * 3
    for answer in levels.ask("/simple/full/", "text/html"):
        assert 'data-yanked="broken, take 2.0"' in answer.body.decode()


@pytest.mark.parametrize("name", ["missing", "acme-reserved"])
def test_absence_passes_through(levels: Levels, name: str) -> None:
    before = levels.index.count(f"/simple/{name}/")
    assert [answer.status for answer in levels.ask(f"/simple/{name}/")] == [404] * 3
    assert (levels.index.count(f"/simple/{name}/") > before) is ("missing" in name), "what is private below is asked nowhere else"


def test_a_private_name_without_files_stays_an_empty_page(levels: Levels) -> None:
    before = levels.index.count("/simple/acme-own/")  # whoever added it looked for another owner
    assert [len(level.page("acme-own")["files"]) for level in (levels.low, levels.middle, levels.high)] == [1, 1, 1]
    assert levels.low.run("wheel", "delete", "--yes", wheel_name("acme-own", "1.0")).returncode == 0
    until(lambda: levels.low.page("acme-own")["files"] == [])
    assert [level.page("acme-own")["files"] for level in (levels.middle, levels.high)] == [[], []]
    assert levels.index.count("/simple/acme-own/") == before


def test_a_wrong_answer_below_is_one_on_every_level_in_the_words_of_the_lowest(levels: Levels) -> None:
    before = levels.index.count("/simple/odd/")
    low, middle, high = levels.ask("/simple/odd/")
    said = json.loads(low.body)["reason"]
    assert (low.status, middle.status, high.status) == (502, 502, 502)
    assert said.startswith("source public, asked for odd, answered with")
    assert json.loads(high.body)["reason"] == f"source below: source below: {said}"
    assert levels.index.count("/simple/odd/") - before == 3, "nobody asks again what was answered"


def test_an_outage_below_is_told_and_holds_up_nothing_else(levels: Levels) -> None:
    async def down(_: web.BaseRequest) -> web.Response:
        return web.Response(status=503)

    assert levels.high.get("/simple/full/").status == 200
    names = [f"down-{number}" for number in range(6)]
    for name in names:
        levels.index.handlers[f"/simple/{name}/"] = down
        began = time.monotonic()
        answer = levels.high.get(f"/simple/{name}/", {"Accept": SIMPLE_JSON})
        assert time.monotonic() - began < 5, "each level asks once what the one below has asked three times"
        assert answer.status == 503
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert json.loads(answer.body)["reason"].startswith("source below: source below: source public answered 503")
    assert levels.high.get("/simple/full/").status == 200
    assert levels.high.get(f"/files/full/{wheel_name('full', '2.0')}").status == 200


@pytest.mark.timeout(120)
def test_installers_hear_the_reason(levels: Levels, home: Path) -> None:
    index = ["--index-url", levels.high.index_url]
    pip(home, "install", "--no-cache-dir", "--no-deps", *index, "--target", home / "pip", "half")
    assert '"1.0"' in (home / "pip" / "half.py").read_text(), "2.0 is denied below"
    failed = uv(home, "pip", "install", "--target", home / "uv", "--default-index", levels.high.index_url, "evil", ok=False)
    assert "403" in failed.stderr
    url = f"{levels.high.url}/files/evil/{wheel_name('evil', '1.0')}"
    failed = pip(home, "download", "--no-cache-dir", "--no-deps", "-d", home / "out", f"evil @ {url}", ok=False)
    assert "source below: source below: " in failed.stderr


SAYS = "Package lib:1.0 download was blocked by JFrog Packages Curation service due to the following policies violated {age, new}"
XRAY = "Artifact download request rejected: lib.whl was not downloaded due to the download blocking policy configured in Xray"
HELD = "Requested item is quarantined. See https://iq.example.com/ui/links/repository/1"


def artifactory(message: str) -> str:
    return json.dumps({"errors": [{"status": 403, "message": message}]})


REFUSALS = {
    "wheelgate, JSON": (
        '{"error": 403, "reason": "lib is withheld: deny"}',
        {"X-Wheelgate-Error": "withheld"},
        "lib is withheld",
    ),
    "wheelgate, text": ("lib is withheld: deny\n", {"X-Wheelgate-Error": "withheld"}, "lib is withheld: deny"),
    "wheelgate, no words": ("", {"X-Wheelgate-Error": "withheld"}, "Forbidden"),
    "curation": (artifactory(SAYS), {}, SAYS),
    "xray": (artifactory(XRAY), {}, XRAY),
    "firewall": (f"<html><body><p>{HELD}</p></body></html>", {}, HELD),
    "firewall, JSON": (artifactory(HELD), {}, HELD),
    "control characters": ("no\x1b[31m\r\nSet-Cookie: a=b\u202e", {"X-Wheelgate-Error": "withheld"}, "no [31m Set-Cookie: a=b"),
    "an address with secrets": (
        "see https://u:p4ssword@h/x?sig=s3cret-s3cret now",
        {"X-Wheelgate-Error": "withheld"},
        "https://h/x now",
    ),
}
OTHERS = {
    "nothing": (403, "", {}),
    "no right": (403, '{"errors": [{"status": 403, "message": "Not enough permissions"}]}', {}),
    "another kind": (403, "x", {"X-Wheelgate-Error": "unavailable"}),
    "an unknown kind": (403, "x", {"X-Wheelgate-Error": "forbidden"}),
    "a word of it": (403, "the item is quarantined", {}),
    "401": (401, SAYS, {"X-Wheelgate-Error": "withheld"}),
}


class Refusing(NamedTuple):
    """A server with a token, in front of an index that lists ``lib`` and refuses what it is told to."""

    below: FakeIndex
    public: FakeIndex
    gate: Gate


TOKEN = "canary-token-4711"


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    folder = tmp_path_factory.mktemp("refusing")
    with running(FakeIndex()) as below, running(FakeIndex()) as public:
        for number in range(len(REFUSALS)):  # one for each: what was sent once is kept
            body = metadata(f"lib{number}", "1.0")
            wheel = wheel_bytes(f"lib{number}", "1.0", metadata_body=body)
            below.publish(f"lib{number}", wheel_name(f"lib{number}", "1.0"), wheel, metadata=body)
        for name in ("lib0", "refused"):
            public.publish(name, wheel_name(name, "99.0"), wheel_bytes(name, "99.0"))
        connection = f'[[connection]]\nname = "team"\ntarget = "{below.origin}"\nauth_type = "Bearer"\nvalue = "env:TOKEN"\n'
        settings = above(below.url, index_source(public, private=False)) + connection
        with gate(folder, settings, env={"TOKEN": TOKEN}) as server:
            yield Refusing(below, public, server)


def refuse(status: int, body: str, headers: dict[str, str]) -> Handler:
    async def handler(_: web.BaseRequest) -> web.Response:
        kind = "application/json" if body.startswith("{") else "text/html" if body.startswith("<") else "text/plain"
        return web.Response(status=status, body=body.encode(), headers=headers, content_type=kind)

    return handler


PLACES = {
    "page": ("/simple/refused/", "/simple/refused/"),
    "metadata": ("/packages/{}.metadata", "/files/{}.metadata"),
    "file": ("/packages/{}", "/files/{}"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", REFUSALS)
def test_a_rule_of_the_upstreams_own_is_handed_through(refusing: Refusing, place: str, shape: str) -> None:
    body, headers, said = REFUSALS[shape]
    name = f"lib{list(REFUSALS).index(shape)}"
    file = f"{name}/{wheel_name(name, '1.0')}"
    at, path = (text.format(file) for text in PLACES[place])
    handler = refuse(403, body, headers)
    refusing.below.handlers = {at: handler}
    if place == "metadata":  # else it is read out of the wheel
        refusing.below.handlers[f"/packages/{file}"] = handler
    before = refusing.below.count(at)
    answer = refusing.gate.get(path, {"Accept": "application/json"})
    assert answer.status == 403, answer.body
    reason = json.loads(answer.body)["reason"]
    assert reason.startswith("source below: ")
    assert said in reason
    assert "s3cret" not in answer.body.decode() + answer.reason + refusing.gate.log
    assert refusing.below.count(at) - before == 1, "asked once, with one credential"
    assert answer.headers["X-Wheelgate-Error"] == "withheld", "for the server above"
    assert "Set-Cookie" not in answer.headers
    assert refusing.public.count("/simple/refused/") == 0, "a refusal is no absence"
    refusing.below.handlers = {}
    if place != "page":
        assert refusing.gate.get(path).status == 200, "nothing was learned from it"
    assert refusing.gate.get(f"/simple/{name}/").status == 200
    metrics = refusing.gate.get("/metrics").body.decode()
    assert 'wheelgate_upstream_up{source="below"} 1.0' in metrics
    assert 'wheelgate_connection_refused_total{connection="team"' not in metrics


@pytest.mark.parametrize("shape", OTHERS)
def test_any_other_refusal_is_trouble_with_the_credential_as_ever(refusing: Refusing, shape: str) -> None:
    refusing.below.handlers = {"/simple/refused/": refuse(*OTHERS[shape])}
    answer = refusing.gate.get("/simple/refused/")
    assert answer.status == 502
    assert "connection team was refused" in answer.body.decode()
    assert refusing.public.count("/simple/refused/") == 0


def test_a_reason_that_repeats_the_credential_is_not_repeated(refusing: Refusing) -> None:
    refusing.below.handlers = {"/simple/refused/": refuse(403, f"no: Bearer {TOKEN}", {"X-Wheelgate-Error": "withheld"})}
    answer = refusing.gate.get("/simple/refused/")
    assert answer.status == 403
    assert "repeats the credential" in answer.body.decode()
    assert TOKEN not in answer.body.decode() + answer.reason + refusing.gate.log


def test_a_last_good_page_does_not_stand_in_for_a_refusal(refusing: Refusing) -> None:
    assert refusing.gate.get("/simple/lib0/").status == 200
    refusing.below.handlers = {"/simple/lib0/": refuse(403, "lib is withheld now", {"X-Wheelgate-Error": "withheld"})}
    assert refusing.gate.get("/simple/lib0/").status == 403
    refusing.below.handlers = {"/simple/lib0/": refuse(503, "", {})}
    assert refusing.gate.get("/simple/lib0/").status == 503, "nor in an outage that follows it"
    refusing.below.handlers = {}
    until(lambda: refusing.gate.get("/simple/lib0/").status == 200)

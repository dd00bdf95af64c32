"""A name that is ours stays ours: in any spelling, without files, in an outage, after a restart. With real pip and uv."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source, uploads_and
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, wheel_bytes, wheel_name

SPELLINGS = ["requests", "Requests", "REQUESTS", "reQuests"]


@pytest.fixture
def public(index: FakeIndex) -> FakeIndex:
    for version in ("2.31.0", "2.34.2"):
        index.publish("requests", wheel_name("requests", version), wheel_bytes("requests", version))
    index.publish("acme-lib", wheel_name("acme-lib", "99.0"), wheel_bytes("acme-lib", "99.0"))
    index.publish("idna", wheel_name("idna", "3.20"), wheel_bytes("idna", "3.20"))
    return index


def files(gate: Gate, project: str) -> set[str]:
    return {entry["filename"] for entry in gate.page(project)["files"]}


def test_a_taken_over_name_makes_every_public_file_vanish_for_good(
    start_gate: Callable[..., Gate], public: FakeIndex, tmp_path: Path, home: Path
) -> None:
    gate = start_gate(uploads_and(public))
    assert "requests-2.34.2-py3-none-any.whl" in files(gate, "requests")
    wheel = make_wheel(tmp_path, "requests", "99.0")
    refused = gate.run("wheel", "add", wheel)
    assert refused.returncode == 1
    assert "source public answers for requests" in refused.stderr
    assert "--take-over" in refused.stderr
    gate.restart()  # forget that the public page was ever seen

    assert gate.run("wheel", "add", "--take-over", wheel).returncode == 0
    _until(lambda: files(gate, "requests") == {"requests-99.0-py3-none-any.whl"})
    public.asked.clear()
    listed = pip(home, "index", "versions", "--index-url", gate.index_url, "requests").stdout
    assert "Available versions: 99.0\n" in listed
    for spelling in SPELLINGS:
        assert gate.get(f"/simple/{spelling}").headers["Location"] == "/simple/requests/"
        pip(home, "download", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", f"{spelling}==2.31.0", ok=False)
    assert gate.get("/files/requests/requests-2.34.2-py3-none-any.whl").status == 404
    assert gate.get("/files/Requests/requests-2.34.2-py3-none-any.whl").status == 404

    stored = gate.data / "store" / "packages" / "requests" / wheel.name
    stored.unlink()  # as an operator with a broom would
    gate.restart()
    assert files(gate, "requests") == set()
    uv(home, "venv", "--python", sys.executable, home / "venv")
    install = ("pip", "install", "--no-cache", "--default-index", gate.index_url, "requests")
    assert "requests" in uv(home, *install, env={"VIRTUAL_ENV": str(home / "venv")}, ok=False).stderr
    pip(home, "download", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "requests", ok=False)
    assert not [asked for asked in public.asked if "requests" in asked.path]


def test_a_private_source_that_fails_never_lets_the_public_one_answer(
    start_gate: Callable[..., Gate], public: FakeIndex, second_index: FakeIndex, home: Path
) -> None:
    private = second_index
    private.publish("acme-lib", wheel_name("acme-lib", "1.0"), wheel_bytes("acme-lib", "1.0"))
    gate = start_gate(UPLOADS + index_source(private, "team", private=True, fresh="1s") + index_source(public))
    original = private.answer

    async def broken(request: object) -> object:
        from aiohttp import web

        return web.Response(status=500)

    private.answer = broken  # type: ignore[assignment, method-assign]
    private.handlers = {f"/simple/{name}/": broken for name in ("acme-lib", "idna")}  # type: ignore[dict-item]
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 503
    assert "team" in answer.reason
    assert answer.headers["Retry-After"]
    pip(home, "download", "--retries", "0", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib", ok=False)
    assert not [asked for asked in public.asked if "acme-lib" in asked.path]

    private.answer = original  # type: ignore[method-assign]
    private.handlers.clear()
    _until(lambda: gate.get("/simple/acme-lib/").status == 200)
    pip(home, "download", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib")
    assert (home / "out" / "acme_lib-1.0-py3-none-any.whl").exists()
    assert not [asked for asked in public.asked if "acme-lib" in asked.path]


def test_a_reserved_name_is_asked_of_nobody_public(start_gate: Callable[..., Gate], public: FakeIndex, home: Path) -> None:
    gate = start_gate(uploads_and(public) + '[policy]\nreserved = ["Acme_*"]\n')
    assert gate.get("/simple/acme-lib/").status == 404
    pip(home, "download", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib", ok=False)
    assert public.asked == []
    assert gate.get("/simple/idna/").status == 200


def test_explain_tells_who_owns_a_name_and_who_was_not_asked(
    start_gate: Callable[..., Gate], public: FakeIndex, tmp_path: Path
) -> None:
    gate = start_gate(uploads_and(public))
    assert gate.run("wheel", "add", make_wheel(tmp_path, "acme-new", "1.0")).returncode == 0
    told = gate.run("explain", "Acme.New").stdout
    assert "the first private source that has it is uploads" in told
    assert "private since" in told
    assert "public (public): not asked, uploads owns the name" in told
    assert gate.run("explain", "nobody-has-this").returncode == 1


def test_what_one_replica_learns_is_private_every_replica_knows_within_seconds(
    start_gate: Callable[..., Gate], public: FakeIndex, second_index: FakeIndex, tmp_path: Path
) -> None:
    private = second_index
    private.publish("acme-lib", wheel_name("acme-lib", "1.0"), wheel_bytes("acme-lib", "1.0"))
    private.publish("acme-stays", wheel_name("acme-stays", "1.0"), wheel_bytes("acme-stays", "1.0"))
    shared = f'[store]\nurl = "file:{tmp_path / "shared"}"\n'
    config = shared + UPLOADS + index_source(private, "team", private=True, fresh="1s", absent="1s") + index_source(public)
    one, two = start_gate(config), start_gate(config)
    assert two.get("/simple/idna/").status == 200  # it has read the claims, and found none
    assert files(one, "acme-lib") == {"acme_lib-1.0-py3-none-any.whl"}
    del private.projects["acme-lib"]
    time.sleep(5)
    assert files(two, "acme-lib") == set()
    assert files(one, "acme-lib") == set()
    assert not [asked for asked in public.asked if "acme-lib" in asked.path]


def test_looking_claims_nothing_and_a_claim_made_by_mistake_can_be_released(
    start_gate: Callable[..., Gate], public: FakeIndex, second_index: FakeIndex
) -> None:
    second_index.publish("idna", wheel_name("idna", "1.0"), wheel_bytes("idna", "1.0"))
    mistaken = UPLOADS + index_source(second_index, "mistake", private=True) + index_source(public)
    gate = start_gate(mistaken)
    assert "the first private source that has it is mistake" in gate.run("explain", "idna").stdout
    assert gate.get("/explain/idna").status == 200
    assert not (gate.data / "store" / "claims" / "idna").exists()
    assert files(gate, "idna") == {"idna-1.0-py3-none-any.whl"}
    assert (gate.data / "store" / "claims" / "idna").exists()

    still = gate.run("release", "idna", "--reason", "a mistake", "--yes")
    assert still.returncode == 1
    assert "source mistake lists idna" in still.stderr
    gate.config.write_text(uploads_and(public))
    gate.restart()
    assert files(gate, "idna") == set()
    assert "wheelgate release idna" in gate.run("explain", "idna").stdout
    assert gate.run("release", "idna", "--reason", "a mistake", "--yes").returncode == 0
    _until(lambda: files(gate, "idna") == {"idna-3.20-py3-none-any.whl"})
    (kept,) = (gate.data / "store" / "released" / "idna").iterdir()
    assert "a mistake" in kept.read_text()
    assert "is not claimed" in gate.run("release", "idna", "--reason", "again", "--yes").stderr


def _until(condition: Callable[[], bool], wait_s: float = 6) -> None:
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def test_the_list_of_projects_has_every_private_name_that_is_known(
    start_gate: Callable[..., Gate], second_index: FakeIndex, public: FakeIndex, tmp_path: Path
) -> None:
    """Those of a private index too, once it listed a file of them, also on another replica, and no public ones."""
    second_index.publish("acme-feed", wheel_name("acme-feed", "1.0"), wheel_bytes("acme-feed", "1.0"))
    gate = start_gate(UPLOADS + index_source(second_index, name="team", private=True) + index_source(public))

    def names() -> set[str]:
        listed = json.loads(gate.get("/simple/", {"Accept": "application/vnd.pypi.simple.v1+json"}).body)
        return {entry["name"] for entry in listed["projects"]}

    assert names() == set()
    assert files(gate, "acme-feed")
    assert files(gate, "idna")
    assert names() == {"acme-feed"}
    assert gate.run("wheel", "add", make_wheel(tmp_path, "acme-new", "1.0")).returncode == 0
    _until(lambda: names() == {"acme-feed", "acme-new"})
    assert gate.run("wheel", "delete", "--yes", "acme_new-1.0-py3-none-any.whl").returncode == 0
    assert gate.run("release", "acme-new", "--reason", "a trial", "--yes").returncode == 0
    _until(lambda: names() == {"acme-feed"})
    gate.restart()
    assert names() == {"acme-feed"}


def test_a_private_name_that_cannot_be_recorded_is_not_served_and_never_becomes_public(
    start_gate: Callable[..., Gate], second_index: FakeIndex, public: FakeIndex
) -> None:
    """The store takes reads and no writes below claims/, and the feed loses the name meanwhile."""
    feed = second_index
    feed.publish("acme-lib", wheel_name("acme-lib", "1.0"), wheel_bytes("acme-lib", "1.0"))
    feed.publish("acme-known", wheel_name("acme-known", "1.0"), wheel_bytes("acme-known", "1.0"))
    gate = start_gate(UPLOADS + index_source(feed, name="team", private=True, fresh="1s", absent="1s") + index_source(public))
    assert files(gate, "acme-known") == {"acme_known-1.0-py3-none-any.whl"}
    claims = gate.data / "store" / "claims"
    if subprocess.run(["mount", "--bind", claims, claims], check=False, capture_output=True).returncode:
        pytest.skip("only root can make a folder read-only for root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", claims], check=True)
        refused = gate.get("/simple/acme-lib/")
        assert refused.status == 503
        assert b"cannot be recorded as private, so it is not served" in refused.body
        assert files(gate, "acme-known") == {"acme_known-1.0-py3-none-any.whl"}
        ready = json.loads(gate.get("/readyz").body)
        assert ready["claims"] == "fail: 1 private names could not be recorded as such, so they are not served"
        assert b"\nwheelgate_unrecorded_claims 1.0\n" in gate.get("/metrics").body
        feed.projects.pop("acme-lib")
        time.sleep(2)
        public.asked.clear()
        assert files(gate, "acme-lib") == set()
        assert not [asked for asked in public.asked if "acme-lib" in asked.path]
        feed.publish("acme-lib", wheel_name("acme-lib", "1.0"), wheel_bytes("acme-lib", "1.0"))
        time.sleep(2)
        assert gate.get("/simple/acme-lib/").status == 503
    finally:
        subprocess.run(["umount", claims], check=True)
    _until((claims / "acme-lib").is_file)  # although nobody asks for it
    _until(lambda: "claims" not in json.loads(gate.get("/readyz").body))
    assert files(gate, "acme-lib") == {"acme_lib-1.0-py3-none-any.whl"}

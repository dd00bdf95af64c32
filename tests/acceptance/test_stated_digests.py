"""Digests that a page states, by every algorithm that ``hashlib`` has: no body that contradicts one leaves whole or is kept."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.configs import index_source
from tests.support import clients
from tests.support.gate import Gate
from tests.support.index import SIMPLE_JSON, FakeIndex
from tests.support.packages import wheel_bytes, wheel_name

JSON = {"Accept": SIMPLE_JSON}
ALGORITHMS = {
    name: hashlib.new(name, usedforsecurity=False).digest_size * 2
    for name in sorted(hashlib.algorithms_guaranteed)
    if not name.startswith("shake")
} | {"blake2b_256": 64}
SHOWN = {"md5", "sha256", "sha384", "sha512"}
"""All that every release of uv takes."""
MODES = ["cache", "stream", "redirect"]


def digest_of(algorithm: str, body: bytes) -> str:
    if algorithm == "blake2b_256":
        return hashlib.blake2b(body, digest_size=32).hexdigest()
    return hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()


def fetched(server: Gate, project: str, ranges: str | None = None, status: int = 200) -> bytes | None:
    """The whole answer for the project's file; ``None``: it is refused, or not whole."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.request("GET", f"/files/{project}/{wheel_name(project, '1.0')}", headers={"Range": ranges} if ranges else {})
    try:
        response = connection.getresponse()
        return response.read() if response.status in (status, 206) else None
    except (http.client.IncompleteRead, ConnectionError):
        return None
    finally:
        connection.close()


@pytest.mark.parametrize(("html", "modes"), [(False, MODES), (True, ["stream"])], ids=["json", "html"])
def test_every_algorithm_is_checked_however_the_bytes_travel(
    start_gate: Callable[..., Gate], index: FakeIndex, html: bool, modes: list[str]
) -> None:
    index.html = html
    bodies = {}
    for mode in modes:
        for algorithm, digits in ALGORITHMS.items():
            for is_right in (True, False):
                project = f"{mode}-{algorithm.replace('_', '-')}-{'right' if is_right else 'wrong'}"
                bodies[project] = body = wheel_bytes(project, "1.0")
                stated = digest_of(algorithm, body) if is_right else "0" * digits
                index.publish(project, wheel_name(project, "1.0"), body, hashes={algorithm: stated})
    server = start_gate("".join(index_source(index, mode, delivery=mode, private=True, only=[f"{mode}-*"]) for mode in modes))
    for project, body in bodies.items():
        (entry,) = json.loads(server.get(f"/simple/{project}/", JSON).body)["files"]
        assert entry["hashes"].keys() <= SHOWN
        expected = body if project.endswith("-right") else None
        if project.startswith("redirect-") and entry["hashes"]:  # the client gets the bytes itself, and compares them itself
            assert fetched(server, project, status=302) is not None
        else:
            assert fetched(server, project) == expected, project
            if not project.startswith("redirect-"):
                assert fetched(server, project, "bytes=0-") == expected, project
    kept = {path.parent.name for path in (server.data / "store" / "cache").rglob("*.whl")}
    assert kept == {project for project in bodies if project.startswith("cache-") and project.endswith("-right")}


def test_of_several_digests_each_is_checked(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    names = {}
    for number, wrong in enumerate(("sha256", "sha1", "sha3_512")):
        body = wheel_bytes(name := f"both-{number}", "1.0")
        hashes = {algorithm: digest_of(algorithm, body) for algorithm in ("sha256", "sha1", "sha3_512")}
        index.publish(name, wheel_name(name, "1.0"), body, hashes={**hashes, wrong: "0" * ALGORITHMS[wrong]})
        names[name] = wrong
    server = start_gate(index_source(index, delivery="cache"))
    for name, wrong in names.items():
        assert fetched(server, name) is None, wrong


def test_a_digest_that_nobody_here_knows_costs_the_file_and_says_so(
    start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path
) -> None:
    for version, hashes in (("1.0", {}), ("2.0", {"sm3": "0" * 64})):
        body = wheel_bytes("demo", version)
        index.publish("demo", wheel_name("demo", version), body, hashes=hashes or {"sha1": digest_of("sha1", body)})
    server = start_gate(index_source(index))
    assert [entry["filename"] for entry in server.page("demo")["files"]] == [wheel_name("demo", "1.0")]
    (entry,) = json.loads(server.get("/explain/demo").body)["withheld"]
    assert (entry["file"], entry["rule"]) == (wheel_name("demo", "2.0"), "digest")
    assert "states a digest by 'sm3', which is not known here" in entry["reason"]
    refused = server.get(f"/files/demo/{wheel_name('demo', '2.0')}")
    assert (refused.status, b"sm3" in refused.body) == (403, True)
    assert installed(clients.pip, server, tmp_path) == installed(clients.uv, server, tmp_path) == "1.0"


def installed(client: Callable[..., subprocess.CompletedProcess[str]], server: Gate, home: Path) -> str:
    """The version that a client installs."""
    target = home / client.__name__
    options = ["install", "--target", target, "--index-url", server.index_url]
    client(home, *(["pip", *options] if client is clients.uv else options), "demo")
    return (target / "demo.py").read_text().split('"')[1]


def test_a_copy_that_was_kept_when_nothing_was_stated_is_compared_with_what_is_stated_now(
    start_gate: Callable[..., Gate], index: FakeIndex
) -> None:
    """It was observed, and no more: if it is something else it gives way, and what is sent is compared like any other body."""
    for name in ("good", "bad"):
        index.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0"), hashes={})
    server = start_gate(index_source(index, delivery="cache", fresh="1s"))
    for name in ("good", "bad"):
        assert fetched(server, name) == wheel_bytes(name, "1.0")
    server.stop()
    for name, is_right in (("good", True), ("bad", False)):
        body = wheel_bytes(name, "1.0")
        index.publish(name, wheel_name(name, "1.0"), body, hashes={"sha1": digest_of("sha1", body) if is_right else "0" * 40})
    server.start()
    assert fetched(server, "good") == wheel_bytes("good", "1.0")
    assert fetched(server, "bad") is None
    assert f"ALARM: source public states the sha1 {'0' * 40} for {wheel_name('bad', '1.0')}" in server.log
    assert [path.parent.name for path in (server.data / "store" / "cache").rglob("*.whl")] == ["good"]

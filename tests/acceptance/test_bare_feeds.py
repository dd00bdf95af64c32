"""A feed that knows none of it (HTML, links and digests, as Azure's): real pip and uv find all they need, for few bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.lies import wait_until
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name

PADDING = 2 * 1024 * 1024
CHAIN = ("acme-app", "acme-web", "acme-db", "acme-core", "acme-base")
"""Each needs the next."""
VERSIONS = ("1.0", "1.1", "2.0")


def fill(index: FakeIndex, *, padding: int = PADDING, **entry: object) -> None:
    """The chain in three versions, the newest of which only a Python of the future takes."""
    for name, needed in zip(CHAIN, (*CHAIN[1:], None), strict=True):
        for version in VERSIONS:
            python = ">=4" if version == "2.0" else ">=3.8"
            requires = [needed] if needed else []
            body = wheel_bytes(name, version, requires=requires, requires_python=python, padding=padding)
            index.publish(name, wheel_name(name, version), body, **entry)


@pytest.fixture
def feed(index: FakeIndex) -> FakeIndex:
    """As Azure Artifacts has it: HTML, no metadata, times or sizes, HEAD refused, files redirected to signed storage."""
    index.bare = index.html = index.redirects = True
    index.heads = False
    fill(index)
    return index


@pytest.fixture
def server(feed: FakeIndex, start_gate: Callable[..., Gate]) -> Gate:
    return start_gate(UPLOADS + index_source(feed, "team", private=True))


def entries(server: Gate, project: str) -> dict[str, dict[str, object]]:
    return {entry["filename"]: entry for entry in server.page(project)["files"]}


def compiled(server: Gate, home: Path, *more: str, ok: bool = True) -> str:
    (home / "in.txt").write_text("acme-app\n")
    arguments = ["pip", "compile", "in.txt", "--index-url", server.index_url, "--no-annotate", "--no-header", *more]
    done = uv(home, *arguments, ok=ok)
    return done.stdout if ok else done.stderr


def quiet(feed: FakeIndex) -> None:
    """Until nothing more is described ahead."""
    count = -1
    while count != (count := len(feed.asked)):
        time.sleep(3)


PINS = [f"{name}==1.1" for name in sorted(CHAIN)]


def test_uv_resolves_without_fetching_a_wheel(server: Gate, feed: FakeIndex, home: Path) -> None:
    assert compiled(server, home).splitlines() == PINS
    assert not [
        asked for asked in feed.asked if asked.method != "GET" or ("Range" not in asked.headers and "/simple/" not in asked.path)
    ]
    wheels = len(CHAIN) * len(VERSIONS)
    assert feed.sent_bytes < wheels * 5 * 64 * 1024 < PADDING * 3, "less than two of the fifteen wheels"
    quiet(feed)
    before = len(feed.asked)
    assert compiled(server, home, "--no-cache").splitlines() == PINS
    assert len(feed.asked) == before, "nothing is asked twice"


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_an_installation_fetches_each_wheel_once(server: Gate, feed: FakeIndex, home: Path, client: str) -> None:
    if client == "pip":
        pip(home, "install", "--target", home / "site", "--index-url", server.index_url, "acme-app")
    else:
        uv(home, "pip", "install", "--target", home / "site", "--index-url", server.index_url, "acme-app")
    assert sorted(path.stem for path in (home / "site").glob("acme_*.py")) == sorted(name.replace("-", "_") for name in CHAIN)
    whole = [asked.path for asked in feed.asked if asked.path.startswith("/signed/") and "Range" not in asked.headers]
    assert sorted(whole) == sorted(f"/signed/{name}/{wheel_name(name, '1.1')}" for name in CHAIN)
    assert not [asked for asked in feed.asked if asked.path.endswith(".metadata") or asked.method == "HEAD"]


def test_the_page_gains_what_the_wheel_says(server: Gate, feed: FakeIndex) -> None:
    name, wheel = "acme-base", wheel_name("acme-base", "1.0")
    began = datetime.now(UTC) - timedelta(seconds=2)
    first = entries(server, name)[wheel]
    assert first["core-metadata"] is True or "sha256" in first["core-metadata"]  # type: ignore[operator]
    assert began < datetime.fromisoformat(str(first["upload-time"])) < datetime.now(UTC)
    body = server.get(f"/files/{name}/{wheel}.metadata").body
    assert body == metadata(name, "1.0", requires_python=">=3.8")
    entry = entries(server, name)[wheel]
    assert entry["core-metadata"] == {"sha256": sha256(body)}
    assert entry["requires-python"] == ">=3.8"
    assert entry["size"] == len(feed.projects[name][wheel].body)
    assert entry["upload-time"] == first["upload-time"]


def test_what_was_found_out_outlives_the_process(server: Gate, feed: FakeIndex) -> None:
    for name in CHAIN:
        for version in VERSIONS:
            server.get(f"/files/{name}/{wheel_name(name, version)}.metadata")
    before = {name: entries(server, name) for name in CHAIN}
    assert all("sha256" in entry["core-metadata"] for page in before.values() for entry in page.values())  # type: ignore[operator]
    server.restart()
    asked = len(feed.asked)
    assert {name: entries(server, name) for name in CHAIN} == before
    assert server.get(f"/files/acme-db/{wheel_name('acme-db', '1.1')}.metadata").status == 200
    assert not [request for request in feed.asked[asked:] if "/simple/" not in request.path]


def test_files_are_as_old_as_our_first_sight_of_them(server: Gate, feed: FakeIndex, home: Path) -> None:
    """`uv --exclude-newer` and `pip --uploaded-prior-to` want a time of every file, or refuse."""
    for name in CHAIN:
        server.page(name)
    time.sleep(1.1)
    later = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    for name in CHAIN:
        feed.publish(name, wheel_name(name, "1.2"), wheel_bytes(name, "1.2"))
    server.restart()  # pages are asked for anew
    assert set(compiled(server, home, "--exclude-newer", later).splitlines()) == set(PINS)
    newest = compiled(server, home, "--exclude-newer", "2999-01-01T00:00:00Z")
    assert "acme-app==1.2" in newest
    pip(home, "install", "--target", home / "site", "--index-url", server.index_url, "--uploaded-prior-to", later, "acme-base")
    assert '"1.1"' in (home / "site" / "acme_base.py").read_text()


def test_a_feed_without_digests_gains_them_with_the_first_installation(
    index: FakeIndex, start_gate: Callable[..., Gate], home: Path
) -> None:
    index.bare = index.html = True
    fill(index, padding=100, hashes=None)
    server = start_gate(UPLOADS + index_source(index, "team", private=True))
    assert not entries(server, "acme-base")[wheel_name("acme-base", "1.1")]["hashes"]
    uv(home, "pip", "install", "--target", home / "site", "--index-url", server.index_url, "acme-app")
    wait_until(lambda: all(entries(server, name)[wheel_name(name, "1.1")]["hashes"] for name in CHAIN))
    locked = compiled(server, home, "--generate-hashes", "--no-cache")
    body = index.projects["acme-base"][wheel_name("acme-base", "1.1")].body
    assert f"--hash=sha256:{sha256(body)}" in locked
    (home / "locked.txt").write_text(locked)
    arguments = ["--index-url", server.index_url, "--require-hashes", "-r", home / "locked.txt"]
    pip(home, "install", "--target", home / "second", *arguments)
    uv(home, "pip", "install", "--target", home / "third", *arguments)
    entry = entries(server, "acme-base")[wheel_name("acme-base", "1.1")]
    assert entry["size"] == len(body)


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_an_upstream_without_ranges_is_fetched_whole_and_once(
    index: FakeIndex, start_gate: Callable[..., Gate], home: Path, delivery: str
) -> None:
    index.bare = index.html = True
    index.ranges = False
    fill(index, padding=300_000)
    server = start_gate(UPLOADS + index_source(index, "team", delivery=delivery))
    assert compiled(server, home).splitlines() == PINS
    pip(home, "install", "--target", home / "site", "--index-url", server.index_url, "acme-app")
    wheel = f"/packages/acme-app/{wheel_name('acme-app', '1.1')}"
    assert index.count(f"{wheel}.metadata") == 0
    # A range that is refused, and then all of it: once for whoever asks, where it may be kept.
    assert index.count(wheel) == (2 if delivery == "cache" else 3)


def test_a_wheel_without_metadata_is_no_longer_said_to_have_any(feed: FakeIndex, server: Gate) -> None:
    name = wheel_name("acme-base", "1.3")
    feed.publish("acme-base", name, wheel_bytes("acme-base", "1.3", without=["METADATA"]))
    wait_until(lambda: "core-metadata" not in entries(server, "acme-base")[name])  # described ahead, being the newest
    assert server.get(f"/files/acme-base/{name}.metadata").status == 404
    server.restart()
    assert "core-metadata" not in entries(server, "acme-base")[name]
    others = [entry for filename, entry in entries(server, "acme-base").items() if filename != name]
    assert all("core-metadata" in entry for entry in others)


def test_trouble_of_a_moment_is_said_to_be_that(index: FakeIndex, start_gate: Callable[..., Gate], home: Path) -> None:
    """pip and uv take a 404 for final; a 503 they try again."""
    index.bare = index.html = True
    fill(index, padding=100_000)
    server = start_gate(UPLOADS + index_source(index, "public"))  # public: nothing is described ahead
    for name in CHAIN:
        server.page(name)
    index.down = True
    answer = server.get(f"/files/acme-app/{wheel_name('acme-app', '1.1')}.metadata")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert entries(server, "acme-app")[wheel_name("acme-app", "1.1")]["core-metadata"] is True
    index.down = False
    assert compiled(server, home).splitlines() == PINS


def test_fifty_who_ask_at_once_cost_one_reading(index: FakeIndex, start_gate: Callable[..., Gate]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    index.bare = index.html = True
    index.delay_s = 0.1
    fill(index)
    server = start_gate(UPLOADS + index_source(index, "public"))  # public: nothing is described ahead
    wheel = wheel_name("acme-app", "1.1")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: server.get(f"/files/acme-app/{wheel}.metadata"), range(50)))
    assert {answer.body for answer in answers} == {metadata("acme-app", "1.1", requires=["acme-web"], requires_python=">=3.8")}
    spans = [asked.headers["Range"] for asked in index.asked if asked.path.endswith(wheel)]
    assert len(spans) == len(set(spans)) <= 3
    assert json.loads(server.get("/explain/acme-app").body)

"""Offline: what was mirrored or built once installs again, nothing is asked of anybody, and what is absent says what to do."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob.aio import BlobServiceClient

from tests.acceptance.configs import index_source, uploads_and
from tests.support.azurite import KEY, Azurite, azurite
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.lies import wait_until
from tests.support.mirrors import publish_catalogue
from tests.support.packages import make_wheel, metadata, wheel_bytes, wheel_name


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


def build_with_pip(server: Gate, home: Path) -> set[str]:
    """A build from nothing; the versions it got."""
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "site", "app")
    return {path.name for path in (home / "site").glob("*.dist-info")}


def build_with_uv(server: Gate, home: Path) -> set[str]:
    uv(home, "venv", "--python", sys.executable, home / "venv")
    uv(home, "pip", "install", "--no-cache", "--default-index", server.index_url, "app", env={"VIRTUAL_ENV": str(home / "venv")})
    return {path.name for path in home.glob("venv/lib/python*/site-packages/*.dist-info")}


@pytest.fixture
def homes(tmp_path: Path) -> Callable[[], Path]:
    """A new, empty home at every call: no client finds what another one kept."""

    def new() -> Path:
        folder = tmp_path / f"home-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        return folder

    return new


@pytest.mark.parametrize("build", [build_with_pip, build_with_uv], ids=["pip", "uv"])
def test_a_build_made_once_online_is_made_again_offline(
    index: FakeIndex, start_gate: Callable[..., Gate], homes: Callable[[], Path], build: Callable[[Gate, Path], set[str]]
) -> None:
    publish_catalogue(index)
    server = start_gate(uploads_and(index))
    online = build(server, homes())
    assert {"app-2.0.dist-info", "lib-1.0.dist-info"} <= online
    server.stop()
    newer = metadata("app", "3.0")
    index.publish("app", wheel_name("app", "3.0"), wheel_bytes("app", "3.0"), metadata=newer)
    asked = len(index.asked)
    server.config.write_text("[server]\noffline = true\n" + uploads_and(index))
    server.start()
    assert build(server, homes()) == online
    assert len(index.asked) == asked
    assert "offline" in server.log
    page = server.page("app")
    assert [file["filename"] for file in page["files"]] == ["app-2.0-py3-none-any.whl"]
    assert page["files"][0]["upload-time"].startswith("2025-01-01")
    assert page["files"][0]["core-metadata"]
    kept = index.projects["app"]["app-2.0-py3-none-any.whl"].metadata
    assert server.get("/files/app/app-2.0-py3-none-any.whl.metadata").body == kept
    assert server.page_names() == ["app", "lib", "setuptools", "sourced"]
    server.stop()


def test_replicas_share_what_one_fetched_and_go_offline_together(
    index: FakeIndex, emulator: Azurite, start_gate: Callable[..., Gate], homes: Callable[[], Path], tmp_path: Path
) -> None:
    publish_catalogue(index)
    container = f"c{uuid.uuid4().hex[:12]}"

    async def create() -> None:
        async with BlobServiceClient(emulator.url, credential=KEY) as service:
            await service.create_container(container)

    asyncio.run(create())
    for number in range(3):
        (tmp_path / f"gate{number}").mkdir()
        (tmp_path / f"gate{number}" / "key").write_text(KEY)
    store = f'[store]\nurl = "{emulator.url}/{container}"\naccount_key = "file:key"\n'
    one, other = start_gate(store + uploads_and(index)), start_gate(store + uploads_and(index))
    online = build_with_pip(one, homes())
    files = [request.path for request in index.asked if request.path.endswith((".whl", ".tar.gz"))]
    assert build_with_pip(other, homes()) == online
    assert [request.path for request in index.asked if request.path.endswith((".whl", ".tar.gz"))] == files
    one.stop()
    other.stop()
    asked = len(index.asked)
    offline = start_gate(store + uploads_and(index), "--offline")
    assert build_with_pip(offline, homes()) == online
    assert build_with_uv(offline, homes()) == online
    assert len(index.asked) == asked
    assert offline.get("/files/app/app-2.0-py3-none-any.whl").status == 302


def test_what_is_absent_says_what_to_mirror_and_stops_clients_at_once(
    index: FakeIndex, start_gate: Callable[..., Gate], home: Path
) -> None:
    publish_catalogue(index)
    server = start_gate("[server]\noffline = true\n" + uploads_and(index))
    answer = server.get("/simple/app/")
    assert answer.status == 403
    sentence = (
        "this server is offline and holds nothing of app: mirror it where there is a network (wheelgate mirror --project app"
    )
    assert sentence in answer.body.decode()
    assert sentence in answer.reason
    began = time.monotonic()
    failed = uv(home, "pip", "install", "--target", home / "x", "--default-index", server.index_url, "app", ok=False)
    pip(home, "install", "--index-url", server.index_url, "--target", home / "x", "app", ok=False)
    assert time.monotonic() - began < 10
    assert "app" in failed.stderr
    explained = server.run("explain", "app")
    assert "wheelgate mirror" in explained.stdout + explained.stderr
    checked = server.run("check")
    assert checked.returncode == 0
    assert "is offline: only what the store holds of it is served" in checked.stdout
    assert not index.asked


def test_an_offline_private_source_is_not_heard_rather_than_empty(
    index: FakeIndex, second_index: FakeIndex, start_gate: Callable[..., Gate]
) -> None:
    """Beside a public index that is asked, what a silent private one lacks must not come from there."""
    index.publish("acme-secret", wheel_name("acme-secret", "1.0"), wheel_bytes("acme-secret", "1.0"))
    second_index.publish("acme-secret", wheel_name("acme-secret", "99.0"), wheel_bytes("acme-secret", "99.0"))
    second_index.publish("acme-new", wheel_name("acme-new", "99.0"), wheel_bytes("acme-new", "99.0"))
    config = index_source(index, "feed", private=True) + index_source(second_index)
    server = start_gate(config)
    name = wheel_name("acme-secret", "1.0")
    assert server.get(f"/files/acme-secret/{name}").status == 200
    server.stop()
    server.config.write_text(index_source(index, "feed", private=True, offline=True) + index_source(second_index))
    index.asked.clear()
    second_index.asked.clear()
    server.start()
    assert [file["filename"] for file in server.page("acme-secret")["files"]] == [name]
    refused = server.get("/simple/acme-new/")
    assert refused.status == 403
    assert "source feed is offline, and nothing of acme-new is held" in refused.body.decode()
    assert not index.asked
    assert not second_index.asked


def test_uploads_and_mirrors_are_served_offline(
    index: FakeIndex, start_gate: Callable[..., Gate], tmp_path: Path, home: Path
) -> None:
    make_wheel(tmp_path / "mirror" / "acme-base", "acme-base", "1.0")
    mirrored = f'[[source]]\nname = "mirror"\ntype = "directory"\nurl = "file:{tmp_path / "mirror"}"\nprivate = false\n'
    server = start_gate(uploads_and(index) + mirrored, "--offline")
    added = server.run("wheel", "add", make_wheel(home, "acme-top", "1.0", requires=["acme-base"]))
    assert added.returncode == 0, added.stderr
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "site", "acme-top")
    assert (home / "site" / "acme_base.py").exists()


def test_only_what_is_asked_over_http_can_be_offline(tmp_path: Path, start_gate: Callable[..., Gate]) -> None:
    with pytest.raises(AssertionError, match=r"source\[0\].offline: applies only to a source that is asked over HTTP"):
        start_gate('[[source]]\nname = "uploads"\ntype = "store"\noffline = true\n')


def test_a_local_cache_stays_within_its_bound_and_uploads_stay_whatever_it_is(
    index: FakeIndex, start_gate: Callable[..., Gate], home: Path
) -> None:
    for number in range(8):
        name = f"piece-{number}"
        index.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0", padding=100_000))
    server = start_gate('[store]\ncache_size = "350kB"\n' + uploads_and(index))
    assert server.run("wheel", "add", make_wheel(home, "acme-own", "1.0", padding=400_000)).returncode == 0
    for number in range(8):
        name = wheel_name(f"piece-{number}", "1.0")
        assert server.get(f"/files/piece-{number}/{name}").status == 200
        assert server.get(f"/files/piece-0/{wheel_name('piece-0', '1.0')}").status == 200
    # Room is made once a client has its file, not before.
    newest = wheel_name("piece-7", "1.0")
    wait_until(lambda: newest in cached_in(server) and len(cached_in(server)) <= 3)  # a hundred thousand bytes each, and a little
    assert server.get(f"/files/acme-own/{wheel_name('acme-own', '1.0')}").status == 200
    assert server.get(f"/files/piece-1/{wheel_name('piece-1', '1.0')}").status == 200  # fetched again


def cached_in(server: Gate) -> set[str]:
    return {path.name for path in (server.data / "store" / "cache").rglob("*.whl")}


def test_a_container_has_a_lifecycle_rule_instead(start_gate: Callable[..., Gate]) -> None:
    store = '[store]\nurl = "https://acct.blob.core.windows.net/c"\ncache_size = "1GiB"\n'
    with pytest.raises(AssertionError, match=r"store.cache_size: applies only to a folder"):
        start_gate(store)
    with pytest.raises(AssertionError, match=r"store.cache_size: must be a size such as 500MiB"):
        start_gate('[store]\ncache_size = "much"\n')

"""Containers that somebody else fills, as sources, on the emulator: any layout, real pip and uv, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob.aio import BlobServiceClient

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.azurite import KEY, Azurite, azurite
from tests.support.clients import pip, uv
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, sdist_bytes, sha256, wheel_bytes, wheel_name


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gate0").mkdir()
    (tmp_path / "gate0" / "key").write_text(KEY)


def put(emulator: Azurite, container: str, blobs: dict[str, bytes]) -> None:
    """As azcopy or the portal would: bodies, and nothing else."""

    async def upload() -> None:
        async with BlobServiceClient(emulator.url, credential=KEY) as service:
            client = service.get_container_client(container)
            if not await client.exists():
                await client.create_container()
            for start in range(0, len(blobs), 50):
                batch = list(blobs.items())[start : start + 50]
                await asyncio.gather(*(client.upload_blob(path, body, overwrite=True) for path, body in batch))

    asyncio.run(upload())


def blob_source(emulator: Azurite, container: str, name: str = "curated", **more: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in more.items())
    return f'[[source]]\nname = "{name}"\ntype = "blob"\nurl = "{emulator.url}/{container}"\naccount_key = "file:key"\n{lines}'


def fresh_name() -> str:
    return f"c{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("layout", ["any", "project"])
def test_what_was_dropped_in_installs_by_name_straight_from_storage(
    emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex, home: Path, layout: str
) -> None:
    container, body, sdist = (
        fresh_name(),
        wheel_bytes("acme-blob", "1.0", requires=["acme-base"]),
        sdist_bytes("acme-base", "2.0"),
    )
    base = wheel_bytes("acme-base", "2.0")
    if layout == "any":
        blobs = {
            wheel_name("acme-blob", "1.0"): body,
            "team/a/b/acme_base-2.0.tar.gz": sdist,
            f"x/{wheel_name('acme-base', '2.0')}": base,
            "README.md": b"not a package",
        }
    else:
        blobs = {
            f"acme-blob/{wheel_name('acme-blob', '1.0')}": body,
            "acme-base/acme_base-2.0.tar.gz": sdist,
            f"acme-base/{wheel_name('acme-base', '2.0')}": base,
            f"acme-base/{wheel_name('other', '1.0')}": body,
        }
    put(emulator, container, blobs)
    index.publish("acme-blob", wheel_name("acme-blob", "99.0"), wheel_bytes("acme-blob", "99.0"))
    gate = start_gate(UPLOADS + blob_source(emulator, container, layout=layout) + index_source(index))
    assert sorted(gate.page_names()) == ["acme-base", "acme-blob"]
    (entry,) = gate.page("acme-blob")["files"]
    assert entry["hashes"] == {"sha256": sha256(body)}
    assert entry["core-metadata"] == {"sha256": sha256(gate.get(f"{entry['url']}.metadata").body)}
    assert entry["size"] == len(body)
    assert entry["upload-time"].endswith("Z")
    redirect = gate.get(entry["url"])
    assert redirect.status == 302
    assert redirect.headers["Cache-Control"] == "no-store"
    assert redirect.headers["Location"].startswith(f"{emulator.url}/{container}/")
    assert gate.get(entry["url"], {"Range": "bytes=-22"}).body == body[-22:]  # ranges stay here: uv cannot follow them
    assert gate.get(entry["url"], method="HEAD").status == 200

    pip(home, "install", "--no-cache-dir", "--index-url", gate.index_url, "--target", home / "site", "acme-blob")
    assert '__version__ = "1.0"' in (home / "site" / "acme_blob.py").read_text()
    uv(home, "venv", "--python", sys.executable, home / "venv")
    install = ("pip", "install", "--no-cache", "--default-index", gate.index_url, "acme-blob")
    uv(home, *install, env={"VIRTUAL_ENV": str(home / "venv")})
    by_url = f"acme-blob @ {gate.url}{entry['url']}#sha256={sha256(body)}"
    pip(home, "install", "--no-cache-dir", "--no-deps", "--target", home / "by-url", by_url)
    assert not [asked for asked in index.asked if "acme" in asked.path]


def test_facts_are_found_out_once_and_remembered(emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    container, body = fresh_name(), wheel_bytes("acme-blob", "1.0")
    put(emulator, container, {wheel_name("acme-blob", "1.0"): body})
    gate = start_gate(UPLOADS + blob_source(emulator, container) + index_source(index))
    before = gate.page("acme-blob")
    (record,) = (gate.data / "store" / "records").glob("curated@*/acme-blob")
    written = record.stat().st_mtime_ns
    gate.restart()
    assert gate.page("acme-blob") == before
    assert record.stat().st_mtime_ns == written


def test_new_blobs_appear_and_streams_need_no_storage_on_the_client(
    emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex
) -> None:
    container = fresh_name()
    put(emulator, container, {wheel_name("acme-blob", "1.0"): wheel_bytes("acme-blob", "1.0")})
    gate = start_gate(UPLOADS + blob_source(emulator, container, fresh="1s", delivery="stream") + index_source(index))
    assert len(gate.page("acme-blob")["files"]) == 1
    body = wheel_bytes("acme-blob", "2.0", padding=900_000)
    put(emulator, container, {f"later/{wheel_name('acme-blob', '2.0')}": body})
    deadline = time.monotonic() + 8
    while len(files := gate.page("acme-blob")["files"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    answer = gate.get(files[1]["url"])
    assert answer.status == 200
    assert answer.body == body


def test_trouble_is_one_sentence_each_and_stops_nothing_else(
    emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path
) -> None:
    index.publish("idna", wheel_name("idna", "3.0"), wheel_bytes("idna", "3.0"))
    (tmp_path / "gate0" / "wrong").write_text("d3Jvbmc=")
    container = fresh_name()
    put(emulator, container, {wheel_name("acme-blob", "1.0"): wheel_bytes("acme-blob", "1.0")})
    wrong = blob_source(emulator, container, name="refused", only="x").replace("file:key", "file:wrong")
    config = (
        UPLOADS
        + blob_source(emulator, container)
        + blob_source(emulator, "nowhere", name="missing").replace("url", 'only = ["gone-*"]\nurl')
        + wrong.replace('only = "x"', 'only = ["no-*"]')
        + '[[source]]\nname = "dead"\ntype = "blob"\nurl = "http://127.0.0.1:9/acct/c"\n'
        + 'account_key = "file:key"\nonly = ["dead-*"]\n'
        + index_source(index)
    )
    gate = start_gate(config)
    assert gate.get("/simple/idna/").status == 200
    assert gate.page("acme-blob")["files"]
    for name, sentence in (
        ("gone-x", "there is no such container: create it"),
        ("no-x", "refused us"),
        ("dead-x", "cannot be reached"),
    ):
        answer = gate.get(f"/simple/{name}/")
        assert answer.status == 503, name
        assert answer.headers["Retry-After"]
        assert sentence in answer.body.decode(), answer.body
        assert "127.0.0.1" not in answer.body.decode() + answer.reason, (
            "a client hears what its source is called, not where it is"
        )
    assert f"{emulator.url}/nowhere: " in gate.log
    assert f"{container}: the storage account" in gate.log
    checked = gate.run("check")
    assert checked.returncode == 1
    assert checked.stdout.count("FAIL") == 3, checked.stdout
    assert "http://127.0.0.1:9/acct/c" in checked.stdout, "an operator is told where it is"
    assert "Traceback" not in gate.log + checked.stderr


def test_a_frozen_container_lets_last_good_pages_stand_in(
    tmp_path: Path, start_gate: Callable[..., Gate], index: FakeIndex
) -> None:
    index.publish("idna", wheel_name("idna", "3.0"), wheel_bytes("idna", "3.0"))
    with azurite(tmp_path / "own") as emulator:
        container = fresh_name()
        put(emulator, container, {wheel_name("acme-blob", "1.0"): wheel_bytes("acme-blob", "1.0")})
        gate = start_gate(UPLOADS + blob_source(emulator, container, fresh="1s") + index_source(index))
        assert gate.page("acme-blob")["files"]
        assert gate.get("/simple/idna/").status == 200
        emulator.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        began = time.monotonic()
        assert gate.page("acme-blob")["files"]
        assert gate.get("/livez").status == 200
        assert time.monotonic() - began < 12
        emulator.process.send_signal(signal.SIGCONT)


def test_a_missing_container_for_the_store_stops_the_start_with_one_sentence(emulator: Azurite, tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    (tmp_path / "key").write_text(KEY)
    config.write_text(f'[store]\nurl = "{emulator.url}/nowhere"\naccount_key = "file:key"\n')
    done = subprocess.run(
        [WHEELGATE, "serve", "-c", config, "--data", tmp_path / "d", "--port", "0"],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "there is no such container: create it" in done.stderr


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
def test_many_blobs(emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex, count: int) -> None:
    container = fresh_name()
    put(emulator, container, {f"p{n}/{wheel_name(f'p{n}', '1.0')}": b"x" for n in range(count)})
    began = time.monotonic()
    gate = start_gate(UPLOADS + blob_source(emulator, container, layout="project") + index_source(index))
    assert len(gate.page("p7")["files"]) == 1
    assert time.monotonic() - began < (3 if count > 600 else 10)  # by hand, alone: 2 s after the start; in CI, beside others
    assert gate.get("/simple/nothing-of-the-kind/").status == 404
    assert len(gate.page_names()) == count


def test_uploads_go_to_a_container_that_may_be_written(
    emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex, home: Path, tmp_path: Path
) -> None:
    container = fresh_name()
    put(emulator, container, {f"acme-old/{wheel_name('acme-old', '1.0')}": wheel_bytes("acme-old", "1.0")})
    box = blob_source(emulator, container, name="box", layout="project").rstrip() + '\nwritable = true\nonly = ["acme-*"]\n'
    gate = start_gate(box + UPLOADS + index_source(index))
    checked = gate.run("check")
    assert checked.returncode == 0, checked.stdout
    assert gate.get("/simple/acme-new/").status == 404  # a remembered absence must not hide the upload
    made = gate.run("token", "new", "--scope", "upload")
    env = environment(home, WHEELGATE_URL=gate.url, WHEELGATE_TOKEN=made.stdout.strip())

    def wheel(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([WHEELGATE, "wheel", *arguments], capture_output=True, text=True, env=env, timeout=60)

    one, other = make_wheel(tmp_path, "acme-new", "1.0"), make_wheel(tmp_path, "plain-new", "1.0")
    added = wheel("add", one, other)
    assert added.returncode == 0, added.stderr
    (entry,) = gate.page("acme-new")["files"]  # at once
    assert entry["hashes"] == {"sha256": sha256(one.read_bytes())}
    assert entry["core-metadata"] == {"sha256": sha256(gate.get(f"{entry['url']}.metadata").body)}
    assert gate.get(entry["url"]).headers["Location"].startswith(f"{emulator.url}/{container}/acme-new/{one.name}?")
    assert gate.get(gate.page("plain-new")["files"][0]["url"]).status == 200
    assert not (gate.data / "store" / "packages" / "acme-new").exists()
    assert (gate.data / "store" / "packages" / "plain-new" / other.name).exists()
    pip(home, "install", "--no-cache-dir", "--index-url", gate.index_url, "--target", home / "site", "acme-new")

    refused = wheel("add", "--exist-ok", make_wheel(tmp_path / "changed", "acme-new", "1.0", requires=["idna"]))
    assert refused.stderr.startswith("wheelgate: File already exists")
    assert wheel("add", "--exist-ok", one).returncode == 0
    assert wheel("yank", one.name, "--reason", "old").returncode == 0
    assert gate.page("acme-new")["files"][0]["yanked"] == "old"
    assert wheel("unyank", one.name).returncode == 0
    rows = json.loads(wheel("list", "--json").stdout)
    assert [row["file"] for row in rows] == [one.name, wheel_name("acme-old", "1.0"), other.name]
    assert {row["file"] for row in json.loads(gate.run("wheel", "list", "--json").stdout)} == {row["file"] for row in rows}
    assert wheel("delete", "--yes", one.name).returncode == 0
    assert gate.page("acme-new")["files"] == []
    assert gate.run("wheel", "add", one).returncode == 0  # straight, without the server
    time.sleep(2.5)
    assert len(gate.page("acme-new")["files"]) == 1


def test_without_a_store_source_a_writable_container_takes_the_uploads(
    emulator: Azurite, start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path
) -> None:
    container = fresh_name()
    put(emulator, container, {})
    box = blob_source(emulator, f"{container}/deep", name="box", layout="project").rstrip() + "\nwritable = true\n"
    gate = start_gate(box + index_source(index))
    wheel = make_wheel(tmp_path, "acme-only", "1.0")
    assert gate.run("wheel", "add", wheel).returncode == 0
    time.sleep(2.5)
    (entry,) = gate.page("acme-only")["files"]
    assert gate.get(entry["url"]).headers["Location"].startswith(f"{emulator.url}/{container}/deep/acme-only/")

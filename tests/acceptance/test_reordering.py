"""`wheelgate container reorder` on the emulator: every blob arrives, nothing is lost, and what is odd is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from tests.acceptance.configs import UPLOADS
from tests.acceptance.test_blob_sources import blob_source, fresh_name, put
from tests.support.azurite import KEY, Azurite, azurite
from tests.support.gate import Gate, command
from tests.support.packages import sdist_bytes, sha256, wheel_bytes, wheel_name

WHEEL = wheel_name("acme-lib", "1.0")
SDIST_NAME = "acme_base-2.0.tar.gz"
BODY, SDIST = wheel_bytes("acme-lib", "1.0"), sdist_bytes("acme-base", "2.0")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


class Site:
    """A container, and the settings that name it."""

    def __init__(self, emulator: Azurite, home: Path) -> None:
        self.emulator = emulator
        self.container = fresh_name()
        self.home = home
        (home / "key").write_text(KEY)
        self.config = home / "wheelgate.toml"
        self.config.write_text(UPLOADS + blob_source(emulator, self.container))

    def put(self, blobs: dict[str, bytes]) -> None:
        put(self.emulator, self.container, blobs)

    def act(self, action: Callable[[ContainerClient], Any]) -> Any:
        async def run() -> Any:
            async with BlobServiceClient(self.emulator.url, credential=KEY) as service:
                return await action(service.get_container_client(self.container))

        return asyncio.run(run())

    def blobs(self) -> dict[str, bytes]:
        async def read(container: ContainerClient) -> dict[str, bytes]:
            names = [blob.name async for blob in container.list_blobs()]
            return {name: await (await container.download_blob(name)).readall() for name in names}

        found: dict[str, bytes] = self.act(read)
        return found

    def reorder(self, *options: str, status: int = 0) -> dict[str, Any]:
        done = command(self.home, "container", "reorder", "curated", "-c", self.config, "--json", *options)
        assert done.returncode == status, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture
def site(emulator: Azurite, home: Path) -> Site:
    return Site(emulator, home)


def test_a_dry_run_a_copy_another_layout_and_the_removal(site: Site, start_gate: Callable[..., Gate], tmp_path: Path) -> None:
    old = {WHEEL: BODY, f"{WHEEL}.metadata": b"m", "team/a b/acme_base-2.0.tar.gz": SDIST, "README.md": b"hello"}
    new = {f"acme-lib/{WHEEL}": BODY, f"acme-lib/{WHEEL}.metadata": b"m", "acme-base/acme_base-2.0.tar.gz": SDIST}
    site.put(old)
    (tmp_path / "gate0").mkdir()
    (tmp_path / "gate0" / "key").write_text(KEY)
    gate = start_gate(UPLOADS + blob_source(site.emulator, site.container))
    before = {name: gate.page(name) for name in ("acme-lib", "acme-base")}

    said = site.reorder()
    assert (said["applied"], said["to_copy"], said["others"], site.blobs()) == (False, 3, 1, old)
    text = command(site.home, "container", "reorder", "curated", "-c", site.config).stdout
    assert "would copy 3 blobs" in text
    assert f"  {WHEEL} -> acme-lib/{WHEEL}" in text
    assert "nothing was changed; to copy, add --apply" in text

    said = site.reorder("--apply")
    assert (said["copied"], said["removed"], said["failed"]) == (3, 0, [])
    assert site.blobs() == {**old, **new}
    said = site.reorder("--apply")
    assert (said["copied"], said["there_already"]) == (0, 3)

    gate.config.write_text(UPLOADS + blob_source(site.emulator, site.container, layout="project"))
    gate.restart()
    for name, page in before.items():
        assert gate.page(name) == page, "the same files, digests, and times"

    said = site.reorder("--apply", "--remove")
    assert (said["removed"], said["failed"]) == (3, [])
    assert site.blobs() == {**new, "README.md": b"hello"}
    assert gate.page("acme-lib")["files"][0]["hashes"] == {"sha256": sha256(BODY)}
    assert site.reorder("--apply", "--remove")["to_copy"] == 0


def test_what_cannot_be_told_apart_or_proven_is_left_alone_and_named(site: Site) -> None:
    old = {f"a/{WHEEL}": BODY, f"b/{WHEEL}": BODY, "x/acme_base-2.0.tar.gz": SDIST, "acme-base/acme_base-2.0.tar.gz": SDIST[::-1]}
    site.put(old)
    said = site.reorder("--apply", "--remove", status=1)
    assert said["conflicts"] == [{"to": f"acme-lib/{WHEEL}", "paths": [f"a/{WHEEL}", f"b/{WHEEL}"]}]
    (failure,) = said["failed"]
    assert failure == (
        "acme-base/acme_base-2.0.tar.gz is there already, and cannot be shown to be the same as x/acme_base-2.0.tar.gz: "
        "delete one of them"
    )
    assert site.blobs() == old


async def upload_in_blocks(container: ContainerClient, name: str, body: bytes) -> None:
    """Upload as clients send what is large: the service then knows no MD5."""
    blob = container.get_blob_client(name)
    await blob.stage_block("a" * 32, body)
    await blob.commit_block_list([BlobBlock("a" * 32)])
    assert (await blob.get_blob_properties()).content_settings.content_md5 is None


def test_without_an_md5_a_copy_is_proven_by_what_was_copied(site: Site) -> None:
    body, other = SDIST * 3, WHEEL
    site.put({})
    site.act(lambda container: upload_in_blocks(container, "x/acme_base-2.0.tar.gz", body))
    site.act(lambda container: upload_in_blocks(container, f"y/{other}", b"OLD-BYTES"))
    assert site.reorder("--apply")["copied"] == 2
    site.act(lambda container: upload_in_blocks(container, f"y/{other}", b"NEW-BYTES"))
    said = site.reorder("--apply", "--remove", status=1)
    assert said["removed"] == 1
    assert said["failed"] == [
        f"acme-lib/{other} is there already, and cannot be shown to be the same as y/{other}: delete one of them"
    ]
    assert site.blobs() == {
        "acme-base/acme_base-2.0.tar.gz": body,
        f"acme-lib/{other}": b"OLD-BYTES",
        f"y/{other}": b"NEW-BYTES",
    }


def test_neither_a_store_nor_another_source_is_reordered(site: Site) -> None:
    old = {f"packages/acme-lib/{WHEEL}": BODY, f"tombstones/acme-base/{SDIST_NAME}": b"{}", f"in/{SDIST_NAME}": SDIST}
    site.put(old)
    container = f"{site.emulator.url}/{site.container}"
    done = command(site.home, "container", "reorder", "curated", "-c", site.config, "--apply", "--remove")
    assert (done.returncode, f"tombstones/acme-base/{SDIST_NAME} is a record of a Wheelgate" in done.stderr) == (1, True)
    site.config.write_text(f'[store]\nurl = "{container}/"\n{UPLOADS}{blob_source(site.emulator, site.container)}')
    done = command(site.home, "container", "reorder", "curated", "-c", site.config, "--apply", "--remove")
    assert (done.returncode, "source[1].url: is the place of the store (store.url)" in done.stderr) == (2, True), done.stderr
    site.config.write_text(
        blob_source(site.emulator, site.container) + blob_source(site.emulator, f"{site.container}/in", name="inner")
    )
    done = command(site.home, "container", "reorder", "curated", "-c", site.config, "--apply", "--remove")
    assert (done.returncode, "source inner is a folder of curated, and would lose its files" in done.stderr) == (2, True)
    assert site.blobs() == old


def test_wrong_use_is_one_sentence(site: Site) -> None:
    for arguments, sentence in {
        ("curated", "--remove"): "--remove needs --apply",
        ("nobody",): "there is no source nobody",
        ("uploads",): "source uploads is of type store: only a container (blob) can be reordered",
    }.items():
        done = command(site.home, "container", "reorder", "-c", site.config, *arguments)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    done = command(site.home, "container", "reorder", "curated", "-c", site.config)
    assert done.returncode == 1
    assert "there is no such container" in done.stderr

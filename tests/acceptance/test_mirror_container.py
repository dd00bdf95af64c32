"""A mirror in a container, on the emulator: filled, damaged, repaired, carried there by other tools, served."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from tests.support.azurite import KEY, Azurite, azurite
from tests.support.clients import pip
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.mirrors import (
    BOTH,
    HERE,
    ON_BOTH,
    Mirroring,
    assert_served_as_known,
    mirror_twice,
    publish_catalogue,
    tree,
    without_times,
)
from tests.support.packages import metadata, wheel_bytes, wheel_name

APP = "app/app-2.0-py3-none-any.whl"
WITH_KEY = ("--account-key", "env:STORAGE_KEY")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


class Container:
    """One of the emulator's, looked at by somebody else's client."""

    def __init__(self, emulator: Azurite) -> None:
        self._account = emulator.url
        self._name = f"c{uuid.uuid4().hex[:12]}"
        self.url = f"{emulator.url}/{self._name}"
        self._do(lambda container: container.create_container())

    def _do(self, work: Callable[[ContainerClient], Awaitable[object]]) -> object:
        async def run() -> object:
            async with BlobServiceClient(self._account, credential=KEY) as service:
                return await work(service.get_container_client(self._name))

        return asyncio.run(run())

    def bodies(self) -> dict[str, bytes]:
        async def read(container: ContainerClient) -> dict[str, bytes]:
            names = [blob.name async for blob in container.list_blobs()]
            return {name: await (await container.download_blob(name)).readall() for name in names}

        return self._do(read)  # type: ignore[return-value]

    def put(self, files: dict[str, bytes]) -> None:
        """As azcopy would: bodies, and nothing else."""

        async def upload(container: ContainerClient) -> None:
            for name, body in files.items():
                await container.upload_blob(name, body, overwrite=True)

        self._do(upload)

    def damage(self, name: str) -> bytes:
        """Another body under a name, with everything else that was said of it."""

        async def change(container: ContainerClient) -> bytes:
            blob = container.get_blob_client(name)
            before = await blob.download_blob()
            body = bytearray(await before.readall())
            body[len(body) // 2] ^= 1
            await blob.upload_blob(bytes(body), overwrite=True, metadata=before.properties.metadata)
            return bytes(body)

        return self._do(change)  # type: ignore[return-value]

    def remove(self, name: str) -> None:
        self._do(lambda container: container.delete_blob(name))


@pytest.fixture
def container(emulator: Azurite) -> Container:
    return Container(emulator)


@pytest.fixture
def mirroring(index: FakeIndex, tmp_path: Path) -> Mirroring:
    publish_catalogue(index)
    made = Mirroring(tmp_path / "work", index)
    made.input("app\n")
    return made


def distributions(bodies: dict[str, bytes]) -> set[str]:
    return {name for name in bodies if not name.endswith((".metadata", ".json"))}


def test_a_container_is_filled_proven_damaged_and_repaired(mirroring: Mirroring, container: Container) -> None:
    arguments = ("requirements.txt", "--to", container.url, *WITH_KEY, *BOTH)
    assert "6 new" in mirroring.run(*arguments).stdout
    whole = container.bodies()
    assert distributions(whole) == ON_BOTH
    mirroring.run("requirements.txt", "--to", "file:./bundle", *BOTH)
    plain = tree(mirroring.folder / "bundle")
    recorded = json.loads(whole["wheelgate-mirror.json"])
    assert without_times(recorded) == without_times(json.loads(plain["wheelgate-mirror.json"]))
    assert {k: v for k, v in whole.items() if not k.endswith(".json")} == {
        k: v for k, v in plain.items() if not k.endswith(".json")
    }
    mark = len(mirroring.fetched())
    assert "0 new" in mirroring.run(*arguments).stdout
    assert not [name for name in mirroring.fetched()[mark:] if name.endswith(".whl") and "setuptools" not in name]
    assert "6 files" in mirroring.run(*arguments, "--verify").stdout

    container.damage(APP)
    container.remove("lib/lib-1.0-cp311-cp311-win_amd64.whl")
    failed = mirroring.run(*arguments, "--verify", status=1)
    assert f"{APP} is damaged: its sha256 is" in failed.stderr
    assert "lib/lib-1.0-cp311-cp311-win_amd64.whl is missing" in failed.stderr
    repaired = mirroring.run(*arguments)
    assert "1 new" in repaired.stdout
    assert "1 repaired, 4 already there" in repaired.stdout
    again = container.bodies()
    assert {name for name in whole if again[name] != whole[name]} == {"wheelgate-mirror.json"}
    mirroring.run(*arguments, "--verify")


def test_what_other_tools_carried_there_is_proven_by_the_manifest_and_not_fetched_again(
    mirroring: Mirroring, container: Container
) -> None:
    mirroring.run("requirements.txt", "--to", "file:./bundle", *HERE)
    container.put(tree(mirroring.folder / "bundle"))
    arguments = ("requirements.txt", "--to", container.url, *WITH_KEY, *HERE)
    mirroring.run(*arguments, "--verify")
    done = mirroring.run("--from", "file:./bundle", "--to", container.url, *WITH_KEY)
    assert "0 new" in done.stdout
    container.damage(APP)
    done = mirroring.run("--from", "file:./bundle", "--to", container.url, *WITH_KEY)
    assert "1 repaired" in done.stdout
    back = mirroring.run("--from", container.url, "--to", "file:./back", *WITH_KEY)
    assert "4 new" in back.stdout
    without = {name: body for name, body in tree(mirroring.folder / "bundle").items() if not name.endswith(".json")}
    assert {name: body for name, body in tree(mirroring.folder / "back").items() if not name.endswith(".json")} == without


def test_a_container_keeps_what_it_holds(index: FakeIndex, container: Container, tmp_path: Path) -> None:
    """Whatever index and bundle list later, and wherever the settings of the run were left."""
    name = wheel_name("kept", "1.0")
    first, other = (wheel_bytes("kept", "1.0", extra={"kept/which": which}) for which in (b"first", b"other"))
    index.publish("kept", name, first, metadata=metadata("kept", "1.0"))
    mirroring = Mirroring(tmp_path / "first", index)
    arguments = (mirroring.input("kept\n"), "--to", container.url, *WITH_KEY, *HERE)
    mirroring.run(*arguments)
    before = container.bodies()
    mirroring.run(*arguments)
    assert container.bodies() == before, "a clean second run changes nothing"
    index.publish("kept", name, other, metadata=metadata("kept", "1.0"))
    later = Mirroring(tmp_path / "later", index)
    later.input("kept\n")
    later.run("requirements.txt", "--to", "file:./bundle", *HERE)
    for refused in (arguments, ("--from", "file:./bundle", "--to", container.url, *WITH_KEY)):
        assert f"ALARM: kept/{name}" in later.run(*refused, status=1).stderr
    assert container.bodies() == before


@pytest.mark.parametrize(
    ("layout", "carried"), [pytest.param("project", "mirrored", marks=pytest.mark.long), ("any", "azcopied")]
)
def test_a_container_is_served_with_what_its_manifest_knows(
    mirroring: Mirroring, container: Container, start_gate: Callable[..., Gate], tmp_path: Path, layout: str, carried: str
) -> None:
    if carried == "mirrored":
        mirror_twice(mirroring, container.url, *WITH_KEY)
    else:
        mirror_twice(mirroring, "file:./bundle")
        container.put(tree(mirroring.folder / "bundle"))
    (tmp_path / "gate0").mkdir()
    (tmp_path / "gate0" / "key").write_text(KEY)
    source = f'[[source]]\nname = "mirror"\ntype = "blob"\nurl = "{container.url}"\naccount_key = "file:key"\n'
    assert_served_as_known(start_gate(f'{source}layout = "{layout}"\n'))


@pytest.mark.parametrize("layout", ["project", pytest.param("any", marks=pytest.mark.long)])
@pytest.mark.parametrize("carried", ["mirrored", pytest.param("azcopied", marks=pytest.mark.long)])
def test_a_mirror_in_a_container_serves_as_a_blob_source(
    mirroring: Mirroring,
    container: Container,
    start_gate: Callable[..., Gate],
    home: Path,
    tmp_path: Path,
    layout: str,
    carried: str,
) -> None:
    if carried == "mirrored":
        mirroring.run("requirements.txt", "--to", container.url, *WITH_KEY, *HERE)
    else:
        mirroring.run("requirements.txt", "--to", "file:./bundle", *HERE)
        container.put(tree(mirroring.folder / "bundle"))
    mirroring.index.projects.clear()
    (tmp_path / "gate0").mkdir()
    (tmp_path / "gate0" / "key").write_text(KEY)
    source = (
        f'[[source]]\nname = "mirror"\ntype = "blob"\nurl = "{container.url}"\naccount_key = "file:key"\nlayout = "{layout}"\n'
    )
    server = start_gate(source)
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "site", "app")
    assert {path.stem for path in (home / "site").glob("*.py")} >= {"app", "lib", "sourced"}
    page = server.page("app")
    assert [file["filename"] for file in page["files"]] == ["app-2.0-py3-none-any.whl"]
    assert page["files"][0]["core-metadata"] == {"sha256": page["files"][0]["core-metadata"]["sha256"]}
    assert "left out" not in server.run("explain", "app").stdout


def test_wrong_keys_and_missing_containers_are_one_sentence(
    mirroring: Mirroring, emulator: Azurite, container: Container
) -> None:
    failed = mirroring.run("requirements.txt", "--to", f"{emulator.url}/nowhere", *WITH_KEY, *HERE, status=1)
    assert f"{emulator.url}/nowhere: there is no such container" in failed.stderr
    failed = mirroring.run("requirements.txt", "--to", container.url, "--account-key", "env:NOT_SET", *HERE, status=2)
    assert "NOT_SET is not set" in failed.stderr
    assert distributions(container.bodies()) == set()

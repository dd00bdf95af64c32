"""What mirrors us goes by what a page claims, links and lists: as such servers read, and those servers themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip
from tests.support.gate import Gate, gate
from tests.support.index import SIMPLE_JSON, FakeIndex, running
from tests.support.packages import make_wheel, wheel_bytes, wheel_name
from tests.support.servers import bandersnatch, devpi_mirror, find_free_port, simple_repository
from tests.support.waiting import until

VERSIONS = ("1.0", "1.0+cu126", "1!2.0")


def name_of(version: str) -> str:
    return f"acme_lib-{version}-py3-none-any.whl"


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A server with an upload, and in front of an index that states no sizes."""
    folder, port = tmp_path_factory.mktemp("mirrored"), find_free_port()
    with running(FakeIndex(html=True)) as index, running(FakeIndex()) as public:
        public.publish("public-base", wheel_name("public-base", "1.0"), wheel_bytes("public-base", "1.0"))
        for version in VERSIONS:
            index.publish("acme-lib", name_of(version), wheel_bytes("acme-lib", version))
        server = f'[server]\npublic_url = "http://127.0.0.1:{port}/packages"\npath_prefix = "/packages"\n'
        settings = server + UPLOADS + index_source(index, "team", private=True) + index_source(public)
        with gate(folder, settings, ["--port", str(port)]) as server_gate:
            added = server_gate.run("wheel", "add", make_wheel(folder, "acme-own", "1.0"))
            assert added.returncode == 0, added.stderr
            assert server_gate.get("/simple/acme-lib/").status == 200
            yield server_gate


def test_pages_links_and_the_list_are_what_those_who_mirror_read(mirrored: Gate) -> None:
    page = mirrored.page("acme-lib")
    stated = [file for file in page["files"] if "size" in file]
    assert page["meta"]["api-version"] == ("1.4" if len(stated) == len(VERSIONS) else "1.0"), "simple-repository refuses others"
    assert mirrored.page("acme-own")["meta"]["api-version"] == "1.4"
    assert {"acme-lib", "acme-own"} <= set(mirrored.page_names()), "devpi asks for no name that is not listed"
    for file in page["files"]:
        once_more = quote(file["url"], safe=":/")
        assert unquote(once_more).endswith(f"/{file['filename']}"), "simple-repository quotes links, as they come, once more"
        assert mirrored.get(once_more.removeprefix("/packages")).status == 200
    until(lambda: mirrored.page("acme-lib")["meta"]["api-version"] == "1.4")  # what was sent whole has a size

    answer = mirrored.get("/pypi/acme-lib/json")
    told: dict[str, Any] = json.loads(answer.body)
    assert int(answer.headers["X-PyPI-Last-Serial"]) == told["last_serial"] > 0, "bandersnatch takes no other"
    for entry in (entry for entries in told["releases"].values() for entry in entries):
        assert urlsplit(entry["url"]).path.startswith("/packages"), "bandersnatch refuses other paths"
        assert entry["url"].startswith("http://127.0.0.1:")
        assert entry["digests"]["sha256"]
        assert int(entry["size"]) > 0
        assert entry["upload_time_iso_8601"].endswith("Z")


def install(home: Path, index_url: str) -> None:
    """Real pip gets each version through whoever mirrors us, and the upload."""
    for number, version in enumerate(VERSIONS):
        target = home / str(number)
        pip(home, "install", "--no-cache-dir", "--no-deps", "--index-url", index_url, "--target", target, f"acme-lib==={version}")
        assert f'"{version}"' in (target / "acme_lib.py").read_text()
    pip(home, "install", "--no-cache-dir", "--no-deps", "--index-url", index_url, "--target", home / "own", "acme-own")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_simple_repository_server_in_front_of_us(mirrored: Gate, tmp_path: Path, home: Path) -> None:
    with simple_repository(tmp_path, mirrored.index_url) as url:
        install(home, url)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_devpi_in_front_of_us(mirrored: Gate, tmp_path: Path, home: Path) -> None:
    wanted = ("--no-cache-dir", "--no-deps", "--target", home / "public", "public-base")
    with devpi_mirror(tmp_path / "listed", mirrored.index_url) as url:
        install(home, url)
        pip(home, "install", "--index-url", url, *wanted, ok=False)
    with devpi_mirror(tmp_path / "asked", mirrored.index_url, mirror_no_project_list=True) as url:
        pip(home, "install", "--index-url", url, *wanted)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_bandersnatch_copies_us(mirrored: Gate, tmp_path: Path) -> None:
    listed = mirrored.page_names()
    copied = bandersnatch(tmp_path, mirrored.url, *listed)
    found = {unquote(path.name) for path in (copied / "packages").rglob("*.whl")}
    assert found == {*map(name_of, VERSIONS), "acme_own-1.0-py3-none-any.whl"}
    bandersnatch(tmp_path, mirrored.url, *listed)
    page = json.loads((copied / "simple" / "acme-lib" / "index.v1_json").read_bytes())
    assert {file["filename"] for file in page["files"]} == set(map(name_of, VERSIONS))


def test_a_page_without_a_size_says_so_in_every_encoding(tmp_path: Path) -> None:
    with running(FakeIndex()) as index:
        index.publish("acme-lib", name_of("1.0"), wheel_bytes("acme-lib", "1.0"))
        index.publish("acme-lib", name_of("1.1"), wheel_bytes("acme-lib", "1.1"), size=None)
        with gate(tmp_path / "gate", UPLOADS + index_source(index, private=False)) as server:
            answer = server.get("/simple/acme-lib/", {"Accept": SIMPLE_JSON})
            page = json.loads(answer.body)
            sizes = ["size" in file for file in page["files"]]
            assert page["meta"] == {"api-version": "1.4" if all(sizes) else "1.0"}
            assert page["versions"] == ["1.0", "1.1"]
            assert all("upload-time" in file for file in page["files"]), "clients take it from any version"

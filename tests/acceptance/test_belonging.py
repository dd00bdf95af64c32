"""What a private source cannot use still belongs to it: a public index of its name is not asked, and everybody is told why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.index import SIMPLE_JSON, FakeIndex, running
from tests.support.packages import metadata, sdist_bytes, wheel_bytes, wheel_name

PROJECTS = {
    "egg": "egg-1.0-py3.9.egg",
    "exe": "exe-1.0.win32-py2.7.exe",
    "rpm": "rpm-1.0-1.noarch.rpm",
    "upper": "upper-1.0-py3-none-any.WHL",
    "snapshot": "snapshot-1.0-SNAPSHOT.tar.gz",
    "dashed-name": "dashed-name-1.0-py3-none-any.whl",
    "again": "again-1.0 (1).tar.gz",
    "hash": "hash-1.0-py3-none-any#1.whl",
}
"""Projects of which the folder has nothing that can be installed."""


class World:
    def __init__(self, server: Gate, public: FakeIndex, folder: Path) -> None:
        self.server, self.public, self.folder = server, public, folder

    def names(self, project: str) -> list[str]:
        return [file["filename"] for file in self.server.page(project)["files"]]

    def asked_public(self, project: str) -> bool:
        return any(f"/{project}/" in asked.path for asked in self.public.asked)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("belonging")
    folder = home / "shelf"
    folder.mkdir()
    (folder / "secret-1.0-py3-none-any.whl").symlink_to(home / "elsewhere.whl")
    (folder / "legacy-name-1.3-1.tar.gz").write_bytes(sdist_bytes("legacy-name", "1.3.post1"))
    for name in PROJECTS.values():
        (folder / name).write_bytes(b"x")
    with running(FakeIndex()) as public:
        for project in (*PROJECTS, "secret", "legacy-name", "legacy"):
            public.publish(project, wheel_name(project, "99.0"), wheel_bytes(project, "99.0"), metadata=metadata(project, "99.0"))
        shelf = f'[[source]]\nname = "shelf"\ntype = "directory"\nurl = "file:{folder}"\n'
        with gate(home, UPLOADS + shelf + index_source(public, private=False, fresh="1s", absent="1s")) as server:
            yield World(server, public, folder)


@pytest.mark.parametrize("project", [*PROJECTS, "secret"])
def test_nobody_else_is_asked_for_a_name_of_which_nothing_can_be_installed(world: World, project: str) -> None:
    answer = world.server.get(f"/simple/{project}/", {"Accept": SIMPLE_JSON})
    assert answer.status == 403
    assert f"every file of {project} is withheld: source shelf" in answer.body.decode()
    assert not world.asked_public(project)
    explained = json.loads(world.server.get(f"/explain/{project}").body)
    (withheld,) = explained["withheld"]
    assert withheld["source"] == "shelf"
    assert withheld["reason"] in answer.body.decode()
    assert explained["claim"]["source"] == "shelf"


def test_a_name_with_dashes_is_each_of_its_readings_and_no_shorter_one(world: World) -> None:
    assert world.names("legacy-name") == ["legacy-name-1.3-1.tar.gz"]
    assert not world.asked_public("legacy-name")
    assert world.names("legacy") == [wheel_name("legacy", "99.0")]


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_installers_take_nothing_of_such_a_name_from_elsewhere(world: World, home: Path, client: str) -> None:
    target, index_url = home / "target", world.server.index_url
    if client == "pip":
        options = ["--no-deps", "--no-cache-dir", "--retries", "0", "--target", target, "--index-url", index_url]
        done = pip(home, "install", *options, "egg", ok=False)
    else:
        options = ["--no-deps", "--no-cache", "--python", sys.executable, "--target", target, "--default-index", index_url]
        done = uv(home, "pip", "install", *options, "egg", ok=False, env={"UV_HTTP_RETRIES": "0"})
        assert "403" in done.stderr
    assert "99.0" not in done.stdout + done.stderr
    assert not world.asked_public("egg")


def test_check_names_what_is_not_offered(world: World) -> None:
    done = world.server.run("check")
    lines = [line for line in done.stdout.splitlines() if line.startswith("warn  source shelf (private)")]
    assert any("egg-1.0-py3.9.egg: no installer takes .egg files" in line for line in lines)
    assert any("secret-1.0-py3-none-any.whl is a link" in line for line in lines)
    assert len(lines) == len(PROJECTS) + 1


def test_the_log_names_it_once_it_is_asked_for(world: World) -> None:
    for _ in range(2):
        world.server.get("/simple/exe/")
    assert world.server.log.count("project exe: source shelf does not offer exe-1.0.win32-py2.7.exe") == 1


def test_the_name_is_private_once_the_file_is_gone(world: World) -> None:
    name = PROJECTS["rpm"]
    assert world.server.get("/simple/rpm/").status == 403
    body = (world.folder / name).read_bytes()
    (world.folder / name).unlink()
    world.server.restart()
    assert world.names("rpm") == []
    assert not world.asked_public("rpm")
    (world.folder / name).write_bytes(body)

"""Locks across the air gap: mirrored with all they need, rewritten inside, and installed as they stand from the mirror alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate, command
from tests.support.index import FakeIndex
from tests.support.installers import Locking, Pdm, Pipenv, Poetry
from tests.support.kept_locks import write_kept
from tests.support.lock_shapes import (
    LINUX,
    PDM_SHAPES,
    PIPENV_SHAPES,
    PLATFORMS,
    POETRY_SHAPES,
    PUBLIC,
    TEAM,
    UV_SHAPES,
    LockShape,
    publish,
)
from tests.support.mirrors import Mirroring, distributions

MERGE = '\n[[policy.merge]]\nnames = ["twin", "tensor"]\nsources = ["public", "team"]\n'
MIRROR = """
[[source]]
name = "mirror"
type = "directory"
url = "file:{}"
layout = "project"
private = false
"""
READS = {"UV_NO_CONFIG": "false"}


class Border:
    """Both sides: a project and two indexes outside, a server of the bundle inside."""

    def __init__(self, folder: Path, start: Callable[..., Gate], public: FakeIndex, team: FakeIndex) -> None:
        publish(public, team)
        self.indexes = (public, team)
        self._start = start
        config = index_source(public) + index_source(team, "team") + MERGE
        self.outside = Mirroring(folder / "outside", public, config)

    def lay_out(self, shape: LockShape, public: str, team: str) -> None:
        """Lay out a project, and the settings that say which indexes the mirror stands for."""
        sources = "".join(
            f'[[source]]\nname = "{name}"\ntype = "index"\nurl = "{url}"\nprivate = false\n'
            for name, url in (("public", public), ("team", team))
        )
        self.outside.input(sources, "sources.toml")
        for path, text in shape.files.items():
            self.outside.input(text.replace("<public>", public).replace("<team>", team), path)

    def carry(self, lock: str, *arguments: str) -> Gate:
        """Mirror a lock for these targets, prove it, and serve the bundle where no index is; the project is rewritten."""
        self.outside.run(lock, "--to", "file:./bundle", "--python", "3.11", *arguments)
        self.outside.run(lock, "--to", "file:./bundle", "--verify", "--python", "3.11", *arguments)
        for index in self.indexes:
            index.asked.clear()
            index.down = True
        return self._start(MIRROR.format(self.outside.folder / "bundle"), "--offline")

    def rewrite(self, gate: Gate, *files: str) -> None:
        done = command(self.outside.folder, "rewrite", "-c", "sources.toml", "--url", gate.url, *files)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def border(tmp_path: Path, start_gate: Callable[..., Gate], index: FakeIndex, second_index: FakeIndex) -> Border:
    return Border(tmp_path, start_gate, index, second_index)


def modules(venv: Path) -> set[str]:
    return {path.stem for path in venv.glob("lib/*/site-packages/*.py")}


def test_a_lock_of_uv_installs_from_its_mirror_alone(border: Border) -> None:
    """One version from two indexes, of which the lock keeps both apart: inside there is one."""
    folder = border.outside.folder
    border.lay_out(UV_SHAPES["twin"], PUBLIC, TEAM)
    write_kept("uv-twin", "uv.lock", folder)
    gate = border.carry("uv.lock", *(word for platform in PLATFORMS for word in ("--platform", platform)))
    twins = {f"twin/{name}" for platform in PLATFORMS for name in UV_SHAPES["twin"].list_files(platform)}
    assert distributions(folder / "bundle") == twins
    before = (folder / "uv.lock").read_bytes()
    border.rewrite(gate, "uv.lock")
    uv(folder, "sync", "--frozen", "--no-cache", "--python", sys.executable, env=READS)
    assert "twin" in modules(folder / ".venv")
    border.rewrite(gate, "uv.lock", "--restore")
    assert (folder / "uv.lock").read_bytes() == before


def choices(name: str) -> list[list[str]]:
    """The options for each choice that excludes others; all of the rest at once."""
    if name == "cpu-or-gpu":
        return [["--extra", "cpu"], ["--extra", "gpu"]]
    if name == "exclusive":
        return [["--extra", "one", "--group", "g1"], ["--extra", "two", "--group", "g2"], []]
    if name == "members-apart":
        return [["--package", "member-a"], ["--package", "member-b"]]
    return [["--all-extras", "--all-groups", "--all-packages"]]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", UV_SHAPES)
def test_every_shape_that_uv_locks_installs_inside(border: Border, name: str) -> None:
    """Locked by the uv that is here, for three platforms; each installer of its locks takes them offline, by their hashes."""
    folder, shape = border.outside.folder, UV_SHAPES[name]
    border.lay_out(shape, border.indexes[0].url, border.indexes[1].url)
    uv(folder, "lock", "--python", sys.executable, env=READS)
    if shape.is_exported:
        everything = ["--all-extras", "--all-groups", "--all-packages"]
        uv(folder, "export", "--format", "pylock.toml", *everything, "-q", "-o", "pylock.toml", env=READS)
    targets = [word for platform in PLATFORMS for word in ("--platform", platform)]
    gate = border.carry("uv.lock", *targets)
    held = {path.rpartition("/")[2] for path in distributions(folder / "bundle")}
    wanted = {file for platform in PLATFORMS for file in shape.list_files(platform)}
    assert held - {"setuptools-80.0-py3-none-any.whl"} == wanted
    border.rewrite(gate, "uv.lock", *(["pylock.toml"] if shape.is_exported else []))
    index = ["--default-index", gate.index_url]  # what builds a project is in no lock
    for number, options in enumerate(choices(name)):
        env = {**READS, "UV_PROJECT_ENVIRONMENT": str(folder / f"venv{number}")}
        uv(folder, "sync", "--frozen", "--no-cache", "--python", sys.executable, *index, *options, env=env)
    there = set().union(*(modules(folder / f"venv{number}") for number in range(len(choices(name)))))
    assert there >= {file.partition("-")[0] for file in shape.list_files(LINUX)}
    if shape.is_exported:
        uv(folder, "venv", "-q", "--python", sys.executable, "synced")
        env = {"VIRTUAL_ENV": str(folder / "synced")}
        uv(folder, "pip", "sync", "--no-cache", *index, "pylock.toml", env=env)
        assert modules(folder / "synced") >= {file.partition("-")[0] for file in shape.list_files(LINUX)}
    if shape.is_exported and not shape.builds:  # pip wants a hash of whatever a lock names, and a folder has none
        pip(folder, "install", "--no-cache-dir", "--index-url", gate.index_url, "-r", "pylock.toml", "--target", folder / "pip")
        found = {path.stem for path in (folder / "pip").glob("*.py")}
        assert found >= {file.partition("-")[0] for file in shape.list_files(LINUX)}
    assert not [asked for index in border.indexes for asked in index.asked]


OTHERS = [
    *((Pdm("2.29.4"), "pyproject.toml", shape) for shape in PDM_SHAPES.values()),
    *((Poetry("2.5.1"), "pyproject.toml", shape) for shape in POETRY_SHAPES.values()),
    *((Pipenv("2026.10.3"), "Pipfile", shape) for shape in PIPENV_SHAPES.values()),
]


@pytest.mark.long
@pytest.mark.public
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("installer", "manifest", "shape"), OTHERS)
def test_what_other_tools_lock_installs_inside(border: Border, installer: Locking, manifest: str, shape: LockShape) -> None:
    folder = border.outside.folder
    border.lay_out(shape, border.indexes[0].url, border.indexes[1].url)
    installer.run_step(folder, "lock")
    gate = border.carry(installer.lock_file, "--platform", LINUX)
    border.rewrite(gate, manifest, installer.lock_file)
    installer.run_step(folder, "install")
    assert modules(folder / ".venv")
    assert not [asked for index in border.indexes for asked in index.asked]

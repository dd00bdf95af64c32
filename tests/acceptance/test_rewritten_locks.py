"""Locks swapped for a real server install the same files by the same hashes, before and after they are restored."""

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
from tests.support.packages import sha256, wheel_bytes, wheel_name

BODIES = {
    "acme-tool": wheel_bytes("acme-tool", "1.0", requires=["public-base"]),
    "public-base": wheel_bytes("public-base", "2.0"),
}
READS = {"UV_NO_CONFIG": "false"}
VERSIONS = {"acme-tool": "1.0", "public-base": "2.0"}


@pytest.fixture
def gate(start_gate: Callable[..., Gate], index: FakeIndex, second_index: FakeIndex) -> Gate:
    """A server before a public index and a private one."""
    for project, where in (("acme-tool", second_index), ("public-base", index)):
        where.publish(project, wheel_name(project, VERSIONS[project]), BODIES[project])
    return start_gate(index_source(second_index, "feed", private=True) + index_source(index))


@pytest.fixture
def project(home: Path, index: FakeIndex, second_index: FakeIndex) -> Path:
    """A project of uv that is locked against the two."""
    (home / "pyproject.toml").write_text(
        '[project]\nname = "own"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["acme-tool"]\n\n'
        f'[[tool.uv.index]]\nname = "team"\nurl = "{second_index.url}"\n\n'
        f'[[tool.uv.index]]\nname = "public"\nurl = "{index.url}"\ndefault = true\n'
    )
    uv(home, "lock", "--python", sys.executable, env=READS)
    return home


def rewrite(home: Path, gate: Gate, *arguments: str, status: int = 0) -> None:
    done = command(home, "rewrite", "-c", gate.config, "--url", gate.url, *arguments)
    assert done.returncode == status, done.stdout + done.stderr


def hashes_in(lock: str) -> bool:
    return all(f"{sha256(body)}" in lock for body in BODIES.values())


def assert_asked_only_by_the_server(*indexes: FakeIndex) -> None:
    asked = {entry.headers.get("User-Agent", "") for where in indexes for entry in where.asked}
    assert not [agent for agent in asked if agent.startswith(("uv/", "pip/"))]


def sync(home: Path, *arguments: str) -> None:
    uv(
        home,
        "sync",
        "--no-cache",
        "--no-install-project",
        "--python",
        sys.executable,
        "--reinstall",
        *arguments,
        env=READS,
    )
    found = {path.name for path in home.glob(".venv/lib/*/site-packages/*.py")}
    assert found >= {"acme_tool.py", "public_base.py"}


def test_uv_syncs_from_its_lock(gate: Gate, project: Path, index: FakeIndex, second_index: FakeIndex) -> None:
    lock = project / "uv.lock"
    before, settings = lock.read_bytes(), (project / "pyproject.toml").read_text()
    rewrite(project, gate, "uv.lock", "pyproject.toml")
    text = lock.read_text()
    assert hashes_in(text)
    assert f'url = "{gate.url}/files/acme-tool/acme_tool-1.0-py3-none-any.whl"' in text
    assert index.origin not in text.partition("# Canonical")[0]
    assert second_index.origin not in text.partition("# Canonical")[0]
    index.asked.clear()
    second_index.asked.clear()
    sync(project, "--frozen")
    sync(project, "--locked")
    assert_asked_only_by_the_server(index, second_index)
    rewrite(project, gate, "uv.lock", "--check")

    rewrite(project, gate, "uv.lock", "--restore")
    assert lock.read_bytes() == before
    (project / "pyproject.toml").write_text(settings)
    sync(project, "--locked")


@pytest.mark.parametrize("maker", ["uv", pytest.param("pip", marks=pytest.mark.long)])
def test_a_pylock_installs(gate: Gate, project: Path, index: FakeIndex, second_index: FakeIndex, maker: str) -> None:
    lock = project / "pylock.toml"
    if maker == "uv":
        uv(project, "export", "--format", "pylock.toml", "--no-emit-project", "-o", lock, env=READS)
    else:
        pip(project, "lock", "acme-tool", "--index-url", second_index.url, "--extra-index-url", index.url, "-o", lock)
    before = lock.read_bytes()
    rewrite(project, gate, "pylock.toml")
    assert hashes_in(lock.read_text())
    index.asked.clear()
    second_index.asked.clear()

    def install(name: str) -> None:
        uv(project, "venv", "--python", sys.executable, project / name)
        uv(project, "pip", "sync", "--no-cache", lock, env={"VIRTUAL_ENV": str(project / name)})
        pip(project, "install", "--no-cache-dir", "--no-index", "-r", lock, "--target", project / f"{name}-pip")
        for place in (*(project / name).glob("lib/*/site-packages"), project / f"{name}-pip"):
            assert {path.name for path in place.glob("*.py")} >= {"acme_tool.py", "public_base.py"}

    install("inside")
    assert_asked_only_by_the_server(index, second_index)
    rewrite(project, gate, "pylock.toml", "--restore")
    assert lock.read_bytes() == before
    install("outside")


POETRY = (
    '[tool.poetry]\nname = "probe"\nversion = "0.1"\ndescription = ""\nauthors = []\npackage-mode = false\n'
    '[tool.poetry.dependencies]\npython = ">=3.11"\nacme-tool = "*"\n'
    '[[tool.poetry.source]]\nname = "team"\nurl = "<private>"\npriority = "primary"\n'
    '[[tool.poetry.source]]\nname = "public"\nurl = "<public>"\npriority = "supplemental"\n'
)
PDM = (
    '[project]\nname = "probe"\nversion = "0.1"\nrequires-python = ">=3.11"\ndependencies = ["acme-tool"]\n'
    "[tool.pdm]\ndistribution = false\n[tool.pdm.resolution]\nrespect-source-order = true\n"
    '[[tool.pdm.source]]\nname = "team"\nurl = "<private>"\n[[tool.pdm.source]]\nname = "pypi"\nurl = "<public>"\n'
)
PIPENV = (
    '[[source]]\nname = "pypi"\nurl = "<public>"\nverify_ssl = true\n'
    '[[source]]\nname = "team"\nurl = "<private>"\nverify_ssl = true\n'
    '[packages]\nacme-tool = { version = "*", index = "team" }\npublic-base = "*"\n'
)


@pytest.mark.long
@pytest.mark.public
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("installer", "manifest", "text"),
    [
        pytest.param(Poetry("1.8.5"), "pyproject.toml", POETRY, id="poetry-1"),
        pytest.param(Poetry("2.5.1"), "pyproject.toml", POETRY, id="poetry-2"),
        pytest.param(Pdm("2.29.4"), "pyproject.toml", PDM, id="pdm"),
        pytest.param(Pipenv("2026.10.3"), "Pipfile", PIPENV, id="pipenv"),
    ],
)
def test_other_tools_install_from_their_locks(
    gate: Gate, home: Path, index: FakeIndex, second_index: FakeIndex, installer: Locking, manifest: str, text: str
) -> None:
    """The settings are rewritten with the lock, and both are what they were once they are restored."""
    index.html = second_index.html = not installer.reads_json
    written = text.replace("<private>", second_index.url).replace("<public>", index.url)
    outside = home / "outside"
    outside.mkdir()
    (outside / manifest).write_text(written)
    installer.run_step(outside, "lock")
    before = (outside / installer.lock_file).read_bytes()
    assert hashes_in(before.decode())
    inside = home / "inside"
    inside.mkdir()
    (inside / manifest).write_text(written)
    (inside / installer.lock_file).write_bytes(before)
    rewrite(inside, gate, manifest, installer.lock_file)
    assert hashes_in((inside / installer.lock_file).read_text())
    index.asked.clear()
    second_index.asked.clear()
    installer.run_step(inside, "install")
    agents = {entry.headers.get("User-Agent", "") for where in (index, second_index) for entry in where.asked}
    assert not [agent for agent in agents if "poetry" in agent or "pdm" in agent.lower() or agent.startswith("pip/")]
    for folder in (inside, outside):
        if folder is outside:
            installer.run_step(outside, "install")
        found = {path.name for path in folder.glob(".venv/lib/*/site-packages/*.py")}
        assert found >= {"acme_tool.py", "public_base.py"}
    rewrite(inside, gate, installer.lock_file, "--restore")
    assert (inside / installer.lock_file).read_bytes() == before

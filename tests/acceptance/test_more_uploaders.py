"""The other upload programs, each in an environment of its own: the same answers as PyPI would give."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.acceptance.test_uploading import token
from tests.support.gate import Gate, environment

pytestmark = [pytest.mark.public, pytest.mark.long, pytest.mark.timeout(600)]


def project(folder: Path, version: str, description: str) -> Path:
    """A project that flit, hatch and poetry all can build."""
    folder.mkdir(parents=True)
    (folder / "acme_tools.py").write_text(f'"""{description}"""\n__version__ = "{version}"\n')
    (folder / "README.md").write_text("A project made for a test.\n")
    (folder / "pyproject.toml").write_text(
        textwrap.dedent(f"""
            [build-system]
            requires = ["flit_core>=3.4"]
            build-backend = "flit_core.buildapi"
            [project]
            name = "acme-tools"
            version = "{version}"
            description = "{description}"
            readme = "README.md"
            requires-python = ">=3.9"
            authors = [{{name = "Someone", email = "someone@example.com"}}]
        """)
    )
    return folder


def uv_settings(home: Path, gate: Gate) -> dict[str, str]:
    """The tools come through the server, too."""
    settings = {"UV_CACHE_DIR": str(home / "uv-cache"), "UV_NO_CONFIG": "1", "UV_PYTHON": sys.executable}
    return environment(home, UV_DEFAULT_INDEX=gate.index_url, **settings)


def build(home: Path, gate: Gate, folder: Path) -> None:
    if not (folder / "dist").exists():
        subprocess.run([find_uv_bin(), "build", "--quiet"], cwd=folder, check=True, env=uv_settings(home, gate))


def tool(home: Path, gate: Gate, *command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_uv_bin(), "tool", "run", *command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**uv_settings(home, gate), **env},
        timeout=300,
    )


def flit(home: Path, gate: Gate, secret: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {"FLIT_INDEX_URL": f"{gate.url}/legacy/", "FLIT_USERNAME": "__token__", "FLIT_PASSWORD": secret}
    return tool(home, gate, "flit", "publish", cwd=folder, **env)


def hatch(home: Path, gate: Gate, secret: str, folder: Path) -> subprocess.CompletedProcess[str]:
    build(home, gate, folder)
    env = {"HATCH_INDEX_REPO": f"{gate.url}/legacy/", "HATCH_INDEX_USER": "__token__", "HATCH_INDEX_AUTH": secret}
    return tool(home, gate, "hatch", "publish", "--no-prompt", cwd=folder, **env)


def poetry(home: Path, gate: Gate, secret: str, folder: Path) -> subprocess.CompletedProcess[str]:
    build(home, gate, folder)
    env = {
        "POETRY_REPOSITORIES_GATE_URL": f"{gate.url}/legacy/",
        "POETRY_HTTP_BASIC_GATE_USERNAME": "__token__",
        "POETRY_HTTP_BASIC_GATE_PASSWORD": secret,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    return tool(home, gate, "poetry", "publish", "--no-interaction", "-r", "gate", cwd=folder, **env)


@pytest.mark.parametrize("publish", [flit, hatch, poetry])
def test_upload_again_and_other_bytes(
    start_gate: Callable[..., Gate],
    home: Path,
    tmp_path: Path,
    publish: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    gate = start_gate("")
    secret = token(gate, "upload:acme-*")
    folder = project(tmp_path / "one", "1.0", "A tool")
    done = publish(home, gate, secret, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {entry["filename"] for entry in gate.page("acme-tools")["files"]} == {
        "acme_tools-1.0-py3-none-any.whl",
        "acme_tools-1.0.tar.gz",
    }
    again = publish(home, gate, secret, folder)
    assert again.returncode == 0, again.stdout + again.stderr
    before = gate.page("acme-tools")
    publish(home, gate, secret, project(tmp_path / "two", "1.0", "Another tool"))
    assert gate.page("acme-tools") == before  # whatever the program makes of it, nothing changed
    refused = publish(home, gate, "wgt_wrong", project(tmp_path / "three", "2.0", "A tool"))
    assert refused.returncode != 0
    assert gate.page("acme-tools") == before

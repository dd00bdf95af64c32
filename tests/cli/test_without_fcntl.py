"""Client commands on a platform without `fcntl` (Windows): the real command line in a process that cannot import it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS
from tests.support.gate import Gate, environment
from tests.support.packages import make_wheel, wheel_name

PRELUDE = (
    "import sys; sys.modules['fcntl'] = None; import runpy; sys.argv[0] = 'wheelgate'; "
    "runpy.run_module('wheelgate', run_name='__main__')"
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(home: Path) -> Run:
    (home / "wheelgate.toml").write_text(UPLOADS)

    def run(*arguments: str | Path, status: int = 0, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE, *arguments],
            capture_output=True,
            text=True,
            input=text,
            timeout=60,
            env=environment(home, **env),
            cwd=home,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, str]]:
    """A running server, as anybody's, and a token that may upload to it."""
    gate = Gate(tmp_path_factory.mktemp("server"), UPLOADS)
    gate.start()
    token = gate.run("token", "new", "--scope", "upload").stdout.strip()
    yield gate, token
    gate.stop()


def test_fcntl_is_really_away(home: Path) -> None:
    code = "import sys; sys.modules['fcntl'] = None\nimport fcntl"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(home), cwd=home)
    assert "ModuleNotFoundError" in done.stderr


def test_wheels_over_http(run: Run, home: Path, server: tuple[Gate, str]) -> None:
    gate, token = server
    wheel = make_wheel(home, "acme-remote", "1.0")
    added = run("wheel", "add", "--url", gate.index_url, wheel, WHEELGATE_TOKEN=token)
    assert f"/files/acme-remote/{wheel.name}" in added.stdout
    assert wheel.name in run("wheel", "list", "--url", gate.index_url).stdout
    run("wheel", "yank", "--url", gate.index_url, wheel.name, WHEELGATE_TOKEN=token)
    run("wheel", "delete", "--url", gate.index_url, "--yes", wheel.name, WHEELGATE_TOKEN=token)


def test_wheels_in_a_local_store(run: Run, home: Path) -> None:
    run("wheel", "add", "-c", "wheelgate.toml", "--data", "data", make_wheel(home, "acme-local", "1.0"))
    assert wheel_name("acme-local", "1.0") in run("wheel", "list", "-c", "wheelgate.toml", "--data", "data").stdout
    assert (home / "data").is_dir()


def test_connections_are_set_shown_listed_and_deleted(run: Run) -> None:
    where = ("-c", "wheelgate.toml")
    target = ("--target", "https://pkgs.dev.azure.com/acme", "--auth-type", "PAT")
    run("connection", "set", *where, "--name", "acme", *target, text="s3cr3t\n")
    assert "acme" in run("connection", "list", *where).stdout
    shown = run("connection", "show", *where, "acme").stdout
    assert "pkgs.dev.azure.com/acme" in shown
    assert "s3cr3t" not in shown
    run("connection", "delete", *where, "acme")
    assert "acme" not in run("connection", "list", *where).stdout


def test_tokens_check_and_explain_on_a_local_store(run: Run) -> None:
    where = ("-c", "wheelgate.toml", "--data", "data")
    assert run("token", "new", *where, "--scope", "read").stdout.startswith("wgt_")
    assert "read" in run("token", "list", *where).stdout
    run("check", *where)
    assert "no source has a project acme-lib" in run("explain", *where, "acme-lib", status=1).stdout


def test_rewriting_files(run: Run, home: Path) -> None:
    file = home / "requirements.txt"
    file.write_text("tool @ https://acct.blob.core.windows.net/wheels/tool-1.0-py3-none-any.whl\n")
    run("rewrite", file.name, "--url", "https://wheelgate.internal")
    assert file.read_text().endswith("tool @ https://wheelgate.internal/files/tool/tool-1.0-py3-none-any.whl\n")


def test_no_module_needs_fcntl_to_be_imported() -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\nimport pkgutil, importlib, wheelgate\n"
        "for found in pkgutil.walk_packages(wheelgate.__path__, 'wheelgate.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

"""What an installer takes from an index without metadata, it takes through Wheelgate: with metadata promised, and known."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate, environment
from tests.support.index import FakeIndex
from tests.support.installers import wheel_of
from tests.support.odd_wheels import CONTENTS, ELSEWHERE, OLDER_PIP, OddWheel

IN_CI = ("metadata-twice", "version-not-local", "leaves-its-folder")
"""Each was answered with 404 once: pip takes the first, uv the others."""
WHEELS = [*CONTENTS, *ELSEWHERE]


def takes(client: str, home: Path, index_url: str) -> str | None:
    """Install the project from an index; what went wrong, or ``None``."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    options = ["install", "--no-cache-dir", "--index-url", index_url, "--target", str(home / "site"), "acme"]
    if client == "uv":
        done = uv(home, "pip", *options, ok=None)
    elif client == "pip":
        done = pip(home, *options, "--no-compile", ok=None)
    else:
        older = [sys.executable, wheel_of(OLDER_PIP) / "pip", *options, "--no-compile", "--trusted-host", "127.0.0.1"]
        settings = environment(home, PIP_CONFIG_FILE="/dev/null", PIP_DISABLE_PIP_VERSION_CHECK="1")
        done = subprocess.run(older, capture_output=True, text=True, timeout=120, env=settings, cwd=home, check=False)
    return None if done.returncode == 0 else done.stderr[-1_000:]


@pytest.fixture
def serve(index: FakeIndex, start_gate: Callable[..., Gate]) -> Callable[[OddWheel], Gate]:
    def started(wheel: OddWheel) -> Gate:
        index.bare = index.html = True
        index.publish("acme", wheel.filename, wheel.build())
        return start_gate(UPLOADS + index_source(index, "feed", delivery="cache"))

    return started


@pytest.mark.parametrize("wheel", [wheel for wheel in WHEELS if wheel.id in IN_CI], ids=lambda wheel: wheel.id)
def test_what_a_client_takes_directly_it_takes_here(
    wheel: OddWheel, serve: Callable[[OddWheel], Gate], index: FakeIndex, tmp_path: Path
) -> None:
    server = serve(wheel)
    client = "pip" if wheel.pip else "uv"
    for is_known in (False, True):
        (file,) = server.page("acme")["files"]
        assert isinstance(file["core-metadata"], dict) is is_known, "promised, and then known"
        assert takes(client, tmp_path / client, server.index_url) is None


@pytest.mark.public
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.id)
def test_every_client_does_here_what_it_does_directly(
    wheel: OddWheel, serve: Callable[[OddWheel], Gate], index: FakeIndex, tmp_path: Path
) -> None:
    server = serve(wheel)
    expected = {"pip": wheel.pip, "older pip": wheel.older_pip, "uv": wheel.uv}
    directly = {client: takes(client, tmp_path / "client", index.url) for client in expected}
    assert {client: trouble is None for client, trouble in directly.items()} == expected, directly
    expected["older pip"] &= wheel.older_pip_here
    promised = {client: takes(client, tmp_path / "client", server.index_url) for client, taken in expected.items() if taken}
    known = {client: takes(client, tmp_path / "client", server.index_url) for client, taken in expected.items() if taken}
    assert not any(known.values()), known
    assert wheel.left or not any(promised.values()), promised

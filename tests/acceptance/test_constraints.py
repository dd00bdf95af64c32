"""``Requires-Python`` in every spelling that was ever seen: each client chooses through us what it chooses directly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import index_source
from tests.support import clients
from tests.support.gate import Gate, environment
from tests.support.index import FakeIndex
from tests.support.installers import pip_of
from tests.support.packages import wheel_bytes, wheel_name

SPELLINGS = {
    "met": ">=3.6",
    "unmet": ">=3.99",
    "blanks": "  >= 3.99 , <4 ",
    "line": ">=3.6,\n    <3.7",
    "returns": ">=3.99\r\n",
    "tab": ">=\t3.99",
    "no-break": ">=3.99\u00a0",
    "line-separator": ">=3.99\u2028,<4",
    "next-line": ">=3.99\x85",
    "zero-width": ">=3.99\u200b",
    "control": ">=3.9\x019",
    "nul": "\x00>=3.99",
    "delete": ">=3.99\x7f",
    "wildcard": ">=3.6.*",
    "wildcard-unmet": ">=3.99.*",
    "wildcard-not": "!=3.0.*,>=2.7",
    "legacy": ">=2.7,!=3.0.*,!=3.1.*,<4.0dev",
    "bare": "3.6",
    "words": "Python 3.99 or later",
    "arrow": "=>3.99",
    "quoted": "'>=3.99'",
    "tilde": "~=3.99",
    "long": ",".join(f"!=3.{minor}.{patch}" for minor in range(7) for patch in range(30)) + ",>=3.99",
    "empty": "",
    "commas": ">=3.99,,",
}
WITHHELD = {"separator": ">=3.6,\x1c<4", "endless": ">=3.6," * 2_000 + ">=3.6"}
"""What no page can state."""


@pytest.fixture
def server(start_gate: Callable[..., Gate], index: FakeIndex) -> Gate:
    for name, stated in (SPELLINGS | WITHHELD).items():
        project = f"demo-{name}"
        for version, more in (("1.0", {}), ("2.0", {"requires_python": stated})):
            index.publish(project, wheel_name(project, version), wheel_bytes(project, version), **more)
    return start_gate(index_source(index))


def run(client: str, home: Path, url: str, target: Path) -> dict[str, str]:
    """The version of each project that a client installs."""
    options = ["install", "--no-deps", "--index-url", url, "--target", str(target), *(f"demo-{name}" for name in SPELLINGS)]
    if client == "uv":
        clients.uv(home, "pip", *options)
    elif client == "pip":
        clients.pip(home, *options, "--no-cache-dir")
    else:
        pip = [sys.executable, pip_of(client), *options, "--no-cache-dir", "--trusted-host", "127.0.0.1"]
        done = subprocess.run(
            pip, env=environment(home, PIP_CONFIG_FILE="/dev/null"), capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr
    return {path.stem: path.read_text().split('"')[1] for path in target.glob("demo_*.py")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "client",
    [
        *("pip", "uv"),
        *(pytest.param(release, marks=[pytest.mark.long, pytest.mark.public]) for release in ("20.0.2", "22.0.4", "26.3")),
    ],
)
def test_each_client_chooses_what_it_chooses_directly(server: Gate, index: FakeIndex, tmp_path: Path, client: str) -> None:
    index.html = client.startswith("2") and client < "22.2"  # those read nothing else
    directly = run(client, tmp_path, index.url, tmp_path / "directly")
    through = run(client, tmp_path, server.index_url, tmp_path / "through")
    assert through == directly
    assert len(directly) == len(SPELLINGS)
    assert (directly["demo_met"], directly["demo_unmet"]) == ("2.0", "1.0")


def test_what_no_page_can_state_costs_the_file_and_says_so(server: Gate) -> None:
    for name in WITHHELD:
        assert [file["filename"] for file in server.page(f"demo-{name}")["files"]] == [wheel_name(f"demo-{name}", "1.0")]
        (entry,) = json.loads(server.get(f"/explain/demo-{name}").body)["withheld"]
        assert (entry["file"], entry["rule"]) == (wheel_name(f"demo-{name}", "2.0"), "requires-python")
        assert "states a Requires-Python" in entry["reason"]

"""Every minor release of pip: what it installs, with the format and the metadata that it understands."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import uploads_and
from tests.support.gate import Gate, environment
from tests.support.index import FakeIndex
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name

IN_CI = ["22.3.1", "23.1.2"]
"""The first and the last that cannot read JSON with the older name of the key for core metadata (PEP 714)."""
RELEASES = [
    *("20.0.2", "20.1.1", "20.2.4", "20.3.4", "21.0.1", "21.1.3", "21.2.4", "21.3.1", "22.0.4", "22.1.2", "22.2.2", "22.3"),
    *("23.0.1", "23.1", "23.2.1", "23.3.2", "24.0", "24.1.2", "24.2", "24.3.1", "25.0.1", "25.1.1", "25.2", "25.3", "26.0.1"),
    *("26.1.2", "26.2", "26.3"),
]


def wheel_of(release: str) -> Path:
    """The wheel of a release of pip, fetched on first use; pip runs from it."""
    folder = Path(sys.prefix) / "pips"
    folder.mkdir(exist_ok=True)
    wheel = folder / wheel_name("pip", release)
    with (folder / "lock").open("w") as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheel.exists():
            fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, f"pip=={release}"]
            subprocess.run(fetch, check=True, capture_output=True, timeout=120)
    return wheel.with_name(next(path.name for path in folder.glob(f"pip-{release}-*.whl")))


@pytest.fixture
def gate(start_gate: Callable[..., Gate], index: FakeIndex) -> Gate:
    index.publish("other", wheel_name("other", "1.0"), wheel_bytes("other", "1.0"), metadata=metadata("other", "1.0"))
    index.publish("other", wheel_name("other", "2.0"), wheel_bytes("other", "2.0"), requires_python=">=3.99")
    index.publish("demo", wheel_name("demo", "1.0"), wheel_bytes("demo", "1.0", requires=["other"]))
    return start_gate(uploads_and(index))


@pytest.mark.public
@pytest.mark.timeout(300)
@pytest.mark.parametrize("release", [*IN_CI, *(pytest.param(release, marks=pytest.mark.long) for release in RELEASES)])
def test_it_installs_what_the_index_lists(gate: Gate, tmp_path: Path, release: str) -> None:
    pip = [sys.executable, wheel_of(release) / "pip"]
    options = ["--index-url", gate.index_url, "--trusted-host", "127.0.0.1", "--no-cache-dir", "--disable-pip-version-check"]
    settings = environment(tmp_path, PIP_CONFIG_FILE="/dev/null")

    def install(target: str, *wanted: str | Path) -> None:
        command = [*pip, "install", *options, "--target", tmp_path / target, *wanted]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=settings)
        assert done.returncode == 0, done.stdout + done.stderr

    for time in ("cold", "warm"):  # the second page says what the first fetch of each wheel told
        install(time, "demo")
        assert {path.name for path in (tmp_path / time).glob("*.py")} == {"demo.py", "other.py"}
        assert '"1.0"' in (tmp_path / time / "other.py").read_text()
    pinned = tmp_path / "pinned.txt"
    pinned.write_text(f"other==1.0 --hash=sha256:{sha256(wheel_bytes('other', '1.0'))}\n")
    install("pinned", "-r", pinned)

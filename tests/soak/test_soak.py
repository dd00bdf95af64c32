"""The soak itself, for a short while."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_short_soak_holds(tmp_path: Path) -> None:
    """A kill and a drain or two; a crowd would only say how busy the machine is."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.6", "--crowd-seconds", "0", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=380)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for counted in ("kill -9", "drains", "uploads", "pip installs", "tokens made and revoked"):
        assert f"| {counted} " in done.stdout

"""Across the air gap on real packages: mirrored from the public index, carried in a folder, installed where nothing gets out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.airgap import is_possible, run_inside
from tests.support.gate import WHEELGATE, environment
from wheelgate.mirror.targets import this_python

pytestmark = [pytest.mark.public, pytest.mark.long, pytest.mark.timeout(900)]

REQUIREMENTS = "pandas\nscikit-learn\nmlflow-skinny\nazure-identity\n"


def test_a_data_science_set_installs_where_nothing_gets_out(tmp_path: Path) -> None:
    if not is_possible():
        pytest.skip("this machine gives no network namespace to whoever asks")
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    pip_section = "".join(f"    - {line}\n" for line in REQUIREMENTS.splitlines())
    (tmp_path / "environment.yml").write_text(f"name: train\ndependencies:\n  - python={this_python()}\n  - pip:\n{pip_section}")
    targets = (
        "--python",
        this_python(),
        "--platform",
        "linux-x86_64",
        "--platform",
        "windows-x86_64",
        "--platform",
        "macos-arm64",
    )
    mirrored = mirror(tmp_path, "requirements.txt", "environment.yml", *targets, "--to", "file:./bundle")
    assert "0 repaired" in mirrored.stdout
    inside = run_inside("tests.support.airgapped_build", tmp_path)
    assert inside.returncode == 0, inside.stdout + inside.stderr
    steps = inside.stdout.splitlines()
    assert steps[0] == "nothing gets out"
    assert "satisfies requirements.txt" in steps[2]
    assert steps[3:] == ["uv pip install: done", "pip install -r: done", "the pip section of environment.yml: done"]
    # The other targets, which cannot be run here, are proven.
    proven = mirror(tmp_path, "environment.yml", "--verify", *targets, "--to", "file:./bundle")
    assert "read and verified" in proven.stdout
    assert "Python 3.11 on windows-x86_64" in proven.stderr or this_python() != "3.11"


def mirror(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [WHEELGATE, "mirror", "--data", "data", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done

"""Real pip and real uv, with nothing but an index URL: no configuration, caches or variables of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from tests.support.gate import environment


def pip(
    home: Path, *arguments: str | Path, env: dict[str, str] | None = None, ok: bool | None = True
) -> subprocess.CompletedProcess[str]:
    """Run pip; fails unless it succeeds (``ok=False``: unless it fails; ``None``: never)."""
    return _run([sys.executable, "-m", "pip", *map(str, arguments)], home, env, ok)


def uv(
    home: Path, *arguments: str | Path, env: dict[str, str] | None = None, ok: bool | None = True
) -> subprocess.CompletedProcess[str]:
    """Run uv; fails unless it succeeds (``ok=False``: unless it fails; ``None``: never)."""
    return _run([find_uv_bin(), *map(str, arguments)], home, env, ok)


def _run(command: list[str], home: Path, env: dict[str, str] | None, ok: bool | None) -> subprocess.CompletedProcess[str]:
    settings = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CACHE_DIR": str(home / "pip-cache"),
        "UV_CACHE_DIR": str(home / "uv-cache"),
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        **(env or {}),
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment(home, **settings), cwd=home)
    assert ok is None or (done.returncode == 0) is ok, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done

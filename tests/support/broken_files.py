"""Files that cannot be read, as on a bad disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def break_file(path: Path) -> None:
    """Make every read of a file an input/output error; skips where nothing can be mounted. To be undone by `unmount_below`."""
    done = subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/mem", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def unmount_below(folder: Path) -> None:
    """Undo what was mounted below a folder, or nobody could remove it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if (place := line.split()[1]).startswith(f"{folder}/"):
            subprocess.run(["umount", place], check=True)

"""A server carries nothing of the commands that are run once: neither `mirror` nor `rewrite`, nor the libraries they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.gate import environment

SERVE = """
import asyncio, sys
from pathlib import Path
import wheelgate.cli.serve, wheelgate.web.server
from wheelgate.config import load
from wheelgate.wiring import open_services

async def main() -> None:
    config = load(None, flags={"data": Path("data")}, environment={})
    async with open_services(config):
        print(*sorted(sys.modules))

asyncio.run(main())
"""


def test_a_server_imports_neither_mirror_nor_rewrite(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE], capture_output=True, text=True, timeout=60, env=environment(tmp_path), cwd=tmp_path
    )
    modules = done.stdout.split()
    assert "wheelgate.index.merged" in modules, done.stderr
    ours = (
        "wheelgate.mirror",
        "wheelgate.rewrite",
        "wheelgate.distfiles.requirements_file",
        "wheelgate.cli.mirror",
        "uv",
        "rich",
    )
    assert [name for name in modules if name.startswith(tuple(f"{prefix}." for prefix in ours)) or name in ours] == []

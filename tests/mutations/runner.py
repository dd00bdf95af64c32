"""The runner: a copy of the tree in which one defence after another is taken out, with an environment that imports the copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterable
from pathlib import Path

from tests.docs.pages import ROOT
from tests.mutations.table import Mutation

_TIMEOUT_S = 300
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")


class Copy:
    """The tree, copied, and an interpreter for which ``wheelgate`` is the copy: also in the processes that tests start."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "tree"
        self._bin = folder / "venv" / "bin"
        shutil.copytree(ROOT, self._root, ignore=_LEFT_OUT, symlinks=True)
        venv.create(folder / "venv", symlinks=True)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")}))
        # In this order: what the tree's own environment imports as `wheelgate` is behind the copy.
        (site / "copy.pth").write_text(f"{self._root / 'proxy'}\n{sysconfig.get_path('purelib')}\n")
        for tool in Path(sysconfig.get_path("scripts")).iterdir():  # pip, uv, twine, as the tests find them
            if not (self._bin / tool.name).exists():
                (self._bin / tool.name).symlink_to(tool)
        command = self._bin / "wheelgate"
        command.unlink(missing_ok=True)
        command.write_text(f"#!{self._bin / 'python'}\nimport sys\nfrom wheelgate.cli import main\nsys.exit(main())\n")
        command.chmod(0o755)

    def run(self, nodes: Iterable[str]) -> tuple[bool, str]:
        """Run some tests; tell whether all passed, and what pytest said."""
        command = [self._bin / "python", "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *nodes]
        path = f"{self._bin}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(self._bin.parent)}
        try:
            done = subprocess.run(
                command, cwd=self._root, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return False, f"not done after {_TIMEOUT_S} s"
        if done.returncode not in (0, 1):  # 1: a test failed; anything else: none was run
            raise RuntimeError(f"pytest cannot run {' '.join(nodes)}: {done.stdout[-2_000:]}{done.stderr[-2_000:]}")
        return done.returncode == 0, done.stdout

    def run_without(self, mutation: Mutation) -> tuple[bool, str]:
        """Take a defence out, run its test, and put it back."""
        path = self._root / "proxy" / "wheelgate" / mutation.path
        whole = path.read_text()
        path.write_text(whole.replace(mutation.text, mutation.instead))
        try:
            compile(path.read_text(), path, "exec")  # else every test would fail, and prove nothing
            return self.run([mutation.node])
        finally:
            path.write_text(whole)


def why(said: str) -> str:
    """The first line that says what failed."""
    found = re.search(r"^[ |+]*E {2,}(\S.*)", said, re.MULTILINE)
    return found[1][:200] if found else said.strip().rpartition("\n")[2]

"""A release of pip that is imported once and forked for each run: a table of hundreds of runs takes half the time.

This file is its process, too, which is told of each run in a line of JSON, and answers with the exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class PreloadedPip:
    """Runs one release of pip."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it in a folder that is its home, too, with nothing of this machine's settings."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = folder / "pip.out", folder / "pip.err"
        self._process.stdin.write(json.dumps({"folder": str(folder), "said": [*map(str, said)], "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        out, err = (path.read_text(errors="replace") for path in said)
        return subprocess.CompletedProcess([str(self._process.args), *arguments], status, out, err)


@contextmanager
def preloaded(home: Path, package: Path | None = None) -> Iterator[PreloadedPip]:
    """Start the process; ``package``: pip's folder, ``None`` for the pip of these tests."""
    more = [] if package is None else [str(package.parent)]
    settings = {"PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": str(home)}
    environment = {"PATH": os.environ["PATH"], **settings}
    command = [sys.executable, __file__, *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield PreloadedPip(process)
        assert process.stdin is not None
        process.stdin.close()  # it ends with its input


def _serve() -> None:
    sys.path[:1] = sys.argv[1:]  # in place of this folder
    for line in sys.stdin:
        asked = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _run(asked, writer)
        os.close(writer)
        with os.fdopen(reader) as names:
            imported = names.read().split()
        _, status = os.waitpid(child, 0)
        for name in imported:  # what the first run needed, the next have at hand
            with suppress(Exception):
                importlib.import_module(name)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(asked: dict[str, Any], writer: int) -> None:
    status = 70
    try:
        os.chdir(asked["folder"])
        os.environ["HOME"] = asked["folder"]
        before = set(sys.modules)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(asked["said"], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        from pip._internal.cli.main import main

        sys.argv[:] = ["pip", *asked["arguments"]]
        status = main(sys.argv[1:])
        os.write(writer, " ".join(sorted(set(sys.modules) - before)).encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()

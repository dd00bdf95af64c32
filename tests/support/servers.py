"""Index servers of other makers, from PyPI: each installed once, into an environment of its own."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.gate import environment

_FOLDER = Path(sys.prefix) / "servers"
USER, PASSWORD = "reader", "canary-pw-7xq"


def installed(name: str, *requirements: str) -> Path:
    """The folder of its commands, installed on first use."""
    folder = _FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / f"ready-{hashlib.sha256(' '.join(requirements).encode()).hexdigest()[:16]}"
        if not ready.exists():
            shutil.rmtree(folder / "env", ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True, capture_output=True)
            pip = [folder / "env" / "bin" / "pip", "install", "--quiet", *requirements]
            subprocess.run(pip, check=True, capture_output=True, timeout=600)
            ready.touch()
    return folder / "env" / "bin"


@contextmanager
def pypiserver(folder: Path, packages: Path) -> Iterator[str]:
    """A pypiserver that wants a user for everything; its origin."""
    command = installed("pypiserver", "pypiserver==2.4.2", "passlib==1.7.4") / "pypi-server"
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
    (folder / "htpasswd").write_text(f"{USER}:{{SHA}}{digest}\n")
    port = find_free_port()
    options = ["-i", "127.0.0.1", "-p", str(port), "-a", "download,list,update", "-P", folder / "htpasswd", "--disable-fallback"]
    with run_server([command, "run", *options, packages], folder, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def forwarding_pypiserver(folder: Path, packages: Path, fallback: str) -> Iterator[str]:
    """A pypiserver as it is by default: for everybody, and redirecting names that it does not have; its origin."""
    command = installed("pypiserver", "pypiserver==2.4.2", "passlib==1.7.4") / "pypi-server"
    port = find_free_port()
    options = ["-i", "127.0.0.1", "-p", str(port), "-a", ".", "-P", ".", "--fallback-url", fallback]
    with run_server([command, "run", *options, packages], folder, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def simpleindex(folder: Path, routes: str) -> Iterator[str]:
    """A simpleindex with these routes; its origin."""
    command = installed("simpleindex", "simpleindex==0.6.3") / "simpleindex"
    port = find_free_port()
    (folder / "simpleindex.toml").write_text(f'{routes}\n[server]\nhost = "127.0.0.1"\nport = {port}\n')
    with run_server([command, folder / "simpleindex.toml"], folder, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def devpi(folder: Path, packages: Sequence[Path]) -> Iterator[str]:
    """A devpi with an index ``reader/dev``, whose pages everybody sees and whose files only its user gets; its origin.

    devpi leaves that to plugins; this one is written here.
    """
    plugin = folder / "plugin" / "lock-1.0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: lock\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[devpi_server]\nlock = lock\n")
    (folder / "plugin" / "lock.py").write_text(_DEVPI_PLUGIN)
    with devpi_session(folder, PYTHONPATH=str(folder / "plugin")) as (origin, signed_in):
        index = {"type": "stage", "bases": [], "volatile": True}
        ask_json(f"{origin}/{USER}/dev", "PUT", index, signed_in)
        for path in packages:
            upload(f"{origin}/{USER}/dev/", path)
        yield origin


@contextmanager
def devpi_session(folder: Path, **env: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A devpi without an index, but with a user: its origin, and headers of his."""
    commands = installed("devpi", "devpi-server==6.20.3")
    port = find_free_port()
    data = folder / "devpi"
    init = [commands / "devpi-init", "--serverdir", data, "--no-root-pypi", "--root-passwd", "root-7xq"]
    subprocess.run(init, check=True, capture_output=True, timeout=120, env=environment(folder))
    serve = [commands / "devpi-server", "--serverdir", data, "--host", "127.0.0.1", "--port", str(port)]
    with run_server(serve, folder, port, wait_s=60, env=env):
        origin = f"http://127.0.0.1:{port}"
        ask_json(f"{origin}/{USER}", "PUT", {"password": PASSWORD})
        token = ask_json(f"{origin}/+login", "POST", {"user": USER, "password": PASSWORD})["result"]["password"]
        yield origin, {"X-Devpi-Auth": base64.b64encode(f"{USER}:{token}".encode()).decode()}


_DEVPI_PLUGIN = f"""
from pluggy import HookimplMarker

@HookimplMarker("devpiserver")
def devpiserver_stage_get_principals_for_pkg_read(ixconfig):
    return ["{USER}"]
"""


@contextmanager
def devpi_mirror(folder: Path, index_url: str, **settings: object) -> Iterator[str]:
    """A devpi with an index ``reader/pypi`` that mirrors another one, with more settings of it; the URL that installers get."""
    with devpi_session(folder) as (origin, signed_in):
        index = {"type": "mirror", "mirror_url": index_url, "volatile": True, **settings}
        ask_json(f"{origin}/{USER}/pypi", "PUT", index, signed_in)
        yield f"{origin}/{USER}/pypi/+simple/"


@contextmanager
def devpi_passing(folder: Path, index_url: str, packages: Sequence[Path]) -> Iterator[str]:
    """A devpi with an index ``reader/dev`` of some packages, which passes another index through; the URL that installers get."""
    with devpi_session(folder) as (origin, signed_in):
        ask_json(f"{origin}/{USER}/pypi", "PUT", {"type": "mirror", "mirror_url": index_url, "volatile": True}, signed_in)
        index = {"type": "stage", "bases": [f"{USER}/pypi"], "volatile": True}
        ask_json(f"{origin}/{USER}/dev", "PUT", index, signed_in)
        for path in packages:
            upload(f"{origin}/{USER}/dev/", path)
        yield f"{origin}/{USER}/dev/+simple/"


@contextmanager
def simple_repository(folder: Path, index_url: str) -> Iterator[str]:
    """A simple-repository-server in front of another index; the URL that installers get."""
    commands = installed("simple-repository", "simple-repository-server==0.10.0", "simple-repository==0.11.1")
    port = find_free_port()
    command = [commands / "simple-repository-server", "--host", "127.0.0.1", "--port", str(port), index_url]
    with run_server(command, folder, port):
        yield f"http://127.0.0.1:{port}/simple/"


def bandersnatch(folder: Path, master: str, *names: str) -> Path:
    """Mirror the projects as bandersnatch does; the folder that a web server would show."""
    command = installed("bandersnatch", "bandersnatch==6.8.0") / "bandersnatch"
    config = folder / "bandersnatch.conf"
    config.write_text(
        f"[mirror]\ndirectory = {folder / 'mirror'}\nmaster = {master}\nallow-non-https = true\njson = true\nworkers = 2\n"
        "hash-index = false\nstop-on-error = true\nstorage-backend = filesystem\nverifiers = 1\n"
    )
    sync = [command, "-c", config, "sync", *names]
    done = subprocess.run(sync, capture_output=True, text=True, timeout=120, env=environment(folder))
    assert done.returncode == 0, done.stderr[-3_000:]
    return folder / "mirror" / "web"


def upload(url: str, path: Path) -> None:
    """As twine does."""
    twine = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--repository-url", url, "-u", USER, "-p", PASSWORD]
    subprocess.run([*twine, path], check=True, capture_output=True, timeout=60, env=environment(path.parent))


def ask_json(url: str, method: str, body: object, headers: dict[str, str] | None = None) -> Any:
    """Ask a server of this machine in JSON, and read its answer."""
    request = urllib.request.Request(
        url,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
        method=method,
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.loads(answer.read())


def find_free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def run_server(
    command: Sequence[str | Path], folder: Path, port: int, wait_s: float = 20, env: dict[str, str] | None = None
) -> Iterator[None]:
    """A server that listens on a port of this machine, as long as the block runs; what it says goes to ``server.log``."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment(folder, **(env or {})), start_new_session=True
        )
    try:
        deadline = time.monotonic() + wait_s
        while True:
            assert process.poll() is None, log.read_text()[-2_000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()[-2_000:]
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait(10)

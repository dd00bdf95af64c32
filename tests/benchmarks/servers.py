"""The systems that are measured, each a process on the first core; everything else runs on the second."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.gate import environment

ROOT = Path(__file__).parents[2]
SERVER_CORE, LOAD_CORE = "0", "1"
JSON = "application/vnd.pypi.simple.v1+json"
_ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "4194304", "MALLOC_MMAP_THRESHOLD_": "4194304"}
"""As the image sets them."""


class System:
    """A server under test."""

    def __init__(self, name: str, url: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.url = url
        self._process = process

    def cpu_s(self) -> float:
        """Processor time it has used, its children's included."""
        return sum(_cpu_s(pid) for pid in self._pids())

    def memory_bytes(self) -> int:
        """Proportional set size."""
        return sum(_pss(pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    name: str, command: Sequence[str], url: str, folder: Path, core: str, env: Mapping[str, str] | None = None
) -> Iterator[System]:
    """A server that answers, until the block ends. Its output goes to ``folder``."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**environment(folder), **(env or {})},
        )
        try:
            _wait_until_it_answers(name, url, process, folder)
            yield System(name, url, process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_it_answers(name: str, url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    port = int(url.rpartition(":")[2])
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise SystemExit(f"{name} did not start: {(folder / f'{name}.log').read_text()[-2000:]}")


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """The origin of the stand-in upstream."""
    with _stand_in("upstream", folder, LOAD_CORE) as url:
        yield url


@contextmanager
def catalogue(folder: Path, *, delay_ms: float = 0) -> Iterator[str]:
    """The origin of the catalogue that resolves, on the servers' core: a client is measured directly before it too."""
    with _stand_in("catalogue", folder, SERVER_CORE, "--delay-ms", str(delay_ms)) as url:
        yield url


@contextmanager
def linked(folder: Path, origin: str, *, round_trip_ms: float) -> Iterator[str]:
    """The same origin, so far away; on the same core."""
    with _stand_in("link", folder, SERVER_CORE, origin.rpartition(":")[2], "--round-trip-ms", str(round_trip_ms)) as url:
        yield url


@contextmanager
def _stand_in(name: str, folder: Path, core: str, *arguments: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", url.rpartition(":")[2], *arguments]
    with running(name, command, url, folder, core):
        yield url


@contextmanager
def wheelgate(
    folder: Path,
    origin: str = "",
    *,
    name: str = "wheelgate",
    config: str = "",
    data: Path | None = None,
    flags: Sequence[str] = (),
) -> Iterator[System]:
    """Ours, with the upstream as its public index and its own uploads before it, in a store of its own unless one is given."""
    home = folder / name
    home.mkdir(exist_ok=True)
    settings = home / "wheelgate.toml"
    settings.write_text(
        config
        or '[[source]]\nname = "uploads"\ntype = "store"\n\n'
        f'[[source]]\nname = "pypi"\ntype = "index"\nurl = "{origin}/simple/"\nprivate = false\n'
    )
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    command = [
        str(Path(sys.executable).with_name("wheelgate")),
        "serve",
        "-c",
        str(settings),
        "--data",
        str(data or home / "data"),
        "--port",
        port,
    ]
    with running(name, [*command, *flags], url, folder, SERVER_CORE, _ALLOCATOR) as system:
        yield system


@contextmanager
def with_token(folder: Path, origin: str) -> Iterator[tuple[System, Mapping[str, str]]]:
    """Ours where reading needs a token, and the header that carries one."""
    name = "wheelgate, token"
    with wheelgate(folder, origin, name=name, flags=["--anonymous", "none"]) as system:
        yield system, new_token(folder / name, "read")


def new_token(home: Path, *scopes: str) -> Mapping[str, str]:
    """The header that carries a new token of the server that lives in this folder."""
    command = [str(Path(sys.executable).with_name("wheelgate")), "token", "new", "-c", str(home / "wheelgate.toml")]
    wanted = [part for scope in scopes for part in ("--scope", scope)]
    made = subprocess.run(
        [*command, "--data", str(home / "data"), *wanted, "--expires", "1d"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(home.parent),
    )
    token = re.search(r"wgt_\w+", made.stdout)
    assert token is not None, made.stdout
    return {"Authorization": f"Bearer {token[0]}"}


@contextmanager
def bare(folder: Path, pages: Mapping[str, bytes]) -> Iterator[System]:
    """aiohttp, and nothing else, with the same bytes."""
    place = folder / "bare"
    place.mkdir(parents=True)
    for project, body in pages.items():
        (place / project).write_bytes(body)
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tests.benchmarks.bare", str(place), url.rpartition(":")[2]]
    with running("bare aiohttp", command, url, folder, SERVER_CORE) as system:
        yield system


@contextmanager
def nginx(folder: Path, pages: Mapping[str, bytes]) -> Iterator[System | None]:
    """nginx, with the same bytes as static files; ``None``, said aloud, if it is not installed."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        print("nginx is not installed (apt-get install nginx-light): left out")
        yield None
        return
    for project, body in pages.items():
        place = folder / "nginx" / "simple" / project
        place.mkdir(parents=True)
        (place / "index.json.gz").write_bytes(body)
    url = f"http://127.0.0.1:{free_port()}"
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is nobody else's
    paths = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    listen = url.removeprefix("http://")
    config.write_text(
        f"{user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ {paths} access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=100;\n"
        f"types {{ {JSON} json; }}\n"
        f"server {{ listen {listen}; root {folder}/nginx; gzip_static always; rewrite ^(/simple/[^/]+/)$ $1index.json; }} }}\n"
    )
    with running("nginx", [binary, "-p", str(folder), "-c", str(config)], url, folder, SERVER_CORE) as system:
        yield system


@contextmanager
def pypiron(folder: Path, origin: str) -> Iterator[System | None]:
    """The fastest peer, before the same upstream; ``None``, said aloud, if it is not installed."""
    binary = shutil.which("pypiron") or shutil.which("pypiron", path=str(Path(sys.executable).parent))
    if binary is None:
        print("pypiron is not installed (pip install pypiron): left out")
        yield None
        return
    url = f"http://127.0.0.1:{free_port()}"
    command = [binary, "serve", "--data-dir", str(folder / "pypiron"), "--bind-addr", url.removeprefix("http://")]
    command += [
        "--admin-pass",
        "benchmark",
        "--proxy-upstream",
        origin,
        "--allow-insecure-upstream",
        "--proxy-allow-host",
        "127.0.0.1",
    ]
    command += ["--advisory-feed", ""]  # it would go and fetch one from the internet
    with running("pypiron", command, url, folder, SERVER_CORE) as system:
        yield system


def fetched(url: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """One request from here."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, dict(response.headers.items()), response.read()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error.code} {error.reason}") from None

"""The real server, as its users start it: a process of its own, spoken to over a socket."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WHEELGATE = str(Path(sys.executable).with_name("wheelgate"))
_URL = re.compile(r"serves (https?://\S+)/simple/")


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a process gets that must not learn from this machine's settings: a path, a home, nothing else."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(home), "PYTHONUNBUFFERED": "1", **more}


def command(home: Path, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A `wheelgate` command as a person in a folder runs it; fails if it shows a traceback."""
    done = subprocess.run(
        [WHEELGATE, *arguments], capture_output=True, text=True, timeout=60, env=environment(home, **env), cwd=home
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


class Gate:
    """A running `wheelgate serve`."""

    def __init__(
        self,
        folder: Path,
        config: str,
        arguments: Sequence[str] = (),
        env: dict[str, str] | None = None,
        descriptors: int | None = None,
    ) -> None:
        """``descriptors``: how many file descriptors the process may have, soft and hard."""
        limited = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh"]
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "wheelgate.toml"
        self.config.write_text(config)
        self.data = folder / "data"
        self._log = folder / "serve.log"
        self._arguments = arguments
        self.env = env or {}
        """Variables of the process, beside the few that every one gets."""
        self.prefix: Sequence[str] = () if descriptors is None else limited
        """Commands that start the process: ``prlimit ...``."""
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._tls: ssl.SSLContext | None = None
        self.url = ""

    @property
    def index_url(self) -> str:
        return f"{self.url}/simple/"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything the process printed so far."""
        return self._log.read_text()

    def start(self, wait_s: float = 40) -> None:
        """Start and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, WHEELGATE, "serve", "-c", self.config, "--data", self.data, "--port", "0", *self._arguments],
                stdout=log,
                stderr=log,
                env=environment(self.folder, **self.env),
                start_new_session=True,
            )
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the server ended with {self._process.returncode}: {self.log}")
            found = _URL.findall(self.log)
            if len(found) > self._starts:
                self._starts = len(found)
                self.url = found[-1]
                return
            time.sleep(0.02)
        raise AssertionError(f"the server did not start: {self.log}")

    def send(self, how: signal.Signals) -> None:
        """Send a signal and do not wait."""
        assert self._process is not None
        self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM, wait_s: float = 40) -> int:
        """End it, and return its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(wait_s)

    def has_ended(self) -> bool:
        """True if the process is gone, by whatever hand."""
        assert self._process is not None
        return self._process.poll() is not None

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.stop(how)
        self.start()

    def trust(self, ca_file: Path) -> None:
        """Take certificates of this authority when asking the server."""
        self._tls = ssl.create_default_context(cafile=str(ca_file))

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """One request, redirects not followed."""
        return fetch(f"{self.url}{path}", headers, method, tls=self._tls)

    def page(self, project: str) -> dict[str, Any]:
        """A project's page in JSON; fails unless it is 200."""
        answer = self.get(f"/simple/{project}/", {"Accept": "application/vnd.pypi.simple.v1+json"})
        assert answer.status == 200, (answer.status, answer.body[:500])
        page: dict[str, Any] = json.loads(answer.body)
        return page

    def page_names(self) -> list[str]:
        """The projects on the list page."""
        listed = json.loads(self.get("/simple/", {"Accept": "application/vnd.pypi.simple.v1+json"}).body)
        return [project["name"] for project in listed["projects"]]

    def rss_bytes(self) -> int:
        """Memory the process holds now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise AssertionError

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Another `wheelgate` command with the same settings and store."""
        group, *rest = arguments
        nested = [group, rest.pop(0)] if group in ("wheel", "connection", "token", "cache") else [group]
        command = [WHEELGATE, *nested, "-c", self.config, "--data", self.data, *rest]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(self.folder, **self.env))


class Answer:
    """A whole HTTP answer."""

    def __init__(self, status: int, reason: str, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


def _opener_for(tls: ssl.SSLContext) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _NoRedirects)


def fetch(
    url: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    timeout: float = 60,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    request = urllib.request.Request(url, headers=headers or {}, method=method)
    try:
        response = (_opener if tls is None else _opener_for(tls)).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return Answer(response.status, response.reason, dict(response.headers.items()), response.read())


@contextmanager
def gate(
    folder: Path,
    config: str,
    arguments: Sequence[str] = (),
    env: dict[str, str] | None = None,
    descriptors: int | None = None,
) -> Iterator[Gate]:
    """A server that is gone when the block ends, however it ends."""
    server = Gate(folder, config, arguments, env, descriptors)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)

"""Commands on a full disk: a server serves without its log, and others say in one sentence what could not be written."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS
from tests.storage.test_local import small_disk
from tests.support.gate import WHEELGATE, environment, fetch

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.mark.parametrize("command", [["token", "new", "--scope", "read"], ["token", "list", "--json"], ["--version"]])
def test_a_command_whose_output_cannot_be_written_fails_in_one_sentence(tmp_path: Path, command: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [WHEELGATE, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=environment(tmp_path)
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "wheelgate: the output cannot be used: no space left on device"
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_a_server_whose_log_cannot_be_written_serves(tmp_path: Path) -> None:
    (tmp_path / "wheelgate.toml").write_text(UPLOADS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with FULL.open("w") as full:
        command = [WHEELGATE, "serve", "-c", "wheelgate.toml", "--data", tmp_path / "data", "--port", str(port)]
        server = subprocess.Popen(command, stdout=full, stderr=full, env=environment(tmp_path), cwd=tmp_path)
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                assert fetch(f"http://127.0.0.1:{port}/livez").status == 200
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for _ in range(3):
            assert fetch(f"http://127.0.0.1:{port}/files/none/none-1.0.tar.gz").status == 404
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def test_check_says_that_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / "wheelgate.toml").write_text(UPLOADS)
    with small_disk(tmp_path / "data", "size=40m") as data:
        command = [WHEELGATE, "check", "-c", "wheelgate.toml", "--data", data]
        subprocess.run(command, check=True, capture_output=True, env=environment(tmp_path), cwd=tmp_path)
        (data / "filler").write_bytes(bytes(20_000_000))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    sentence = f"{data}/store can be read, but the spool is full: make room at {data}/store/.spool"
    assert f"FAIL  store: {sentence}" in done.stdout

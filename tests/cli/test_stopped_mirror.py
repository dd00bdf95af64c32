"""A mirroring that a pipeline or a closed terminal ends: a sentence, no child left, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.index import FakeIndex
from tests.support.mirrors import HERE, Mirroring, distributions, publish_catalogue
from tests.support.packages import wheel_bytes

_SLOW_BACKEND = b"""
import time
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    open("BUILDING", "w").close()
    time.sleep(60)
"""


@pytest.fixture
def mirroring(index: FakeIndex, tmp_path: Path) -> Mirroring:
    publish_catalogue(index)
    (tmp_path / "tmp").mkdir()
    return Mirroring(tmp_path / "work", index)


def start(mirroring: Mirroring, *arguments: str, ignored: bool = False) -> subprocess.Popen[str]:
    command = [*(["nohup"] if ignored else []), *mirroring.command(*arguments, "--to", "./bundle", *HERE)]
    env = {**mirroring.env(), "TMPDIR": str(mirroring.folder.parent / "tmp")}
    return subprocess.Popen(
        command,
        cwd=mirroring.folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children_of(session: int) -> list[str]:
    """The processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_while_uv_builds(mirroring: Mirroring, how: signal.Signals) -> None:
    building = mirroring.folder / "building"
    hook = _SLOW_BACKEND.replace(b"BUILDING", os.fsencode(building))
    backend = {"setuptools/__init__.py": b"", "setuptools/build_meta.py": hook}
    mirroring.index.publish("setuptools", "setuptools-80.0-py3-none-any.whl", wheel_bytes("setuptools", "80.0", extra=backend))
    process = start(mirroring, "--project", "sourced")
    wait_for(process, building)
    process.send_signal(how)
    process.send_signal(how)  # impatience is Ctrl-C's
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "wheelgate: stopped"
    assert "Traceback" not in err
    assert children_of(process.pid) == []
    assert list((mirroring.folder.parent / "tmp").iterdir()) == []
    assert not (mirroring.folder / "bundle" / "wheelgate-mirror.json").exists()


def test_it_ends_while_files_come_and_goes_on_later(mirroring: Mirroring) -> None:
    begun = mirroring.folder / "begun"

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": size})
        await response.prepare(request)
        begun.touch()
        await asyncio.sleep(60)
        return response

    file = "/packages/colour/colour-2.0-py3-none-any.whl"
    size = str(len(mirroring.index.projects["colour"]["colour-2.0-py3-none-any.whl"].body))
    mirroring.index.handlers[file] = endless
    process = start(mirroring, "--project", "colour")
    wait_for(process, begun)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.splitlines()[-1]) == (130, "wheelgate: stopped")
    assert children_of(process.pid) == []
    assert list((mirroring.folder.parent / "tmp").iterdir()) == []
    bundle = mirroring.folder / "bundle"
    assert [path.name for path in bundle.rglob("*") if path.is_file()] == ["wheelgate-mirror.json"]
    del mirroring.index.handlers[file]
    assert "1 new" in mirroring.run("--project", "colour", "--to", "./bundle", *HERE).stdout
    assert distributions(bundle) == {"colour/colour-2.0-py3-none-any.whl"}


def test_in_the_background_of_a_shell_where_ctrl_c_is_ignored_it_ends_all_the_same() -> None:
    program = """
import asyncio, os, signal, sys
from wheelgate.cli.stopping import stop_as_by_ctrl_c
async def work():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(5)
    finally:
        print("tidied up", flush=True)
with stop_as_by_ctrl_c():
    asyncio.run(work())
"""
    background = "import signal, os, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", background, sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr.splitlines()[-1:]) == ("tidied up\n", ["KeyboardInterrupt"])


def test_nohup_is_heeded(mirroring: Mirroring) -> None:
    process = start(mirroring, "--project", "colour", ignored=True)
    for _ in range(20):
        time.sleep(0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "1 new" in out

"""A disk that holds a part of what is asked for at once: everybody gets the whole file all the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.acceptance.configs import index_source
from tests.faults.site import small_disk
from tests.support.azurite import ACCOUNT, KEY, azurite
from tests.support.gate import Gate, fetch, gate
from tests.support.index import FakeIndex, running
from tests.support.packages import wheel_name

MB = 1_000_000
WHEELS = 24
_needs_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
FULL_SIZE = [
    pytest.param(True, 30 * MB, 200 * MB, True, marks=[pytest.mark.long, pytest.mark.timeout(300)], id="container"),
    pytest.param(
        True, 30 * MB, 200 * MB, False, marks=[pytest.mark.long, pytest.mark.timeout(300)], id="container, sizes unknown"
    ),
    pytest.param(False, 30 * MB, 200 * MB, True, marks=[pytest.mark.long, pytest.mark.timeout(300)], id="folder"),
    pytest.param(False, 8 * MB, 90 * MB, True, id="folder, small"),
    pytest.param(False, 8 * MB, 90 * MB, False, id="folder, small, sizes unknown"),
]


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    with running(FakeIndex()) as made:
        yield made


@_needs_root
@pytest.mark.parametrize(("container", "size", "disk_bytes", "listed"), FULL_SIZE)
def test_more_than_the_spool_holds_at_once_reaches_everybody_whole(
    tmp_path: Path, index: FakeIndex, container: bool, size: int, disk_bytes: int, listed: bool
) -> None:
    names = [f"big-{number}" for number in range(WHEELS)]
    bodies = {name: hashlib.shake_128(name.encode()).digest(size) for name in names}
    for name, body in bodies.items():
        index.publish(name, wheel_name(name, "1.0"), body, **({} if listed else {"size": None}))
    with ExitStack() as stack:
        config, env = '[server]\nanonymous = "read"\n', {}
        if container:
            from azure.storage.blob import ContainerClient

            emulator = stack.enter_context(azurite(tmp_path / "azurite"))
            with ContainerClient(emulator.url, "wheelgate", credential={"account_name": ACCOUNT, "account_key": KEY}) as store:
                store.create_container()
            config += f'[store]\nurl = "{emulator.url}/wheelgate"\naccount_key = "env:STORAGE_KEY"\ndelivery = "stream"\n'
            env["STORAGE_KEY"] = KEY
        stack.enter_context(small_disk(tmp_path / "gate" / "data", disk_bytes))
        server = stack.enter_context(gate(tmp_path / "gate", config + index_source(index, "public"), env=env))
        for name in names:
            server.page(name)
        began = time.monotonic()
        with ThreadPoolExecutor(WHEELS) as pool:
            outcomes = list(pool.map(lambda name: ask(server, name, bodies[name]), names))
        print(f"all after {time.monotonic() - began:.1f} s")
        seen = Counter(outcomes)
        assert seen == {"whole": WHEELS}, f"{seen}\n{server.log[-2000:]}"
        if listed:
            assert {index.count(f"/packages/{name}/{wheel_name(name, '1.0')}") for name in names} == {1}
        metrics = server.get("/metrics").body.decode()
        assert 'wheelgate_fills_total{outcome="kept",source="public"}' in metrics
        for gauge in ("fills_under_way", "spool_promised_bytes", "spool_used_bytes"):
            assert f"wheelgate_{gauge} 0.0" in metrics
        assert "Traceback" not in server.log


def ask(server: Gate, name: str, body: bytes) -> str:
    """What became of one download."""
    try:
        answer = fetch(f"{server.url}/files/{name}/{wheel_name(name, '1.0')}", timeout=120)
    except (OSError, HTTPException):
        return "broken off"
    outcome = "whole" if answer.body == body else "other bytes"
    return outcome if answer.status == 200 else f"{answer.status} {answer.reason}"

"""A change on another replica drops what it concerns and nothing else: the rest is answered as if nothing had happened."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.configs import UPLOADS
from tests.support.gate import Gate
from tests.support.packages import sha256, wheel_bytes, wheel_name
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.accept import Destination
from wheelgate.uploads.manage import UploadManager
from wheelgate.wiring import SystemClock

NAMES = [f"acme-{number:02d}" for number in range(20)]
CHANGED = "acme-changed"


class OtherReplica:
    """Another process on the same store."""

    def __init__(self, store: LocalStore) -> None:
        clock = SystemClock()
        self._changes = StoreChanges(store, clock)
        self._packages = UploadManager([Destination("uploads", store, layout.PACKAGES)], store=store, changes=self._changes)
        self._tokens = Tokens(store, clock, self._changes)
        self._count = 0

    async def change(self) -> None:
        """Yank a file, or make a token."""
        self._count += 1
        await self._changes.look()
        if self._count % 3:
            await self._packages.yank(wheel_name(CHANGED, "1.0"), f"for the {self._count}. time")
        else:
            await self._tokens.new(("read",), timedelta(days=1))


class Client:
    """One connection that is kept, whose requests are byte for byte the same."""

    def __init__(self, gate: Gate, token: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(gate.url).netloc, timeout=10)
        self._headers = {"Accept": "application/vnd.pypi.simple.v1+json", "Authorization": f"Bearer {token}"}

    def close(self) -> None:
        self._connection.close()

    def get(self, project: str) -> bytes:
        self._connection.request("GET", f"/simple/{project}/", headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200
        return body


@pytest.fixture
def gate(start_gate: Callable[..., Gate]) -> Gate:
    return start_gate('[server]\nanonymous = "none"\n' + UPLOADS)


@pytest.fixture
def other(gate: Gate) -> OtherReplica:
    store = LocalStore(gate.data / "store")
    store.prepare()

    async def fill() -> None:
        for name in (*NAMES, CHANGED):
            body = wheel_bytes(name, "1.0")
            await store.put_if_absent(layout.package(name, wheel_name(name, "1.0")), body, {"sha256": sha256(body)})
            await store.put_if_absent(layout.claim(name), b"", {})

    asyncio.run(fill())
    return OtherReplica(store)


def new_token(gate: Gate) -> str:
    return gate.run("token", "new", "--scope", "read").stdout.strip()


def count_warm(gate: Gate) -> int:
    found = re.search(rb"\nwheelgate_warm_requests_total (\d+)", gate.get("/metrics").body)
    return 0 if found is None else int(found[1])


def test_all_but_the_changed_page_stay_warm(gate: Gate, other: OtherReplica) -> None:
    token = new_token(gate)
    with closing(Client(gate, token)) as client, closing(Client(gate, token)) as reader:
        for name in NAMES * 2:
            client.get(name)
        seen = {reader.get(CHANGED)}
        time.sleep(2.5)  # it has heard of the token
        for name in NAMES:
            client.get(name)
        warm, asked = count_warm(gate), 0
        for _ in range(3):
            asyncio.run(other.change())
            ends_s = time.monotonic() + 2.5
            while time.monotonic() < ends_s:
                for name in NAMES:
                    client.get(name)
                    asked += 1
                seen.add(reader.get(CHANGED))
                asked += 1
                time.sleep(0.02)
    assert asked - (count_warm(gate) - warm) <= 6, "each change is looked up when it is announced and when it was made"
    assert len(seen) == 3, "both yanks were seen"


@pytest.mark.long
def test_a_warm_storm_takes_hardly_more_work_while_others_change_something_every_two_seconds(
    gate: Gate, other: OtherReplica
) -> None:
    """Side by side, in pairs; by processor time, since other programs share the processors."""

    def measure(client: Client, *, changing: bool) -> float:
        """Requests a second of the server's own processor time."""
        began_s, began_cpu_s, asked, changes = time.monotonic(), _cpu_s(gate.pid), 0, 0
        while (now_s := time.monotonic() - began_s) < 8:
            if changing and now_s > 2 * changes:
                changes += 1
                asyncio.run(other.change())
            for name in (*NAMES, CHANGED):
                client.get(name)
                asked += 1
        return asked / (_cpu_s(gate.pid) - began_cpu_s)

    with closing(Client(gate, new_token(gate))) as client:
        measure(client, changing=True)
        ratios = []
        for pair in range(5):
            first = bool(pair % 2)
            rates = {changing: measure(client, changing=changing) for changing in (first, not first)}
            ratios.append(rates[True] / rates[False])
    print(f"warm requests a second of processor time, with changes to without: {sorted(ratios)}")
    assert statistics.median(ratios) >= 0.8


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

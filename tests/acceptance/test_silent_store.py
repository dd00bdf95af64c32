"""A storage account that falls silent, at the wire: it costs seconds once, what is known is served, and it is over soon."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from tests.acceptance.configs import UPLOADS, index_source
from tests.faults.front import Front, front_listening
from tests.faults.site import JSON, listed, post_form
from tests.faults.storage import stay_silent
from tests.support.azurite import ACCOUNT, KEY, azurite
from tests.support.gate import Answer, Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.waiting import until

ONCE_S, AT_ONCE_S, BACK_S, LATEST_S = 7.5, 1.0, 5.0, 12.0


@dataclass
class World:
    """A server over two containers, each behind a front of its own: our store, and a private source."""

    server: Gate
    store: Front
    curated: Front
    token: str

    def ask(self, path: str) -> tuple[Answer, float]:
        """An answer and its seconds; what has to be true of any answer is."""
        began = time.monotonic()
        answer = self.server.get(path, JSON)
        took_s = time.monotonic() - began
        assert took_s < LATEST_S
        if answer.status == 503 and path != "/readyz":
            assert 1 <= int(answer.headers["Retry-After"]) <= 5
        for front in (self.store, self.curated):
            assert answer.status < 400 or front.url.removeprefix("http://").encode() not in answer.body, "an address is shown"
        return answer, took_s

    def upload(self, project: str) -> tuple[Answer, float]:
        file = (wheel_name(project, "1.0"), wheel_bytes(project, "1.0"))
        began = time.monotonic()
        return post_form(self.server.url, self.token, {":action": "file_upload"}, file), time.monotonic() - began

    def is_open(self, store: str) -> bool:
        return f'wheelgate_store_breaker_open{{store="{store}"}} 1.0' in self.server.get("/metrics").body.decode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        emulator = stack.enter_context(azurite(tmp_path / "azurite"))
        fronts = [Front(int(emulator.url.split(":")[2].partition("/")[0])) for _ in range(2)]
        for front, name in zip(fronts, ("wheelgate", "curated"), strict=True):
            stack.enter_context(front_listening(front))
            container = ContainerClient(emulator.url, name, credential={"account_name": ACCOUNT, "account_key": KEY})
            stack.enter_context(container)
            container.create_container()
            if name == "curated":
                for project in ("curated-a", "curated-b"):
                    path = f"{project}/{wheel_name(project, '1.0')}"
                    container.upload_blob(path, wheel_bytes(project, "1.0"))
        public = stack.enter_context(running(FakeIndex()))
        for project in ("demo", "other"):
            public.publish(project, wheel_name(project, "1.0"), wheel_bytes(project, "1.0", padding=300_000))
        store, curated = fronts
        config = (
            f'[server]\nanonymous = "read"\n[store]\nurl = "{store.url}/{ACCOUNT}/wheelgate"\naccount_key = "env:STORAGE_KEY"\n'
            + UPLOADS
            + '[[source]]\nname = "curated"\ntype = "blob"\nlayout = "project"\nonly = ["curated-*"]\nfresh = "1s"\n'
            + f'url = "{curated.url}/{ACCOUNT}/curated"\naccount_key = "env:STORAGE_KEY"\n'
            + index_source(public, "public")
        )
        server = stack.enter_context(gate(tmp_path / "gate", config, env={"STORAGE_KEY": KEY}))
        made = server.run("token", "new", "--scope", "upload")
        assert made.returncode == 0, made.stderr
        yield World(server, store, curated, made.stdout.strip())
        assert "Traceback" not in server.log
        assert KEY not in server.log


def test_our_store(world: World) -> None:
    known = ["/simple/demo/", "/simple/own/", "/simple/curated-a/"]
    demo, own = (f"/files/{name}/{wheel_name(name, '1.0')}" for name in ("demo", "own"))
    assert world.upload("own")[0].status == 200
    until(lambda: world.server.get(demo).status == 302)
    for path in known:
        assert world.ask(path)[0].status == 200
    time.sleep(4.5)  # what was announced is heard of, the claim of a name that was just asked for too

    world.store.trouble = stay_silent
    answer, took_s = world.ask("/simple/never-asked/")
    assert (answer.status, took_s < ONCE_S) == (503, True), (answer.body, took_s)
    assert json.loads(answer.body)["reason"].startswith("the store cannot be reached")
    for path, status in [(path, 200) for path in known] + [(demo, 302), (own, 302), ("/simple/nor-this/", 503)]:
        answer, took_s = world.ask(path)
        assert (answer.status, took_s < AT_ONCE_S) == (status, True), (path, answer.body, took_s)
    answer, took_s = world.upload("late")
    assert (answer.status, took_s < AT_ONCE_S) == (503, True), (answer.body, took_s)
    answer, took_s = world.ask("/readyz")
    assert (answer.status, json.loads(answer.body)["status"], took_s < AT_ONCE_S) == (200, "degraded", True)
    assert (world.is_open("the store"), world.is_open("curated")) == (True, False)

    world.store.trouble = None
    back_s = time.monotonic()
    until(lambda: world.server.get("/simple/never-asked/").status == 404 and world.upload("late")[0].status == 200, BACK_S)
    until(lambda: json.loads(world.server.get("/readyz").body)["status"] == "ready", BACK_S)
    assert time.monotonic() - back_s < BACK_S
    assert not world.is_open("the store")
    for line in ("does not answer: nobody waits for it", "answers again"):
        assert world.server.log.count(f"/{ACCOUNT}/wheelgate) {line}") == 1


@pytest.mark.long
def test_a_private_source_in_a_container_of_its_own(world: World) -> None:
    """Its silence is nobody else's: our store has a breaker of its own."""
    assert world.ask("/simple/curated-a/")[0].status == 200
    world.curated.trouble = stay_silent
    answer, took_s = world.ask("/simple/curated-b/")
    assert (answer.status, took_s < ONCE_S) == (503, True), (answer.body, took_s)
    assert b"the container of source curated cannot be reached" in answer.body
    for path, status in (("/simple/curated-b/", 503), ("/simple/curated-a/", 200), ("/simple/demo/", 200)):
        answer, took_s = world.ask(path)
        assert (answer.status, took_s < AT_ONCE_S) == (status, True), (path, answer.body, took_s)
    assert world.upload("own")[0].status == 200
    assert (world.is_open("the store"), world.is_open("curated")) == (False, True)
    assert json.loads(world.server.get("/readyz").body)["status"] == "ready"

    world.curated.trouble = None
    until(lambda: world.server.get("/simple/curated-b/").status == 200, BACK_S)
    assert list(listed(world.ask("/simple/curated-b/")[0].body)) == [wheel_name("curated-b", "1.0")]

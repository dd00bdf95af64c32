"""How many round trips to a store in Azure a client waits for, one after the other; and how many requests there are in all.

At the wire: every request of a real server passes a front before the emulator, which holds it back. Requests that are under way
at once count once in a sequence. What a process does behind the answer counts in all, not in the sequence. One more round trip
anywhere fails here: whoever needs it changes the number, and says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from azure.storage.blob import ContainerClient

from tests.acceptance.configs import UPLOADS, index_source
from tests.faults.front import Front, StorageTalk, front_listening
from tests.faults.site import JSON, post_form
from tests.support.azurite import ACCOUNT, KEY, azurite
from tests.support.gate import Answer, Gate
from tests.support.index import FakeIndex, running
from tests.support.packages import metadata, wheel_bytes, wheel_name
from tests.support.waiting import until

_HELD_S = 0.1
"""Long beside what lies between two requests that are made together."""
_QUIET_S = 0.7
"""Longer than what is written behind an answer waits for more of its kind."""


@dataclass
class Meter:
    """What passes the front since it was last reset, but for the look at the record of changes, which is made all the time."""

    requests: list[str] = field(default_factory=list)
    longest: int = 0
    """Requests of the longest sequence: each began when the one before it had been answered."""
    last_s: float = field(default_factory=time.monotonic)
    under_way: int = 0

    def reset(self) -> None:
        self.requests, self.longest = [], 0

    async def pass_on(self, talk: StorageTalk) -> None:
        """Pass a request on, held back."""
        asked = talk.asked
        if (asked.method, asked.path) == ("HEAD", "state/changed"):
            return await talk.pass_on()
        self.requests.append(f"{asked.method} {asked.target.removeprefix(f'/{ACCOUNT}/wheelgate')}")
        place = self.longest + 1
        self.under_way += 1
        await asyncio.sleep(_HELD_S)
        try:
            await talk.pass_on()
        finally:
            self.longest = max(self.longest, place)
            self.under_way -= 1
            self.last_s = time.monotonic()

    def settle(self) -> None:
        """Wait until nothing more is asked for."""
        until(lambda: not self.under_way and time.monotonic() - self.last_s > _QUIET_S)


class Site(NamedTuple):
    """A server, its store and the index behind it."""

    server: Gate
    index: FakeIndex
    meter: Meter
    token: str

    def upload(self, name: str, version: str = "1.0") -> Answer:
        return post_form(
            self.server.url, self.token, {":action": "file_upload"}, (wheel_name(name, version), wheel_bytes(name, version))
        )

    def act(self, action: str, name: str) -> Answer:
        return post_form(self.server.url, self.token, {":action": action, "filename": wheel_name(name, "1.0")}, None)

    def page(self, name: str) -> Answer:
        return self.server.get(f"/simple/{name}/", JSON)

    def file(self, name: str, suffix: str = "") -> Answer:
        return self.server.get(f"/files/{name}/{wheel_name(name, '1.0')}{suffix}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("requests")
    with ExitStack() as stack:
        emulator = stack.enter_context(azurite(folder / "azurite"))
        front = Front(int(emulator.url.split(":")[2].partition("/")[0]))
        stack.enter_context(front_listening(front))
        index = stack.enter_context(running(FakeIndex()))
        container = f"http://127.0.0.1:{front.on_port}/{ACCOUNT}/wheelgate"
        account = {"account_name": ACCOUNT, "account_key": KEY}
        with ContainerClient(emulator.url, "wheelgate", credential=account) as made:
            made.create_container()
        for name in ("cold-page", "cold-file", "beside", "inside", "fetched"):
            beside = None if name in ("inside", "fetched") else metadata(name, "1.0")
            index.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0"), metadata=beside)
        config = f'[store]\nurl = "{container}"\naccount_key = "env:STORAGE_KEY"\n{UPLOADS}{index_source(index)}'
        server = Gate(folder / "gate", config, env={"STORAGE_KEY": KEY})
        token = server.run("token", "new", "--scope", "upload", "--scope", "read").stdout.strip()
        server.start()
        stack.callback(server.stop)
        site = Site(server, index, Meter(), token)
        assert site.upload("acme-first").status == 200
        assert site.page("nobody-has-this").status == 404  # nor had anything been asked that proves the index
        front.trouble = site.meter.pass_on
        assert all(row.prepare(site).status in (200, 404) for row in TABLE if row.prepare is not None)
        site.meter.settle()
        yield site


class Row(NamedTuple):
    """One operation, and what it may cost."""

    work: str
    prepare: Callable[[Site], Answer] | None
    """Done before any row is measured."""
    ask: Callable[[Site], Answer]
    in_sequence: int
    """Requests that its client waits for one after the other, at most."""
    in_all: int


TABLE = [
    # The claim is looked up before anybody is asked: of a name that is ours, large as it may be, few files are looked at then.
    Row("a first upload of a project", None, lambda site: site.upload("acme-new"), 8, 11),
    Row("a further version", lambda site: site.upload("acme-more"), lambda site: site.upload("acme-more", "2.0"), 6, 9),
    Row("the same file again", lambda site: site.upload("acme-same"), lambda site: site.upload("acme-same"), 2, 5),
    Row("a yank", lambda site: site.upload("acme-yank"), lambda site: site.act("yank", "acme-yank"), 4, 4),
    Row("a deletion", lambda site: site.upload("acme-gone"), lambda site: site.act("delete", "acme-gone"), 5, 6),
    Row("a page of ours", lambda site: site.upload("acme-page"), lambda site: site.page("acme-page"), 2, 2),
    Row("a file of ours", lambda site: site.page("acme-first"), lambda site: site.file("acme-first"), 0, 0),
    Row("a cold page", None, lambda site: site.page("cold-page"), 2, 4),
    Row("a name that nobody has", None, lambda site: site.page("cold-absent"), 2, 3),
    Row("a cold file", lambda site: site.page("cold-file"), lambda site: site.file("cold-file"), 1, 2),
    Row("metadata beside its wheel", lambda site: site.page("beside"), lambda site: site.file("beside", ".metadata"), 1, 2),
    Row("metadata in its wheel", lambda site: site.page("inside"), lambda site: site.file("inside", ".metadata"), 1, 6),
    Row("that wheel then", lambda site: site.file("fetched", ".metadata"), lambda site: site.file("fetched"), 0, 0),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.work.replace(" ", "-"))
def test_an_operation_costs_no_more_requests_than_it_did(site: Site, row: Row) -> None:
    site.meter.reset()
    answer = row.ask(site)
    in_sequence, seen = site.meter.longest, list(site.meter.requests)
    site.meter.settle()
    assert answer.status in (200, 302, 404), answer.body
    assert in_sequence <= row.in_sequence, seen
    assert len(site.meter.requests) <= row.in_all, site.meter.requests

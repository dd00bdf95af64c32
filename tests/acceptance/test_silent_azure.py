"""A key vault and Microsoft Entra on a bad day, at the wire: frozen, slow, throttled, gone, and back.

No answer comes later than a client waits, none says nothing, and all is well within seconds of the service's return.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.certificates import loopback_tls
from tests.support.entra import HEADER, Identity
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.relay import Relay, relayed
from tests.support.vault import FakeVault

SECRET = "canary-7xqTz9-s3cret"
LATEST_S, AT_ONCE_S, BACK_S = 12.0, 1.0, 5.0


class Feed(FakeIndex):
    """An index that answers only who has the PAT."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(f'wheelgate:{SECRET}'.encode()).decode()}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="feed"'})
        return await super().answer(request)


class Mood:
    """What both services do to every question."""

    slow_s = 0.0
    throttled = False

    async def react(self) -> web.StreamResponse | None:
        await asyncio.sleep(self.slow_s)
        return web.Response(status=429, headers={"Retry-After": "30"}) if self.throttled else None


class MoodyVault(FakeVault):
    """A vault that is slow or throttles."""

    def __init__(self) -> None:
        super().__init__(secrets={"team": [SECRET]})
        self.mood = Mood()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.mood.react() or await super().answer(request)


class MoodyEndpoint(FakeIndex):
    """What gives this machine its identity, slow or throttling."""

    def __init__(self) -> None:
        super().__init__()
        self.mood = Mood()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.mood.react() or await super().answer(request)


@dataclass
class Service:
    """One of the two, with the relay before it."""

    mood: Mood
    relay: Relay
    words: str
    """By which clients know it."""


@dataclass
class World:
    """A server whose feed needs a secret of the vault, which needs a token of Entra."""

    server: Gate
    vault: Service
    entra: Service

    def is_silent(self, which: str) -> bool:
        """Whether the gauge of the vault's breaker, or Entra's, says so."""
        label = 'vault="127.0.0.1"' if which == "vault" else 'identity="this machine"'
        metrics = self.server.get("/metrics").body.decode()
        assert f"wheelgate_{which}_breaker_open{{{label}}}" in metrics
        return f"wheelgate_{which}_breaker_open{{{label}}} 1.0" in metrics

    def ask(self, project: str) -> tuple[int, str, float]:
        """Status, sentence and seconds of a page; what has to be true of any answer is."""
        began = time.monotonic()
        answer = self.server.get(f"/simple/{project}/")
        took_s = time.monotonic() - began
        sentence = "" if answer.status == 200 else answer.body.decode()
        assert took_s < LATEST_S
        assert SECRET not in sentence
        if answer.status == 503:
            assert 1 <= int(answer.headers["Retry-After"]) <= 5
        return answer.status, sentence, took_s


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        feed, vault, endpoint = Feed(), MoodyVault(), MoodyEndpoint()
        for project in ("acme-a", "acme-b"):
            feed.publish(project, wheel_name(project, "1.0"), wheel_bytes(project, "1.0"))
        endpoint.handlers["/msi/token"] = Identity(endpoint).answer
        stack.enter_context(running(feed))
        stack.enter_context(running(vault, tls=loopback_tls(tmp_path / "ca.pem")))
        stack.enter_context(running(endpoint))
        before_vault, before_entra = (
            stack.enter_context(relayed(int(served.origin.rpartition(":")[2]))) for served in (vault, endpoint)
        )
        config = (
            f'[server]\nca_file = "{tmp_path / "ca.pem"}"\nkey_vault = "https://127.0.0.1:{before_vault.port}"\n'
            + UPLOADS
            + index_source(feed, "team", private=True, strict=True, fresh="0s", absent="0s")
            + f'[[connection]]\nname = "team"\ntarget = "{feed.origin}"\nauth_type = "PAT"\nvalue = "keyvault:team"\n'
        )
        env = {"IDENTITY_ENDPOINT": f"http://127.0.0.1:{before_entra.port}/msi/token", "IDENTITY_HEADER": HEADER}
        server = stack.enter_context(gate(tmp_path / "gate", config, env=env))
        yield World(
            server,
            Service(vault.mood, before_vault, "key vault 127.0.0.1"),
            Service(endpoint.mood, before_entra, "Microsoft Entra"),
        )
        assert SECRET not in server.log
        assert "Traceback" not in server.log


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    service.relay.freeze()
    yield
    service.relay.come_back()


@contextmanager
def gone(service: Service) -> Iterator[None]:
    service.relay.vanish()
    yield
    service.relay.come_back()


@contextmanager
def throttled(service: Service) -> Iterator[None]:
    service.mood.throttled = True
    yield
    service.mood.throttled = False


BAD_DAYS = [pytest.param(frozen, id="frozen")] + [
    pytest.param(day, id=day.__name__, marks=pytest.mark.long) for day in (gone, throttled)
]


@pytest.mark.parametrize("which", ["vault", pytest.param("entra", marks=pytest.mark.long)])
@pytest.mark.parametrize("bad_day", BAD_DAYS)
def test_it_costs_seconds_once_is_named_and_is_over_soon(
    world: World, which: str, bad_day: Callable[[Service], contextmanager[None]]
) -> None:
    service: Service = getattr(world, which)
    with bad_day(service):
        status, sentence, _ = world.ask("acme-a")
        assert (status, service.words in sentence) == (503, True), sentence
        for project in ("acme-a", "acme-b", "acme-c"):
            status, sentence, took_s = world.ask(project)
            assert (status, service.words in sentence) == (503, True), sentence
            assert took_s < AT_ONCE_S
        if bad_day is not throttled:  # who asks to be left alone has answered
            assert world.is_silent(which)
    back_s = time.monotonic()
    while (answer := world.ask("acme-b"))[0] != 200:
        assert time.monotonic() - back_s < BACK_S, answer
        time.sleep(0.2)
    assert not world.is_silent(which)
    with bad_day(service):  # what was read before serves on
        status, sentence, took_s = world.ask("acme-a")
        assert status == 200, sentence
        assert took_s < AT_ONCE_S


@pytest.mark.long
@pytest.mark.parametrize("which", ["vault", "entra", "both"])
def test_slow_is_not_silent(world: World, which: str) -> None:
    for service in (world.vault, world.entra):
        service.mood.slow_s = 2.0 if which == "both" or service is getattr(world, which) else 0.0
    began_s = time.monotonic()
    while (answer := world.ask("acme-a"))[0] != 200:
        assert answer[0] == 503
        assert time.monotonic() - began_s < LATEST_S
    assert "does not answer" not in world.server.log

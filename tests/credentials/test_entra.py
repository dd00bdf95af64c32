"""Tokens of Microsoft Entra: fetched once however many ask, and renewed before they end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.core.rest import HttpRequest

from tests.support.clock import FakeClock
from wheelgate.core.errors import UpstreamUnavailable
from wheelgate.credentials.azure_transport import AzureTransport
from wheelgate.credentials.entra import EntraIdentity

STORAGE, VAULT = "https://storage.azure.com/.default", "https://vault.azure.net/.default"


class Platform:
    """An azure-identity credential: a new token each time, at once or when it is let go."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.life_s = 3_600
        self.asked: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.closed = 0

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked.append((scopes, options))
        number = len(self.asked)
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return AccessToken(f"token {number}", int(self.clock.now().timestamp()) + self.life_s)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def platform(clock: FakeClock) -> Platform:
    return Platform(clock)


@pytest.fixture
def identity(clock: FakeClock, platform: Platform) -> EntraIdentity:
    return EntraIdentity(clock, platform)


async def test_a_thousand_callers_at_once_fetch_one_token(identity: EntraIdentity, platform: Platform) -> None:
    tokens = await asyncio.gather(*(identity.get_token(STORAGE) for _ in range(1_000)))
    assert {token.token for token in tokens} == {"token 1"}
    assert platform.asked == [((STORAGE,), {})]


async def test_it_is_renewed_five_minutes_before_it_ends(identity: EntraIdentity, platform: Platform, clock: FakeClock) -> None:
    assert (await identity.get_token(STORAGE)).token == "token 1"
    clock.move(3_600 - 301)
    assert (await identity.get_token(STORAGE)).token == "token 1"
    clock.move(2)
    tokens = await asyncio.gather(*(identity.get_token(STORAGE) for _ in range(100)))
    assert {token.token for token in tokens} == {"token 2"}
    assert len(platform.asked) == 2


async def test_a_failure_is_everybodys_who_waited_and_then_forgotten(identity: EntraIdentity, platform: Platform) -> None:
    platform.error = ClientAuthenticationError("no identity here")
    outcomes = await asyncio.gather(*(identity.get_token(STORAGE) for _ in range(1_000)), return_exceptions=True)
    assert all(isinstance(outcome, ClientAuthenticationError) for outcome in outcomes)
    assert len(platform.asked) == 1, "a thousand waiters must not try one after the other"
    platform.error = None
    assert (await identity.get_token(STORAGE)).token == "token 2"


async def test_a_token_that_cannot_be_renewed_serves_as_long_as_it_lives(
    identity: EntraIdentity, platform: Platform, clock: FakeClock
) -> None:
    await identity.get_token(STORAGE)
    platform.error = ClientAuthenticationError("the endpoint is down")
    clock.move(3_600 - 10)
    assert (await identity.get_token(STORAGE)).token == "token 1"
    clock.move(10)
    with pytest.raises(ClientAuthenticationError):
        await identity.get_token(STORAGE)
    platform.error = None
    assert (await identity.get_token(STORAGE)).token == f"token {len(platform.asked)}"


async def test_who_leaves_does_not_take_the_token_with_them(identity: EntraIdentity, platform: Platform) -> None:
    platform.hold = asyncio.Event()
    first = asyncio.create_task(identity.get_token(STORAGE))
    second = asyncio.create_task(identity.get_token(STORAGE))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    platform.hold.set()
    assert (await second).token == "token 1"
    assert len(platform.asked) == 1


async def test_each_scope_and_each_tenant_has_its_own_token(identity: EntraIdentity) -> None:
    tokens = [
        (await identity.get_token(STORAGE)).token,
        (await identity.get_token(VAULT)).token,
        (await identity.get_token(STORAGE, tenant_id="other")).token,
        (await identity.get_token(STORAGE, VAULT)).token,
    ]
    assert tokens == ["token 1", "token 2", "token 3", "token 4"]
    assert (await identity.get_token(STORAGE)).token == "token 1"
    assert (await identity.get_token(STORAGE, tenant_id="other")).token == "token 3"


async def test_a_challenge_with_claims_is_not_answered_from_memory(identity: EntraIdentity, platform: Platform) -> None:
    await identity.get_token(STORAGE)
    assert (await identity.get_token(STORAGE, claims="revoked")).token == "token 2"
    assert platform.asked[-1] == ((STORAGE,), {"claims": "revoked"})
    assert (await identity.get_token(STORAGE)).token == "token 2", "the revoked one must not come back"


async def test_a_claims_challenge_that_fails_is_not_answered_with_the_refused_token(
    identity: EntraIdentity, platform: Platform
) -> None:
    await identity.get_token(STORAGE)
    platform.error = ClientAuthenticationError("no")
    with pytest.raises(ClientAuthenticationError):
        await identity.get_token(STORAGE, claims="revoked")


async def test_it_closes_the_credential(identity: EntraIdentity, platform: Platform) -> None:
    await identity.close()
    assert platform.closed == 1


async def test_what_befell_one_token_is_not_what_befell_another(clock: FakeClock) -> None:
    """azure-identity tells of every failure as if there were no identity: only the transport knows, of each request its own."""
    way, refused, asking = AzureTransport(outbound_proxy="none"), asyncio.Event(), asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asking.set()
        await reader.read()  # until whoever asks has gone
        writer.close()

    silent = await asyncio.start_server(hear, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]

    class Chain:
        async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            async with way.quick_client()["transport"] as transport:
                return await self.ask(transport, scopes)

        async def ask(self, transport: Any, scopes: tuple[str, ...]) -> AccessToken:
            if scopes[0] == STORAGE:
                with contextlib.suppress(ServiceRequestError):
                    await transport.send(HttpRequest("GET", "http://127.0.0.1:9/"))
                refused.set()
                await asking.wait()  # another request begins, which has not failed yet
                raise ClientAuthenticationError("no credential of the chain could be used")
            await refused.wait()
            await transport.send(HttpRequest("GET", f"http://127.0.0.1:{port}/"))
            raise AssertionError

        async def close(self) -> None: ...

    identity = EntraIdentity(clock, Chain(), way)
    other = asyncio.create_task(identity.bearer(VAULT))
    with pytest.raises(UpstreamUnavailable):
        await identity.bearer(STORAGE)
    with pytest.raises(UpstreamUnavailable):
        await other  # nobody waits any longer for what cannot be reached
    await identity.close()
    silent.close()
    await silent.wait_closed()

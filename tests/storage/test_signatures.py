"""Signed URLs: the same within a window, never about to end, and made with a key that outlives them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.storage.blob import UserDelegationKey
from azure.storage.blob.aio import BlobServiceClient

from tests.support.clock import FakeClock
from wheelgate.storage.signatures import Signatures

WINDOW_S, LIFE_S = 900.0, 2_700.0
DAY_S = 86_400.0


class Service:
    """The part of a storage account that gives delegation keys: valid exactly as long as was asked, never above seven days."""

    scheme = "https"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[tuple[datetime, datetime]] = []
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None

    async def get_user_delegation_key(self, start: datetime, expiry: datetime) -> UserDelegationKey:
        self.asked.append((start, expiry))
        number = len(self.asked)
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        assert abs(start - self.clock.now()) < timedelta(days=7)
        assert abs(expiry - self.clock.now()) < timedelta(days=7)
        assert expiry - start < timedelta(days=7)
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid, key.signed_service, key.signed_version = f"key{number}", "tenant", "b", "2026-06-06"
        key.signed_start, key.signed_expiry = f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{expiry:%Y-%m-%dT%H:%M:%SZ}"
        key.value = base64.b64encode(f"secret {number}".encode()).decode()
        return key


class Signed:
    """What a query string says."""

    def __init__(self, query: str) -> None:
        self.fields = {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}
        self.start, self.expiry = self._time("st"), self._time("se")

    def _time(self, name: str) -> datetime:
        return datetime.fromisoformat(self.fields[name])

    @property
    def key(self) -> str:
        return self.fields["skoid"]

    @property
    def key_start(self) -> datetime:
        return self._time("skt")

    @property
    def key_expiry(self) -> datetime:
        return self._time("ske")


@pytest.fixture
def service(clock: FakeClock) -> Service:
    return Service(clock)


Make = Callable[..., Signatures]


@pytest.fixture
async def make(service: Service, clock: FakeClock) -> AsyncIterator[Make]:
    made: list[Signatures] = []

    def signatures(*, key: str | None = None, window_s: float = WINDOW_S, life_s: float = LIFE_S, **more: Any) -> Signatures:
        client = cast(BlobServiceClient, more.get("service", service))
        made.append(Signatures(client, "acct", "c", account_key=key, clock=clock, window_s=window_s, life_s=life_s))
        return made[-1]

    yield signatures
    for one in made:
        await one.close()


@pytest.fixture
def signatures(make: Make) -> Signatures:
    return make()


async def signed(signatures: Signatures, blob: str = "a") -> Signed:
    return Signed(await signatures.query(blob))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_signature_reads_one_blob_by_https_for_the_rest_of_its_life(signatures: Signatures, clock: FakeClock) -> None:
    clock.move(12 * 3600 + 400)
    found = await signed(signatures)
    assert (found.fields["sp"], found.fields["sr"], found.fields["spr"]) == ("r", "b", "https")
    window = clock.now() - timedelta(seconds=400)
    assert found.start == window - timedelta(minutes=15)
    assert found.expiry == window + timedelta(seconds=LIFE_S)
    assert found.fields["rscc"] == "max-age=31536000, immutable"
    assert (await signed(signatures, "b")).fields["sig"] != found.fields["sig"]


async def test_over_http_as_to_the_emulator_a_signature_is_not_bound_to_https(make: Make, service: Service) -> None:
    service.scheme = "http"
    assert "spr" not in (await signed(make())).fields


async def test_within_a_window_it_is_the_same_and_always_has_the_promised_rest(signatures: Signatures, clock: FakeClock) -> None:
    seen = set()
    for _ in range(90):
        query = await signatures.query("a")
        seen.add(query)
        found = Signed(query)
        assert found.start <= clock.now()
        assert found.expiry - clock.now() > timedelta(seconds=LIFE_S - WINDOW_S)
        clock.move(10)
    assert len(seen) == 1
    assert await signatures.query("a") not in seen


async def test_replicas_sign_alike(make: Make, service: Service, clock: FakeClock) -> None:
    key = base64.b64encode(b"account key").decode()
    one, other = make(key=key), make(key=key)
    first = await one.query("a")
    clock.move(300)
    assert await other.query("a") == first
    await make().query("a")
    clock.move(7_000)
    await make().query("a")
    assert service.asked[0] == service.asked[1]


async def test_an_account_key_needs_no_delegation_key(make: Make, service: Service) -> None:
    found = await signed(make(key=base64.b64encode(b"account key").decode()))
    assert "skoid" not in found.fields
    assert service.asked == []


async def test_many_cold_requests_fetch_one_key(signatures: Signatures, service: Service) -> None:
    await asyncio.gather(*(signatures.query(f"blob{n}") for n in range(200)))
    assert len(service.asked) == 1


async def test_the_key_is_asked_for_some_days_and_covers_what_it_signs(
    signatures: Signatures, service: Service, clock: FakeClock
) -> None:
    clock.move(DAY_S - 1)
    found = await signed(signatures)
    ((start, expiry),) = service.asked
    assert timedelta(days=1) < expiry - clock.now() < timedelta(days=7)
    assert start <= found.start
    assert expiry >= found.expiry


@pytest.mark.parametrize(
    ("window_s", "life_s"), [(420.0, 1_100.0), (5_000.0, 6_000.0), (DAY_S * 9, DAY_S * 10), (600.0, DAY_S * 5)]
)
async def test_whatever_was_configured_a_signature_lies_within_its_key(
    make: Make, service: Service, clock: FakeClock, window_s: float, life_s: float
) -> None:
    """It would end with its key, whatever it says itself."""
    signatures = make(window_s=window_s, life_s=life_s)
    for _ in range(60):
        clock.move(7_777)
        found = await signed(signatures)
        assert found.key_start <= found.start <= clock.now() < found.expiry <= found.key_expiry
        await settled()
    assert len(service.asked) <= 7


async def test_the_key_is_renewed_a_day_early_beside_the_requests(
    signatures: Signatures, service: Service, clock: FakeClock
) -> None:
    assert (await signed(signatures)).key == "key1"
    clock.move(DAY_S - 1)
    await signed(signatures)
    await settled()
    assert len(service.asked) == 1
    clock.move(1)
    service.hold = asyncio.Event()
    for n in range(50):
        assert (await signed(signatures, f"blob{n}")).key == "key1", "nobody waits for the renewal"
    await settled()
    assert len(service.asked) == 2
    service.hold.set()
    await settled()
    assert (await signed(signatures, "next")).key == "key2"
    assert len(service.asked) == 2


async def test_a_key_that_cannot_be_renewed_serves_until_it_would_end_too_soon(
    signatures: Signatures, service: Service, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    await signed(signatures)
    (_, expiry) = service.asked[0]
    service.error = ServiceRequestError("down")
    while clock.now() + timedelta(seconds=LIFE_S) <= expiry:
        found = await signed(signatures)
        await settled()
        assert found.key == "key1"
        assert clock.now() < found.expiry <= expiry
        clock.move(WINDOW_S)
    assert "the delegation key could not be renewed yet" in caplog.text
    with pytest.raises(ServiceRequestError):
        await signatures.query("a")
    service.error = None
    assert (await signed(signatures)).key == f"key{len(service.asked)}"


async def test_a_failing_renewal_is_not_tried_at_every_request(
    signatures: Signatures, service: Service, clock: FakeClock
) -> None:
    await signed(signatures)
    clock.move(DAY_S)
    service.error = ServiceRequestError("down")
    for n in range(100):
        await signed(signatures, f"blob{n}")
        await settled()
    assert len(service.asked) == 2
    clock.move(60)
    await signed(signatures, "another")
    await settled()
    assert len(service.asked) == 3


async def test_after_a_long_silence_an_ended_key_never_signs(signatures: Signatures, service: Service, clock: FakeClock) -> None:
    await signed(signatures)
    clock.move(10 * DAY_S)
    service.error = ClientAuthenticationError("refused")
    with pytest.raises(ClientAuthenticationError):
        await signatures.query("a")
    service.error = None
    found = await signed(signatures)
    assert found.key != "key1"
    assert found.key_expiry > clock.now()


async def test_a_failure_is_everybodys_who_waited_and_then_forgotten(signatures: Signatures, service: Service) -> None:
    """One after the other, each would wait for its own time-out."""
    service.error = ServiceRequestError("down")
    outcomes = await asyncio.gather(*(signatures.query(f"b{n}") for n in range(100)), return_exceptions=True)
    assert all(isinstance(outcome, ServiceRequestError) for outcome in outcomes)
    assert len(service.asked) == 1
    service.error = None
    assert (await signed(signatures)).key == "key2"


async def test_who_leaves_does_not_take_the_key_with_them(signatures: Signatures, service: Service) -> None:
    service.hold = asyncio.Event()
    first, second = asyncio.create_task(signatures.query("a")), asyncio.create_task(signatures.query("b"))
    await settled()
    first.cancel()
    await settled()
    service.hold.set()
    assert Signed(await second).key == "key1"
    assert len(service.asked) == 1


async def test_closing_ends_a_renewal_under_way(make: Make, service: Service, clock: FakeClock) -> None:
    signatures = make()
    await signatures.query("a")
    clock.move(DAY_S)
    service.hold = asyncio.Event()
    await signatures.query("a")
    await settled()
    await signatures.close()
    assert len(asyncio.all_tasks()) == 1
    assert clock.now().tzinfo is UTC

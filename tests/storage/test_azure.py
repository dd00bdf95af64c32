"""The store in a container: the contract, on the emulator, and what Azure does that a folder does not."""

from __future__ import annotations

import asyncio
import gzip
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from azure.storage.blob import ContentSettings, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from tests.storage.blob_store_contract import BlobStoreContract
from tests.support.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.support.clock import FakeClock
from tests.support.gate import fetch
from wheelgate.config import Config
from wheelgate.core.errors import BlobExists, CredentialRefused, StoreError
from wheelgate.core.urls import parse
from wheelgate.credentials.keyring import Keyring
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.page_builder import stored_file
from wheelgate.storage.azure import AzureStore, azure_store
from wheelgate.storage.containers import container_place
from wheelgate.storage.spool import Spool

WINDOW_S, LIFE_S = 900.0, 2_700.0


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


@pytest.fixture
async def container(emulator: Azurite) -> str:
    """The URL of an empty container."""
    name = f"c{uuid.uuid4().hex[:12]}"
    async with BlobServiceClient(emulator.url, credential=KEY) as service:
        await service.create_container(name)
    return f"{emulator.url}/{name}"


@pytest.fixture
async def store(container: str) -> AsyncIterator[AzureStore]:
    from wheelgate.wiring import SystemClock

    async with azure_store(
        f"{container}/folder", name="store", credential=KEY, clock=SystemClock(), sas_window_s=WINDOW_S, sas_life_s=LIFE_S
    ) as made:
        await made.prepare()
        yield made


class TestContract(BlobStoreContract):
    """On a folder of a container."""


async def test_a_lost_answer_to_our_own_commit_is_a_success(store: AzureStore, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 100)
    facts = {"sha256": "abc", "upload_time": "2026-01-01T00:00:00.123456+00:00"}
    made = await store.put_if_absent("packages/a/b", body, facts)
    assert await store.put_if_absent("packages/a/b", body, facts) == msgspec.structs.replace(
        made, created=(await store.info("packages/a/b")).created
    )
    with pytest.raises(BlobExists):
        await store.put_if_absent("packages/a/b", body, {**facts, "upload_time": "2026-01-01T00:00:00.123457+00:00"})


async def test_bytes_that_are_called_compressed_are_given_out_as_they_lie(store: AzureStore, emulator: Azurite) -> None:
    """Tools that guess by the name of a ``.tar.gz`` say so of its own compression."""
    body = gzip.compress(bytes(range(256)) * 64, mtime=0)
    async with BlobServiceClient(emulator.url, credential=KEY) as service:
        client = service.get_container_client(store.display_url.rstrip("/").split("/")[-2])
        settings = ContentSettings(content_type="application/x-tar", content_encoding="gzip")
        await client.upload_blob("folder/demo-1.0.tar.gz", body, content_settings=settings)
    assert b"".join([piece async for piece in store.stream("demo-1.0.tar.gz", 0, len(body))]) == body
    assert b"".join([piece async for piece in store.stream("demo-1.0.tar.gz", 5, 9)]) == body[5:9]
    assert (await store.read("demo-1.0.tar.gz"))[0] == body


async def test_two_uploads_of_one_name_never_mix(store: AzureStore, tmp_path: Path) -> None:
    bodies = [bytes([65 + number]) * (9 * 1024 * 1024) for number in range(3)]
    for number, body in enumerate(bodies):
        (tmp_path / str(number)).write_bytes(body)
    puts = (store.put_if_absent("packages/r/r", tmp_path / str(n), {"who": str(n)}) for n in range(3))
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    losers = [outcome for outcome in outcomes if isinstance(outcome, BlobExists)]
    assert len(losers) == 2
    body, info = await store.read("packages/r/r")
    assert body == bodies[int(info.facts["who"])]


async def test_a_missing_container_is_not_a_missing_blob(emulator: Azurite) -> None:
    async with azure_store(
        f"{emulator.url}/nowhere", name="s", credential=KEY, clock=FakeClock(), sas_window_s=WINDOW_S, sas_life_s=LIFE_S
    ) as store:
        for work in (store.prepare(), store.info("a"), store.read("a"), anext(store.list("")), anext(store.stream("a", 0, 1))):
            with pytest.raises(StoreError, match="there is no such container: create it") as caught:
                await work
            assert type(caught.value) is StoreError


async def test_a_refused_credential_is_one_sentence(container: str) -> None:
    async with azure_store(
        container, name="s", credential="d3Jvbmc=", clock=FakeClock(), sas_window_s=WINDOW_S, sas_life_s=LIFE_S
    ) as store:
        with pytest.raises(StoreError, match=r"refused us .*Storage Blob Data Contributor"):
            await store.prepare()


async def test_a_refused_signature_is_explained_and_a_new_one_is_used(container: str, tmp_path: Path) -> None:
    def sign(permission: str, days: int) -> str:
        made: str = generate_container_sas(
            ACCOUNT, container.rpartition("/")[2], account_key=KEY, permission=permission, expiry=now + timedelta(days=days)
        )
        return made

    now, place, clock = datetime.now(UTC), tmp_path / "sas", FakeClock(datetime.now(UTC))
    config = Config.model_validate(
        {
            "connection": [
                {"name": "box", "category": "AzureBlob", "target": container, "auth_type": "SAS", "value": f"file:{place}"}
            ]
        }
    )
    place.write_text(sign("rl", -1))
    keyring = Keyring(config, clock, None)
    async with azure_store(
        container,
        name="s",
        credential=await keyring.for_container(container),
        clock=clock,
        sas_window_s=WINDOW_S,
        sas_life_s=LIFE_S,
    ) as store:

        async def refused(work: Awaitable[object]) -> str:
            with pytest.raises(StoreError, match="s cannot be used: the SAS of connection box ") as caught:
                await work
            assert not {"role", "key", "clock", "identity"} & set(str(caught.value).split())
            return str(caught.value).partition("connection box ")[2]

        ended = f"ended on {now - timedelta(days=1):%Y-%m-%d %H:%M}Z (se): make a new one"
        for work in (anext(store.list("")), store.info("a"), store.put_if_absent("a", b"x", {})):
            assert await refused(work) == ended
        for written, work, said in (
            (sign("r", 1), lambda: anext(store.list("")), "has no right to list (sp=r): make a new one with r and l"),
            (sign("l", 1), lambda: store.read("a"), "has no right to read (sp=l): make a new one with r and l"),
            (
                sign("rl", 1),
                lambda: store.put_if_absent("a", b"x", {}),
                "has no right to write (sp=rl): make a new one with r, c",
            ),
            (sign("rl", 1), lambda: store.replace_if("a", b"x", None), "has no right to write (sp=rl)"),
            (f"https://x/?{sign('rl', 1)}", lambda: store.info("a"), "is a whole URL: give only what follows the ? in it"),
        ):
            place.write_text(written)
            clock.move(60)
            assert (await refused(work())).startswith(said)
        place.write_text(sign("racwdl", 1))
        clock.move(60)
        await store.put_if_absent("a", b"x", {})
        assert (await store.read("a"))[0] == b"x"
        assert await store.signed_url("a") is None
    await keyring.close()


async def test_a_credential_that_is_missing_for_a_moment_is_a_store_that_fails() -> None:
    """Whoever waits for the store to come back (the watch, write-behind, redirects) goes by StoreError alone."""

    class Missing:
        async def get_token(self, *_scopes: str, **_options: object) -> object:
            raise CredentialRefused("connection acme: the secret file:/run/secret is not there", source="")

        async def close(self) -> None:
            pass

    async with azure_store(
        "https://acct.blob.core.windows.net/c",
        name="s",
        credential=Missing(),  # type: ignore[arg-type]
        clock=FakeClock(),
        sas_window_s=WINDOW_S,
        sas_life_s=LIFE_S,
    ) as store:
        for work in (store.info("a"), store.read("a"), anext(store.list("")), store.signed_url("a")):
            with pytest.raises(StoreError, match=r"s cannot be used: connection acme: the secret .* is not there"):
                await work


async def test_a_dead_endpoint_answers_within_seconds() -> None:
    async with (
        azure_store(
            "http://127.0.0.1:9/acct/c", name="s", credential=KEY, clock=FakeClock(), sas_window_s=WINDOW_S, sas_life_s=LIFE_S
        ) as store,
        asyncio.timeout(4),
    ):
        with pytest.raises(StoreError, match="cannot be reached"):
            await store.info("a")


async def test_a_signed_url_reads_one_blob_and_nothing_else(store: AzureStore) -> None:
    await store.put_if_absent("packages/a/a-1+local.tar.gz", b"the body", {})
    await store.put_if_absent("packages/a/other", b"another", {})
    url = await store.signed_url("packages/a/a-1+local.tar.gz")
    assert url is not None
    got = await asyncio.to_thread(fetch, url)
    assert (got.status, got.body) == (200, b"the body")
    assert {name.lower(): value for name, value in got.headers.items()}["cache-control"] == "max-age=31536000, immutable"
    assert (await asyncio.to_thread(fetch, url, {"Range": "bytes=4-7"})).body == b"body"
    assert (await asyncio.to_thread(fetch, url, None, "HEAD")).status == 200
    other = url.replace("a-1%2Blocal.tar.gz", "other")
    assert other != url
    for refused in (other, url.replace("sp=r", "sp=rw"), url.replace("se=20", "se=21"), url.partition("?")[0]):
        assert (await asyncio.to_thread(fetch, refused)).status in (403, 404, 409)
    for method in ("PUT", "DELETE"):
        assert (await asyncio.to_thread(fetch, url, {"Content-Length": "0"}, method)).status in (400, 403, 411)


async def test_urls_are_the_same_within_a_window_and_never_about_to_end(container: str) -> None:
    clock = FakeClock()
    async with azure_store(container, name="s", credential=KEY, clock=clock, sas_window_s=WINDOW_S, sas_life_s=LIFE_S) as store:
        first = await store.signed_url("a")
        clock.move(WINDOW_S - 1)
        assert await store.signed_url("a") == first
        clock.move(1)
        assert await store.signed_url("a") != first
        assert await store.signed_url("a") != await store.signed_url("b")


async def test_an_expired_url_is_refused(container: str) -> None:
    clock = FakeClock()  # long ago
    async with azure_store(container, name="s", credential=KEY, clock=clock, sas_window_s=WINDOW_S, sas_life_s=LIFE_S) as store:
        await store.put_if_absent("a", b"x", {})
        url = await store.signed_url("a")
    assert url is not None
    assert (await asyncio.to_thread(fetch, url)).status == 403


async def test_a_url_works_until_its_end_and_the_next_redirect_carries_a_fresh_one(container: str, tmp_path: Path) -> None:
    """In real time: the emulator's clock decides, as Azure's would."""
    from wheelgate.wiring import SystemClock

    spool = Spool(tmp_path / "spool")
    async with azure_store(container, name="s", credential=KEY, clock=SystemClock(), sas_window_s=1.0, sas_life_s=3.0) as store:
        info = await store.put_if_absent("packages/a/a-1.0.tar.gz", b"the body", {})
        file = stored_file("uploads", "s", "a", "a-1.0.tar.gz", info)
        modes = {"uploads": DeliveryMode.REDIRECT}
        delivery = Delivery(
            store=store, store_mode=DeliveryMode.REDIRECT, modes=modes, clients={}, spool=spool, metrics=Metrics()
        )

        async def redirect() -> str:
            answer = await delivery.open(file, plain=True)
            assert isinstance(answer, Redirect)
            return answer.url

        first = await redirect()
        got = await asyncio.to_thread(fetch, first)
        assert (got.status, got.body) == (200, b"the body")
        end = datetime.fromisoformat(parse(first).query["se"])
        left_s = (end - datetime.now(UTC)).total_seconds()
        assert 1.5 < left_s <= 3.0
        await asyncio.sleep(left_s - 0.7)
        assert (await asyncio.to_thread(fetch, first)).status == 200, "not before its time"
        await asyncio.sleep(1.7)
        assert (await asyncio.to_thread(fetch, first)).status == 403
        second = await redirect()
        assert second != first
        got = await asyncio.to_thread(fetch, second)
        assert (got.status, got.body) == (200, b"the body")
        await delivery.close()


async def test_a_frozen_service_does_not_hang_us(tmp_path: Path) -> None:
    import signal

    with azurite(tmp_path / "frozen") as emulator:
        async with BlobServiceClient(emulator.url, credential=KEY) as service:
            await service.create_container("frozen")
        async with azure_store(
            f"{emulator.url}/frozen", name="s", credential=KEY, clock=FakeClock(), sas_window_s=WINDOW_S, sas_life_s=LIFE_S
        ) as store:
            await store.prepare()
            emulator.process.send_signal(signal.SIGSTOP)
            try:
                async with asyncio.timeout(12):
                    with pytest.raises(StoreError, match="does not answer in time"):
                        await store.info("a")
            finally:
                emulator.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("url", "account", "account_url", "container", "prefix"),
    [
        ("https://acct.blob.core.windows.net/c", "acct", "https://acct.blob.core.windows.net", "c", ""),
        ("https://acct.blob.core.windows.net/c/a/b/", "acct", "https://acct.blob.core.windows.net", "c", "a/b/"),
        ("http://127.0.0.1:10000/acct/c", "acct", "http://127.0.0.1:10000/acct", "c", ""),
    ],
)
def test_a_container_is_found_in_its_url(url: str, account: str, account_url: str, container: str, prefix: str) -> None:
    place = container_place(url)
    assert (place.account, place.account_url, place.container, place.prefix) == (account, account_url, container, prefix)


@pytest.mark.parametrize(
    "url", ["https://acct.blob.core.windows.net/", "http://127.0.0.1:10000/acct", "http://127.0.0.1:10000/", "x"]
)
def test_a_url_without_a_container_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"names no|not an absolute"):
        container_place(url)

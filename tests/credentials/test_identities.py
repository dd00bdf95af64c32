"""Who we are to Microsoft Entra, through azure-identity and a token endpoint on loopback: one request, renewed, rotated, said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.support.entra import APPLICATION, TENANT, Authority, authority, claims_of, managed_identity
from tests.support.index import running
from tests.support.lies import hang_up
from tests.support.tunnels import OutboundProxy, certified, outbound
from tests.support.vault import FakeVault
from wheelgate.config import Connection, References
from wheelgate.core.errors import CredentialRefused, UpstreamUnavailable
from wheelgate.credentials.azure_transport import AzureTransport
from wheelgate.credentials.entra import ServicePrincipal, machine_identity
from wheelgate.credentials.key_vault import KeyVault
from wheelgate.credentials.secrets import Secrets
from wheelgate.storage.azure import azure_store
from wheelgate.wiring import SystemClock

SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default"


@pytest.fixture
def certificates(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.fixture
def entra(certificates: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    with authority(certificates) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@asynccontextmanager
async def principal(
    folder: Path, ca_file: Path | None, proxy: str | None = None, **fields: str
) -> AsyncIterator[ServicePrincipal]:
    async def no_vault(_: str | None) -> object:
        raise AssertionError

    said = {"tenant_id": TENANT, "client_id": APPLICATION, "value": "file:client-secret", **fields}
    connection = Connection(name="acme", target="https://pkgs.dev.azure.com/acme", auth_type="ServicePrincipal", **said)  # type: ignore[arg-type]
    clock = SystemClock()
    secrets = Secrets(References(folder, folder / "secrets.toml"), clock=clock, vault=no_vault)  # type: ignore[arg-type]
    made = ServicePrincipal(connection, secrets, clock, AzureTransport(str(ca_file) if ca_file else None, proxy))
    try:
        yield made
    finally:
        await made.close()
        await secrets.close()
        await hang_up()


async def test_a_thousand_who_ask_at_once_make_one_token_request(entra: Authority, tmp_path: Path) -> None:
    (tmp_path / "client-secret").write_text(entra.client_secret)
    async with principal(tmp_path, tmp_path / "ca.pem") as asked:
        tokens = await asyncio.gather(*(asked.bearer(SCOPE) for _ in range(1_000)))
    assert set(tokens) == set(entra.tokens)
    assert len(entra.asked) == 1
    assert entra.asked[0]["client_secret"] == entra.client_secret


async def test_a_client_secret_that_was_rotated_is_found_where_it_was(entra: Authority, tmp_path: Path) -> None:
    (tmp_path / "client-secret").write_text("expired")
    async with principal(tmp_path, tmp_path / "ca.pem") as asked:
        with pytest.raises(CredentialRefused, match="Microsoft Entra refused the token request: the client secret is wrong"):
            await asked.bearer(SCOPE)
        (tmp_path / "client-secret").write_text(entra.client_secret)
        assert claims_of(await asked.bearer(SCOPE))["aud"] == SCOPE.removesuffix("/.default")


async def test_an_application_signs_in_to_storage_too(entra: Authority, tmp_path: Path) -> None:
    (tmp_path / "client-secret").write_text(entra.client_secret)
    url = "https://acme.blob.core.windows.net/wheels"
    async with (
        principal(tmp_path, tmp_path / "ca.pem") as asked,
        azure_store(url, name="wheels", credential=asked, clock=SystemClock(), sas_window_s=60, sas_life_s=120) as store,
    ):
        assert store.display_url == url
        assert (await asked.get_token(SCOPE)).token in entra.tokens


async def test_an_application_that_nobody_knows_is_said_so(entra: Authority, tmp_path: Path) -> None:
    (tmp_path / "client-secret").write_text(entra.client_secret)
    async with principal(tmp_path, tmp_path / "ca.pem", client_id="44444444-4444-4444-4444-444444444444") as asked:
        with pytest.raises(CredentialRefused, match="there is no such application in that tenant"):
            await asked.bearer(SCOPE)


async def test_an_authority_that_is_not_trusted_gets_no_secret(entra: Authority, tmp_path: Path) -> None:
    (tmp_path / "client-secret").write_text(entra.client_secret)
    async with principal(tmp_path, None) as asked:
        with pytest.raises(UpstreamUnavailable, match="Microsoft Entra cannot be reached"):
            await asked.bearer(SCOPE)
    assert entra.asked == []


async def test_the_operators_certificates_stand_beside_the_machines(
    entra: Authority, certificates: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority for one private index must not lock us out of everything else."""
    (tmp_path / "client-secret").write_text(entra.client_secret)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))  # what this machine trusts
    async with principal(tmp_path, tmp_path / "another.pem") as asked:
        assert await asked.bearer(SCOPE) in entra.tokens


async def test_a_workload_signs_in_with_what_its_cluster_says(
    entra: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "assertion").write_text(entra.assertion)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", APPLICATION)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "assertion"))
    identity = machine_identity(SystemClock(), AzureTransport(str(tmp_path / "ca.pem")))
    assert await identity.bearer(SCOPE) in entra.tokens
    await identity.close()
    await hang_up()
    assert entra.asked[0]["client_assertion"] == entra.assertion


async def test_a_machines_identity_asks_its_platform_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with managed_identity() as platform:
        for name, value in platform.environment.items():
            monkeypatch.setenv(name, value)
        identity = machine_identity(SystemClock(), AzureTransport())
        tokens = await asyncio.gather(*(identity.bearer(SCOPE) for _ in range(1_000)))
        await identity.close()
        await hang_up()
        assert set(tokens) == set(platform.tokens)
        assert platform.token_requests == 1


LOGIN, VAULT = "login.example.com", "acme.vault.azure.net"

Beyond = tuple[OutboundProxy, Authority, FakeVault]


@pytest.fixture
def beyond(certificates: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beyond]:
    """Entra and a vault that nobody reaches without the proxy."""
    vault = FakeVault()
    with authority(certificates, LOGIN) as entra, running(vault, tls=certified(certificates, VAULT)):
        for name, value in entra.environment.items():
            monkeypatch.setenv(name, value)
        ports = {LOGIN: entra.port, VAULT: int(vault.origin.rpartition(":")[2])}
        with outbound(lambda host, port: ports.get(host) if port == 443 else None) as proxy:
            yield proxy, entra, vault


async def test_tokens_are_asked_for_through_the_outbound_proxy(beyond: Beyond, tmp_path: Path) -> None:
    proxy, entra, _ = beyond
    (tmp_path / "client-secret").write_text(entra.client_secret)
    async with principal(tmp_path, tmp_path / "ca.pem", proxy.url) as asked:
        assert await asked.bearer(SCOPE) in entra.tokens
    assert proxy.hosts == {f"{LOGIN}:443"}
    assert entra.client_secret.encode() not in proxy.seen


async def test_a_vault_is_asked_through_the_outbound_proxy_and_the_platform_is_not(
    beyond: Beyond, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads what the platform says to this machine is this machine."""
    proxy, _, vault = beyond
    vault.secrets["team"] = ["the secret"]
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    for outbound_proxy in (proxy.url, None):
        with managed_identity() as platform:
            for name, value in platform.environment.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9" if outbound_proxy else proxy.url)
            proxy.passed.clear()
            way = AzureTransport(str(tmp_path / "ca.pem"), outbound_proxy)
            identity = machine_identity(SystemClock(), way)
            asked = KeyVault(f"https://{VAULT}", identity, way)
            assert (await asked.read("team")).reveal() == "the secret"
            await asked.close()
            await identity.close()
            await hang_up()
            assert platform.token_requests == 1
        assert {passed.line for passed in proxy.passed} == {f"CONNECT {VAULT}:443 HTTP/1.1"}


async def test_the_metadata_service_is_never_asked_through_a_proxy(beyond: Beyond, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, _, _ = beyond
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    for outbound_proxy in (proxy.url, None):
        identity = machine_identity(SystemClock(), AzureTransport(None, outbound_proxy))
        with pytest.raises((CredentialRefused, UpstreamUnavailable)):
            await identity.bearer(SCOPE)
        await identity.close()
        await hang_up()
    assert proxy.passed == []


@pytest.mark.parametrize(
    ("host", "directly"),
    [
        ("169.254.169.254", True),
        ("169.254.131.2", True),
        ("168.63.129.16", True),
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("10.0.0.4", True),
        ("login.microsoftonline.com", False),
        ("20.190.128.1", False),
        ("vault.inside.example.com", True),
    ],
)
def test_who_is_asked_directly(host: str, directly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", ".inside.example.com")
    assert AzureTransport(None, "http://proxy.example.com:3128").goes_directly(host) == directly
    assert AzureTransport(None, "none").goes_directly(host)


async def test_no_proxy_at_all_if_the_settings_say_so(beyond: Beyond, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, entra, _ = beyond
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    (tmp_path / "client-secret").write_text(entra.client_secret)
    async with principal(tmp_path, tmp_path / "ca.pem", "none") as asked:
        with pytest.raises(UpstreamUnavailable, match="^Microsoft Entra cannot be reached$"):
            await asked.bearer(SCOPE)
    assert proxy.passed == []
    async with principal(tmp_path, tmp_path / "ca.pem") as asked:
        assert await asked.bearer(SCOPE) in entra.tokens, "without a setting, the platform's own says the way"


async def test_a_proxy_in_the_way_is_named(beyond: Beyond, tmp_path: Path) -> None:
    proxy, entra, _ = beyond
    proxy.answer = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    (tmp_path / "client-secret").write_text(entra.client_secret)
    async with principal(tmp_path, tmp_path / "ca.pem", proxy.url) as asked:
        with pytest.raises(UpstreamUnavailable) as raised:
            await asked.bearer(SCOPE)
    assert str(raised.value) == f"Microsoft Entra cannot be reached through {proxy.url} (server.outbound_proxy)"

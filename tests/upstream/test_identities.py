"""Who we are to Microsoft Entra, through azure-identity and a token endpoint on loopback: one request, renewed, rotated, said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from proxy.config import Connection, References
from proxy.errors import CredentialRefused, UpstreamUnavailable
from proxy.upstream.credentials import ServicePrincipal, machine_identity
from proxy.upstream.secrets import Secrets
from proxy.wiring import SystemClock
from tests.support.entra import APPLICATION, TENANT, Authority, authority, claims_of, managed_identity
from tests.support.lies import hang_up

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
async def principal(folder: Path, ca_file: Path | None, **fields: str) -> AsyncIterator[ServicePrincipal]:
    async def no_vault(_: str | None) -> object:
        raise AssertionError

    said = {"tenant_id": TENANT, "client_id": APPLICATION, "value": "file:client-secret", **fields}
    connection = Connection(name="acme", target="https://pkgs.dev.azure.com/acme", auth_type="ServicePrincipal", **said)  # type: ignore[arg-type]
    clock = SystemClock()
    secrets = Secrets(References(folder, folder / "secrets.toml"), clock=clock, vault=no_vault)  # type: ignore[arg-type]
    made = ServicePrincipal(connection, secrets, clock, str(ca_file) if ca_file else None)
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
        with pytest.raises(CredentialRefused, match="Microsoft Entra gives none: the client secret is wrong"):
            await asked.bearer(SCOPE)
        (tmp_path / "client-secret").write_text(entra.client_secret)
        assert claims_of(await asked.bearer(SCOPE))["aud"] == SCOPE.removesuffix("/.default")


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
    identity = machine_identity(SystemClock(), str(tmp_path / "ca.pem"))
    assert await identity.bearer(SCOPE) in entra.tokens
    await identity.close()
    await hang_up()
    assert entra.asked[0]["client_assertion"] == entra.assertion


async def test_a_machines_identity_asks_its_platform_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with managed_identity() as platform:
        for name, value in platform.environment.items():
            monkeypatch.setenv(name, value)
        identity = machine_identity(SystemClock(), None)
        tokens = await asyncio.gather(*(identity.bearer(SCOPE) for _ in range(1_000)))
        await identity.close()
        await hang_up()
        assert set(tokens) == set(platform.tokens)
        assert platform.token_requests == 1

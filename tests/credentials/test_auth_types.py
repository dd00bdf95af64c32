"""Secrets by reference: read once however many ask, read again when they may have changed, never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from wheelgate.config import Connection, References
from wheelgate.core.errors import CredentialRefused, UpstreamUnavailable
from wheelgate.core.secret import Secret
from wheelgate.credentials.auth_types import BasicCredential, BearerCredential, EntraCredential, SasCredential, credential_for
from wheelgate.credentials.secrets import Secrets

CANARY = "canary-0123456789"
VAULT = "https://acme.vault.azure.net"


class FakeVault:
    """A key vault that counts its requests."""

    def __init__(self) -> None:
        self.values = {"pat": CANARY}
        self.asked: list[tuple[str | None, str, str | None]] = []
        self.error: Exception | None = None
        self.url: str | None = None

    async def of(self, url: str | None) -> FakeVault:
        self.url = url
        return self

    async def read(self, name: str, version: str | None = None) -> Secret:
        self.asked.append((self.url, name, version))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Secret(self.values[name])


@pytest.fixture
def vault() -> FakeVault:
    return FakeVault()


@pytest.fixture
def secrets(tmp_path: Path, clock: FakeClock, vault: FakeVault) -> Secrets:
    return Secrets(References(tmp_path, tmp_path / "secrets.toml"), clock=clock, vault=vault.of)


def pat(value: str, **fields: str) -> Connection:
    return Connection(name="acme", target="https://pkgs.dev.azure.com/acme", auth_type="PAT", value=value, **fields)  # type: ignore[arg-type]


async def test_a_thousand_who_ask_a_vault_at_once_make_one_request(secrets: Secrets, vault: FakeVault) -> None:
    found = await asyncio.gather(*(secrets.read("keyvault:pat") for _ in range(1_000)))
    assert {secret.reveal() for secret in found} == {CANARY}
    assert vault.asked == [(None, "pat", None)]


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("keyvault:pat", (None, "pat", None)),
        (f"keyvault:{VAULT}/secrets/pat", (VAULT, "pat", None)),
        (f"keyvault:{VAULT}/secrets/pat/{'0' * 32}", (VAULT, "pat", "0" * 32)),
    ],
)
async def test_a_vault_is_named_by_the_settings_or_by_the_reference(
    secrets: Secrets, vault: FakeVault, reference: str, asked: tuple[str | None, str, str | None]
) -> None:
    await secrets.read(reference)
    assert vault.asked == [asked]


@pytest.mark.parametrize(
    "reference", ["keyvault:a b", "keyvault:http://x/secrets/pat", f"keyvault:{VAULT}/keys/pat", "keyvault:../pat"]
)
async def test_what_names_no_secret_of_a_vault_is_not_asked_for(secrets: Secrets, vault: FakeVault, reference: str) -> None:
    with pytest.raises(CredentialRefused, match="must be followed by a secret's name, or its URL"):
        await secrets.read(reference)
    assert vault.asked == []


async def test_a_vaults_secret_is_taken_as_it_is_for_five_minutes(secrets: Secrets, vault: FakeVault, clock: FakeClock) -> None:
    await secrets.read("keyvault:pat")
    vault.values["pat"] = "rotated"
    clock.move(299)
    assert (await secrets.read("keyvault:pat")).reveal() == CANARY
    clock.move(2)
    assert (await secrets.read("keyvault:pat")).reveal() == "rotated"


async def test_a_refused_secret_of_a_vault_is_read_again_but_not_at_every_refusal(
    secrets: Secrets, vault: FakeVault, clock: FakeClock
) -> None:
    credential = BasicCredential(pat("keyvault:pat"), secrets)
    await credential.headers()
    clock.move(11)
    assert not await credential.renew()
    assert [await credential.renew() for _ in range(100)] == [False] * 100
    assert len(vault.asked) == 2, "a vault counts its requests"
    vault.values["pat"] = "rotated"
    clock.move(11)
    before = await credential.headers()
    assert await credential.renew()
    assert await credential.headers() != before
    assert len(vault.asked) == 3


async def test_a_thousand_refusals_at_once_read_the_secret_again_once(
    secrets: Secrets, vault: FakeVault, clock: FakeClock
) -> None:
    refused = await secrets.read("keyvault:pat")
    vault.values["pat"] = "rotated"
    clock.move(11)
    assert set(await asyncio.gather(*(secrets.has_changed("keyvault:pat", refused) for _ in range(1_000)))) == {True}
    assert len(vault.asked) == 2


async def test_who_was_refused_with_the_former_secret_tries_again_with_the_one_that_others_found(
    secrets: Secrets, vault: FakeVault, clock: FakeClock
) -> None:
    refused = await secrets.read("keyvault:pat")
    vault.values["pat"] = "rotated"
    clock.move(301)
    await secrets.read("keyvault:pat")
    assert await secrets.has_changed("keyvault:pat", refused)
    assert len(vault.asked) == 2


async def test_a_vault_that_is_down_leaves_the_refusal_as_it_is(secrets: Secrets, vault: FakeVault, clock: FakeClock) -> None:
    credential = BasicCredential(pat("keyvault:pat"), secrets)
    await credential.headers()
    clock.move(11)
    vault.error = UpstreamUnavailable("the vault cannot be reached")
    assert not await credential.renew()


async def test_a_vault_that_takes_a_secret_away_is_believed(secrets: Secrets, vault: FakeVault, clock: FakeClock) -> None:
    await secrets.read("keyvault:pat")
    clock.move(301)
    vault.error = CredentialRefused("key vault has no secret pat")
    with pytest.raises(CredentialRefused):
        await secrets.read("keyvault:pat")


def _in_file(folder: Path, value: str) -> str:
    (folder / "pat").write_text(value + "\n")
    return "file:pat"


def _in_secrets(folder: Path, value: str) -> str:
    file = folder / "secrets.toml"
    file.touch(mode=0o600)
    file.write_text(f'acme = "{value}"\n')
    return "secret:acme"


@pytest.mark.parametrize("put", [_in_file, _in_secrets], ids=["file", "secrets.toml"])
async def test_a_file_is_read_again_two_seconds_after_it_changed_or_at_a_refusal(
    secrets: Secrets, tmp_path: Path, clock: FakeClock, put: Callable[[Path, str], str]
) -> None:
    reference = put(tmp_path, CANARY)
    refused = await secrets.read(reference)
    put(tmp_path, "rotated-once")
    assert (await secrets.read(reference)).reveal() == CANARY
    clock.move(2)
    assert (await secrets.read(reference)).reveal() == "rotated-once"
    put(tmp_path, "rotated-twice!")
    assert await secrets.has_changed(reference, await secrets.read(reference))
    assert (await secrets.read(reference)).reveal() == "rotated-twice!"
    assert refused.reveal() == CANARY


@pytest.mark.parametrize("value", ["", "two\nlines", "bell\x07"])
async def test_what_can_be_no_secret_is_said_so_without_showing_it(secrets: Secrets, tmp_path: Path, value: str) -> None:
    reference = _in_file(tmp_path, value)
    with pytest.raises(CredentialRefused) as refused:
        await secrets.read(reference)
    assert "lines" not in str(refused.value)
    assert "bell" not in str(refused.value)


async def test_a_missing_secret_names_the_connection(secrets: Secrets) -> None:
    with pytest.raises(CredentialRefused, match="connection acme has no secret: the environment variable NOT_SET is not set"):
        await BasicCredential(pat("env:NOT_SET"), secrets).headers()


@pytest.mark.parametrize(
    ("kind", "fields", "header"),
    [
        (BasicCredential, {"auth_type": "PAT"}, "Basic d2hlZWxnYXRlOmNhbmFyeS0wMTIzNDU2Nzg5"),
        (BasicCredential, {"auth_type": "UsernamePassword", "username": "me"}, "Basic bWU6Y2FuYXJ5LTAxMjM0NTY3ODk="),
        (BearerCredential, {"auth_type": "Bearer"}, f"Bearer {CANARY}"),
        (SasCredential, {"auth_type": "SAS"}, None),
    ],
)
async def test_each_kind_says_what_it_should_and_shows_nothing(
    secrets: Secrets, tmp_path: Path, kind: type, fields: dict[str, str], header: str | None
) -> None:
    value = _in_file(tmp_path, CANARY)
    connection = Connection(name="acme", target="https://index.example/simple", value=value, **fields)  # type: ignore[arg-type]

    async def nobody(asked: Connection) -> str:
        raise AssertionError(asked)

    credential = credential_for(connection, secrets, nobody)
    assert isinstance(credential, kind)
    assert (await credential.headers()).get("Authorization") == header
    signed = await credential.sign_url("https://index.example/x?a=b")
    assert signed == "https://index.example/x?a=b" + (f"&{CANARY}" if header is None else "")
    for shown in (
        repr(credential),
        str(credential),
        repr(connection),
        repr(secrets),
        repr(vars(credential)),
        repr(vars(secrets)),
    ):
        assert CANARY not in shown
        assert "Y2FuYXJ5" not in shown


async def test_a_signature_tells_why_it_is_refused(secrets: Secrets, tmp_path: Path) -> None:
    value = _in_file(tmp_path, f"sv=1&sr=c&sp=l&sig={CANARY}")
    credential = SasCredential(Connection(name="acme", target="https://i.example/x", auth_type="SAS", value=value), secrets)
    now = datetime(2026, 11, 30, tzinfo=UTC)
    assert credential.explain_refusal("", now) is None, "it was not used yet"
    await credential.sign_url("https://i.example/x/y")
    assert (
        credential.explain_refusal("AuthenticationFailed", now)
        == "its SAS has no right to read (sp=l): make a new one with r and l"
    )


async def test_an_identitys_credential_shows_nothing() -> None:
    async def somebody(asked: Connection) -> str:
        assert asked.entra_scope == "499b84ac-1321-427f-aa17-267ca6975798/.default"
        return CANARY

    connection = Connection(name="acme", target="https://pkgs.dev.azure.com/acme", auth_type="ManagedIdentity")
    credential = EntraCredential(connection, somebody)
    assert await credential.headers() == {"Authorization": f"Bearer {CANARY}"}
    assert CANARY not in repr(credential) + repr(vars(credential))


async def test_a_bearer_token_beyond_ascii_is_refused_before_it_breaks_a_header(secrets: Secrets, tmp_path: Path) -> None:
    value = _in_file(tmp_path, "tökén")
    connection = Connection(name="acme", target="https://index.example/simple", auth_type="Bearer", value=value)
    with pytest.raises(CredentialRefused, match="a bearer token is ASCII") as refused:
        await BearerCredential(connection, secrets).headers()
    assert "tök" not in str(refused.value)

"""Secrets behind references: remembered, read again when they may have changed, and nobody asked twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from wheelgate.config import References
from wheelgate.core.errors import CredentialRefused, UpstreamUnavailable
from wheelgate.core.secret import Secret
from wheelgate.credentials.secrets import Secrets

CANARY = "canary-7xq"


class Counted(References):
    """Counts what is really read."""

    reads = 0

    def read(self, reference: str) -> Secret:
        self.reads += 1
        return super().read(reference)


class Vaults:
    """Key vaults that say what the test wants."""

    def __init__(self) -> None:
        self.value = "one"
        self.error: Exception | None = None
        self.asked: list[tuple[str | None, str, str | None]] = []
        self.hold: asyncio.Event | None = None

    async def of(self, url: str | None) -> Vault:
        return Vault(self, url)


class Vault:
    def __init__(self, vaults: Vaults, url: str | None) -> None:
        self._vaults = vaults
        self._url = url

    async def read(self, name: str, version: str | None = None) -> Secret:
        self._vaults.asked.append((self._url, name, version))
        if self._vaults.hold is not None:
            await self._vaults.hold.wait()
        if self._vaults.error is not None:
            raise self._vaults.error
        return Secret(self._vaults.value)


@pytest.fixture
def vaults() -> Vaults:
    return Vaults()


@pytest.fixture
def references(tmp_path: Path) -> Counted:
    return Counted(tmp_path, tmp_path / "secrets.toml")


@pytest.fixture
def secrets(references: Counted, clock: FakeClock, vaults: Vaults) -> Secrets:
    return Secrets(references, clock=clock, vault=vaults.of)


async def shown(secrets: Secrets, reference: str) -> str:
    return (await secrets.read(reference)).reveal()


class TestFiles:
    """`file:` and `secret:`."""

    async def test_a_file_is_read_once_while_it_stays_the_same(
        self, secrets: Secrets, references: Counted, clock: FakeClock, tmp_path: Path
    ) -> None:
        (tmp_path / "pat").write_text("one")
        for _ in range(10):
            assert await shown(secrets, "file:pat") == "one"
            clock.move(3)
        assert references.reads == 1

    async def test_a_changed_file_is_read_within_two_seconds(self, secrets: Secrets, clock: FakeClock, tmp_path: Path) -> None:
        (tmp_path / "pat").write_text("one")
        assert await shown(secrets, "file:pat") == "one"
        (tmp_path / "pat").write_text("three")
        clock.move(1.9)
        assert await shown(secrets, "file:pat") == "one"
        clock.move(0.2)
        assert await shown(secrets, "file:pat") == "three"

    async def test_so_is_the_file_of_secrets(self, secrets: Secrets, references: Counted, clock: FakeClock) -> None:
        references.secrets.put("acme", Secret("one"))
        assert await shown(secrets, "secret:acme") == "one"
        references.secrets.put("acme", Secret("two"))
        clock.move(2.1)
        assert await shown(secrets, "secret:acme") == "two"

    async def test_a_refused_one_is_looked_at_at_once(self, secrets: Secrets, references: Counted, tmp_path: Path) -> None:
        (tmp_path / "pat").write_text("one")
        refused = await secrets.read("file:pat")
        assert not await secrets.has_changed("file:pat", refused)
        (tmp_path / "pat").write_text("two!")
        assert await secrets.has_changed("file:pat", refused)
        assert await shown(secrets, "file:pat") == "two!"
        assert not await secrets.has_changed("file:pat", await secrets.read("file:pat"))

    async def test_a_file_that_is_gone_for_a_moment(self, secrets: Secrets, clock: FakeClock, tmp_path: Path) -> None:
        (tmp_path / "pat").write_text("one")
        refused = await secrets.read("file:pat")
        (tmp_path / "pat").unlink()
        clock.move(2.1)
        with pytest.raises(CredentialRefused, match="the file pat cannot be read"):
            await secrets.read("file:pat")
        assert not await secrets.has_changed("file:pat", refused), "there is no other"
        (tmp_path / "pat").write_text("two")
        assert await shown(secrets, "file:pat") == "two"

    @pytest.mark.parametrize("body", ["one\ntwo", "a\x07b", "a\x00b"])
    async def test_what_no_secret_has(self, secrets: Secrets, tmp_path: Path, body: str) -> None:
        (tmp_path / "pat").write_text(body)
        with pytest.raises(CredentialRefused, match="has characters that no secret has") as caught:
            await secrets.read("file:pat")
        assert body not in str(caught.value)


class TestEnvironment:
    """`env:`."""

    async def test_it_is_read_once(
        self, secrets: Secrets, references: Counted, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(CredentialRefused, match="the environment variable ACME_PAT is not set"):
            await secrets.read("env:ACME_PAT")
        monkeypatch.setenv("ACME_PAT", CANARY)
        for _ in range(5):
            assert await shown(secrets, "env:ACME_PAT") == CANARY
            clock.move(400)
        assert references.reads == 2
        assert not await secrets.has_changed("env:ACME_PAT", Secret(CANARY))


class TestVault:
    """`keyvault:`."""

    async def test_it_is_asked_every_five_minutes(self, secrets: Secrets, vaults: Vaults, clock: FakeClock) -> None:
        assert await shown(secrets, "keyvault:acme") == "one"
        vaults.value = "two"
        clock.move(299)
        assert await shown(secrets, "keyvault:acme") == "one"
        clock.move(2)
        assert await shown(secrets, "keyvault:acme") == "two"
        assert vaults.asked == [(None, "acme", None)] * 2

    @pytest.mark.parametrize(
        ("where", "asked"),
        [
            ("acme-pat", (None, "acme-pat", None)),
            ("https://acme.vault.azure.net/secrets/acme", ("https://acme.vault.azure.net", "acme", None)),
            ("https://acme.vault.azure.net/secrets/acme/", ("https://acme.vault.azure.net", "acme", None)),
            ("https://acme.vault.azure.net/secrets/acme/" + "0a" * 16, ("https://acme.vault.azure.net", "acme", "0a" * 16)),
        ],
    )
    async def test_by_name_and_by_url(self, secrets: Secrets, vaults: Vaults, where: str, asked: object) -> None:
        assert await shown(secrets, f"keyvault:{where}") == "one"
        assert vaults.asked == [asked]

    @pytest.mark.parametrize(
        "where",
        [
            *("a b", "a/b", "../a", "x" * 128, "https://acme.vault.azure.net/", "https://acme.vault.azure.net/keys/acme"),
            *(
                "http://acme.vault.azure.net/secrets/a",
                "https://evil.example.com/secrets/a",
                "https://acme.vault.azure.net.evil.com/secrets/a",
            ),
            *(
                "https://u@acme.vault.azure.net/secrets/a",
                "https://acme.vault.azure.net/secrets/a?x=y",
                "https://evilvault.azure.net/secrets/a",
            ),
        ],
    )
    async def test_our_identity_is_shown_to_vaults_alone(self, secrets: Secrets, vaults: Vaults, where: str) -> None:
        with pytest.raises(CredentialRefused, match="keyvault: must be followed by a secret's name, or its URL"):
            await secrets.read(f"keyvault:{where}")
        assert vaults.asked == []

    async def test_a_refused_one_is_asked_for_again_at_most_every_ten_seconds(
        self, secrets: Secrets, vaults: Vaults, clock: FakeClock
    ) -> None:
        refused = await secrets.read("keyvault:acme")
        vaults.value = "two"
        assert not await secrets.has_changed("keyvault:acme", refused), "it was read this very moment"
        clock.move(10.1)
        assert await secrets.has_changed("keyvault:acme", refused)
        assert await secrets.has_changed("keyvault:acme", refused), "who used the old one may try again too"
        assert await shown(secrets, "keyvault:acme") == "two"
        assert len(vaults.asked) == 2
        for _ in range(100):
            assert not await secrets.has_changed("keyvault:acme", Secret("two"))
        assert len(vaults.asked) == 2

    async def test_a_thousand_at_once_ask_once(self, secrets: Secrets, vaults: Vaults, clock: FakeClock) -> None:
        vaults.hold = asyncio.Event()
        readers = [asyncio.create_task(secrets.read("keyvault:acme")) for _ in range(1_000)]
        await asyncio.sleep(0.01)
        readers[0].cancel()
        vaults.hold.set()
        assert {secret.reveal() for secret in await asyncio.gather(*readers[1:])} == {"one"}
        clock.move(11)
        vaults.value = "two"
        assert all(await asyncio.gather(*(secrets.has_changed("keyvault:acme", Secret("one")) for _ in range(1_000))))
        assert len(vaults.asked) == 2

    async def test_a_vault_that_is_down_does_not_take_a_known_secret_away(
        self, secrets: Secrets, vaults: Vaults, clock: FakeClock
    ) -> None:
        await secrets.read("keyvault:acme")
        vaults.error = UpstreamUnavailable("key vault v cannot be reached")
        clock.move(301)
        for _ in range(100):
            assert await shown(secrets, "keyvault:acme") == "one"
        assert len(vaults.asked) == 2
        clock.move(10.1)
        await secrets.read("keyvault:acme")
        assert len(vaults.asked) == 3
        vaults.error, vaults.value = None, "two"
        clock.move(10.1)
        assert await shown(secrets, "keyvault:acme") == "two"

    async def test_one_that_refuses_us_does(self, secrets: Secrets, vaults: Vaults, clock: FakeClock) -> None:
        await secrets.read("keyvault:acme")
        vaults.error = CredentialRefused("key vault v refuses access to secret acme")
        clock.move(301)
        with pytest.raises(CredentialRefused, match="refuses access to secret acme"):
            await secrets.read("keyvault:acme")

    @pytest.mark.parametrize("error", [CredentialRefused("no"), UpstreamUnavailable("no")])
    async def test_a_failure_is_not_asked_for_again_with_every_request(
        self, secrets: Secrets, vaults: Vaults, clock: FakeClock, error: Exception
    ) -> None:
        vaults.error = error
        for _ in range(100):
            with pytest.raises(type(error), match="no"):
                await secrets.read("keyvault:acme")
        assert len(vaults.asked) == 1
        vaults.error = None
        clock.move(10.1)
        assert await shown(secrets, "keyvault:acme") == "one"
        assert len(vaults.asked) == 2

    async def test_a_secret_that_is_none(self, secrets: Secrets, vaults: Vaults) -> None:
        vaults.value = ""
        with pytest.raises(CredentialRefused, match="the secret is empty"):
            await secrets.read("keyvault:acme")

    async def test_each_reference_has_its_own(self, secrets: Secrets, vaults: Vaults) -> None:
        await asyncio.gather(secrets.read("keyvault:a"), secrets.read("keyvault:b"))
        assert sorted(name for _, name, _ in vaults.asked) == ["a", "b"]


async def test_nothing_prints_it(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "pat").write_text(CANARY)
    found = await secrets.read("file:pat")
    assert CANARY not in f"{found} {found!r} {found:>10} {secrets!r} {vars(secrets)!r}"

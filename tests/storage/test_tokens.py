"""Inbound tokens: what they may, how long, and what is kept of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import WatchedStore
from wheelgate.core.errors import ConfigurationError, StoreError, Unauthenticated
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tokens import Tokens
from wheelgate.web.auth import parse_authorization

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.prepare()
    return made


@pytest.fixture
def tokens(store: LocalStore, clock: FakeClock) -> Tokens:
    return Tokens(store, clock)


async def test_a_token_is_known_by_its_text_and_stored_without_its_secret(tokens: Tokens, store: LocalStore) -> None:
    text, made = await tokens.new(("upload:acme-*", "read"), DAY, "for CI")
    assert await tokens.authenticate(text) == made
    secret = text.split("_")[2]
    kept = b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    assert secret.encode() not in kept
    assert len(secret) == 43
    assert len({(await tokens.new(("read",), DAY))[0] for _ in range(20)}) == 20


async def test_scopes_are_for_names(tokens: Tokens) -> None:
    _, made = await tokens.new(("upload:Acme_*", "read"), DAY)
    assert made.may("upload", "acme-x")
    assert not made.may("upload", "other")
    assert not made.may("upload", "*")
    assert made.may("read", "other")
    assert made.may("read", "*")
    assert made.may_some("upload")


async def test_an_expired_token_is_refused_at_its_second(tokens: Tokens, clock: FakeClock) -> None:
    text, _ = await tokens.new(("read",), DAY)
    clock.move(DAY.total_seconds() - 1)
    await tokens.authenticate(text)
    clock.move(1)
    with pytest.raises(Unauthenticated, match="expired on 2026-01-02"):
        await tokens.authenticate(text)


async def test_a_revoked_token_is_refused_once_the_store_is_read_again(tokens: Tokens) -> None:
    text, made = await tokens.new(("read",), DAY)
    await tokens.authenticate(text)
    assert await tokens.revoke(made.id)
    tokens.forget()
    with pytest.raises(Unauthenticated, match="revoked"):
        await tokens.authenticate(text)
    assert not await tokens.revoke(made.id)


async def test_every_changed_character_is_refused(tokens: Tokens) -> None:
    text, _ = await tokens.new(("read",), DAY)
    for at in range(len(text)):
        other = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(other)
    for wrong in ("", "wgt_", text + "x", text[:-1], f" {text}", "é" * 63):
        with pytest.raises(Unauthenticated, match="not a Wheelgate token"):
            await tokens.authenticate(wrong)


async def test_a_secret_with_a_right_checksum_under_another_id_is_refused(tokens: Tokens) -> None:
    one, _ = await tokens.new(("read",), DAY)
    other, _ = await tokens.new(("read",), DAY)
    from wheelgate.storage.tokens import _checksum

    identifier, secret = one.split("_")[1], other.split("_")[2]
    with pytest.raises(Unauthenticated, match="not known"):
        await tokens.authenticate(f"wgt_{identifier}_{secret}_{_checksum(identifier, secret)}")


@pytest.mark.parametrize("scope", ["", "write", "read:", "upload:a b", "upload:../x", "admin", "read:é"])
async def test_scopes_that_mean_nothing_are_refused(tokens: Tokens, scope: str) -> None:
    with pytest.raises(ConfigurationError, match="--scope"):
        await tokens.new((scope,), DAY)


@pytest.mark.parametrize("days", [0, -1, 367])
async def test_a_life_is_bounded(tokens: Tokens, days: int) -> None:
    with pytest.raises(ConfigurationError, match="--expires"):
        await tokens.new(("read",), timedelta(days=days))


class FailingStore(LocalStore):
    """A store that can be made unreachable."""

    down = False

    def list(self, prefix: str):  # type: ignore[no-untyped-def]
        if self.down:
            raise StoreError("the store cannot be reached")
        return super().list(prefix)


async def test_the_last_known_tokens_serve_for_an_hour_while_the_store_is_down(tmp_path: Path, clock: FakeClock) -> None:
    store = FailingStore(tmp_path / "store")
    store.prepare()
    tokens = Tokens(store, clock)
    text, _ = await tokens.new(("read",), DAY)
    await tokens.authenticate(text)
    store.down = True
    tokens.forget()
    clock.move(3_500)
    await tokens.authenticate(text)
    clock.move(200)
    with pytest.raises(StoreError):
        await tokens.authenticate(text)


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        (None, None),
        ("", None),
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic dXNlcjpwYXNz", "pass"),
        ("basic dXNlcjpwYTpzcw==", "pa:ss"),
        ("Basic dG9rZW46", "token"),  # `https://token@host/`
        ("Basic !!!", None),
        ("Basic /w==", None),
        ("Digest x", None),
    ],
)
def test_the_secret_is_found_where_clients_put_it(header: str | None, secret: str | None) -> None:
    assert parse_authorization(header) == secret


async def test_a_guest_reads_and_leaves_no_trace(tokens: Tokens, store: LocalStore, clock: FakeClock) -> None:
    text = tokens.guest()
    token = await tokens.authenticate(text)
    assert token.may("read", "anything")
    assert not token.may_some("upload")
    assert await tokens.all() == []
    with pytest.raises(Unauthenticated):
        await Tokens(store, clock).authenticate(text)  # another process
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(tokens.guest()[:12] + text[12:])
    clock.move(86_401)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.authenticate(text)


async def test_a_list_that_was_cut_off_is_read_again(clock: FakeClock) -> None:
    """Whatever ends the reading: what was known before may be revoked by now."""
    store = WatchedStore()
    tokens = Tokens(store, clock)
    text, made = await tokens.new(("read",), DAY)
    await tokens.authenticate(text)
    await tokens.revoke(made.id)
    tokens.forget()
    store.holds["list"] = asyncio.Event()
    cut = asyncio.create_task(tokens.authenticate(text))
    await asyncio.sleep(0.01)
    cut.cancel()
    await asyncio.wait([cut])
    store.holds.clear()
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(text)

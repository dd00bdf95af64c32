"""Inbound tokens: what they may, how long, and what is kept of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.stores import WatchedStore
from wheelgate.core.errors import Busy, ConfigurationError, StoreError, Unauthenticated
from wheelgate.core.protocols import BlobStore
from wheelgate.runtime.background import cancel_all
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tokens import Token, Tokens
from wheelgate.web.auth import parse_authorization

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.prepare()
    return made


@pytest.fixture
def tokens(store: LocalStore, clock: FakeClock) -> Tokens:
    return Tokens(store, clock, StoreChanges(store, clock))


class Replica:
    """One process's tokens, and how it hears of others'."""

    def __init__(self, store: BlobStore, clock: FakeClock) -> None:
        self.changes = StoreChanges(store, clock)
        self.tokens = Tokens(store, clock, self.changes)


@pytest.fixture
def watched() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def replica(watched: WatchedStore, clock: FakeClock) -> Replica:
    made = Replica(watched, clock)
    await made.changes.look()
    return made


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


async def test_a_revoked_token_is_refused(tokens: Tokens) -> None:
    text, made = await tokens.new(("read",), DAY)
    await tokens.authenticate(text)
    assert await tokens.revoke(made.id)
    with pytest.raises(Unauthenticated, match="revoked"):
        await tokens.authenticate(text)
    assert not await tokens.revoke(made.id)


async def test_another_replica_learns_of_both_ends_of_a_token_by_its_identifier(
    watched: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    other = Replica(watched, clock)
    await other.changes.look()
    text, made = await replica.tokens.new(("read",), DAY)
    stays, _ = await replica.tokens.new(("read",), DAY)
    for known in (text, stays):
        await other.tokens.authenticate(known)  # a new token is looked up at once, heard of or not
    await other.changes.look()
    token, generation = await other.tokens.authenticate_with_generation(text)
    kept, kept_generation = await other.tokens.authenticate_with_generation(stays)
    clock.move(60)
    await other.changes.look()
    await replica.tokens.revoke(made.id)
    await other.changes.look()
    with pytest.raises(Unauthenticated):
        await other.tokens.authenticate(text)
    assert not other.tokens.still_known(token, generation)
    assert other.tokens.still_known(kept, kept_generation)


async def test_a_token_costs_one_look_up_however_many_there_are(
    watched: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    text, _ = await replica.tokens.new(("read",), DAY)
    for _ in range(20):
        await replica.tokens.new(("read",), DAY)
    clock.move(60)
    await replica.changes.look()
    await replica.changes.look()
    watched.calls.clear()
    for _ in range(5):
        token, generation = await replica.tokens.authenticate_with_generation(text)
        assert replica.tokens.still_known(token, generation)
        await replica.tokens.new(("read",), DAY)
        await replica.changes.look()
    assert [call for call in watched.calls if call[0] in ("list", "read")] == [("read", f"tokens/{token.id}")]


async def test_guessing_costs_one_look_up_an_identifier_and_bounded_memory(watched: WatchedStore, replica: Replica) -> None:
    guess, _ = replica.tokens._mint(("read",), DAY)
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="not known"):
            await replica.tokens.authenticate(guess)
    assert watched.count("read") == 1
    for _ in range(5_100):
        text, _ = replica.tokens._mint(("read",), DAY)
        with pytest.raises(Unauthenticated):
            await replica.tokens.authenticate(text, client=text)
    assert len(replica.tokens._unknown) <= 5_000


async def test_who_guesses_tokens_is_stopped_and_nobody_else(watched: WatchedStore, replica: Replica, clock: FakeClock) -> None:
    known, _ = await replica.tokens.new(("read",), DAY)
    unheard, _ = await replica.tokens.new(("read",), DAY)
    await replica.tokens.authenticate(known, "guesser")
    watched.calls.clear()

    async def guess() -> None:
        text, _ = replica.tokens._mint(("read",), DAY)
        with pytest.raises((Unauthenticated, Busy)):
            await replica.tokens.authenticate(text, "guesser")

    await asyncio.gather(*(guess() for _ in range(500)))
    assert watched.count("read") == 100
    with pytest.raises(Busy, match="came from your address") as caught:
        await replica.tokens.authenticate(unheard, "guesser")
    assert caught.value.retry_after_s == pytest.approx(0.2)
    await replica.tokens.authenticate(known, "guesser")
    await replica.tokens.authenticate(unheard, "somebody else")
    clock.move(2)
    for _ in range(100):
        await guess()
    assert watched.count("read") == 111


async def test_one_right_token_of_many_requests_at_once_is_one_try(watched: WatchedStore, replica: Replica) -> None:
    text, _ = await replica.tokens.new(("read",), DAY)
    replica.tokens._forget(None)
    tries = [replica.tokens.authenticate(text, "farm") for _ in range(300)]
    assert len(await asyncio.gather(*tries)) == 300


async def test_a_look_up_that_was_given_up_is_no_guess(watched: WatchedStore, replica: Replica) -> None:
    texts = [(await replica.tokens.new(("read",), DAY))[0] for _ in range(120)]
    replica.tokens._forget(None)
    watched.holds["read"] = asyncio.Event()
    tasks = [asyncio.create_task(replica.tokens.authenticate(text, "impatient")) for text in texts[:100]]
    await asyncio.sleep(0.01)
    await cancel_all(tasks)
    await replica.tokens._lookups.close()
    del watched.holds["read"]
    for text in texts[100:]:
        await replica.tokens.authenticate(text, "impatient")


async def test_many_right_tokens_of_one_address_are_no_guesses(watched: WatchedStore, replica: Replica) -> None:
    texts = [(await replica.tokens.new(("read",), DAY))[0] for _ in range(300)]
    for text in texts:
        await replica.tokens.authenticate(text, "a company's way out")


def of(token: Token, **other: object) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(token), **other})


@pytest.mark.parametrize("damage", ["", "{", "\xff", "[]", "{}", "other", "naive", "old"])
async def test_a_damaged_record_lets_nobody_in_and_harms_no_other(
    watched: WatchedStore, replica: Replica, clock: FakeClock, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """Empty, half, of other bytes, another token's under this name, with a moment in no time zone, of another format."""
    text, made = await replica.tokens.new(("read",), DAY)
    gone, revoked = await replica.tokens.new(("read",), DAY)
    stays, _ = await replica.tokens.new(("read",), DAY)
    bodies = {
        "other": of(revoked),
        "naive": of(made, expires="2026-01-02T00:00:00"),
        "old": b'{"id":"' + made.id.encode() + b'","hash":"x"}',
    }
    path = f"tokens/{made.id}"
    await watched.replace_if(path, bodies.get(damage, damage.encode("latin-1")), (await watched.info(path)).etag)
    later = Replica(watched, clock)
    await later.changes.look()
    with pytest.raises(Unauthenticated):
        await later.tokens.authenticate(text)
    assert f"{path} is damaged, so it lets nobody in: wheelgate token revoke {made.id}" in caplog.text
    await later.tokens.authenticate(stays)
    await later.tokens.revoke(revoked.id)
    with pytest.raises(Unauthenticated):
        await later.tokens.authenticate(gone)
    listed = {identifier: token async for identifier, token in later.tokens.all()}
    assert len(listed) == 2
    assert listed[made.id] is None
    assert await later.tokens.revoke(made.id)


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


async def test_a_known_token_serves_for_an_hour_while_the_store_is_silent(
    watched: WatchedStore, replica: Replica, clock: FakeClock
) -> None:
    text, _ = await replica.tokens.new(("read",), DAY)
    token, generation = await replica.tokens.authenticate_with_generation(text)
    watched.down()
    clock.move(3_500)
    await replica.tokens.authenticate(text)
    assert not replica.tokens.still_known(token, generation), "each time asked, in vain, and let in"
    clock.move(200)
    with pytest.raises(StoreError):
        await replica.tokens.authenticate(text)


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
    assert [token async for token in tokens.all()] == []
    with pytest.raises(Unauthenticated):
        await Tokens(store, clock, StoreChanges(store, clock)).authenticate(text)  # another process
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(tokens.guest()[:12] + text[12:])
    clock.move(86_401)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.authenticate(text)


async def test_a_look_up_that_was_cut_off_is_made_again(watched: WatchedStore, replica: Replica, clock: FakeClock) -> None:
    """Whatever ends it: what was known before may be revoked by now."""
    text, made = await replica.tokens.new(("read",), DAY)
    await replica.tokens.authenticate(text)
    await Replica(watched, clock).tokens.revoke(made.id)
    await replica.changes.look()
    watched.holds["read"] = asyncio.Event()
    cut = asyncio.create_task(replica.tokens.authenticate(text))
    await asyncio.sleep(0.01)
    cut.cancel()
    await asyncio.wait([cut])
    watched.holds.pop("read").set()
    with pytest.raises(Unauthenticated):
        await replica.tokens.authenticate(text)

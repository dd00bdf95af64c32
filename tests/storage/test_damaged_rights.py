"""Damaged claims, tokens and tombstones in a folder: each decides for itself alone, and towards the safe side."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from wheelgate.core.errors import Unauthenticated
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tokens import Tokens
from wheelgate.storage.tombstones import DAMAGED, Tombstones

Damage = Callable[[Path], object]


def link(file: Path) -> None:
    body = file.rename(file.parents[2] / "elsewhere")
    file.symlink_to(body)


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES: list[Damage] = [
    lambda file: file.write_bytes(b""),
    lambda file: file.write_bytes(file.read_bytes()[:20]),
    lambda file: file.write_bytes(b"\xff\xfe nonsense"),
    lambda file: os.truncate(file, 300 * 1024 * 1024),
    link,
    pipe,
]
IDS = ["empty", "half", "nonsense", "300 MiB", "link", "pipe"]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.prepare()
    return made


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
async def test_a_claim_keeps_its_name_private(store: LocalStore, clock: FakeClock, damage: Damage) -> None:
    claims = Claims(store, clock, StoreChanges(store, clock))
    await claims.claim("acme-lib", "team")
    await claims.claim("acme-other", "team")
    damage(store.root / layout.claim("acme-lib"))
    later = Claims(store, clock, StoreChanges(store, clock))
    assert await later.holds("acme-lib")
    await later.claim("acme-lib", "team")
    assert (await later.get("acme-lib") or pytest.fail("it is gone")).source.startswith("unknown")
    assert (await later.get("acme-other") or pytest.fail("it is gone")).source == "team"


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
async def test_a_token_lets_nobody_in_and_the_others_work(store: LocalStore, clock: FakeClock, damage: Damage) -> None:
    tokens = Tokens(store, clock, StoreChanges(store, clock))
    text, made = await tokens.new(("read",), timedelta(days=1))
    stays, _ = await tokens.new(("read",), timedelta(days=1))
    damage(store.root / layout.token(made.id))
    later = Tokens(store, clock, StoreChanges(store, clock))
    with pytest.raises(Unauthenticated):
        await later.authenticate(text)
    await later.authenticate(stays)
    assert {identifier async for identifier, token in later.all() if token is None} == {made.id}
    assert await later.revoke(made.id)
    assert not await later.revoke(made.id)


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
async def test_a_tombstone_keeps_its_name_from_everybody(store: LocalStore, damage: Damage) -> None:
    tombstones = Tombstones(store)
    await tombstones.write("acme-lib", "a.whl", "1" * 64)
    await tombstones.write("acme-lib", "b.whl", "2" * 64)
    damage(store.root / layout.tombstone("acme-lib", "a.whl"))
    assert await tombstones.find("acme-lib", "a.whl") == DAMAGED
    assert await tombstones.find("acme-lib", "b.whl") == "2" * 64
    assert await tombstones.find_displaced("acme-lib", {"b.whl": "2" * 64, "c.whl": None}) == set()
    assert await tombstones.find_displaced("acme-lib", {"b.whl": "3" * 64}) == {"b.whl"}

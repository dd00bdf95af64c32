"""A store that holds many names and tokens before the soak begins, written as uploads and `token new` write them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import string
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from tests.support.azurite import KEY
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name
from wheelgate.core.errors import BlobExists, StoreError
from wheelgate.core.protocols import BlobStore
from wheelgate.storage import layout
from wheelgate.storage.azure import azure_store
from wheelgate.storage.claims import Claim
from wheelgate.storage.tokens import Token
from wheelgate.wiring.foundation import SystemClock

_AT_ONCE = 8
_TRIES = 20


def open_store(url: str) -> AbstractAsyncContextManager[BlobStore]:
    """The container as the product's own commands write to it."""
    return azure_store(url, name="store", credential=KEY, clock=SystemClock(), sas_window_s=900, sas_life_s=2700)


async def hold(store_url: str, *, names: int, tokens: int) -> None:
    """Write ``names`` projects with a file each, and ``tokens`` tokens that nobody knows."""
    async with open_store(store_url) as store:
        work = [partial(_hold_name, store, f"acme-held-{number}") for number in range(names)]
        work += [partial(_hold_token, store) for _ in range(tokens)]
        waiting = iter(work)
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(_work_off(waiting))


async def _work_off(waiting: Iterator[Callable[[], Awaitable[None]]]) -> None:
    for write in waiting:
        await write()


async def _put(store: BlobStore, path: str, body: bytes, facts: dict[str, str]) -> None:
    """Write a blob, patiently: an emulator on a busy machine is slower than a server's patience."""
    for tried in range(_TRIES):
        try:
            with contextlib.suppress(BlobExists):  # by an earlier try
                await store.put_if_absent(path, body, facts)
            return
        except StoreError:
            await asyncio.sleep(0.2 * tried)
    raise AssertionError(f"{path} cannot be written")


async def _hold_name(store: BlobStore, project: str) -> None:
    now, body, described = datetime.now(UTC), wheel_bytes(project, "1.0"), metadata(project, "1.0")
    facts = {"sha256": sha256(body), "upload_time": now.isoformat(), "metadata_sha256": sha256(described)}
    await _put(store, layout.claim(project), msgspec.json.encode(Claim(project, "uploads", now)), {})
    await _put(store, layout.metadata(sha256(body)), described, {})
    await _put(store, layout.package(project, wheel_name(project, "1.0")), body, facts)


async def _hold_token(store: BlobStore) -> None:
    identifier = "".join(secrets.choice(string.ascii_letters) for _ in range(8))
    now = datetime.now(UTC)
    token = Token(identifier, hashlib.sha256(secrets.token_bytes()).hexdigest(), ("read",), now, now + timedelta(days=30))
    await _put(store, layout.token(identifier), msgspec.json.encode(token), {})

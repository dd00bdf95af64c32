"""Stores: our own with its spool, and the containers of others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobStore
from wheelgate.storage.eviction import CacheLimit
from wheelgate.storage.local import LocalStore
from wheelgate.storage.open_container import open_container
from wheelgate.storage.spool import Spool
from wheelgate.wiring.foundation import Foundation

if TYPE_CHECKING:
    from wheelgate.storage.azure import AzureStore

_STORE = "the store"
"""Its name in locations; no source can be called that."""


async def open_store(base: Foundation, *, to_read: bool) -> BlobStore:
    """Open the store, proven to be there and writable; ``to_read``: a folder that can only be read will do.

    Raises:
        StoreError: it is not.
        ConfigurationError: its key is not available.
    """
    settings = base.config.store
    if settings.url is None or not settings.is_azure:
        local = LocalStore(base.config.store_folder, _STORE)
        try:
            await asyncio.to_thread(local.prepare)
        except StoreError:
            if not (to_read and os.access(local.root, os.R_OK | os.X_OK)):
                raise
        return local
    container = await enter_container(base, _STORE, settings.url, settings.account_key, "store.account_key")
    await container.prepare()
    return container


async def open_spool(base: Foundation, *, to_read: bool) -> Spool:
    """Open the spool, for what is on its way into the store; ``to_read``: nothing is, so any other place will do.

    Raises:
        StoreError: it cannot be written.
    """
    config = base.config
    # Beside a local store, so that a finished body moves into it without being copied.
    spool = Spool(config.data_folder / "spool" if config.store.is_azure else config.store_folder / ".spool")
    try:
        await asyncio.to_thread(spool.prepare)
    except StoreError:
        if not to_read:
            raise
        spool = Spool(Path(base.stack.enter_context(TemporaryDirectory(prefix="wheelgate-"))))
        await asyncio.to_thread(spool.prepare)
    base.stack.callback(spool.close)
    return spool


def build_cache_limit(base: Foundation, store: BlobStore) -> CacheLimit | None:
    """Build the eviction of copies from a local store, if they have a bound."""
    limit_bytes = base.config.store.cache_size
    if limit_bytes is None or not isinstance(store, LocalStore):
        return None
    return CacheLimit(store, limit_bytes=limit_bytes, clock=base.clock)


async def enter_container(base: Foundation, name: str, url: str, account_key: str | None, key: str) -> AzureStore:
    """Open a container by this machine's identity; by an account key only where one is configured (in the setting ``key``).

    Nothing is asked of it yet.

    Raises:
        ConfigurationError: its credential is not available.
    """
    return await base.stack.enter_async_context(
        open_container(
            url, config=base.config, keyring=base.keyring, clock=base.clock, key=key, name=name, account_key=account_key
        )
    )

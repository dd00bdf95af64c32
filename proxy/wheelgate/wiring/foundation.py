"""Foundation of the object graph: clock, metrics, keyring, our store with its spool, and the order things are closed in."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import msgspec

from wheelgate.config import Config
from wheelgate.core.errors import ConfigurationError, StoreError, StoreFull
from wheelgate.core.name_table import NameTable
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.credentials.keyring import Keyring
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.regular_file import hold_open
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.local import LocalStore
from wheelgate.storage.open_container import open_container
from wheelgate.storage.spool import Spool

_STORE = "the store"
"""Its name in locations; no source can be called that."""
_log = logging.getLogger(__name__)


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class _Part(Protocol):
    async def close(self) -> None: ...


_AnyPart = TypeVar("_AnyPart", bound=_Part)


class Foundation(msgspec.Struct, frozen=True, kw_only=True):
    """The ground that every part of the object graph stands on."""

    config: Config
    clock: Clock
    metrics: Metrics
    keyring: Keyring
    ca_file: str | None
    """The private authority that upstreams are trusted by, unless a source has its own."""
    store: BlobStore
    spool: Spool
    changes: StoreChanges
    table: NameTable
    """All names that the process keeps, so that one which several parts know of takes no more room than once."""
    stack: AsyncExitStack

    def closing(self, part: _AnyPart) -> _AnyPart:
        """Have a part closed at the end, before everything that was opened earlier; return it."""
        self.stack.push_async_callback(part.close)
        return part


@asynccontextmanager
async def open_foundation(config: Config, *, to_read: bool, proven: bool, clock: Clock) -> AsyncIterator[Foundation]:
    """Open the ground; everything that was built upon it is closed at the end. ``to_read``: for a command that only looks.

    ``proven`` and ``clock``: as for :func:`wheelgate.wiring.open_services`.

    Raises:
        StoreError: the store or the spool cannot be used.
        ConfigurationError: ``server.ca_file`` cannot be used, or the store's key is not available.
    """
    metrics = Metrics()
    ca_file = check_certificates(config, config.server.ca_file, "server.ca_file")
    async with AsyncExitStack() as stack:
        keyring = Keyring(config, clock, ca_file, metrics)
        stack.push_async_callback(keyring.close)
        if config.store.url is not None and config.store.is_azure:
            container = open_container(
                config.store.url,
                config=config,
                keyring=keyring,
                clock=clock,
                key="store.account_key",
                name=_STORE,
                account_key=config.store.account_key,
                whom=None if proven else config.store.url,  # who runs a command may know where it is
                metrics=metrics,
            )
            blobs = await stack.enter_async_context(container)
            if proven:
                await blobs.prepare()
            store: BlobStore = blobs
        else:
            store = await _open_folder(config, to_read=to_read)
        yield Foundation(
            config=config,
            clock=clock,
            metrics=metrics,
            keyring=keyring,
            ca_file=ca_file,
            store=store,
            spool=await _open_spool(config, stack, to_read=to_read),
            changes=StoreChanges(store, clock),
            table=NameTable(),
            stack=stack,
        )


@asynccontextmanager
async def open_keyring(config: Config) -> AsyncIterator[Keyring]:
    """Build what signs in, without the rest: enough for commands that only store a secret.

    Raises:
        ConfigurationError: ``server.ca_file`` cannot be used.
    """
    keyring = Keyring(config, SystemClock(), check_certificates(config, config.server.ca_file, "server.ca_file"))
    try:
        yield keyring
    finally:
        await keyring.close()


async def _open_folder(config: Config, *, to_read: bool) -> LocalStore:
    """Open a store in a folder, proven to be there and writable; ``to_read``: one that can only be read will do."""
    local = LocalStore(config.store_folder, _STORE)
    try:
        await asyncio.to_thread(local.prepare)
    except StoreError:
        if not (to_read and os.access(local.root, os.R_OK | os.X_OK)):
            raise
    return local


async def _open_spool(config: Config, stack: AsyncExitStack, *, to_read: bool) -> Spool:
    """Open the spool, for what is on its way into the store; ``to_read``: nothing is, so any other place will do."""
    # Beside a local store, so that a finished body moves into it without being copied.
    spool = Spool(config.data_folder / "spool" if config.store.is_azure else config.store_folder / ".spool")
    try:
        await asyncio.to_thread(spool.prepare)
    except StoreFull as error:
        _log.warning("%s: files are passed through and not kept, and uploads are refused", error)
    except StoreError:
        if not to_read:
            raise
        spool = Spool(Path(stack.enter_context(TemporaryDirectory(prefix="wheelgate-"))))
        await asyncio.to_thread(spool.prepare)
    stack.callback(spool.close)
    return spool


def check_certificates(config: Config, file: Path | None, key: str) -> str | None:
    """Return the path of a file of certificates (in the setting ``key``), proven to hold some.

    At once, since every upstream would seem unreachable for want of it.

    Raises:
        ConfigurationError: it is missing or holds none.
    """
    if file is None:
        return None
    path = str(config.folder / file)
    try:
        with hold_open(Path(path)) as handle:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(handle)
    except FileNotFoundError:
        raise ConfigurationError([f"{key}: {path}: there is no such file"]) from None
    except ssl.SSLError:
        raise ConfigurationError([f"{key}: {path} holds no readable certificates (PEM)"]) from None
    except OSError as error:
        raise ConfigurationError([f"{key}: {path} cannot be read: {(error.strerror or str(error)).lower()}"]) from None
    return path

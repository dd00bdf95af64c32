"""The object graph: built here and nowhere else, for the server and for every command.

The order a request meets it: ``web`` asks the *index*. That is :class:`Merged` over the configured sources in their order; each
remote one is a :class:`Cached` around a :class:`SimpleIndex` around its :class:`SourceClient`. A file on the resulting page goes
to *delivery*, which asks the same clients for its bytes, or the *store*.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from proxy.config import Config
from proxy.config import Source as SourceSettings
from proxy.delivery import Delivery, Mode
from proxy.metadata_files import MetadataFiles
from proxy.metrics import Metrics
from proxy.packages import Packages
from proxy.patterns import NamePatterns
from proxy.protocols import BlobStore, Clock, Credential, Source
from proxy.sources.blob_packages import BlobPackages
from proxy.sources.blob_scan import BlobScan
from proxy.sources.cached import Cached
from proxy.sources.described import Described
from proxy.sources.directory import Directory
from proxy.sources.merged import Member, Merged, MergeRule
from proxy.sources.simple_index import SimpleIndex
from proxy.spool import Spool
from proxy.storage import layout
from proxy.storage.changes import StoreChanges
from proxy.storage.claims import Claims
from proxy.storage.local import LocalStore
from proxy.tokens import Tokens
from proxy.uploads import Uploads
from proxy.upstream.client import SourceClient

if TYPE_CHECKING:
    from proxy.upstream.credentials import EntraIdentity

VERSION = version("wheelgate")


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """See :class:`~proxy.protocols.Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See :class:`~proxy.protocols.Clock`."""
        return time.monotonic()


class NoCredentials:
    """A :class:`~proxy.protocols.Credentials` without any."""

    def for_url(self, url: str) -> Credential | None:  # noqa: ARG002
        """Nothing, for any URL."""
        return None


class Wheelgate(msgspec.Struct, frozen=True):
    """Everything a server or a command works with."""

    config: Config
    metrics: Metrics
    store: BlobStore
    changes: StoreChanges
    claims: Claims
    index: Merged
    delivery: Delivery
    metadata_files: MetadataFiles
    uploads: Uploads
    packages: Packages
    tokens: Tokens
    spool: Spool


@asynccontextmanager
async def wheelgate(config: Config, *, clock: Clock | None = None) -> AsyncIterator[Wheelgate]:
    """The graph of one process, closed in reverse order at the end.

    Sources that look around by themselves (a scanned container) begin with the first question.

    Raises:
        StoreError: the store or the spool cannot be used.
    """
    clock = clock or SystemClock()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        store = await _store(config, clock, stack)
        # Beside a local store, so that a finished body moves into it without being copied.
        spool = Spool(config.data / "spool" if config.store.is_azure else config.store_folder / ".spool")
        await asyncio.to_thread(spool.prepare)
        stack.callback(spool.close)
        changes = StoreChanges(store)
        claims = Claims(store, clock, changes)
        changes.subscribe(claims.forget)
        tokens = Tokens(store, clock)
        changes.subscribe(tokens.forget)

        clients: dict[str, SourceClient] = {}
        members = []
        other_stores: dict[str, BlobStore] = {}
        for number, settings in enumerate(config.source):
            source: Source
            if settings.type == "blob":
                other_stores[settings.name] = blobs = await _blob_store(config, number, clock, stack)
                listed = _blob_source(settings, blobs, clock, metrics, stack)
                source = Described(listed, blobs=blobs, store=store, spool=spool)
                stack.push_async_callback(source.close)
            else:
                source = _source(settings, config, store, changes, clients, clock, metrics, stack)
            only = NamePatterns(settings.only) if settings.only is not None else None
            members.append(Member(source, settings.is_private, only))
        index = Merged(
            members,
            claims=claims,
            clock=clock,
            metrics=metrics,
            reserved=NamePatterns(config.policy.reserved),
            merges=[MergeRule(NamePatterns(m.names), tuple(m.sources)) for m in config.policy.merge],
        )
        delivery = Delivery(
            store=store,
            store_mode=Mode(config.store.delivery),
            other_stores=other_stores,
            modes=_modes(config),
            clients=clients,
            spool=spool,
            metrics=metrics,
        )
        stack.push_async_callback(delivery.close)
        metadata_files = MetadataFiles(store=store, clients=clients)
        stack.push_async_callback(metadata_files.close)
        uploads = Uploads(
            store=store,
            source=next((settings.name for settings in config.source if settings.type == "store"), None),
            index=index,
            claims=claims,
            changes=changes,
            clock=clock,
            metrics=metrics,
        )
        yield Wheelgate(
            config,
            metrics,
            store,
            changes,
            claims,
            index,
            delivery,
            metadata_files,
            uploads,
            Packages(store, changes),
            tokens,
            spool,
        )


@asynccontextmanager
async def watching(changes: StoreChanges) -> AsyncIterator[None]:
    """Hear of changes that other processes make to the store, as long as this runs."""
    task = asyncio.create_task(changes.watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _store(config: Config, clock: Clock, stack: AsyncExitStack) -> BlobStore:
    """The store, proven to be there and writable."""
    if not config.store.is_azure:
        local = LocalStore(config.store_folder)
        await asyncio.to_thread(local.prepare)
        return local
    from proxy.storage.azure import azure_store  # a tenth of a second and 20 MB that a folder does not need

    container = await stack.enter_async_context(
        azure_store(
            config.store.url or "",
            name="store",
            credential=await _storage_credential(config, config.store.account_key, "store.account_key", clock, stack),
            clock=clock,
            sas_window_s=config.store.sas_window,
            sas_life_s=config.store.sas_life,
            ca_file=_path(config, config.server.ca_file),
        )
    )
    await container.prepare()
    return container


async def _storage_credential(
    config: Config, reference: str | None, key: str, clock: Clock, stack: AsyncExitStack
) -> EntraIdentity | str:
    """This machine's identity; an account key only where one is configured."""
    if reference is not None:
        return config.secret(reference, key).reveal()
    from proxy.upstream.credentials import EntraIdentity

    return await stack.enter_async_context(EntraIdentity(clock))


async def _blob_store(config: Config, number: int, clock: Clock, stack: AsyncExitStack) -> BlobStore:
    """The container of a blob source. Nothing is asked of it yet: one that is down must not stop the others."""
    from proxy.storage.azure import azure_store

    settings = config.source[number]
    key = f"source[{number}].account_key"
    return await stack.enter_async_context(
        azure_store(
            settings.url or "",
            name=settings.name,
            credential=await _storage_credential(config, settings.account_key, key, clock, stack),
            clock=clock,
            sas_window_s=config.store.sas_window,
            sas_life_s=config.store.sas_life,
            ca_file=_path(config, config.server.ca_file),
        )
    )


def _blob_source(settings: SourceSettings, store: BlobStore, clock: Clock, metrics: Metrics, stack: AsyncExitStack) -> Source:
    if settings.layout == "project":
        packages = BlobPackages(name=settings.name, store=store, prefix="", clock=clock, names_fresh_s=settings.fresh_s)
        cached = Cached(packages, clock=clock, metrics=metrics, fresh_s=settings.fresh_s, absent_s=settings.absent)
    else:
        scan = BlobScan(name=settings.name, store=store, clock=clock, interval_s=settings.fresh_s)
        stack.push_async_callback(scan.close)
        cached = Cached(scan, clock=clock, metrics=metrics, fresh_s=0.0, absent_s=0.0)  # the scan itself is what is remembered
    stack.push_async_callback(cached.close)
    return cached


def _source(
    settings: SourceSettings,
    config: Config,
    store: BlobStore,
    changes: StoreChanges,
    clients: dict[str, SourceClient],
    clock: Clock,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Source:
    if settings.type == "directory":
        directory = Directory(name=settings.name, root=config.source_folder(settings), clock=clock)
        stack.push_async_callback(directory.close)
        return directory
    if settings.type == "store":
        packages = BlobPackages(name=settings.name, store=store, prefix=layout.PACKAGES, clock=clock)
        changes.subscribe(packages.forget)
        # Fresh until somebody announces a change: a listing per page would be a round trip per page.
        cached = Cached(packages, clock=clock, metrics=metrics, fresh_s=math.inf, absent_s=math.inf)
        changes.subscribe(cached.drop)
        stack.push_async_callback(cached.close)
        return cached
    client = clients[settings.name] = SourceClient(
        source=settings.name,
        url=settings.index_url,
        file_hosts=settings.all_file_hosts,
        credentials=NoCredentials(),
        clock=clock,
        metrics=metrics,
        user_agent=f"wheelgate/{VERSION}",
        ca_file=_path(config, config.server.ca_file),
    )
    stack.push_async_callback(client.close)
    index = SimpleIndex(name=settings.name, url=settings.index_url, client=client, clock=clock, metrics=metrics)
    cached = Cached(
        index,
        clock=clock,
        metrics=metrics,
        fresh_s=settings.fresh_s,
        absent_s=settings.absent,
        strict=settings.strict,
    )
    stack.push_async_callback(cached.close)
    return cached


def _modes(config: Config) -> Mapping[str, Mode]:
    defaults = {"store": Mode.REDIRECT, "blob": Mode.REDIRECT, "directory": Mode.STREAM, "index": Mode.CACHE}
    return {s.name: Mode(s.delivery) if s.delivery else defaults[s.type] for s in config.source}


def _path(config: Config, path: Path | None) -> str | None:
    return str(config.folder / path) if path is not None else None

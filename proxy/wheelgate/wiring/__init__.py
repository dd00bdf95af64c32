"""The object graph: built here and nowhere else, for the server and for every command.

The order in which a request meets what is built here::

    web             what the client wants, and whether it may
    index           Merged: who may answer for this project
    each source     Screened, EnrichedSource, Cached, the source itself       (sources.py, in this order)
    delivery        a file of the resulting page: from the store, or by the same client as the page

Below them stand the store and the spool (``stores.py``), and what all of them share (``foundation.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wheelgate.config import Config
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.credentials.keyring import Keyring
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.files.wheel_reader import WheelReader
from wheelgate.index.merged import Merged
from wheelgate.index.policy_reload import PolicyReload, merges_of, rules_of
from wheelgate.index.screened import RuleBook
from wheelgate.services import Services
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.spool import Spool
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.accept import Uploads
from wheelgate.uploads.manage import UploadManager
from wheelgate.wiring.foundation import Foundation, SystemClock, open_foundation
from wheelgate.wiring.sources import Sources
from wheelgate.wiring.stores import build_cache_limit, open_spool, open_store

__all__ = ["Services", "SystemClock", "open_keyring", "open_services"]

_DELIVERY = {"store": "redirect", "blob": "redirect", "directory": "stream"}
"""How the files of a type of source leave unless its settings say otherwise; remote ones go through the cache."""


@asynccontextmanager
async def open_services(config: Config, *, clock: Clock | None = None, to_read: bool = False) -> AsyncIterator[Services]:
    """Build the services of one process, and close them in reverse order. ``to_read``: for a command that only looks.

    Raises:
        StoreError: the store or the spool cannot be used.
        ConfigurationError: a secret that the settings refer to is not available.
    """
    async with open_foundation(config, clock) as base:
        store = await open_store(base, to_read=to_read)
        spool = await open_spool(base, to_read=to_read)
        changes = StoreChanges(store)
        claims = Claims(store, base.clock, changes)
        changes.subscribe(claims.forget)
        tokens = Tokens(store, base.clock)
        changes.subscribe(tokens.forget)

        book = RuleBook(rules_of(config))
        sources = Sources(base, store=store, spool=spool, changes=changes, book=book)
        index = Merged(
            [await sources.member(number, settings) for number, settings in enumerate(config.source)],
            claims=claims,
            clock=base.clock,
            metrics=base.metrics,
            reserved=NamePatterns(config.policy.reserved),
            merges=merges_of(config),
            offline=config.server.offline,
        )
        changes.subscribe(index.invalidate)
        for telling in sources.telling:
            telling.subscribe(index.invalidate)

        delivery = _build_delivery(base, store, spool, sources)
        changes.subscribe(delivery.forget)
        metadata_files = _build_metadata_files(base, store, spool, sources, delivery)
        yield Services(
            config=config,
            clock=base.clock,
            metrics=base.metrics,
            store=store,
            changes=changes,
            claims=claims,
            rules=book,
            enforcement=PolicyReload(config, book, index, sources.again),
            index=index,
            delivery=delivery,
            metadata_files=metadata_files,
            targets=sources.targets,
            uploads=Uploads(
                store=store,
                targets=sources.targets,
                index=index,
                claims=claims,
                changes=changes,
                clock=base.clock,
                metrics=base.metrics,
            ),
            packages=UploadManager(sources.targets, store=store, changes=changes),
            tokens=tokens,
            spool=spool,
            containers=sources.stores,
            keyring=base.keyring,
        )


def _build_delivery(base: Foundation, store: BlobStore, spool: Spool, sources: Sources) -> Delivery:
    config = base.config
    delivery = Delivery(
        store=store,
        store_mode=DeliveryMode(config.store.delivery),
        other_stores=sources.stores,
        modes={
            settings.name: DeliveryMode(settings.delivery or _DELIVERY.get(settings.type, "cache")) for settings in config.source
        },
        clients=sources.clients,
        spool=spool,
        metrics=base.metrics,
        recorders=sources.recorders,
        cache_limit=build_cache_limit(base, store),
    )
    base.stack.push_async_callback(delivery.close)
    return delivery


def _build_metadata_files(
    base: Foundation, store: BlobStore, spool: Spool, sources: Sources, delivery: Delivery
) -> MetadataFiles:
    stores = {**sources.stores, store.name: store}
    metadata_files = MetadataFiles(
        store=store,
        clients=sources.clients,
        wheels=WheelReader(stores=stores, clients=sources.clients, delivery=delivery, spool=spool),
        recorders=sources.recorders,
        clock=base.clock,
    )
    base.stack.push_async_callback(metadata_files.close)
    for described in sources.described_ahead:
        described.read_ahead(metadata_files.body)
        base.stack.push_async_callback(described.close)  # before what it asks
    return metadata_files


@asynccontextmanager
async def open_keyring(config: Config) -> AsyncIterator[Keyring]:
    """Build what signs in, without the rest: for commands that only store a secret."""
    async with open_foundation(config) as base:
        yield base.keyring

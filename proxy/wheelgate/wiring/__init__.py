"""The object graph: built here and nowhere else, for the server and for every command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wheelgate.config import Config
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Clock
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.files.index_documents import IndexDocuments
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.files.wheel_reader import WheelReader
from wheelgate.index.merged import Merged
from wheelgate.index.policy_reload import PolicyReload, merges_of, rules_of
from wheelgate.index.screened import RuleBook
from wheelgate.services import Services
from wheelgate.sources.other_callers import OtherCallers
from wheelgate.storage.change_log import Kind
from wheelgate.storage.claims import Claims
from wheelgate.storage.eviction import CacheLimit
from wheelgate.storage.local import LocalStore
from wheelgate.storage.token_expiry import ExpiredTokens
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.accept import Uploads
from wheelgate.uploads.manage import UploadManager
from wheelgate.wiring.foundation import Foundation, SystemClock, open_foundation, open_keyring
from wheelgate.wiring.sources import Sources
from wheelgate.wiring.views import Views

__all__ = ["Services", "SystemClock", "open_keyring", "open_services"]

_DELIVERY = {"store": "redirect", "blob": "redirect", "directory": "stream"}
"""How the files of a type of source leave unless its settings say otherwise; remote ones go through the cache."""


@asynccontextmanager
async def open_services(
    config: Config, *, to_read: bool = False, proven: bool = True, clock: Clock | None = None
) -> AsyncIterator[Services]:
    """Build the services of one process, and close them in reverse order. ``to_read``: for a command that only looks.

    ``proven``: what is asked first of a container is whether it can be written; ``False``: whatever a command asks will tell.
    ``clock``: what all parts go by; ``None``: the machine's time.

    Raises:
        StoreError: the store or the spool cannot be used.
        ConfigurationError: a secret that the settings refer to is not available.
    """
    async with open_foundation(config, to_read=to_read, proven=proven, clock=clock or SystemClock()) as base:
        store, changes, clock = base.store, base.changes, base.clock
        claims = base.closing(Claims(store, clock, changes, table=base.table, metrics=base.metrics))
        tokens = Tokens(store, base.clock, changes)
        book = RuleBook(rules_of(config), NamePatterns(config.policy.reserved))
        views = Views(base, book, claims)
        sources = Sources(base, views)
        index = await _build_index(base, sources, book, claims)
        delivery = _build_delivery(base, sources)
        targets = sources.targets
        uploads = Uploads(
            store=store, targets=targets, index=index, claims=claims, changes=changes, clock=clock, metrics=base.metrics
        )
        base.closing(uploads)
        yield Services(
            clock=base.clock,
            metrics=base.metrics,
            store=store,
            changes=changes,
            claims=claims,
            rules=book,
            enforcement=PolicyReload(config, book, index),
            callers=_build_callers(base, sources),
            index=index,
            delivery=delivery,
            metadata_files=_build_metadata_files(base, sources, delivery),
            index_documents=_build_documents(base, sources, delivery),
            targets=sources.targets,
            uploads=uploads,
            packages=UploadManager(sources.targets, store=store, changes=changes),
            tokens=tokens,
            expired_tokens=ExpiredTokens(store, base.clock, tokens),
            spool=base.spool,
            scans=sources.scans,
            containers=sources.stores,
            clients=sources.clients,
            absences=sources.absences,
            public_names=views.watches,
            keyring=base.keyring,
        )


async def _build_index(base: Foundation, sources: Sources, book: RuleBook, claims: Claims) -> Merged:
    config = base.config
    index = Merged(
        [await sources.build_member(number, settings) for number, settings in enumerate(config.source)],
        claims=claims,
        clock=base.clock,
        metrics=base.metrics,
        reserved=book.reserved,
        merges=merges_of(config),
        offline=config.server.offline,
    )
    for kind in (Kind.PACKAGE, Kind.CLAIM):
        base.changes.subscribe(kind, index.invalidate)
    sources.changed.subscribe(index.invalidate)
    return index


def _build_callers(base: Foundation, sources: Sources) -> OtherCallers:
    return OtherCallers(
        [source for source in base.config.source if source.is_remote and not base.config.is_offline(source)],
        find_connection=base.keyring.find_connection,
        forget_answers=sources.forget_answers,
    )


def _build_delivery(base: Foundation, sources: Sources) -> Delivery:
    settings, store = base.config.store, base.store
    cache_limit = None
    if settings.cache_size is not None and isinstance(store, LocalStore):
        cache_limit = CacheLimit(store, limit_bytes=settings.cache_size, clock=base.clock)
    delivery = Delivery(
        store=store,
        store_mode=DeliveryMode(settings.delivery),
        other_stores=sources.stores,
        modes={
            source.name: DeliveryMode(source.delivery or _DELIVERY.get(source.type, "cache")) for source in base.config.source
        },
        clients=sources.clients,
        spool=base.spool,
        metrics=base.metrics,
        recorders=sources.recorders,
        cache_limit=cache_limit,
    )
    base.changes.subscribe(Kind.RECORD, lambda _: delivery.forget())
    return base.closing(delivery)


def _build_documents(base: Foundation, sources: Sources, delivery: Delivery) -> IndexDocuments:
    documents = IndexDocuments(
        store=base.store, clients=sources.clients, keeps=delivery.keeps, ask_again=sources.ask_again, clock=base.clock
    )
    return base.closing(documents)


def _build_metadata_files(base: Foundation, sources: Sources, delivery: Delivery) -> MetadataFiles:
    stores = {**sources.stores, base.store.name: base.store}
    metadata_files = MetadataFiles(
        store=base.store,
        clients=sources.clients,
        wheels=WheelReader(stores=stores, clients=sources.clients, delivery=delivery, spool=base.spool),
        recorders=sources.recorders,
        clock=base.clock,
    )
    base.closing(metadata_files)
    delivery.inspect = metadata_files.compare
    for enriched, ahead in sources.completed:
        enriched.complete_pages(metadata_files.describe, choose=ahead.choose)
        base.closing(enriched)  # before what it asks
    return metadata_files

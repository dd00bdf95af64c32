"""The object graph: built here and nowhere else, for the server and for every command.

The order a request meets it: ``web`` asks the *index*. That is :class:`Merged` over the configured sources in their order; each
remote one is a :class:`Described` (with the :class:`Memory` of its files) around a :class:`Cached` around a :class:`SimpleIndex`
around its :class:`SourceClient`. A file on the resulting page goes
to *delivery*, which asks the same clients for its bytes, or the *store*.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.config import NO_PROXY, Config
from proxy.config import Source as SourceSettings
from proxy.delivery import Delivery, Mode, Notebook
from proxy.enforcement import Enforcement, merges_of, reserved_of, rules_of
from proxy.errors import ConfigurationError, UpstreamError
from proxy.metadata_files import MetadataFiles
from proxy.metrics import Metrics
from proxy.packages import Packages
from proxy.patterns import NamePatterns
from proxy.protocols import BlobStore, Clock, Source
from proxy.provenance_files import ProvenanceFiles
from proxy.sources.blob_packages import BlobPackages
from proxy.sources.blob_scan import BlobScan
from proxy.sources.cached import Cached
from proxy.sources.decision import Member
from proxy.sources.described import Described
from proxy.sources.described_blobs import DescribedBlobs
from proxy.sources.devops_feed import DEVOPS_HEADERS, DevopsFeed
from proxy.sources.directory import Directory
from proxy.sources.github_releases import GITHUB_HEADERS, GithubReleases
from proxy.sources.held import Held
from proxy.sources.memory import Memory
from proxy.sources.merged import Merged
from proxy.sources.screened import RuleBook, Screened
from proxy.sources.simple_index import SimpleIndex
from proxy.spool import Spool
from proxy.storage import layout
from proxy.storage.changes import StoreChanges
from proxy.storage.claims import Claims
from proxy.storage.eviction import CacheLimit
from proxy.storage.local import LocalStore
from proxy.storage.records import Records
from proxy.targets import Target
from proxy.tokens import Tokens
from proxy.uploads import Uploads
from proxy.upstream.client import SourceClient
from proxy.upstream.keyring import Keyring
from proxy.wheel_reader import WheelReader

if TYPE_CHECKING:
    from proxy.storage.azure import AzureStore

VERSION = version("wheelgate")


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """See :class:`~proxy.protocols.Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See :class:`~proxy.protocols.Clock`."""
        return time.monotonic()


class Wheelgate(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a server or a command works with."""

    config: Config
    clock: Clock
    metrics: Metrics
    store: BlobStore
    changes: StoreChanges
    claims: Claims
    rules: RuleBook
    enforcement: Enforcement
    index: Merged
    delivery: Delivery
    metadata_files: MetadataFiles
    provenance_files: ProvenanceFiles
    targets: Sequence[Target]
    uploads: Uploads
    packages: Packages
    tokens: Tokens
    spool: Spool
    keyring: Keyring


@asynccontextmanager
async def wheelgate(config: Config, *, clock: Clock | None = None) -> AsyncIterator[Wheelgate]:
    """The graph of one process, closed in reverse order at the end.

    Raises:
        StoreError: the store or the spool cannot be used.
        ConfigurationError: a secret that the settings refer to cannot be had.
    """
    clock = clock or SystemClock()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        ca_file = _certificates(config, config.server.ca_file, "server.ca_file")
        keyring = Keyring(config, clock, ca_file)
        stack.push_async_callback(keyring.close)
        assembly = _Assembly(config, clock, metrics, stack, keyring, ca_file)
        store = await assembly.store()
        # Beside a local store, so that a finished body moves into it without being copied.
        spool = Spool(config.data_folder / "spool" if config.store.is_azure else config.store_folder / ".spool")
        await asyncio.to_thread(spool.prepare)
        stack.callback(spool.close)
        changes = StoreChanges(store)
        claims = Claims(store, clock, changes)
        changes.subscribe(claims.forget)
        tokens = Tokens(store, clock)
        changes.subscribe(tokens.forget)

        book = RuleBook(rules_of(config))
        members = []
        for number, settings in enumerate(config.source):
            match settings.type:
                case "store":
                    source = assembly.uploads(settings, store, changes)
                case "blob":
                    source = await assembly.container(number, settings, store, spool, changes)
                case "directory":
                    source = assembly.directory(settings)
                case _ if config.is_offline(settings):
                    source = assembly.held(settings, store)
                case "index" | "devops" | "github":
                    source = assembly.remote(number, settings, store)
            screened = Screened(source, private=settings.is_private, book=book, clock=clock, metrics=metrics)
            members.append(Member(screened, settings.is_private, _only(settings)))
        index = Merged(
            members,
            claims=claims,
            clock=clock,
            metrics=metrics,
            reserved=reserved_of(config),
            merges=merges_of(config),
            offline=config.server.offline,
        )
        changes.subscribe(index.overtaken)
        for telling in assembly.telling:
            telling.subscribe(index.overtaken)
        delivery = Delivery(
            store=store,
            store_mode=Mode(config.store.delivery),
            other_stores=assembly.stores,
            modes={settings.name: Mode(settings.delivery or _DELIVERY.get(settings.type, "cache")) for settings in config.source},
            clients=assembly.clients,
            spool=spool,
            metrics=metrics,
            notebooks=assembly.notebooks,
            cache_limit=_cache_limit(config, store, clock),
        )
        stack.push_async_callback(delivery.close)
        changes.subscribe(delivery.forget)
        metadata_files = MetadataFiles(
            store=store,
            clients=assembly.clients,
            wheels=WheelReader(
                stores={**assembly.stores, store.name: store}, clients=assembly.clients, delivery=delivery, spool=spool
            ),
            notebooks=assembly.notebooks,
            clock=clock,
        )
        stack.push_async_callback(metadata_files.close)
        for described in assembly.described_ahead:
            described.describe_ahead(metadata_files.body)
            stack.push_async_callback(described.close)  # before what it asks
        uploads = Uploads(
            store=store,
            targets=assembly.targets,
            index=index,
            claims=claims,
            changes=changes,
            clock=clock,
            metrics=metrics,
        )
        yield Wheelgate(
            config=config,
            clock=clock,
            metrics=metrics,
            store=store,
            changes=changes,
            claims=claims,
            rules=book,
            enforcement=Enforcement(config, book, index),
            index=index,
            delivery=delivery,
            metadata_files=metadata_files,
            provenance_files=ProvenanceFiles({**assembly.stores, store.name: store}),
            targets=assembly.targets,
            uploads=uploads,
            packages=Packages(assembly.targets, store=store, changes=changes),
            tokens=tokens,
            spool=spool,
            keyring=keyring,
        )


@asynccontextmanager
async def keyring_alone(config: Config) -> AsyncIterator[Keyring]:
    """What signs in, without the rest: for commands that only store a secret."""
    keyring = Keyring(config, SystemClock(), _certificates(config, config.server.ca_file, "server.ca_file"))
    try:
        yield keyring
    finally:
        await keyring.close()


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


_HEADERS = {"devops": DEVOPS_HEADERS, "github": GITHUB_HEADERS}
_DELIVERY = {"store": "redirect", "blob": "redirect", "directory": "stream"}
_OVERSTAY_S = 600.0
"""How long a page may at most be served beyond its freshness, while its source is being asked."""
_STORE = "the store"
"""Its name in locations; no source can be called that."""


class _Assembly:
    """Builds stores and sources, and remembers to close them. Whatever they share (clock, metrics, our identity) stands here."""

    def __init__(
        self, config: Config, clock: Clock, metrics: Metrics, stack: AsyncExitStack, keyring: Keyring, ca_file: str | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._stack = stack
        self._keyring = keyring
        self._ca_file = ca_file
        self.clients: dict[str, SourceClient] = {}
        """Of the sources that are asked over HTTP."""
        self.stores: dict[str, BlobStore] = {}
        """Of the sources that are containers."""
        self.targets: list[Target] = []
        """Where uploads may go, in the operator's order."""
        self.telling: list[BlobScan | DescribedBlobs | Memory] = []
        """What says by itself when its answers change."""
        self.notebooks: dict[str, Notebook] = {}
        """Of the sources whose listings leave something out."""
        self.described_ahead: list[Described] = []
        """Private ones, whose newest wheels are described before anybody asks."""
        self._public_url = None if config.server.public_url is None else config.base_url

    async def store(self) -> BlobStore:
        """The store, proven to be there and writable."""
        settings = self._config.store
        if settings.url is None or not settings.is_azure:
            local = LocalStore(self._config.store_folder, _STORE)
            await asyncio.to_thread(local.prepare)
            return local
        container = await self._azure(_STORE, settings.url, settings.account_key, "store.account_key")
        await container.prepare()
        return container

    def uploads(self, settings: SourceSettings, store: BlobStore, changes: StoreChanges) -> Source:
        """What was uploaded to the store."""
        packages = BlobPackages(
            name=settings.name, store=store, prefix=layout.PACKAGES, clock=self._clock, public_url=self._public_url
        )
        self.targets.append(Target(settings.name, store, layout.PACKAGES, _only(settings)))
        changes.subscribe(packages.forget)
        # Fresh until somebody announces a change: a listing per page would be a round trip per page.
        cached = self._cached(packages, fresh_s=math.inf, absent_s=math.inf)
        changes.subscribe(cached.drop)
        return cached

    async def container(
        self, number: int, settings: SourceSettings, store: BlobStore, spool: Spool, changes: StoreChanges
    ) -> Source:
        """A container that others fill, or uploads. Nothing is asked of it yet: one that is down must not stop the others."""
        url = settings.url or ""
        blobs = await self._azure(settings.name, url, settings.account_key, f"source[{number}].account_key")
        self.stores[settings.name] = blobs
        if settings.layout == "project":
            fresh_s = settings.fresh_s
            packages = BlobPackages(
                name=settings.name,
                store=blobs,
                prefix="",
                clock=self._clock,
                names_fresh_s=fresh_s,
                public_url=self._public_url,
            )
            cached = self._cached(packages, fresh_s=fresh_s, absent_s=settings.absent)
            if settings.writable:
                self.targets.append(Target(settings.name, blobs, only=_only(settings)))
                changes.subscribe(packages.forget)
                changes.subscribe(cached.drop)
        else:
            scan = BlobScan(name=settings.name, store=blobs, clock=self._clock, interval_s=settings.fresh_s)
            self._stack.push_async_callback(scan.close)
            self.telling.append(scan)
            cached = self._cached(scan, fresh_s=0.0, absent_s=0.0)  # the scan itself is what is remembered
        described = DescribedBlobs(cached, blobs=blobs, store=store, spool=spool)
        self.notebooks[settings.name] = described
        self._stack.push_async_callback(described.close)
        self.telling.append(described)
        return described

    def directory(self, settings: SourceSettings) -> Source:
        """A folder of this machine."""
        directory = Directory(name=settings.name, root=self._config.source_folder(settings), clock=self._clock)
        self._stack.push_async_callback(directory.close)
        return self._cached(directory, fresh_s=0.0, absent_s=0.0)  # it looks by itself; what stands in is remembered here

    def held(self, settings: SourceSettings, store: BlobStore) -> Source:
        """What the store holds of a source that is offline. There is no client for it at all."""
        copies = BlobPackages(
            name=settings.name,
            store=store,
            prefix=layout.cache_of(settings.name),
            clock=self._clock,
            names_fresh_s=settings.fresh_s,
        )
        cached = self._cached(copies, fresh_s=settings.fresh_s, absent_s=settings.absent)
        return Held(cached, alone=self._config.server.offline)

    def remote(self, number: int, settings: SourceSettings, store: BlobStore) -> Source:
        """Something that is asked over HTTP: an index, a feed, releases."""
        own_ca = settings.ca_file is not None
        proxy = settings.outbound_proxy or self._config.server.outbound_proxy
        client = self.clients[settings.name] = SourceClient(
            source=settings.name,
            url=settings.index_url,
            file_hosts=settings.all_file_hosts,
            credentials=self._keyring.of_page(settings.index_url),
            clock=self._clock,
            metrics=self._metrics,
            user_agent=f"wheelgate/{VERSION}",
            ca_file=_certificates(self._config, settings.ca_file, f"source[{number}].ca_file") if own_ca else self._ca_file,
            outbound_proxy=None if proxy == NO_PROXY else proxy,
            headers=_HEADERS.get(settings.type),
        )
        self._stack.push_async_callback(client.close)
        if settings.type == "github":
            return self._remembered(self._releases(settings, client), settings, store, fresh_s=0.0, absent_s=0.0)
        kind = DevopsFeed if settings.type == "devops" else SimpleIndex
        index = kind(name=settings.name, url=settings.index_url, client=client, clock=self._clock, metrics=self._metrics)
        return self._remembered(index, settings, store, fresh_s=settings.fresh_s, absent_s=settings.absent)

    def _releases(self, settings: SourceSettings, client: SourceClient) -> Source:
        releases = GithubReleases(
            name=settings.name,
            url=settings.index_url,
            repos=settings.repos,
            client=client,
            clock=self._clock,
            metrics=self._metrics,
            fresh_s=settings.fresh_s,
        )
        self._stack.push_async_callback(releases.close)
        return releases

    def _remembered(
        self, source: Source, settings: SourceSettings, store: BlobStore, *, fresh_s: float, absent_s: float
    ) -> Source:
        """A remote source with a memory: of its last good pages, of what it left out, of the bytes each name has."""
        memory = Memory(Records(store, source.name), source=source.name, clock=self._clock)
        self._stack.push_async_callback(memory.close)
        self.notebooks[source.name] = memory
        self.telling.append(memory)
        # However fresh a source's pages are to be, they are never served at more than twice that age for the sake of speed.
        overstay_s = min(fresh_s, _OVERSTAY_S)
        cached = self._cached(
            source, fresh_s=fresh_s, absent_s=absent_s, overstay_s=overstay_s, strict=settings.strict, kept=memory
        )
        described = Described(cached, memory=memory, clock=self._clock, metrics=self._metrics)
        self._stack.push_async_callback(described.close)
        if settings.is_private:
            self.described_ahead.append(described)
        return described

    def _cached(
        self,
        source: Source,
        *,
        fresh_s: float,
        absent_s: float,
        overstay_s: float = 0.0,
        strict: bool = False,
        kept: Memory | None = None,
    ) -> Cached:
        cached = Cached(
            source,
            clock=self._clock,
            metrics=self._metrics,
            fresh_s=fresh_s,
            absent_s=absent_s,
            overstay_s=overstay_s,
            strict=strict,
            kept=kept,
        )
        self._stack.push_async_callback(cached.close)
        return cached

    async def _azure(self, name: str, url: str, account_key: str | None, key: str) -> AzureStore:
        """A container by this machine's identity; by an account key only where one is configured (in the setting ``key``)."""
        from proxy.storage.azure import azure_store  # a tenth of a second and 20 MB that a folder does not need

        return await self._stack.enter_async_context(
            azure_store(
                url,
                name=name,
                credential=await self._storage_credential(url, account_key, key),
                clock=self._clock,
                sas_window_s=self._config.store.sas_window,
                sas_life_s=self._config.store.sas_life,
                ca_file=self._ca_file,
            )
        )

    async def _storage_credential(self, url: str, account_key: str | None, key: str) -> Any:
        try:
            if account_key is not None:
                return (await self._keyring.secrets.read(account_key)).reveal()
            return await self._keyring.for_container(url)
        except UpstreamError as error:
            raise ConfigurationError([f"{key}: {error}"]) from None


def _only(settings: SourceSettings) -> NamePatterns | None:
    """The names that a source is for; ``None``: all of them."""
    return None if settings.only is None else NamePatterns(settings.only)


def _cache_limit(config: Config, store: BlobStore, clock: Clock) -> CacheLimit | None:
    if config.store.cache_size is None or not isinstance(store, LocalStore):
        return None
    return CacheLimit(store, limit_bytes=config.store.cache_size, clock=clock)


def _certificates(config: Config, file: Path | None, key: str) -> str | None:
    """A file of certificates, proven to hold some: every upstream would seem unreachable for want of it."""
    if file is None:
        return None
    path = str(config.folder / file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except FileNotFoundError:
        raise ConfigurationError([f"{key}: {path}: there is no such file"]) from None
    except OSError:  # ssl.SSLError is one
        raise ConfigurationError([f"{key}: {path} holds no certificates that can be read (PEM)"]) from None
    return path

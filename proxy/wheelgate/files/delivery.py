"""Delivery: the one place that decides how the bytes of a listed file travel.

``redirect``: the client fetches them itself, by a short-lived signed URL. ``stream``: through us, kept nowhere. ``cache``:
through the spool into the store, once, and from then on as stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum

from wheelgate.core.digests import are_for_us_alone
from wheelgate.core.errors import (
    BlobExists,
    BlobNotFound,
    CompanionNotFound,
    FileWithheld,
    StoreError,
    StoreFull,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.model import File, LocalFile, RemoteFile, StoredFile
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.enrich.records import FactRecorder
from wheelgate.files.bodies import Body, FillBody, LocalBody, PassedBody, Redirect
from wheelgate.files.fill_turns import FillTurns
from wheelgate.files.kept_copies import KeptCopies, list_copy_facts
from wheelgate.files.stored_bodies import BodyProofs, StoredBody, redirect_or
from wheelgate.files.vouching import Voucher
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.logs import RepeatedWarning, TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage import layout
from wheelgate.storage.eviction import CacheLimit
from wheelgate.storage.fills import Fill, FillLimits, count_abandoned, give_up_abandoned
from wheelgate.storage.spool import Spool, SpoolFile
from wheelgate.upstream.client import SourceClient

JOIN_BYTES = 64 * 1024 * 1024
"""A range of a file up to this size starts (or joins) a fill; of a larger one it is passed through."""
_CLOSING_S = 3.0
_log = logging.getLogger(__name__)


class DeliveryMode(Enum):
    """The operator's choice for a source, or for the store."""

    REDIRECT = "redirect"
    STREAM = "stream"
    CACHE = "cache"


class Delivery:
    """Turns a listed file into a redirect or a body. Close it to stop the fills."""

    def __init__(
        self,
        *,
        store: BlobStore,
        store_mode: DeliveryMode,
        other_stores: Mapping[str, BlobStore] | None = None,
        modes: Mapping[str, DeliveryMode],
        clients: Mapping[str, SourceClient],
        spool: Spool,
        metrics: Metrics,
        recorders: Mapping[str, FactRecorder] | None = None,
        cache_limit: CacheLimit | None = None,
        fill_limits: FillLimits | None = None,
        concurrent_fills: int = 32,
        turn_s: float = 5.0,
    ) -> None:
        """Delivery for all sources of an index.

        Args:
            store: our own: holds the copies.
            store_mode: how files leave that lie in it: redirect or stream.
            other_stores: containers of sources, by name; ``None``: no source is one.
            modes: how the files of each source leave.
            clients: of the sources that are asked over HTTP.
            spool: for what is on its way into the store.
            metrics: counts fills.
            recorders: of the sources whose listings leave something out; ``None``: nobody wants to learn of it.
            cache_limit: evicts copies; ``None``: they stay.
            fill_limits: bounds of each fill; ``None``: the usual ones.
            concurrent_fills: files of one source fetched at a time, shared by its clients.
            turn_s: how long a fill may wait for its turn.
        """
        self.store = store
        self._store_mode = store_mode
        self._stores = {**(other_stores or {}), store.name: store}
        self._modes = modes
        self._clients = clients
        self._spool = spool
        self._metrics = metrics
        self._cache_limit = cache_limit
        self._fill_limits = fill_limits
        self._fills: dict[tuple[str, str, str], Fill] = {}
        self._voucher = Voucher()
        self._copies = KeptCopies(
            store,
            recorders or {},
            places={source: client.place for source, client in clients.items()},
            spool=spool,
            voucher=self._voucher,
        )
        self._runs = BackgroundTasks()
        self._turns = FillTurns(concurrent_fills, turn_s)
        self._proofs = BodyProofs()
        self._troubles = TroubleLog(_log)
        self._not_kept = RepeatedWarning(_log, "files are passed through and not kept")
        self.inspect: Callable[[File, SpoolFile], Awaitable[None]] | None = None  # looks at what has come in whole
        spool.room.relief = self._relieve

    @property
    def fills_under_way(self) -> int:
        return len(self._fills)

    def forget(self) -> None:
        """Look again what the store holds: it lacks something that we thought it had."""
        self._copies.forget()

    async def close(self) -> None:
        """Keep what has come in whole, as far as the store takes it within seconds; nothing half-written is kept."""
        await self._runs.wait(*(fill for fill in self._fills.values() if fill.verified), within_s=_CLOSING_S)
        await self._runs.close()
        await self._copies.close()

    async def open(self, file: File, *, plain: bool, head: bool = False) -> Redirect | Body:
        """Answer a request for a listed file.

        Args:
            file: an entry of the page the client sees.
            plain: a GET of the whole file. Only that may be redirected: pip fails on a redirected HEAD and uv on a
                redirected range.
            head: only the size is wanted; no body is fetched for it.

        Raises:
            FileWithheld: the bytes we hold under this name are not those now listed.
            UpstreamError, StoreError: it is not available now.
        """
        location = file.location
        if isinstance(location, LocalFile):
            return await asyncio.to_thread(LocalBody, file, location)
        if isinstance(location, StoredFile):
            store = self._stores[location.store]
            mode = self._store_mode if store is self.store else self._modes[file.source]
            return await self._open_listed(store, file, location, redirect=plain and mode is DeliveryMode.REDIRECT)
        client = self._clients[location.source]
        mode = self._modes[location.source]
        if mode is DeliveryMode.REDIRECT and plain and not are_for_us_alone(file.hashes):
            url = await client.resolve_redirect_target(location.url, accept=location.accept)
            if url is not None:
                return Redirect(url)
        passed = PassedBody(client, file, location, self._troubles, lambda: self._start_fill(file, location, client))
        if mode is not DeliveryMode.CACHE or is_index_document(file.filename):
            return passed
        return await self._open_cached(file, location, passed, plain=plain, head=head)

    async def _open_cached(
        self, file: File, location: RemoteFile, passed: PassedBody, *, plain: bool, head: bool
    ) -> Redirect | Body:
        """Open our copy of an upstream file, or the fill that brings it, or what is passed through where neither will do."""
        held = await self.find_copy(file)
        if held is not None:
            if self._proofs.is_damaged(self.store.name, held, file.stated_size):
                return passed
            if self._cache_limit is not None:
                await self._cache_limit.note_use(held.path)
            body = StoredBody(self.store, held.path, held.size, held.etag, held.facts.get("sha256"), self._proofs)
            redirect = plain and self._store_mode is DeliveryMode.REDIRECT
            return await redirect_or(body, self.store, held.path, self._troubles, redirect=redirect)
        if not head and (plain or await self._joins(file, passed)):
            fill = self._start_fill(file, location, self._clients[location.source])
            if fill is not None:
                return FillBody(fill, passed)
        return passed

    async def _open_listed(self, store: BlobStore, file: File, location: StoredFile, *, redirect: bool) -> Redirect | Body:
        """Open a file that a source lists as a blob."""
        if self._proofs.get(store.name, location.path, location.etag) is False:
            raise FileWithheld(
                f"{file.filename} is damaged in source {file.source}: {location.path} has other bytes than its digest says; "
                "put it there again"
            )
        size = file.size if file.size is not None else (await store.info(location.path)).size
        body = StoredBody(store, location.path, size, location.etag, file.hashes.get("sha256"), self._proofs)
        return await redirect_or(body, store, location.path, self._troubles, redirect=redirect)

    async def read_provenance(self, file: File) -> bytes:
        """The provenance object of a listed file, as it lies beside it in its store (PEP 740).

        Raises:
            CompanionNotFound: the listing offers none of ours.
            StoreError: it is not available now.
        """
        location = file.location
        if file.provenance is None:
            raise CompanionNotFound(f"{file.filename} has no provenance to offer")
        if not isinstance(location, StoredFile):
            raise CompanionNotFound(f"the provenance of {file.filename} is at {file.provenance}, not here")
        try:
            return (await self._stores[location.store].read(layout.provenance(location.path)))[0]
        except BlobNotFound:
            raise CompanionNotFound(f"the provenance of {file.filename} was deleted") from None

    def keeps(self, source: str) -> bool:
        """Tell whether what is fetched from a source is kept in the store."""
        return self._modes[source] is DeliveryMode.CACHE

    async def find_copy(self, file: File) -> BlobInfo | None:
        """Our copy of a remote file, if we have one of the bytes now listed. That is remembered: longer while the store is away.

        Raises:
            FileWithheld: we have one of other bytes. A file name never changes its content, whoever says so now.
            StoreError: nobody can tell.
        """
        if not self.keeps(file.source):
            return None
        return await self._copies.find(file)

    @asynccontextmanager
    async def fetch(self, file: File, location: RemoteFile) -> AsyncIterator[Fill]:
        """The verified body of a file, to be kept if its source :meth:`keeps`. Whoever waits may leave: it goes on.

        Raises: as :meth:`open`.
        """
        fill = self._start_fill(file, location, self._clients[location.source])
        if fill is None:
            raise StoreError(f"{file.filename} of source {file.source} cannot be fetched now: try again")
        with fill.followed():
            await fill.wait_verified()
            yield fill

    async def _joins(self, file: File, passed: PassedBody) -> bool:
        """Tell whether a range of a file not held yet starts a fill, or joins the one under way."""
        fill = self._fills.get(_key(file))
        size = fill.total if fill is not None and fill.total is not None else await passed.size()
        return (size or 0) <= JOIN_BYTES

    def _start_fill(self, file: File, location: RemoteFile, client: SourceClient) -> Fill | None:
        """The fill under way, or a new one; ``None``: the spool takes nothing in, or other bytes of that name come in."""
        key = _key(file)
        fill = self._fills.get(key)
        if fill is not None:
            return fill if fill.file.hashes == file.hashes else None
        try:
            spooled = self._spool.new(file.hashes)
        except StoreError as error:
            self._not_kept.give(str(error))
            return None
        fill = self._fills[key] = Fill(file, spooled, self._fill_limits, prove=self._voucher.check_answer)
        self._runs.start(fill, lambda: self._run(fill, location, client))
        return fill

    async def _run(self, fill: Fill, location: RemoteFile, client: SourceClient) -> None:
        outcome = "failed"
        try:
            async with AsyncExitStack() as stack:
                await fill.spooled.promise.obtain(fill.file.stated_size)
                await self._turns.enter(stack, fill.file)
                answer = await stack.enter_async_context(client.file(location.url, accept=location.accept))
                fill.judge(answer)
                await fill.receive(answer.chunks(), answer.total)
            await self._look_at(fill)
            outcome = await self._keep(fill) if self.keeps(fill.file.source) else "not kept"
        except StoreFull as error:
            self._not_kept.give(str(error))
            fill.fail(error)
        except (UpstreamError, StoreError) as error:
            level = logging.ERROR if isinstance(error, UpstreamBadAnswer | StoreError) else logging.WARNING
            self._troubles.report(location.url, f"fill of {fill.file.filename} failed: {error}", level)
            fill.fail(error)
        except asyncio.CancelledError:
            fill.fail(UpstreamUnavailable("the server is stopping", source=fill.file.source))
            raise
        except Exception as error:
            _log.exception("fill of %s failed", fill.file.filename)
            fill.fail(error)  # whoever follows it must not wait for ever
        finally:
            self._metrics.fills.labels(fill.file.source, outcome).inc()
            del self._fills[_key(fill.file)]
            fill.finish()

    async def _look_at(self, fill: Fill) -> None:
        """Have what has come in whole looked at. It is the listed file, whatever becomes of that."""
        if self.inspect is not None:
            try:
                await self.inspect(fill.file, fill.spooled)
            except Exception:
                _log.exception("%s of source %s cannot be looked at", fill.file.filename, fill.file.source)

    async def _relieve(self, more_bytes: int) -> None:
        """Make room in the spool: end what comes in and nobody follows, and evict copies where those are limited anyway.

        Nothing goes for what would not fit all the same: a size is a word, on a page or in a header, that costs nothing.
        """

        def missing() -> int:
            return self._spool.room.count_missing(more_bytes) - count_abandoned(self._fills.values())

        if missing() > 0 and not (self._cache_limit and await self._cache_limit.free(missing, self._spool.place)):
            return
        give_up_abandoned(self._fills.values(), self._spool.room.count_missing(more_bytes))

    async def _keep(self, fill: Fill) -> str:
        """Put the verified body into the store; whoever waits for it has it already."""
        file = fill.file
        path = layout.cache_copy(file.source, file.project, file.filename)
        sha256 = fill.spooled.digests()["sha256"]
        try:
            copy = await self.store.put_if_absent(
                path, fill.spooled.path, list_copy_facts(file, sha256, self._clients[file.source].place)
            )
            self._proofs.note(self.store.name, path, copy.etag, is_right=True)
            self._copies.note(file, copy)
        except BlobExists:
            kept = (await self.store.info(path)).facts.get("sha256")
            if kept != sha256:
                other = f"with {kept}" if kept else "without any digest"
                self._troubles.report(path, f"ALARM: {file.filename} has sha256 {sha256}; another process stored it {other}")
                return "conflict"
        except StoreError as error:
            self._troubles.report(path, f"{file.filename} could not be kept: {error}")
            return "not kept"
        self._copies.record_facts(file, sha256, fill.spooled.size)
        if self._cache_limit is not None:
            await self._cache_limit.note_added(path, fill.spooled.size)
        return "kept"


def _key(file: File) -> tuple[str, str, str]:
    return (file.source, file.project, file.filename)

"""Claims: the project names that are private for ever.

A name is claimed once a private source listed a file of it. The record outlives every file, so that deleting the last one,
or a feed that loses its memory, never hands the name to whoever registered it in public.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import islice

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import BlobDamaged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.model import STALE_IF_ERROR_S
from wheelgate.core.name_table import NameTable
from wheelgate.core.names import is_normalised
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import BlobInfo, BlobStore, Clock
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.generations import Generation, Generations
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.storage import layout
from wheelgate.storage.answered_names import AnsweredNames
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.kept_names import KeptNames

_MAX_REMEMBERED = 200_000
"""Names, claimed or not: some 10 MB at most."""
_MAX_DOUBTED = _MAX_CLAIMANTS = 10_000
_AT_ONCE = 50
"""Names that are recorded after one look at the store; records that are read side by side for a list of all."""
_MOST_TOLD, _TOLD_S = 20, 60.0
"""Names whose claim is said one by one, in this time."""
SOURCE, SINCE = "source", "since"
"""Facts of a record that say in a listing what stands in it; records of earlier releases have none."""
_log = logging.getLogger(__name__)


class Claim(msgspec.Struct, frozen=True):
    """The record of a claimed name: its first source, and since when."""

    project: str
    source: str
    since: datetime


class Claims:
    """The claims of one store. One look-up tells whether a name is claimed, and is remembered until somebody announces a change.

    A claim is announced through ``changes``: another replica that never heard of it would ask a public source for the name.
    """

    def __init__(
        self,
        store: BlobStore,
        clock: Clock,
        changes: StoreChanges,
        *,
        table: NameTable | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Claims of a store.

        Args:
            store: where they are kept.
            clock: since when each is.
            changes: by which other processes hear of them.
            table: keeps the names, beside what sources know of them; ``None``: no source does.
            metrics: count the names that are claimed here first; ``None``: nobody counts.
        """
        self._store = store
        self._clock = clock
        self._changes = changes
        table = table or NameTable()
        self._known = AnsweredNames(_MAX_REMEMBERED, table)
        self._unrecorded: LRUCache[str, str] = LRUCache(_MAX_REMEMBERED)
        """Source of each name that is private here from the moment we know, also while the store cannot be written."""
        self._doubted: LRUCache[str, None] = LRUCache(_MAX_DOUBTED)
        """Names that were claimed when something was announced of them, and were not looked up since."""
        self._claimants: LRUCache[str, str] = LRUCache(_MAX_CLAIMANTS)
        self._metrics = metrics
        self._told_until_s, self._untold = -math.inf, 0
        """Names of this minute that were not said one by one; below 0, so many still are."""
        self._recording = BackgroundTasks()
        self._generations = Generations()
        self._lookups: SingleFlight[bool] = SingleFlight()
        self._names = KeptNames("the claims", find_all=self._find_all, holds=self.holds, clock=clock, table=table)
        changes.subscribe(Kind.CLAIM, self._forget)
        changes.looked.subscribe(self._record_soon)

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._names.close()
        await self._recording.close()
        await self._lookups.close()

    @property
    def unrecorded(self) -> int:
        """The number of names that are private and could not be recorded as such."""
        return len(self._unrecorded)

    def _forget(self, project: str | None) -> None:
        self._generations.advance(project)
        if project is not None and self._known.get(project):
            self._doubted[project] = None
        self._known.forget(project)
        self._names.forget(project)
        if project is None:
            self._claimants.clear()
        else:
            self._claimants.pop(project, None)

    async def names(self) -> PackedNames:
        """Every claimed name.

        Raises:
            StoreError: they could not be listed, or not yet.
        """
        return (await self._names.get()).updated(add=self._unrecorded)

    async def _find_all(self) -> AsyncIterator[Sequence[str]]:
        async for names in self._store.list_folder(layout.CLAIMS):
            yield [name for name in names if is_normalised(name)]

    def recall(self, project: str) -> bool | None:
        """Tell whether a name is claimed without asking anybody; ``None``: it has to be looked up."""
        if project in self._unrecorded:
            return True
        known = self._known.get(project)
        return known if known or self._changes.is_heard else None

    async def holds(self, project: str) -> bool:
        """True if the name is claimed. After a :class:`StoreError` it must be treated as possibly private."""
        recalled = self.recall(project)
        if recalled is not None:
            return recalled
        generation = self._generations.of(project)
        try:
            return await self._lookups.run((project, generation), lambda: self._look_up(project, generation))
        except StoreError:
            remembered = True if project in self._doubted else self._known.get(project)
            if remembered is None or self._changes.silent_s > STALE_IF_ERROR_S:
                raise
            return remembered  # what was known when the store fell silent stands in, as everywhere

    async def _look_up(self, project: str, generation: Generation) -> bool:
        claimant = None
        try:
            info = await self._store.info(layout.claim(project))
            found, claimant = True, info.facts.get(SOURCE)
        except BlobNotFound:
            found = False
        except BlobDamaged:  # something is there, so somebody claimed the name
            found = True
        if generation == self._generations.of(project):
            self._known.put(project, found)
            self._doubted.pop(project, None)
            if claimant is not None:
                self._claimants[project] = claimant
        return found

    async def claimed_by(self, project: str) -> str | None:
        """The source that claimed a name first; ``None``: it is not claimed. Remembered until something is announced of the name.

        Raises:
            StoreError: it cannot be told.
        """
        source = self._unrecorded.get(project) or self._claimants.get(project)
        if source is None and await self.holds(project) and (source := self._claimants.get(project)) is None:
            generation = self._generations.of(project)
            claim = await self.get(project)
            source = None if claim is None else claim.source
            if source is not None and generation == self._generations.of(project):
                self._claimants[project] = source
        return source

    async def claim(self, project: str, source: str, *, listed: bool = False) -> None:
        """Record that ``source`` has the name; a name that is claimed already stays as it is.

        ``listed``: the source lists a file of it already.

        Raises:
            StoreError: the claim could not be written, or others not be told. A name that is listed is private here all the
                same, until the end of the process; it is tried again after each look at the store. It is not raised of a listed
                name that was recorded before something was announced of it.
        """
        if listed and not self._known.get(project):
            self._unrecorded[project] = source
        try:
            is_recorded = await self.is_recorded(project)
        except StoreError:
            if listed and project in self._doubted:
                return
            raise
        if not is_recorded:
            async with self._changes.changing(Change(Kind.CLAIM, project), here=False):
                await self.record(project, source)

    async def is_recorded(self, project: str) -> bool:
        """True if the claim is in the store; looked up unless it is known. Raises: as :meth:`claim`."""
        known = self._known.get(project)
        if known and project not in self._unrecorded:
            return True
        if known is False and self._changes.is_heard:  # writing it settles what happened since
            return False
        generation = self._generations.of(project)
        if not await self._lookups.run((project, generation), lambda: self._look_up(project, generation)):
            return False
        if generation == self._generations.of(project):
            self._unrecorded.pop(project, None)
        return True

    async def record(self, project: str, source: str) -> None:
        """Write a claim that was announced; ``source`` and raises: as :meth:`claim`."""
        generation = self._generations.of(project)
        claim = Claim(project, source, self._clock.now())
        facts = {SOURCE: source, SINCE: claim.since.isoformat()}
        with contextlib.suppress(BlobExists):
            await self._store.put_if_absent(layout.claim(project), msgspec.json.encode(claim), facts)
            self._claimants[project] = source
            self._tell_first(project, source)
        self._names.forget(project)
        if generation == self._generations.of(project):  # else it may have been released since it was written
            self._known.put(project, True)
            self._doubted.pop(project, None)
            self._unrecorded.pop(project, None)

    def _tell_first(self, project: str, source: str) -> None:
        """Say that a name is private from now on. It comes to many only where somebody takes other people's names for his own."""
        if self._metrics is not None:
            self._metrics.claims.labels(source).inc()
        now_s = self._clock.monotonic()
        if now_s >= self._told_until_s:
            more = f"; {self._untold:,} more names were claimed before it" if self._untold > 0 else ""
            self._told_until_s, self._untold = now_s + _TOLD_S, -_MOST_TOLD
        else:
            more = ""
        self._untold += 1
        if self._untold <= 0:
            text = "project %s is claimed as source %s's: no public source is asked for it from now on%s"
            _log.info(text, project, source, more)

    def _record_soon(self, _: str | None) -> None:
        if self._unrecorded:
            self._recording.start("record", self._record_waiting)

    async def _record_waiting(self) -> None:
        """Record names that could not be, some at a time; one that still cannot be ends it until the next look."""
        waiting = list(islice(self._unrecorded.items(), _AT_ONCE))
        with contextlib.suppress(StoreError):
            for project, source in waiting:
                if project in self._unrecorded:  # nobody has recorded it or released it since
                    await self.claim(project, source, listed=True)

    async def release(self, project: str, reason: str) -> bool:
        """End a claim: from now on public sources may answer for the name. ``False`` if there was none. The reason is kept."""
        return project in await self.release_all([project], reason)

    async def release_all(self, projects: Sequence[str], reason: str) -> Sequence[str]:
        """End some claims, announced together; those that there were. The reason is kept with each."""
        found = await asyncio.gather(*map(self.get, projects))
        claims = [claim for claim in found if claim is not None]
        # From here on, or what waits to be recorded would be so again, beside the deletion.
        waiting = {claim.project: source for claim in claims if (source := self._unrecorded.pop(claim.project, None))}
        try:
            await asyncio.gather(*(self._keep_released(claim, reason) for claim in claims))
            if claims:
                async with self._changes.changing(*(Change(Kind.CLAIM, claim.project) for claim in claims)):
                    await asyncio.gather(*(self._store.delete(layout.claim(claim.project)) for claim in claims))
        except BaseException:
            self._unrecorded.update(waiting)
            raise
        return [claim.project for claim in claims]

    async def _keep_released(self, claim: Claim, reason: str) -> None:
        now = self._clock.now()
        released = msgspec.json.encode({"claim": claim, "released": now, "reason": reason})
        with contextlib.suppress(BlobExists):
            await self._store.put_if_absent(layout.release_record(claim.project, now), released, {})

    async def all(self) -> AsyncIterator[Claim]:
        """Every claim, by name, in bounded memory. One whose record is damaged is of no source that could be told."""
        listed: list[BlobInfo] = []
        async for info in self._store.list(layout.CLAIMS):
            if is_normalised(info.path.removeprefix(layout.CLAIMS)):
                listed.append(info)
            if len(listed) == _AT_ONCE:
                for claim in await asyncio.gather(*map(self._read_listed, listed)):
                    if claim is not None:
                        yield claim
                listed.clear()
        for claim in await asyncio.gather(*map(self._read_listed, listed)):
            if claim is not None:
                yield claim

    async def _read_listed(self, info: BlobInfo) -> Claim | None:
        """Read a claim out of the listing, or else its record; ``None``: it was released since it was listed."""
        project = info.path.removeprefix(layout.CLAIMS)
        with contextlib.suppress(KeyError, ValueError):
            if (since := datetime.fromisoformat(info.facts[SINCE])).tzinfo is not None and info.damage is None:
                return Claim(project, info.facts[SOURCE], since)
        return await self.get(project)

    async def get(self, project: str) -> Claim | None:
        """The record of a claim; ``None``: the name is not claimed. A damaged record still makes the name private."""
        try:
            body, _ = await self._store.read(layout.claim(project))
            claim = msgspec.json.decode(body, type=Claim)
            if claim.project == project:
                return claim
        except BlobNotFound:
            return None
        except (BlobDamaged, msgspec.MsgspecError, UnicodeDecodeError):
            pass
        _log.error("the store's record %s is damaged; the name stays private all the same", layout.claim(project))
        return Claim(project, "unknown (its record is damaged)", self._clock.now())

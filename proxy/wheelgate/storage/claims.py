"""Claims: the project names that are private for ever.

A name is claimed once a private source listed a file of it. The record outlives every file, so that deleting the last one,
or a feed that loses its memory, never hands the name to whoever registered it in public.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime

import msgspec

from wheelgate.core.errors import BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges


class Claim(msgspec.Struct, frozen=True):
    """The record of a claimed name: its first source, and since when."""

    project: str
    source: str
    since: datetime


class Claims:
    """The claims of one store. All names are held in memory, so a decision costs no round trip.

    A claim is announced through ``changes``: another replica that never heard of it would ask a public source for the name.
    """

    def __init__(self, store: BlobStore, clock: Clock, changes: StoreChanges | None = None) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._names: set[str] | None = None
        self._unwritten: set[str] = set()
        """Private here from the moment we know, also while the store cannot be written."""
        self._own: set[str] = set()
        """Written by us since the names were last forgotten: a listing under way may miss them."""
        self._generation = 0
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        """Read the names again at the next question: somebody may have added one."""
        self._generation += 1
        self._names = None
        self._own.clear()

    async def names(self) -> frozenset[str]:
        """Every claimed name. After a :class:`StoreError` nothing may be concluded about any name."""
        return frozenset(await self._load() | self._unwritten)

    async def holds(self, project: str) -> bool:
        """True if the name is claimed. After a :class:`StoreError` it must be treated as possibly private."""
        return project in self._unwritten or project in await self._load()

    async def _load(self) -> set[str]:
        if (names := self._names) is not None:
            return names
        async with self._reading:
            while (names := self._names) is None:
                generation = self._generation
                found = {info.path.removeprefix(layout.CLAIMS) async for info in self._store.list(layout.CLAIMS)}
                if generation == self._generation:  # else it may be older than what we were told to forget for
                    self._names = found | self._own
            return names

    async def claim(self, project: str, source: str) -> None:
        """Record that ``source`` has the name; a name that is claimed already stays as it is.

        Raises:
            StoreError: the claim could not be written, or others not be told. Here it holds nevertheless, until the end of
                the process; claiming again tries again.
        """
        if self._names is not None and project in self._names and project not in self._unwritten:
            return
        tried_before = project in self._unwritten
        self._unwritten.add(project)
        if tried_before or project not in await self._load():
            body = msgspec.json.encode(Claim(project, source, self._clock.now()))
            with contextlib.suppress(BlobExists):
                await self._store.put_if_absent(layout.claim(project), body, {})
            self._own.add(project)
            if self._names is not None:
                self._names.add(project)
            if self._changes is not None:
                await self._changes.announce(here=False)
        self._unwritten.discard(project)

    async def release(self, project: str, reason: str) -> bool:
        """End a claim: from now on public sources may answer for the name. ``False`` if there was none. The reason is kept."""
        claim = await self.get(project)
        if claim is None:
            return False
        released = msgspec.json.encode({"claim": claim, "released": self._clock.now(), "reason": reason})
        with contextlib.suppress(BlobExists):
            await self._store.put_if_absent(layout.release_record(project, self._clock.now()), released, {})
        await self._store.delete(layout.claim(project))
        self._unwritten.discard(project)
        self.forget()
        if self._changes is not None:
            await self._changes.announce()
        return True

    async def get(self, project: str) -> Claim | None:
        try:
            return msgspec.json.decode((await self._store.read(layout.claim(project)))[0], type=Claim)
        except BlobNotFound:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise StoreError(f"the claim of {project} is damaged; the name is private all the same") from None

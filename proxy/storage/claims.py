"""Claims: which project names are private for ever.

A name is claimed once a private source listed a file of it. The record outlives every file, so that deleting the last one,
or a feed that loses its memory, never hands the name to whoever registered it in public.
"""

from __future__ import annotations

import contextlib
from datetime import datetime

import msgspec

from proxy.errors import BlobExists, BlobNotFound
from proxy.protocols import BlobStore, Clock
from proxy.storage import layout


class Claim(msgspec.Struct, frozen=True):
    """Who claimed a name, and when."""

    project: str
    source: str
    since: datetime


class Claims:
    """The claims of one store. All names are held in memory, so a decision costs no round trip."""

    def __init__(self, store: BlobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._names: set[str] | None = None

    def forget(self) -> None:
        """Read the names again at the next question: somebody may have added one."""
        self._names = None

    async def names(self) -> frozenset[str]:
        """Every claimed name.

        Raises:
            StoreError: the claims cannot be read; nothing may be concluded about any name.
        """
        return frozenset(await self._loaded())

    async def holds(self, project: str) -> bool:
        """Whether the name is claimed.

        Raises:
            StoreError: the claims cannot be read; the name must then be treated as possibly private.
        """
        return project in await self._loaded()

    async def _loaded(self) -> set[str]:
        if self._names is None:
            found = {info.path.removeprefix(layout.CLAIMS) async for info in self._store.list(layout.CLAIMS)}
            self._names = (self._names or set()) | found  # a claim made while the listing ran is kept
        return self._names

    async def claim(self, project: str, source: str) -> None:
        """Record that ``source`` has the name; a name that is claimed already stays as it is.

        Raises:
            StoreError: the claim could not be written.
        """
        names = await self._loaded()
        if project in names:
            return
        body = msgspec.json.encode(Claim(project, source, self._clock.now()))
        with contextlib.suppress(BlobExists):
            await self._store.put_if_absent(layout.claim(project), body, {})
        names.add(project)
        if self._names is not None:
            self._names.add(project)

    async def get(self, project: str) -> Claim | None:
        """The record, for people.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            body, _ = await self._store.read(layout.claim(project))
        except BlobNotFound:
            return None
        return msgspec.json.decode(body, type=Claim)

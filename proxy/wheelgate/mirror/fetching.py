"""Fetching of files into a spool: each verified as a whole, and nothing left of one that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

import msgspec

from wheelgate.core.errors import (
    BlobChanged,
    BlobDamaged,
    BlobExists,
    BlobNotFound,
    StoreFull,
    UpstreamBadAnswer,
    UpstreamUnavailable,
)
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.file_origins import FileOrigin, MirrorFile
from wheelgate.mirror.verifying import read_stored
from wheelgate.storage.room import MAX_FILE_BYTES
from wheelgate.storage.spool import Spool, SpoolFile

_ATTEMPTS = 3
OF_ONE_FILE = (BlobNotFound, BlobDamaged, BlobExists, BlobChanged)
"""Failures of a store, or of the spool, that say nothing of other files."""


class Fetcher(msgspec.Struct, kw_only=True, eq=False):
    """A fetcher of what a mirror lacks, or of what is only looked at."""

    spool: Spool
    origin: FileOrigin
    on_bytes: Callable[[int], None] = lambda _: None
    wait_s: float = 1.0
    """Between two attempts; longer before each."""
    max_bytes: int = MAX_FILE_BYTES
    """Of one file."""
    _spooled: dict[str, SpoolFile] = msgspec.field(default_factory=dict)
    """By path, what is on its way, or was only looked at."""

    def find(self, path: str) -> SpoolFile | None:
        """Find what was spooled of a file."""
        return self._spooled.get(path)

    def find_proven(self, item: MirrorFile) -> SpoolFile | None:
        """Find what was spooled of a file, if it is what is allowed now: inputs that were read since may allow less."""
        if (spooled := self.find(item.path)) is None:
            return None
        digests = spooled.digests()
        if item.algorithms <= digests.keys() and item.problem_with(digests) is None:
            return spooled
        self.drop(item.path)
        return None

    def drop(self, path: str) -> None:
        """Give back what was spooled of a file."""
        if (done := self._spooled.pop(path, None)) is not None:
            done.close()

    def close(self) -> None:
        """Give back everything."""
        for path in list(self._spooled):
            self.drop(path)

    async def fetch(self, item: MirrorFile) -> SpoolFile:
        """Fetch a file, and prove that it is what is listed.

        Raises:
            UpstreamError, FileWithheld: it is not available.
            BlobDamaged: it is too large.
            StoreError: the spool has no room for any.
        """
        with self._leaving_nothing(item.path):
            spooled = await self._fetch_whole(item)
            problem = item.problem_with(spooled.digests())
            if problem is None and item.file.stated_size not in (None, spooled.size):
                problem = f"has {spooled.size} bytes, where {item.file.stated_size} are listed"
            if problem is not None:
                name, source = item.file.filename, item.file.source
                raise UpstreamBadAnswer(f"{name} of source {source} {problem}", source=source)
        return spooled

    async def _fetch_whole(self, item: MirrorFile) -> SpoolFile:
        self._refuse_larger(item.file.stated_size or 0)
        spooled = self._spooled[item.path] = self.spool.new(item.algorithms)
        await spooled.promise.obtain(item.file.stated_size)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with aclosing(self.origin(item)) as chunks:
                    async for chunk in chunks:
                        self._refuse_larger(spooled.size + len(chunk))
                        await spooled.append(chunk)
                        self.on_bytes(len(chunk))
                break
            except UpstreamUnavailable:
                self.on_bytes(-spooled.size)
                if attempt == _ATTEMPTS:
                    raise
                spooled.restart()
                await asyncio.sleep(self.wait_s * attempt)
        return spooled

    async def read_back(self, store: BodyStore, path: str, size: int) -> SpoolFile:
        """Read a file that is in a store into the spool. Raises as :meth:`fetch`."""
        with self._leaving_nothing(path):
            self._refuse_larger(size)
            spooled = self._spooled[path] = self.spool.new()
            await spooled.promise.obtain(size)
            async with aclosing(read_stored(store, path, size)) as chunks:
                async for chunk in chunks:
                    await spooled.append(chunk)
        return spooled

    def _refuse_larger(self, size: int) -> None:
        """Refuse a file that is larger than any. Raises BlobDamaged."""
        if size > self.max_bytes:
            raise BlobDamaged(f"it has {size} bytes or more, and none is mirrored that has more than {self.max_bytes}")

    @contextmanager
    def _leaving_nothing(self, path: str) -> Iterator[None]:
        """Give back what was spooled if the block fails: it is not proven to be whole.

        Raises:
            BlobDamaged: the spool had no room for this file, and may have some for others.
        """
        try:
            yield
        except BaseException as error:
            self.drop(path)
            if isinstance(error, StoreFull) and self.spool.problem() is None:
                raise BlobDamaged(str(error)) from None
            raise

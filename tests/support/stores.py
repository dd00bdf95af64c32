"""Stores under the test's control: one in memory, and one that stands before another, counts, fails and waits as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import MAX_READ_BYTES, BlobInfo, BlobStore, Hook
from wheelgate.core.urls import place_key
from wheelgate.storage import layout

INDEX = "https://index.example.com/simple/"


def home_of(source: str, url: str = INDEX) -> str:
    """The source at an address, as its records are kept."""
    return layout.home_of(source, place_key(url))


class MemoryStore:
    """A BlobStore that ends with the test. Held to the same contract as the real ones."""

    name = "memory"

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[bytes, BlobInfo]] = {}
        self._changes = 0

    def _put(self, path: str, body: bytes, facts: Mapping[str, str], created: datetime) -> BlobInfo:
        self._changes += 1
        info = BlobInfo(path, len(body), f"e{self._changes}", created, dict(facts))
        self.blobs[path] = (body, info)
        return info

    def _get(self, path: str) -> tuple[bytes, BlobInfo]:
        if path not in self.blobs:
            raise BlobNotFound(f"the store has no {path}")
        return self.blobs[path]

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        for path, (_, info) in sorted(self.blobs.items()):
            if path.startswith(prefix):
                yield info

    async def list_folder(self, folder: str) -> AsyncGenerator[Sequence[str]]:
        below = [path.removeprefix(folder) for path in self.blobs if path.startswith(folder)]
        yield list(dict.fromkeys("".join(path.partition("/")[:2]) for path in below))

    def check_answering(self) -> None:
        pass

    async def info(self, path: str) -> BlobInfo:
        return self._get(path)[1]

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        if len(self._get(path)[0]) > MAX_READ_BYTES:
            raise BlobDamaged(f"{path} has more than {MAX_READ_BYTES} bytes")
        return self._get(path)

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        body, _ = self._get(path)
        for at in range(start, min(end, len(body)), 1_000_000):
            yield body[at : min(at + 1_000_000, end)]
        if end > len(body):
            raise StoreError(f"the store's {path} is shorter than it was")

    async def put_if_absent(
        self, path: str, body: Path | bytes, facts: Mapping[str, str], *, before_commit: Hook | None = None
    ) -> BlobInfo:
        if before_commit is not None:
            await before_commit()
        content = body if isinstance(body, bytes) else await asyncio.to_thread(body.read_bytes)
        if path in self.blobs:
            raise BlobExists(f"the store has {path} already")
        return self._put(path, content, facts, datetime.now(UTC))

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        current = self.blobs[path][1] if path in self.blobs else None
        if (current and current.etag) != etag:
            raise BlobChanged(f"the store's {path} was changed by somebody else")
        return self._put(path, body, current.facts if current else {}, datetime.now(UTC)).etag

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        body, info = self._get(path)
        if info.etag != etag:
            raise BlobChanged(f"the store's {path} was changed by somebody else")
        return self._put(path, body, facts, info.created).etag

    async def delete(self, path: str, etag: str | None = None) -> None:
        if path in self.blobs and etag not in (None, self.blobs[path][1].etag):
            raise BlobChanged(f"the store's {path} was changed by somebody else")
        self.blobs.pop(path, None)

    async def signed_url(self, path: str) -> str | None:
        return None

    def open_local(self, path: str) -> FileIO | None:
        return None


class WatchedStore:
    """Another store, with every call written down as ``(method, path)``, and trouble on demand."""

    def __init__(self, inner: BlobStore | None = None) -> None:
        self.inner: BlobStore = MemoryStore() if inner is None else inner
        self.calls: list[tuple[str, str]] = []
        self.fails: Callable[[str, str], bool] = lambda method, path: False
        """Whether this call of ``(method, path)`` raises :class:`StoreError`."""
        self.loses_answer: Callable[[str, str], bool] = lambda method, path: False
        """Whether it does so after the work is done."""
        self.holds: dict[str, asyncio.Event] = {}
        """Method to an event: its answers are computed at once, and given when it is set."""
        self.before: Callable[[str, str], None] = lambda method, path: None

    @property
    def name(self) -> str:
        return self.inner.name

    def down(self) -> None:
        self.fails = lambda method, path: True

    def up(self) -> None:
        self.fails = lambda method, path: False

    def count(self, method: str, path: str | None = None) -> int:
        return sum(called == method and path in (None, at) for called, at in self.calls)

    @property
    def written(self) -> list[str]:
        """Paths in the order they were written."""
        return [path for method, path in self.calls if method in ("put_if_absent", "replace_if", "set_facts")]

    def _enter(self, method: str, path: str) -> None:
        self.calls.append((method, path))
        self.before(method, path)
        if self.fails(method, path):
            raise StoreError("the store cannot be reached")

    async def _leave(self, method: str, path: str) -> None:
        if method in self.holds:
            await self.holds[method].wait()
        if self.loses_answer(method, path):
            raise StoreError("the store's answer was lost")

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        self._enter("list", prefix)
        found = [info async for info in self.inner.list(prefix)]
        await self._leave("list", prefix)
        for info in found:
            yield info

    async def list_folder(self, folder: str) -> AsyncGenerator[Sequence[str]]:
        self._enter("list_folder", folder)
        found = [names async for names in self.inner.list_folder(folder)]
        await self._leave("list_folder", folder)
        for names in found:
            yield names

    async def info(self, path: str) -> BlobInfo:
        self._enter("info", path)
        try:
            info = await self.inner.info(path)
        except BlobNotFound:
            if "info" in self.holds:  # that there is none is an answer, too
                await self.holds["info"].wait()
            raise
        await self._leave("info", path)
        return info

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        self._enter("read", path)
        answer = await self.inner.read(path)
        await self._leave("read", path)
        return answer

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        self._enter("stream", path)
        async for chunk in self.inner.stream(path, start, end):
            yield chunk

    async def put_if_absent(
        self, path: str, body: Path | bytes, facts: Mapping[str, str], *, before_commit: Hook | None = None
    ) -> BlobInfo:
        self._enter("put_if_absent", path)
        info = await self.inner.put_if_absent(path, body, facts, before_commit=before_commit)
        await self._leave("put_if_absent", path)
        return info

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        self._enter("replace_if", path)
        written = await self.inner.replace_if(path, body, etag)
        await self._leave("replace_if", path)
        return written

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        self._enter("set_facts", path)
        written = await self.inner.set_facts(path, facts, etag)
        await self._leave("set_facts", path)
        return written

    async def delete(self, path: str, etag: str | None = None) -> None:
        self._enter("delete", path)
        await self.inner.delete(path, etag)
        await self._leave("delete", path)

    def check_answering(self) -> None:
        self.inner.check_answering()

    async def signed_url(self, path: str) -> str | None:
        return await self.inner.signed_url(path)

    def open_local(self, path: str) -> FileIO | None:
        return self.inner.open_local(path)

"""The store that simulated replicas share, and each replica's own bad line to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from tests.simulation.loop import get_loop
from tests.support.stores import MemoryStore
from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo, Hook
from wheelgate.storage import layout

T = TypeVar("T")
_WRITES = frozenset({"put_if_absent", "replace_if", "set_facts", "delete"})


class Crashed(BaseException):
    """The process is gone: nothing it was doing goes on, and no error handling of its own sees why."""


class Weather(msgspec.Struct, frozen=True):
    """How bad the lines to the store are, as probabilities a call."""

    slow_s: float = 0.05
    """A call takes between nothing and twice this, each way."""
    stalls: float = 4.0
    """Now and then it takes so many times as long."""
    refused: float = 0.0
    """It is not carried out, and fails."""
    lost: float = 0.0
    """It is carried out, and fails: the answer is lost."""

    @property
    def is_fair(self) -> bool:
        """True if the promise of five seconds holds in it: calls that fail or crawl may come later."""
        return self.refused == 0.0 and self.lost == 0.0 and self.slow_s * self.stalls <= 0.2


FAIR = Weather()
WEATHERS = (
    FAIR,
    FAIR,
    FAIR,
    Weather(0.2, 10.0),
    Weather(0.05, 10.0, refused=0.05),
    Weather(0.05, 10.0, lost=0.05),
    Weather(0.3, 10.0, 0.03, 0.03),
)


class SharedStore(MemoryStore):
    """The truth. What becomes of each path is told to whoever watches."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: list[Callable[[str, str], None]] = []
        """Told ``(method, path)`` right after each write."""

    def written(self, method: str, path: str) -> None:
        for watcher in self.watchers:
            watcher(method, path)


class Line:
    """One replica's :class:`~wheelgate.core.protocols.BlobStore`: the shared one, over a line that delays, cuts and loses."""

    name = "memory"

    def __init__(self, shared: SharedStore, chance: random.Random, weather: Weather, note: Callable[[str], None]) -> None:
        self._shared = shared
        self._draw = chance.random
        self._pause = get_loop().pause
        self.weather = weather
        self._note = note
        self.is_cut = False
        """A partition: every call fails after a while."""
        self.is_deaf = False
        """Of all blobs the record of changes alone cannot be had, as where a store throttles the one that all ask for."""
        self._thawed: asyncio.Event | None = None
        """``None`` unless the process stands still."""
        self.has_crashed = False
        self.crashes_at_write: int | None = None
        """The process dies at this write, counted from here: before it arrives, or after it was carried out."""

    @property
    def is_frozen(self) -> bool:
        return self._thawed is not None

    def freeze(self) -> None:
        """Let the process stand still wherever it is: nothing it asks for leaves, and no answer reaches it."""
        self._thawed = self._thawed or asyncio.Event()

    def thaw(self) -> None:
        """Let it go on."""
        if self._thawed is not None:
            self._thawed.set()
            self._thawed = None

    def _travel(self) -> asyncio.Future[None]:
        weather = self.weather
        delay_s = 2 * weather.slow_s * self._draw()
        return self._pause(delay_s if self._draw() >= 0.05 else delay_s * weather.stalls)

    async def _arrive(self) -> None:
        """Wait as long as the process stands still."""
        while self._thawed is not None:
            await self._thawed.wait()
        if self.has_crashed:
            raise Crashed

    def _may_die(self, method: str) -> bool:
        """Whether the process dies at this write."""
        if self.crashes_at_write is None or method not in _WRITES:
            return False
        self.crashes_at_write -= 1
        return self.crashes_at_write < 0

    def _die(self, method: str, path: str, when: str) -> None:
        self._note(f"dies {when} {method} {path}")
        self.has_crashed = True
        raise Crashed

    async def _call(self, method: str, path: str, work: Callable[[], T]) -> T:
        if self.has_crashed:
            raise Crashed
        dies = self._may_die(method)
        await self._travel()
        if self._thawed is not None or self.has_crashed:
            await self._arrive()
        if dies and self._draw() < 0.5:
            self._die(method, path, "before")
        if self.is_cut or (self.is_deaf and path == layout.CHANGED):
            await self._travel()
            await self._arrive()
            raise StoreError("the store cannot be reached")
        if self.weather.refused and self._draw() < self.weather.refused:
            self._note(f"{method} {path}: refused")
            raise StoreError("the store is busy")
        result = work()
        if method in _WRITES:
            self._note(f"{method} {path}")
            self._shared.written(method, path)
        if dies:
            self._die(method, path, "after")
        await self._travel()
        if self._thawed is not None or self.has_crashed:
            await self._arrive()
        if self.weather.lost and self._draw() < self.weather.lost:
            self._note(f"{method} {path}: answer lost")
            raise StoreError("the answer was lost")
        return result

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        def work() -> list[BlobInfo]:
            blobs = self._shared.blobs
            return [blobs[path][1] for path in sorted(path for path in blobs if path.startswith(prefix))]

        for info in await self._call("list", prefix, work):
            yield info

    async def list_folder(self, folder: str) -> AsyncIterator[Sequence[str]]:
        def work() -> list[str]:
            below = (path.removeprefix(folder) for path in self._shared.blobs if path.startswith(folder))
            return sorted({"".join(path.partition("/")[:2]) for path in below})

        yield await self._call("list_folder", folder, work)

    async def info(self, path: str) -> BlobInfo:
        return await self._call("info", path, lambda: self._shared._get(path)[1])

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        return await self._call("read", path, lambda: self._shared._get(path))

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        body, _ = await self.read(path)
        if end > len(body):
            raise StoreError(f"the store's {path} is shorter than it was")
        yield body[start:end]

    async def put_if_absent(
        self, path: str, body: Path | bytes, facts: Mapping[str, str], *, before_commit: Hook | None = None
    ) -> BlobInfo:
        if before_commit is not None:
            await before_commit()
        content = body if isinstance(body, bytes) else body.read_bytes()
        return await self._call("put_if_absent", path, lambda: _now(self._shared.put_if_absent(path, content, facts)))

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        return await self._call("replace_if", path, lambda: _now(self._shared.replace_if(path, body, etag)))

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        return await self._call("set_facts", path, lambda: _now(self._shared.set_facts(path, facts, etag)))

    async def delete(self, path: str, etag: str | None = None) -> None:
        await self._call("delete", path, lambda: _now(self._shared.delete(path, etag)))

    async def signed_url(self, path: str) -> str | None:
        return None

    def open_local(self, path: str) -> None:
        return None


def _now(work: object) -> object:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return done.value
    raise AssertionError("the shared store waits")

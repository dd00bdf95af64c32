"""Fills: files of upstreams on their way into the spool, each compared with everything that was promised of it.

A fill belongs to the server: it may go on without anybody who waits for it, and ends where that is not worth it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from wheelgate.core.beginnings import can_begin
from wheelgate.core.errors import UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File
from wheelgate.storage.room import MAX_FILE_BYTES
from wheelgate.storage.spool import HOLD_BYTES, SpoolFile
from wheelgate.upstream.answers import FileAnswer

Prove = Callable[[File, Path], Awaitable[None]]
"""Raises :class:`UpstreamBadAnswer` unless the whole body at a path proves by itself to be the file."""
PACE_S, PACE_BYTES = 30.0, 30 * 1024
"""An upstream that drips is too slow: each half minute must bring at least 1 KiB a second."""


class FillLimits(msgspec.Struct, frozen=True):
    """Bounds of one fill."""

    max_bytes: int = MAX_FILE_BYTES
    pace_s: float = PACE_S
    pace_bytes: int = PACE_BYTES
    alone_pace_bytes: int = 64 * PACE_BYTES
    """The same while nobody follows it: it holds a turn that others wait for."""
    alone_bytes: int = 256 * 1024 * 1024
    """A body up to this size is fetched to its end for whoever comes later; one of unknown size goes on up to it."""
    alone_part: float = 0.25
    """Of a larger one, so much must have come."""
    grace_s: float = 5.0
    """Whoever was cut off has so long to come back for the rest of a larger one."""


class PromisedBody:
    """A file from upstream, compared with everything that the listing and the upstream say of it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self._coding = ""
        self.total = file.stated_size
        """Bytes of the whole body; ``None`` until somebody says."""

    def judge(self, answer: FileAnswer) -> None:
        """Take an answer whose headers say that it is something else, if digest or size will tell; else if it begins as the file.

        Raises:
            UpstreamBadAnswer: nothing says that these bytes are the file.
        """
        self._coding = answer.coding
        is_stated = bool(self.file.hashes) or self.file.stated_size is not None
        if (
            answer.doubt is not None
            and not is_stated
            and not can_begin(self.file.filename, answer.beginning, coding=answer.coding)
        ):
            raise answer.doubt

    def announce(self, total: int | None) -> None:
        """Take the size that the upstream announces: never another than the listing's, or than it announced before."""
        if self.total is None:
            self.total = total
        elif total not in (None, self.total):
            raise self._bad_answer(f"announced {total} bytes, not {self.total}")

    def check_part(self, size: int) -> None:
        """Check that so many bytes can be part of it, before they move what readers may see."""
        if self.total is not None and size > self.total:
            raise self._bad_answer(f"sent more than {self.total} bytes")

    async def keep_pace(
        self, chunks: AsyncIterator[bytes], pace_s: float, least_bytes: Callable[[], int]
    ) -> AsyncGenerator[bytes, None]:
        """The same chunks, as long as each ``pace_s`` seconds of waiting for the upstream bring so much; else as if it broke off.

        In real time: what is measured is a real transfer. How long its reader takes does not count.
        """
        waited_s, received = 0.0, 0
        began = time.monotonic()
        async for chunk in chunks:
            waited_s += time.monotonic() - began
            received += len(chunk)
            if waited_s >= pace_s:
                if received < least_bytes():
                    raise self._broken(f"sends {self.file.filename} too slowly")
                waited_s, received = 0.0, 0
            yield chunk
            began = time.monotonic()

    def check_whole(self, size: int, digests: Mapping[str, str]) -> None:
        """Check that so many bytes, of these digests, are all of it.

        Raises:
            UpstreamUnavailable: it broke off.
            UpstreamBadAnswer: it is not the file that the listing promised.
        """
        if self.total is not None and size != self.total:
            raise self._broken(f"broke off {self.file.filename} after {size} of {self.total} bytes")
        for algorithm, digest in self.file.hashes.items():
            if digests[algorithm] != digest:
                raise self._bad_answer(f"sent bytes whose {algorithm} is {digests[algorithm]}, not {digest}")

    def _broken(self, what: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"source {self.file.source} {what}", source=self.file.source)

    def _bad_answer(self, what: str) -> UpstreamBadAnswer:
        if self._coding:
            what += f"; it calls them encoded ({self._coding!r}), which was not asked for"
        return UpstreamBadAnswer(f"source {self.file.source}, asked for {self.file.filename}, {what}", source=self.file.source)


class Fill(PromisedBody):
    """One upstream file on its way into the spool, and any number of readers who follow it.

    It belongs to the server, not to the client that asked first: clients may come, lag behind and leave.
    """

    def __init__(self, file: File, spooled: SpoolFile, limits: FillLimits | None = None, *, prove: Prove) -> None:
        """A fill that has received nothing. ``prove``: for a body of which the source states no digest."""
        super().__init__(file)
        self.spooled = spooled
        self._prove = prove
        self._limits = limits or FillLimits()
        self.verified = False
        self.error: Exception | None = None
        """The error it failed with."""
        self._progress = asyncio.Event()
        self._readers = 0
        self._alone_since_s = time.monotonic()
        """Since when nobody has followed it, if nobody does."""
        self._finished = False
        self._is_given_up = False

    async def receive(self, chunks: AsyncIterator[bytes], announced: int | None) -> None:
        """Write the body, and check it; the room that is promised to it becomes what it turns out to need.

        Raises:
            UpstreamUnavailable: it broke off, came too slowly, or nobody waits for it any more.
            UpstreamBadAnswer: it is not the file that the listing promised, or has no end.
            StoreError: the spool is full, or broken.
        """
        self.announce(announced)
        if self.total is not None:
            await self.spooled.promise.obtain(self.total)
            self.spooled.promise.resize(self.total)
        limits = self._limits
        least = lambda: limits.pace_bytes if self._readers else limits.alone_pace_bytes  # noqa: E731 - a word for one line
        async for chunk in self.keep_pace(chunks, limits.pace_s, least):
            size = self.spooled.size + len(chunk)
            self.check_part(size)
            if size > limits.max_bytes:
                raise self._bad_answer(f"sent more than {limits.max_bytes} bytes, which no file has")
            await self.spooled.append(chunk)
            self._advance()
            self._check_wanted()
        self.check_whole(self.spooled.size, self.spooled.digests())
        if not self.file.stated_hashes:
            await self._prove(self.file, self.spooled.path)
        self.total = self.spooled.size
        self.spooled.promise.resize(self.total)
        self.verified = True
        self._advance()

    def _check_wanted(self) -> None:
        """Raise if nobody follows it, and it is too much to go on for whoever may come later."""
        if self._readers:
            return
        limits, total, size = self._limits, self.total, self.spooled.size
        if self._is_given_up:
            goes_on = False
        elif total is None:
            goes_on = size <= limits.alone_bytes
        else:
            is_worth_it = total <= limits.alone_bytes or size > total * limits.alone_part
            goes_on = is_worth_it or time.monotonic() - self._alone_since_s < limits.grace_s
        if not goes_on:
            raise UpstreamUnavailable(
                f"nobody waits for {self.file.filename} of source {self.file.source} any more, of which {size} bytes of "
                f"{total or 'nobody knows how many'} are here: try again",
                source=self.file.source,
            )

    @property
    def is_abandoned(self) -> bool:
        """True if it is on its way, and nobody has followed it for long enough to come back."""
        is_alone = not self._readers and time.monotonic() - self._alone_since_s >= self._limits.grace_s
        return is_alone and not self.verified and self.error is None

    def give_up(self) -> None:
        """End it soon, unless somebody follows it by then: others need its room."""
        self._is_given_up = True

    def fail(self, error: Exception) -> None:
        """Tell the readers that no more will come."""
        self.error = error
        self._advance()

    def finish(self) -> None:
        """No new reader will come; the spool file goes with the last one."""
        self._finished = True
        self.spooled.promise.resize(self.spooled.size)
        self._release()

    def _release(self) -> None:
        if self._finished and not self._readers:
            self.spooled.close()
        elif self._finished:
            self.spooled.remove()

    def _advance(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def known_total(self) -> int:
        """The size of the body, waiting until somebody says it; or the error the fill failed with."""
        with self.followed():
            while self.total is None:
                if self.error is not None:
                    raise self.error
                await self._progress.wait()
        return self.total

    async def wait_verified(self) -> None:
        """Wait until the whole body is here and right; or raise the error the fill failed with."""
        while not self.verified:
            if self.error is not None:
                raise self.error.with_traceback(None)  # one object, many raisers
            await self._progress.wait()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Wait for it, so that it goes on."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            self._alone_since_s = time.monotonic()
            self._release()

    async def follow(self, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Bytes ``start`` to ``end`` (excluded; ``None``: to the last), as they become visible.

        Raises:
            The error the fill failed with: what was handed out until then is not the whole body.
        """
        with self.followed():
            while end is None or start < end:
                progress = self._progress
                visible = self.spooled.size if self.verified else self.spooled.size - HOLD_BYTES
                limit = visible if end is None else min(visible, end)
                if start < limit:
                    chunk = await self.spooled.read(start, limit)
                    start += len(chunk)
                    yield chunk
                elif self.verified:
                    return
                elif self.error is not None:
                    raise self.error.with_traceback(None)  # one object, many raisers
                else:
                    await progress.wait()


def count_abandoned(fills: Iterable[Fill]) -> int:
    """Count the bytes of the fills that nobody follows."""
    return sum(fill.spooled.size for fill in fills if fill.is_abandoned)


def give_up_abandoned(fills: Iterable[Fill], bytes_wanted: int) -> None:
    """Give up the largest of the fills that nobody follows, as far as their room is wanted."""
    for fill in sorted((fill for fill in fills if fill.is_abandoned), key=lambda fill: -fill.spooled.size):
        if bytes_wanted <= 0:
            break
        fill.give_up()
        bytes_wanted -= fill.spooled.size

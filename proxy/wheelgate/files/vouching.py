"""Vouching for bodies of which no index states a digest: looked through, in threads, before their last bytes go anywhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from wheelgate.core.errors import StoreError, UpstreamBadAnswer
from wheelgate.core.model import File
from wheelgate.distfiles.wholeness import NotWhole, prove_whole
from wheelgate.runtime.regular_file import open_regular

_AT_ONCE = 2
"""Each takes a thread, which other work waits for, for a second a gigabyte and more."""


class Voucher:
    """Tells whether bodies are whole, and what their names say. A few at a time; whoever leaves ends what it asked for."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def check(self, file: File, body: Path | Callable[[], IO[bytes]]) -> None:
        """Look through a whole body of a listed file. ``body``: its file, or what opens it.

        Raises:
            NotWhole: it is not that file.
            StoreError: it cannot be read.
        """
        open_body = (lambda: open_regular(body)) if isinstance(body, Path) else body
        async with self._turns, _stopping() as stop:
            await asyncio.to_thread(_read_through, file, open_body, stop)

    async def check_answer(self, file: File, body: Path) -> None:
        """Look through what a source sent for a file of which it states no digest.

        Raises:
            UpstreamBadAnswer: it is something else, or not all of it.
            StoreError: it cannot be read.
        """
        try:
            await self.check(file, body)
        except NotWhole as error:
            raise UpstreamBadAnswer(
                f"source {file.source}, asked for {file.filename}, of which it states no digest, sent something else, or not all "
                f"of it: it {error}",
                source=file.source,
            ) from None


@asynccontextmanager
async def _stopping() -> AsyncIterator[threading.Event]:
    """An event that is set when the block ends, however it does: no thread goes on for somebody who has left."""
    stop = threading.Event()
    try:
        yield stop
    finally:
        stop.set()


def _read_through(file: File, open_body: Callable[[], IO[bytes]], stop: threading.Event) -> None:
    try:
        with open_body() as body:
            for _ in prove_whole(body, file.filename, file.project):
                if stop.is_set():
                    return
    except OSError as error:
        raise StoreError(f"{file.filename} cannot be read: {(error.strerror or str(error)).lower()}") from None

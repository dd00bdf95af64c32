"""Read-ahead: the core metadata of a page's newest wheels, read before anybody asks for it."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Sequence

from packaging.version import InvalidVersion, Version

from wheelgate.core.errors import CompanionNotFound, WheelgateError
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import version_of
from wheelgate.runtime.background import BackgroundTasks

_BUDGET = 5
"""Wheels of one page, the newest first."""
_WAITING = 50
"""Of so many pages at a time."""
_DELAY_S = 2.0
"""Delay after a page: what a build itself asks for goes first."""
_log = logging.getLogger(__name__)

Describe = Callable[[File], Awaitable[object]]
"""Makes the core metadata of a listed wheel, and lets the source's memory know."""


class ReadAhead:
    """Background reading for one source, one page at a time. Close it to stop."""

    def __init__(self, source: str, describe: Describe, *, delay_s: float = _DELAY_S) -> None:
        self._source = source
        self._describe = describe
        self._delay_s = delay_s
        self._turn = asyncio.Semaphore(1)
        self._tasks = BackgroundTasks()

    async def close(self) -> None:
        """Stop reading."""
        await self._tasks.close()

    def start(self, page: ProjectPage) -> None:
        """Have the page's newest wheels described, if any is to be and not too many pages wait."""
        if len(self._tasks) < _WAITING and any(map(_is_waiting, page.files)):
            self._tasks.start(page.project, lambda: self._describe_newest(page.files))

    async def _describe_newest(self, files: Sequence[File]) -> None:
        await asyncio.sleep(self._delay_s)
        async with self._turn:
            for file in filter(_is_waiting, await asyncio.to_thread(_newest, files)):
                try:
                    await self._describe(file)
                except CompanionNotFound:
                    continue
                except WheelgateError as error:
                    _log.info("source %s: %s is not described ahead: %s", self._source, file.filename, error)
                    return  # the others would fare the same; whoever asks for one hears why


def _is_waiting(file: File) -> bool:
    """Tell whether its metadata is still to be read out of it."""
    return file.metadata_in_wheel and not file.core_metadata


def _newest(files: Sequence[File]) -> list[File]:
    """Wheels of a page, of which many may wait here: they are looked through when their turn comes, and not held until then."""
    return heapq.nlargest(_BUDGET, (file for file in files if file.filename.endswith(".whl")), key=_age)


def _age(file: File) -> tuple[float, Version]:
    try:
        version = Version(version_of(file.filename, file.project) or "0")
    except InvalidVersion:
        version = Version("0")
    return file.upload_time.timestamp() if file.upload_time else 0.0, version

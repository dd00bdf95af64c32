"""Drafts: bodies on a disk that are not in their place yet, each under a name of its own that nobody looks at.

A draft is locked as long as its process lives, so that the next one to start tells what a dead one left from what is being
written. A platform without ``fcntl`` has no such locks; there only age tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import TypeVar

from wheelgate.runtime.regular_file import open_below, open_regular

T = TypeVar("T")
_CHUNK_BYTES = 1024 * 1024


@contextlib.contextmanager
def draft(body: Path | bytes, folder: Path) -> Iterator[Path]:
    """Keep a body in a folder, its bytes on disk, until the block ends; by a link where possible. A failure leaves nothing.

    Raises:
        OSError: it cannot be written, or read.
    """
    while True:
        ready = folder / uuid.uuid4().hex
        try:
            linked = _link(body, ready)
            with linked or ready.open("xb", buffering=0) as file:
                if not _lock_draft(file, ready):
                    continue
                if linked is None:
                    _fill(file, body)
                os.fsync(file.fileno())
                yield ready
                return
        finally:
            ready.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def entered_apart(manager: AbstractContextManager[T], run: Callable[[Callable[[], T]], Awaitable[T]]) -> AsyncIterator[T]:
    """Enter a context manager, such as a draft, in a thread, and leave it in one, also if the task is cancelled meanwhile.

    ``run``: runs in a thread what takes long.
    """
    loop, stack = asyncio.get_running_loop(), contextlib.ExitStack()

    async def enter() -> T:
        return await run(lambda: stack.enter_context(manager))

    entering = asyncio.create_task(enter())
    try:
        yield await asyncio.shield(entering)
    finally:
        if entering.done():
            with contextlib.suppress(OSError):  # what is left goes at the next start
                await asyncio.to_thread(stack.close)
        else:  # its thread cannot be stopped
            entering.add_done_callback(lambda _: loop.run_in_executor(None, stack.close))


def _link(body: Path | bytes, ready: Path) -> FileIO | None:
    """Link a body that is on the same disk, and open it; ``None``: on another, or one without links."""
    if isinstance(body, bytes):
        return None
    try:
        os.link(body, ready)
    except OSError:
        return None
    if sys.platform == "win32":
        return ready.open("rb+", buffering=0)  # only a writer may flush there
    return open_below(ready.parent, ready.name)


def _fill(file: FileIO, body: Path | bytes) -> None:
    if isinstance(body, bytes):
        left = memoryview(body)
        while left:
            left = left[file.write(left) :]
    else:
        with open_regular(body) as source:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)


def _lock_draft(file: FileIO, ready: Path) -> bool:
    """Lock a draft; ``False``: it was swept away between its making and its lock."""
    if not _lock(file, alone=False):  # shared: one body may be brought in twice at once
        return True
    try:
        return os.path.samestat(ready.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def sweep_drafts(folder: Path, latest_s: float) -> None:
    """Remove the drafts of processes that are gone, and where locks do not tell, those that nobody touched since a moment.

    ``latest_s``: the moment, in seconds since the epoch.

    Raises:
        OSError: the folder cannot be read.
    """
    for left in folder.iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile, or of a living process; or no file, which harms nobody
            if left.lstat().st_ctime < latest_s:
                left.unlink()
                continue
            with open_below(folder, left.name) as file:
                if _lock(file, alone=True):
                    left.unlink()  # while we have the lock: whoever just made it looks again once he has it


def _lock(file: FileIO, *, alone: bool) -> bool:
    """Lock an open file; ``alone``: at once, or :class:`OSError`. ``False``: this platform has no such locks."""
    try:
        import fcntl
    except ImportError:
        return False
    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    return True

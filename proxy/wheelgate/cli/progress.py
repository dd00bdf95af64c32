"""Progress of long work: a bar at a terminal; elsewhere a line now and then, so that the log of a build shows that it lives."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from wheelgate.cli import make_printable

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY_S = 30.0
"""Seconds between two lines."""
_WORTH_A_BAR_BYTES = 4 * 1024 * 1024


class Activity:
    """State of a long command: files and bytes, of how many, and the thing that is being worked on."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._files, self._size = 0, 0
        self._done, self._bytes = 0, 0
        self._under_way: Collection[str] = ()

    def begin(self, files: int, size: int = 0) -> None:
        """Expect so many files and bytes (0: not known)."""
        self._files, self._size = files, size
        self._done, self._bytes = 0, 0

    def step(self, what: str) -> None:
        """Work on this from now on."""
        self._what = what

    def watch(self, under_way: Collection[str]) -> None:
        """Take from here, at each look, the files that are worked on."""
        self._under_way = under_way

    def count_bytes(self, count: int) -> None:
        """Count so many bytes more; fewer, where a part must be fetched again."""
        self._bytes += count

    def finish_file(self) -> None:
        """Count a file more."""
        self._done += 1

    def describe(self) -> str:
        """Return it as a sentence."""
        parts = [f"{self._done} of {self._files} files"] if self._files else []
        if self._bytes or self._size:
            parts.append(format_size(self._bytes) + (f" of {format_size(self._size)}" if self._size else ""))
        first, *others = [*self._under_way] or [self._what]
        return f"{', '.join(parts)}{'; ' if parts else ''}{first}{f' and {len(others)} more' if others else ''}"


@contextmanager
def tell_now_and_then(describe: Callable[[], str], *, every_s: float = LINE_EVERY_S) -> Iterator[None]:
    """Print a line now and then while the block runs, from a thread of its own, which nothing in the work holds up."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(every_s):
            with suppress(OSError, ValueError):  # of a log that takes no more, which is no reason to stop
                print(f"wheelgate: {make_printable(describe())}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def show_transfer(what: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Call the given function with the bytes of each piece. Small files and pipes get no bar; ``size=None``: not known."""
    if (size is not None and size < _WORTH_A_BAR_BYTES) or not sys.stderr.isatty():
        yield lambda _: None
        return
    with _open_progress() as progress:
        task = progress.add_task(what, total=size)
        yield lambda count: progress.update(task, advance=count)


class CopyProgress:
    """The progress of copying many files: what is done, files, bytes, speed, time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)
        self._files = self._done = 0
        self.activity = Activity("reading")

    def step(self, what: str) -> None:
        """Show what begins and takes long."""
        self.activity.step(what)
        self._progress.update(self._task, description=what)

    def begin(self, files: int, size: int) -> None:
        """Expect so many files and bytes."""
        self._files, self._done = files, 0
        self.activity.begin(files, size)
        self._progress.reset(self._task, total=size or None, description=f"0 of {files} files")

    def bytes(self, count: int) -> None:
        """Count so many bytes more; fewer, where a part must be fetched again."""
        self.activity.count_bytes(count)
        self._progress.advance(self._task, count)

    def done(self, _: object) -> None:
        """Count a file more."""
        self._done += 1
        self.activity.finish_file()
        self._progress.update(self._task, description=f"{self._done} of {self._files} files")


@contextmanager
def show_copying(*, quiet: bool = False, every_s: float = LINE_EVERY_S) -> Iterator[CopyProgress]:
    """Draw a bar that is gone when the block ends; where there is no terminal, print a line now and then. ``quiet``: neither."""
    with _open_progress(quiet=quiet) as progress:
        copying = CopyProgress(progress)
        if quiet or sys.stderr.isatty():
            yield copying
        else:
            with tell_now_and_then(copying.activity.describe, every_s=every_s):
                yield copying


def format_size(size: int) -> str:
    """Format a number of bytes for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _open_progress(*, quiet: bool = False) -> Progress:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    disable = quiet or not sys.stderr.isatty()
    return progress.Progress(*columns, console=Console(stderr=True), transient=True, disable=disable)

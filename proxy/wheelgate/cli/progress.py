"""Progress bars for long transfers, drawn at a terminal and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_WORTH_A_BAR_BYTES = 4 * 1024 * 1024


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
    """The progress of copying many files: what is done, files, bytes, speed, time left; nothing where there is no terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)
        self._files = self._done = 0

    def step(self, what: str) -> None:
        """Show what begins and takes long."""
        self._progress.update(self._task, description=what)

    def begin(self, files: int, size: int) -> None:
        """Expect so many files and bytes."""
        self._files, self._done = files, 0
        self._progress.reset(self._task, total=size or None, description=f"0 of {files} files")

    def bytes(self, count: int) -> None:
        """Count so many bytes more; fewer, where a part must be fetched again."""
        self._progress.advance(self._task, count)

    def done(self, _: object) -> None:
        """Count a file more."""
        self._done += 1
        self.step(f"{self._done} of {self._files} files")


@contextmanager
def show_copying(*, quiet: bool = False) -> Iterator[CopyProgress]:
    """Draw a bar that is gone when the block ends."""
    with _open_progress(quiet=quiet) as progress:
        yield CopyProgress(progress)


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

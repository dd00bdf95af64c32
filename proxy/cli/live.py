"""The progress of copying many files, drawn at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from proxy.cli.progress import Bar


class LiveBar(Bar):
    """One line: what is done, files, bytes, speed, time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)
        self._files = self._done = 0

    def step(self, what: str) -> None:
        """See :class:`~proxy.cli.progress.Bar`."""
        self._progress.update(self._task, description=what)

    def begin(self, files: int, size: int) -> None:
        """See :class:`~proxy.cli.progress.Bar`."""
        self._files, self._done = files, 0
        self._progress.reset(self._task, total=size or None, description=f"0 of {files} files")

    def bytes(self, count: int) -> None:
        """See :class:`~proxy.cli.progress.Bar`."""
        self._progress.advance(self._task, count)

    def done(self, _: object) -> None:
        """See :class:`~proxy.cli.progress.Bar`."""
        self._done += 1
        self._progress.update(self._task, description=f"{self._done} of {self._files} files")


@contextmanager
def live_bar() -> Iterator[LiveBar]:
    """A bar that is gone when the block ends."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield LiveBar(progress)

"""The progress of copying many files: bytes, speed and time left, drawn at a terminal and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Tells nobody: there is no terminal to tell."""

    def step(self, what: str) -> None:
        """Something that takes long begins."""

    def begin(self, files: int, size: int) -> None:
        """So many files and bytes are to come."""

    def bytes(self, count: int) -> None:
        """So many bytes more; fewer, where a part must be had again."""

    def done(self, _: object) -> None:
        """A file more is there."""


class _LiveBar(Bar):
    """One line: what is done, files, bytes, speed, time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)
        self._files = self._done = 0

    def step(self, what: str) -> None:
        self._progress.update(self._task, description=what)

    def begin(self, files: int, size: int) -> None:
        self._files, self._done = files, 0
        self._progress.reset(self._task, total=size or None, description=f"0 of {files} files")

    def bytes(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def done(self, _: object) -> None:
        self._done += 1
        self._progress.update(self._task, description=f"{self._done} of {self._files} files")


@contextmanager
def copying() -> Iterator[Bar]:
    """A bar that is gone when the block ends."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    what = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    how_much = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*what, *how_much, console=Console(stderr=True), transient=True) as progress:
        yield _LiveBar(progress)

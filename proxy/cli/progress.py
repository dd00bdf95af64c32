"""A progress bar for what takes long, at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WORTH_A_BAR_BYTES = 4 * 1024 * 1024


@contextmanager
def transfer(what: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Call the given function with the bytes of each piece. Small files and pipes get no bar; ``size=None``: not known."""
    if (size is not None and size < _WORTH_A_BAR_BYTES) or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=size)
        yield lambda count: bar.update(task, advance=count)


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


@contextmanager
def copying() -> Iterator[Bar]:
    """Progress over many files: bytes, speed and time left, at a terminal."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from proxy.cli.live import live_bar

    with live_bar() as bar:
        yield bar

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

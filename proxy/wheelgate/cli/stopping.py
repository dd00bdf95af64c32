"""Signals that end a long command in order: SIGTERM of a pipeline and SIGHUP of a closed terminal do as Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


@contextmanager
def stop_as_by_ctrl_c() -> Iterator[None]:
    """Turn the first of these signals into SIGINT while the block runs, and disregard further ones, for it takes its time to end.

    A second one may come while the first is being handled. One that is ignored, as nohup has it, stays so. SIGINT may be ignored,
    too, as a shell has it for what it runs in the background: then Ctrl-C still means others, and these end the command.
    """
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    is_first = iter((True,))

    def stop(*_: object) -> None:
        if not next(is_first, False):
            return
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    for number in numbers:
        if former[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

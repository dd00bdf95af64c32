"""A signal tells its listeners in order."""

from __future__ import annotations

from wheelgate.runtime.signal import Signal


def test_listeners_are_told_in_order_and_each_time() -> None:
    signal, told = Signal(), []
    signal.emit()
    signal.subscribe(lambda: told.append("first"))
    signal.subscribe(lambda: told.append("second"))
    signal.emit()
    signal.emit()
    assert told == ["first", "second", "first", "second"]

"""A signal tells its listeners in order, and what changed."""

from __future__ import annotations

from wheelgate.runtime.signal import Signal


def test_listeners_are_told_in_order_and_each_time() -> None:
    told: list[tuple[str, str | None]] = []
    signal = Signal()
    signal.emit()
    signal.subscribe(lambda key: told.append(("first", key)))
    signal.subscribe(lambda key: told.append(("second", key)))
    signal.emit()
    signal.emit("acme-lib")
    assert told == [("first", None), ("second", None), ("first", "acme-lib"), ("second", "acme-lib")]

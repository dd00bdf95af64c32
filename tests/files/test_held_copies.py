"""Copies that are known to be held: looked for once a minute, and known for longer while nobody can look."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.clock import FakeClock
from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.files.held_copies import HeldCopies

KEY = ("cache/pypi/demo/demo-1.0-py3-none-any.whl", None)
COPY = BlobInfo(KEY[0], 1, "etag", datetime(2026, 1, 1, tzinfo=UTC), {})


class Store:
    """What the store would say, and how often it was asked."""

    def __init__(self) -> None:
        self.holds: BlobInfo | None = COPY
        self.is_away = False
        self.asked = 0

    async def look(self) -> BlobInfo | None:
        self.asked += 1
        if self.is_away:
            raise StoreError("the store cannot be reached")
        return self.holds


async def test_it_is_looked_for_once_a_minute(clock: FakeClock) -> None:
    held, store = HeldCopies(clock.monotonic), Store()
    assert [await held.find(KEY, store.look) for _ in range(3)] == [COPY] * 3
    assert store.asked == 1
    clock.move(61)
    store.holds = None
    assert await held.find(KEY, store.look) is None


async def test_what_was_seen_stands_while_nobody_can_look(clock: FakeClock) -> None:
    held, store = HeldCopies(clock.monotonic), Store()
    await held.find(KEY, store.look)
    clock.move(3_600)
    store.is_away = True
    assert await held.find(KEY, store.look) == COPY
    with pytest.raises(StoreError):  # nobody knows what it was
        await held.find((KEY[0], "other"), store.look)
    held.clear()
    with pytest.raises(StoreError):
        await held.find(KEY, store.look)

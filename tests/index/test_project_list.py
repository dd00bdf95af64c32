"""The list of projects: names that several places have are held once, and are not held up by how many there are."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore
from wheelgate.core.name_table import NameTable
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.storage.change_log import Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

NAMES = 40_000
PAGE = 1_000
MOST_BYTES = 60


class ManyNames(MemoryStore):
    """A store with as many names, each of which is claimed and has a file. What it lists is made while it is listed."""

    async def list_folder(self, folder: str) -> AsyncGenerator[Sequence[str]]:
        ending = "/" if folder == "packages/" else ""
        for start in range(0, NAMES, PAGE):
            yield [f"acme-held-{number * 7919 % NAMES}{ending}" for number in range(start, start + PAGE)]


class World:
    """An index over claims and packages of ours."""

    def __init__(self, clock: FakeClock) -> None:
        store, table = ManyNames(), NameTable()
        self.changes = StoreChanges(store, clock)
        self.claims = Claims(store, clock, self.changes, table=table)
        self.packages = BlobPackages(name="uploads", store=store, prefix="packages/", clock=clock, table=table)
        self.changes.subscribe(Kind.PACKAGE, self.packages.forget)
        self.index = Merged(
            [Member(self.packages, True)], claims=self.claims, clock=clock, metrics=Metrics(), reserved=NamePatterns([])
        )


@pytest.fixture
async def world(clock: FakeClock) -> AsyncIterator[World]:
    made = World(clock)
    yield made
    await made.claims.close()
    await made.packages.close()


async def test_a_name_takes_sixty_bytes_also_while_it_is_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed, held and answered: once, and not three times; while it is listed for the first time, and anew."""
    monkeypatch.setattr("wheelgate.storage.kept_names._FIRST_S", 100)  # the trace of memory takes time
    monkeypatch.setattr("wheelgate.storage.kept_names._PATIENCE_S", 100)
    gc.collect()
    tracemalloc.start()
    try:
        projects = await world.index.list_projects()
        first = tracemalloc.get_traced_memory()
        for number in range(0, NAMES, 100):
            world.claims._known.put(f"acme-held-{number}", True)
        world.claims._names.forget()
        world.packages.forget()
        tracemalloc.reset_peak()
        again = await world.index.list_projects()
        del projects
        gc.collect()
        anew = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    per_name = [figure / NAMES for figure in (*first, *anew)]
    assert max(per_name) <= MOST_BYTES, per_name
    assert sum(map(len, again.merge())) == NAMES

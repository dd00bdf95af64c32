"""Containers of many blobs, at the wire: nobody waits while they are listed, and what is known of them takes little room."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.azurite import KEY
from tests.support.clock import FakeClock
from tests.support.fake_container import fake_container, project_of
from tests.support.stores import MemoryStore
from tests.support.turns import longest_turn
from wheelgate.core.errors import ProjectNotFound
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.kept_listing import KeptListing
from wheelgate.storage.azure import AzureStore, azure_store


class Big:
    """A container, and where its listing is kept."""

    def __init__(self, count: int, blobs: AzureStore, clock: FakeClock) -> None:
        self.count = count
        self.blobs = blobs
        self.clock = clock
        self.ours = MemoryStore()

    def start(self) -> BlobScan:
        kept = KeptListing("big", url=self.blobs.display_url, store=self.ours)
        return BlobScan(name="big", store=self.blobs, clock=self.clock, interval_s=3_600, patience_s=600, kept=kept)


@pytest.fixture(scope="module", params=[20_000, pytest.param(300_000, marks=pytest.mark.long)])
def container(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    with fake_container(request.param) as url:
        yield request.param, url


@pytest.fixture
async def big(container: tuple[int, str], clock: FakeClock) -> AsyncIterator[Big]:
    count, url = container
    async with azure_store(url, name="big", credential=KEY, clock=clock, sas_window_s=900, sas_life_s=1800) as blobs:
        yield Big(count, blobs, clock)


async def test_no_turn_of_the_loop_is_long_whatever_is_done(big: Big) -> None:
    scan = big.start()
    async with longest_turn() as turns:
        await scan.scan()
        await scan.project_names()
        await scan.project_page(project_of(0))
        await scan.scan()
        later = big.start()
        await later.project_page(project_of(big.count - 1))
    assert turns.longest_s < 0.02
    await scan.close()
    await later.close()


async def test_the_next_process_answers_at_once(big: Big) -> None:
    scan = big.start()
    await scan.scan()
    await scan.close()
    later = big.start()
    began = time.process_time()
    page = await later.project_page(project_of(big.count // 2))
    with pytest.raises(ProjectNotFound):
        await later.project_page("absent")
    assert time.process_time() - began < 1.0
    assert len(page.files) == 10
    await later.close()


@pytest.mark.long
async def test_a_name_costs_sixty_bytes_and_another_listing_none(big: Big) -> None:
    scan = BlobScan(name="big", store=big.blobs, clock=big.clock, interval_s=3_600, patience_s=600)
    await scan.scan()  # what is remembered of names anyway
    scan._last = None
    tracemalloc.start()
    await scan.scan()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    await scan.scan()
    again, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / big.count < 60 + 300_000 / big.count
    assert again < held * 1.1 + 100_000
    assert peak < held * 1.6 + 4_000_000, "one listing, its index twice, and what is on its way"
    await scan.close()


async def test_a_page_costs_the_same_whatever_the_container_holds(big: Big) -> None:
    scan = big.start()
    await scan.scan()
    assert scan._last is not None
    listing = scan._last.listing
    assert len(set().union(*listing.names())) == big.count // 10
    began = time.thread_time()
    for number in range(0, big.count, big.count // 100):
        assert len(listing.find(project_of(number))) == 10
    assert (time.thread_time() - began) / 100 < 0.005
    await asyncio.sleep(0)
    await scan.close()

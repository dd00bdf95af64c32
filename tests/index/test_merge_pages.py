"""Pages made of others are made once, and large ones hold nobody up."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import msgspec

from tests.support.sources import content, listed
from wheelgate.core.file_list import FileList
from wheelgate.core.model import ProjectPage
from wheelgate.index.merge_pages import MadePages
from wheelgate.runtime.metrics import Metrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def page(count: int) -> ProjectPage:
    return ProjectPage(project="demo", files=FileList(listed("demo", f"{number}.0") for number in range(count)), as_of=NOW)


async def test_a_page_is_made_once_of_the_same_pages_and_anew_of_others() -> None:
    cache, inputs = MadePages(1_000_000, Metrics()), (page(2), page(3))
    made = await cache.page("demo", None, inputs, NOW, lambda: page(5))
    assert await cache.page("demo", None, inputs, NOW, lambda: page(5)) is made
    assert await cache.page("demo", None, inputs[:1], NOW, lambda: page(5)) is not made
    assert await cache.page("demo", None, (inputs[0], page(3)), NOW, lambda: page(5)) is not made
    cache.clear()
    assert await cache.page("demo", None, inputs, NOW, lambda: page(5)) is not made


async def test_what_is_too_large_to_remember_is_made_each_time() -> None:
    cache, inputs = MadePages(1_000, Metrics()), (page(10),)
    assert content(await cache.page("demo", None, inputs, NOW, lambda: page(9))) == content(page(9))
    assert not cache._pages


async def test_pages_of_thousands_of_files_are_looked_through_in_a_thread() -> None:
    ran: list[threading.Thread] = []

    def make() -> ProjectPage:
        ran.append(threading.current_thread())
        return page(1)

    cache = MadePages(10_000_000, Metrics())
    for count in (10, 3_000):
        await cache.page("demo", None, (page(count),), NOW, make)
    assert [thread is threading.main_thread() for thread in ran] == [True, False]


async def test_a_page_whose_parts_are_confirmed_anew_keeps_its_content() -> None:
    cache, parts = MadePages(1_000_000, Metrics()), (page(2), page(3))
    made = await cache.page("demo", None, parts, NOW, lambda: page(5))
    later = NOW + timedelta(minutes=1)
    confirmed = tuple(msgspec.structs.replace(part, as_of=later, stale=True) for part in parts)
    again = await cache.page("demo", None, confirmed, NOW, lambda: page(5))
    assert (again.revision, again.as_of, again.stale) == (made.revision, later, True)
    assert await cache.page("demo", None, confirmed, NOW, lambda: page(5)) is again

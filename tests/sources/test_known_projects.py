"""What replicas know together of the projects that a source had: none of them takes it for a new one because it came first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from wheelgate.sources.known_projects import KnownProjects
from wheelgate.storage.local import LocalStore

URL = "https://packages.example.com/simple/"
Start = Callable[[], KnownProjects]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts one replica after another over one store."""
    store = LocalStore(tmp_path / "store", "the store")
    store.prepare()
    async with AsyncExitStack() as stack:

        def start() -> KnownProjects:
            known = KnownProjects("team", url=URL, store=store)
            stack.push_async_callback(known.close)
            return known

        yield start


async def settle(*replicas: KnownProjects) -> None:
    """What was noted is written."""
    for known in replicas:
        await known._writing.wait("keep")


async def ask_root(known: KnownProjects) -> bool:
    """True if a root that lists nothing is believed to be that of a new index."""
    return not await known.ever_had()


async def ask_container(known: KnownProjects) -> bool:
    """True if an empty container that nobody can identify is believed to be a new one."""
    return await known.may_be_empty(None)


NEWNESS = pytest.mark.parametrize("is_new", [ask_root, ask_container])
IsNew = Callable[[KnownProjects], Awaitable[bool]]


@NEWNESS
async def test_a_source_that_another_replica_saw_projects_of_is_no_new_one(start: Start, is_new: IsNew) -> None:
    early, other = start(), start()
    assert await is_new(early)
    other.note("acme-a", "here")
    await settle(other)
    assert not await is_new(early)


@NEWNESS
async def test_nothing_that_a_replica_writes_takes_away_what_others_saw(start: Start, is_new: IsNew) -> None:
    early, other = start(), start()
    assert await is_new(early)
    other.note("acme-a", "here")
    await settle(other)
    early.note_manner(states_digests=True)
    await settle(early)
    assert not await is_new(start())
    early.note("acme-b", "here")
    await settle(early)
    early.forget("acme-b")
    await settle(early)
    assert not await is_new(start())


async def test_what_is_gone_is_gone_for_all_who_did_not_see_it_since(start: Start) -> None:
    one, other = start(), start()
    one.note("acme-a")
    await settle(one)
    other.note("acme-b")
    await settle(other)
    assert set(await start().names()) == {"acme-a", "acme-b"}
    other.forget("acme-a")
    await settle(other)
    assert await start().names() == ("acme-b",)


async def test_the_store_is_asked_again_only_by_whom_nothing_is_known(start: Start) -> None:
    known = start()
    known.note("acme-a")
    await settle(known)
    known._store = None  # asked, it would fail
    assert await known.ever_had() == ("acme-a",)

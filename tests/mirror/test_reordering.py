"""Reordering: where each blob belongs, and that nothing is lost however it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

import pytest

from tests.core.test_belonging import NOBODYS, TAKEN, WITHHELD
from tests.support.packages import wheel_name
from wheelgate.core.belonging import read_belonging
from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.mirror.reordering import Conflict, ReorderPlan, Undecided, find_places, plan_reordering, reorder
from wheelgate.sources.packed_listing import find_projects

WHEEL = wheel_name("acme-lib", "1.0")
NOW = datetime(2026, 1, 1, tzinfo=UTC)

PLACES = {
    WHEEL: f"acme-lib/{WHEEL}",
    f"a/b/{WHEEL}": f"acme-lib/{WHEEL}",
    f"acme-lib/{WHEEL}": f"acme-lib/{WHEEL}",
    f"Acme.Lib/{WHEEL}": f"acme-lib/{WHEEL}",
    "x/Acme.Lib-1.0.tar.gz": "acme-lib/Acme.Lib-1.0.tar.gz",
    f"x/{WHEEL}.metadata": f"acme-lib/{WHEEL}.metadata",
    f"x/{WHEEL}.provenance": f"acme-lib/{WHEEL}.provenance",
    "x/acme_-1.0-py3-none-any.whl": "acme/acme_-1.0-py3-none-any.whl",
    "x/acme-1.0-py3.9.egg": "acme/acme-1.0-py3.9.egg",
    "x/acme-1.0.TAR.GZ": "acme/acme-1.0.TAR.GZ",
    "README.md": None,
    "README.metadata": None,
    "x/y.whl": None,
    f"{WHEEL}/": None,
    "wheelgate-manifest.json": None,
}


@pytest.mark.parametrize(("path", "place"), PLACES.items())
def test_where_a_blob_belongs(path: str, place: str | None) -> None:
    assert find_places(path) == ([] if place is None else [place])


def blob(path: str, size: int = 3) -> BlobInfo:
    return BlobInfo(path, size, f"e-{path}", NOW, {})


async def plan(*blobs: BlobInfo) -> ReorderPlan:
    async def listing(found: Iterable[BlobInfo] = blobs) -> AsyncIterator[BlobInfo]:
        for info in found:
            yield info

    return await plan_reordering(listing())


async def test_one_plan_says_what_moves_what_stays_and_what_cannot_be_told_apart() -> None:
    other, third = wheel_name("other", "1.0"), wheel_name("third", "1.0")
    made = await plan(
        blob(f"a/{WHEEL}"),
        blob(f"a/{WHEEL}.metadata"),
        blob(f"x/{other}"),
        blob(f"y/{other}"),
        blob(f"third/{third}", 5),
        blob(f"z/{third}", 6),
        blob("fine/fine-1.0.tar.gz"),
        blob("README.md"),
    )
    assert [(move.blob.path, move.to) for move in made.moves] == [
        (f"a/{WHEEL}.metadata", f"acme-lib/{WHEEL}.metadata"),
        (f"a/{WHEEL}", f"acme-lib/{WHEEL}"),
    ]
    assert made.conflicts == [
        Conflict(f"other/{other}", (f"x/{other}", f"y/{other}")),
        Conflict(f"third/{third}", (f"third/{third}", f"z/{third}")),
    ]
    assert (made.in_place, made.others, made.size) == (2, 1, 6)


async def test_what_may_be_of_several_projects_or_cannot_be_read_stays_and_is_named() -> None:
    two = "legacy-name-1.3-1.tar.gz"
    made = await plan(
        blob(f"x/{two}"),
        blob(f"legacy-name/{two}"),
        BlobInfo(f"x/{WHEEL}", 3, "e", NOW, {}, f"x/{WHEEL} was sent with a key of its own"),
        BlobInfo("fine/fine-1.0.tar.gz", 3, "e", NOW, {}, "it is damaged where it is"),
        BlobInfo("README.md", 3, "e", NOW, {}, "it is damaged, and nobody's"),
    )
    assert (made.moves, made.conflicts, made.in_place, made.others) == ([], [], 2, 1)
    assert made.undecided == [
        Undecided(f"x/{two}", f"put it where it belongs, as legacy-name/{two} or legacy-name-1-3/{two}"),
        Undecided(f"x/{WHEEL}", f"x/{WHEEL} was sent with a key of its own"),
    ]


async def test_after_a_reordering_the_same_projects_are_claimed() -> None:
    """Else a public source would be asked for what is private, once the layout is ``project``."""
    names = [*TAKEN, *WITHHELD, *NOBODYS]
    made = await plan(*(blob(f"x{number}/{name}") for number, name in enumerate(names)))
    kept = {*(move.to for move in made.moves), *(place for left in made.undecided for place in find_places(left.path))}
    assert {project for path in kept for project in find_projects(path, by_folder=True)} == {
        project for name in names for project in read_belonging(name).projects
    }


@pytest.mark.parametrize(
    "record",
    [
        "state/changed",
        "team/store/state/changed",
        f"tombstones/acme-lib/{WHEEL}",
        "tombstones/legacy-name/legacy-name-1.3-1.tar.gz",
        f"store/tombstones/acme-lib/{WHEEL}",
    ],
)
async def test_where_a_store_is_nothing_is_planned(record: str) -> None:
    with pytest.raises(StoreError, match=f"^{record} is a record of a Wheelgate that keeps its store there"):
        await plan(blob(f"packages/other/{WHEEL}"), blob(record))


@pytest.mark.parametrize("path", [f"tombstones/{WHEEL}", f"tombstones/other/{WHEEL}", "mystate/changed", "state/changed/x.txt"])
async def test_what_only_resembles_a_store_is_planned(path: str) -> None:
    await plan(blob(f"x/{WHEEL}"), blob(path))


class Account:
    """A container that copies as it is told, and what was asked of it."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = {path.replace("_", "/"): error for path, error in errors.items()}
        self.copies: dict[str, str] = {}
        self.removed: list[str] = []

    async def ensure(self, blob: BlobInfo, to: str) -> bool:
        if error := self.errors.get(blob.path.partition("-")[0]):
            raise error
        is_new = to not in self.copies
        self.copies[to] = blob.path
        return is_new

    async def remove(self, blob: BlobInfo) -> None:
        assert blob.path in self.copies.values()
        self.removed.append(blob.path)


async def test_what_fails_is_told_stays_where_it_is_and_stops_nothing_else() -> None:
    account = Account(
        x_gone=BlobNotFound("gone"),
        x_new=BlobChanged("changed"),
        x_other=BlobExists("p is there already"),
        x_down=StoreError("down"),
    )
    made = await plan(*(blob(f"x/{name}-1.0.tar.gz") for name in ("gone", "new", "other", "down", "fine")))
    shown: list[int] = []
    done = await reorder(made, account, remove=True, show=lambda state: shown.append(state.copied))
    assert account.removed == ["x/fine-1.0.tar.gz"]
    assert (done.copied, done.removed, len(done.failed), len(shown)) == (1, 1, 4, 5)
    assert done.failed == [
        "p is there already: delete one of them",
        "x/down-1.0.tar.gz: down",
        "x/gone-1.0.tar.gz was changed or removed meanwhile: run this again",
        "x/new-1.0.tar.gz was changed or removed meanwhile: run this again",
    ]


async def test_it_goes_on_where_it_was() -> None:
    account = Account(x_two=StoreError("down"))
    made = await plan(*(blob(f"x/{name}-1.0.tar.gz") for name in ("one", "two", "three")))
    first = await reorder(made, account, remove=False)
    account.errors.clear()
    second = await reorder(made, account, remove=False)
    assert (first.copied, second.copied, second.there_already) == (2, 1, 2)
    assert not account.removed

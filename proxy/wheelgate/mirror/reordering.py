"""Reordering of a container in any layout into ``<project>/<file>``: planned from its listing, then copied, proven, and removed.

Nothing is ever overwritten, and nothing is removed of which no proven copy is there. So it may be broken off and begun again at
any moment. Of a file name that several blobs have, or that is of several projects, nothing is touched: which one is meant is not
for us to say. What no installer takes is moved too: by project alone, it would no longer keep its project's name where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from wheelgate.core.belonging import read_belonging
from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.storage import layout

_AT_ONCE = 16
_COMPANIONS = (".metadata", ".provenance")


class Move(msgspec.Struct, frozen=True):
    """A blob, and where it belongs."""

    blob: BlobInfo
    to: str


class Conflict(msgspec.Struct, frozen=True):
    """A place that several blobs claim."""

    to: str
    paths: tuple[str, ...]


class Undecided(msgspec.Struct, frozen=True):
    """A distribution file that stays where it is, and why, in words that may follow a colon."""

    path: str
    why: str


class ReorderPlan(msgspec.Struct, frozen=True):
    """Moves for the blobs of a container, and what needs none."""

    moves: Sequence[Move]
    """In the order of the places; what stands beside a file comes before it."""
    in_place: int
    others: int
    """Blobs that are no distribution files of any project; they stay where they are."""
    conflicts: Sequence[Conflict]
    undecided: Sequence[Undecided] = ()

    @property
    def size(self) -> int:
        """Bytes to be copied."""
        return sum(move.blob.size for move in self.moves)


class Reordered(msgspec.Struct):
    """Outcome of a plan, so far."""

    copied: int = 0
    copied_bytes: int = 0
    there_already: int = 0
    removed: int = 0
    failed: list[str] = []
    """A sentence each."""


class CopyMaker(Protocol):
    """Maker of copies within a container."""

    async def ensure(self, blob: BlobInfo, to: str) -> bool: ...
    async def remove(self, blob: BlobInfo) -> None: ...


async def plan_reordering(blobs: AsyncIterator[BlobInfo]) -> ReorderPlan:
    """Plan where each distribution file of a listing belongs, with what is kept beside it.

    Raises:
        StoreError: it cannot be listed; or some Wheelgate keeps its store there, whose uploads and records would be moved.
    """
    claimants: dict[str, list[BlobInfo]] = {}
    undecided: list[Undecided] = []
    others = 0
    async for blob in blobs:
        if is_of_a_store(blob.path):
            raise StoreError(
                f"{blob.path} is a record of a Wheelgate that keeps its store there, so nothing is reordered: "
                "give the source a container or a folder that has no store in it"
            )
        places = find_places(blob.path)
        if not places:
            others += 1
        elif blob.path in places:
            claimants.setdefault(blob.path, []).append(blob)
        elif blob.damage is not None:
            undecided.append(Undecided(blob.path, blob.damage))
        elif len(places) > 1:
            undecided.append(Undecided(blob.path, f"put it where it belongs, as {' or '.join(places)}"))
        else:
            claimants.setdefault(places[0], []).append(blob)
    moves, conflicts, in_place = [], [], 0
    for place, found in sorted(claimants.items()):
        strays = [blob for blob in found if blob.path != place]
        in_place += len(found) - len(strays)
        if len(strays) == 1 and len({blob.size for blob in found}) == 1:  # what is in place may be its copy
            moves.append(Move(strays[0], place))
        elif strays:
            conflicts.append(Conflict(place, tuple(sorted(blob.path for blob in found))))
    moves.sort(key=lambda move: (not move.to.endswith(_COMPANIONS), move.to))
    return ReorderPlan(moves, in_place, others, conflicts, undecided)


def find_places(path: str) -> Sequence[str]:
    """Find where a blob may belong; nowhere: it is no distribution file, nor stands beside one."""
    filename = path.rpartition("/")[2]
    ending = next((ending for ending in _COMPANIONS if filename.endswith(ending)), "")
    return [f"{project}/{filename}" for project in read_belonging(filename.removesuffix(ending)).projects]


def is_of_a_store(path: str) -> bool:
    """True if a blob, in whatever folder, is one that only a store has: its change log, or the tombstone of a file."""
    if f"/{path}".endswith(f"/{layout.CHANGED}"):
        return True
    folder, _, filename = path.rpartition("/")
    projects = read_belonging(filename).projects if layout.TOMBSTONES in path else ()
    return any(f"/{folder}".endswith(f"/{layout.TOMBSTONES}{project}") for project in projects)


async def reorder(
    plan: ReorderPlan, copier: CopyMaker, *, remove: bool, show: Callable[[Reordered], object] = lambda _: None
) -> Reordered:
    """Carry out a plan, some blobs at a time. What fails is told, and stops nothing else.

    Args:
        plan: of the container as it was listed.
        copier: copies in it.
        remove: delete each original once its copy is proven.
        show: is told of the progress.
    """
    done = Reordered()
    for companions in (True, False):  # a file is there only with what stands beside it
        moves = iter([move for move in plan.moves if move.to.endswith(_COMPANIONS) is companions])
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(_carry_out_each(moves, copier, done, remove=remove, show=show))
    done.failed.sort()
    return done


async def _carry_out_each(
    moves: Iterator[Move], copier: CopyMaker, done: Reordered, *, remove: bool, show: Callable[[Reordered], object]
) -> None:
    for move in moves:
        await _carry_out(move, copier, done, remove=remove)
        show(done)


async def _carry_out(move: Move, copier: CopyMaker, done: Reordered, *, remove: bool) -> None:
    try:
        if await copier.ensure(move.blob, move.to):
            done.copied += 1
            done.copied_bytes += move.blob.size
        else:
            done.there_already += 1
        if remove:
            await copier.remove(move.blob)
            done.removed += 1
    except (BlobNotFound, BlobChanged):
        done.failed.append(f"{move.blob.path} was changed or removed meanwhile: run this again")
    except BlobExists as error:
        done.failed.append(f"{error}: delete one of them")
    except StoreError as error:
        done.failed.append(f"{move.blob.path}: {error}")

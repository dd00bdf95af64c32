"""Holdings: what a source has of one project, sorted into what can be offered and what cannot, and why.

What cannot be offered is withheld by name, rather than left out without a word: the project is the source's all the same, and
somebody put the file there for others to install.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from wheelgate.core.belonging import find_obstacle
from wheelgate.core.model import MAX_NAMED, UNUSABLE, Withheld
from wheelgate.core.names import make_safe_filename, show_any
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.cooperative import Steps
from wheelgate.runtime.logs import TroubleLog
from wheelgate.sources.packed_listing import FOLDER_END, PackedListing

DAMAGED = "damaged"
"""The rule by which files are withheld that cannot be believed, or not be read."""
_MAX_COMPARED = 100_000


class Holdings(msgspec.Struct, frozen=True):
    """The files that a source has of one project."""

    offered: Mapping[str, BlobInfo]
    """By name."""
    withheld: tuple[Withheld, ...]
    dropped: int
    """Files that are not offered, beyond those that are named."""

    @property
    def is_nothing(self) -> bool:
        """True if the source has nothing of the project at all."""
        return not self.offered and not self.withheld

    @property
    def damage(self) -> Withheld | None:
        """The first of the files that cannot be believed, if nothing is offered; ``None``: there is none."""
        return None if self.offered else next((entry for entry in self.withheld if entry.rule == DAMAGED), None)


class Unoffered(msgspec.Struct, frozen=True):
    """Some of the files that a source has and does not offer, and how many there are."""

    named: tuple[Withheld, ...]
    total: int


@runtime_checkable
class Holder(Protocol):
    """A source that can tell what it has and does not offer."""

    async def find_unoffered(self, most: int) -> Unoffered:
        """Find those files in all that it has, and name at most so many.

        Raises:
            UpstreamError, StoreError: it could not be heard.
        """


class HoldingsBuilder:
    """Sorter of the files of one project. Of one name in several places the first has it."""

    def __init__(self, source: str, project: str) -> None:
        self._source = source
        self._project = project
        self._offered: dict[str, BlobInfo] = {}
        self._withheld: list[Withheld] = []
        self._dropped = 0

    def add(self, file: BlobInfo) -> None:
        """Sort in the next file of the project."""
        filename = file.path.removesuffix(FOLDER_END).rpartition("/")[2]
        first = self._offered.get(filename)
        if file.damage is not None:
            self._name(explain_damaged(self._source, filename, file.damage))
        elif (obstacle := find_obstacle(filename, self._project)) is not None:
            self.withhold(filename, obstacle)
        elif first is None:
            self.offer(filename, file)
        elif (obstacle := _compare(file, first.size, first.facts.get("sha256"), first.path)) is not None:
            self.withhold(filename, obstacle)

    def offer(self, filename: str, file: BlobInfo) -> None:
        """Offer a file, whatever its name."""
        self._offered[filename] = file

    def withhold(self, filename: str, why: str) -> None:
        """Name a file that is not offered, and why, in words that may follow a colon."""
        self._name(explain_unoffered(self._source, filename, why))

    def _name(self, entry: Withheld) -> None:
        if len(self._withheld) < MAX_NAMED:
            self._withheld.append(entry)
        else:
            self._dropped += 1

    def finish(self) -> Holdings:
        """Everything that was added."""
        return Holdings(self._offered, tuple(self._withheld), self._dropped)


def sort_holdings(source: str, project: str, files: Iterable[BlobInfo]) -> Holdings:
    """Sort the files of one project, in their order."""
    builder = HoldingsBuilder(source, project)
    for file in files:
        builder.add(file)
    return builder.finish()


def explain_unoffered(source: str, filename: str, why: str) -> Withheld:
    """Withhold a file that cannot be offered. ``why``: in words that may follow a colon."""
    return Withheld(make_safe_filename(filename), source, UNUSABLE, f"source {source} does not offer {show_any(filename)}: {why}")


def explain_damaged(source: str, filename: str, sentence: str) -> Withheld:
    """Withhold a file that cannot be believed. ``sentence``: what is wrong with which file, and what to do."""
    return Withheld(make_safe_filename(filename), source, DAMAGED, f"source {source}: {sentence}")


def find_unoffered(source: str, listing: PackedListing, most: int) -> Steps[Unoffered]:
    """Find the files that are not offered, among all that were listed.

    Archives without a version in their names are passed over: they may be anything. Nor are names compared beyond the first
    hundred thousand.
    """
    named: list[Withheld] = []
    seen: dict[str, tuple[int, str | None, str]] = {}
    total = 0
    for files in listing.files():
        for file in files:
            filename = file.path.removesuffix(FOLDER_END).rpartition("/")[2]
            obstacle = file.damage or listing.find_obstacle(file.path)
            if obstacle is None and filename in seen:
                obstacle = _compare(file, *seen[filename])
            elif obstacle is None and len(seen) < _MAX_COMPARED:
                seen[filename] = file.size, file.facts.get("sha256"), file.path
            if obstacle is not None:
                total += 1
                if len(named) < most:
                    explain = explain_unoffered if file.damage is None else explain_damaged
                    named.append(explain(source, filename, obstacle))
        yield
    return Unoffered(tuple(named), total)


def log_unoffered(troubles: TroubleLog, project: str, withheld: Sequence[Withheld]) -> None:
    """Say what of a project is not offered, unless that was said of it last."""
    for entry in withheld:
        if entry.rule == DAMAGED:
            troubles.report(entry.reason, entry.reason)
    unusable = [entry for entry in withheld if entry.rule == UNUSABLE]
    if unusable:
        others = f" (and {len(unusable) - 1} more files of it are not offered)" if len(unusable) > 1 else ""
        troubles.report(f"{project} unoffered", f"project {project}: {unusable[0].reason}{others}", logging.WARNING)


def _compare(file: BlobInfo, size: int, sha256: str | None, path: str) -> str | None:
    """Compare a file with an earlier one of its name: the obstacle, if their bytes are known to differ."""
    digest = file.facts.get("sha256")
    if file.size == size and (digest is None or sha256 is None or digest == sha256):
        return None
    return (
        f"{show_any(file.path)} has other bytes than {show_any(path)}, which has the name: give it another version, or delete one"
    )

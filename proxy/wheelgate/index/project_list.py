"""List of projects: every name that is claimed, or that a source tells of, made while it is being sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from wheelgate.core.packed_names import PackedNames, merge_names
from wheelgate.core.patterns import NamePatterns


class _CoveredNames:
    """The names of a source that it may be asked for."""

    def __init__(self, names: PackedNames, only: NamePatterns) -> None:
        self._names = names
        self._only = only
        self.firsts = names.firsts

    def between(self, first: bytes, end: bytes | None) -> list[bytes]:
        return [name for name in self._names.between(first, end) if name.decode() in self._only]


class ProjectList(msgspec.Struct, frozen=True):
    """The names as they stood when they were asked for, whatever changes meanwhile."""

    parts: Sequence[tuple[PackedNames, NamePatterns | None]]
    """Names, and the patterns that cover those of them which are listed; ``None``: all are."""

    @property
    def revision(self) -> str:
        """Identity of the list within this process."""
        return "-".join(str(names.revision) for names, _ in self.parts)

    def merge(self) -> Iterator[Sequence[bytes]]:
        """Each name once, sorted, a few hundred at a time."""
        return merge_names([names if only is None else _CoveredNames(names, only) for names, only in self.parts])

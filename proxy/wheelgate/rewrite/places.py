"""Values and places of a text: spans that readers find, edits of those, and the application of edits byte for byte."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from enum import Enum, auto
from itertools import accumulate, pairwise

import msgspec


class PlaceKind(Enum):
    """The use that an installer makes of an address."""

    INDEX = auto()
    """The index it asks first, or alone."""
    EXTRA = auto()
    """An index it asks besides the first."""
    LINKS = auto()
    """A page of links to files."""
    FILE = auto()
    """One distribution file."""
    REGISTRY = auto()
    """The index a lock says it took a package from."""
    UPLOAD = auto()
    """An index that packages are published to."""


class Edit(msgspec.Struct, frozen=True):
    """A replacement: a piece of a text, and what stands there from now on."""

    start: int
    end: int
    text: str


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a document holds as a value, and where its characters stand."""

    path: tuple[str | int, ...]
    text: str
    """As its reader takes it, escapes resolved."""
    start: int
    end: int
    """The end of its raw characters, quotes not included."""
    key_start: int = -1
    """The start of its key's raw characters, quotes not included; -1 if it has no key of its own."""
    key_end: int = -1

    @property
    def key(self) -> str:
        """The last name of its path."""
        return next((part for part in reversed(self.path) if isinstance(part, str)), "")

    def matches(self, pattern: str) -> bool:
        """Match its path against names joined by dots, of which ``*`` is any one."""
        wanted = pattern.split(".")
        return len(wanted) == len(self.path) and all(w in ("*", p) for w, p in zip(wanted, self.path, strict=True))


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The address of an index or file, at a span whose raw characters are the URL."""

    kind: PlaceKind
    start: int
    end: int
    text: str
    scope: Hashable = ""
    """Places of one scope are read by one installer at one time."""
    setting: Hashable = None
    """The same of all values of one setting; ``None``: it has no other value."""
    promotion: tuple[Edit, ...] | None = None
    """Edits beside the URL that make it the index asked first, with ``{index}`` for its address; ``None``: no edit could."""
    is_moved: bool = False
    """The promotion writes the address elsewhere: the place itself takes its removal."""
    removal: Edit | None = None
    """The edit that takes the setting out; ``None``: it has to stay."""
    package: str = ""
    """The package of a lock that it belongs to."""


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits, which must not overlap; :class:`ValueError` if two do."""
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    if any(after.start < before.end for before, after in pairwise(ordered)):
        raise ValueError("two edits overlap")
    pieces, at = [], 0
    for edit in ordered:
        pieces += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*pieces, text[at:]])


def find_origin(offset: int, edits: Iterable[Edit]) -> int:
    """Find the place in the text before the edits that a place in the text after them comes from."""
    moved = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        start = edit.start + moved
        if offset < start:
            break
        if offset < start + len(edit.text):
            return edit.start
        moved += len(edit.text) - (edit.end - edit.start)
    return offset - moved


class Spans:
    """Pieces of a text, asked whether one of them overlaps another piece."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(spans)
        self._starts = [start for start, _ in ordered]
        self._ends = tuple(accumulate((end for _, end in ordered), max))
        """The end of the piece that goes furthest, of those up to this one."""

    def overlap(self, start: int, end: int) -> bool:
        before = bisect_left(self._starts, end)
        return before > 0 and self._ends[before - 1] > start


class LineNumbers:
    """The line numbers of a text, counted from 1, by place."""

    def __init__(self, text: str) -> None:
        self._starts: Sequence[int] = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]

    def find(self, offset: int) -> int:
        return bisect_right(self._starts, offset)

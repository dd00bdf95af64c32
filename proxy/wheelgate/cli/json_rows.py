"""JSON rows: an array that is printed row by row, since nobody knows how long it becomes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager


class JsonRows:
    """A printer of the rows of an array, as ``json.dumps(rows, indent=2)`` writes them."""

    def __init__(self) -> None:
        self._before = "["

    def print(self, row: object) -> None:
        """Print one more row."""
        print(self._before, textwrap.indent(json.dumps(row, indent=2), "  "), sep="\n", end="")
        self._before = ","

    def end(self) -> None:
        """Print the end of the array."""
        print("[]" if self._before == "[" else "\n]")


@contextmanager
def printing_rows() -> Iterator[JsonRows]:
    """Print an array of rows; it stays without an end, and so unreadable, if the block fails."""
    rows = JsonRows()
    yield rows
    rows.end()

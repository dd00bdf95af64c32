"""The versions of a page's files, and which of them a specifier means: fast enough for pages of 15,000 files."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import pairwise

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import version_runs


class PageVersions:
    """The versions of one page's files, read when a rule first asks, each distinct one parsed once."""

    def __init__(self, page: ProjectPage) -> None:
        self.files = tuple(page.files)
        self._project = page.project

    @cached_property
    def filenames(self) -> list[str]:
        """Of all files, in their order."""
        return [file.filename for file in self.files]

    @cached_property
    def _by_text(self) -> dict[str | None, list[File]]:
        """The files of each version, as the file names have it."""
        found: dict[str | None, list[File]] = {}
        runs = version_runs(self.filenames, self._project)
        for (text, start), (_, end) in pairwise([*runs, (None, len(self.files))]):
            found.setdefault(text, []).extend(self.files[start:end])
        return found

    @cached_property
    def _read(self) -> tuple[list[tuple[str | None, _Plain]], list[tuple[str | None, Version | None]]]:
        """Every distinct version: the plain releases, and all others."""
        plain: list[tuple[str | None, _Plain]] = []
        others: list[tuple[str | None, Version | None]] = []
        for text in self._by_text:
            numbers = None if text is None else _numbers(text)
            if numbers is not None:
                plain.append((text, _trimmed(numbers)))
            else:
                others.append((text, None if text is None else _version(text)))
        return plain, others

    def of(self, text: str | None) -> list[File]:
        """The files of one version, as file names have it."""
        return self._by_text[text]

    @property
    def texts(self) -> Iterable[str | None]:
        """Every distinct version, as file names have it."""
        return self._by_text.keys()

    def texts_in(self, specifier: SpecifierSet, *, unreadable: bool = False) -> list[str | None]:
        """The distinct versions that are specified. ``unreadable``: whether one that nobody can read is among them."""
        plain, others = self._read
        for part in specifier:
            bound = _bound(part)
            plain = [(text, read) for text, read in plain if bound(read)]
        found = [text for text, _ in plain]
        return found + [
            text for text, read in others if (unreadable if read is None else specifier.contains(read, prereleases=True))
        ]

    def files_in(self, specifier: SpecifierSet) -> list[File]:
        """The files of the versions that are specified, and can be read."""
        return [file for text in self.texts_in(specifier) for file in self._by_text[text]]


_Plain = tuple[int, ...]
"""A plain release: ``1.2`` and ``1.2.0`` are both ``(1, 2)``. Nearly every version is one, and needs no PEP 440 to compare."""
_COMPARISONS: Mapping[str, Callable[[_Plain, _Plain], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _version(text: str) -> Version | None:
    try:
        return Version(text.replace("_", "-"))
    except InvalidVersion:
        return None


def _numbers(text: str) -> _Plain | None:
    if not text.isascii() or not text.replace(".", "").isdigit():
        return None
    try:
        return tuple(map(int, text.split(".")))
    except ValueError:  # nothing between two dots
        return None


def _trimmed(numbers: _Plain) -> _Plain:
    end = len(numbers)
    while end and not numbers[end - 1]:
        end -= 1
    return numbers if end == len(numbers) else numbers[:end]


def _bound(part: Specifier) -> Callable[[_Plain], bool]:
    """Whether one part of a specifier lets a plain release in; by plain numbers, if it is made of them itself."""
    if part.operator in ("==", "!=") and part.version.endswith(".*"):
        prefix = _numbers(part.version[:-2])
        if prefix is not None:
            begins = _beginning_with(prefix)
            return begins if part.operator == "==" else lambda read: not begins(read)
    numbers, compare = _numbers(part.version), _COMPARISONS.get(part.operator)
    if numbers is None or compare is None:
        return lambda read: part.contains(".".join(map(str, read or (0,))), prereleases=True)
    bound = _trimmed(numbers)
    return lambda read: compare(read, bound)


def _beginning_with(prefix: _Plain) -> Callable[[_Plain], bool]:
    length = len(prefix)
    return lambda read: (read + (0,) * (length - len(read)))[:length] == prefix

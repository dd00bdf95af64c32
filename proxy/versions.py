"""The versions of a page's files, and which of them a specifier means: fast enough for pages of 15,000 files."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cached_property

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from proxy.model import File, ProjectPage
from proxy.names import version_texts


class PageVersions:
    """The versions of one page's files, read when a rule first asks, each distinct one parsed once."""

    def __init__(self, page: ProjectPage) -> None:
        self.files = page.files
        self._project = page.project

    @cached_property
    def filenames(self) -> list[str]:
        """Of all files, in their order."""
        return [file.filename for file in self.files]

    @cached_property
    def texts(self) -> list[str | None]:
        """Of all files, in their order: the version as the file name has it."""
        return version_texts(self.filenames, self._project)

    @cached_property
    def _read(self) -> dict[str | None, _Read]:
        return {text: _version(text) for text in set(self.texts)}

    def texts_in(self, specifier: SpecifierSet, *, unreadable: bool = False) -> list[str | None]:
        """The distinct versions that are specified. ``unreadable``: whether one that nobody can read is among them."""
        fits = _test(specifier)
        return [text for text, read in self._read.items() if (unreadable if read is None else fits(read))]

    def files_in(self, specifier: SpecifierSet) -> list[File]:
        """The files of the versions that are specified, and can be read."""
        texts = frozenset(self.texts_in(specifier))
        return [file for file, text in zip(self.files, self.texts, strict=True) if text in texts]


_Plain = tuple[int, ...]
_Read = _Plain | Version | None
"""A version: a plain release (``1.2`` and ``1.2.0`` are both ``(1, 2)``), any other, or one that PEP 440 cannot read."""
_COMPARISONS: Mapping[str, Callable[[_Plain, _Plain], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _version(text: str | None) -> _Read:
    if text is None:
        return None
    if (numbers := _numbers(text)) is not None:
        return _trimmed(numbers)
    try:
        return Version(text.replace("_", "-"))
    except InvalidVersion:
        return None


def _numbers(text: str) -> _Plain | None:
    """Nearly every version is dotted numbers, and comparing those needs no PEP 440: ten times as fast."""
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


def _test(specifier: SpecifierSet) -> Callable[[_Plain | Version], bool]:
    """Whether a version is among those specified, pre-releases included."""
    bounds = [_bound(part) for part in specifier]
    simple = [bound for bound in bounds if bound is not None]
    all_simple = len(simple) == len(bounds)

    def fits(read: _Plain | Version) -> bool:
        if isinstance(read, Version):
            return specifier.contains(read, prereleases=True)
        if not all_simple:
            return specifier.contains(".".join(map(str, read or (0,))), prereleases=True)
        return all(bound(read) for bound in simple)

    return fits


def _bound(part: Specifier) -> Callable[[_Plain], bool] | None:
    """What one part of a specifier says of plain releases, if it says so in plain numbers itself."""
    if part.operator in ("==", "!=") and part.version.endswith(".*"):
        prefix = _numbers(part.version[:-2])
        if prefix is None:
            return None
        begins = _beginning_with(prefix)
        return begins if part.operator == "==" else lambda read: not begins(read)
    numbers, compare = _numbers(part.version), _COMPARISONS.get(part.operator)
    if numbers is None or compare is None:
        return None
    bound = _trimmed(numbers)
    return lambda read: compare(read, bound)


def _beginning_with(prefix: _Plain) -> Callable[[_Plain], bool]:
    length = len(prefix)
    return lambda read: (read + (0,) * (length - len(read)))[:length] == prefix

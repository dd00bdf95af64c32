"""Version matching for a page: its files grouped by version, so that each distinct one is parsed and compared once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import version_of


class PageVersions:
    """The versions of one page's files, read when a rule first asks.

    A version is known by its text, as :func:`~wheelgate.core.names.version_of` gives it; ``None`` stands for the files whose
    names have no place for one.
    """

    def __init__(self, page: ProjectPage) -> None:
        self.files = tuple(page.files)
        self._project = page.project

    @cached_property
    def filenames(self) -> list[str]:
        """The names of all files, in their order."""
        return [file.filename for file in self.files]

    @cached_property
    def _by_text(self) -> dict[str | None, list[File]]:
        found: dict[str | None, list[File]] = {}
        for file, name in zip(self.files, self.filenames, strict=True):
            found.setdefault(version_of(name, self._project), []).append(file)
        return found

    @cached_property
    def _parsed(self) -> dict[str | None, Version | None]:
        """The distinct versions; ``None``: PEP 440 cannot read it."""
        return {text: _parse_version(text) for text in self._by_text}

    def of(self, text: str | None) -> list[File]:
        """The files of one version."""
        return self._by_text[text]

    @property
    def texts(self) -> Iterable[str | None]:
        """The distinct versions."""
        return self._by_text.keys()

    def texts_in(self, specifier: SpecifierSet, *, unreadable: bool = False) -> list[str | None]:
        """The distinct versions that match, pre-releases included. ``unreadable``: whether one that nobody can read does."""
        return [
            text
            for text, version in self._parsed.items()
            if (unreadable if version is None else specifier.contains(version, prereleases=True))
        ]

    def files_in(self, specifier: SpecifierSet) -> list[File]:
        """The files whose version can be read and matches."""
        return [file for text in self.texts_in(specifier) for file in self._by_text[text]]


def _parse_version(text: str | None) -> Version | None:
    try:
        return None if text is None else Version(text)
    except InvalidVersion:
        return None

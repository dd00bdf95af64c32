"""Patterns of the configuration's rules: projects (``acme-*``), releases (``urllib3==2.5.1``) and files."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from wheelgate.core.names import is_listable, is_safe_filename, normalise_name

_ALPHABET = re.compile(r"[A-Za-z0-9._*-]{1,200}", re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")
_RELEASE = re.compile(r"([^<>=!~\s]+)\s*([<>=!~].*)?", re.DOTALL)
_MAX_SPECIFIER = 500


def normalise_pattern(pattern: str) -> str:
    """The pattern in the spelling of normalised names (PEP 503)."""
    return _SEPARATORS.sub("-", pattern).lower()


class NamePatterns:
    """A set of patterns; ``*`` stands for any characters. Spelling does not matter: ``Acme_*`` is ``acme-*``."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(map(normalise_pattern, patterns))
        self._match = re.compile("|".join(fnmatch.translate(p) for p in self._patterns) or r"(?!)").match

    @staticmethod
    def is_valid(pattern: str) -> bool:
        """True if the text can stand for project names at all."""
        return bool(_ALPHABET.fullmatch(pattern))

    def __bool__(self) -> bool:
        """True if there is any pattern."""
        return bool(self._patterns)

    def __contains__(self, project: str) -> bool:
        """True if a normalised name matches one of them."""
        return self._match(project) is not None

    def first_for(self, project: str) -> str | None:
        """The first pattern that matches, for sentences people read; ``None``: none does."""
        return next((p for p in self._patterns if fnmatch.fnmatchcase(project, p)), None)


class Release(msgspec.Struct, frozen=True):
    """One entry of ``policy.allow`` or ``policy.deny``: it names projects, some of their versions, or one file."""

    text: str
    """As the operator wrote it, for sentences people read."""
    name: str | None = None
    """A normalised project name, or a pattern of such; ``None``: the entry is a file name."""
    specifier: SpecifierSet | None = None
    """The versions meant (PEP 440, pre-releases included); ``None``: all."""

    @property
    def key(self) -> tuple[str, str]:
        """A key that is equal for two spellings of the same entry."""
        return (self.text, "") if self.name is None else (self.name, str(self.specifier or ""))


def parse_release(text: str) -> Release:
    """Parse an entry: ``evil-package``, ``acme-*``, ``urllib3==2.5.1``, ``torch>=2,<3`` or ``demo-1.0-py3-none-any.whl``.

    Raises:
        ValueError: it is none of these; the message says why, without the entry.
    """
    if is_listable(text):
        if not is_safe_filename(text) or "*" in text:
            raise ValueError("must be the whole name of a file, in which * stands for nothing")
        return Release(text)
    match = _RELEASE.fullmatch(text.strip())
    if match is None or not NamePatterns.is_valid(match[1]) or ("*" not in match[1] and normalise_name(match[1]) is None):
        raise ValueError('must be a project name or pattern, optionally with versions ("urllib3==2.5.1"), or a file name')
    return Release(text, normalise_pattern(match[1]), parse_specifier(match[2]) if match[2] else None)


def parse_specifier(text: str) -> SpecifierSet:
    """Parse a version (``2.5.1``, which is ``==2.5.1``) or a specifier (``>=2,<3``).

    Raises:
        ValueError: PEP 440 knows no such specifier.
    """
    text = text.strip()
    try:
        read = SpecifierSet(f"=={text}" if text[:1].isdigit() else text, prereleases=True)
    except InvalidSpecifier:
        read = None
    if not read or len(text) > _MAX_SPECIFIER:
        raise ValueError('must be a version such as "2.5.1" or a specifier such as ">=2,<3" (PEP 440)')
    return read

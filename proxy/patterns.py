"""Name patterns of the configuration: ``acme-*``, matched against normalised project names."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

_ALPHABET = re.compile(r"[A-Za-z0-9._*-]{1,200}", re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")


class NamePatterns:
    """A set of patterns; ``*`` stands for any characters. Spelling does not matter: ``Acme_*`` is ``acme-*``."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(_SEPARATORS.sub("-", pattern).lower() for pattern in patterns)
        self._match = re.compile("|".join(fnmatch.translate(p) for p in self._patterns) or r"(?!)").match

    @staticmethod
    def is_valid(pattern: str) -> bool:
        """Whether the text can stand for project names at all."""
        return bool(_ALPHABET.fullmatch(pattern))

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return bool(self._patterns)

    def __contains__(self, project: str) -> bool:
        """Whether a normalised name matches one of them."""
        return self._match(project) is not None

    def first_for(self, project: str) -> str | None:
        """The pattern that matches, for sentences people read."""
        return next((p for p in self._patterns if fnmatch.fnmatchcase(project, p)), None)

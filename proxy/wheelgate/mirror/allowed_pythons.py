"""Pythons that an input allows, as a lock's ``requires-python`` or conda's ``python=3.10`` says, and the one to mirror for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheelgate.core.errors import BadInput
from wheelgate.mirror.targets import Target, parse_target

_MINORS, _PATCHES = range(40), range(60)
_ANY_PLATFORM = "linux-x86_64"
_LONGEST = 200


class AllowedPythons(msgspec.Struct, frozen=True):
    """The Pythons that an input allows."""

    said: str
    """As the input writes it, for people."""
    alternatives: tuple[SpecifierSet, ...]
    """It allows what one of them does."""

    def allows(self, version: Version) -> bool:
        return any(version in specifiers for specifiers in self.alternatives)

    def require(self, target: Target, where: str) -> None:
        """Require a target's Python to be allowed; :class:`BadInput` if it is not."""
        if not self.allows(target.version):
            raise BadInput(f"{where}: is for Python {self.said}, and not for {target}")

    def find_only(self) -> str | None:
        """Find the one Python that it names (``3.10``, ``3.10.4``); ``None``: it says more than that."""
        named = [str(one) for alternative in self.alternatives for one in alternative]
        found = re.fullmatch(r"==(3\.\d{1,3}(?:\.\d{1,3})?)(?:\.\*)?", named[0]) if len(named) == 1 else None
        return None if found is None else found[1]

    def narrow(self, python: str) -> str | None:
        """Narrow ``3.10`` to the newest patch release that is allowed, if its newest is not; ``None``: none of it is allowed."""
        if self.allows(parse_target(python, _ANY_PLATFORM).version):
            return python
        patches = [f"{python}.{patch}" for patch in _PATCHES] if python.count(".") == 1 else []
        return next((patch for patch in reversed(patches) if self.allows(Version(patch))), None)


def allow_pythons(said: str, alternatives: Iterable[str], where: str) -> AllowedPythons:
    """Read specifiers such as ``>=3.10,<3.11``; :class:`BadInput` if one is none, ``where`` being its file."""
    try:
        allowed = AllowedPythons(said[:_LONGEST], tuple(SpecifierSet(text) for text in alternatives))
        for specifier in chain(*allowed.alternatives):
            specifier.contains(Version("3"))  # a number of thousands of digits is found out only here
    except ValueError:
        raise BadInput(f"{where}: {said[:_LONGEST]!r} does not say which Python it is for") from None
    return allowed


def choose_pythons(label: str, allowed: AllowedPythons | None, named: Sequence[str], usual: str) -> list[str]:
    """Choose the Pythons to mirror an input for: those named that it allows, else the only one that it allows, else ``usual``.

    Raises:
        BadInput: it allows none of those named, none at all, or several without the usual one: then somebody has to say which.
    """
    if allowed is None:
        return list(named or (usual,))
    found = [python for python in map(allowed.narrow, named or (usual,)) if python is not None]
    if found:
        return found
    if named:
        raise BadInput(f"{label}: is for Python {allowed.said}, and not for {', '.join(named)}: name another with --python")
    possible = [python for python in (allowed.narrow(f"3.{minor}") for minor in _MINORS) if python is not None]
    if len(possible) == 1:
        return possible
    if not possible and (only := allowed.find_only()) is not None:
        return [only]  # whoever looks at targets says why there is none, and what may be meant
    if not possible:
        raise BadInput(f"{label}: is for Python {allowed.said}, and there is none such to mirror for")
    raise BadInput(f"{label}: is for Python {allowed.said}, which this one ({usual}) is not: say which with --python")

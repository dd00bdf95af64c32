"""Choices that an installer has with a lock, its extras and dependency groups, and which packages some choice selects.

Every choice is looked at, one of those that exclude each other at a time, as nobody knows which one will be made inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from enum import Enum, auto
from itertools import product
from typing import cast

import msgspec
from packaging.markers import InvalidMarker, Marker

from wheelgate.core.errors import BadInput
from wheelgate.mirror.targets import Target

_MENTION = re.compile(r'"([^"]*)" (?:not )?in (extras|dependency_groups)\b')
_EXTRA = re.compile(r"""\bextra\s*(==|!=)\s*('[^']*'|"[^"]*")""")
_MOST_IN_ONE_MARKER = 10


class Need(Enum):
    """The need of a package on a target."""

    NEVER = auto()
    BY_CHOICE = auto()
    """For an extra, or a group that is not installed unless somebody asks for it."""
    ALWAYS = auto()


class Choices(msgspec.Struct, frozen=True):
    """The extras and groups that a lock offers, and those that are installed when nobody asks for any."""

    extras: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    default_groups: frozenset[str] = frozenset()

    def find_need(self, marker: Marker | None, target: Target, where: str) -> Need:
        """Find whether a marker holds there, always or for some choice.

        Raises:
            BadInput: the marker compares what cannot be compared; the sentence begins with ``where``.
        """
        if holds(marker, target, where, groups=self.default_groups):
            return Need.ALWAYS
        for extras, groups in self._list_choices(_write(marker, where)):
            if holds(marker, target, where, extras=extras, groups=groups):
                return Need.BY_CHOICE
        return Need.NEVER

    def _list_choices(self, marker: str) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
        """List the choices among those that a marker mentions."""
        mentioned = sorted({(kind, name) for name, kind in _MENTION.findall(marker) if name in self._offered(kind)})
        if len(mentioned) > _MOST_IN_ONE_MARKER:  # one at a time, and all of them
            taken: Iterator[set[tuple[str, str]]] = iter([*({one} for one in mentioned), set(mentioned)])
        else:
            answers = product((False, True), repeat=len(mentioned))
            taken = ({one for one, is_in in zip(mentioned, answer, strict=True) if is_in} for answer in answers)
        for chosen in taken:
            by_kind = {kind: frozenset(name for its, name in chosen if its == kind) for kind in ("extras", "dependency_groups")}
            yield by_kind["extras"], by_kind["dependency_groups"]

    def _offered(self, kind: str) -> frozenset[str]:
        return self.extras if kind == "extras" else self.groups | self.default_groups


def holds(
    marker: Marker | None,
    target: Target,
    where: str,
    *,
    extras: frozenset[str] = frozenset(),
    groups: frozenset[str] = frozenset(),
) -> bool:
    """Evaluate a lock's marker on a target, these extras and groups being chosen; raises as above."""
    if marker is None:
        return True
    values = cast("dict[str, str | AbstractSet[str]]", {**target.environment, "extras": extras, "dependency_groups": groups})
    try:
        return marker.evaluate(values, context="lock_file")
    except (ValueError, LookupError):
        raise BadInput(f"{where}: the marker {_write(marker, where)[:200]!r} compares what cannot be compared") from None


def _write(marker: Marker | None, where: str) -> str:
    try:
        return str(marker)
    except ValueError:
        raise BadInput(f"{where}: has a marker with both kinds of quotes in one value") from None


def parse_lock_marker(text: str | None, where: str) -> Marker | None:
    """Parse a lock's marker, whose ``extra == 'x'`` asks whether x is among the extras chosen; raises as above."""
    if not text:
        return None
    try:
        return Marker(_EXTRA.sub(lambda match: f"{match[2]} {'in' if match[1] == '==' else 'not in'} extras", text))
    except InvalidMarker:
        raise BadInput(f"{where}: {text[:200]!r} is not a marker") from None

"""Targets: a Python and a platform that an installer will run on later, elsewhere.

Everything an installer asks its own machine for (markers of PEP 508, tags of PEP 425) is worked out here for a machine that
is not there. A platform is a floor: ``linux-x86_64`` is any Linux with glibc 2.28 or newer, as uv has it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from typing import cast

import msgspec
from packaging.markers import Environment, Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.version import Version

from wheelgate.core.errors import BadInput
from wheelgate.core.wheel_names import parse_wheel_name
from wheelgate.mirror.platforms import find_platform, parse_platform

_PYTHON = re.compile(r"3\.(0|[1-9]\d?)(\.(0|[1-9]\d?))?", re.ASCII)
_OTHER_PYTHON = re.compile(r"(\d+)\.\d+(\.\d+)?", re.ASCII)

# A minor version each October since 3.9 (PEP 602); never more patch releases than months, nor than these in all.
_YEAR_OF_3_0, _RELEASE_MONTH = 2011, 10
_MOST_PATCHES, _EARLY = 36, 2
_OLDEST = 6

_NEWEST_PATCHES = {6: 15, 7: 17, 8: 20, 9: 25, 10: 22, 11: 18, 12: 16, 13: 18, 14: 10, 15: 2}
"""The newest patch release of each minor version, as of November 2026. A test says when it has fallen behind."""


class Target(msgspec.Struct, frozen=True, order=True, dict=True):
    """A CPython of one version on one platform. Built by :func:`parse_target`, so that both are known to be possible."""

    python: str
    """``3.11``, the newest patch release of it; or ``3.11.4``, that one."""
    platform: str
    """Its name, as :func:`wheelgate.mirror.platforms.parse_platform` has it."""

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    @cached_property
    def version(self) -> Version:
        """The full version: markers, ``Requires-Python`` and uv are asked about no other."""
        if self.python.count(".") == 2:
            return Version(self.python)
        return Version(f"{self.python}.{find_newest_patch(int(self.python.partition('.')[2]))}")

    @cached_property
    def environment(self) -> Environment:
        """The values of PEP 508's markers there."""
        full = str(self.version)
        values = {
            **find_platform(self.platform).markers,
            "implementation_name": "cpython",
            "implementation_version": full,
            "platform_release": "",
            "platform_version": "",
            "python_full_version": full,
            "platform_python_implementation": "CPython",
            "python_version": ".".join(full.split(".")[:2]),
        }
        return cast("Environment", values)

    def meets(self, marker: Marker | None, where: str) -> bool:
        """Evaluate a requirement's marker there, no extra being asked for.

        Raises:
            BadInput: it compares what cannot be compared, as ``os_name ~= 'x'`` does; the sentence begins with ``where``.
        """
        try:
            return marker is None or marker.evaluate(cast("dict[str, str]", {**self.environment, "extra": ""}))
        except (ValueError, LookupError):
            raise BadInput(f"{where}: the marker {str(marker)[:200]!r} compares what cannot be compared") from None

    def admits(self, requires_python: str | None) -> bool:
        """Compare it with a ``Requires-Python``. Installers disagree about one that is none: a file too much does no harm."""
        try:
            return self.version in SpecifierSet(requires_python or "")
        except InvalidSpecifier:
            return True

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of wheels that run there, the best first."""
        version, platforms = self.version.release[:2], list(find_platform(self.platform).tags())
        own = cpython_tags(version, platforms=platforms)
        return (*own, *compatible_tags(version, interpreter=f"cp{version[0]}{version[1]}", platforms=platforms))


def parse_target(python: str, platform: str) -> Target:
    """Parse a target; :class:`BadInput` if there is no such Python or platform."""
    if not _PYTHON.fullmatch(python):
        if (match := _OTHER_PYTHON.fullmatch(python)) and int(match[1]) < 3:
            raise BadInput(f"Python {python} is too old to mirror for: 3.{_OLDEST} is the oldest that uv resolves for")
        raise BadInput(f"{python!r} is not a Python version to mirror for: use 3.11 or 3.11.4, for example")
    return Target(python, parse_platform(platform))


def find_newest_patch(minor: int, running: tuple[int, ...] = tuple(sys.version_info[:3])) -> int:
    """Find the newest patch release of Python 3.``minor`` that is known here: from the table, or the running one.

    0 for a version of which there was none yet. A newer one than is known has to be named.
    """
    return max(_NEWEST_PATCHES.get(minor, 0), running[2] if running[:2] == (3, minor) else 0)


def require_possible(target: Target, today: date) -> None:
    """Require a Python that there is, or whose first release is the next one, and that uv can resolve for.

    Raises:
        BadInput: there is none such, and none can come soon: a mirror for it would be of use to nobody.
    """
    _, minor, *named = map(int, target.python.split("."))
    months = (today.year - _YEAR_OF_3_0 - minor) * 12 + today.month - _RELEASE_MONTH
    newest = today.year - _YEAR_OF_3_0 - (today.month < _RELEASE_MONTH)
    most = min(months, _MOST_PATCHES) + _EARLY if minor <= newest else 0
    known = [f"3.{number}" for number in range(_OLDEST, newest + 2)]
    if f"3.{minor}" in known and all(patch <= most for patch in named):
        return
    if minor < _OLDEST:
        hint = f"; did you mean 3.{minor}0?" if f"3.{minor}0" in known else ""  # as YAML has an unquoted 3.10
        raise BadInput(f"Python {target.python} is too old to mirror for: 3.{_OLDEST} is the oldest that uv resolves for{hint}")
    close = get_close_matches(f"3.{minor}", known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise BadInput(f"there is no Python {target.python} to mirror for, the newest being 3.{newest}{hint}")


def find_best_wheel(filenames: Iterable[str], target: Target) -> str | None:
    """Find the wheel that fits the target best, by the order of its tags and then by build number; ``None``: none fits."""
    ranks = {tag: position for position, tag in enumerate(target.tags)}
    fitting = []
    for filename in filenames:
        try:
            wheel = parse_wheel_name(filename)
        except ValueError:  # InvalidWheelFilename, or digits that no number has
            continue
        rank = min((ranks[tag] for tag in wheel.tags if tag in ranks), default=None)
        if rank is not None and wheel.label is None:  # no installer takes a variant unless it knows variants
            fitting.append((-rank, wheel.build, filename))
    return max(fitting)[2] if fitting else None


def this_python() -> str:
    """The Python that this process runs on."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"

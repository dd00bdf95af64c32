"""Targets: a Python and a platform that an installer will run on later, elsewhere.

Everything an installer asks its own machine for (markers of PEP 508, tags of PEP 425) is worked out here for a machine that
is not there. A platform is a floor: ``linux-x86_64`` is any Linux with glibc 2.28 or newer, as uv has it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from typing import cast

import msgspec
from packaging.markers import Environment, Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.version import Version

from wheelgate.core.errors import BadInput
from wheelgate.core.wheel_names import parse_wheel_name

_PYTHON = re.compile(r"3\.(\d{1,2})(\.\d{1,2})?", re.ASCII)
_LINUX = re.compile(r"(manylinux|musllinux)_(\d{1,2})_(\d{1,2})_(x86_64|aarch64)", re.ASCII)
_MAC_FLOOR = (13, 0)
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

# A minor version each October since 3.9 (PEP 602); never more patch releases than months, nor than these in all.
_YEAR_OF_3_0, _RELEASE_MONTH = 2011, 10
_MOST_PATCHES, _EARLY = 36, 2
_OLDEST = 6

_UV_GLIBC = (17, 28, *range(31, 41))
_LINUX_NAMES = {
    "linux-x86_64": "manylinux_2_28_x86_64",
    "linux-aarch64": "manylinux_2_28_aarch64",
    "musllinux-x86_64": "musllinux_1_2_x86_64",
    "musllinux-aarch64": "musllinux_1_2_aarch64",
}
_OTHERS = {
    "windows-x86_64": ("x86_64-pc-windows-msvc", "AMD64"),
    "windows-arm64": ("aarch64-pc-windows-msvc", "ARM64"),
    "macos-arm64": ("aarch64-apple-darwin", "arm64"),
    "macos-x86_64": ("x86_64-apple-darwin", "x86_64"),
}
PLATFORMS = (*_LINUX_NAMES, *_OTHERS)


class Target(msgspec.Struct, frozen=True, order=True, dict=True):
    """A CPython of one version on one platform. Built by :func:`parse_target`, so that both are known to be possible."""

    python: str
    """``3.11``, or ``3.11.4`` where requirements tell patch versions apart."""
    platform: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    @property
    def version(self) -> Version:
        """The full version that markers and ``Requires-Python`` are compared with; the first of its line if none was said."""
        return Version(self.python if self.python.count(".") == 2 else f"{self.python}.0")

    @cached_property
    def environment(self) -> Environment:
        """The values of PEP 508's markers there."""
        if self.platform.startswith("windows"):
            os_name, sys_platform, system, machine = "nt", "win32", "Windows", _OTHERS[self.platform][1]
        elif self.platform.startswith("macos"):
            os_name, sys_platform, system, machine = "posix", "darwin", "Darwin", _OTHERS[self.platform][1]
        else:
            os_name, sys_platform, system, machine = "posix", "linux", "Linux", _parse_linux(self.platform)[3]
        full = str(self.version)
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": os_name,
            "platform_machine": machine,
            "platform_release": "",
            "platform_system": system,
            "platform_version": "",
            "python_full_version": full,
            "platform_python_implementation": "CPython",
            "python_version": ".".join(full.split(".")[:2]),
            "sys_platform": sys_platform,
        }

    def meets(self, marker: Marker | None, where: str) -> bool:
        """Evaluate a requirement's marker there, no extra being asked for.

        Raises:
            BadInput: it compares what cannot be compared, as ``os_name ~= 'x'`` does; the sentence begins with ``where``.
        """
        try:
            return marker is None or marker.evaluate(cast("dict[str, str]", {**self.environment, "extra": ""}))
        except (ValueError, LookupError):
            raise BadInput(f"{where}: the marker {str(marker)[:200]!r} compares what cannot be compared") from None

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of wheels that run there, the best first."""
        version, platforms = self.version.release[:2], list(_list_platforms(self.platform))
        own = cpython_tags(version, platforms=platforms)
        return (*own, *compatible_tags(version, interpreter=f"cp{version[0]}{version[1]}", platforms=platforms))

    @property
    def uv_platform(self) -> str:
        """The platform, as uv names it."""
        if self.platform in _OTHERS:
            return _OTHERS[self.platform][0]
        kind, _, minor, machine = _parse_linux(self.platform)
        if kind == "musllinux":
            return f"{machine}-unknown-linux-musl"
        # It knows some floors only. The one below is safe: what runs there runs here.
        return f"{machine}-manylinux_2_{max((known for known in _UV_GLIBC if known <= minor), default=_UV_GLIBC[0])}"


def parse_target(python: str, platform: str) -> Target:
    """Parse a target; :class:`BadInput` if there is no such Python or platform."""
    if not _PYTHON.fullmatch(python):
        raise BadInput(f"{python!r} is not a Python version to mirror for: use 3.11 or 3.11.4, for example")
    match = _LINUX.fullmatch(platform)
    if platform not in PLATFORMS and (match is None or (match[1] == "manylinux" and match[2] != "2")):
        raise BadInput(
            f"{platform!r} is not a platform to mirror for: use one of {', '.join(PLATFORMS)}, "
            "or a floor such as manylinux_2_17_x86_64"
        )
    return Target(python, platform)


def require_possible(target: Target, today: date) -> None:
    """Require a Python that there is, or whose first release is the next one, and that uv can resolve for.

    Raises:
        BadInput: there is none such, and none can come soon: a mirror for it would be of use to nobody.
    """
    _, minor, patch = target.version.release
    months = (today.year - _YEAR_OF_3_0 - minor) * 12 + today.month - _RELEASE_MONTH
    newest = today.year - _YEAR_OF_3_0 - (today.month < _RELEASE_MONTH)
    most = min(months, _MOST_PATCHES) + _EARLY if minor <= newest else 0
    known = [f"3.{number}" for number in range(_OLDEST, newest + 2)]
    if f"3.{minor}" in known and patch <= most:
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


def _parse_linux(platform: str) -> tuple[str, int, int, str]:
    match = _LINUX.fullmatch(_LINUX_NAMES.get(platform, platform))
    if match is None:
        raise AssertionError(platform)
    return match[1], int(match[2]), int(match[3]), match[4]


def _list_platforms(platform: str) -> Iterator[str]:
    """List the platform tags of wheels that run on a platform, the best first."""
    if platform.startswith("windows"):
        yield "win_amd64" if platform == "windows-x86_64" else "win_arm64"
    elif platform.startswith("macos"):
        yield from mac_platforms(_MAC_FLOOR, _OTHERS[platform][1])
    else:
        kind, major, newest, machine = _parse_linux(platform)
        oldest = 0 if kind == "musllinux" else 5 if machine == "x86_64" else 17  # the first glibc of either architecture's tags
        yield f"linux_{machine}"
        for minor in range(newest, oldest - 1, -1):
            yield f"{kind}_{major}_{minor}_{machine}"
            if kind == "manylinux" and minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{machine}"

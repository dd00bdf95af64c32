"""Platforms that an installer runs on: their names, as pip, conda and we write them, and all that an installer reads off one.

A platform is a floor: ``linux-x86_64`` is any Linux with glibc 2.28 or newer, ``macos-arm64`` macOS 13 or newer, as uv has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec
from packaging.tags import mac_platforms

from wheelgate.core.errors import BadInput

PLATFORMS = {
    "linux-x86_64": "manylinux_2_28_x86_64",
    "linux-aarch64": "manylinux_2_28_aarch64",
    "musllinux-x86_64": "musllinux_1_2_x86_64",
    "musllinux-aarch64": "musllinux_1_2_aarch64",
    "windows-x86_64": "win_amd64",
    "windows-arm64": "win_arm64",
    "macos-arm64": "macosx_13_0_arm64",
    "macos-x86_64": "macosx_13_0_x86_64",
}
"""Our names of the usual platforms, and the newest tag of the wheels that run there."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}  # of which there are tags
_OLDEST_MAC = {"x86_64": (10, 4), "arm64": (11, 0)}
_ALIASES = {
    "win_amd64": "windows-x86_64",
    "win_arm64": "windows-arm64",
    "linux_x86_64": "linux-x86_64",
    "linux_aarch64": "linux-aarch64",
    **{
        f"{legacy}_{machine}": f"manylinux_2_{minor}_{machine}"
        for minor, legacy in _LEGACY.items()
        for machine, oldest in _OLDEST_GLIBC.items()
        if minor >= oldest
    },
    "linux-64": "linux-x86_64",
    "osx-64": "macos-x86_64",
    "osx-arm64": "macos-arm64",
    "win-64": "windows-x86_64",
    "win-arm64": "windows-arm64",
}
"""Names that pip and conda have for them."""
_TAG = re.compile(r"(manylinux|musllinux|macosx)_([1-9]\d?)_(0|[1-9]\d?)_(x86_64|aarch64|arm64)", re.ASCII)
_UV_GLIBC = (17, 28, *range(31, 41))
_MARKERS = {
    "manylinux": ("posix", "linux", "Linux"),
    "musllinux": ("posix", "linux", "Linux"),
    "macosx": ("posix", "darwin", "Darwin"),
    "win": ("nt", "win32", "Windows"),
}


class Platform(msgspec.Struct, frozen=True):
    """A system with the oldest release of it that counts, and a machine, as tags of wheels name them."""

    system: str
    """``manylinux``, ``musllinux``, ``macosx`` or ``win``."""
    floor: tuple[int, int]
    """Of glibc, musl or macOS; ``(0, 0)`` of Windows."""
    machine: str

    @property
    def markers(self) -> Mapping[str, str]:
        """The markers of PEP 508 that differ between platforms."""
        os_name, sys_platform, platform_system = _MARKERS[self.system]
        machine = self.machine.upper() if self.system == "win" else self.machine
        return {
            "os_name": os_name,
            "sys_platform": sys_platform,
            "platform_system": platform_system,
            "platform_machine": machine,
        }

    def tags(self) -> Iterator[str]:
        """List the platform tags of wheels that run there, the best first."""
        major, newest = self.floor
        if self.system == "win":
            yield f"win_{self.machine}"
        elif self.system == "macosx":
            yield from mac_platforms(self.floor, self.machine)
        else:
            oldest = _OLDEST_GLIBC[self.machine] if self.system == "manylinux" else 0
            yield f"linux_{self.machine}"
            for minor in range(newest, oldest - 1, -1):
                yield f"{self.system}_{major}_{minor}_{self.machine}"
                if self.system == "manylinux" and minor in _LEGACY:
                    yield f"{_LEGACY[minor]}_{self.machine}"

    @property
    def uv_name(self) -> str:
        """Its name to uv."""
        if self.system == "win":
            return "x86_64-pc-windows-msvc" if self.machine == "amd64" else "aarch64-pc-windows-msvc"
        if self.system == "macosx":
            return "aarch64-apple-darwin" if self.machine == "arm64" else "x86_64-apple-darwin"
        if self.system == "musllinux":
            return f"{self.machine}-unknown-linux-musl"
        # It knows some floors only. The one below is safe: what runs there runs here.
        return f"{self.machine}-manylinux_2_{max((known for known in _UV_GLIBC if known <= self.floor[1]), default=_UV_GLIBC[0])}"

    @property
    def uv_variables(self) -> Mapping[str, str]:
        """The environment in which uv takes its name for this very release."""
        return {"MACOSX_DEPLOYMENT_TARGET": "{}.{}".format(*self.floor)} if self.system == "macosx" else {}


def parse_platform(text: str) -> str:
    """Parse a name of ours, pip's or conda's; the one it is known by from then on. :class:`BadInput` if it names none."""
    name = _ALIASES.get(text.lower(), text.lower())
    if name in PLATFORMS or _find_floor(name) is not None:
        return name
    raise BadInput(
        f"{text!r} is not a platform to mirror for: use one of {', '.join(PLATFORMS)}, a tag of pip's such as win_amd64, "
        "manylinux_2_17_x86_64 or macosx_11_0_arm64, or conda's linux-64, osx-arm64 or win-64"
    )


def find_platform(name: str) -> Platform:
    """Find the platform of a name that was parsed."""
    if (tag := PLATFORMS.get(name, name)).startswith("win_"):
        return Platform("win", (0, 0), tag.removeprefix("win_"))
    found = _find_floor(tag)
    if found is None:
        raise AssertionError(name)
    return found


def _find_floor(tag: str) -> Platform | None:
    """Find the platform that a tag makes the floor; ``None``: there is no such tag."""
    if (match := _TAG.fullmatch(tag)) is None:
        return None
    system, floor, machine = match[1], (int(match[2]), int(match[3])), match[4]
    oldest = {"manylinux": (2, _OLDEST_GLIBC.get(machine, 99)), "musllinux": (1, 0), "macosx": _OLDEST_MAC.get(machine, (99, 99))}
    possible = (
        floor >= oldest[system] and (system != "manylinux" or floor[0] == 2) and (system != "musllinux" or machine != "arm64")
    )
    return Platform(system, floor, machine) if possible else None

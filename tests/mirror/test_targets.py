"""Markers and tags of machines that are not here."""

from __future__ import annotations

import platform
import sys
from datetime import date

import pytest
from packaging.markers import Marker, default_environment
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from wheelgate.core.errors import BadInput
from wheelgate.mirror.platforms import PLATFORMS
from wheelgate.mirror.targets import Target, parse_target, require_possible, this_python


def rank(wheel: str, where: Target) -> int | None:
    tags = parse_wheel_filename(wheel)[3]
    return next((position for position, tag in enumerate(where.tags) if tag in tags), None)


@pytest.mark.parametrize(
    ("wheel", "fits"),
    [
        ("demo-1.0-py3-none-any.whl", {*PLATFORMS}),
        ("demo-1.0-cp311-cp311-win_amd64.whl", {"windows-x86_64"}),
        ("demo-1.0-cp311-cp311-win_arm64.whl", {"windows-arm64"}),
        ("demo-1.0-cp39-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", {"linux-x86_64"}),
        ("demo-1.0-cp311-cp311-manylinux1_x86_64.whl", {"linux-x86_64"}),
        ("demo-1.0-cp311-cp311-manylinux_2_28_aarch64.whl", {"linux-aarch64"}),
        ("demo-1.0-cp311-cp311-manylinux_2_34_x86_64.whl", set()),
        ("demo-1.0-cp311-cp311-musllinux_1_1_x86_64.whl", {"musllinux-x86_64"}),
        ("demo-1.0-cp311-cp311-macosx_11_0_arm64.whl", {"macos-arm64"}),
        ("demo-1.0-cp311-cp311-macosx_10_9_universal2.whl", {"macos-arm64", "macos-x86_64"}),
        ("demo-1.0-cp311-cp311-macosx_14_0_arm64.whl", set()),
        ("demo-1.0-cp312-cp312-win_amd64.whl", set()),
        ("demo-1.0-py2-none-any.whl", set()),
    ],
)
def test_a_wheel_fits_where_it_runs(wheel: str, fits: set[str]) -> None:
    assert {name for name in PLATFORMS if rank(wheel, parse_target("3.11", name)) is not None} == fits


def test_the_newer_glibc_is_the_better_fit_and_the_floor_can_be_said() -> None:
    here, old = parse_target("3.11", "linux-x86_64"), parse_target("3.11", "manylinux_2_17_x86_64")
    newer, older = "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    assert (rank(newer, here) or 0) < (rank(older, here) or 0)
    assert rank(newer, old) is None
    assert rank(older, old) is not None


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="compares with the machine's own tags")
def test_tags_and_markers_are_those_of_the_real_machine() -> None:
    """Of the same Python and glibc, `packaging` itself says the same about the machine it runs on."""
    major, minor = platform.libc_ver()[1].split(".")[:2]
    here = parse_target(this_python(), f"manylinux_{major}_{minor}_x86_64")
    assert list(here.tags) == list(sys_tags())
    real = default_environment()
    told = here.environment
    for name in ("os_name", "sys_platform", "platform_machine", "platform_system", "python_version", "implementation_name"):
        assert told[name] == real[name], name  # type: ignore[literal-required]


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("sys_platform == 'win32'", {"windows-x86_64", "windows-arm64"}),
        ("platform_machine == 'aarch64'", {"linux-aarch64", "musllinux-aarch64"}),
        ("platform_system == 'Darwin' and platform_machine == 'arm64'", {"macos-arm64"}),
        ("python_version < '3.11'", set()),
    ],
)
def test_markers(marker: str, holds: set[str]) -> None:
    assert {name for name in PLATFORMS if Marker(marker).evaluate(dict(parse_target("3.11", name).environment))} == holds


NAMES = {
    "win_amd64": "windows-x86_64",
    "WIN_AMD64": "windows-x86_64",
    "win_arm64": "windows-arm64",
    "manylinux1_x86_64": "manylinux_2_5_x86_64",
    "manylinux2010_x86_64": "manylinux_2_12_x86_64",
    "manylinux2014_x86_64": "manylinux_2_17_x86_64",
    "manylinux2014_aarch64": "manylinux_2_17_aarch64",
    "manylinux_2_28_aarch64": "manylinux_2_28_aarch64",
    "musllinux_1_1_x86_64": "musllinux_1_1_x86_64",
    "linux_x86_64": "linux-x86_64",
    "linux_aarch64": "linux-aarch64",
    "macosx_11_0_arm64": "macosx_11_0_arm64",
    "macosx_10_9_x86_64": "macosx_10_9_x86_64",
    "linux-64": "linux-x86_64",
    "linux-aarch64": "linux-aarch64",
    "osx-64": "macos-x86_64",
    "osx-arm64": "macos-arm64",
    "win-64": "windows-x86_64",
    "win-arm64": "windows-arm64",
}


@pytest.mark.parametrize(("name", "platform"), NAMES.items())
def test_a_platform_by_the_name_that_pip_or_conda_has_for_it(name: str, platform: str) -> None:
    assert parse_target("3.11", name) == parse_target("3.11", platform)
    assert parse_target("3.11", name).platform == platform


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.rpartition("_")[2] in ("amd64", "arm64", "aarch64") or "_x86" in name]
)
def test_a_wheel_fits_the_platform_that_its_tag_names(name: str) -> None:
    assert rank(f"demo-1.0-cp311-cp311-{name.lower()}.whl", parse_target("3.11", name)) is not None


def test_a_mac_can_be_an_older_one() -> None:
    older, usual = parse_target("3.11", "macosx_11_0_arm64"), parse_target("3.11", "macos-arm64")
    newer = "demo-1.0-cp311-cp311-macosx_12_0_arm64.whl"
    assert (rank(newer, older), rank(newer, usual) is not None) == (None, True)
    assert rank("demo-1.0-cp311-cp311-macosx_11_0_arm64.whl", older) is not None


@pytest.mark.parametrize(
    ("python", "where"),
    [
        *(
            (python, "linux-x86_64")
            for python in ("4.0", "3", "3.09", "3.9.02", "3.9.", "311", "py311", "3.13t", "3.11.*", "2.7", "2.7.18")
        ),
        *(("3.11", where) for where in ("solaris", "manylinux_3_1_x86_64", "win32", "win-32", "linux-ppc64le", "noarch", "any")),
        *(
            ("3.11", where)
            for where in ("macosx_11_0_universal2", "macosx_10_9_arm64", "manylinux2014_i686", "manylinux1_aarch64")
        ),
        *(("3.11", where) for where in ("manylinux_2_28_arm64", "musllinux_0_9_x86_64", "manylinux_2_017_x86_64", "")),
    ],
)
def test_what_there_is_not_is_said(python: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_target(python, where)
    assert str(caught.value).startswith((repr(python), repr(where), f"Python {python} "))
    assert "3.6 is the oldest" in str(caught.value) if python.startswith("2.") else "use " in str(caught.value)


TODAY = date(2026, 11, 29)


@pytest.mark.parametrize("python", ["3.6", "3.9", "3.9.25", "3.13.12", "3.15", "3.15.0", "3.15.2", "3.16", "3.16.0"])
def test_a_python_that_there_is_or_comes_next_is_possible(python: str) -> None:
    require_possible(parse_target(python, "linux-x86_64"), TODAY)


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("3.99", "there is no Python 3.99 to mirror for, the newest being 3.15; did you mean 3.9?"),
        ("3.17", "there is no Python 3.17 to mirror for, the newest being 3.15; did you mean 3.7?"),
        ("3.20", "there is no Python 3.20 to mirror for, the newest being 3.15; did you mean 3.12?"),
        ("3.9.99", "there is no Python 3.9.99 to mirror for, the newest being 3.15; did you mean 3.9?"),
        ("3.15.9", "there is no Python 3.15.9 to mirror for, the newest being 3.15; did you mean 3.15?"),
        ("3.16.1", "there is no Python 3.16.1 to mirror for, the newest being 3.15; did you mean 3.16?"),
        ("3.1", "Python 3.1 is too old to mirror for: 3.6 is the oldest that uv resolves for; did you mean 3.10?"),
        ("3.5", "Python 3.5 is too old to mirror for: 3.6 is the oldest that uv resolves for"),
    ],
)
def test_an_impossible_python_is_refused(python: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        require_possible(parse_target(python, "linux-x86_64"), TODAY)
    assert str(caught.value) == sentence


def test_the_next_python_is_possible_the_year_before_it_comes() -> None:
    after_next = parse_target("3.17", "linux-x86_64")
    with pytest.raises(BadInput):
        require_possible(after_next, date(2027, 9, 30))
    require_possible(after_next, date(2027, 10, 1))

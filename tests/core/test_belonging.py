"""Belonging: whose a file is by its name, and whether installers take it, as pip does; nothing that they might is nobody's."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from wheelgate.core.belonging import Belonging, Membership, find_obstacle, read_belonging
from wheelgate.core.names import is_listable, is_safe_filename, normalise_name, project_in
from wheelgate.core.wheel_names import is_variant

TAKEN = {
    "acme-1.0-py3-none-any.whl": "acme",
    "acme-1.0-1-py3-none-any.whl": "acme",
    "Acme-1.0-py3-none-any.whl": "acme",
    "acme_lib-1.0-py3-none-any.whl": "acme-lib",
    "acme.lib-1.0-py3-none-any.whl": "acme-lib",
    "acme-1.0-py3-none-any (1).whl": "acme",
    "acme-1.0.tar.gz": "acme",
    "acme_lib-1.0.tar.gz": "acme-lib",
    "acme-lib-1.0.tar.gz": "acme-lib",
    "acme.lib-1.0.zip": "acme-lib",
    "acme-1.0.tgz": "acme",
    "acme-1.0.tar.bz2": "acme",
    "acme-1.0.tar.xz": "acme",
    "acme-1.0.tar": "acme",
    "acme-1.0.tbz": "acme",
    "acme-1.0.tar.zst": "acme",
    "acme-1.3-1.tar.gz": "acme acme-1-3",
    "acme-lib-1.3-1.tar.gz": "acme-lib acme-lib-1-3",
    "acme-lib-1.3.tar.gz": "acme-lib",  # and not acme's, which may be a public one
    "acme-2-1.0.tar.gz": "acme-2",
    "acme-3d-models-1.0.tar.gz": "acme-3d-models",
    "acme-1.0-beta.tar.gz": "acme",
    "acme-1.0+local.1.tar.gz": "acme",
    "acme-v1.0.tar.gz": "acme",
    "acme-1!2.0.tar.gz": "acme",
    "acme-2023-01-01.zip": "acme-2023 acme-2023-01",
    "acme-1.0-variants.json": "acme",
}
"""File names that installers take, and whose they are."""
WITHHELD = {
    "acme-lib-1.0-py3-none-any.whl": ("acme-lib", "not named as wheels are"),
    "acme-lib-latest-py3-none-any.whl": ("acme-lib", "not named as wheels are"),
    "acme-latest-py3-none-any.whl": ("acme", "not named as wheels are"),
    "acme-2004d-py3-none-any.whl": ("acme", "not named as wheels are"),
    "acme_-1.0-py3-none-any.whl": ("acme", "not named as wheels are"),
    "acme.-1-py3-none-any.whl": ("acme", "not named as wheels are"),
    "acme--1.0-py3-none-any.whl": ("acme", "not named as wheels are"),
    "acme__lib-1.0-py3-none-any.whl": ("acme-lib", "not named as wheels are"),
    "acme-1.0-py3..-none-any.whl": ("acme", "characters"),
    f"acme-1.0-py3-none-any_{'x' * 240}.whl": ("acme", "longer than"),
    f"acme-1-{'x' * 300}.tar.gz": ("acme", "longer than"),
    "acme-1.0.whl": ("acme", "not named as wheels are"),
    "acme_1.0.whl": ("acme", "not named as wheels are"),
    "acme-1.0-py3-none-any.WHL": ("acme", "lower case"),
    "Acme-1.0-Py3-None-Any.Whl": ("acme", "lower case"),
    "acme-1.0-py3-none-any#1.whl": ("acme", "characters"),
    "acme-1.0-py3-none-any%20.whl": ("acme", "characters"),
    "acme-1.0-p\u00fc3-none-any.whl": ("acme", "characters"),
    "acme-1.0-py3-none-any.whl.zip": ("acme", "no version"),
    "acme-1.0.tar.Z": ("acme", "unpacks"),
    "acme-1.0.TAR.GZ": ("acme", "lower case"),
    "acme-1.0.Zip": ("acme", "lower case"),
    "acme-1.0-SNAPSHOT.tar.gz": ("acme", "no version"),
    "acme-1.0dev-r1234.tar.gz": ("acme", "no version"),
    "acme_1.0.tar.gz": ("acme", "no version"),
    "acme_-1.0.tar.gz": ("acme", "no version"),
    "acme_-1.tar.gz": ("acme", "no version"),
    "acme--1.zip": ("acme", "no version"),
    "acme-1.0.linux-x86_64.tar.gz": ("acme", "no version"),
    "acme_lib-1.0.macosx-14-arm64_32.zip": ("acme-lib", "no version"),
    "acme 1.0.zip": ("acme", "no version"),
    "acme-1.0 (1).tar.gz": ("acme", "no version"),
    "acme-1.0-py3.9.egg": ("acme", "takes .egg"),
    "acme_lib-1.0-py3.9-linux-x86_64.egg": ("acme-lib", "takes .egg"),
    "acme_1.egg": ("acme", "takes .egg"),
    "acme_-1.egg": ("acme", "takes .egg"),
    "acme-1.0.win32-py2.7.exe": ("acme", "takes .exe"),
    "acme-1.0.win-amd64-py3.6.msi": ("acme", "takes .msi"),
    "acme-1.0-1.noarch.rpm": ("acme", "takes .rpm"),
    "acme_1.0-1_all.deb": ("acme", "takes .deb"),
    "acme-1.0.dmg": ("acme", "takes .dmg"),
}
"""File names that no installer takes: whose they are all the same, and why."""
NOBODYS = (
    *("acme.whl", "acme.tar.gz", "acme-latest.zip", "acme-10k.zip", "acme-2004d.zip", "acme-setup.exe", "acme-.tar.gz"),
    *("acme-1.0.7z", ".acme-1.0.tar.gz", "-acme-1.0.tar.gz", "acme lib-1.0.tar.gz", "README.md", "", ".whl", "-", "1.0.zip"),
    *("acme-1.0-py3-none-any.whl.metadata", "acme-1.0-py3-none-any.whl.asc", "acme-1.0.tar.gz.sha256", "a" * 2_000 + "-1.0.whl"),
    *("_acme-1.0-py3-none-any.whl", "acm\u00e9-1.0-py3-none-any.whl"),
)
"""File names that say nothing of a project, or are none of a distribution: what is no release must take no public name down."""
_TAKEN_ENDINGS = (
    ".tar.gz",
    ".zip",
    ".tar.bz2",
    ".tgz",
    ".tar",
    ".tar.xz",
    ".tbz",
    ".txz",
    ".tlz",
    ".tar.lz",
    ".tar.lzma",
    ".tar.zst",
)


@pytest.mark.parametrize(("filename", "projects"), TAKEN.items())
def test_what_installers_take_is_offered_as_everybody_s_whose_it_may_be(filename: str, projects: str) -> None:
    assert read_belonging(filename) == Belonging(tuple(projects.split()))


@pytest.mark.parametrize("filename", WITHHELD)
def test_what_no_installer_takes_is_a_project_s_all_the_same(filename: str) -> None:
    project, why = WITHHELD[filename]
    found = read_belonging(filename)
    assert found.projects == (project,)
    assert why in (found.obstacle or "")


@pytest.mark.parametrize("filename", NOBODYS)
def test_what_is_no_release_is_nobody_s(filename: str) -> None:
    assert read_belonging(filename).projects == ()


def test_what_lies_in_a_folder_of_another_project_is_said_to() -> None:
    assert find_obstacle("acme-1.0.tar.gz", "acme") is None
    assert "not named as one" in (find_obstacle("acme-1.0.tar.gz", "other") or "")


pieces = st.sampled_from(
    [
        *(
            "acme",
            "lib",
            "Acme",
            "a",
            "3d",
            "2",
            "1.0",
            "1",
            "v2",
            "1.0rc1",
            "1.0_rc1",
            "1.0+x.1",
            "1!1",
            "beta",
            "rc-1",
            "latest",
        ),
        *(
            "post1",
            "py3",
            "none",
            "any",
            "py3-none-any",
            "cp311",
            "r1234",
            "\u00fc",
            "#",
            " ",
            "(1)",
            "1.0dev",
            "2004d",
            "SNAPSHOT",
        ),
    ]
)
joints = st.sampled_from(["-", "-", "-", "_", ".", " ", "--", ""])
endings = st.sampled_from(
    [
        ".whl",
        ".whl",
        ".tar.gz",
        ".tar.gz",
        ".zip",
        ".tar.bz2",
        ".tar",
        ".egg",
        ".exe",
        ".WHL",
        ".Tar.Gz",
        ".tar.Z",
        "-variants.json",
    ]
)


@st.composite
def file_names(draw: st.DrawFn) -> str:
    parts = draw(st.lists(pieces, min_size=1, max_size=6))
    return "".join(part + draw(joints) for part in parts[:-1]) + parts[-1] + draw(endings)


def heads_of(filename: str) -> set[str]:
    """Every project that somebody could take the file for."""
    ends = [at for at, character in enumerate(filename) if character in "-_. "]
    return {name for at in [*ends, len(filename)] if (name := normalise_name(filename[:at])) is not None}


def takes(filename: str, project: str) -> bool:
    """Whether pip takes a file for a project on whose page it stands: its ``LinkEvaluator``, and uv's ``.zst``."""
    if filename.endswith(".whl"):
        try:
            return parse_wheel_filename(filename)[0] == project
        except InvalidWheelFilename:
            return False
    ending = next((ending for ending in _TAKEN_ENDINGS if filename.endswith(ending)), None)
    if ending is None:
        return False
    stem = filename[: -len(ending)]
    for at, character in enumerate(stem):
        if character == "-" and canonicalize_name(stem[:at]) == project:
            try:
                return bool(Version(stem[at + 1 :]))
            except InvalidVersion:
                return False
    return False


@settings(deadline=None, max_examples=400)
@given(file_names())
@example("acme--1.0.tar.gz")
@example("acme-1.0-1.tar.gz")
@example("acme_rc-1-v2-acme-acme-acme.whl")
def test_what_is_offered_is_what_pip_takes_and_what_is_offered_is_claimed(filename: str) -> None:
    found = read_belonging(filename)
    assert all(normalise_name(project) == project for project in found.projects)
    if filename.endswith("-variants.json") or is_variant(filename):
        return
    for project in heads_of(filename) | set(found.projects):
        offered = find_obstacle(filename, project) is None
        assert offered == (takes(filename, project) and is_safe_filename(filename)), project
        if offered:
            assert project in found.projects


@settings(deadline=None, max_examples=400)
@given(file_names())
@example("acme-1.0-beta.tar.gz")
def test_every_reader_of_names_agrees_with_the_one(filename: str) -> None:
    found = read_belonging(filename)
    if (stated := project_in(filename)) is not None:
        assert stated in found.projects
    for project in heads_of(filename) | set(found.projects):
        is_member = filename in Membership(project)
        if project in found.projects:
            assert is_member
        elif found.obstacle is None and found.projects:
            assert not is_member, "a name that reads as another's"
    if found.projects:
        assert is_listable(filename)


@pytest.mark.parametrize(
    "name", ["a" + "-1" * 400 + ".tar.gz", "a" + "-_ ." * 200 + "1.0.zip", "a-" * 480 + "py3-none-any.whl", "1." * 500 + ".egg"]
)
def test_reading_a_name_takes_little_time_however_it_is_made(name: str) -> None:
    took_s = []
    for _ in range(3):
        began_s = time.perf_counter()
        read_belonging(name)
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 0.2

"""Options that select files and versions, held against pip's own reader of requirements files, its finder and its choices."""

from __future__ import annotations

import sys
import tempfile
from optparse import Values
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from pip._internal.index.collector import LinkCollector
from pip._internal.index.package_finder import PackageFinder
from pip._internal.models.format_control import FormatControl
from pip._internal.models.release_control import ReleaseControl
from pip._internal.models.search_scope import SearchScope
from pip._internal.models.selection_prefs import SelectionPreferences
from pip._internal.network.session import PipSession
from pip._internal.req.req_file import parse_requirements

from tests.support.index import FakeIndex
from tests.support.packages import build_backend, metadata, sdist_bytes, wheel_bytes, wheel_name
from wheelgate.core.errors import Unresolvable
from wheelgate.mirror.inputs import read_input
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.targets import parse_target

NAMES = ["demo", "Other_One", "other-one", "third", ":all:", ":none:", "", " demo", "de mo"]
PROJECTS = ["demo", "other-one", "third", "never-named"]
HERE = parse_target("3.11", "linux-x86_64")

values = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(",".join)
options = st.builds(
    lambda name, value: f"{name}='{value}'",
    st.sampled_from(["--no-binary", "--only-binary", "--all-releases", "--only-final"]),
    values,
)
lines = st.one_of(
    options,
    st.lists(options, min_size=2, max_size=3).map(" ".join),
    options.map("demo>=1 {}".format),
    options.map("-r more.txt {}".format),
    options.map("{} --pre".format),
    st.sampled_from(["--pre", "-r more.txt", "-c limits.txt", "--prefer-binary", "other-one --pre"]),
)


def pip_reads(path: Path) -> PackageFinder:
    session = PipSession()
    finder = PackageFinder.create(
        link_collector=LinkCollector(session, SearchScope.create([], [], no_index=False)),
        selection_prefs=SelectionPreferences(
            allow_yanked=False, format_control=FormatControl(set(), set()), release_control=ReleaseControl()
        ),
    )
    told = Values({"require_hashes": False, "no_require_hashes": False, "features_enabled": []})
    list(parse_requirements(str(path), session, finder, told))
    return finder


@settings(max_examples=80, deadline=None)
@given(main=st.lists(lines, max_size=5), more=st.lists(options, max_size=2), limits=st.lists(options, max_size=2))
@example(main=["--only-binary=:all:", "--no-binary=demo"], more=[], limits=[])
@example(main=["--no-binary=demo", "--only-binary=:all:"], more=[], limits=[])
@example(main=["--no-binary=:all:", "--only-binary=demo,third", "--no-binary=:none:"], more=[], limits=[])
@example(main=["--no-binary=:all:,demo,:none:,third"], more=[], limits=[])
@example(main=["demo --no-binary=demo"], more=[], limits=[])
@example(main=["-r more.txt --only-binary=demo"], more=["--no-binary=demo"], limits=[])
@example(main=["--only-final=demo", "--pre", "--all-releases=third"], more=[], limits=[])
def test_formats_and_releases_are_those_that_pip_allows(main: list[str], more: list[str], limits: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("main", ["third", *main]), ("more", more), ("limits", limits)):
            (Path(folder) / f"{name}.txt").write_text("\n".join(text))
        path = Path(folder) / "main.txt"
        finder, ours = pip_reads(path), read_input(path, {}).options
    assert finder.release_control is not None
    for project in PROJECTS:
        formats = {"binary"} if ours.wants_wheel(project) else set()
        formats |= {"source"} if ours.wants_sdist(project) else set()
        assert formats == finder.format_control.get_allowed_formats(project), project
        assert ours.wants_prereleases(project) == finder.release_control.allows_prereleases(canonicalize_name(project)), project


def publish(index: FakeIndex, name: str, version: str, *, wheel: bool = True) -> None:
    if wheel:
        body = wheel_bytes(name, version)
        index.publish(name, wheel_name(name, version), body, metadata=metadata(name, version))
    else:
        index.publish(name, f"{name}-{version}.tar.gz", sdist_bytes(name, version), metadata=metadata(name, version))


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("demo\nother\n", "demo==1.0 other==1.0"),
        ("--pre\ndemo\nother\n", "demo==2.0rc1 other==2.0rc1"),
        ("--all-releases=demo\ndemo\nother\n", "demo==2.0rc1 other==1.0"),
        ("--all-releases=:all: --only-final=demo\ndemo\nother\n", "demo==1.0 other==2.0rc1"),
        ("--only-final=demo\n--pre\ndemo\nother\n", "demo==1.0 other==2.0rc1"),
        ("--only-final=:all:\ndemo>=2.0rc1\n", None),
        ("--only-final=demo\ndemo>=2.0rc1\n", None),
        ("demo>=2.0rc1\n", "demo==2.0rc1"),
        ("--only-binary=:all:\nsource\n", "source==1.0"),
        ("--only-binary=:all:\n--no-binary=source\nsource\n", "source==3.0"),
        ("--no-binary=source\n--only-binary=:all:\nsource\n", "source==1.0"),
        ("--only-binary=source,:none:,de mo\nsource\n", "source==3.0"),
    ],
)
async def test_uv_is_told_what_pip_would_choose_from(text: str, chosen: str | None, index: FakeIndex, tmp_path: Path) -> None:
    for name in ("demo", "other"):
        publish(index, name, "1.0")
        publish(index, name, "2.0rc1")
    publish(index, "source", "1.0")
    publish(index, "source", "3.0", wheel=False)
    index.publish("setuptools", wheel_name("setuptools", "80.0"), build_backend("source", "3.0"))
    (tmp_path / "r.txt").write_text(text)
    asked = read_input(tmp_path / "r.txt", {})
    resolver = Resolver(index.url, tmp_path, {"PATH": "/usr/bin"}, python=sys.executable, outputs=tmp_path / "outputs")
    try:
        needs = await resolver.resolve(asked, HERE)
    except Unresolvable:
        needs = []
    assert " ".join(f"{need.project}=={need.version}" for need in needs) == (chosen or "")

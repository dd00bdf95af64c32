"""A Python named by its minor version is the newest patch release of it, wherever a Python is compared with anything."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.markers import Marker

from tests.support.clients import uv
from tests.support.index import FakeIndex
from tests.support.packages import metadata, wheel_bytes, wheel_name
from wheelgate.core.errors import ProjectNotFound, Unresolvable
from wheelgate.core.model import File, ProjectPage, RemoteFile
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import NeededRelease, SelectionOptions
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.selection import choose_files
from wheelgate.mirror.targets import Target, find_newest_patch, parse_target

COMPARED = [
    ("3.9", ">=3.9.2", True),  # which every current Azure library says
    ("3.9", "!=3.9.0,!=3.9.1,>=3.8", True),
    ("3.9", "!=3.9.7,>=3.9", True),
    ("3.9", "<3.9.7", False),
    ("3.8", ">=3.8.1", True),
    ("3.11", "<3.11.3", False),
    ("3.11.2", "<3.11.3", True),  # the one that is named
    ("3.11.2", ">=3.11.3", False),
    ("3.9.0", ">=3.9.2", False),
    ("3.9.1", ">=3.9.2", False),
    ("3.14.99", ">=3.14.60", True),  # newer than any that is known
    ("3.14", ">=3.14.60", False),
    ("3.16", ">=3.16", True),  # which is not out yet
    ("3.12", ">=3.12.1,<4", True),
]


class Listed:
    """An index of these pages."""

    name = "index"

    def __init__(self, *pages: ProjectPage) -> None:
        self._pages = {page.project: page for page in pages}

    async def project_names(self) -> frozenset[str]:
        return frozenset(self._pages)

    async def project_page(self, project: str) -> ProjectPage:
        if project not in self._pages:
            raise ProjectNotFound(project)
        return self._pages[project]


def page_of(**requires: str) -> ProjectPage:
    """A wheel of each version, and its Requires-Python."""
    files = [
        File(
            filename=wheel_name("demo", version.replace("_", ".")),
            project="demo",
            source="s",
            location=RemoteFile("https://x/demo", "s"),
            requires_python=specifier,
        )
        for version, specifier in requires.items()
    ]
    return ProjectPage(project="demo", files=tuple(files), as_of=datetime(2026, 1, 1, tzinfo=UTC))


class Planning:
    """Planning with the real resolver, for one target."""

    def __init__(self, index: FakeIndex, folder: Path, target: Target) -> None:
        self._index, self._folder, self._target = index, folder, target
        self._requires: dict[str, str] = {}

    def publish(self, version: str, requires_python: str) -> None:
        self._requires[version] = requires_python
        self._index.publish(
            "demo",
            wheel_name("demo", version),
            wheel_bytes("demo", version),
            metadata=metadata("demo", version),
            requires_python=requires_python,
        )

    async def plan(self, specifier: str) -> set[str]:
        """The files that are planned; none if nothing resolves."""
        resolver = Resolver(
            self._index.url, self._folder, {"PATH": "/usr/bin"}, python=sys.executable, outputs=self._folder / "outputs"
        )
        planner = Planner(
            plan=Plan(), index=Listed(page_of(**self._requires)), resolve=resolver.resolve, peek=no_peek, all_files=False
        )
        with suppress(Unresolvable):
            await planner.add(read_projects([specifier], {}), [self._target])
        return set(planner.plan.files)


async def no_peek(_: MirrorFile) -> Path:
    raise AssertionError("nothing is built")


def full_version_marker(specifier: str) -> str:
    clauses = [(clause.rstrip(".0123456789"), clause.lstrip("<>=!")) for clause in specifier.split(",")]
    return " and ".join(f"python_full_version {operator} '{version}'" for operator, version in clauses)


def by_marker(target: Target, specifier: str) -> bool:
    return target.meets(Marker(full_version_marker(specifier)), "here")


def by_selection(target: Target, specifier: str) -> bool:
    page = page_of(**{"1.0": specifier})
    try:
        return bool(choose_files(NeededRelease("demo", "1.0"), page, target, SelectionOptions(), all_files=False))
    except Unresolvable:
        return False


def by_lock(target: Target, specifier: str, folder: Path) -> bool:
    (folder / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "demo"\nversion = "1.0"\n'
        f'marker = "{full_version_marker(specifier)}"\n'
        'wheels = [{name = "demo-1.0-py3-none-any.whl", url = "https://x/demo-1.0-py3-none-any.whl", '
        f'hashes = {{sha256 = "{"a" * 64}"}}}}]\n'
    )
    asked = read_input(folder / "pylock.toml", {})
    assert asked.lock is not None
    return bool(asked.lock(target).needs)


@pytest.mark.parametrize(("python", "specifier", "holds"), COMPARED)
async def test_a_python_is_the_same_one_to_everybody(
    python: str, specifier: str, holds: bool, index: FakeIndex, tmp_path: Path
) -> None:
    target = parse_target(python, "linux-x86_64")
    planning = Planning(index, tmp_path, target)
    planning.publish("1.0", specifier)
    judged = {
        "markers": by_marker(target, specifier),
        "selection": by_selection(target, specifier),
        "locks": by_lock(target, specifier, tmp_path),
        "resolving": bool(await planning.plan("demo")),
    }
    assert judged == dict.fromkeys(judged, holds)


@pytest.mark.parametrize(
    ("python", "specifier", "planned"),
    [
        ("3.11", "demo", "2.0"),
        ("3.11.2", "demo", "4.0"),
        ("3.12", "demo", "5.0"),
        ("3.11", "demo>2", None),
        ("3.11", "demo==3.0", None),
    ],
)
async def test_an_upper_bound_is_heeded_as_pip_heeds_it(
    python: str, specifier: str, planned: str | None, index: FakeIndex, tmp_path: Path
) -> None:
    """uv disregards it: it would choose 4.0, which no installer on that Python takes."""
    planning = Planning(index, tmp_path, parse_target(python, "linux-x86_64"))
    for version, requires in (("2.0", ">=3.8"), ("3.0", ">=3.8,<3.11"), ("4.0", "<3.11.3"), ("5.0", ">=3.12")):
        planning.publish(version, requires)
    assert await planning.plan(specifier) == ({f"demo/{wheel_name('demo', planned)}"} if planned else set())


def test_the_running_python_is_known_too() -> None:
    assert find_newest_patch(11, running=(3, 11, 99)) == 99
    assert find_newest_patch(11, running=(3, 12, 99)) == find_newest_patch(11, running=(3, 11, 0)) > 0
    assert find_newest_patch(40, running=(3, 11, 7)) == 0


def test_the_table_is_as_new_as_what_uv_installs(tmp_path: Path) -> None:
    """Of versions that are still maintained it may be half a year behind: then its figures are to be raised."""
    listed = json.loads(uv(tmp_path, "python", "list", "--only-downloads", "--offline", "--output-format", "json").stdout)
    newest = {
        int(minor): int(patch)
        for _, minor, patch in (one["version"].split(".") for one in listed if one["implementation"] == "cpython")
        if patch.isdigit()
    }
    assert len(newest) > 5
    for minor, patch in newest.items():
        assert find_newest_patch(minor, running=(3, 0, 0)) >= (patch if minor <= 9 else patch - 6), f"3.{minor}.{patch} is out"

"""The reader of ``uv.lock``: what the projects of a workspace need, or a script, with every extra and group."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.markers import Marker

from wheelgate.core.errors import BadInput
from wheelgate.mirror.allowed_pythons import AllowedPythons, allow_pythons
from wheelgate.mirror.inputs_model import LockSelection, MirrorInput
from wheelgate.mirror.lock_choices import Need, holds, parse_lock_marker
from wheelgate.mirror.locked_files import (
    LockedFile,
    LockedPackage,
    convert_hash,
    convert_lock,
    read_toml,
    refuse_elsewhere,
    select_package,
)
from wheelgate.mirror.own_projects import add_own_project
from wheelgate.mirror.targets import Target

_VERSION = 1
_MOST_CHOICES = 4_096
_Choice = frozenset[str]
"""The conflicting extras, groups and projects that are chosen, as uv's markers name them."""


def read_uv_lock(path: Path, label: str) -> MirrorInput:
    """Read a ``uv.lock``; :class:`BadInput` if it is none, or of another version."""
    document = read_toml(path)
    version = document.get("version")
    content = convert_lock(path, document, _UvContent, version=version, is_known=version == _VERSION, known=str(_VERSION))
    said = content.requires_python
    python = allow_pythons(said, [said], str(path)) if said else None
    asked = MirrorInput(label=label, lock=_UvLock(path, content, python).select, python=python)
    for package in content.package:
        if (folder := package.source.get("editable", package.source.get("directory"))) is not None:
            add_own_project(asked, package.name, path.parent / str(folder), is_editable="editable" in package.source)
    return asked


class _UvFile(msgspec.Struct):
    url: str | None = None
    path: str | None = None
    filename: str | None = None
    hash: str | None = None

    def convert(self) -> LockedFile:
        return LockedFile(self._name, convert_hash(self.hash or ""))

    @property
    def _name(self) -> str:
        try:
            place = self.filename or self.path or unquote(urlsplit(self.url or "").path)
        except ValueError:  # no URL: then it is not the name of a file that fits, either
            return ""
        return PurePosixPath(place).name


class _UvDependency(msgspec.Struct):
    name: str
    version: str | None = None
    source: dict[str, Any] | None = None
    marker: str | None = None
    extra: list[str] = []


class _UvPackage(msgspec.Struct, rename="kebab"):
    name: str
    source: dict[str, Any]
    version: str | None = None
    resolution_markers: list[str] = []
    dependencies: list[_UvDependency] = []
    optional_dependencies: dict[str, list[_UvDependency]] = {}
    dev_dependencies: dict[str, list[_UvDependency]] = {}
    sdist: _UvFile | None = None
    wheels: list[_UvFile] = []

    @property
    def is_project(self) -> bool:
        """Is a project of somebody's own, rather than something of an index."""
        return bool(self.source.keys() & {"virtual", "editable", "directory"})

    def convert(self) -> LockedPackage:
        listed = [*self.wheels, *([self.sdist] if self.sdist else [])]
        return LockedPackage(self.name, self.version or "", [file.convert() for file in listed])


class _UvConflict(msgspec.Struct):
    """An extra, a group or a whole project that excludes others."""

    package: str
    extra: str | None = None
    group: str | None = None

    @property
    def id(self) -> str:
        return _name_choice(self.package, extra=self.extra, group=self.group)


class _UvManifest(msgspec.Struct, rename="kebab"):
    members: list[str] = []
    requirements: list[_UvDependency] = []
    """Of a script."""
    dependency_groups: dict[str, list[_UvDependency]] = {}
    """Of a workspace whose root is no project."""


class _UvContent(msgspec.Struct, rename="kebab"):
    package: list[_UvPackage] = []
    requires_python: str = ""
    supported_markers: list[str] = []
    conflicts: list[list[_UvConflict]] = []
    manifest: _UvManifest = msgspec.field(default_factory=_UvManifest)


class _UvLock(msgspec.Struct):
    path: Path
    content: _UvContent
    python: AllowedPythons | None
    markers: dict[str, Marker | None] = {}
    """Those of the lock that were asked about, parsed: it has a few, in many places."""
    by_name: dict[str, list[_UvPackage]] = {}

    def __post_init__(self) -> None:
        for package in self.content.package:
            self.by_name.setdefault(package.name, []).append(package)

    def select(self, target: Target) -> LockSelection:
        self._require_environment(target)
        always: dict[int, _UvPackage] = {}
        chosen: dict[int, _UvPackage] = {}
        for choice in self._list_choices():
            always |= {id(package): package for package in self._walk(target, choice, is_whole=False)}
            chosen |= {id(package): package for package in self._walk(target, choice, is_whole=True)}
        selection = LockSelection()
        for key, package in (always | chosen).items():
            if package.is_project:
                continue
            if "registry" not in package.source:
                raise refuse_elsewhere(self.path, package.name)
            need = Need.ALWAYS if key in always else Need.BY_CHOICE
            select_package(package.convert(), need, target, self.path, selection)
        return selection

    def _require_environment(self, target: Target) -> None:
        if self.python is not None:
            self.python.require(target, str(self.path))
        supported = self.content.supported_markers
        if not self._any_holds(supported, target):
            raise BadInput(f"{self.path}: is for {' or '.join(supported)[:200]}, and not for {target}")

    def _list_choices(self) -> list[_Choice]:
        """List the choices among what conflicts: of each set one, or none."""
        sets = [[conflict.id for conflict in conflicts] for conflicts in self.content.conflicts]
        count = 1
        for ids in sets:
            count *= len(ids) + 1
        if count > _MOST_CHOICES:
            raise BadInput(f"{self.path}: declares more conflicts than can be tried: {count:,} choices")
        found = {frozenset(filter(None, ids)) for ids in product(*([*ids, ""] for ids in sets))}
        return sorted((choice for choice in found if all(len(choice & set(ids)) <= 1 for ids in sets)), key=sorted)

    def _walk(self, target: Target, choice: _Choice, *, is_whole: bool) -> Iterable[_UvPackage]:
        """Walk through what is needed there, directly or not. ``is_whole``: with every extra and group of the projects."""
        seen: set[tuple[int, str]] = set()
        found: dict[int, _UvPackage] = {}
        waiting = deque(self._find_roots(target, choice, is_whole=is_whole))
        while waiting:
            package, part = waiting.popleft()
            if (id(package), part) in seen:
                continue
            seen.add((id(package), part))
            found[id(package)] = package
            if part.startswith("group:"):
                wanted = package.dev_dependencies.get(part.removeprefix("group:"), [])
            else:
                wanted = package.optional_dependencies.get(part, []) if part else package.dependencies
            for dependency in wanted:
                waiting += self._follow(dependency, target, choice)
        return found.values()

    def _find_roots(self, target: Target, choice: _Choice, *, is_whole: bool) -> Iterator[tuple[_UvPackage, str]]:
        """Find the packages, and their extras and groups, that are installed because somebody asks for them."""
        content, excluding = self.content, {conflict.id for conflicts in self.content.conflicts for conflict in conflicts}
        stated = list(content.manifest.requirements)
        stated += [entry for group in content.manifest.dependency_groups.values() for entry in group if is_whole]
        for dependency in stated:
            yield from self._follow(dependency, target, choice)
        members = self._find_members()
        if not members and not stated:
            yield from ((package, "") for package in content.package if self._any_holds(package.resolution_markers, target))
        for package in members:
            parts = {"": _name_choice(package.name)}
            if is_whole:
                parts |= {extra: _name_choice(package.name, extra=extra) for extra in package.optional_dependencies}
                parts |= {f"group:{group}": _name_choice(package.name, group=group) for group in package.dev_dependencies}
            if parts[""] in excluding - choice:
                continue
            yield from ((package, part) for part, name in parts.items() if name not in excluding - choice)

    def _find_members(self) -> list[_UvPackage]:
        projects = [package for package in self.content.package if package.is_project]
        members = [package for package in projects if package.name in self.content.manifest.members]
        return members or [package for package in projects if "." in package.source.values()] or projects

    def _follow(self, dependency: _UvDependency, target: Target, choice: _Choice) -> Iterator[tuple[_UvPackage, str]]:
        if not self._holds(dependency.marker, target, choice):
            return
        found = [
            package
            for package in self.by_name.get(dependency.name, [])
            if dependency.version in (None, package.version)
            and dependency.source in (None, package.source)
            and (dependency.version is not None or self._any_holds(package.resolution_markers, target))
        ]
        if not found:
            raise BadInput(f"{self.path}: is incomplete: {dependency.name} is needed, and not locked")
        yield from ((package, part) for package in found for part in ("", *dependency.extra))

    def _any_holds(self, markers: list[str], target: Target) -> bool:
        return not markers or any(self._holds(marker, target) for marker in markers)

    def _holds(self, marker: str | None, target: Target, choice: _Choice = frozenset()) -> bool:
        if marker is None:
            return True
        if marker not in self.markers:
            self.markers[marker] = parse_lock_marker(marker, str(self.path))
        return holds(self.markers[marker], target, str(self.path), extras=choice)


def _name_choice(package: str, *, extra: str | None = None, group: str | None = None) -> str:
    """Name a choice as uv's markers do."""
    kind, name = ("extra", extra) if extra is not None else ("group", group) if group is not None else ("project", None)
    return "-".join([kind, str(len(package)), package, *([name] if name is not None else [])])

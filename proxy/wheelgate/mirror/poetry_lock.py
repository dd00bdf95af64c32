"""The reader of ``poetry.lock``, of poetry 1 and 2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from wheelgate.core.errors import BadInput
from wheelgate.core.names import normalise_name, same_version_key, version_of
from wheelgate.mirror.allowed_pythons import AllowedPythons, allow_pythons
from wheelgate.mirror.inputs_model import LockSelection, MirrorInput
from wheelgate.mirror.lock_choices import Choices, Need, parse_lock_marker
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

_KNOWN = re.compile(r"1\.[01]|2\.\d+")
_INDEXES = ("legacy", "pypi", "")
_DEFAULT_GROUP = "main"


def read_poetry_lock(path: Path, label: str) -> MirrorInput:
    """Read a ``poetry.lock``, with every extra and group; :class:`BadInput` if it is none, or of another version."""
    document = read_toml(path)
    metadata = document.get("metadata")
    version = metadata.get("lock-version") if isinstance(metadata, dict) else None
    is_known = isinstance(version, str) and _KNOWN.fullmatch(version) is not None
    content = convert_lock(path, document, _PoetryContent, version=version, is_known=is_known, known="2.1")
    said = content.metadata.python_versions
    python = allow_pythons(said, _convert_constraint(said), str(path)) if said else None
    asked = MirrorInput(label=label, lock=_PoetryLock(path, content, python).select, python=python)
    for package in content.package:
        if package.source.type == "directory":
            add_own_project(asked, package.name, path.parent / package.source.url, is_editable=package.develop)
    return asked


class _PoetryFile(msgspec.Struct):
    file: str
    hash: str = ""


class _PoetrySource(msgspec.Struct):
    type: str = ""
    url: str = ""


class _PoetryPackage(msgspec.Struct, rename="kebab"):
    name: str
    version: str
    groups: list[str] = []
    markers: str | dict[str, str] | None = None
    files: list[_PoetryFile] = []
    dependencies: dict[str, Any] = {}
    source: _PoetrySource = msgspec.field(default_factory=_PoetrySource)
    develop: bool = False


class _PoetryMetadata(msgspec.Struct, rename="kebab"):
    python_versions: str = ""
    files: dict[str, list[_PoetryFile]] = {}
    """By name, as the first releases wrote them."""


class _PoetryContent(msgspec.Struct, rename="kebab"):
    metadata: _PoetryMetadata
    package: list[_PoetryPackage] = []
    extras: dict[str, list[str]] = {}


class _PoetryLock(msgspec.Struct):
    path: Path
    content: _PoetryContent
    python: AllowedPythons | None

    def select(self, target: Target) -> LockSelection:
        where = str(self.path)
        if self.python is not None:
            self.python.require(target, where)
        choices = Choices(frozenset(self.content.extras))
        selection = LockSelection()
        for package in self.content.package:
            need = self._find_need(package, choices, target)
            if need is Need.NEVER or package.source.type == "directory":
                continue
            if package.source.type not in _INDEXES:
                raise refuse_elsewhere(self.path, package.name)
            locked = LockedPackage(package.name, package.version, self._list_files(package))
            if not package.groups and locked.choose_file(target) is None and self._is_excluded(package.name, choices, target):
                continue
            select_package(locked, need, target, self.path, selection)
        if not self.content.package:
            raise BadInput(f"{where}: locks nothing")
        return selection

    def _find_need(self, package: _PoetryPackage, choices: Choices, target: Target) -> Need:
        """Find whether a package is needed. Before 2.1 a lock did not say when: then it is."""
        groups = package.groups or [_DEFAULT_GROUP]
        markers = package.markers if isinstance(package.markers, dict) else dict.fromkeys(groups, package.markers)
        found = set()
        for group in groups:
            marker = parse_lock_marker(markers.get(group), str(self.path))
            need = choices.find_need(marker, target, str(self.path))
            found.add(Need.BY_CHOICE if need is Need.ALWAYS and group != _DEFAULT_GROUP else need)
        return next(need for need in (Need.ALWAYS, Need.BY_CHOICE, Need.NEVER) if need in found)

    def _is_excluded(self, name: str, choices: Choices, target: Target) -> bool:
        """Say whether packages depend on it, and the markers of all of them exclude the target."""
        project = normalise_name(name)
        stated = [
            marker
            for package in self.content.package
            for dependency, said in package.dependencies.items()
            if normalise_name(dependency) == project
            for marker in _list_markers(said)
        ]
        parsed = [parse_lock_marker(marker, str(self.path)) for marker in stated]
        return bool(parsed) and all(choices.find_need(marker, target, str(self.path)) is Need.NEVER for marker in parsed)

    def _list_files(self, package: _PoetryPackage) -> list[LockedFile]:
        project, key = normalise_name(package.name) or package.name, same_version_key(package.version)
        shared = [
            file
            for name, files in self.content.metadata.files.items()
            if normalise_name(name) == project
            for file in files
            if same_version_key(version_of(file.file, project) or "") == key
        ]
        return [LockedFile(file.file, convert_hash(file.hash)) for file in package.files or shared]


def _list_markers(said: object) -> Iterator[str | None]:
    """List the markers of a dependency, which is a version, a table or a list of either."""
    for one in said if isinstance(said, list) else [said]:
        marker = one.get("markers") if isinstance(one, Mapping) else None
        yield marker if isinstance(marker, str) else None


def _convert_constraint(text: str) -> Iterator[str]:
    """Convert poetry's constraints on Python to specifiers, one for each alternative."""
    for alternative in re.split(r"\s*\|\|?\s*", text.strip()):
        parts = re.split(r"\s*,\s*|\s+(?=[<>=!~^])", re.sub(r"([<>=!~^])\s+", r"\1", alternative))
        yield ",".join(filter(None, map(_convert_part, parts)))


def _convert_part(part: str) -> str:
    match = re.fullmatch(r"([\^~]?)(\d+)((?:\.\d+)*)(\.\*)?", part)
    if match is None:
        return "" if part == "*" else part
    sign, major, rest = match[1], int(match[2]), match[3]
    if sign == "^":
        return f">={major}{rest},<{major + 1}"
    if sign == "~":
        minor = int(rest.split(".")[1]) if rest else None
        return f">={major}{rest},<{major + 1 if minor is None else f'{major}.{minor + 1}'}"
    return f"=={part}"

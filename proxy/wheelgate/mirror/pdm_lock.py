"""The reader of ``pdm.lock``."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from packaging.markers import Marker
from packaging.requirements import Requirement

from wheelgate.core.errors import BadInput
from wheelgate.core.names import is_distribution, normalise_name
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
from wheelgate.mirror.own_projects import add_distribution, add_own_project
from wheelgate.mirror.targets import Target

_KNOWN = re.compile(r"4(\.\d+)*")
_DEFAULT_GROUP = "default"


def read_pdm_lock(path: Path, label: str) -> MirrorInput:
    """Read a ``pdm.lock``, with every group; :class:`BadInput` if it is none, or of another version."""
    document = read_toml(path)
    metadata = document.get("metadata")
    version = metadata.get("lock_version") if isinstance(metadata, dict) else None
    is_known = isinstance(version, str) and _KNOWN.fullmatch(version) is not None
    content = convert_lock(path, document, _PdmContent, version=version, is_known=is_known, known="4.5")
    python = _read_python(path, content.metadata)
    asked = MirrorInput(label=label, lock=_PdmLock(path, content, python).select, python=python)
    for package in content.package:
        if package.is_project:
            add_own_project(asked, package.name, path.parent / str(package.path), is_editable=package.editable)
    add_distribution(asked, path.parent)
    return asked


class _PdmFile(msgspec.Struct):
    file: str = ""
    url: str = ""
    hash: str = ""


class _PdmPackage(msgspec.Struct):
    name: str
    version: str = ""
    groups: list[str] | None = None
    marker: str | None = None
    dependencies: list[str] = []
    files: list[_PdmFile] = []
    path: str | None = None
    url: str | None = None
    git: str | None = None
    editable: bool = False

    @property
    def is_project(self) -> bool:
        """Is a folder of somebody's own, rather than a file in one."""
        return self.path is not None and not is_distribution(PurePosixPath(self.path).name)

    def convert(self) -> LockedPackage:
        names = [(file.file or file.url.partition("#")[0].rpartition("/")[2], file.hash) for file in self.files]
        return LockedPackage(self.name, self.version, [LockedFile(name, convert_hash(digest)) for name, digest in names])


class _PdmMetadata(msgspec.Struct):
    targets: list[dict[str, Any]] = []
    groups: list[str] = []


class _PdmContent(msgspec.Struct):
    metadata: _PdmMetadata
    package: list[_PdmPackage] = []


def _read_python(path: Path, metadata: _PdmMetadata) -> AllowedPythons | None:
    said = list(dict.fromkeys(str(target["requires_python"]) for target in metadata.targets if target.get("requires_python")))
    return allow_pythons(" or ".join(said), said, str(path)) if said else None


class _PdmLock(msgspec.Struct):
    path: Path
    content: _PdmContent
    python: AllowedPythons | None

    def select(self, target: Target) -> LockSelection:
        where, selection = str(self.path), LockSelection()
        if self.python is not None:
            self.python.require(target, where)
        if not self.content.package:
            raise BadInput(f"{where}: locks nothing")
        taken: set[tuple[str, str]] = set()
        for package in self.content.package:
            need = Choices().find_need(parse_lock_marker(package.marker, where), target, where)
            if need is Need.NEVER or package.is_project or (package.name, package.version) in taken:
                continue
            if package.git is not None or package.url is not None or package.path is not None:
                raise refuse_elsewhere(self.path, package.name)
            taken.add((package.name, package.version))  # those with extras stand there once more
            locked = package.convert()
            if package.groups is None and locked.choose_file(target) is None and self._is_excluded(package.name, target):
                continue
            if package.groups is not None and _DEFAULT_GROUP not in package.groups:
                need = Need.BY_CHOICE
            select_package(locked, need, target, self.path, selection)
        return selection

    def _is_excluded(self, name: str, target: Target) -> bool:
        """Say whether packages depend on it, and the markers of all of them exclude the target."""
        project = normalise_name(name)
        stated = [self._parse(text) for package in self.content.package for text in package.dependencies]
        markers: list[Marker | None] = [one.marker for one in stated if normalise_name(one.name) == project]
        return bool(markers) and not any(target.meets(marker, str(self.path)) for marker in markers)

    def _parse(self, text: str) -> Requirement:
        try:
            requirement = Requirement(text)
            str(requirement)  # which not every marker can be
        except ValueError:
            name = re.split("[@:;]", text, maxsplit=1)[0].strip()  # there may be a credential in the rest
            raise BadInput(f"{self.path}: what it says of a dependency, {name[:200]!r}, is not a requirement") from None
        return requirement

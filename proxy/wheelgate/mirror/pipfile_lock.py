"""The reader of ``Pipfile.lock``."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from wheelgate.core.errors import BadInput
from wheelgate.core.names import is_distribution
from wheelgate.distfiles.requirements_file import read_text
from wheelgate.mirror.allowed_pythons import AllowedPythons, allow_pythons
from wheelgate.mirror.inputs_model import LockSelection, MirrorInput, NeededRelease
from wheelgate.mirror.lock_choices import holds, parse_lock_marker
from wheelgate.mirror.locked_files import FOR_ONE_PLATFORM, convert_hash, convert_lock, read_project, refuse_elsewhere
from wheelgate.mirror.own_projects import add_own_project
from wheelgate.mirror.targets import Target

_SPEC = 6


def read_pipfile_lock(path: Path, label: str) -> MirrorInput:
    """Read a ``Pipfile.lock``, with every category; :class:`BadInput` if it is none, or of another version."""
    try:
        document = json.loads(read_text(path))
        meta = document.pop("_meta")
        spec, requires = meta.get("pipfile-spec"), meta.get("requires", {})
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
        raise BadInput(f"{path}: is not a Pipfile.lock: `pipenv lock` writes one") from None
    shape = dict[str, dict[str, _PipfilePackage]]
    categories = convert_lock(path, document, shape, version=spec, is_known=spec == _SPEC, known=str(_SPEC))
    packages = [(name, package) for category in categories.values() for name, package in category.items()]
    python = _read_python(path, requires)
    asked = MirrorInput(label=label, lock=_PipfileLock(path, packages, python).select, python=python)
    asked.notes.append(f"{label}: {FOR_ONE_PLATFORM}")
    for name, package in packages:
        if (folder := package.find_folder(path)) is not None:
            add_own_project(asked, name, folder, is_editable=package.editable)
    return asked


class _PipfilePackage(msgspec.Struct):
    version: str = ""
    hashes: list[str] = []
    markers: str | None = None
    path: str | None = None
    file: str | None = None
    git: str | None = None
    editable: bool = False

    def find_folder(self, lock: Path) -> Path | None:
        """Find the folder of a project of one's own; ``None``: it is none."""
        place = self.path or self.file
        is_folder = place is not None and "://" not in place and not is_distribution(PurePosixPath(place).name)
        return lock.parent / place if place is not None and is_folder else None


def _read_python(path: Path, requires: object) -> AllowedPythons | None:
    stated: dict[str, Any] = requires if isinstance(requires, dict) else {}
    full, line = stated.get("python_full_version"), stated.get("python_version")
    said, text = (full, f"=={full}") if full else (line, f"=={line}.*")
    return allow_pythons(str(said), [text], str(path)) if said and said != "*" else None


class _PipfileLock(msgspec.Struct):
    path: Path
    packages: list[tuple[str, _PipfilePackage]]
    python: AllowedPythons | None

    def select(self, target: Target) -> LockSelection:
        where, selection = str(self.path), LockSelection()
        if self.python is not None:
            self.python.require(target, where)
        if not self.packages:
            raise BadInput(f"{where}: locks nothing")
        for name, package in self.packages:
            if package.find_folder(self.path) is not None:
                continue
            if package.git or package.file or package.path or not package.version:
                raise refuse_elsewhere(self.path, name)
            if holds(parse_lock_marker(package.markers, where), target, where):
                hashes = frozenset[str]().union(*map(convert_hash, package.hashes))
                project = read_project(name, self.path)
                selection.needs.append(NeededRelease(project, package.version.lstrip("="), hashes=hashes, where=where))
        return selection

"""The reader of ``pylock.toml`` (PEP 751), as uv, PDM and pip write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock, PylockUnsupportedVersionError, PylockValidationError

from wheelgate.core.errors import BadInput
from wheelgate.mirror.allowed_pythons import AllowedPythons, allow_pythons
from wheelgate.mirror.inputs_model import LockSelection, MirrorInput, format_hashes
from wheelgate.mirror.lock_choices import Choices, Need, holds
from wheelgate.mirror.locked_files import FOR_ONE_PLATFORM, LockedFile, LockedPackage, read_toml, refuse_elsewhere, select_package
from wheelgate.mirror.own_projects import add_distribution, add_own_project
from wheelgate.mirror.targets import Target


def read_pylock(path: Path, label: str) -> MirrorInput:
    """Read a ``pylock.toml``, with every extra and group; :class:`BadInput` if it is none, or of another version."""
    try:
        lock = Pylock.from_dict(read_toml(path))
    except PylockUnsupportedVersionError as error:
        raise BadInput(f"{path}: is a lock of a version that is not supported: {error}; 1.0 is") from None
    except PylockValidationError as error:
        raise BadInput(f"{path}: is not a valid pylock.toml: {str(error)[:300]}") from None
    said = None if lock.requires_python is None else str(lock.requires_python)
    python = None if said is None else allow_pythons(said, [said], str(path))
    asked = MirrorInput(label=label, lock=_PylockReading(path, lock, python).select, python=python)
    for package in lock.packages:
        if (folder := package.directory) is not None:
            add_own_project(asked, package.name, path.parent / folder.path, is_editable=bool(folder.editable))
    if lock.created_by == "pip":
        asked.notes.append(f"{label}: {FOR_ONE_PLATFORM}")
    if lock.created_by == "pdm":
        add_distribution(asked, path.parent)
    return asked


class _PylockReading(msgspec.Struct, frozen=True):
    path: Path
    lock: Pylock
    python: AllowedPythons | None

    def select(self, target: Target) -> LockSelection:
        where, lock = str(self.path), self.lock
        self._require_environment(target)
        choices = Choices(*(frozenset(names or ()) for names in (lock.extras, lock.dependency_groups, lock.default_groups)))
        selection, always = LockSelection(), dict[str, Package]()
        for package in lock.packages:
            need = choices.find_need(package.marker, target, where)
            if need is Need.NEVER or package.directory is not None:
                continue
            if package.vcs is not None or package.archive is not None:
                raise refuse_elsewhere(self.path, package.name)
            if need is Need.ALWAYS and always.setdefault(package.name, package) is not package:
                raise BadInput(
                    f"{where}: locks {package.name} to two versions at once for {target}, so that no installer takes it: "
                    "export it with one choice of extras and groups that exclude each other, or give the uv.lock"
                )
            select_package(_convert(package), need, target, self.path, selection)
        return selection

    def _require_environment(self, target: Target) -> None:
        """Require what the whole lock requires of a place; :class:`BadInput` if that is not the target."""
        where, environments = str(self.path), self.lock.environments or ()
        if self.python is not None:
            self.python.require(target, where)
        if environments and not any(holds(marker, target, where) for marker in environments):
            raise BadInput(f"{where}: is for {' or '.join(map(str, environments))[:200]}, and not for {target}")


def _convert(package: Package) -> LockedPackage:
    listed: list[PackageWheel | PackageSdist] = [*(package.wheels or ()), *([package.sdist] if package.sdist else [])]
    return LockedPackage(package.name, str(package.version or ""), [_convert_file(file.filename, file.hashes) for file in listed])


def _convert_file(filename: str, hashes: Mapping[str, str]) -> LockedFile:
    return LockedFile(filename, format_hashes(hashes))

"""Files that a lock pins for a package, and the one of them that an installer takes on a target."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wheelgate.core.errors import BadInput
from wheelgate.core.names import normalise_name, without_sdist_ending
from wheelgate.distfiles.requirements_file import read_text
from wheelgate.mirror.inputs_model import LockSelection, NeededRelease, format_hashes
from wheelgate.mirror.lock_choices import Need
from wheelgate.mirror.targets import Target, find_best_wheel

FOR_ONE_PLATFORM = "pins what was needed on the machine that locked it: elsewhere more may be needed, which nobody can know"


class LockedFile(msgspec.Struct, frozen=True):
    """A wheel or sdist, with its digests as :func:`~wheelgate.mirror.inputs_model.format_hashes` has them."""

    name: str
    hashes: frozenset[str]


class LockedPackage(msgspec.Struct, frozen=True):
    """A package of an index, locked to a version and its files."""

    name: str
    version: str
    files: Sequence[LockedFile]

    def choose_file(self, target: Target) -> LockedFile | None:
        """Choose the best wheel, else the sdist; ``None``: nothing fits."""
        best = find_best_wheel((file.name for file in self.files if file.name.endswith(".whl")), target)
        fitting = (file for file in self.files if file.name == best) if best else self._list_sdists()
        return next(iter(fitting), None)

    def _list_sdists(self) -> list[LockedFile]:
        sdists = [file for file in self.files if without_sdist_ending(file.name) is not None]
        return sorted(sdists, key=lambda file: (not file.name.endswith(".tar.gz"), file.name))


_Content = TypeVar("_Content")


def convert_lock(path: Path, document: object, shape: type[_Content], *, version: object, is_known: bool, known: str) -> _Content:
    """Convert a lock to its shape. ``version``: of its format; ``None``: it says none. ``known``: the newest that can be read.

    Raises:
        BadInput: it is of no version, of another, or has another shape.
    """
    if version is None:
        raise BadInput(f"{path}: is no lock, or not a whole one: it does not say of which version it is")
    if not is_known:
        raise BadInput(f"{path}: is a lock of version {version!r}, which is not supported; {known} is")
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise BadInput(f"{path}: is not a valid {path.name}: {error}") from None


def convert_hash(text: str) -> frozenset[str]:
    """Convert ``sha256:...`` as a lock has it; empty: it has none."""
    algorithm, _, digest = text.partition(":")
    return format_hashes({algorithm: digest} if digest else {})


def select_package(package: LockedPackage, need: Need, target: Target, path: Path, selection: LockSelection) -> None:
    """Add a package's file to a selection; where no file fits what only an extra or a group needs, say so there.

    Raises:
        BadInput: no file fits, and every installation needs one.
    """
    file = package.choose_file(target)
    if file is not None:
        selection.needs.append(
            NeededRelease(read_project(package.name, path), package.version, file.name, file.hashes, str(path))
        )
        return
    sentence = f"{path}: has no file of {package.name} {package.version} for {target}"
    if need is Need.ALWAYS:
        raise BadInput(sentence)
    selection.notes.append(f"{sentence}: the extra or group that needs it cannot be installed there")


def read_project(name: str, path: Path) -> str:
    """Read a package's name, normalised; :class:`BadInput` if no project has such a name."""
    project = normalise_name(name)
    if project is None:
        raise BadInput(f"{path}: {name[:200]!r} is not a project name")
    return project


def refuse_elsewhere(path: Path, name: str) -> BadInput:
    """Build the refusal of a package that no index lists."""
    return BadInput(
        f"{path}: {name[:200]} is locked to a repository, a URL or a file, which no index lists: "
        "build its wheel, add that with `wheelgate wheel add`, and lock it from there"
    )


def read_toml(path: Path) -> Mapping[str, Any]:
    """Read a TOML file; :class:`BadInput` if it is none."""
    try:
        return tomllib.loads(read_text(path).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # ValueError itself: a number of thousands of digits
        raise BadInput(f"{path}: is not valid TOML: {error}") from None

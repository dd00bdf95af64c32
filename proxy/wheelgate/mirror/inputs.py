"""Inputs of `mirror`, read by what they are: a requirements file, a lock, a conda file, a folder, specifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.pylock import is_valid_pylock_path

from wheelgate.core.errors import BadInput
from wheelgate.mirror.conda import read_environment, read_folder
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.locks import read_pylock, read_uv_lock
from wheelgate.mirror.requirements import RequirementsReader

PROJECTS = "the projects named"


def read_input(path: Path, environment: Mapping[str, str]) -> MirrorInput:
    """Read a file or folder by its name.

    Args:
        path: where it is.
        environment: the values of variables in requirements files.

    Raises:
        BadInput: it is missing, broken, or empty.
    """
    # It stands in the manifest, which travels: of this machine's folders no more than was said.
    label = path.name if path.is_absolute() else path.as_posix()
    if path.name == "uv.lock":
        return MirrorInput(label=label, lock=read_uv_lock(path))
    if is_valid_pylock_path(path):
        return MirrorInput(label=label, lock=read_pylock(path))
    reader = RequirementsReader(environment)
    python = None
    if path.is_dir():
        python = read_folder(path, reader)
    elif path.suffix in (".yml", ".yaml"):
        python = read_environment(path, reader)
    elif path.suffix in (".toml", ".lock"):
        raise BadInput(f"{path}: is neither a pylock.toml nor a uv.lock; `uv lock` and `uv export` write them")
    else:
        reader.read_file(path)
    return _build_input(label, reader, python)


def read_projects(specifiers: Sequence[str], environment: Mapping[str, str]) -> MirrorInput:
    """Read specifiers from the command line.

    Raises:
        BadInput: one of them is none.
    """
    reader = RequirementsReader(environment)
    for specifier in specifiers:
        reader.read_line(specifier, f"--project {specifier!r}"[:200], Path())
    return _build_input(PROJECTS, reader, None)


def _build_input(label: str, reader: RequirementsReader, python: str | None) -> MirrorInput:
    if not reader.requirements:
        raise BadInput(f"{label}: asks for nothing")
    return MirrorInput(
        label=label,
        requirements=tuple(reader.requirements),
        constraints=tuple(reader.constraints),
        options=reader.options,
        python=python,
        notes=tuple(dict.fromkeys(reader.notes)),
    )

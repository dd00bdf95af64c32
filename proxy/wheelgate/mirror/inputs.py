"""What `mirror` is given to read, by what it is: a requirements file, a lock, a conda file, a folder, specifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.pylock import is_valid_pylock_path

from wheelgate.core.errors import BadInput
from wheelgate.mirror.conda import read_environment, read_folder
from wheelgate.mirror.inputs_model import Input
from wheelgate.mirror.locks import read_pylock, read_uv_lock
from wheelgate.mirror.requirements import Reader

PROJECTS = "the projects named"


def read_input(path: Path, environment: Mapping[str, str]) -> Input:
    """A file or folder, understood by its name.

    Args:
        path: where it is.
        environment: the values of variables in requirements files.

    Raises:
        BadInput: it is missing, broken, or empty.
    """
    # It stands in the manifest, which travels: of this machine's folders no more than was said.
    label = path.name if path.is_absolute() else path.as_posix()
    if path.name == "uv.lock":
        return Input(label=label, lock=read_uv_lock(path))
    if is_valid_pylock_path(path):
        return Input(label=label, lock=read_pylock(path))
    reader = Reader(environment)
    python = None
    if path.is_dir():
        python = read_folder(path, reader)
    elif path.suffix in (".yml", ".yaml"):
        python = read_environment(path, reader)
    elif path.suffix in (".toml", ".lock"):
        raise BadInput(f"{path}: is neither a pylock.toml nor a uv.lock; `uv lock` and `uv export` write them")
    else:
        reader.file(path)
    return _gathered(label, reader, python)


def read_projects(specifiers: Sequence[str], environment: Mapping[str, str]) -> Input:
    """Specifiers from the command line.

    Raises:
        BadInput: one of them is none.
    """
    reader = Reader(environment)
    for specifier in specifiers:
        reader.line(specifier.strip(), f"--project {specifier!r}"[:200], Path())
    return _gathered(PROJECTS, reader, None)


def _gathered(label: str, reader: Reader, python: str | None) -> Input:
    if not reader.lines:
        raise BadInput(f"{label}: asks for nothing")
    return Input(
        label=label,
        lines=tuple(reader.lines),
        constraints=tuple(reader.constraints),
        options=reader.options,
        python=python,
        notes=tuple(dict.fromkeys(reader.notes)),
    )

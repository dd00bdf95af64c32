"""Inputs of `mirror`, read by what they are: a requirements file, a lock, a conda or Azure ML environment, specifiers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from packaging.pylock import is_valid_pylock_path

from wheelgate.config.plain_yaml import NotPlainYaml, compose_yaml, find_text, find_value, list_entries
from wheelgate.core.errors import BadInput
from wheelgate.distfiles.requirements_file import read_text, split_lines
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.locks import read_pylock, read_uv_lock
from wheelgate.mirror.requirements import RequirementsReader

PROJECTS = "the projects named"
_PYTHON = re.compile(r"python\s*=+\s*(3\.\d{1,2})", re.ASCII)
_CONDA_FILES = ("environment", "conda", "conda_dependencies", "conda_env", "conda_env_v_1_0")
_YAML = (".yml", ".yaml")
_REQUIREMENTS = "requirements.txt"


def read_input(path: Path, environment: Mapping[str, str]) -> MirrorInput:
    """Read a file or folder by its name; variables in requirements files have their values in ``environment``.

    Raises:
        BadInput: it is missing, broken, or empty.
    """
    # It stands in the manifest, which travels: of this machine's folders no more than was said.
    asked = MirrorInput(label=path.name if path.is_absolute() else path.as_posix())
    if path.name == "uv.lock" or is_valid_pylock_path(path):
        asked.lock = read_uv_lock(path) if path.name == "uv.lock" else read_pylock(path)
        return asked
    reader = RequirementsReader(asked, environment)
    if path.is_dir():
        _read_folder(path, reader)
    elif path.suffix in _YAML:
        _read_environment(path, reader)
    elif path.suffix in (".toml", ".lock"):
        raise BadInput(f"{path}: is neither a pylock.toml nor a uv.lock; `uv lock` and `uv export` write them")
    else:
        reader.read_file(path)
    if not asked.requirements:
        raise BadInput(f"{asked.label}: asks for nothing")
    return asked


def read_projects(specifiers: Sequence[str], environment: Mapping[str, str]) -> MirrorInput:
    """Read specifiers from the command line; :class:`BadInput` if one of them is none."""
    reader = RequirementsReader(MirrorInput(label=PROJECTS), environment)
    for specifier in specifiers:
        reader.read_line(specifier, f"--project {specifier!r}"[:200], Path())
    if not reader.input.requirements:
        raise BadInput(f"{PROJECTS}: asks for nothing")
    return reader.input


def _read_folder(folder: Path, reader: RequirementsReader) -> None:
    """Read what an Azure ML environment's folder asks of pip."""
    conda = [folder / f"{stem}{ending}" for stem in _CONDA_FILES for ending in _YAML if (folder / f"{stem}{ending}").is_file()]
    for path in conda:
        _read_environment(path, reader)
    requirements = folder / _REQUIREMENTS
    if requirements.is_file() and requirements.resolve() not in reader.files:
        reader.read_file(requirements)
    elif not conda:
        names = ", ".join(f"{stem}.yml" for stem in _CONDA_FILES)
        raise BadInput(f"{folder}: has neither a conda file ({names}) nor a {_REQUIREMENTS}")


def _read_environment(path: Path, reader: RequirementsReader) -> None:
    """Read the pip sections of a conda file, or of the one that an Azure ML environment names or holds."""
    document = _read_yaml(path)
    conda = find_value(document, "conda_file")
    if (name := find_text(conda)) is not None:
        path = path.parent / name
        document = _read_yaml(path)
    elif isinstance(conda, yaml.MappingNode):
        document = conda
    elif conda is not None or find_value(document, "image") is not None:
        raise BadInput(f"{path}: names no conda_file: the packages are in its image, and nothing is left to mirror")
    if path.resolve() not in reader.files:
        reader.files.add(path.resolve())
        _read_conda(document, path, reader)


def _read_conda(document: yaml.Node | None, path: Path, reader: RequirementsReader) -> None:
    dependencies = find_value(document, "dependencies")
    if not isinstance(dependencies, yaml.SequenceNode):
        raise BadInput(f"{path}: has no list of dependencies, so it is no conda environment")
    others, found = 0, False
    for entry in list_entries(dependencies):
        package, lines = find_text(entry), find_value(entry, "pip")
        if package is not None:
            if match := _PYTHON.match(package):
                reader.input.python = match[1]
            others += 1
        elif isinstance(lines, yaml.SequenceNode):
            found = True
            for item in list_entries(lines):
                _read_item(item, path, reader)
        else:
            raise BadInput(
                f"{path} line {entry.start_mark.line + 1}: the dependency is neither a conda package nor a list for pip"
            )
    if not found:
        raise BadInput(f"{path}: has no pip section; conda's own packages come from a conda channel, not from an index")
    if others:
        note = f"{path}: {others} conda packages are ignored: they come from a conda channel, not from an index"
        reader.input.notes.append(note)


def _read_item(item: yaml.Node, path: Path, reader: RequirementsReader) -> None:
    """Each item is lines of a requirements file: conda writes one, and runs pip on it."""
    text, where = find_text(item), f"{path} line {item.start_mark.line + 1}"
    if text is None:
        raise BadInput(f"{where}: the pip item is not text: put it in quotes")
    for line in split_lines(text):
        reader.read_line(line.text, where, path.parent)


def _read_yaml(path: Path) -> yaml.Node | None:
    try:
        return compose_yaml(read_text(path), anchors=True)
    except NotPlainYaml as error:
        raise BadInput(f"{path}: {error}") from None

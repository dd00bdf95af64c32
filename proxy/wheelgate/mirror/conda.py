"""Conda environments as inputs of a mirror: the pip sections of ``environment.yml``, and the folders of Azure ML environments."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from wheelgate.config.plain_yaml import NotPlainYaml, compose_yaml, find_text, find_value, list_entries
from wheelgate.core.errors import BadInput
from wheelgate.distfiles.requirements_file import split_lines
from wheelgate.mirror.requirements import RequirementsReader, read_text

_PYTHON = re.compile(r"python\s*=+\s*(3\.\d{1,2})", re.ASCII)
_CONDA_FILES = ("environment", "conda", "conda_dependencies", "conda_env", "conda_env_v_1_0")
_YAML = (".yml", ".yaml")
_REQUIREMENTS = "requirements.txt"


def read_environment(path: Path, reader: RequirementsReader) -> str | None:
    """Give the pip sections of a conda file, or of the one that an Azure ML environment names or holds, to ``reader``.

    The answer is the Python that it asks for.

    Raises:
        BadInput: it is no such file, or has nothing for pip.
    """
    document = _read_yaml(path)
    conda = find_value(document, "conda_file")
    if (name := find_text(conda)) is not None:
        path = path.parent / name
        document = _read_yaml(path)
    elif isinstance(conda, yaml.MappingNode):
        document = conda
    elif conda is not None or find_value(document, "image") is not None:
        raise BadInput(f"{path}: names no conda_file: the packages are in its image, and nothing is left to mirror")
    return None if path.resolve() in reader.files else _read_conda(document, path, reader)


def read_folder(folder: Path, reader: RequirementsReader) -> str | None:
    """Give what an Azure ML environment's folder asks of pip to ``reader``; the answer is the Python that it asks for.

    Raises:
        BadInput: nothing of the kind is in it.
    """
    conda = [folder / f"{stem}{ending}" for stem in _CONDA_FILES for ending in _YAML if (folder / f"{stem}{ending}").is_file()]
    python = None
    for path in conda:
        python = read_environment(path, reader) or python
    requirements = folder / _REQUIREMENTS
    if requirements.is_file() and requirements.resolve() not in reader.files:
        reader.read_file(requirements)
    elif not conda:
        names = ", ".join(f"{stem}.yml" for stem in _CONDA_FILES)
        raise BadInput(f"{folder}: has neither a conda file ({names}) nor a {_REQUIREMENTS}")
    return python


def _read_conda(document: yaml.Node | None, path: Path, reader: RequirementsReader) -> str | None:
    dependencies = find_value(document, "dependencies")
    if not isinstance(dependencies, yaml.SequenceNode):
        raise BadInput(f"{path}: has no list of dependencies, so it is no conda environment")
    reader.files.add(path.resolve())
    python, others, found = None, 0, False
    for entry in list_entries(dependencies):
        package, lines = find_text(entry), find_value(entry, "pip")
        if package is not None:
            match = _PYTHON.match(package)
            python = match[1] if match else python
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
        reader.notes.append(f"{path}: {others} conda packages are ignored: they come from a conda channel, not from an index")
    return python


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

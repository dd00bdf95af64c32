"""conda's ``environment.yml``, of which the pip section is ours, and the folders that Azure ML keeps environments in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wheelgate.core.errors import BadInput
from wheelgate.mirror.requirements import Reader, read_text

_PYTHON = re.compile(r"python\s*=+\s*(3\.\d{1,2})", re.ASCII)
_CONDA_FILES = ("environment", "conda", "conda_dependencies", "conda_env", "conda_env_v_1_0")
_YAML = (".yml", ".yaml")
_REQUIREMENTS = "requirements.txt"


def read_environment(path: Path, reader: Reader) -> str | None:
    """Give the pip section of a conda file to ``reader``; the Python that the file asks for.

    Raises:
        BadInput: it is no such file, or has nothing for pip.
    """
    document = _yaml(path)
    if isinstance(document, Mapping) and ("conda_file" in document or "image" in document):
        return _azure_ml_environment(document, path, reader)
    return _conda(document, path, reader)


def read_folder(folder: Path, reader: Reader) -> str | None:
    """Give what an Azure ML environment's folder asks of pip to ``reader``; the Python it asks for.

    Raises:
        BadInput: nothing of the kind is in it.
    """
    conda = [folder / f"{stem}{ending}" for stem in _CONDA_FILES for ending in _YAML if (folder / f"{stem}{ending}").is_file()]
    python = None
    for path in conda:
        python = read_environment(path, reader) or python
    requirements = folder / _REQUIREMENTS
    if requirements.is_file() and not any(line.where.startswith(f"{requirements} ") for line in reader.lines):
        reader.file(requirements)
    elif not conda:
        names = ", ".join(f"{stem}.yml" for stem in _CONDA_FILES)
        raise BadInput(f"{folder}: has neither a conda file ({names}) nor a {_REQUIREMENTS}")
    return python


def _azure_ml_environment(document: Mapping[str, Any], path: Path, reader: Reader) -> str | None:
    """An ``az ml environment create`` YAML: it names a conda file, or holds one."""
    conda = document.get("conda_file")
    if isinstance(conda, str):
        if any(line.where.startswith(f"{path.parent / conda}:") for line in reader.lines):
            return None
        return _conda(_yaml(path.parent / conda), path.parent / conda, reader)
    if isinstance(conda, Mapping):
        return _conda(conda, path, reader)
    raise BadInput(f"{path}: names no conda_file: the packages are in its image, and nothing is left to mirror")


def _conda(document: Any, path: Path, reader: Reader) -> str | None:
    dependencies = document.get("dependencies") if isinstance(document, Mapping) else None
    if not isinstance(dependencies, list):
        raise BadInput(f"{path}: has no list of dependencies, so it is no conda environment")
    python, others, found = None, 0, False
    for entry in dependencies:
        if isinstance(entry, str):
            match = _PYTHON.match(entry)
            python = match[1] if match else python
            others += 1
        elif isinstance(entry, Mapping) and isinstance(lines := entry.get("pip"), list):
            found = True
            for number, line in enumerate(lines, start=1):
                if not isinstance(line, str):
                    raise BadInput(f"{path}: pip entry {number} is not a text")
                # Each entry is a line of a requirements file: conda writes one, and runs pip on it.
                reader.text(line, f"{path}: pip entry {number}", path.parent)
        else:
            raise BadInput(f"{path}: one of its dependencies is neither a conda package nor a list for pip")
    if not found:
        raise BadInput(f"{path}: has no pip section; conda's own packages come from a conda channel, not from an index")
    if others:
        reader.notes.append(f"{path}: {others} conda packages are passed over: they come from a conda channel, not from an index")
    return python


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise BadInput(f"{path}: is not valid YAML{line}") from None

"""Inputs of `mirror`, read by what they are: requirements, a lock, a conda or Azure ML environment, a project, specifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wheelgate.core.errors import BadInput
from wheelgate.mirror.conda import read_environment
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.pdm_lock import read_pdm_lock
from wheelgate.mirror.pipfile_lock import read_pipfile_lock
from wheelgate.mirror.poetry_lock import read_poetry_lock
from wheelgate.mirror.pylock import read_pylock
from wheelgate.mirror.pyproject import read_pyproject
from wheelgate.mirror.requirements import RequirementsReader
from wheelgate.mirror.uv_lock import read_uv_lock

PROJECTS = "the projects named"
_CONDA_FILES = ("environment", "conda", "conda_dependencies", "conda_env", "conda_env_v_1_0")
_YAML = (".yml", ".yaml")
_REQUIREMENTS = "requirements.txt"
_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,100}(?:==[\w.+!]{1,60})?")
"""Words that are more often meant as a project than as a file."""
_READERS: tuple[tuple[re.Pattern[str], Callable[[Path, str], MirrorInput]], ...] = (
    (re.compile(r"pylock(?:\.[^.]+)?\.toml"), read_pylock),
    (re.compile(r"uv\.lock|.+\.py\.lock"), read_uv_lock),
    (re.compile(r"poetry\.lock"), read_poetry_lock),
    (re.compile(r"pdm\.lock"), read_pdm_lock),
    (re.compile(r"Pipfile\.lock"), read_pipfile_lock),
    (re.compile(r"pyproject\.toml"), read_pyproject),
)
"""The locks, and the file of a project, by their names, with their readers."""
_REFUSED = (
    (
        r"setup\.(?:py|cfg)",
        "says what a project needs only when it is built: lock it, with `uv lock` for example, and give the lock",
    ),
    (r"Pipfile", "is what pipenv makes its lock from: give the Pipfile.lock, which `pipenv lock` writes"),
    (r"pixi\.(?:toml|lock)", "is pixi's, whose packages come from a conda channel: give those of PyPI as a requirements.txt"),
    (r"(?:uv|pdm|poetry|pip)\.(?:toml|conf|ini)", "is the settings of a tool, and asks for no package"),
    (
        r".*\.(?:toml|lock)",
        "is none of the locks that are known by their names: pylock.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock",
    ),
    (
        r"(?:.*[._-])?(?:docker|container)file(?:[._-].*)?",
        "is run, not read: give the requirements or conda file that it installs",
    ),
    (r"wheelgate-mirror\.json", "is the manifest of a mirror: copy that mirror with --from"),
    (r".*\.json", "is JSON: save the conda file that it holds, or the list for pip in it, and give that"),
    (r".*\.(?:whl|tar\.gz|tgz|zip)", "is a file to be installed: name its project and version with --project"),
    (r".*\.(?:py|ipynb)", "is a program: lock what it needs, with `uv lock --script` for example, and give the lock"),
    (r".*\.(?:cfg|conf|ini)", "is the settings of a tool, and asks for no package"),
)
"""Names of files that people have and that say nothing here, and the sentences about them."""


def read_input(path: Path, environment: Mapping[str, str]) -> MirrorInput:
    """Read a file or folder by its name; variables in requirements files have their values in ``environment``.

    Raises:
        BadInput: it is missing, broken, empty, or no input.
    """
    # It stands in the manifest, which travels: of this machine's folders no more than was said.
    label = path.name if path.is_absolute() else path.as_posix()
    if path.is_dir():
        reader = RequirementsReader(MirrorInput(label=label), environment)
        _read_folder(path, reader)
        return _require_some(reader.input)
    for pattern, read in _READERS:
        if pattern.fullmatch(path.name):
            asked = read(path, label)
            return asked if asked.lock is not None else _require_some(asked)
    for name, sentence in _REFUSED:
        if re.fullmatch(name, path.name, re.IGNORECASE):
            raise BadInput(f"{path}: {sentence}")
    if not path.exists() and _PROJECT.fullmatch(str(path)):
        raise BadInput(f"{path}: there is no such file; a project is named by --project {path}")
    reader = RequirementsReader(MirrorInput(label=label), environment)
    if path.suffix in _YAML:
        read_environment(path, reader)
    else:
        reader.read_file(path)
    return _require_some(reader.input)


def _require_some(asked: MirrorInput) -> MirrorInput:
    if not asked.requirements:
        raise BadInput(f"{asked.label}: asks for nothing")
    return asked


def read_projects(specifiers: Sequence[str], environment: Mapping[str, str]) -> MirrorInput:
    """Read specifiers from the command line; :class:`BadInput` if one of them is none."""
    reader = RequirementsReader(MirrorInput(label=PROJECTS), environment)
    for specifier in specifiers:
        shown = "a URL" if "@" in specifier or "://" in specifier else repr(specifier)[:200]  # there may be a credential in it
        reader.read_line(specifier, f"--project {shown}", Path())
    return _require_some(reader.input)


def _read_folder(folder: Path, reader: RequirementsReader) -> None:
    """Read what an Azure ML environment's folder asks of pip."""
    conda = [folder / f"{stem}{ending}" for stem in _CONDA_FILES for ending in _YAML if (folder / f"{stem}{ending}").is_file()]
    for path in conda:
        read_environment(path, reader)
    requirements = folder / _REQUIREMENTS
    if requirements.is_file() and requirements.resolve() not in reader.files:
        reader.read_file(requirements)
    elif not conda:
        names = ", ".join(f"{stem}.yml" for stem in _CONDA_FILES)
        raise BadInput(f"{folder}: has neither a conda file ({names}) nor a {_REQUIREMENTS}")

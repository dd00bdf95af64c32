"""Projects of people's own that a lock installs from their folders: no index has them, and building them takes what one has."""

from __future__ import annotations

from pathlib import Path

from wheelgate.core.errors import BadInput
from wheelgate.distfiles.build_requirements import LEGACY
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.locked_files import read_toml
from wheelgate.mirror.requirements import parse_requirement

_FOR_EDITABLE = {"hatchling": ("editables~=0.3",)}
"""Requirements that a build backend asks for only when it is run for an editable project."""


def add_own_project(asked: MirrorInput, name: str, folder: Path, *, is_editable: bool) -> None:
    """Add what builds a project to an input; where its folder does not say that, a note.

    Raises:
        BadInput: it has a ``pyproject.toml`` that cannot be read.
    """
    pyproject = folder / "pyproject.toml"
    if not _is_file(pyproject) and not _is_file(folder / "setup.py"):
        asked.notes.append(
            f"{asked.label}: {name} is built where it is installed, and its folder is not here: add what builds it by --project"
        )
        return
    where = f"what builds {name}"
    requirements = [parse_requirement(text, where) for text in _read_requirements(pyproject, is_editable=is_editable)]
    if requirements:
        asked.builds.append(MirrorInput(label=where, requirements=requirements))


def add_distribution(asked: MirrorInput, folder: Path) -> None:
    """Add what builds the project that a lock of PDM stands beside: PDM installs it too, unless its settings say otherwise."""
    pyproject = folder / "pyproject.toml"
    document = read_toml(pyproject) if pyproject.is_file() else {}
    tool, project = document.get("tool"), document.get("project")
    settings = tool.get("pdm") if isinstance(tool, dict) else None
    is_off = isinstance(settings, dict) and settings.get("distribution") is False
    if "build-system" in document and isinstance(project, dict) and not is_off:
        add_own_project(asked, str(project.get("name", "")), folder, is_editable=True)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _read_requirements(pyproject: Path, *, is_editable: bool) -> tuple[str, ...]:
    table = read_toml(pyproject).get("build-system") if _is_file(pyproject) else None
    if table is None:
        return LEGACY
    requires = table.get("requires") if isinstance(table, dict) else None
    if not isinstance(requires, list) or not all(isinstance(text, str) for text in requires):
        raise BadInput(f"{pyproject}: has a build-system without a list named requires (PEP 518)")
    backend = str(table.get("build-backend", "")).partition(".")[0]
    return (*requires, *(_FOR_EDITABLE.get(backend, ()) if is_editable else ()))

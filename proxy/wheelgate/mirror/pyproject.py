"""The reader of ``pyproject.toml``: a project's dependencies with its extras (PEP 621) and dependency groups (PEP 735)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from packaging.utils import canonicalize_name

from wheelgate.core.errors import BadInput
from wheelgate.core.names import normalise_name
from wheelgate.mirror.allowed_pythons import allow_pythons
from wheelgate.mirror.inputs_model import InputRequirement, MirrorInput
from wheelgate.mirror.locked_files import read_toml
from wheelgate.mirror.own_projects import add_own_project
from wheelgate.mirror.requirements import parse_requirement

_LOCKS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock")
_ELSEWHERE = ("workspace", "path", "git", "url")


def read_pyproject(path: Path, label: str) -> MirrorInput:
    """Read a ``pyproject.toml``, with every extra and group; :class:`BadInput` if it does not say what it depends on."""
    document = read_toml(path)
    try:
        content = msgspec.convert(document, _PyprojectContent)
    except msgspec.ValidationError as error:
        raise BadInput(f"{path}: is not a valid pyproject.toml: {error}") from None
    _require_static(path, content, document)
    reading = _PyprojectReading(path, content)
    asked = MirrorInput(label=label)
    base = reading.read_extra("")
    choices = [base, *([*base, *reading.read_extra(extra)] for extra in content.project.optional_dependencies)]
    choices += [reading.read_group(group) for group in reading.groups]
    asked.choices = [choice for choice in choices if choice]
    asked.requirements = [line for choice in asked.choices for line in choice]
    asked.constraints = [parse_requirement(text, f"{path}: constraint") for text in content.tool.uv.constraint_dependencies]
    if said := content.project.requires_python:
        asked.python = allow_pythons(said, [said], str(path))
    if "build-system" in document and content.project.name:
        add_own_project(asked, content.project.name, path.parent, is_editable=True)
    for lock in _LOCKS:
        if (path.parent / lock).is_file():
            asked.notes.append(
                f"{label}: is resolved anew; give {lock}, which lies beside it, for the versions that this one pins"
            )
    return asked


class _ProjectTable(msgspec.Struct, rename="kebab"):
    name: str = ""
    requires_python: str = ""
    dependencies: list[str] = []
    optional_dependencies: dict[str, list[str]] = {}
    dynamic: list[str] = []


class _UvSettings(msgspec.Struct, rename="kebab"):
    sources: dict[str, Any] = {}
    dev_dependencies: list[str] = []
    constraint_dependencies: list[str] = []
    override_dependencies: list[Any] = []


class _PdmSettings(msgspec.Struct, rename="kebab"):
    dev_dependencies: dict[str, list[str]] = {}


class _PyprojectTools(msgspec.Struct):
    uv: _UvSettings = msgspec.field(default_factory=_UvSettings)
    pdm: _PdmSettings = msgspec.field(default_factory=_PdmSettings)
    poetry: dict[str, Any] = {}


class _PyprojectContent(msgspec.Struct, rename="kebab"):
    project: _ProjectTable = msgspec.field(default_factory=_ProjectTable)
    dependency_groups: dict[str, list[str | dict[str, str]]] = {}
    tool: _PyprojectTools = msgspec.field(default_factory=_PyprojectTools)


def _require_static(path: Path, content: _PyprojectContent, document: Mapping[str, Any]) -> None:
    """Require a file that says what it depends on in the standard's own tables; :class:`BadInput` if others would say it."""
    if "dependencies" in content.project.dynamic or "optional-dependencies" in content.project.dynamic:
        raise BadInput(f"{path}: its dependencies are dynamic, known only when it is built: lock it, and give the lock")
    if content.tool.poetry.keys() & {"dependencies", "group", "dev-dependencies"}:
        raise BadInput(f"{path}: has constraints of poetry's own: lock it with `poetry lock`, and give the poetry.lock")
    if content.tool.uv.override_dependencies:
        raise BadInput(f"{path}: overrides what packages say (tool.uv.override-dependencies): `uv lock` it, and give the uv.lock")
    if "project" not in document and not content.dependency_groups:
        raise BadInput(f"{path}: has neither a project nor dependency-groups: it is the settings of tools")


class _PyprojectReading(msgspec.Struct):
    path: Path
    content: _PyprojectContent

    @property
    def groups(self) -> dict[str, list[str | dict[str, str]]]:
        """The dependency groups by normalised name, those that uv and PDM had before the standard too."""
        tool = self.content.tool
        old: dict[str, list[str | dict[str, str]]] = {name: [*lines] for name, lines in tool.pdm.dev_dependencies.items()}
        if tool.uv.dev_dependencies:
            old["dev"] = [*tool.uv.dev_dependencies]
        return {canonicalize_name(name): lines for name, lines in {**old, **self.content.dependency_groups}.items()}

    def read_extra(self, extra: str, above: tuple[str, ...] = ()) -> list[InputRequirement]:
        """Read what an extra adds; the empty one: what the project needs in any case."""
        if extra in above:
            return []
        project = self.content.project
        lines = project.optional_dependencies.get(extra, []) if extra else project.dependencies
        where = f"{self.path}: the extra {extra}" if extra else f"{self.path}: dependencies"
        return list(self._read(lines, where, (*above, extra)))

    def read_group(self, name: str, above: tuple[str, ...] = ()) -> list[InputRequirement]:
        """Read a dependency group, with those that it includes."""
        where = f"{self.path}: the dependency group {name}"
        if name in above:
            raise BadInput(f"{where}: includes itself")
        if name not in self.groups:
            raise BadInput(f"{where}: is included, and there is none of that name")
        found: list[InputRequirement] = []
        for entry in self.groups[name]:
            if isinstance(entry, str):
                found += self._read([entry], where, ())
            elif entry.keys() == {"include-group"}:
                found += self.read_group(canonicalize_name(entry["include-group"]), (*above, name))
            else:
                raise BadInput(f"{where}: has an entry that is neither a requirement nor an include-group")
        return found

    def _read(self, lines: list[str], where: str, above: tuple[str, ...]) -> Iterator[InputRequirement]:
        own = normalise_name(self.content.project.name)
        known = {canonicalize_name(name): name for name in self.content.project.optional_dependencies}
        for text in lines:
            line = parse_requirement(text, where)
            if line.project != own:
                self._require_from_an_index(line)
                yield line
                continue
            for extra in sorted(line.requirement.extras):  # one's own extras, as in `all = ["app[gpu,dev]"]`
                yield from self.read_extra(known.get(canonicalize_name(extra), extra), above)

    def _require_from_an_index(self, line: InputRequirement) -> None:
        for name, said in self.content.tool.uv.sources.items():
            entries = said if isinstance(said, list) else [said]
            if normalise_name(name) == line.project and any(key in entry for entry in entries for key in _ELSEWHERE):
                raise BadInput(
                    f"{line.where}: {line.project} comes from a folder, a repository or a URL (tool.uv.sources): "
                    "`uv lock` the project, and give the uv.lock"
                )

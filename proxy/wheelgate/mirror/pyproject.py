"""The reader of ``pyproject.toml``: a project's dependencies with its extras (PEP 621) and dependency groups (PEP 735)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
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
    asked.requirements = list(dict.fromkeys(line for choice in asked.choices for line in choice))
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
    sources: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}
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


class _PyprojectPart(msgspec.Struct, frozen=True):
    """An extra, or a dependency group."""

    name: str
    is_group: bool


class _PyprojectReading(msgspec.Struct, dict=True):
    """A reading of one file. What an extra or a group includes is read once, in however many ways it is included."""

    path: Path
    content: _PyprojectContent

    @cached_property
    def groups(self) -> dict[str, list[str | dict[str, str]]]:
        """The dependency groups by normalised name, those that uv and PDM had before the standard too."""
        tool = self.content.tool
        old: dict[str, list[str | dict[str, str]]] = {name: [*lines] for name, lines in tool.pdm.dev_dependencies.items()}
        if tool.uv.dev_dependencies:
            old["dev"] = [*tool.uv.dev_dependencies]
        return {canonicalize_name(name): lines for name, lines in {**old, **self.content.dependency_groups}.items()}

    @cached_property
    def _extras(self) -> dict[str, str]:
        return {canonicalize_name(name): name for name in self.content.project.optional_dependencies}

    def read_extra(self, extra: str) -> list[InputRequirement]:
        """Read what an extra adds; the empty one: what the project needs in any case."""
        return self._read(_PyprojectPart(extra, is_group=False))

    def read_group(self, name: str) -> list[InputRequirement]:
        """Read a dependency group, with those that it includes."""
        return self._read(_PyprojectPart(name, is_group=True))

    def _read(self, first: _PyprojectPart) -> list[InputRequirement]:
        found, seen = list[InputRequirement](), {first}
        opened = {first: self._list_entries(first)}
        while opened:
            part = next(reversed(opened))
            entry = next(opened[part], None)
            if entry is None:
                del opened[part]
            elif isinstance(entry, InputRequirement):
                found.append(entry)
            elif entry.is_group and entry in opened:
                raise BadInput(f"{self.path}: the dependency group {entry.name}: includes itself")
            elif entry not in seen:
                seen.add(entry)
                opened[entry] = self._list_entries(entry)
        return found

    def _list_entries(self, part: _PyprojectPart) -> Iterator[InputRequirement | _PyprojectPart]:
        """List the requirements of an extra or group, and the parts that it includes."""
        if not part.is_group:
            project = self.content.project
            lines = project.optional_dependencies.get(part.name, []) if part.name else project.dependencies
            where = f"{self.path}: the extra {part.name}" if part.name else f"{self.path}: dependencies"
            for text in lines:
                yield from self._read_line(text, where)
            return
        where = f"{self.path}: the dependency group {part.name}"
        if part.name not in self.groups:
            raise BadInput(f"{where}: is included, and there is none of that name")
        for entry in self.groups[part.name]:
            if isinstance(entry, str):
                yield from self._read_line(entry, where)
            elif entry.keys() == {"include-group"}:
                yield _PyprojectPart(canonicalize_name(entry["include-group"]), is_group=True)
            else:
                raise BadInput(f"{where}: has an entry that is neither a requirement nor an include-group")

    def _read_line(self, text: str, where: str) -> Iterator[InputRequirement | _PyprojectPart]:
        line = parse_requirement(text, where)
        if line.project != normalise_name(self.content.project.name):
            self._require_from_an_index(line)
            yield line
            return
        for extra in sorted(line.requirement.extras):  # one's own extras, as in `all = ["app[gpu,dev]"]`
            yield _PyprojectPart(self._extras.get(canonicalize_name(extra), extra), is_group=False)

    def _require_from_an_index(self, line: InputRequirement) -> None:
        for name, said in self.content.tool.uv.sources.items():
            entries = said if isinstance(said, list) else [said]
            if normalise_name(name) == line.project and any(key in entry for entry in entries for key in _ELSEWHERE):
                raise BadInput(
                    f"{line.where}: {line.project} comes from a folder, a repository or a URL (tool.uv.sources): "
                    "`uv lock` the project, and give the uv.lock"
                )

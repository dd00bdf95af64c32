"""Environments of conda, of Azure ML, which has conda's within, and of MLflow: their lists for pip, and the Python they name."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from wheelgate.config.plain_yaml import NotPlainYaml, compose_yaml, find_text, find_value, list_entries
from wheelgate.core.errors import BadInput
from wheelgate.distfiles.requirements_file import read_text, split_lines
from wheelgate.mirror.allowed_pythons import AllowedPythons, allow_pythons
from wheelgate.mirror.requirements import RequirementsReader

_MLFLOW_FILES = ("python_env.yaml", "python_env.yml")
_PYTHON = re.compile(r"(?:[^\s\[\]]*::?)?python(?![\w.-])\s*(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_IN_BRACKETS = re.compile(r"""\bversion\s*=\s*(?:'(?P<one>[^']*)'|"(?P<two>[^"]*)"|(?P<bare>[^\s,\]]+))""")
_WITH_BUILD = re.compile(r"=?(?P<version>\d[\w.]*)=[^=]\S*")


def read_environment(path: Path, reader: RequirementsReader) -> None:
    """Read the pip sections of a conda file, or of the one that an Azure ML environment names or holds.

    Raises:
        BadInput: it is none of these, or broken.
    """
    document = _read_yaml(path)
    if path.name in _MLFLOW_FILES:
        _read_mlflow(document, path, reader)
        return
    conda = find_value(document, "conda_file")
    if (name := find_text(conda)) is not None:
        path = path.parent / name
        document = _read_yaml(path)
    elif isinstance(conda, yaml.MappingNode):
        document = conda
    elif conda is not None or find_value(document, "dependencies") is None:
        raise BadInput(f"{path}: {_describe(document)}")
    if path.resolve() not in reader.files:
        reader.files.add(path.resolve())
        _read_conda(document, path, reader)


def _describe(document: yaml.Node | None) -> str:
    """Describe a document that lists no packages: what it is, and what to give instead."""
    if find_value(document, "build") is not None:
        return "is built from a Dockerfile: give the requirements or conda file that this one installs"
    if find_value(document, "image") is not None and find_value(document, "services") is None:
        return "names no conda_file: the packages are in its image, and nothing is left to mirror"
    if any(
        find_value(document, key) is not None for key in ("command", "jobs", "component", "environment", "code_configuration")
    ):
        return "is a job, a component or a deployment, which has its packages from an environment: give that one's file"
    if find_value(document, "package") is not None and find_value(document, "metadata") is not None:
        return "is a lock of conda, whose packages come from a conda channel: give the environment.yml that it was made from"
    return "has no list of dependencies, so it is no conda environment"


def _read_mlflow(document: yaml.Node | None, path: Path, reader: RequirementsReader) -> None:
    """Read the ``python_env.yaml`` of a model of MLflow: two lists for pip, and a Python."""
    found = False
    for key in ("build_dependencies", "dependencies"):
        lines = find_value(document, key)
        if isinstance(lines, yaml.SequenceNode):
            found = True
            for item in list_entries(lines):
                _read_item(item, path, reader)
    if not found:
        raise BadInput(f"{path}: has no list of dependencies, so it is no environment of MLflow")
    if (version := find_text(find_value(document, "python"))) is not None:
        text = f"=={version}" if version.count(".") > 1 else f"=={version}.*"
        reader.input.python = allow_pythons(version, [text], str(path))


def _read_conda(document: yaml.Node | None, path: Path, reader: RequirementsReader) -> None:
    dependencies = find_value(document, "dependencies")
    if not isinstance(dependencies, yaml.SequenceNode):
        raise BadInput(f"{path}: has no list of dependencies, so it is no conda environment")
    others, found = 0, False
    for entry in list_entries(dependencies):
        package, lines = find_text(entry), find_value(entry, "pip")
        if package is not None:
            where = f"{path} line {entry.start_mark.line + 1}"
            reader.input.python = read_python_spec(package, where) or reader.input.python
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


def read_python_spec(text: str, where: str) -> AllowedPythons | None:
    """Read conda's specification of a package as the Pythons it allows; ``None``: it is another package, or any Python will do.

    Raises:
        BadInput: its version is none that conda reads.
    """
    match = _PYTHON.fullmatch(text.split("#", maxsplit=1)[0].strip())
    if match is None:
        return None
    rest, bracket, inside = match["rest"].partition("[")
    if bracket and (version := _IN_BRACKETS.search(inside)):
        rest = version["one"] or version["two"] or version["bare"] or ""
    rest = re.sub(r"([=<>!~,|])\s+", r"\1", re.sub(r"\s+([,|])", r"\1", rest.strip()))
    version_text = rest.split(maxsplit=1)[0] if rest else ""
    if with_build := _WITH_BUILD.fullmatch(version_text):
        version_text = with_build["version"]
    if version_text in ("", "*"):
        return None
    return allow_pythons(version_text, map(_convert_alternative, version_text.split("|")), where)


def _convert_alternative(text: str) -> str:
    return ",".join(filter(None, map(_convert_constraint, text.split(","))))


def _convert_constraint(text: str) -> str:
    """Convert one constraint of conda's to a specifier: ``=3.10`` is any 3.10, and ``3.10`` alone is 3.10.0."""
    operator = re.match(r"[=<>!~]*", text)[0]  # type: ignore[index]  # it matches the empty text
    version = text.removeprefix(operator)
    base = re.sub(r"\.?\*$", "", version)
    if base == "":
        return ""
    if operator in ("", "=", "=="):
        return f"=={base}.*" if operator == "=" or base != version else f"=={version}"
    return f"!={base}.*" if operator == "!=" and base != version else f"{operator}{base}"


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

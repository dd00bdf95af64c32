"""The table of formats: how a file is known, what reads it, and what its readers find."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath

import msgspec

from wheelgate.config.plain_yaml import NotPlainYaml
from wheelgate.core.errors import BadInput
from wheelgate.rewrite.canonical_addresses import KEPT_IN_JSON
from wheelgate.rewrite.ini_places import find_ini_places, find_misplaced_comments
from wheelgate.rewrite.json_values import find_json_values
from wheelgate.rewrite.locks import find_lock_places
from wheelgate.rewrite.pip_lists import ListItem, ListItems, RequirementLines
from wheelgate.rewrite.places import Place, PlaceKind, Value
from wheelgate.rewrite.shell_places import VARIABLES, find_shell_places, find_variable_places
from wheelgate.rewrite.toml_places import find_toml_places
from wheelgate.rewrite.toml_values import NotReadable, find_toml_values
from wheelgate.rewrite.yaml_places import YamlReading

_MISPLACED = "what looks like a comment behind the address is a part of it to pip: give it a line of its own"


class Reading(msgspec.Struct):
    """A text, read: its lists of pip lines, its places and its values."""

    format: str
    """With its article: "a requirements file"."""
    lists: list[RequirementLines | ListItems] = msgspec.field(default_factory=list)
    places: list[Place] = msgspec.field(default_factory=list)
    values: list[Value] = msgspec.field(default_factory=list)
    lock: str = ""
    """The kind of lock; empty: it is none."""
    has_comments: bool = True
    """A hash sign begins a comment."""
    problems: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """The things that its tool reads otherwise than they look, by their places."""
    kept: list[tuple[int, int]] = msgspec.field(default_factory=list)
    """The pieces of a lock that keep canonical addresses outside of comments."""

    @property
    def has_packages(self) -> bool:
        return bool(self.lists or self.places)


class Format(msgspec.Struct, frozen=True):
    """A format: how its files are named, and its reader."""

    names: str
    """A pattern for the whole name, in lower case."""
    shown: str
    """Its files, for the sentence that lists what can be rewritten."""
    read: Callable[[str, str, str], Reading]
    """Takes the path for sentences, the name in lower case, and the text."""


def _read_requirements(path: str, name: str, text: str) -> Reading:  # noqa: ARG001
    return Reading("a requirements file", lists=[RequirementLines(text)])


def _read_yaml(path: str, name: str, text: str) -> Reading:
    try:
        read = YamlReading(text, is_python_env=name in ("python_env.yaml", "python_env.yml"))
    except NotPlainYaml as error:
        line = "" if error.line is None else f" line {error.line}"
        raise BadInput(f"{path}{line}: {error.problem}") from None
    lists: list[RequirementLines | ListItems] = [ListItems(path, text, items) for items in read.lists]
    return Reading(read.describe(), lists=lists, places=read.places, values=read.values)


def _read_commands(path: str, name: str, text: str) -> Reading:  # noqa: ARG001
    is_dockerfile = "docker" in name or "container" in name
    shown = "a Dockerfile" if is_dockerfile else "an environment file" if ".env" in name else "a script"
    return Reading(shown, places=find_shell_places(text))


def _read_ini(path: str, name: str, text: str) -> Reading:  # noqa: ARG001
    found = find_ini_places(text)
    explained = [(place.start, place.end) for place in found]
    commands = [place for place in find_shell_places(text) if not any(a < place.end and place.start < b for a, b in explained)]
    misplaced = [(at, _MISPLACED) for at in find_misplaced_comments(text)]
    return Reading("a configuration file", places=found + commands, problems=misplaced)


def _read_toml(path: str, name: str, text: str) -> Reading:
    values = _or_refuse(path, find_toml_values, text)
    if name.endswith(".lock") or name.startswith("pylock."):
        lock = "pylock.toml" if name.startswith("pylock.") else name
        return Reading(f"a lock ({lock})", places=find_lock_places(text, values), values=values, lock=lock)
    kind = "Pipfile" if name == "pipfile" else name
    return Reading(f"a {kind}", places=find_toml_places(text, values, kind), values=values)


def _read_json(path: str, name: str, text: str) -> Reading:
    values = _or_refuse(path, find_json_values, text)
    if name == "pipfile.lock":
        places = find_lock_places(text, values)
        kept = [(value.start, value.end) for value in values if value.path[:2] == KEPT_IN_JSON]
        return Reading("a lock (Pipfile.lock)", places=places, values=values, lock="Pipfile.lock", has_comments=False, kept=kept)
    lists: dict[tuple[str | int, ...], list[ListItem]] = {}
    found: list[Place] = []
    for value in values:
        *above, key, number = ("", "", *value.path)
        if key == "pip" and isinstance(number, int) and "dependencies" in above:
            lists.setdefault(value.path[:-1], []).append(ListItem(value.text, value.start - 1, value.end + 1))
        elif value.key in VARIABLES and value.text == text[value.start : value.end]:
            span = (value.key_start, value.key_end)
            found += find_variable_places(value.text, value.start, value.key, span, scope=value.path[:-1])
        else:
            found += find_shell_places(text, value.start, value.end, scope=value.path)
    items: list[RequirementLines | ListItems] = [ListItems(path, text, entries, is_json=True) for entries in lists.values()]
    return Reading("a JSON document", lists=items, places=found, values=values, has_comments=False)


def _or_refuse(path: str, find: Callable[[str], list[Value]], text: str) -> list[Value]:
    try:
        return find(text)
    except NotReadable as error:
        raise BadInput(f"{path}: {error}") from None


FORMATS = (
    Format(r".*\.(?:txt|in)", "requirements files (.txt, .in)", _read_requirements),
    Format(
        r".*\.(?:ya?ml|runconfig)", "conda environments, Azure ML documents and pipelines (.yml, .yaml, .runconfig)", _read_yaml
    ),
    Format(r"(?:.*[._-])?(?:dockerfile|containerfile)(?:[._-].*)?", "Dockerfiles", _read_commands),
    Format(r"(?:.*\.)?env|\.env(?:[._-].*)?|.*\.(?:sh|bash|ps1|cmd|bat)|\.envrc", ".env files and scripts", _read_commands),
    Format(r"\.?pip\.(?:conf|ini)|tox\.ini|setup\.cfg", "pip.conf, pip.ini, tox.ini, setup.cfg", _read_ini),
    Format(
        r"pyproject\.toml|uv\.toml|pixi\.toml|hatch\.toml|pdm\.toml|poetry\.toml|pipfile",
        "pyproject.toml, uv.toml, Pipfile",
        _read_toml,
    ),
    Format(
        r"(?:uv|poetry|pdm)\.lock|.+\.py\.lock|pylock(?:\.[^.]+)?\.toml",
        "uv.lock, pylock.toml, poetry.lock, pdm.lock",
        _read_toml,
    ),
    Format(r"pipfile\.lock|.*\.json", "Pipfile.lock and Azure ML's JSON", _read_json),
)
"""All formats, the first that knows a name reads its files."""

_CONTENTS = (
    (re.compile(r"\ufeff?\s*\{"), "x.json"),
    (re.compile(r"(?:\s*#[^\n]*\n|\s*\n|ARG[^\n]*\n)*FROM\s+\S", re.IGNORECASE), "dockerfile"),
    (re.compile(r"#!.*\b(?:ba|z|da)?sh\b"), "x.sh"),
    (re.compile(r"(?:\s*[#;][^\n]*\n|\s*\n)*\[(?:global|install)\]"), "pip.conf"),
)
"""The contents that say what a file of any other name is, each with a name of its format."""


def is_known_name(name: str) -> bool:
    """Say whether files of this name are read when a folder is given."""
    lower = name.lower()
    return not lower.endswith(".json") or "environment" in lower or lower == "pipfile.lock" if _find_format(lower) else False


def read_document(path: str, text: str) -> Reading:
    """Read a file by its name, else by its content.

    Raises:
        BadInput: it is of no format that is known, or cannot be read in one way.
    """
    name = PurePath(path).name.lower()
    found = _find_format(name)
    if found is None:
        name = next((known for content, known in _CONTENTS if content.match(text)), name)
        found = _find_format(name)
    if found is None:
        raise BadInput(f"{path}: is of no kind that can be rewritten, which are {'; '.join(known.shown for known in FORMATS)}")
    return found.read(path, name, text)


def _find_format(name: str) -> Format | None:
    return next((known for known in FORMATS if re.fullmatch(known.names, name)), None)


def explain_spans(reading: Reading) -> list[tuple[int, int]]:
    """The pieces of a text that its format explains: whoever looks for leftovers has to look for credentials alone there."""
    spans = reading.kept + [
        (place.start, place.end) for place in reading.places if place.kind not in (PlaceKind.FILE, PlaceKind.UPLOAD)
    ]
    for pip_list in reading.lists:
        spans += pip_list.spans
    return spans

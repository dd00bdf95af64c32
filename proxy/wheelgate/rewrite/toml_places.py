"""Places in the TOML files of uv, poetry, PDM, Hatch, pipenv and pixi, and in the requirements that TOML files list."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wheelgate.core.names import is_distribution
from wheelgate.rewrite.places import Edit, Place, PlaceKind, Value
from wheelgate.rewrite.shell_places import VARIABLES, find_shell_places, find_variable_places, list_urls

_PLAIN_TABLES = {
    "index-url": PlaceKind.INDEX,
    "extra-index-url.*": PlaceKind.EXTRA,
    "extra-index-urls.*": PlaceKind.EXTRA,
    "find-links.*": PlaceKind.LINKS,
    "publish-url": PlaceKind.UPLOAD,
    "index.*.publish-url": PlaceKind.UPLOAD,
}
_ROOTS = {
    "pyproject.toml": ("tool.uv.", "tool.uv.pip.", "tool.pixi.pypi-options."),
    "uv.toml": ("", "pip."),
    "pixi.toml": ("pypi-options.",),
}
"""The tables that pip's own words stand in, by the kind of file."""
_NAMED_TABLES = {
    "pyproject.toml": {
        "tool.uv.index.*.url": "uv",
        "tool.poetry.source.*.url": "poetry",
        "tool.pdm.source.*.url": "pdm",
        "tool.hatch.publish.index.repos.*.url": "upload",
    },
    "uv.toml": {"index.*.url": "uv"},
    "Pipfile": {"source.*.url": "pipenv"},
    "hatch.toml": {"publish.index.repos.*.url": "upload"},
}
"""The lists of indexes by name, and whose meaning their entries have."""
_REQUIREMENT = re.compile(
    r"(?P<name>[^@\s]+[ \t]*@[ \t]*)?(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s;]+)(?:[ \t]*;.*|[ \t]+;.*)?"
)


def find_toml_places(text: str, values: Sequence[Value], kind_of_file: str) -> list[Place]:
    """Find the places of a TOML document whose strings are given, by the tables that this kind of file has."""
    document = tomllib.loads(text.removeprefix("\ufeff"))
    by_path = {value.path: value for value in values}
    plain = {f"{root}{words}": kind for root in _ROOTS.get(kind_of_file, ()) for words, kind in _PLAIN_TABLES.items()}
    named = _NAMED_TABLES.get(kind_of_file, {})
    found: list[Place] = []
    for value in values:
        raw = text[value.start : value.end]
        kind = next((kind for pattern, kind in plain.items() if value.matches(pattern)), None)
        tool = next((tool for pattern, tool in named.items() if value.matches(pattern)), None)
        if raw != value.text:
            found += find_shell_places(text, value.start, value.end, scope=value.path)
        elif kind is not None:
            found += _find_plain(text, value, kind)
        elif tool is not None:
            found += _find_named(text, value, tool, by_path, document)
        elif value.key in VARIABLES:
            span = (value.key_start, value.key_end)
            found += find_variable_places(raw, value.start, value.key, span, scope=value.path[:-1])
        elif (requirement := _REQUIREMENT.fullmatch(raw)) and (requirement["name"] or _is_file(requirement["url"])):
            start = value.start + requirement.start("url")
            found.append(Place(kind=PlaceKind.FILE, start=start, end=start + len(requirement["url"]), text=requirement["url"]))
        else:
            found += find_shell_places(text, value.start, value.end, scope=value.path)
    return found


def _find_plain(text: str, value: Value, kind: PlaceKind) -> Iterator[Place]:
    scope = value.path[: value.path.index(value.key)] if value.key != "index" else value.path[:-1]
    if not _is_url(value.text):
        return
    promotion, removal = None, None
    if kind in (PlaceKind.EXTRA, PlaceKind.LINKS):
        begin = text.rfind("\n", 0, value.key_start) + 1
        indentation = text[begin : value.key_start]
        if not indentation.strip(" \t\ufeff"):
            begin += indentation.count("\ufeff")
            promotion = (Edit(begin, begin, f'{indentation.strip(chr(0xFEFF))}index-url = "{{index}}"{_line_end(text)}'),)
        comma = re.compile(r"[ \t]*,?").match(text, value.end + 1)
        removal = Edit(value.start - 1, comma.end() if comma else value.end + 1, "")
    yield Place(
        kind=kind,
        start=value.start,
        end=value.end,
        text=value.text,
        scope=scope,
        promotion=promotion,
        removal=removal,
        is_moved=True,
    )


def _find_named(
    text: str, value: Value, tool: str, siblings: Mapping[tuple[str | int, ...], Value], document: Mapping[str, Any]
) -> Iterator[Place]:
    """One of the indexes that a tool knows by name."""
    if not _is_url(value.text):
        return
    table = value.path[:-1]
    kind, is_alone = PlaceKind.INDEX, False
    promotion: tuple[Edit, ...] | None = None
    if tool == "upload":
        kind = PlaceKind.UPLOAD
    elif tool == "uv":
        flags = _read_flags(document, table)
        is_alone = flags.get("explicit", False)
        if not is_alone and not flags.get("default"):
            kind, promotion = PlaceKind.EXTRA, None if "default" in flags else (_insert_default(text, value),)
    elif tool == "poetry":
        kind, promotion, is_alone = _read_priority(siblings.get((*table, "priority")), _read_flags(document, table))
    elif tool == "pdm":
        name = siblings.get((*table, "name"))
        if name is None or name.text != "pypi":
            kind, promotion = PlaceKind.EXTRA, None if name is None else (Edit(name.start, name.end, "pypi"),)
    scope = table if is_alone else table[:-2] if tool == "uv" else table[:-1]
    yield Place(kind=kind, start=value.start, end=value.end, text=value.text, scope=scope, promotion=promotion)


def _read_priority(priority: Value | None, flags: Mapping[str, bool]) -> tuple[PlaceKind, tuple[Edit, ...] | None, bool]:
    """The kind of one of poetry's sources, the edit that makes it the first, and whether only those ask it that name it."""
    if priority is None:
        return (PlaceKind.EXTRA if flags.get("secondary") else PlaceKind.INDEX), None, False
    if priority.text == "explicit":
        return PlaceKind.INDEX, None, True
    if priority.text in ("primary", "default"):
        return PlaceKind.INDEX, None, False
    return PlaceKind.EXTRA, (Edit(priority.start, priority.end, "primary"),), False


def _read_flags(document: Mapping[str, Any], table: tuple[str | int, ...]) -> dict[str, bool]:
    """The yes and no of a table."""
    inner: Any = document
    for part in table:
        inner = inner[part]
    return {name: value for name, value in inner.items() if isinstance(value, bool)}


def _is_on_own_line(text: str, value: Value) -> bool:
    return not text[text.rfind("\n", 0, value.key_start) + 1 : value.key_start].strip(" \t\ufeff")


def _insert_default(text: str, value: Value) -> Edit:
    at = value.end + 1
    if not _is_on_own_line(text, value):
        return Edit(at, at, ", default = true")
    indentation = text[text.rfind("\n", 0, value.key_start) + 1 : value.key_start].strip("\ufeff")
    return Edit(at, at, f"{_line_end(text)}{indentation}default = true")


def _is_file(url: str) -> bool:
    return is_distribution(re.split(r"[?#]", url, maxsplit=1)[0])


def _is_url(text: str) -> bool:
    match = next(list_urls(text), None)
    return match is not None and match[0] == text


def _line_end(text: str) -> str:
    return "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"

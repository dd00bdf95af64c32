"""Places in the configuration files of pip: sections, options, and values that go on over indented lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from wheelgate.rewrite.places import Edit, Place, PlaceKind
from wheelgate.rewrite.shell_places import Setting, find_variable_places

_SETTINGS: dict[str, Setting] = {
    "index-url": (PlaceKind.INDEX, ""),
    "extra-index-url": (PlaceKind.EXTRA, "index-url"),
    "find-links": (PlaceKind.LINKS, "index-url"),
}
_SECTION = re.compile(r"\[([^\]\n]+)\]")
_OPTION = re.compile(r"(?P<name>[A-Za-z][\w.-]*)[ \t]*[=:]")
_COMMENTS = re.compile(r"(?<=\n)[ \t]*[#;][^\n]*")
_COMMENT = re.compile(r"[ \t]*[#;]")


class _Option(msgspec.Struct):
    name: str
    section: str
    start: int
    value: int
    end: int


def find_ini_places(text: str) -> list[Place]:
    """Find the places of a ``pip.conf`` or ``pip.ini``, in which ``_`` in a name means ``-``."""
    found: list[Place] = []
    for option in _read_options(text):
        name = option.name.lower().replace("_", "-")
        if name in _SETTINGS:
            span = (option.start, option.start + len(option.name))
            raw = _COMMENTS.sub(lambda match: " " * len(match[0]), text[option.value : option.end])
            places = find_variable_places(raw, option.value, name, span, scope=option.section, settings=_SETTINGS)
            if len(places) == 1 and places[0].kind is not PlaceKind.INDEX and raw.strip() == places[0].text:
                places = [msgspec.structs.replace(places[0], removal=Edit(option.start, option.end, ""))]
            found += places
    return found


def _read_options(text: str) -> Iterator[_Option]:
    section, option, at = "", None, 0
    for line in text.splitlines(keepends=True):
        content = line.lstrip("\ufeff") if at == 0 else line
        begin, at = at + len(line) - len(content), at + len(line)
        if _COMMENT.match(content) or not content.strip():
            continue
        if option is not None and content[0] in " \t":
            option.end = at
            continue
        if option is not None:
            yield option
        option = None
        if heading := _SECTION.match(content):
            section = heading[1].strip().lower()
        elif match := _OPTION.match(content):
            option = _Option(match["name"], section, begin, begin + match.end(), at)
    if option is not None:
        yield option

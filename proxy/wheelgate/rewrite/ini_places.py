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
_OPTION = re.compile(r"(?P<name>(?:--)?[A-Za-z][\w.-]*)[ \t]*[=:]")
_COMMENTS = re.compile(r"(?<=\n)[ \t]*[#;][^\n]*")
_NO_COMMENT = re.compile(r"(?<=[ \t])[#;]|(?<=\S);(?=[ \t])")


class Option(msgspec.Struct):
    """One option with the lines of its value."""

    name: str
    """As it is written."""
    section: str
    line: int
    """The start of its line."""
    start: int
    value: int
    """The start of its value."""
    end: int

    @property
    def setting(self) -> str:
        """Its name as pip takes it."""
        return self.name.lower().replace("_", "-").removeprefix("--")


def find_ini_places(text: str) -> list[Place]:
    """Find the places of a ``pip.conf`` or ``pip.ini``, in which ``_`` in a name means ``-``, and ``--`` before it nothing."""
    found: list[Place] = []
    for option in read_options(text):
        if option.setting in _SETTINGS:
            span = (option.start, option.start + len(option.name))
            raw = _blank_comments(text, option)
            places = find_variable_places(raw, option.value, option.setting, span, scope=option.section, settings=_SETTINGS)
            if len(places) == 1 and places[0].kind is not PlaceKind.INDEX and raw.strip() == places[0].text:
                places = [msgspec.structs.replace(places[0], removal=Edit(option.line, option.end, ""))]
            found += places
    return found


def find_misplaced_comments(text: str) -> Iterator[int]:
    """Find what looks like a comment behind an address and is a part of the value: comments have lines of their own there."""
    for option in read_options(text):
        if option.setting in _SETTINGS:
            match = _NO_COMMENT.search(_blank_comments(text, option))
            if match is not None:
                yield option.value + match.start()


def read_options(text: str) -> Iterator[Option]:
    """Read all options as Python's ``configparser`` does: what is indented deeper than an option's own line goes on with it."""
    section, option, indent, at = "", None, 0, 0
    for line in text.splitlines(keepends=True):
        begin, at = at, at + len(line)
        content = line.lstrip(" \t\ufeff" if begin == 0 else " \t")
        if content.startswith(("#", ";")) or not content.strip():
            continue
        depth = len(line.lstrip("\ufeff")) - len(content)
        if option is not None and depth > indent:
            option.end = at
            continue
        if option is not None:
            yield option
        option, indent = None, depth
        if heading := _SECTION.match(content):
            section = heading[1].strip().lower()
        elif match := _OPTION.match(content):
            start = at - len(content)
            option = Option(match["name"], section, begin, start, start + match.end(), at)
    if option is not None:
        yield option


def _blank_comments(text: str, option: Option) -> str:
    return _COMMENTS.sub(lambda match: " " * len(match[0]), text[option.value : option.end])

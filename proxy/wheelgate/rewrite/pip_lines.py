"""One line of a requirements file, read as pip reads it: the requirement, its URL, the options that name places."""

from __future__ import annotations

import re
from enum import Enum, auto

import msgspec

# A hash sign begins a comment only at the start or after white space (pip, req_file.COMMENT_RE).
_COMMENT = re.compile(r"(?:^|\s)#")
_TOKEN = re.compile(r"""(?:"[^"]*"|'[^']*'|\S)+""")
# White space ends a URL, and so does the semicolon of a marker; one in a credential does not.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]*[^\s;]*")


class LineKind(Enum):
    """What an option does with its value."""

    INDEX = auto()
    EXTRA_INDEX = auto()
    FIND_LINKS = auto()
    NO_INDEX = auto()
    OTHER = auto()


# The shortest spelling that pip takes for each: its parser completes what is not ambiguous.
_LONG = (
    (LineKind.INDEX, "--index-url", 3),
    (LineKind.INDEX, "--pypi-url", 4),
    (LineKind.EXTRA_INDEX, "--extra-index-url", 4),
    (LineKind.FIND_LINKS, "--find-links", 3),
    (LineKind.NO_INDEX, "--no-index", 6),
)
_SHORT = {"-i": LineKind.INDEX, "-f": LineKind.FIND_LINKS, "-e": LineKind.OTHER, "-r": LineKind.OTHER, "-c": LineKind.OTHER}


class Option(msgspec.Struct, frozen=True):
    """An option with its value, and where in the line the two stand."""

    kind: LineKind
    start: int
    end: int
    value: str
    """Without quotes; empty where it has none."""
    value_start: int


class Url(msgspec.Struct, frozen=True):
    """A URL that is the requirement, or part of it."""

    start: int
    end: int
    text: str
    name: str
    """What stands before its ``@``, extras included; empty for a bare URL."""
    name_end: int


class PipLine(msgspec.Struct, frozen=True):
    """A line without its continuations."""

    text: str
    comment: int
    """Where its comment starts, with the white space before it; its length if it has none."""
    url: Url | None
    options: tuple[Option, ...]


def read(text: str) -> PipLine:
    """A logical line, its continuations joined already."""
    found = _COMMENT.search(text)
    comment = found.start() if found else len(text)
    tokens = [match for match in _TOKEN.finditer(text, 0, comment) if match.end() <= comment]
    first = next((at for at, token in enumerate(tokens) if token[0].startswith("-")), len(tokens))
    requirement_end = tokens[first].start() if first < len(tokens) else comment
    return PipLine(text, comment, _url(text, requirement_end), tuple(_options(tokens[first:])))


def _url(text: str, end: int) -> Url | None:
    match = _URL.search(text, 0, end)
    if match is None:
        return None
    before = text[: match.start()].rstrip()
    name = before.removesuffix("@").rstrip() if before.endswith("@") else ""
    return Url(match.start(), match.end(), match[0], name.lstrip(), len(name) if name else match.start())


def _options(tokens: list[re.Match[str]]) -> list[Option]:
    found, at = [], 0
    while at < len(tokens):
        token, at = tokens[at], at + 1
        name, equals, value = token[0].partition("=")
        kind, end = _kind(name), token.end()
        if kind is None and name[:2] in _SHORT and not name.startswith("--"):
            kind, value, equals = _SHORT[name[:2]], token[0][2:], token[0][2:]
        if kind is None:
            # An option that names no place, or the value of one: only a URL in it matters.
            if "://" in token[0]:
                found.append(_option(LineKind.OTHER, token.start(), end, value or token[0]))
            continue
        if kind is not LineKind.NO_INDEX and not equals and at < len(tokens):
            value, end, at = tokens[at][0], tokens[at].end(), at + 1
        found.append(_option(kind, token.start(), end, value))
    return found


def _option(kind: LineKind, start: int, end: int, written: str) -> Option:
    quoted = len(written) >= 2 and written[0] in "\"'" and written[-1] == written[0]
    value = written[1:-1] if quoted else written
    return Option(kind, start, end, value, end - len(written) + quoted)


def _kind(name: str) -> LineKind | None:
    if name in _SHORT:
        return _SHORT[name]
    return next((kind for kind, whole, shortest in _LONG if len(name) >= shortest and whole.startswith(name)), None)

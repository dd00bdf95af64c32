"""Requirements files, read as pip reads them: logical lines, requirements, options, comments, and where each stands in the text.

Text in, values out: `rewrite` edits by the positions, `mirror` takes the values. The specification is
pip's own reader (``pip._internal.req.req_file``); the tests hold this one against it. White space other than a blank also ends
a requirement, as it does for uv: pip accepts no such line.
"""

from __future__ import annotations

import io
import re
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from pathlib import Path

import msgspec

from wheelgate.distfiles.text_files import read_text_file

_BOM = "\ufeff"
# A hash sign begins a comment only at the start or after white space, so that it may stand in a URL.
_COMMENT = re.compile(r"(?:^|\s)#")
_COMMENT_LINE = re.compile(r"\s*#")
_FIRST_OPTION = re.compile(r"(?<!\S)-")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
# White space ends a URL, and so does the semicolon of a marker; one in a credential does not. The scheme has a bound: without one
# each letter of a long word would be tried as the beginning of a scheme as long as the word.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#]*[^\s;]*")

_SHORT = {"-C": "--config-settings", "-c": "--constraint", "-e": "--editable", "-f": "--find-links", "-i": "--index-url"}
_SHORT["-r"] = "--requirement"
_FLAGS = ("--no-index", "--no-require-hashes", "--pre", "--prefer-binary", "--require-hashes")
_FOR_NAMES = ("--no-binary", "--only-binary", "--all-releases", "--only-final")
_OTHERS = ("--extra-index-url", "--hash", "--trusted-host", "--use-feature")
_LONG = {name: name for name in (*_SHORT.values(), *_FLAGS, *_FOR_NAMES, *_OTHERS)} | {"--pypi-url": "--index-url"}
_VALUES = {
    "--hash": re.compile("sha(256|384|512):"),
    "--config-settings": re.compile("[^=]*="),
    **dict.fromkeys(_FOR_NAMES, re.compile(r"(?!-)")),
}
"""Requirements that pip has of a value at once."""


class LineKind(Enum):
    """The kind of a line, as pip classifies it."""

    EMPTY = auto()
    COMMENT = auto()
    REQUIREMENT = auto()
    URL = auto()
    """A requirement that is a URL, or names one after its ``@``."""
    EDITABLE = auto()
    REFERENCE = auto()
    """``-r`` or ``-c``."""
    OPTIONS = auto()


class LogicalLine(msgspec.Struct, frozen=True):
    """A line with its continuations joined, and the physical lines that it stands on."""

    text: str
    offsets: list[int]
    """The place in the file of each character of ``text``."""
    start: int
    end: int
    """The place in the file where its physical lines end, the last line end included."""
    number: int
    """Its first physical line, counted from 1."""


class LineOption(msgspec.Struct, frozen=True):
    """An option with its value, and where in the line the two stand."""

    name: str
    """The long spelling, ``--index-url``; empty for a word that belongs to no known option, which is then the value."""
    start: int
    end: int
    value: str
    """Without quotes; empty where it has none."""
    value_start: int
    value_end: int


class LineUrl(msgspec.Struct, frozen=True):
    """The URL that is a requirement, or part of one."""

    start: int
    end: int
    text: str
    name: str
    """The text before its ``@``, extras included; empty for a bare URL."""
    name_end: int


class ParsedLine(msgspec.Struct, frozen=True):
    """A logical line, parsed; all positions are in ``text``."""

    text: str
    comment: int
    """The start of its comment, with the white space before it; its length if it has none."""
    requirement: str
    """Without options; empty if it has none."""
    url: LineUrl | None
    options: tuple[LineOption, ...]
    problem: str | None
    """The reason for which pip would refuse its options, or ``None``."""

    @property
    def kind(self) -> LineKind:
        """Its kind. Beside a requirement pip heeds its own options alone, beside a reference none."""
        names = {option.name for option in self.options}
        if self.requirement:
            return LineKind.REQUIREMENT if self.url is None else LineKind.URL
        if "--editable" in names:
            return LineKind.EDITABLE
        if names & {"--requirement", "--constraint"}:
            return LineKind.REFERENCE
        if self.text[: self.comment].strip():
            return LineKind.OPTIONS
        return LineKind.COMMENT if self.comment < len(self.text) else LineKind.EMPTY

    def values_of(self, name: str) -> list[str]:
        """The values of an option, by its long name, in order."""
        return [option.value for option in self.options if option.name == name]


def read_text(path: Path, included_by: str = "") -> str:
    """Read a text file as it is, line ends and byte-order mark included; :class:`BadInput` if it cannot be read."""
    return read_text_file(path, included_by).text


def split_lines(text: str) -> list[LogicalLine]:
    """The lines of a file, continuations joined as pip joins them; a byte-order mark belongs to no line."""
    found: list[LogicalLine] = []
    characters: list[str] = []
    offsets: list[int] = []
    begin = offset = len(text) - len(text.removeprefix(_BOM))
    number = first = 1
    for raw in text[begin:].splitlines(keepends=True):
        content = raw.splitlines()[0]
        is_comment = bool(_COMMENT_LINE.match(content))
        goes_on = content.endswith("\\") and not is_comment
        if is_comment and characters:
            characters.append(" ")  # so that it begins after white space
            offsets.append(offset)
        lead = len(content) - len(content.lstrip("\\")) if goes_on else 0
        content = content.strip("\\") if goes_on else content  # those at the beginning too: so pip does it
        characters += content
        offsets += range(offset + lead, offset + lead + len(content))
        offset += len(raw)
        number += 1
        if not goes_on:
            found.append(LogicalLine("".join(characters), offsets, begin, offset, first))
            characters, offsets, begin, first = [], [], offset, number
    if begin < offset:
        found.append(LogicalLine("".join(characters), offsets, begin, offset, first))
    return found


def parse_line(text: str, environment: Mapping[str, str] | None = None) -> ParsedLine:
    """A logical line. With an ``environment``, its variables are expanded first and its comment is gone."""
    found = _COMMENT.search(text)
    comment = found.start() if found else len(text)
    if environment is not None:
        text = _expand_variables(text[:comment].strip(), environment)
        comment = len(text)
    end = len(text[:comment].rstrip())
    option = _FIRST_OPTION.search(text, 0, end)
    requirement_end = option.start() if option else end
    words, problem = _split_words(text, requirement_end, end)
    problems = [problem] if problem else []
    options = tuple(_parse_options(words, text, problems))
    requirement = text[:requirement_end].strip()
    return ParsedLine(text, comment, requirement, _find_url(text, requirement_end), options, next(iter(problems), None))


def _expand_variables(text: str, environment: Mapping[str, str]) -> str:
    """Variables replaced one after the other, as pip does it; one that is empty or not set stays as it is."""
    for name in _VARIABLE.findall(text):
        text = text.replace(f"${{{name}}}", environment.get(name) or f"${{{name}}}")
    return text


def _find_url(text: str, end: int) -> LineUrl | None:
    match = _URL.search(text, 0, end)
    if match is None:
        return None
    before = text[: match.start()].rstrip()
    name = before.removesuffix("@").rstrip() if before.endswith("@") else ""
    return LineUrl(match.start(), match.end(), match[0], name.lstrip(), len(name) if name else match.start())


_Word = tuple[str, int, int]
"""A word of a shell, and where it starts and ends."""


def _split_words(text: str, start: int, end: int) -> tuple[list[_Word], str | None]:
    """Split the options into words as a shell does; where quotes are left open, by white space, and name the problem."""
    stream = io.StringIO(text[start:end])
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[_Word] = []
    at = start
    try:
        for word in lexer:
            at += len(text[at:end]) - len(text[at:end].lstrip(lexer.whitespace))
            read = start + stream.tell()  # with the blank that ended the word
            stop = read - (text[read - 1] in lexer.whitespace)
            words.append((word, at, stop))
            at = stop
    except ValueError:
        plain = [(match[0], match.start(), match.end()) for match in re.compile(r"\S+").finditer(text, start, end)]
        return plain, "a quote is not closed, or nothing follows a backslash"
    return words, None


def _parse_options(words: Iterable[_Word], text: str, problems: list[str]) -> Iterator[LineOption]:
    """Parse the options that the words make, as optparse does: abbreviated, joined to their value, or followed by it."""
    waiting = deque(words)
    are_options = True
    while waiting:
        word, start, end = waiting.popleft()
        if word == "--" and are_options:
            are_options = False
            continue
        name, value = _find_option(word, problems) if are_options else ("", word)
        if name in _FLAGS and value is not None:
            problems.append(f"{name} takes no value")
        elif name not in _FLAGS and value is None:
            if waiting:
                value, _, end = waiting.popleft()
            else:
                problems.append(f"{name} needs a value")
        value = value or ""
        if name in _VALUES and not _VALUES[name].match(value):
            problems.append(f"{name} has a value that pip refuses")
        at = text.rfind(value, start, end)  # escapes, and quotes within, keep it from standing there as it is read
        yield LineOption(name, start, end, value, *((at, at + len(value)) if at >= 0 else (start, end)))


def _find_option(word: str, problems: list[str]) -> tuple[str, str | None]:
    """Find the long name of an option and the value joined to it; of a word that is no option, no name and the word."""
    if len(word) < 2 or not word.startswith("-"):  # pip passes over it
        return "", word
    if word.startswith("--"):
        written, equals, value = word.partition("=")
        names = {written} & _LONG.keys() or {name for name in _LONG if name.startswith(written)}
    else:
        written, value = word[:2], word[2:]
        equals = value
        names = {_SHORT[written]} if written in _SHORT else set()
    if len(names) == 1:
        return _LONG[names.pop()], value if equals else None
    problems.append(f"the option {written[:100]} is {'ambiguous' if names else 'not known'}")
    return "", value or word

"""TOML read for where its strings stand: all strings of a document, each with its path and span.

It is held against :mod:`tomllib`, which alone says what a document means: texts that the two read differently are refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from wheelgate.rewrite.places import Value

Path = tuple[str | int, ...]
_MAX_DEPTH = 40
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = (
    re.compile(r'"""(?P<inner>(?:[^\\]|\\.)*?"{0,2})"""(?!")', re.DOTALL),
    re.compile(r"'''(?P<inner>.*?'{0,2})'''(?!')", re.DOTALL),
    re.compile(r'"(?P<inner>(?:[^"\\\n]|\\.)*)"'),
    re.compile(r"'(?P<inner>[^'\n]*)'"),
)
_OTHER = re.compile(r"[^\s,\]}#][^,\]}#\r\n]*")


class NotReadable(ValueError):
    """A document that cannot be read, or not in one way; the message says why, and repeats nothing of it."""


def find_toml_values(text: str) -> list[Value]:
    """Find all strings of a TOML document, in order.

    Raises:
        NotReadable: it is not TOML, or not written plainly.
    """
    plain = text.removeprefix("\ufeff")
    try:
        document = tomllib.loads(plain)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise NotReadable(f"is not valid TOML{f' at line {line[1]}' if line else ''}") from None
    except RecursionError:
        raise NotReadable("is nested too deeply") from None
    found = list(TomlScanner(text, len(text) - len(plain)).scan())
    read = sorted((tuple(map(str, value.path)), value.text) for value in found)
    if read != sorted(_list_strings((), document)):
        raise NotReadable("is TOML that can be read in two ways: write it plainly")
    return found


def _list_strings(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _list_strings((*path, name), inner)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _list_strings((*path, str(at)), inner)


class TomlScanner:
    """A reader of TOML that is known to be valid."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at
        self._arrays: dict[Path, int] = {}

    def scan(self) -> Iterator[Value]:
        table: Path = ()
        while self._skip(_SPACE) < len(self._text):
            if self._takes("[["):
                table = self._enter(self._read_key()[0], is_array=True)
                self._require("]]")
            elif self._takes("["):
                table = self._enter(self._read_key()[0], is_array=False)
                self._require("]")
            else:
                yield from self._read_pair(table, 0)

    def _enter(self, names: tuple[str, ...], *, is_array: bool) -> Path:
        path: Path = ()
        for at, name in enumerate(names):
            path = (*path, name)
            if is_array and at == len(names) - 1:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _read_pair(self, table: Path, depth: int) -> Iterator[Value]:
        names, start, end = self._read_key()
        self._require("=")
        self._skip(_BLANK)
        yield from self._read_value((*table, *names), (start, end), depth)

    def _read_key(self) -> tuple[tuple[str, ...], int, int]:
        """The names of a dotted key, and where the last one stands."""
        names: list[str] = []
        while True:
            self._skip(_BLANK)
            if string := self._read_string():
                name, start, end = string
            elif bare := _BARE.match(self._text, self._at):
                name, start, end = bare[0], bare.start(), bare.end()
                self._at = end
            else:
                raise NotReadable("has a key that is not written plainly")
            names.append(name)
            self._skip(_BLANK)
            if not self._takes("."):
                return tuple(names), start, end

    def _read_value(self, path: Path, key: tuple[int, int], depth: int) -> Iterator[Value]:
        if depth > _MAX_DEPTH:
            raise NotReadable("is nested too deeply")
        if string := self._read_string():
            text, start, end = string
            yield Value(path=path, text=text, start=start, end=end, key_start=key[0], key_end=key[1])
        elif self._takes("["):
            number = 0
            while self._skip(_SPACE) >= 0 and not self._takes("]"):
                yield from self._read_value((*path, number), key, depth + 1)
                number += 1
                self._skip(_SPACE)
                self._takes(",")
        elif self._takes("{"):
            while self._skip(_SPACE) >= 0 and not self._takes("}"):
                yield from self._read_pair(path, depth + 1)
                self._skip(_SPACE)
                self._takes(",")
        elif other := _OTHER.match(self._text, self._at):
            self._at = other.end()
        else:
            raise NotReadable("has a value that is not written plainly")

    def _read_string(self) -> tuple[str, int, int] | None:
        """A string's value, and where the characters between its quotes stand."""
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                raw = match[0].replace("\r\n", "\n")
                return (
                    (match["inner"] if _is_single(raw) else tomllib.loads(f"a={raw}")["a"]),
                    match.start("inner"),
                    match.end("inner"),
                )
        return None

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _takes(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) * found
        return found

    def _require(self, mark: str) -> None:
        self._skip(_BLANK)
        if not self._takes(mark):
            raise NotReadable("is not written plainly")


def _is_single(raw: str) -> bool:
    """Say whether a string means what stands between its quotes."""
    return "\\" not in raw and not raw.startswith(('"""', "'''"))

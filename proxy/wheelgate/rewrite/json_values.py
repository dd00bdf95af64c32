"""JSON read for where its strings stand: all strings that are values, each with its path and span."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from wheelgate.rewrite.places import Value
from wheelgate.rewrite.toml_values import NotReadable

_MAX_DEPTH = 40
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_OTHER = re.compile(r"[A-Za-z0-9+.-]+")


def find_json_values(text: str) -> list[Value]:
    """Find all strings of a JSON document that are values, in order.

    Raises:
        NotReadable: it is not JSON, or says one thing twice.
    """
    at = len(text) - len(text.removeprefix("\ufeff"))
    try:
        json.loads(text[at:], object_pairs_hook=_refuse_duplicates)
    except NotReadable:
        raise
    except RecursionError:
        raise NotReadable("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotReadable(f"is not valid JSON at line {error.lineno}") from None
    except ValueError:  # a number of thousands of digits
        raise NotReadable("is not valid JSON") from None
    return list(JsonScanner(text, at).read_value((), (-1, -1)))


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotReadable("says one thing twice")
    return made


class JsonScanner:
    """A reader of JSON that is known to be valid."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at

    def read_value(self, path: tuple[str | int, ...], key: tuple[int, int]) -> Iterator[Value]:
        if len(path) > _MAX_DEPTH:
            raise NotReadable("is nested too deeply")
        opening = self._next()
        if opening == '"':
            text, start, end = self._read_string()
            yield Value(path=path, text=text, start=start, end=end, key_start=key[0], key_end=key[1])
        elif opening in "{[":
            self._at += 1
            number = 0
            while self._next() not in "}]":
                if opening == "{":
                    name, start, end = self._read_string()
                    self._next()
                    self._at += 1
                    yield from self.read_value((*path, name), (start, end))
                else:
                    yield from self.read_value((*path, number), key)
                number += 1
                if self._next() == ",":
                    self._at += 1
            self._at += 1
        else:
            other = _OTHER.match(self._text, self._at)
            self._at = other.end() if other else len(self._text)

    def _next(self) -> str:
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing, too
        return self._text[self._at : self._at + 1] or "}"

    def _read_string(self) -> tuple[str, int, int]:
        start = self._at + 1
        text, self._at = _DECODER.raw_decode(self._text, self._at)
        return str(text), start, self._at - 1

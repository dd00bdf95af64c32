"""Files that hold requirements: where their lines are, and how a change of one is put back into the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import msgspec
import yaml

from wheelgate.core.errors import RewriteRefused
from wheelgate.rewrite.decisions import Edit, RewritePlan

_BOM = "\ufeff"
_COMMENT_LINE = re.compile(r"\s*#")


class RewritableDocument(Protocol):
    """A file with lines as pip reads them."""

    @property
    def lines(self) -> Sequence[str]:
        """The logical lines."""
        ...

    def number(self, line: int) -> int:
        """The line of the file, counted from 1, that a logical line begins on."""
        ...

    def apply(self, outcome: RewritePlan) -> str:
        """The text of the file with the changes in it, and everything else byte for byte.

        Raises:
            RewriteRefused: the file is written so that a change cannot be put into it.
        """
        ...


def document(name: str, text: str) -> RewritableDocument:
    """A file by its name: requirements (``.txt``, ``.in``) or a conda environment (``.yml``, ``.yaml``).

    Raises:
        RewriteRefused: it is neither.
    """
    if name.lower().endswith((".txt", ".in")):
        return RequirementsDocument(text)
    if name.lower().endswith((".yml", ".yaml")):
        return CondaDocument(name, text)
    raise RewriteRefused(f"{name}: only requirements files (.txt, .in) and conda environments (.yml, .yaml) can be rewritten")


class _Physical(msgspec.Struct, frozen=True):
    """A logical line: where each of its characters stands in the file, and where its lines begin and end there."""

    text: str
    at: list[int]
    start: int
    end: int
    number: int


class RequirementsDocument:
    """A requirements or constraints file."""

    def __init__(self, text: str) -> None:
        self._bom = _BOM if text.startswith(_BOM) else ""
        self._text = text.removeprefix(_BOM)
        self._logical = _joined(self._text)

    @property
    def lines(self) -> Sequence[str]:
        """See :class:`ConnectionDocument`."""
        return [line.text for line in self._logical]

    def number(self, line: int) -> int:
        """See :class:`ConnectionDocument`."""
        return self._logical[line].number

    def apply(self, outcome: RewritePlan) -> str:
        """See :class:`ConnectionDocument`."""
        pieces: list[Edit] = []
        for number, edits in outcome.edits.items():
            line = self._logical[number]
            widened = _widened(line.text, edits)
            rest = _edited(line.text, widened)
            if not rest.strip():
                pieces.append(Edit(line.start, line.end, ""))
            elif not _COMMENT_LINE.match(line.text) and _COMMENT_LINE.match(rest):  # its comment alone is left
                pieces.append(Edit(line.start, line.at[len(line.text) - len(rest.lstrip())], ""))
            else:
                pieces += [Edit(line.at[edit.start], line.at[edit.end - 1] + 1, edit.text) for edit in widened]
        text = _edited(self._text, pieces)
        if outcome.first is not None:
            at = self._top()
            text = f"{text[:at]}{outcome.first}{self._line_end()}{text[at:]}"
        return self._bom + text

    def _top(self) -> int:
        """Before the first line with content, and before the comment that stands directly above it."""
        top = 0
        for line in self._logical:
            if not line.text.strip():
                top = line.end
            elif not _COMMENT_LINE.match(line.text):
                return top
        return 0

    def _line_end(self) -> str:
        first = self._text.splitlines(keepends=True)[:1]
        return "\r\n" if first and first[0].endswith("\r\n") else "\n"


def _joined(text: str) -> list[_Physical]:
    """Lines with their continuations, joined as pip does (req_file.join_lines)."""
    found: list[_Physical] = []
    characters: list[str] = []
    at: list[int] = []
    begin = offset = 0
    number = first = 1
    for raw in text.splitlines(keepends=True):
        content = raw.splitlines()[0]
        comment = bool(_COMMENT_LINE.match(content))
        goes_on = content.endswith("\\") and not comment
        if comment and characters:
            characters.append(" ")  # so that it begins after white space
            at.append(offset)
        lead = len(content) - len(content.lstrip("\\")) if goes_on else 0
        content = content.strip("\\") if goes_on else content  # those at the beginning too: so pip does it
        characters += content
        at += range(offset + lead, offset + lead + len(content))
        offset += len(raw)
        number += 1
        if not goes_on:
            found.append(_Physical("".join(characters), at, begin, offset, first))
            characters, at, begin, first = [], [], offset, number
    if characters or begin < offset:
        found.append(_Physical("".join(characters), at, begin, offset, first))
    return found


def _widened(text: str, edits: Sequence[Edit]) -> list[Edit]:
    """The edits in order; what is removed takes the white space beside it along."""
    widened: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: edit.start):
        start, end = edit.start, edit.end
        if not edit.text:
            before = len(text[:start].rstrip())
            if before:
                start = before
            else:
                end += len(text[end:]) - len(text[end:].lstrip())
        if widened and start < widened[-1].end:  # the white space between two that go
            start = widened[-1].end
        widened.append(Edit(start, end, edit.text))
    return widened


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


class CondaDocument:
    """The ``pip:`` part of a conda environment, also inside an Azure ML environment (``conda_file:``).

    YAML is read for where its values stand, and never written: the text around them stays as it is.
    """

    def __init__(self, name: str, text: str) -> None:
        """Read a file called ``name``.

        Raises:
            RewriteRefused: it is not YAML.
        """
        self._name = name
        self._text = text
        self._items = _pip_items(_composed(name, text))

    @property
    def lines(self) -> Sequence[str]:
        """See :class:`ConnectionDocument`."""
        return [str(item.value) for item in self._items]

    def number(self, line: int) -> int:
        """See :class:`ConnectionDocument`."""
        return int(self._items[line].start_mark.line) + 1

    def apply(self, outcome: RewritePlan) -> str:
        """See :class:`ConnectionDocument`."""
        wanted: list[str] = []
        pieces: list[Edit] = []
        if outcome.first is not None:
            start, indentation = self._own_line(0)
            pieces.append(Edit(start, start, f"{indentation}{outcome.first}{self._line_end()}"))
            wanted.append(outcome.first)
        for number, item in enumerate(self._items):
            value = _edited(str(item.value), _widened(str(item.value), outcome.edits.get(number, ())))
            if value == item.value:
                wanted.append(value)
            elif value.strip():
                pieces.append(Edit(item.start_mark.index, item.end_mark.index, self._scalar(number, value)))
                wanted.append(value)
            else:
                pieces.append(self._without(number))
        text = _edited(self._text, pieces)
        if [str(item.value) for item in _pip_items(_composed(self._name, text))] != wanted:
            raise RewriteRefused(f"{self._name}: is written in a way that cannot be changed safely: write one item a line")
        return text

    def _scalar(self, number: int, value: str) -> str:
        """The value as it was quoted before."""
        item = self._items[number]
        raw = self._text[item.start_mark.index : item.end_mark.index]
        if "\n" in raw:
            raise RewriteRefused(f"{self._name} line {self.number(number)}: write the item in one line")
        if raw.startswith("'"):
            return "'" + value.replace("'", "''") + "'"
        if raw.startswith('"'):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return value

    def _own_line(self, number: int) -> tuple[int, str]:
        """Where the item's line begins, and what stands on it before the item, if that is its dash alone."""
        begin = self._text.rfind("\n", 0, self._items[number].start_mark.index) + 1
        before = self._text[begin : self._items[number].start_mark.index]
        if not _DASH.fullmatch(before):
            raise RewriteRefused(f"{self._name} line {self.number(number)}: write the items of pip one a line")
        return begin, before

    def _without(self, number: int) -> Edit:
        """The item's whole line gone, but for a comment on it."""
        begin, before = self._own_line(number)
        at = self._items[number].end_mark.index
        end = self._text.find("\n", at) + 1 or len(self._text)
        rest = self._text[at:end]
        if rest.strip():
            return Edit(begin, at + len(rest) - len(rest.lstrip()), before.replace("-", " ", 1))
        return Edit(begin, end, "")

    def _line_end(self) -> str:
        return "\r\n" if "\r\n" in self._text else "\n"


_DASH = re.compile(r"[ \t]*-[ \t]+")
_QUOTED = re.compile(r"'[^']{2,}'")


def _composed(name: str, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:  # its own text would show the line, which may hold a secret
        mark, problem = error.problem_mark, _QUOTED.sub("'...'", error.problem or "")
        raise RewriteRefused(f"{name} line {mark.line + 1 if mark else 1}: is not valid YAML: {problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise RewriteRefused(f"{name}: is not valid YAML") from None


def _pip_items(root: yaml.Node | None) -> list[yaml.ScalarNode]:
    inner = _value(root, "conda_file")
    dependencies = _value(inner if isinstance(inner, yaml.MappingNode) else root, "dependencies")
    found: list[yaml.ScalarNode] = []
    for entry in dependencies.value if isinstance(dependencies, yaml.SequenceNode) else ():
        pip = _value(entry, "pip")
        for item in pip.value if isinstance(pip, yaml.SequenceNode) else ():
            if isinstance(item, yaml.ScalarNode) and item not in found:  # an alias stands for the same node
                found.append(item)
    return found


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if isinstance(name, yaml.ScalarNode) and name.value == key), None)

"""Lists of pip's own lines, as files or within YAML: their logical lines, and a plan for those as edits of the whole text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from wheelgate.core.errors import BadInput
from wheelgate.distfiles.requirements_file import split_lines
from wheelgate.rewrite.decisions import RewritePlan
from wheelgate.rewrite.places import Edit, apply_edits

_DASH = re.compile(r"[ \t]*-[ \t]+")
_COMMA = re.compile(r"[ \t]*,\s*")
_COMMENT_LINE = re.compile(r"\s*#")


class ListItem(msgspec.Struct, frozen=True):
    """One item of a list, with its quotes."""

    text: str
    start: int
    end: int


class RequirementLines:
    """A requirements or constraints file."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._logical = split_lines(text)
        self.lines = [line.text for line in self._logical]
        self.numbers = [line.number for line in self._logical]
        """The line of the file, counted from 1, that each logical line begins on."""
        self.spans = [(line.start, line.end) for line in self._logical]

    def expect(self, plan: RewritePlan) -> None:
        """No lines: see :class:`ListItems`."""

    def edit(self, plan: RewritePlan) -> list[Edit]:
        """Turn a plan for the lines into edits of the text; nothing else of it changes."""
        pieces: list[Edit] = []
        for number, edits in plan.edits.items():
            line = self._logical[number]
            widened = _widen_edits(line.text, edits)
            rest = apply_edits(line.text, widened)
            if not rest.strip():
                pieces.append(Edit(line.start, line.end, ""))
            elif not _COMMENT_LINE.match(line.text) and _COMMENT_LINE.match(rest):  # its comment alone is left
                pieces.append(Edit(line.start, line.offsets[len(line.text) - len(rest.lstrip())], ""))
            else:
                pieces += [Edit(line.offsets[edit.start], line.offsets[edit.end - 1] + 1, edit.text) for edit in widened]
        if plan.first is not None:
            at = self._top()
            pieces.append(Edit(at, at, f"{plan.first}{_find_line_end(self._text)}"))
        return pieces

    def _top(self) -> int:
        """Before the first line with content, and before the comment that stands directly above it."""
        top = start = self._logical[0].start
        for line in self._logical:
            if not line.text.strip():
                top = line.end
            elif not _COMMENT_LINE.match(line.text):
                return top
        return start


def _find_line_end(text: str) -> str:
    return "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"


def _widen_edits(text: str, edits: Sequence[Edit]) -> list[Edit]:
    """Sort edits; what is removed takes the white space beside it along."""
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


class ListItems:
    """The items of one ``pip:`` list within YAML or JSON.

    YAML is read for where its values stand, and never written: the text around them stays as it is.
    """

    def __init__(self, name: str, text: str, items: Sequence[ListItem], *, is_json: bool = False) -> None:
        """``name``: of the file, for sentences."""
        self._name = name
        self._text = text
        self._items = items
        self._is_json = is_json
        self.lines = [item.text for item in items]
        self.numbers = [text.count("\n", 0, item.start) + 1 for item in items]
        self.spans = [(item.start, item.end) for item in items]

    def edit(self, plan: RewritePlan) -> list[Edit]:
        """Turn a plan into edits; :class:`BadInput` if the file is written so that one cannot be put into it."""
        pieces: list[Edit] = []
        if plan.first is not None:
            pieces.append(self._put_first(plan.first))
        for number, value in enumerate(self._apply(plan)):
            item = self._items[number]
            if not value.strip():
                pieces.append(self._remove_json(number) if self._is_json else self._remove_line(number))
            elif value != item.text:
                pieces.append(Edit(item.start, item.end, self._quote(number, value)))
        return pieces

    def expect(self, plan: RewritePlan) -> list[str]:
        """The lines that the new text must have."""
        first = [plan.first] if plan.first is not None else []
        return [*first, *(value for value in self._apply(plan) if value.strip())]

    def _apply(self, plan: RewritePlan) -> list[str]:
        return [apply_edits(line, _widen_edits(line, plan.edits.get(number, ()))) for number, line in enumerate(self.lines)]

    def _put_first(self, line: str) -> Edit:
        at = self._items[0].start
        if self._is_json:
            begin = self._text.rfind("\n", 0, at) + 1
            lead = self._text[begin:at]
            return Edit(
                at, at, f"{json.dumps(line)}," + (f"{_find_line_end(self._text)}{lead}" if begin and not lead.strip() else " ")
            )
        start, indentation = self._find_own_line(0)
        return Edit(start, start, f"{indentation}{line}{_find_line_end(self._text)}")

    def _quote(self, number: int, value: str) -> str:
        """Quote the value as it was quoted before."""
        item = self._items[number]
        raw = self._text[item.start : item.end]
        if self._is_json:
            return json.dumps(value, ensure_ascii=False)
        if "\n" in raw:
            raise BadInput(f"{self._name} line {self.numbers[number]}: write the item in one line")
        if raw.startswith("'"):
            return "'" + value.replace("'", "''") + "'"
        if raw.startswith('"'):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return value

    def _find_own_line(self, number: int) -> tuple[int, str]:
        """Find the start of the item's line, and the text on it before the item, which must be its dash alone."""
        begin = self._text.rfind("\n", 0, self._items[number].start) + 1
        before = self._text[begin : self._items[number].start]
        if not _DASH.fullmatch(before):
            raise BadInput(f"{self._name} line {self.numbers[number]}: write the items of pip one a line")
        return begin, before

    def _remove_line(self, number: int) -> Edit:
        """Remove the item's whole line, but for a comment on it."""
        begin, before = self._find_own_line(number)
        at = self._items[number].end
        end = self._text.find("\n", at) + 1 or len(self._text)
        rest = self._text[at:end]
        if rest.strip():
            return Edit(begin, at + len(rest) - len(rest.lstrip()), before.replace("-", " ", 1))
        return Edit(begin, end, "")

    def _remove_json(self, number: int) -> Edit:
        """Remove an item with the comma and the blanks behind it: a list that only loses items keeps its first edit's comma."""
        item = self._items[number]
        comma = _COMMA.match(self._text, item.end)
        if comma is None:
            raise BadInput(f"{self._name} line {self.numbers[number]}: write this item before the others of its list")
        return Edit(item.start, comma.end(), "")

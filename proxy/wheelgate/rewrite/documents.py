"""Requirements files and conda environments as texts to edit: their logical lines, and edits of those put back byte for byte.

And the diff of such an edit, redacted: for people and for logs, no credential or signature can be read in it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import yaml

from wheelgate.config.plain_yaml import NotPlainYaml, compose_yaml, find_value, list_entries
from wheelgate.core.errors import BadInput
from wheelgate.distfiles.requirements_file import split_lines
from wheelgate.rewrite.decisions import Edit, RewritePlan

_DASH = re.compile(r"[ \t]*-[ \t]+")
_COMMENT_LINE = re.compile(r"\s*#")
_URL = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]{0,30})?://)([^\s\"'`<>]*)")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]*(?::[0-9]{0,5})?")
_HIDDEN = "***"


def open_document(name: str, text: str) -> RequirementsDocument | CondaDocument:
    """Read a file by its name: requirements (``.txt``, ``.in``) or a conda environment (``.yml``, ``.yaml``).

    Raises:
        BadInput: it is neither, or not YAML.
    """
    if name.lower().endswith((".txt", ".in")):
        return RequirementsDocument(text)
    if name.lower().endswith((".yml", ".yaml")):
        return CondaDocument(name, text)
    raise BadInput(f"{name}: only requirements files (.txt, .in) and conda environments (.yml, .yaml) can be rewritten")


class RequirementsDocument:
    """A requirements or constraints file."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._logical = split_lines(text)
        self.lines = [line.text for line in self._logical]
        self.numbers = [line.number for line in self._logical]
        """The line of the file, counted from 1, that each logical line begins on."""

    def apply(self, plan: RewritePlan) -> str:
        """Return the text of the file with the plan's edits in it, and everything else byte for byte."""
        pieces: list[Edit] = []
        for number, edits in plan.edits.items():
            line = self._logical[number]
            widened = _widen_edits(line.text, edits)
            rest = _apply_edits(line.text, widened)
            if not rest.strip():
                pieces.append(Edit(line.start, line.end, ""))
            elif not _COMMENT_LINE.match(line.text) and _COMMENT_LINE.match(rest):  # its comment alone is left
                pieces.append(Edit(line.start, line.offsets[len(line.text) - len(rest.lstrip())], ""))
            else:
                pieces += [Edit(line.offsets[edit.start], line.offsets[edit.end - 1] + 1, edit.text) for edit in widened]
        text = _apply_edits(self._text, pieces)
        if plan.first is not None:
            at = self._top()
            text = f"{text[:at]}{plan.first}{_find_line_end(self._text)}{text[at:]}"
        return text

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


def _apply_edits(text: str, edits: Sequence[Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


class CondaDocument:
    """The ``pip:`` part of a conda environment, also inside an Azure ML environment (``conda_file:``).

    YAML is read for where its values stand, and never written: the text around them stays as it is.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._items = _find_pip_items(name, text)
        self.lines = [str(item.value) for item in self._items]
        self.numbers = [int(item.start_mark.line) + 1 for item in self._items]

    def apply(self, plan: RewritePlan) -> str:
        """As for requirements; :class:`BadInput` if the file is written so that an edit cannot be put into it."""
        wanted: list[str] = []
        pieces: list[Edit] = []
        if plan.first is not None:
            start, indentation = self._find_own_line(0)
            pieces.append(Edit(start, start, f"{indentation}{plan.first}{_find_line_end(self._text)}"))
            wanted.append(plan.first)
        for number, item in enumerate(self._items):
            value = _apply_edits(self.lines[number], _widen_edits(self.lines[number], plan.edits.get(number, ())))
            if value == item.value:
                wanted.append(value)
            elif value.strip():
                pieces.append(Edit(item.start_mark.index, item.end_mark.index, self._quote(number, value)))
                wanted.append(value)
            else:
                pieces.append(self._remove_line(number))
        text = _apply_edits(self._text, pieces)
        if [str(item.value) for item in _find_pip_items(self._name, text)] != wanted:
            raise BadInput(f"{self._name}: is written in a way that cannot be changed safely: write one item a line")
        return text

    def _quote(self, number: int, value: str) -> str:
        """Quote the value as it was quoted before."""
        item = self._items[number]
        raw = self._text[item.start_mark.index : item.end_mark.index]
        if "\n" in raw:
            raise BadInput(f"{self._name} line {self.numbers[number]}: write the item in one line")
        if raw.startswith("'"):
            return "'" + value.replace("'", "''") + "'"
        if raw.startswith('"'):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return value

    def _find_own_line(self, number: int) -> tuple[int, str]:
        """Find the start of the item's line, and the text on it before the item, which must be its dash alone."""
        begin = self._text.rfind("\n", 0, self._items[number].start_mark.index) + 1
        before = self._text[begin : self._items[number].start_mark.index]
        if not _DASH.fullmatch(before):
            raise BadInput(f"{self._name} line {self.numbers[number]}: write the items of pip one a line")
        return begin, before

    def _remove_line(self, number: int) -> Edit:
        """Remove the item's whole line, but for a comment on it."""
        begin, before = self._find_own_line(number)
        at = self._items[number].end_mark.index
        end = self._text.find("\n", at) + 1 or len(self._text)
        rest = self._text[at:end]
        if rest.strip():
            return Edit(begin, at + len(rest) - len(rest.lstrip()), before.replace("-", " ", 1))
        return Edit(begin, end, "")


def _find_pip_items(name: str, text: str) -> list[yaml.Node]:
    """The items of the pip sections, each once: an anchor lets one stand in several places."""
    try:
        root = compose_yaml(text, anchors=True)
    except NotPlainYaml as error:
        line = "" if error.line is None else f" line {error.line}"
        raise BadInput(f"{name}{line}: {error.problem}") from None
    inner = find_value(root, "conda_file")
    found: dict[int, yaml.Node] = {}
    for entry in list_entries(find_value(inner if isinstance(inner, yaml.MappingNode) else root, "dependencies")):
        for item in list_entries(find_value(entry, "pip")):
            if isinstance(item, yaml.ScalarNode):
                found[id(item)] = item
    return list(found.values())


def redact(text: str) -> str:
    """Redact a text: its URLs without user information and query; of an ambiguous URL only the scheme is left."""
    return _URL.sub(_redact_url, text)


def _redact_url(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    authority, tail = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr] # it matches anything
    user, at, host = authority.rpartition("@")
    if not _PLAIN_HOST.fullmatch(host):
        return f"{scheme}{_HIDDEN}"
    path, query, after = tail.partition("?")
    fragment = after[after.index("#") :] if "#" in after else ""
    if "#" in path:  # the question mark belongs to the fragment
        path, query, fragment = tail, "", ""
    path, fragment = (re.sub(r"(?<=://).*", _HIDDEN, part, flags=re.DOTALL) for part in (path, fragment))  # a URL within the URL
    return f"{scheme}{_HIDDEN + '@' if at or user else ''}{host}{path}{'?' + _HIDDEN if query else ''}{fragment}"


def format_diff(name: str, before: str, after: str) -> str:
    """Format a unified diff of the changed lines alone: what stands beside them may be anybody's secret in any form."""
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, n=0, lineterm="")
    return "\n".join(map(redact, changes))

"""One text from its reading to its new text: all decisions on it, their edits, the second reading, and what is left."""

from __future__ import annotations

import re

import msgspec

from wheelgate.core.errors import BadInput
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.decisions import RewritePlan, find_private_blobs, plan_for_gate, plan_for_storage
from wheelgate.rewrite.formats import Reading, explain_spans, read_document
from wheelgate.rewrite.leftovers import find_leftovers
from wheelgate.rewrite.locks import restore_lock, settle_lock
from wheelgate.rewrite.places import Edit, LineNumbers, apply_edits, find_origin
from wheelgate.rewrite.settle_places import Replaced, Settlement, settle_places

_NO_INDEX = "no-index would keep the installer from asking Wheelgate: remove it"
_NO_INDEX_SET = re.compile(
    r"^(?![ \t]*#).*(?:--no-index\b|\bno[-_]index\"?[ \t]*[=:][ \t]*\"?(?:true|1|yes|on)\b)", re.MULTILINE | re.IGNORECASE
)
_CHANGES_AGAIN = "is written in a way that cannot be changed safely: write one thing a line"


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """The new addresses: Wheelgate's, signed ones, or the canonical ones of a lock."""

    ours: UrlClassifier
    gate: str | None = None
    """Without a slash at the end; ``None``: blobs are signed."""
    by_name: bool = False
    restores: bool = False
    signed: dict[str, str] = msgspec.field(default_factory=dict)
    """Signed URLs of blobs, by their URLs without query."""


class Rewritten(msgspec.Struct):
    """A text rewritten, and what there is to say of it; lines are counted from 1, of the text as it was."""

    format: str
    text: str
    refusals: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """Nothing may be written if there is one."""
    notes: list[tuple[int, str]] = msgspec.field(default_factory=list)
    sources: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """The private places that Wheelgate must have as sources."""
    left: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """The things that a person has to look at."""
    has_packages: bool = True
    """False: the format is one that may say where packages come from, and this text does not."""


def rewrite_text(path: str, text: str, purpose: Purpose) -> Rewritten:
    """Rewrite a text.

    Raises:
        BadInput: it cannot be read, or not be changed safely.
    """
    reading = read_document(path, text)
    done, edits, expected = _decide(text, reading, purpose, path)
    done.left += reading.problems
    lines = LineNumbers(text)

    def number(found: list[tuple[int, str]]) -> list[tuple[int, str]]:
        return sorted({(lines.find(at), sentence): None for at, sentence in found})

    result = Rewritten(reading.format, text, refusals=number(done.refusals), notes=number(done.notes))
    result.sources = number([(place.offset, place.source) for place in done.replaced])
    if done.refusals:
        return result
    result.text = _apply(path, text, edits)
    kept, again = done.kept, reading
    if edits:
        again = read_document(path, result.text)
        second, changes, _ = _decide(result.text, again, purpose, path)
        kept = kept | second.kept
        if second.refusals or any(result.text[edit.start : edit.end] != edit.text for edit in changes):
            raise BadInput(f"{path}: {_CHANGES_AGAIN}")
    if [found.lines for found, lines_ in zip(again.lists, expected, strict=False) if lines_ is not None] != [
        lines_ for lines_ in expected if lines_ is not None
    ]:
        raise BadInput(f"{path}: {_CHANGES_AGAIN}")
    if purpose.gate is not None and purpose.gate in result.text and not (reading.lock or reading.lists):
        done.left += [(match.start(), _NO_INDEX) for match in _NO_INDEX_SET.finditer(text)]
    result.left = number(done.left)
    said = {line for line, _ in result.left}
    result.left += [found for found in _find_left(text, result.text, again, edits, kept, purpose) if found[0] not in said]
    result.has_packages = reading.has_packages or bool(result.left)
    return result


def find_blobs(path: str, text: str, ours: UrlClassifier) -> dict[str, int]:
    """Find the blobs that a text's lists name and that could be signed, each with the first line that does."""
    found: dict[str, int] = {}
    for pip_list in read_document(path, text).lists:
        for url, at in find_private_blobs(pip_list.lines, ours).items():
            found.setdefault(url, pip_list.numbers[at])
    return found


def _apply(path: str, text: str, edits: list[Edit]) -> str:
    try:
        return apply_edits(text, edits)
    except ValueError:
        raise BadInput(f"{path}: {_CHANGES_AGAIN}") from None


def _decide(text: str, reading: Reading, purpose: Purpose, path: str) -> tuple[Settlement, list[Edit], list[list[str] | None]]:
    """All decisions on a text, their edits, and the lines that its lists must have then, where they are known."""
    gate, ours = purpose.gate, purpose.ours
    if purpose.restores:
        if not reading.lock:
            raise BadInput(f"{path}: is {reading.format}, and only locks can be restored: keep the original in version control")
        done = restore_lock(text, reading.places, ours)
        return done, done.edits, []
    if gate is None:
        done = Settlement()
    elif reading.lock:
        done = settle_lock(text, reading.places, ours, gate)
    else:
        done = settle_places(reading.places, ours, gate)
    expected = []
    for pip_list in reading.lists:
        starts = [start for start, _ in pip_list.spans]
        plan = _plan(pip_list.lines, purpose)
        done.refusals += [(starts[at], sentence) for at, sentence in plan.refusals]
        done.notes += [(starts[at], sentence) for at, sentence in plan.notes]
        if plan.refusals:
            continue
        done.replaced += [Replaced(source, starts[at]) for at, source in plan.sources]
        done.edits += pip_list.edit(plan)
        expected.append(pip_list.expect(plan))
    return done, done.edits, expected


def _plan(lines: list[str], purpose: Purpose) -> RewritePlan:
    if purpose.gate is None:
        return plan_for_storage(lines, purpose.ours, purpose.signed)
    return plan_for_gate(lines, purpose.ours, purpose.gate, by_name=purpose.by_name)


def _find_left(
    before: str, after: str, reading: Reading, edits: list[Edit], kept: set[str], purpose: Purpose
) -> list[tuple[int, str]]:
    """The leftovers of the new text, at the lines of the old."""
    old, new = LineNumbers(before), _line_starts(after)
    found = find_leftovers(after, reading.values, explain_spans(reading), kept, purpose.ours, has_comments=reading.has_comments)
    signed = set(purpose.signed.values())
    left = []
    for line, thing in found:
        content = after[new[line - 1] : new[line] if line < len(new) else None]
        if signed and any(url in content for url in signed):
            continue
        left.append((old.find(find_origin(new[line - 1], edits)), f"{thing} is left that no rule explains: see to it by hand"))
    return list(dict.fromkeys(left))


def _line_starts(text: str) -> list[int]:
    return [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]

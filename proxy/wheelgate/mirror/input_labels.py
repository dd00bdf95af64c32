"""Labels of inputs: the names that a manifest knows them by, so that a run replaces what its own inputs needed, and nothing else.

A file is known by its path as it was said, and by a digest of where it lies. Two files are two inputs, whatever their names; a
label of which the place is not known may be either.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wheelgate.mirror.inputs_model import MirrorInput

_LONGEST = 100
_SHOWN_DIGITS = 8

Places = Mapping[str, str | None]
"""The place of the input of each label; ``None``: it is not known, or it is no file."""


def label_projects(specifiers: Iterable[str]) -> str:
    """Label what is asked for on the command line: the same projects are the same input, others are another."""
    each = sorted(set(specifiers))
    label = f"project{'' if len(each) == 1 else 's'} {', '.join(each)}"
    return label if len(label) <= _LONGEST else f"{len(each)} projects ({_digest(label)})"


def label_file(path: Path) -> str:
    """Label a file or folder by its path as it was said; of this machine's folders it tells no more than that."""
    return _show(path.name if path.is_absolute() else Path(os.path.normpath(path)).as_posix())


def find_place(path: Path) -> str:
    """Find the place of a file or folder: a digest of its path, which says nothing of this machine."""
    return _digest(path.resolve().as_posix())


def label_inputs(inputs: Iterable[MirrorInput]) -> list[MirrorInput]:
    """Label the inputs of one run, each otherwise; what was named twice is one input."""
    places: dict[str, str | None] = {}
    found: dict[str, MirrorInput] = {}
    for asked in inputs:
        if asked.path is None:
            asked.label = label_projects(str(line.requirement) for line in asked.requirements)
        else:
            asked.label = _choose_label(asked.path, places)
            places[asked.label] = find_place(asked.path)
        found.setdefault(asked.label, asked)
    return list(found.values())


def keep_apart(inputs: Iterable[MirrorInput], known: Places) -> Mapping[str, str]:
    """Label them as they are known in a mirror, apart from other files of their names; the new labels by the former ones."""
    places = dict(known)
    labels = {}
    for asked in inputs:
        former = asked.label
        if asked.path is not None:
            asked.label = _choose_label(asked.path, places)
            places[asked.label] = find_place(asked.path)
        labels[former] = asked.label
    return labels


def recognise(inputs: Iterable[MirrorInput], known: Places) -> None:
    """Label them as they are known in a mirror, if they are; what was carried elsewhere goes by the name it has."""
    for asked in inputs:
        if asked.path is not None:
            asked.label = _find_label(asked.path, known) or asked.label


def choose_labels(brought: Places, known: Places) -> dict[str, str]:
    """Choose the labels here of inputs from elsewhere, by their labels there."""
    chosen = {}
    for label, place in brought.items():
        own = next((each for each, other in known.items() if place is not None and other == place), None)
        chosen[label] = own or (_choose_free(iter([label]), place, known) if place is not None else label)
    return chosen


def _find_label(path: Path, known: Places) -> str | None:
    """Find the label that this very file is known by."""
    place = find_place(path)
    return next((label for label, other in known.items() if other == place), None)


def _choose_label(path: Path, known: Places) -> str:
    """Choose the label that this very file is known by, else the shortest that no other file is known by."""
    return _find_label(path, known) or _choose_free(_list_labels(path), find_place(path), known)


def _choose_free(labels: Iterator[str], place: str, known: Places) -> str:
    first = label = next(labels)
    while known.get(label) not in (None, place):
        if (longer := next(labels, None)) is None:
            return f"{first} ({place[:_SHOWN_DIGITS]})"
        label = longer
    return label


def _list_labels(path: Path) -> Iterator[str]:
    """List the label as it was said, and then ever longer ends of the whole path."""
    yield label_file(path)
    parts = path.resolve().parts
    for count in range(2, len(parts)):
        yield _show("/".join(parts[-count:]))


def _show(name: str) -> str:
    """Show the name of a file, whose bytes need not be text, as text that a manifest can have."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

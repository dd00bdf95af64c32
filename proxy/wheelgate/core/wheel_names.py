"""Wheel names: the one reader of them, for whoever wants more than the project (PEP 427, and PEP 825 for variants)."""

from __future__ import annotations

import re

import msgspec
from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidWheelFilename, NormalizedName, parse_wheel_filename
from packaging.version import Version

_PYTHON_TAG = re.compile(r"[a-z]+\d\w*(\.[a-z]+\d\w*)*", re.ASCII)
_LABEL = re.compile(r"[0-9a-z_.]+", re.ASCII)


class WheelName(msgspec.Struct, frozen=True):
    """The parts of a wheel's name. Equal for two spellings of one name."""

    project: NormalizedName
    version: Version
    build: BuildTag
    tags: frozenset[Tag]
    label: str | None
    """Of a variant wheel; ``None``: it is none. Installers that know no variants take no wheel that has one."""


def parse_wheel_name(filename: str) -> WheelName:
    """Read the name of a wheel, variant or not.

    Raises:
        ValueError: it is none (``InvalidWheelFilename``), or has a number of thousands of digits.
    """
    plain, label = split_label(filename)
    return WheelName(*parse_wheel_filename(plain), label)


def split_label(filename: str) -> tuple[str, str | None]:
    """Split a wheel's name into that of the wheel that is no variant, and the label; ``None``: it has no place for one.

    The label stands last, behind the three tags, of which the first is for a Python: ``py3``, ``cp311``, ``py2.py3``.

    Raises:
        InvalidWheelFilename: in its place stands something else.
    """
    fields = filename.removesuffix(".whl").split("-")
    if not filename.endswith(".whl") or len(fields) not in (6, 7) or not _PYTHON_TAG.fullmatch(fields[-4]):
        return filename, None
    *plain, label = fields
    if not _LABEL.fullmatch(label):
        raise InvalidWheelFilename(f"{label[:40]!r} is not a variant's label")
    return f"{'-'.join(plain)}.whl", label


def is_python_tag(field: str) -> bool:
    """True if a field is a Python tag: ``py3``, ``cp311``, ``py2.py3``."""
    return _PYTHON_TAG.fullmatch(field) is not None


def is_variant(filename: str) -> bool:
    """True if the name is that of a variant wheel."""
    try:
        return split_label(filename)[1] is not None
    except InvalidWheelFilename:
        return False


def python_tag_of(filename: str) -> str | None:
    """The Python tag in a wheel's name, without reading the rest of it; ``None``: it has no place for one."""
    try:
        fields = split_label(filename)[0].split("-")
    except InvalidWheelFilename:
        return None
    return fields[-3] if len(fields) in (5, 6) else None

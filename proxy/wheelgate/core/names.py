"""Project names and file names: their one validation and one normalisation, before any decision is made with either.

Two normalisers in one server are a hole (one route asks for ``Foo``, another checks ``foo``); so is a name that reaches a
path before it was checked. Everything that comes from a client or an upstream passes through here first.
"""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.utils import canonicalize_version, parse_sdist_filename
from packaging.version import Version

from wheelgate.core.wheel_names import parse_wheel_name

_PROJECT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", re.ASCII)
_LONGEST_NAME = 200
_NORMALISED = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
SEPARATORS = re.compile(r"[-_.]+")
# No '%': a client that decodes twice would see another name (pip CVE-2026-13346). No '#', '?', '"', '<', '>', '&', "'":
# nothing that ends a URL path or needs escaping in a page. A space and ',' occur in legacy files on public PyPI.
# `.metadata` and `.provenance` are what is served beside a file.
_FILENAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9._+!~=,@() -]{0,253}[A-Za-z0-9)](?<!\.(?i:metadata))(?<!\.(?i:provenance))", re.ASCII
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._+!~=,@() -]|\.(?=\.)", re.ASCII)
_SHOWN = 200
_PLATFORM = re.compile(r"\.(win32|win|linux|macosx)[^-]*$")
# Those that pip unpacks, one of uv's own, and ``.tar.Z``, which only the oldest did.
_SDIST_ENDINGS = (
    *(".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.z", ".tar"),
    *(".tbz", ".txz", ".tlz", ".tar.lz", ".tar.lzma", ".tar.zst"),
)
OTHER_ENDINGS = (".egg", ".exe", ".msi", ".rpm", ".dmg", ".deb")
_LONGEST_ENDING = max(map(len, (*_SDIST_ENDINGS, *OTHER_ENDINGS)))


def normalise_name(name: str) -> str | None:
    """The PEP 503 form of a project name, or ``None`` if it is not a valid name.

    A name is ASCII letters, digits, ``.``, ``_`` and ``-``, begins and ends with a letter or digit, and has at most 200
    characters (PEP 508 sets the alphabet; the length is ours).
    """
    return _normalise(name) if len(name) <= _LONGEST_NAME else None  # an upstream's page may state megabytes as its name


@lru_cache(maxsize=8_192)  # of one page's files, nearly all begin with the same spelling
def _normalise(name: str) -> str | None:
    return SEPARATORS.sub("-", name).lower() if _PROJECT.fullmatch(name) else None


def is_normalised(name: str) -> bool:
    """True if the name is valid and in its PEP 503 form. Nothing is remembered of it: there may be very many."""
    return len(name) <= _LONGEST_NAME and _NORMALISED.fullmatch(name) is not None


def is_safe_filename(filename: str) -> bool:
    """True if the name can stand in a URL, a page, a header and a folder without quoting tricks."""
    return _FILENAME.fullmatch(filename) is not None and ".." not in filename


def make_safe_filename(filename: str) -> str:
    """Name a file by something that can stand where file names do: itself, if it can."""
    if is_safe_filename(filename):
        return filename
    name = _UNSAFE.sub("_", filename[: _SHOWN + 1])[:_SHOWN]  # an upstream's page may state megabytes as one
    return name if is_safe_filename(name) else "unnamed"


def show_any(text: str) -> str:
    """Show a name or path that may have any characters, and any number of them."""
    return "".join(character if " " <= character <= "~" else "?" for character in text[:_SHOWN])


def is_distribution(filename: str) -> bool:
    """True if the name ends like a distribution file of any age, and not like a signature or a page beside it."""
    # Of its end: an upstream's page may state megabytes as one.
    return filename[-_LONGEST_ENDING:].lower().endswith((".whl", *_SDIST_ENDINGS, *OTHER_ENDINGS))


def is_index_document(filename: str) -> bool:
    """True if the name is that of a version's list of variants (PEP 825): ``{name}-{version}-variants.json``.

    The index writes it, and writes it anew when a variant is added: of all names it alone may change its content.
    """
    return filename.endswith("-variants.json") and filename.count("-") == 2


def is_listable(filename: str) -> bool:
    """True if the name may stand on a page: a distribution file's, or an index document's."""
    return is_distribution(filename) or is_index_document(filename)


def parse_head(filename: str) -> str | None:
    """The name that a wheel (PEP 427) or sdist (PEP 625) has before its version, in any spelling; ``None``: it is neither."""
    try:
        return parse_wheel_name(filename).project if filename.endswith(".whl") else parse_sdist_filename(filename)[0]
    except ValueError:  # InvalidWheelFilename, InvalidSdistFilename, or a number of thousands of digits
        return None


def _parse_document_head(filename: str) -> str:
    return filename.partition("-")[0]


def project_in(filename: str) -> str | None:
    """The project that a wheel, an sdist or an index document says it belongs to; ``None`` for any other or unsafe name."""
    parse = _parse_document_head if is_index_document(filename) else parse_head
    head = parse(filename) if is_safe_filename(filename) else None
    return None if head is None else normalise_name(head)  # packaging reads more than PEP 508 allows


def without_sdist_ending(filename: str) -> str | None:
    """The part of an sdist's name before ``.tar.gz`` and its older siblings, or ``None``."""
    lowered = filename[-_LONGEST_ENDING:].lower()
    for ending in _SDIST_ENDINGS if lowered.endswith(_SDIST_ENDINGS) else ():
        if lowered.endswith(ending):
            return filename[: -len(ending)]
    return None


def version_of(filename: str, project: str) -> str | None:
    """The version a file name states, canonical where PEP 440 can read it, as written where it cannot.

    ``None`` if the name has no place for one. The second field of a wheel (PEP 427), the last of an sdist (PEP 625), what
    follows the project's name in anything else.
    """
    if filename.endswith(".whl"):
        fields = filename[:-4].split("-")
        return _canonical(fields[1].replace("_", "-")) if len(fields) >= 5 else None
    stem = without_sdist_ending(filename)
    rest = _after_project(stem or filename.rpartition(".")[0], project)
    if stem is None:
        rest = _PLATFORM.sub("", rest.partition("-")[0])  # demo-1.0-py2.7.egg, demo-1.0.win32-py2.7.exe
    return _canonical(rest) if rest else None


def _after_project(stem: str, project: str) -> str:
    for end in range(len(project), len(stem)):  # a name is never shorter than its normalised form
        if stem[end] in "-_." and normalise_name(stem[:end]) == project:
            return stem[end + 1 :]
    return ""


@lru_cache(maxsize=16_384)  # a version is listed with up to 1,000 characters
def same_version_key(version: str) -> str:
    """A key that is equal for every spelling of one version: ``1.0``, ``1.0.0`` and ``v1`` are the same."""
    try:
        return canonicalize_version(version)
    except ValueError:  # a number of thousands of digits
        return version


@lru_cache(maxsize=16_384)  # a version is listed with up to 1,000 characters
def _canonical(version: str) -> str:
    try:
        return str(Version(version))
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return version

"""Belonging: the one answer to which project a file is, by its name, and why installers do not take it, if they do not.

Pages, folders, containers, releases and our own store all ask here. A private source's file claims its project also if nobody
could install it: were an egg or a misnamed wheel nobody's, a public index would be asked for the name. So what is not read as
installers read it is guessed at, from what stands before something like a version. Without one nothing is guessed:
``docs.zip`` is no release of a project, and must not take a public one down.

A name with several dashes may be read in several ways: ``legacy-name-1.3-1.tar.gz`` is 1.3.post1 of ``legacy-name``, and 1 of
``legacy-name-1.3``. pip takes it for either of them, on the page of either, so it is a file of both. It is none of ``legacy``:
``name-1.3-1`` is no version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec
from packaging.version import Version

from wheelgate.core.names import (
    OTHER_ENDINGS,
    SEPARATORS,
    is_index_document,
    is_listable,
    is_safe_filename,
    normalise_name,
    without_sdist_ending,
)
from wheelgate.core.wheel_names import is_python_tag, parse_wheel_name

_BEFORE_DOTTED = re.compile(r"(?<=[A-Za-z0-9])[-_. ]*[-_ ][vV]?\d+\.\d", re.ASCII)
_NUMBER = re.compile(r"[vV]?\d", re.ASCII)
_UNREAD_ENDINGS = (".tar.z",)
_LONGEST = 255
"""Characters of a name that can stand on a page. Of a longer one, which no installer is ever offered, as much is read."""
_SURE_ENDINGS = (".whl", ".egg")

_UPPER_CASE = "installers know its ending in lower case alone: rename it"
_NO_WHEEL_NAME = "it is not named as wheels are, NAME-VERSION-PYTHON-ABI-PLATFORM.whl: rename it, or build it again"
_NO_PROJECT = "its name tells no project: name it NAME-VERSION, and then what files of its kind have behind that"
_NO_VERSION = "its name has no version that installers read: name it NAME-VERSION, and then its ending"
_ODD_CHARACTERS = "its name has characters that no page of an index can have: use letters, digits and . _ + ! ~ - only"
_TOO_LONG = f"its name is longer than {_LONGEST} characters: give it a shorter one"


class Belonging(msgspec.Struct, frozen=True):
    """The projects that a file is one of, and whether it can be offered."""

    projects: tuple[str, ...] = ()
    """Normalised, that of the shortest name first. Empty: it is no distribution file, or of no project that could be told."""
    obstacle: str | None = None
    """Why no installer takes a file of this name, in words that may follow a colon; ``None``: there is nothing to say."""


_NOBODYS = Belonging()


def read_belonging(filename: str) -> Belonging:
    """Read whose a file is, as far as its name tells."""
    lowered = filename[-_LONGEST:].lower()
    if len(filename) > _LONGEST:
        return Belonging(tuple(_guess_wheel(filename[:_LONGEST])), _TOO_LONG) if is_listable(lowered) else _NOBODYS
    if lowered.endswith(".whl"):
        found = _read_wheel(filename)
    elif (stem := without_sdist_ending(filename)) is not None:
        found = _read_sdist(stem, filename[len(stem) :])
    elif lowered.endswith(OTHER_ENDINGS):
        found = _read_other(*filename.rsplit(".", 1))
    elif is_index_document(filename):
        project = normalise_head(filename.partition("-")[0])
        found = _NOBODYS if project is None else Belonging((project,))
    else:
        return _NOBODYS
    if found.projects and not is_safe_filename(filename):
        return Belonging(found.projects, explain_unsafe(filename))
    return found


def explain_unsafe(filename: str) -> str:
    """Explain why a name cannot stand on a page, in words that may follow a colon."""
    return _TOO_LONG if len(filename) > _LONGEST else _ODD_CHARACTERS


def explain_nobodys(filename: str) -> str | None:
    """Explain why a file is of no project, in words that may follow a colon; ``None``: it may be no distribution file at all."""
    # Archives may be anything; what begins with a dot is hidden, as what other programs put beside a file is.
    is_sure = filename[-_LONGEST:].lower().endswith(_SURE_ENDINGS) and not filename.startswith(".")
    return _NO_PROJECT if is_sure and not read_belonging(filename).projects else None


def find_obstacle(filename: str, project: str) -> str | None:
    """Find why a file among those of a project cannot be offered, in words that may follow a colon; ``None``: it can."""
    found = read_belonging(filename)
    if found.obstacle is None and project not in found.projects:
        return f"it lies among the files of {project}, and is not named as one: put it where it belongs"
    return found.obstacle


def _read_wheel(filename: str) -> Belonging:
    stem, is_lower = filename[:-4], filename.endswith(".whl")
    try:
        project = normalise_name(parse_wheel_name(f"{stem}.whl").project)
    except ValueError:  # InvalidWheelFilename, or a number of thousands of digits
        project = None
    if project is None:  # also of acme_-1.0-py3-none-any.whl, which PEP 427 allows and PEP 508 does not
        return Belonging(tuple(_guess_wheel(stem)), _NO_WHEEL_NAME)
    return Belonging((project,), None if is_lower else _UPPER_CASE)


def _guess_wheel(stem: str) -> Iterator[str]:
    """Guess the project of a wheel that is not named as one: what stands before its version, else before the tags and a field."""
    fields = stem.split("-")
    for at in range(1, len(fields)):
        if _is_version(fields[at].replace("_", "-")) and (project := _guess_head("-".join(fields[:at]))) is not None:
            yield project
            return
    if guessed := _guess(stem):
        yield from guessed
    elif len(fields) > 3 and is_python_tag(fields[-3]):
        project = _guess_head("-".join(fields[:-4]) or fields[0])
        yield from () if project is None else (project,)


def _read_sdist(stem: str, ending: str) -> Belonging:
    lowered = ending.lower()
    obstacle = None
    if lowered in _UNREAD_ENDINGS:
        obstacle = f"no installer unpacks {ending}: pack it as .tar.gz"
    elif ending != lowered:
        obstacle = _UPPER_CASE
    if projects := _split(stem, "-", normalise_head):
        return Belonging(projects, obstacle)
    return Belonging(_guess_archive(stem), _NO_VERSION)


def _read_other(stem: str, ending: str) -> Belonging:
    projects = _split(stem, "-", normalise_head) or _guess_archive(stem)
    return Belonging(projects, f"no installer takes .{ending} files: put a wheel or an sdist there")


def _guess_archive(stem: str) -> tuple[str, ...]:
    """Guess the projects of an archive that is not named as one. ``acme-1.0.linux-x86_64`` has no version 64."""
    return _guess(stem) or _split(stem, "-_ ", _guess_head)


def _split(stem: str, separators: str, read_head: Callable[[str], str | None]) -> tuple[str, ...]:
    """Split at each separator that has a version behind it: the names before, normalised."""
    heads = (stem[:at] for at, character in enumerate(stem) if character in separators and _is_version(stem[at + 1 :]))
    return tuple(dict.fromkeys(filter(None, map(read_head, heads))))


def _guess(stem: str) -> tuple[str, ...]:
    """Guess the projects by what looks like a version to people, and begins behind a dash, an underscore or a space."""
    heads = (stem[: found.start()] for found in _BEFORE_DOTTED.finditer(stem))
    return tuple(dict.fromkeys(filter(None, map(normalise_head, heads))))


def _guess_head(head: str) -> str | None:
    """Normalise what stands before a version, and need not end as names do."""
    return normalise_head(head.rstrip("-_. "))


def normalise_head(head: str) -> str | None:
    """Normalise what stands before a version: any number of separators is one; ``None``: it is no name."""
    return normalise_name(SEPARATORS.sub("-", head))


def _is_version(text: str) -> bool:
    if not _NUMBER.match(text):
        return False
    try:
        Version(text)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return False
    return True


class Membership:
    """The file names that a page of one project may have.

    Those that are read as files of it; and, whoever's they are guessed to be, those that no installer reads and that begin with
    its name: an index which puts eggs and odd versions on its page knows best whose they are.
    """

    def __init__(self, project: str) -> None:
        self._project = project
        self._prefix = project + "-"

    def __contains__(self, filename: str) -> bool:
        """True if the file is this project's."""
        # Nearly all are read at their first or last dash; the rest costs twenty times as much.
        if filename.endswith(".whl"):
            if self.is_own(filename.partition("-")[0]):
                return True
        elif (stem := without_sdist_ending(filename)) is not None:
            head, _, tail = stem.rpartition("-")
            if tail[:1].isdecimal() and self.is_own(head):
                return True
        found = read_belonging(filename)
        if self._project in found.projects:
            return True
        return (found.obstacle is not None or not found.projects) and self._starts(filename)

    def is_own(self, head: str) -> bool:
        """True if what stands before the version is this project's name, however it is spelled."""
        return normalise_name(head) == self._project

    def _starts(self, filename: str) -> bool:
        return SEPARATORS.sub("-", filename).lower().startswith(self._prefix)

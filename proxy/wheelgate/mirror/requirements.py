"""Requirements files as inputs of a mirror: requirements, constraints, hashes and options, from included files too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from wheelgate.core.belonging import find_obstacle
from wheelgate.core.errors import BadInput
from wheelgate.core.names import normalise_name, version_of
from wheelgate.distfiles.requirements_file import LineKind, ParsedLine, parse_line, read_text, split_lines
from wheelgate.mirror.inputs_model import InputRequirement, MirrorInput

_ADDRESS = re.compile(r"([a-z]+\+)?[a-z][a-z0-9.-]*://", re.IGNORECASE)
_FILE_URL = re.compile(r"/files/[^/]+/([^/]+)$")
_MAX_DEPTH = 20
_NOT_FROM_AN_INDEX = (
    "a URL or a path is not a file of an index: name the project and its version, and add the file to a source "
    "(`wheelgate wheel add`)"
)
_SELECTING = ("--no-binary", "--only-binary", "--all-releases", "--only-final")
_IGNORED = ("--no-index", "--require-hashes", "--no-require-hashes", "--hash", "--config-settings", "")
"""They say nothing about which files are wanted; pip passes over a word that belongs to no option."""
_FOR_PIP_ALONE = ("--index-url", "--extra-index-url", "--find-links", "--trusted-host", "--use-feature")


class RequirementsReader:
    """A reader of one input: it gathers requirements, constraints, options and notes from requirements files."""

    def __init__(self, asked: MirrorInput, environment: Mapping[str, str]) -> None:
        self.input = asked
        self._environment = environment
        self.files: set[Path] = set()
        """Every file read so far, resolved."""
        self._open: list[Path] = []

    def read_file(self, path: Path, *, constraints: bool = False, included_by: str = "") -> None:
        """Read a file, and those it includes; :class:`BadInput` if one cannot be read, or a line of it cannot be used."""
        text = read_text(path, included_by)
        resolved = path.resolve()  # of what could be read: other paths have none
        if resolved in self._open or len(self._open) > _MAX_DEPTH:
            raise BadInput(f"{included_by}: {path} includes itself")
        self.files.add(resolved)
        self._open.append(resolved)
        for line in split_lines(text):
            self.read_line(line.text, f"{path} line {line.number}", path.parent, constraints=constraints)
        self._open.pop()

    def read_line(self, text: str, where: str, folder: Path, *, constraints: bool = False) -> None:
        """Read one logical line, ``where`` for messages; what it includes is looked for in ``folder``. Raises as above."""
        line = parse_line(text, self._environment)
        if line.problem is not None:
            raise BadInput(f"{where}: {line.problem}")
        for each in line.options:
            if each.name in _SELECTING:  # of any line, beside a requirement too: so pip reads them, whatever it documents
                self.input.options.apply(each.name, each.value)
        match line.kind:
            case LineKind.REQUIREMENT | LineKind.URL:
                hashes = frozenset(value.lower() for value in line.values_of("--hash"))
                requirement = parse_requirement(line.requirement, where, hashes)
                (self.input.constraints if constraints else self.input.requirements).append(requirement)
            case LineKind.EDITABLE:
                raise BadInput(
                    f"{where}: an editable project is not a file of an index: build a wheel and add it with `wheelgate wheel add`"
                )
            case LineKind.REFERENCE:
                included = line.values_of("--requirement")  # pip reads the first, and constraints if there is none
                option, path = ("-r", included[0]) if included else ("-c", line.values_of("--constraint")[0])
                if not path:
                    raise BadInput(f"{where}: {option} needs a file")
                if _ADDRESS.match(path):
                    raise BadInput(f"{where}: {option} of a file on the web: download it and name the local file")
                self.read_file(folder / path, constraints=constraints or not included, included_by=where)
            case LineKind.OPTIONS:
                self._read_options(line, where)

    def _read_options(self, line: ParsedLine, where: str) -> None:
        for option in line.options:
            match option.name:
                case "--pre":
                    self.input.options.allow_all_releases()
                case "--prefer-binary":
                    self.input.notes.append(
                        f"{where}: --prefer-binary is ignored: the newest version is mirrored, if only as an sdist"
                    )
                case name if name in _FOR_PIP_ALONE:
                    self.input.notes.append(f"{where}: {name} is ignored: files come from the configured sources")
                case name if name not in (*_SELECTING, *_IGNORED):
                    raise BadInput(f"{where}: the option {name} is not supported")


def parse_requirement(text: str, where: str, hashes: frozenset[str] = frozenset()) -> InputRequirement:
    """Parse a requirement, without options or comment; :class:`BadInput` if it is none, or names no file of an index.

    A URL is not repeated: it may have a credential in it.
    """
    try:
        requirement = Requirement(text)
        if not str(requirement).isprintable():  # uv is given it as a line of a file
            raise InvalidRequirement(text)
    except ValueError:  # one of markers that cannot be written as text, too
        if "://" in text or "@" in text or text.startswith((".", "/")) or text.endswith((".whl", ".tar.gz", ".zip")):
            raise BadInput(f"{where}: {_NOT_FROM_AN_INDEX}") from None
        raise BadInput(f"{where}: {text[:200]!r} is not a requirement such as demo==1.0") from None
    if requirement.url is not None:
        requirement, digests = _pin_wheelgate_file(requirement, where)
        hashes |= digests
    project = normalise_name(requirement.name)
    if project is None:
        raise BadInput(f"{where}: {requirement.name[:200]!r} is not a project name")
    return InputRequirement(requirement, project, hashes, where)


def _pin_wheelgate_file(requirement: Requirement, where: str) -> tuple[Requirement, frozenset[str]]:
    """``demo @ https://HOST/files/demo/demo-1.0-...whl#sha256=...``, as `wheel add` prints it, is that version by its hash."""
    try:
        parts = urlsplit(requirement.url or "")
    except ValueError:
        raise BadInput(f"{where}: {_NOT_FROM_AN_INDEX}") from None
    match = _FILE_URL.search(unquote(parts.path))
    project = normalise_name(requirement.name)
    if match is None or project is None or find_obstacle(match[1], project) is not None:
        raise BadInput(f"{where}: {_NOT_FROM_AN_INDEX}")
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    algorithm, _, digest = parts.fragment.partition("=")
    digests = frozenset({f"sha256:{digest.lower()}"} if algorithm == "sha256" else ())
    return Requirement(f"{requirement.name}=={version_of(match[1], project)}{marker}"), digests

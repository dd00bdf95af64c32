"""Requirements files as pip documents them: continuations, comments, variables, ``-r``, ``-c``, hashes, markers, options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from wheelgate.core.errors import BadInput
from wheelgate.core.names import normalise_name, project_in
from wheelgate.mirror.inputs_model import Line, Options

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_HASH = re.compile(r"--hash[= ]+([a-z0-9_]+):([0-9a-fA-F]+)", re.ASCII)
_PER_LINE = re.compile(r"\s--[a-z]")
_ADDRESS = re.compile(r"([a-z]+\+)?[a-z][a-z0-9.-]*://", re.IGNORECASE)
_OUR_FILE = re.compile(r"/files/[^/]+/([^/]+)$")
_MAX_DEPTH = 20
_IGNORED_WITH_VALUE = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--use-feature")
_IGNORED = ("--no-index", "--require-hashes", "--prefer-binary")


class Reader:
    """Reads requirements files and what they include. One for each input: it gathers lines, constraints, options and notes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.lines: list[Line] = []
        self.constraints: list[Line] = []
        self.options = Options()
        self.notes: list[str] = []
        self._open: list[Path] = []

    def file(self, path: Path, *, constraints: bool = False, included_by: str = "") -> None:
        """Everything a file says, and the files it includes.

        Raises:
            BadInput: a file is missing or unreadable, or a line of it cannot be used.
        """
        if path.resolve() in self._open or len(self._open) > _MAX_DEPTH:
            raise BadInput(f"{included_by}: {path} includes itself")
        text = read_text(path, included_by)
        self._open.append(path.resolve())
        self.text(text, str(path), path.parent, constraints=constraints)
        self._open.pop()

    def text(self, text: str, name: str, folder: Path, *, constraints: bool = False) -> None:
        """The lines of a text. ``name``: what sentences call it; ``folder``: where the files that it includes are looked for."""
        for number, content in _logical_lines(text):
            self.line(self._expanded(content), f"{name} line {number}", folder, constraints=constraints)

    def line(self, content: str, where: str, folder: Path, *, constraints: bool = False) -> None:
        """One line, whole and without comments."""
        if content.startswith("-"):
            self._option(content, where, folder, constraints=constraints)
            return
        line = parsed_line(content, where)
        (self.constraints if constraints else self.lines).append(line)

    def _expanded(self, content: str) -> str:
        """Variables replaced; one that is not set stays as it is, as pip leaves it."""
        return _VARIABLE.sub(lambda match: self._environment.get(match[1]) or match[0], content)

    def _option(self, content: str, where: str, folder: Path, *, constraints: bool) -> None:
        option, value = _split_option(content)
        match option:
            case "-r" | "--requirement" | "-c" | "--constraint":
                if not value:
                    raise BadInput(f"{where}: {option} needs a file")
                if _ADDRESS.match(value):
                    raise BadInput(f"{where}: {option} of a file on the web: fetch it, and name the file")
                self.file(folder / value, constraints=constraints or option in ("-c", "--constraint"), included_by=where)
            case "-e" | "--editable":
                raise BadInput(
                    f"{where}: an editable project is no file of an index: build a wheel of it and `wheelgate wheel add` it"
                )
            case "--no-binary":
                self.options = self.options.with_(Options(no_binary=_names(value)))
            case "--only-binary":
                self.options = self.options.with_(Options(only_binary=_names(value)))
            case "--pre":
                self.options = self.options.with_(Options(pre=True))
            case _ if option in _IGNORED_WITH_VALUE:
                self.notes.append(f"{where}: {option} is passed over: files come from the configured sources")
            case _ if option in _IGNORED:
                pass  # says nothing about which files are wanted
            case _:
                raise BadInput(f"{where}: the option {option} is not known")


def parsed_line(content: str, where: str) -> Line:
    """A requirement with its hashes.

    Raises:
        BadInput: it is none, or names no file of an index.
    """
    hashes = frozenset(f"{algorithm}:{digest.lower()}" for algorithm, digest in _HASH.findall(content))
    options = _PER_LINE.search(content)
    content = content[: options.start()] if options else content
    try:
        requirement = Requirement(content)
    except InvalidRequirement:
        if _ADDRESS.match(content) or content.startswith((".", "/")) or content.endswith((".whl", ".tar.gz", ".zip")):
            raise _not_from_an_index(where) from None
        raise BadInput(f"{where}: {content[:200]!r} is not a requirement such as demo==1.0") from None
    if requirement.url is not None:
        requirement, digest = _of_our_file(requirement, where)
        hashes |= digest
    project = normalise_name(requirement.name)
    if project is None:
        raise BadInput(f"{where}: {requirement.name!r} is not a project name")
    return Line(requirement, project, hashes, where)


def _of_our_file(requirement: Requirement, where: str) -> tuple[Requirement, frozenset[str]]:
    """``demo @ https://HOST/files/demo/demo-1.0-...whl#sha256=...``, as `wheel add` prints it, is that version by its hash."""
    parts = urlsplit(requirement.url or "")
    match = _OUR_FILE.search(unquote(parts.path))
    project = project_in(match[1]) if match else None
    if match is None or project is None or project != normalise_name(requirement.name):
        raise _not_from_an_index(where)
    parse = parse_wheel_filename if match[1].endswith(".whl") else parse_sdist_filename
    version = parse(match[1])[1]
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    algorithm, _, digest = parts.fragment.partition("=")
    return Requirement(f"{requirement.name}=={version}{marker}"), frozenset(
        {f"sha256:{digest.lower()}"} if algorithm == "sha256" else ()
    )


def _not_from_an_index(where: str) -> BadInput:
    return BadInput(
        f"{where}: a URL or a path is no file of an index: name the project and its version, and put the file into a source "
        "(`wheelgate wheel add`)"
    )


def read_text(path: Path, included_by: str = "") -> str:
    """A text file, whatever byte-order mark it begins with.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    before = f"{included_by}: " if included_by else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{before}{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise BadInput(f"{before}{path}: is not UTF-8 text") from None
    except OSError as error:
        raise BadInput(f"{before}{path}: cannot be read: {(error.strerror or '').lower()}") from None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined over a backslash at their end, without comments, with the number of their first line."""
    joined, first = "", 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        first = first or number
        is_comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not is_comment:
            joined += line[:-1]
            continue
        content = _COMMENT.sub("", joined + (f" {line}" if is_comment else line)).strip()
        if content:
            yield first, content
        joined, first = "", 0


def _split_option(content: str) -> tuple[str, str]:
    try:
        words: Sequence[str] = shlex.split(content)
    except ValueError:
        words = content.split()
    option, equals, value = words[0].partition("=")
    if not equals and not option.startswith("--") and len(option) > 2:  # -rother.txt
        option, value = option[:2], option[2:]
    return option, value or " ".join(words[1:])


def _names(value: str) -> frozenset[str]:
    names = {name.strip() for name in value.split(",")} - {"", ":none:"}
    return frozenset(name if name == ":all:" else normalise_name(name) or name for name in names)

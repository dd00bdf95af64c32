"""Places in commands and variables, wherever people write those: shells, Dockerfiles, pipelines, environment files.

Nothing here parses a shell. A URL is a place if what stands before it on its command means one thing, in any shell, and if it
ends where any shell ends it; every other URL is passed over, and left to those who look for leftovers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterator, Mapping

import msgspec

from wheelgate.rewrite.places import Edit, Place, PlaceKind

_INDEX, _EXTRA, _LINKS = PlaceKind.INDEX, PlaceKind.EXTRA, PlaceKind.LINKS
Setting = tuple[PlaceKind, str]
"""The kind of a setting's values, and the name of the one that says the same of the index asked first; empty: it has none."""
_OPTIONS: dict[str, Setting] = {
    "--index-url": (_INDEX, ""),
    "--pypi-url": (_INDEX, ""),
    "--default-index": (_INDEX, ""),
    "-i": (_INDEX, ""),
    "--extra-index-url": (_EXTRA, "--index-url"),
    "--index": (_EXTRA, "--default-index"),
    "--publish-url": (PlaceKind.UPLOAD, ""),
    "--repository-url": (PlaceKind.UPLOAD, ""),
    "--find-links": (_LINKS, "--index-url"),
    "-f": (_LINKS, "-i"),
    "global.index-url": (_INDEX, ""),
    "global.extra-index-url": (_EXTRA, "global.index-url"),
    "global.find-links": (_LINKS, "global.index-url"),
    "install.index-url": (_INDEX, ""),
    "install.extra-index-url": (_EXTRA, "install.index-url"),
    "install.find-links": (_LINKS, "install.index-url"),
}
VARIABLES: dict[str, Setting] = {
    "PIP_INDEX_URL": (_INDEX, ""),
    "PIP_EXTRA_INDEX_URL": (_EXTRA, "PIP_INDEX_URL"),
    "PIP_FIND_LINKS": (_LINKS, "PIP_INDEX_URL"),
    "UV_INDEX_URL": (_INDEX, ""),
    "UV_DEFAULT_INDEX": (_INDEX, ""),
    "UV_EXTRA_INDEX_URL": (_EXTRA, "UV_INDEX_URL"),
    "UV_INDEX": (_EXTRA, "UV_DEFAULT_INDEX"),
    "UV_FIND_LINKS": (_LINKS, "UV_DEFAULT_INDEX"),
    "PDM_PYPI_URL": (_INDEX, ""),
    "PIPENV_PYPI_MIRROR": (_INDEX, ""),
    "UV_PUBLISH_URL": (PlaceKind.UPLOAD, ""),
    "TWINE_REPOSITORY_URL": (PlaceKind.UPLOAD, ""),
}
"""The variables that installers read."""

# A reference to a variable may stand in a URL, whatever characters it has in its own syntax.
_REFERENCE = r"\$\{\{[^}\n]*\}\}|\$\{[^}\n]*\}|\$\([A-Za-z_][\w.]*\)|\{\{[^}\n]*\}\}"
_URL = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]{{0,30}}://(?:{_REFERENCE}|&(?![&\s]|$)|[^\s\"'`<>|()\\,\]}};{{&])+")
_EXPRESSION = re.compile(r"\$\{\{[^}\n]*\}\}|\{\{[^}\n]*\}\}")
_BETWEEN = r"(?P<between>\s*=\s*|[\"']\s*,\s*|(?:\s|\\\r?\n)+)(?P<quote>\\?[\"']?)"
_OPTION = re.compile(
    rf"(?<![\w.-])(?P<name>{'|'.join(sorted(map(re.escape, _OPTIONS), key=len, reverse=True))}){_BETWEEN}(?:[A-Za-z0-9_-]+=)?$"
)
_VARIABLE = re.compile(
    rf"(?<![\w])(?P<name>{'|'.join(sorted(VARIABLES, key=len, reverse=True))})[\"']?"
    r"(?P<between>\s*\+?=\s*|\s*:\s*|:?[-=]|\]|[ \t]+)"
    r"(?P<quote>\\?[\"']?)(?:\$\{?\w+\}?\s+)?(?P<others>(?:[^\s\"']+://[^\s\"']+\s+)*)(?:[A-Za-z0-9_-]+=)?$"
)
_INSTALLER = re.compile(r"(?<![\w./-])(?:pip[\d.]*|pipx|pip-sync|pip-compile|uv|uvx|pdm|poetry|pipenv)[\"']?(?:\s|,|\\\r?\n)")
_REQUIREMENT = re.compile(r"(?:[\s\"'@])$")
_STAGE = re.compile(r"^FROM\s", re.MULTILINE | re.IGNORECASE)
_COMMAND_END = re.compile(r"&&|\|\||[;|]|(?<!\\)\r?\n|(?<=\\\\)\r?\n")
_JOINED_END = re.compile(r"&&|\|\||[;|]")
_COMMENT_LINE = re.compile(r"[ \t]*#")
_LONGEST_BEFORE = 4_096
"""The most that is looked at before a URL; a command that is longer is left to people."""
_ENDS = re.compile(r"$|[\s\"'`)\]},<>;|&]|\\(?:[\"'n]|\r?\n)")


def find_shell_places(
    text: str, start: int = 0, end: int | None = None, *, scope: Hashable = "", joins: bool = False
) -> list[Place]:
    """Find the places in a piece of a text, commands and variables alike. ``joins``: line ends in it are blanks."""
    region = text[start:end]
    ends = [0, *(match.end() for match in (_JOINED_END if joins else _COMMAND_END).finditer(region))]
    stages = [match.start() for match in _STAGE.finditer(region)]
    found = []
    for match in _URL.finditer(region):
        begin = ends[bisect_right(ends, match.start()) - 1]
        if _COMMENT_LINE.match(region, region.rfind("\n", 0, match.start()) + 1):
            continue
        where = (scope, bisect_right(stages, match.start()))
        place = _judge(region, begin, match, where, start + begin)
        found += [_move(place, start)] if place is not None else []
    return found


def find_variable_places(
    raw: str, at: int, name: str, name_span: tuple[int, int], *, scope: Hashable, settings: Mapping[str, Setting] = VARIABLES
) -> list[Place]:
    """Find the places in the value of one setting, whose raw characters and name stand at places of their own."""
    kind, first = settings[name]
    found: list[Place] = []
    for match in _URL.finditer(raw):
        if _ends_well(raw, match, ""):
            place = Place(
                kind=kind,
                start=match.start(),
                end=match.end(),
                text=_plain(match[0]),
                scope=(scope, name.partition("_")[0] if settings is VARIABLES else ""),
                setting=name_span,
                removal=_remove_value(raw, match, kind, is_first=not found, may_be_empty=True),
            )
            moved = _move(place, at)
            found.append(msgspec.structs.replace(moved, promotion=(Edit(*name_span, first),) if first else None))
    return found


def _judge(region: str, begin: int, match: re.Match[str], scope: Hashable, command: int) -> Place | None:
    """Judge a URL; ``command``: the place in the whole text that its command begins at."""
    begin = max(begin, match.start() - _LONGEST_BEFORE)
    before, url = region[begin : match.start()], _plain(match[0])
    if option := _OPTION.search(before):
        name, first = option["name"], _OPTIONS[option["name"]][1]
        if len(name) == 2 and not _INSTALLER.search(before):
            return None
        if not _ends_well(region, match, option["quote"] or _quote_before(before)):
            return None
        span = (begin + option.start("name"), begin + option.end("name"))
        promotion = (Edit(*span, first),) if first else None
        removal = _remove_option(region, begin, option, match)
        kind = _OPTIONS[name][0]
        return Place(
            kind=kind,
            start=match.start(),
            end=match.end(),
            text=url,
            scope=(scope, command),
            promotion=promotion,
            removal=removal,
        )
    if variable := _VARIABLE.search(before):
        if not _ends_well(region, match, variable["quote"] or _quote_before(before)):
            return None
        kind, first = VARIABLES[variable["name"]]
        span = (begin + variable.start("name"), begin + variable.end("name"))
        is_default = before[: variable.start()].endswith("${")
        return Place(
            kind=kind,
            start=match.start(),
            end=match.end(),
            text=url,
            scope=(scope, variable["name"].partition("_")[0]),
            setting=span,
            promotion=(Edit(*span, first),) if first and not is_default else None,
            removal=_remove_value(region, match, kind, is_first=not variable["others"], may_be_empty="=" in variable["between"]),
        )
    if _INSTALLER.search(before) and _REQUIREMENT.search(before) and _ends_well(region, match, _quote_before(before)):
        return Place(kind=PlaceKind.FILE, start=match.start(), end=match.end(), text=url)
    return None


def _quote_before(before: str) -> str:
    """The quote that a word before its URL was opened with: it may begin with a name and an ``@``."""
    opened = re.search(r"""(["'])[^"']*$""", before)
    return opened[1] if opened and len(re.findall(opened[1], before)) % 2 else ""


def _ends_well(region: str, match: re.Match[str], quote: str) -> bool:
    """Say whether the URL ends where it ends for every reader: a quote that was opened is closed, or a blank follows."""
    if not _ENDS.match(region, match.end()):
        return False
    rest = region[match.end() : match.end() + 3].lstrip("}")  # of ${NAME:-URL}
    if not quote:
        return not rest.startswith(("'", '"'))
    return rest.startswith(quote) or rest[:1].isspace()


def _remove_option(region: str, begin: int, option: re.Match[str], match: re.Match[str]) -> Edit | None:
    """Remove an option with the blanks before it, continuations included; ``None`` where a quote spans more than its value."""
    start, end, quote = begin + option.start("name"), match.end(), option["quote"]
    if "," in option["between"]:
        return None
    if quote:
        if not region.startswith(quote, end):
            return None
        end += len(quote)
    lead = re.search(r"(?:[ \t]|\\\r?\n)+$", region[begin:start])
    if lead is None or not re.match(r"\s|$|\\|[;&|)]", region[end : end + 1]):
        return None
    return Edit(begin + lead.start(), end, "")


def _remove_value(region: str, match: re.Match[str], kind: PlaceKind, *, is_first: bool, may_be_empty: bool) -> Edit | None:
    """Remove one of several values with the blanks before it, or the only one where nothing may stand in its place."""
    if not is_first:
        return Edit(len(region[: match.start()].rstrip()), match.end(), "")
    return Edit(match.start(), match.end(), "") if kind is _LINKS and may_be_empty else None


def _plain(url: str) -> str:
    """The URL with references that have blanks in them written as one that has none."""
    return _EXPRESSION.sub("${EXPRESSION}", url)


def _move(place: Place, by: int) -> Place:
    def shift(edit: Edit) -> Edit:
        return Edit(edit.start + by, edit.end + by, edit.text)

    return msgspec.structs.replace(
        place,
        start=place.start + by,
        end=place.end + by,
        setting=None if place.setting is None else (by, place.setting),
        promotion=None if place.promotion is None else tuple(map(shift, place.promotion)),
        removal=None if place.removal is None else shift(place.removal),
    )


def list_urls(text: str) -> Iterator[re.Match[str]]:
    """All URLs of a text, as commands have them."""
    return _URL.finditer(text)

"""Parser of request paths: parsed once, from the bytes on the wire, before anything is looked up.

Frameworks decode ``%2f`` before they route, and hand ``../`` to whoever joins paths. Here the raw path is split first, each
segment decoded once, and only names that could exist go on.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec

from wheelgate.core.names import is_safe_filename, normalise_name

_MAX_PATH = 2_000
_VERSION = re.compile(r"[A-Za-z0-9._+!~-]{1,200}", re.ASCII)


class Route(Enum):
    """A family of URLs."""

    LIST = auto()
    PROJECT = auto()
    JSON_API = auto()
    FILE = auto()
    METADATA = auto()
    PROVENANCE = auto()
    UPLOAD = auto()
    LIVEZ = auto()
    READYZ = auto()
    METRICS = auto()
    EXPLAIN = auto()
    HOME = auto()
    NOTHING = auto()


class ParsedPath(msgspec.Struct, frozen=True):
    """The meaning of a path."""

    route: Route
    project: str = ""
    """Normalised."""
    filename: str = ""
    version: str = ""
    """As written; only for the JSON API. Empty: the project as a whole."""
    canonical: str | None = None
    """Where the client should look instead: the normalised name, the slash at the end."""


_NOTHING = ParsedPath(Route.NOTHING)
_PROBES = {f"/{route.name.lower()}": ParsedPath(route) for route in (Route.LIVEZ, Route.READYZ, Route.METRICS)}


def find_parameter(raw_query: str, name: str) -> str | None:
    """Find the first parameter of this name in a raw query; ``None``: there is none, or it is empty.

    ``+`` is itself, not a space as in forms: versions have it, and content types.
    """
    parts = (part.partition("=") for part in raw_query.split("&"))
    return next((unquote(value) for key, _, value in parts if key == name and value), None)


def parse_path(raw_path: str, prefix: str) -> ParsedPath:
    """Parse a raw request path (no query) below ``prefix``. What cannot exist means nothing."""
    if raw_path in _PROBES:
        return _PROBES[raw_path]  # whoever probes a process need not know where its index is
    if len(raw_path) > _MAX_PATH or not raw_path.startswith(prefix):
        return _NOTHING
    inner = raw_path[len(prefix) :]
    if inner and not inner.startswith("/"):
        return _NOTHING
    segments = []
    for raw in inner.split("/"):
        if raw:  # doubled slashes are what a URL setting with a slash at the end makes; every index accepts them
            segment = _decode(raw)
            if segment is None:
                return _NOTHING
            segments.append(segment)
    return _match(segments, prefix, slash=inner.endswith("/"))


def _match(segments: list[str], prefix: str, *, slash: bool) -> ParsedPath:
    match segments:
        case []:
            return ParsedPath(Route.HOME)
        case ["simple"]:
            return ParsedPath(Route.LIST, canonical=None if slash else f"{prefix}/simple/")
        case ["simple", name]:
            project = normalise_name(name)
            if project is None:
                return _NOTHING
            exact = slash and project == name
            return ParsedPath(Route.PROJECT, project, canonical=None if exact else f"{prefix}/simple/{project}/")
        case ["legacy", "+simple", name] | ["explain", name]:
            project = normalise_name(name)
            route = Route.EXPLAIN if segments[0] == "explain" else Route.PROJECT
            return _NOTHING if project is None else ParsedPath(route, project)
        case ["files", name, filename] if not slash:  # a file is no folder
            return _match_file(normalise_name(name), filename)
        case ["pypi", name, *version, "json"] if len(version) < 2:
            return _match_json_api(name, "".join(version), prefix)
        case ["legacy"]:
            return ParsedPath(Route.UPLOAD)
        case [probe]:
            return _PROBES.get(f"/{probe}", _NOTHING)
    return _NOTHING


def _match_json_api(name: str, version: str, prefix: str) -> ParsedPath:
    project = normalise_name(name)
    if project is None or (version and not _VERSION.fullmatch(version)):
        return _NOTHING
    parts = [project, version] if version else [project]
    canonical = None if project == name else f"{prefix}/pypi/{'/'.join(map(quote, parts))}/json"
    return ParsedPath(Route.JSON_API, project, version=version, canonical=canonical)


def _match_file(project: str | None, filename: str) -> ParsedPath:
    route = Route.FILE
    for beside in (Route.METADATA, Route.PROVENANCE):
        name = filename.removesuffix(f".{beside.name.lower()}")
        if name != filename:
            route, filename = beside, name
            break
    if project is None or not is_safe_filename(filename):
        return _NOTHING
    return ParsedPath(route, project, filename)


def _decode(segment: str) -> str | None:
    """Decode one segment, once; ``None`` for what no name of ours contains, hidden slashes and control characters included."""
    if "%" in segment:
        try:
            segment = unquote_to_bytes(segment).decode("ascii")
        except UnicodeError:  # bytes that are no ASCII, written as such or (a lone surrogate) as they came
            return None
    if not segment.isascii() or not segment.isprintable() or "/" in segment or "\\" in segment or segment in (".", ".."):
        return None
    return segment

"""The root of an index, as far as it tells that this is one: the projects it lists at its beginning, or that it lists none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from itertools import islice

import msgspec

from wheelgate.core.names import normalise_name
from wheelgate.core.urls import UnsafeUrl, parse, read
from wheelgate.simple_api import HTML, JSON, LEGACY_HTML
from wheelgate.upstream.answers import PageAnswer

ROOT_ACCEPT = f"{JSON}, {HTML};q=0.2, {LEGACY_HTML};q=0.01"
_ENOUGH = 50
_MOST_LINKS = 300
_BEGINNING_BYTES = 256 * 1024
# No "<" within a tag: else each of very many that never end would be read on from for hundreds of characters.
_ANCHOR = re.compile(r"<a\s[^<>]{0,500}?href\s*=\s*[\"']?([^\"'\s>]{1,500})", re.IGNORECASE)
_HEADING = re.compile(r"<(?:title|h1)\b[^<>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_INDEX = re.compile(r"\b(simple (package )?(index|list)|index of|package index|links for)\b", re.IGNORECASE)
_REPOSITORY = re.compile(r"<meta\s[^<>]{0,200}pypi:repository-version", re.IGNORECASE)
_PROJECTS = re.compile(
    r"\{\s*(\"[^\"]{1,50}\"\s*:\s*(\"[^\"]{0,200}\"|[0-9]{1,20}|\{[^{}]{0,500}\})\s*,\s*)*\"projects\"\s*:\s*\["
)
_LISTED = re.compile(r"\"name\"\s*:\s*\"([^\"]{1,200})\"")


class IndexRoot(msgspec.Struct, frozen=True):
    """The root of an index."""

    names: tuple[str, ...]
    """Some of the projects that it lists, normalised."""
    declared: bool
    """It says in so many words what it is (PEP 629, PEP 691, a heading), so that it may also list nothing."""


def read_root(answer: PageAnswer) -> IndexRoot | None:
    """Read the beginning of what was answered at an index's own URL; ``None``: it is no list of projects at all.

    Any page that links below itself may be one: without a declaration it proves nothing before a project that it lists has
    answered too.
    """
    if answer.status != 200:
        return None
    text = bytes(answer.body[:_BEGINNING_BYTES]).decode("utf-8", "replace")
    kind = answer.content_type
    if kind.startswith("application/vnd.pypi.simple.") and kind.endswith("+json"):
        head = _PROJECTS.match(text.lstrip("\ufeff \t\r\n"))
        listed = () if head is None else (found[1] for found in _LISTED.finditer(head.string, head.end()))
        return None if head is None else IndexRoot(_normalised(listed), declared=True)
    if kind != LEGACY_HTML and not (kind.startswith("application/vnd.pypi.simple.") and kind.endswith("+html")):
        return None
    declared = bool(_REPOSITORY.search(text)) or any(_INDEX.search(heading) for heading in _HEADING.findall(text))
    links = (unescape(anchor[1]) for anchor in islice(_ANCHOR.finditer(text), _MOST_LINKS))
    names = _normalised(found for link in links if (found := _project_below(answer.url, link)) is not None)
    return IndexRoot(names, declared) if names or declared else None


def _project_below(root: str, href: str) -> str | None:
    """The one segment that a link adds to the root's own path; ``None``: it leads elsewhere."""
    try:
        base = parse(root)
        target = read(str(base.join(read(href))))
    except (UnsafeUrl, ValueError):
        return None
    below = target.raw_path.removeprefix(base.raw_path if base.raw_path.endswith("/") else f"{base.raw_path}/")
    is_below = target.origin() == base.origin() and below != target.raw_path and not target.raw_query_string
    return below.removesuffix("/") if is_below and "/" not in below.removesuffix("/") else None


def _normalised(names: Iterable[str]) -> tuple[str, ...]:
    found = (project for name in names if (project := normalise_name(name)) is not None)
    return tuple(dict.fromkeys(islice(found, _ENOUGH)))

"""The scope of a credential: an origin and whole path segments, compared as they are written.

A credential belongs to a URL and everything below it. Two spellings of one scope that are not known to be the same are two
scopes: the wrong answer then is a missing credential, never one that went elsewhere.
"""

from __future__ import annotations

import re

import msgspec
from yarl import URL

from wheelgate.core.urls import Origin, origin, parse

DEVOPS_HOST = "pkgs.dev.azure.com"
_DEVOPS_TWIN = re.compile(r"([a-z0-9][a-z0-9-]*)\.pkgs\.visualstudio\.com")
_GUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
# What a feed's page links: identifiers instead of the names that the page was asked by, with those of a view behind an @.
_FEED_FILE = re.compile(rf"(?:{_GUID}/)?_packaging/{_GUID}(?:(?:@|%40){_GUID})?/pypi/download/.+")


class UrlScope(msgspec.Struct, frozen=True):
    """An origin and a path. The two hosts of Azure DevOps are one origin, organisations without case."""

    origin: Origin
    segments: tuple[str, ...]
    """Of the path, as they are written."""

    @property
    def organisation(self) -> str | None:
        """The Azure DevOps organisation it lies in, in lower case; ``None``: in none."""
        return self.segments[0] if self.segments and self.is_devops else None

    @property
    def is_devops(self) -> bool:
        """True if Azure DevOps keeps its feeds here."""
        return self.origin == ("https", DEVOPS_HOST, 443)

    def holds(self, other: UrlScope) -> bool:
        """True if the other is this one or below it."""
        return self.origin == other.origin and self.segments == other.segments[: len(self.segments)]

    def is_feed_file_of(self, organisation: str | None) -> bool:
        """True if it is a file that some feed of the organisation links, in the form that names no feed."""
        return (
            organisation is not None
            and self.organisation == organisation
            and bool(_FEED_FILE.fullmatch("/".join(self.segments[1:])))
        )


def parse_scope(url: str | URL) -> UrlScope:
    """Parse the scope of a URL; its query says nothing about it.

    Raises:
        UnsafeUrl: see :func:`wheelgate.core.urls.parse`.
    """
    url = parse(url) if isinstance(url, str) else url
    where = origin(url)
    segments = tuple(segment for segment in url.raw_path.split("/") if segment)
    twin = _DEVOPS_TWIN.fullmatch(where[1])
    if twin is not None and where[0] == "https" and where[2] == 443:
        return UrlScope(("https", DEVOPS_HOST, 443), (twin[1], *segments))
    if where == ("https", DEVOPS_HOST, 443) and segments:
        return UrlScope(where, (segments[0].lower(), *segments[1:]))
    return UrlScope(where, segments)

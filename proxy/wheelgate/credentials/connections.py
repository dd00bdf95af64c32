"""Connections by URL: the one table that decides which credential an outgoing request gets.

A connection belongs to its target and everything below it, by whole path segments as they are written; the longest wins. One
below an Azure DevOps organisation also belongs to the files that its feed's pages link, because those links name the feed by
identifiers, and to what the feed service is asked, because that knows no pages: only for the source whose page that is, only in
those forms, only in that organisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from wheelgate.config import Connection
from wheelgate.core.protocols import Credential
from wheelgate.core.urls import UnsafeUrl, UrlScope, parse_scope


class Connections:
    """The connections as they stand now. Replacing them takes effect at the next request."""

    def __init__(self, make: Callable[[Connection], Credential | None]) -> None:
        """``make``: builds the credential of a connection."""
        self._make = make
        self._by_place: Mapping[UrlScope, tuple[Connection, Credential | None]] = {}

    def replace(self, connections: Sequence[Connection]) -> None:
        """Use these from now on. A connection that did not change keeps the secret it knows."""
        known = dict(self._by_place.values())
        self._by_place = {
            connection.place: (connection, known[connection] if connection in known else self._make(connection))
            for connection in connections
        }

    def of_page(self, url: str) -> SourceCredentials:
        """The credentials of a source whose pages are below this URL."""
        return SourceCredentials(self, parse_scope(url))

    def settings_for(self, url: str) -> Connection | None:
        """The connection that a URL belongs to."""
        found = self.find(parse_scope(url))
        return self._by_place[found[0]][0] if found else None

    def find(self, place: UrlScope) -> tuple[UrlScope, Credential | None] | None:
        """Find the longest target that holds a place, and the credential there; ``None``: no connection does."""
        for length in range(len(place.segments), -1, -1):
            target = UrlScope(place.origin, place.segments[:length])
            if target in self._by_place:
                return target, self._by_place[target][1]
        return None


class SourceCredentials:
    """The connections, as one source may use them: a :class:`~wheelgate.core.protocols.Credentials`."""

    def __init__(self, connections: Connections, page: UrlScope) -> None:
        self._connections = connections
        self._page = page

    def for_url(self, url: str) -> Credential | None:
        """The credential for a URL, or ``None``: there is no connection for it, or one that says ``None``."""
        found = self._find(url)
        return found[1] if found else None

    def is_covered(self, url: str) -> bool:
        """True if some connection belongs to the URL, even one that says ``None``."""
        return self._find(url) is not None

    def _find(self, url: str) -> tuple[UrlScope, Credential | None] | None:
        try:
            place = parse_scope(url)
        except UnsafeUrl:
            return None
        found = self._connections.find(place)
        if place.is_feed_file_of(self._page.organisation) or place.is_feed_service_of(self._page.organisation):
            page = self._connections.find(self._page)
            if page is not None and (found is None or len(page[0].segments) > len(found[0].segments)):
                return page
        return found

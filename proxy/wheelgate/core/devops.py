"""Azure DevOps by its addresses: its hosts, the names that it compares without case, and where it tells what a feed is.

Feeds are at ``pkgs.dev.azure.com/{organisation}``, or at ``{organisation}.pkgs.visualstudio.com``: one place. What a feed is, and
what it has, is told by the same service for the same organisation at ``feeds.dev.azure.com/{organisation}``: an identity that may
read the feed may ask there, and nobody but that service answers there. An Azure DevOps Server does all of it on its own host.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec
from yarl import URL

DEVOPS_HOST = "pkgs.dev.azure.com"
FEED_SERVICE_HOST = "feeds.dev.azure.com"
SERVICE_PART = "/_apis"
"""A segment that no path has: below a feed's own place, everything that its service is asked about it."""
_TWIN = re.compile(r"([a-z0-9][a-z0-9-]*)\.pkgs\.visualstudio\.com")
_OTHER_HOSTS = re.compile(
    r"(?:[a-z0-9-]+\.)*dev\.azure\.com|(?P<organisation>[a-z0-9][a-z0-9-]*)(?:\.[a-z0-9-]+)?\.visualstudio\.com"
)
# /{organisation}[/{project}]/_apis/packaging/feeds/{feed}[/...]: what a feed is, and what it has. Nothing else of that host.
_SERVICE = re.compile(r"(?P<home>[^/]+(?:/[^/]+)?)/_apis/packaging/feeds/(?P<feed>[^/]+)(?P<rest>(?:/[^/]+)*)", re.IGNORECASE)
_FEED_PAGES = re.compile(
    r"(?P<home>(?:/[^/]+){0,4}?)/_packaging/(?P<feed>[^/]+?)(?:(?:@|%40)[^/]*)?/pypi/simple/?", re.IGNORECASE
)


def read_place(host: str, segments: tuple[str, ...]) -> tuple[str, ...] | None:
    """Read where in Azure DevOps a path is, the organisation first; ``None``: that host keeps no feeds, or tells nothing of one.

    ``host``: in lower case, asked over https at its own port. Names, up to the feed and its view, are as they are compared.
    """
    if (twin := _TWIN.fullmatch(host)) is not None:
        return _fold_names((twin[1], *segments))
    if host == DEVOPS_HOST:
        return _fold_names(segments)
    if host == FEED_SERVICE_HOST and (service := _SERVICE.fullmatch("/".join(segments))) is not None:
        feed = _fold_names((*service["home"].split("/"), "_packaging", service["feed"]))
        return (*feed, SERVICE_PART, *service["rest"].split("/")[1:])
    return None


def _fold_names(segments: tuple[str, ...]) -> tuple[str, ...]:
    folded = tuple(map(_fold_name, segments))
    names = folded.index("_packaging") + 2 if "_packaging" in folded[:3] else len(folded)
    return (*folded[:names], *segments[names:])


def _fold_name(text: str) -> str:
    try:
        return unquote(text, errors="strict").casefold()
    except UnicodeDecodeError:  # two that cannot be read are not known to be the same
        return text


class FeedPlace(msgspec.Struct, frozen=True):
    """The place of a feed: its name, and the address below which the service tells of feeds of that home."""

    feeds_url: str
    """Ends with ``/_apis/packaging/feeds``."""
    feed: str
    """Its name or identifier, without a view."""

    @property
    def url(self) -> str:
        """The address that tells of the feed itself."""
        return f"{self.feeds_url}/{self.feed}"


def find_feed(url: URL) -> FeedPlace | None:
    """Find the feed that the pages below a URL are of; ``None``: it is no feed's. A view has no upstreams of its own."""
    found = _FEED_PAGES.fullmatch(url.raw_path)
    if found is None:
        return None
    home, host = found["home"], (url.raw_host or "").lower()
    if (twin := _TWIN.fullmatch(host)) is not None:
        home = f"/{twin[1]}{home}"
    in_the_cloud = twin is not None or host == DEVOPS_HOST
    root = f"https://{FEED_SERVICE_HOST}" if in_the_cloud else str(url.origin())
    return FeedPlace(f"{root}{home}/_apis/packaging/feeds", found["feed"])


def suggest_feeds_url(url: URL) -> str | None:
    """Suggest where an organisation's feeds are, for a URL on another host of Azure DevOps; ``None``: it is on no such host."""
    host = (url.raw_host or "").lower()
    other = _OTHER_HOSTS.fullmatch(host)
    if other is None or host == DEVOPS_HOST or _TWIN.fullmatch(host) is not None:
        return None
    organisation = other["organisation"] or next((part for part in url.raw_path.split("/") if part), "ORGANISATION")
    return f"https://{DEVOPS_HOST}/{organisation}"

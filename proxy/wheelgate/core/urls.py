"""URL parsing and every decision about an upstream URL: origins compared as parsed, hosts allowed by name.

Two parsers that disagree about a host are how credentials and requests end up elsewhere, so nothing in the house splits a
URL by hand to decide where it leads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from urllib.parse import quote, urljoin

import msgspec
from yarl import URL

from wheelgate.core.devops import DEVOPS_HOST, SERVICE_PART, read_place
from wheelgate.core.secret import Secret

Origin = tuple[str, str, int]
"""Scheme, lower-case host, effective port."""

_HOST = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
_AUTHORITY = re.compile(rf"(?:{_HOST})(?::(?:[1-9][0-9]{{0,4}})?)?")
_PATH = re.compile(r"/[A-Za-z0-9/_.~!$&'()*+,;=:@%-]*")
# Dot segments and encoded separators, dots or control characters: where one reader climbs, another does not.
_AMBIGUOUS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|%2e|%2f|%5c|%[01][0-9a-f]|%7f|//", re.IGNORECASE)
# The plain form that nearly every link has, which no two parsers read differently: it needs no parser at all.
_PLAIN_PLACE = re.compile(rf"https?://(?:{_HOST})(?::[1-9][0-9]{{0,4}})?")
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~+=@-][A-Za-z0-9_.~+=@-]*+)++")  # possessive: it never goes back, in half the time
_BEHIND_SCHEME = len("https://")
_ENOUGH_HOSTS = 3
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# What people write who leave out the scheme: 127.0.0.1:8080, wheelgate.internal/simple/. A label is short, and a token is not.
_LABEL = r"[a-z0-9-]{1,40}"
_BARE_PLACE = re.compile(
    rf"(?P<host>localhost|{_LABEL}(?:\.{_LABEL})+|{_LABEL}(?=:)|\[[0-9a-f:.]+\])(?::[1-9][0-9]{{0,4}})?(?:/[a-z0-9/_.-]{{0,60}})?",
    re.IGNORECASE,
)
# Up to the first @ of the authority; a second one, or anything odd before it, is left for `parse` to refuse.
_WITH_USER = re.compile(r"(https?://)([^/?#@\\]*)@", re.IGNORECASE)
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#\\\s]*)@")
_EMULATOR_HOST = re.compile(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*|localhost")

_GUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
# What a feed's page links: identifiers instead of the names that the page was asked by, with those of a view behind an @.
_FEED_FILE = re.compile(rf"(?:{_GUID}/)?_packaging/{_GUID}(?:(?:@|%40){_GUID})?/pypi/download/.+")


class UnsafeUrl(ValueError):
    """A URL that is malformed, or written so that parsers could disagree; the message says how."""


@lru_cache(maxsize=64)  # a page looks half a dozen times at its own address and at the place of its files
def parse(text: str) -> URL:
    """Parse an absolute http(s) URL, as sent on the wire.

    Raises:
        UnsafeUrl: anything that could be read in two ways: control characters, backslashes, user information, non-ASCII or
            trailing-dot hosts, encoded slashes or dots in the path.
    """
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise UnsafeUrl("it has characters that do not belong in a URL")
    url = read(text)
    try:
        host, port = url.host, url.port
    except ValueError:
        raise UnsafeUrl("it is malformed") from None
    if url.scheme not in ("http", "https") or not host or not port or not text[:8].lower().startswith(url.scheme + "://"):
        raise UnsafeUrl("it is not an absolute http(s) URL")
    if url.raw_user is not None or url.raw_password is not None or "@" in url.raw_authority:
        raise UnsafeUrl("it carries user information")
    authority = re.split(r"[/?#]", text[len(url.scheme) + 3 :], maxsplit=1)[0].lower()
    if not _AUTHORITY.fullmatch(authority) or ".." in authority or (authority[0] == "[" and not _is_ipv6(host)):
        raise UnsafeUrl("its host is not written plainly")
    path = url.raw_path
    if not _PATH.fullmatch(path) or _AMBIGUOUS.search(path[1:]) or path.startswith("//"):
        raise UnsafeUrl("its path could be read in two ways")
    return url


def suggest_url(text: str) -> str | None:
    """Suggest the URL that was meant by a host without a scheme; ``None``: it is something else, and may hold a secret."""
    bare = _BARE_PLACE.fullmatch(text)
    if bare is None:
        return None
    return f"{'http' if is_loopback_host(bare['host'].strip('[]')) else 'https'}://{text}"


def read(text: str) -> URL:
    """Read any URL reference as it is written, relative ones too; nothing is concluded from it yet.

    Raises:
        UnsafeUrl: it cannot be read at all.
    """
    try:
        return URL(text, encoded=True)
    except (ValueError, IndexError):  # yarl reads past the end of some authorities that have only a bracket
        raise UnsafeUrl("it is malformed") from None


def without_user(text: str) -> str:
    """Strip the user name that somebody put before the host of an absolute URL, as Azure DevOps shows its URLs.

    Raises:
        UnsafeUrl: there is a password too: a secret, where none belongs.
    """
    match = _WITH_USER.match(text)
    if match is None:
        return text
    if ":" in match[2]:
        raise UnsafeUrl("it carries a password")
    return match[1] + text[match.end() :]


def without_user_info(text: str) -> tuple[str, Secret | None]:
    """Split a URL as people write it: what :func:`parse` may read, and the credential before its ``@``; ``None``: it has none.

    The credential ends at the last ``@`` before the path, as pip, uv and browsers read it. Nothing is said yet of whether the
    rest is a URL; a backslash, which some readers take for the end of the host, is left for :func:`parse` to refuse.
    """
    match = _USER_INFO.match(text)
    return (text, None) if match is None else (match[1] + text[match.end() :], Secret(match[2]))


def origin(url: URL) -> Origin:
    """The origin of a URL (RFC 6454): what "the same place" means for credentials and addresses."""
    return (url.scheme, (url.raw_host or "").lower(), url.port or 0)  # as written: configured hosts are ASCII, too


def redact_url(url: URL | str) -> str:
    """A URL for logs and sentences: no user information, no query, no fragment."""
    url = read(url) if isinstance(url, str) else url
    return str(url.with_user(None).with_query(None).with_fragment(None))


def display_host(url: URL) -> str:
    """The host for sentences, with the port where that is not the scheme's own: what ``file_hosts`` takes.

    In lower case: an upstream may redirect to what it was sent, and base64 without its capitals is nobody's secret any more.
    """
    return (url.host_port_subcomponent or "").lower()


class HostRules:
    """The allow list of a source: its own origin, and the hosts that its operator listed for files.

    A ``file_hosts`` entry is a host (``files.example.com``), a host with port, or ``*.`` and a domain. It is reached by
    https; by http only if the source itself is configured with http.
    """

    def __init__(self, own: URL, file_hosts: Iterable[str] = (), neighbours: Mapping[str, str] = MappingProxyType({})) -> None:
        """``neighbours``: the other sources' names, and their URLs."""
        self._own = origin(own)
        self._path = own.raw_path
        self._neighbours = tuple((name, parse(url)) for name, url in neighbours.items())
        self._schemes = ("https",) if own.scheme == "https" else ("https", "http")
        self._exact = frozenset(host.lower() for host in file_hosts if not host.startswith("*."))
        self._suffixes = tuple(host[1:].lower() for host in file_hosts if host.startswith("*."))

    def allows(self, url: URL) -> bool:
        """True if the source may ask this URL at all."""
        scheme, host, port = origin(url)
        if self.is_own(url):
            return True
        if scheme not in self._schemes:
            return False
        if f"{host}:{port}" in self._exact:
            return True
        if port != (443 if scheme == "https" else 80):
            return False
        return host in self._exact or host.endswith(self._suffixes or ("\0",))

    def is_own(self, url: URL) -> bool:
        """True if this is the source itself: its origin, or the same host better protected."""
        better = ("https", self._own[1], 443) if self._own[0] == "http" else self._own
        return origin(url) in (self._own, better)

    def find_neighbour(self, url: URL) -> str | None:
        """Find the other source that this belongs to, by its origin, at our own by its path too; ``None``: it belongs to none."""
        there = [(name, other) for name, other in self._neighbours if origin(other) == origin(url)]
        below = [name for name, other in there if _is_below(url, other.raw_path)]
        if self.is_own(url):
            return below[0] if below and not _is_below(url, self._path) else None
        return next(iter([*below, *(name for name, _ in there)]), None)

    def is_inside(self, url: URL) -> bool:
        """True if this is the source itself, and not another one at the same origin."""
        return self.is_own(url) and self.find_neighbour(url) is None

    def names(self, url: URL) -> bool:
        """True if the operator wrote this very host: only then may it be an inner address."""
        _, host, port = origin(url)
        return host == self._own[1] or host in self._exact or f"{host}:{port}" in self._exact


def _is_below(url: URL, path: str) -> bool:
    return f"{url.raw_path.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")


class PageLinks:
    """Resolver and judge of the links of one page."""

    def __init__(self, page: URL, rules: HostRules) -> None:
        self._base = page
        self._here = str(page.origin())
        self._rules = rules
        self._places: dict[str, str | None] = {}
        self.refused_hosts: set[str] = set()
        """Where well-formed links led that the source may not follow: what an operator may have forgotten to allow."""

    def rebase(self, href: str) -> None:
        """Resolve against a ``<base href>``; one that cannot be read leaves every relative link unresolvable."""
        try:
            if href := href.strip().partition("#")[0]:  # one that is a fragment alone changes nothing
                self._base = parse(str(_join(self._base, href)))
            self._here = str(self._base.origin())
        except ValueError:
            self._base, self._here = URL("about:blank"), "about:blank"

    def absolute(self, href: str) -> str | None:
        """The absolute URL without fragment if it is safe and allowed, else ``None``."""
        end = href.find("/", _BEHIND_SCHEME) if href.startswith("http") else 0
        if not _PLAIN_PATH.fullmatch(href, end):
            return self._judge(href)
        place = href[:end] or self._here
        try:
            allowed = self._places[place]
        except KeyError:
            if not _PLAIN_PLACE.fullmatch(place):
                return self._judge(href)
            root = self._judge(f"{place}/")
            allowed = self._places[place] = root and root[:-1]
        if allowed is None:
            return None
        return href if end and allowed == place else allowed + href[end:]

    def _judge(self, href: str) -> str | None:
        try:
            url = parse(str(_join(self._base, href.partition("#")[0])))
        except ValueError:
            return None
        if self._rules.allows(url):
            return str(url)
        if len(self.refused_hosts) < _ENOUGH_HOSTS:
            self.refused_hosts.add(display_host(url))
        return None


def _join(base: URL, href: str) -> URL:
    if not href or not href.isprintable() or "\\" in href:
        raise UnsafeUrl("it is malformed")
    if _SCHEME.match(href):
        return parse(href)  # never "https:path", which some readers take as relative
    # Unencoded characters (spaces, non-ASCII) are legal in an href and quoted by every client; what is encoded stays so.
    # Not yarl's own join, which decodes the folder that it joins to: the path would end at what was %23 in it.
    return read(urljoin(str(base), quote(href, safe="/_.~!$&'()*+,;=:@%?[]-")))


def is_emulator_host(host: str) -> bool:
    """True if storage at this host is an emulator: it has the account in the path, not in the host's name."""
    return bool(_EMULATOR_HOST.fullmatch(host))


def is_loopback_host(host: str) -> bool:
    """True if a host, as it is written, is this machine and no other: nobody on the way can read what is sent."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_ipv6(host: str) -> bool:
    """True if what stands in brackets is an address, as other readers demand: yarl takes ``[:1]`` and ``[1.2.3.4]``."""
    try:
        return bool(IPv6Address(host))
    except ValueError:
        return False


class UrlScope(msgspec.Struct, frozen=True):
    """The scope of a credential: a URL and everything below it, as an origin and whole path segments.

    Two spellings of one scope that are not known to be the same are two scopes: the wrong answer then is a missing credential,
    never one that went elsewhere. The hosts of Azure DevOps are one origin: the names of organisations, projects, feeds and views
    are compared there without case and decoded, and what its service is asked about a feed lies below that feed.
    """

    origin: Origin
    segments: tuple[str, ...]
    """Of the path, as they are written, but for the names of Azure DevOps (:mod:`wheelgate.core.devops`)."""

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

    def is_feed_service_of(self, organisation: str | None) -> bool:
        """True if it is where the service tells of some feed of the organisation, and of nothing else."""
        return organisation is not None and self.organisation == organisation and SERVICE_PART in self.segments

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
        UnsafeUrl: see :func:`parse`.
    """
    url = parse(url) if isinstance(url, str) else url
    where = origin(url)
    segments = tuple(segment for segment in url.raw_path.split("/") if segment)
    if where[0] == "https" and where[2] == 443 and (place := read_place(where[1], segments)) is not None:
        return UrlScope(("https", DEVOPS_HOST, 443), place)
    return UrlScope(where, segments)

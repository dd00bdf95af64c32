"""URL parsing and every decision about an upstream URL: origins compared as parsed, hosts allowed by name.

Two parsers that disagree about a host are how credentials and requests end up elsewhere, so nothing in the house splits a
URL by hand to decide where it leads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType

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
_SLASHES = re.compile(r"//+")
PLAIN_PLACE = re.compile(rf"https?://(?:{_HOST})(?::[1-9][0-9]{{0,4}})?")
"""Origins that no two parsers read differently."""
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
_FEED_FILE = re.compile(rf"(?:{_GUID}/)?_packaging/{_GUID}(?:@{_GUID})?/pypi/download/.+")  # as names are compared: decoded once


class UnsafeUrl(ValueError):
    """A URL that is malformed, or written so that parsers could disagree; the message says how."""


@lru_cache(maxsize=64)  # a page looks half a dozen times at its own address and at the place of its files
def parse(text: str, *, empty_segments: bool = False) -> URL:
    """Parse an absolute http(s) URL, as sent on the wire.

    ``empty_segments``: its path may have such, ``/files//x``, as those of some files have, and as object stores mean. They are
    kept: who leaves them out and who does not are two readers.

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
    path = _SLASHES.sub("/", url.raw_path) if empty_segments else url.raw_path
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


def describe_place(url: URL) -> str:
    """The origin for sentences, always with the port: what goes wrong is any of the three."""
    scheme, host, port = origin(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


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

    def explain(self, url: URL) -> str:
        """Say why a URL is not allowed, and what would mend that, in words that may follow its place and a comma."""
        cause, entry = self.find_cause(url), f'"{display_host(url)}"'
        if cause is None:
            only_if = "only if this index keeps its own files on it; public ones are for a public source"
            return f"which is not among its file_hosts: list {entry} there {only_if}"
        return cause if self.forgets_tls(url) else f"{cause}; if its files are meant to be there, list {entry} in its file_hosts"

    def find_cause(self, url: URL) -> str | None:
        """Find the usual cause of a URL that is not allowed, in words for the same place; ``None``: it is not known."""
        is_same_host = origin(url)[1] == self._own[1]
        if self.forgets_tls(url):
            if is_same_host:
                return "without TLS: its proxy must send X-Forwarded-Proto"
            return "without TLS, which no setting allows a source at https: have that corrected there"
        if is_same_host:
            return f"another port than its own, {self._own[2]}: its proxy must send X-Forwarded-Host with the port"
        return None

    def forgets_tls(self, url: URL) -> bool:
        """True if it is asked without TLS, and the source is not."""
        return url.scheme not in self._schemes

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


def place_key(url: str) -> str:
    """A short key of the place that an operator's URL names, the same for its spellings; of a folder, of its path as written."""
    try:
        scope = parse_scope(url)
    except UnsafeUrl:
        return hashlib.sha256(url.encode()).hexdigest()[:16]
    (scheme, host, port), path = scope.origin, "/".join(scope.segments)
    return hashlib.sha256(f"{scheme}://{host}:{port}/{path}".encode()).hexdigest()[:16]


def parse_scope(url: str | URL) -> UrlScope:
    """Parse the scope of a URL; its query says nothing about it.

    Raises:
        UnsafeUrl: see :func:`parse`.
    """
    url = parse(url, empty_segments=True) if isinstance(url, str) else url
    where = origin(url)
    # Empty ones within count: a server that does not leave them out has something else there, and may give it to somebody else.
    segments = tuple(url.raw_path.rstrip("/").split("/")[1:])
    if where[0] == "https" and where[2] == 443 and (place := read_place(where[1], segments)) is not None:
        return UrlScope(("https", DEVOPS_HOST, 443), place)
    return UrlScope(where, segments)

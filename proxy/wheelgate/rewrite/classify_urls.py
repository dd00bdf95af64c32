"""Classification of URLs: a private file, a private place, Wheelgate itself, public PyPI, or somebody else's."""

from __future__ import annotations

import re
from enum import Enum, auto
from urllib.parse import unquote

import msgspec
from yarl import URL

from wheelgate.config import PUBLIC_INDEX, Config
from wheelgate.core.devops import DEVOPS_HOST
from wheelgate.core.names import project_in, version_of
from wheelgate.core.secret import Secret
from wheelgate.core.urls import HostRules, UnsafeUrl, UrlScope, parse, parse_scope, redact_url, without_user_info

_STORAGE = (".blob.core.windows.net", ".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn", ".blob.storage.azure.net")
_FEED_HOSTS = (DEVOPS_HOST, ".pkgs.visualstudio.com")
_SIGNED = re.compile(r"[?&]sig=(?!\$|%24)[^&#\s]", re.IGNORECASE)
_PINNED = re.compile(r"[?&](?:versionid|snapshot)=", re.IGNORECASE)
_NAME = r"\$\{\{[^}]*\}\}|\$\{[A-Za-z0-9_]+\}|\$\([A-Za-z_][\w.]*\)|\$(?:env:)?[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|\{\{[^}]*\}\}"
_VARIABLE = re.compile(rf"(?:(?:{_NAME}|[^:]*):)?(?:{_NAME})")
_NO_TOKENS = ("git", "hg", "svn")
# Files that settings do not name: signed or stored, they are private packages all the same.
_NOT_SETTINGS = ("store", "directory")


class UrlOwner(Enum):
    """The owner of a URL."""

    FILE = auto()
    """A distribution file in a private container or feed."""
    NO_FILE = auto()
    """In a private container or feed, and no distribution file."""
    GATE = auto()
    """Wheelgate's own."""
    PUBLIC = auto()
    """Public PyPI's index."""
    FOREIGN = auto()


class UrlVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a URL: its owner and its parts."""

    owner: UrlOwner
    shown: str
    """Without user information, query and fragment: for sentences."""
    plain: str
    """Without user information, else as it was written."""
    credential: Secret | None
    is_blob: bool = False
    filename: str = ""
    project: str = ""
    fragment: str = ""
    """With its ``#``, or empty."""

    @property
    def version(self) -> str | None:
        return version_of(self.filename, self.project)

    @property
    def has_literal_credential(self) -> bool:
        """Has a credential in the file itself, rather than the name of a variable that holds one."""
        return self.credential is not None and not is_variable(self.credential)

    @property
    def is_pinned(self) -> bool:
        """Means one version of a blob, or one moment of it."""
        return bool(_PINNED.search(self.plain))


class AmbiguousUrl(ValueError):
    """A URL that seems to be ours and is ambiguous: clients may disagree about where it leads."""


def is_variable(credential: Secret) -> bool:
    """Recognise ``${NAME}`` and ``user:${NAME}``, which pip fills in from the environment, and the like of shells."""
    return bool(_VARIABLE.fullmatch(credential.reveal()))


def holds_secret(text: str) -> bool:
    """Say whether a URL holds a credential or a signature, not just the name of a variable or of an organisation."""
    if _SIGNED.search(text):
        return True
    plain, credential = without_user_info(text)
    if credential is None or is_variable(credential) or is_organisation(plain, credential):
        return False
    user, colon, _ = credential.reveal().partition(":")
    by_ssh = plain.partition("://")[0].lower().endswith("ssh")
    return bool(colon) or not (by_ssh or user in _NO_TOKENS)


def is_organisation(plain: str, credential: Secret) -> bool:
    """Recognise the user name of the URLs that Azure DevOps shows, which is the organisation's and no secret."""
    user = credential.reveal().lower()
    host, _, path = plain.partition("://")[2].lower().partition("/")
    if not user:
        return True
    if host in ("dev.azure.com", DEVOPS_HOST):
        return path.split("/")[0] == user
    return host in (f"{user}.visualstudio.com", f"{user}.pkgs.visualstudio.com")


class UrlClassifier:
    """A classifier of URLs: by the settings where they are given, else by the hosts that Azure keeps private packages on."""

    def __init__(self, gate: str | None, config: Config | None = None) -> None:
        """``gate``: the URL of Wheelgate, without a slash at the end; ``None`` where none is wanted."""
        self._gate = parse_scope(gate) if gate is not None else None
        self._containers: list[UrlScope] | None = None
        self._feeds: list[UrlScope] = []
        self._has_public = True
        self._hosts: list[HostRules] = []
        if config is not None:
            sources = [(source.type, source.url) for source in config.source if source.type not in _NOT_SETTINGS]
            blobs = [config.store.url if config.store.is_azure else None, *(url for kind, url in sources if kind == "blob")]
            self._containers = [parse_scope(url) for url in blobs if url]
            self._feeds = [_strip_simple(parse_scope(url)) for kind, url in sources if url and kind != "blob"]
            indexes = [source for source in config.source if source.url and source.type == "index"]
            self._hosts = [HostRules(parse(source.url), source.all_file_hosts) for source in indexes if source.url]
            self._has_public = any(kind == "index" and (not url or _is_public(parse(url))) for kind, url in sources)

    @property
    def is_configured(self) -> bool:
        """Goes by settings, rather than by the hosts of all of Azure."""
        return self._containers is not None

    def may_link(self, text: str) -> bool:
        """Say whether an index of the settings may link a file at this URL; a lock's digest says whether it is that file."""
        try:
            url = parse(without_user_info(text)[0])
        except UnsafeUrl:
            return False
        return any(rules.allows(url) for rules in self._hosts)

    @property
    def has_public(self) -> bool:
        """True if Wheelgate answers for what is on public PyPI."""
        return self._has_public

    def classify(self, text: str) -> UrlVerdict:
        """Classify an http(s) URL as a file has it, query, fragment and credential included.

        Raises:
            AmbiguousUrl: it names a place of ours in a way that readers could take differently.
        """
        plain, credential = without_user_info(text)
        try:
            url = parse(plain)
        except UnsafeUrl as error:
            if self._seems_ours(plain):
                raise AmbiguousUrl(str(error)) from None
            return UrlVerdict(owner=UrlOwner.FOREIGN, shown=_find_host(plain), plain=plain, credential=credential)
        owner, is_blob = self._find_owner(url)
        filename = unquote(url.raw_path.rpartition("/")[2])
        project = project_in(filename)
        return UrlVerdict(
            owner=UrlOwner.NO_FILE if owner is UrlOwner.FILE and project is None else owner,
            shown=redact_url(url),
            plain=plain,
            credential=credential,
            is_blob=is_blob,
            filename=filename,
            project=project or "",
            fragment="#" + plain.partition("#")[2] if "#" in plain else "",
        )

    def _find_owner(self, url: URL) -> tuple[UrlOwner, bool]:
        """FILE stands for "ours"; whether it is a file is seen later. And whether it is a blob."""
        where = parse_scope(url)
        if self._gate is not None and self._gate.holds(where):
            return UrlOwner.GATE, False
        if _is_public(url):
            return (UrlOwner.PUBLIC if self._has_public else UrlOwner.FOREIGN), False
        if self._containers is None:
            is_blob = (url.host or "").endswith(_STORAGE)
            return (UrlOwner.FILE if is_blob or where.is_devops else UrlOwner.FOREIGN), is_blob
        if any(container.holds(where) for container in self._containers):
            return UrlOwner.FILE, True
        return (UrlOwner.FILE if any(_is_of(feed, where) for feed in self._feeds) else UrlOwner.FOREIGN), False

    def _seems_ours(self, text: str) -> bool:
        if self._containers is None:
            hosts: tuple[str, ...] = (*_STORAGE, *_FEED_HOSTS)
        else:
            hosts = tuple(where.origin[1] for where in (*self._containers, *self._feeds))
        return any(host in text.lower() for host in hosts)


def _is_public(url: URL) -> bool:
    return url.host == parse(PUBLIC_INDEX).host and url.raw_path.rstrip("/").endswith("/simple")


def _strip_simple(where: UrlScope) -> UrlScope:
    """A feed or index without the ``/simple/`` at its end, which people forget."""
    segments = where.segments[:-1] if where.segments[-1:] == ("simple",) else where.segments
    return UrlScope(where.origin, segments)


def _is_of(feed: UrlScope, where: UrlScope) -> bool:
    """Say whether it is the feed, or one of its files; a feed's own file links name it by identifiers, or not at all."""
    if _strip_simple(where) == feed:
        return True
    return feed.is_devops and (feed.holds(where) or where.is_feed_file_of(feed.organisation))


def _find_host(text: str) -> str:
    """The most that can be said of a URL that cannot be read."""
    match = re.match(r"[a-z+]+://([A-Za-z0-9.-]+)(?=[/:?#]|$)", text)
    return match[0] if match else "a URL"

"""``[[source]]`` section: settings of one source, whatever its type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from wheelgate.config.section import Section
from wheelgate.config.value_types import (
    Cooldown,
    Pattern,
    PlainUrl,
    Reference,
    Seconds,
    check_container_url,
    check_proxy_url,
    check_url,
)
from wheelgate.core.devops import suggest_feeds_url
from wheelgate.core.urls import parse, parse_scope

# Public PyPI: its pages, and the host of the files they link to.
PUBLIC_INDEX = "https://pypi.org/simple/"
PUBLIC_FILES = "files.pythonhosted.org"
GITHUB_API = "https://api.github.com/"
# Hosts that the services redirect downloads to, by signed URLs.
_GITHUB_FILES = ("*.githubusercontent.com", "*.blob.core.windows.net")
_DEVOPS_FILES = ("*.vsblob.vsassets.io", "*.blob.core.windows.net")

_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", re.IGNORECASE)
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_FEED_PATH = re.compile(r"(/[^/]+){0,2}/_packaging/[^/]+/pypi/simple/?")
# A server of one's own has its collections below a path, such as /tfs/Collection/Project.
_SERVER_FEED_PATH = re.compile(r"(/[^/]+){1,4}/_packaging/[^/]+/pypi/simple/?")
_PRIVATE_OR_NOT = (
    "private: has to be said of an index with a URL of its own: true if its names are yours, and never to be asked of a public "
    "source; false if its packages are public. Or list in `only` the names that are yours and asked of it alone"
)
_IMPOSSIBLE = {"store": ("stream", "cache"), "directory": ("redirect", "cache"), "blob": ("cache",)}
NO_PROXY = "none"


class SourceSettings(Section):
    """Settings of a source of projects. The position in the list is its precedence."""

    name: str
    type: Literal["store", "index", "devops", "blob", "directory", "github"]
    url: PlainUrl | None = None
    only: list[Pattern] | None = None
    delivery: Literal["redirect", "stream", "cache"] | None = None
    private: bool | None = None
    upstream: Literal["public", "none"] | None = None
    file_hosts: list[str] = []
    fresh: Seconds | None = None
    absent: Seconds = 60.0
    absent_status: list[int] = []
    strict: bool = False
    cooldown: Cooldown | None = None
    offline: bool = False
    layout: Literal["any", "project"] = "any"
    writable: bool = False
    account_key: Reference | None = None
    outbound_proxy: str | None = None
    ca_file: Path | None = None
    repos: list[str] = []
    prereleases: bool = True

    @property
    def is_remote(self) -> bool:
        """``True`` if it is asked over HTTP, not through storage."""
        return self.type in ("index", "devops", "github")

    @property
    def is_private(self) -> bool:
        """``True`` if its names are never asked of a public source."""
        return self.private if self.private is not None else self.type != "index" or self._is_elsewhere

    @property
    def _is_elsewhere(self) -> bool:
        """``True`` for an index with a URL of its own: not public PyPI."""
        return self.type == "index" and parse(self.index_url).host != parse(PUBLIC_INDEX).host

    @property
    def passes_through(self) -> bool:
        """``True`` if it is private, and the operator says that what is not its own comes from a public index."""
        return self.is_private and self.upstream == "public"

    @property
    def may_pass_through(self) -> bool:
        """``True`` if it may be asked as a public source too: so it is said, or its service may say so of each name."""
        by_service = self.type == "devops" and self.is_private and self.upstream is None and self.only is None
        return self.passes_through or by_service

    @property
    def may_be_mirror(self) -> bool:
        """``True`` for a folder or container of whose names nothing is said: a manifest, if it has one, tells whose they are."""
        return self.type in ("blob", "directory") and self.private is None and self.only is None and not self.writable

    @property
    def own_names(self) -> list[str] | None:
        """Patterns of the names that it is asked for; ``None``: every name, which one that passes the rest through is."""
        return None if self.passes_through else self.only

    @property
    def fresh_s(self) -> float:
        """Seconds for which its pages are served without asking again."""
        if self.fresh is not None:
            return self.fresh
        return 60.0 if self.is_private else 600.0

    @property
    def index_url(self) -> str:
        """URL of a source that is asked over HTTP; of an index public PyPI unless configured, of the store empty."""
        if self.type == "github":
            return self.url or GITHUB_API
        if self.type == "index" and self.url is None:
            return PUBLIC_INDEX
        return self.url or ""  # an empty one is a mistake, never public PyPI

    @property
    def all_file_hosts(self) -> tuple[str, ...]:
        """Hosts beside its own that it may fetch files from."""
        if self.type == "github":
            return (*self.file_hosts, *_GITHUB_FILES)
        if self.type == "devops":
            return (*self.file_hosts, *_DEVOPS_FILES)
        return tuple(self.file_hosts) if self._is_elsewhere else (*self.file_hosts, PUBLIC_FILES)

    def find_contradictions(self) -> list[str]:
        problems = []
        if not _SOURCE_NAME.fullmatch(self.name):
            problems.append("name: must consist of lower-case letters, digits and dashes")
        if problem := self._check_url():
            problems.append(f"url: {problem}")
        elif self._is_elsewhere and self.private is None and self.only is None:
            problems.append(_PRIVATE_OR_NOT)
        problems += self._check_remote_settings()
        problems += self._check_upstream()
        if self.type != "blob" and self.account_key is not None:
            problems.append("account_key: applies only to a source of type blob")
        if self.type not in ("blob", "directory") and self.layout != "any":
            problems.append("layout: applies only to a source of type blob or directory")
        if self.writable and self.type != "blob":
            problems.append(
                "writable: applies only to a source of type blob; the store is always writable, other sources never are"
            )
        elif self.writable and self.layout != "project":
            problems.append(
                'writable: needs layout = "project", because uploads are stored as <project>/<file> and listed at once'
            )
        elif self.writable and not self.is_private:
            problems.append("writable: a source that accepts uploads cannot be public")
        problems += [
            f"file_hosts: {host!r} is not a host such as files.example.com, files.example.com:8443 or *.example.com"
            for host in self.file_hosts
            if not _FILE_HOST.fullmatch(host)
        ]
        if self.delivery in _IMPOSSIBLE.get(self.type, ()):
            hint = "; set store.delivery for stored files" if self.type == "store" else ""
            problems.append(f"delivery: {self.delivery} is not possible for a source of type {self.type}{hint}")
        return problems

    def _check_remote_settings(self) -> list[str]:
        problems = []
        if self.absent_status and self.type != "index":
            problems.append("absent_status: applies only to a source of type index")
        elif set(self.absent_status) - {403}:
            problems.append(
                "absent_status: can only be [403]: 404 always counts, and no other status says that a project is absent"
            )
        if self.offline and not self.is_remote:
            problems.append("offline: applies only to a source that is asked over HTTP: index, devops or github")
        if not self.is_remote and (self.outbound_proxy is not None or self.ca_file is not None):
            field = "outbound_proxy" if self.outbound_proxy is not None else "ca_file"
            problems.append(f"{field}: applies only to a source that is asked over HTTP: index, devops or github")
        elif self.outbound_proxy not in (None, NO_PROXY) and (problem := check_proxy_url(self.outbound_proxy or "")):
            problems.append(f'outbound_proxy: {problem}; for no proxy, set it to "{NO_PROXY}"')
        if self.type != "github" and self.repos:
            problems.append("repos: applies only to a source of type github")
        if self.type != "github" and not self.prereleases:
            problems.append("prereleases: applies only to a source of type github")
        if self.type == "github" and not self.repos:
            problems.append('repos: is missing: list the repositories whose releases hold the files, such as ["acme/tools"]')
        return problems + [
            f"repos: {repo!r} is not a repository such as acme/tools" for repo in self.repos if not _REPO.fullmatch(repo)
        ]

    def _check_upstream(self) -> list[str]:
        if self.upstream is None:
            return []
        if self.type not in ("index", "devops"):
            return ["upstream: applies only to a source of type index or devops: what others hold was put there, whoever made it"]
        if self.private is False or (self.type == "index" and self.url is None):
            return ["upstream: applies only to a private source: what a public one lists is public in any case"]
        return []

    def _check_url(self) -> str | None:
        if self.type == "devops":
            return check_feed_url(self.url or "")
        if self.type == "store":
            return "does not apply to a source of type store; set store.url instead" if self.url is not None else None
        if self.type == "blob":
            return check_container_url(self.url or "")
        if self.type == "directory":
            return None if self.url and self.url.startswith("file:") else 'must be a folder such as "file:./wheels"'
        return check_url(self.index_url)


def check_feed_url(text: str) -> str | None:
    """Return why a URL is not that of a feed of Azure Artifacts, or ``None`` if it is."""
    hint = 'must be a feed such as "https://pkgs.dev.azure.com/ORGANISATION/PROJECT/_packaging/FEED/pypi/simple/"'
    if problem := check_url(text):
        return f"{hint}; this URL {problem}"
    url = parse(text)
    if (better := suggest_feeds_url(url)) is not None:
        return f"{hint}; no feed is at {url.host}: the feeds of that organisation are below {better}"
    form = _FEED_PATH if parse_scope(url).is_devops else _SERVER_FEED_PATH
    return None if form.fullmatch(url.raw_path) else hint

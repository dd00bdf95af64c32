"""What may be said of one source, whatever its type, and what of it contradicts the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from wheelgate.config.section import Section
from wheelgate.config.values import Cooldown, Pattern, PlainUrl, Reference, Seconds, container_problem, proxy_problem, url_problem
from wheelgate.core.urls import parse

# The one place where public PyPI stands: its pages, and the host its pages link files on.
PUBLIC_INDEX = "https://pypi.org/simple/"
PUBLIC_FILES = "files.pythonhosted.org"
GITHUB_API = "https://api.github.com/"
# Where the services redirect downloads to, by URLs that they signed.
_GITHUB_FILES = ("*.githubusercontent.com", "*.blob.core.windows.net")
_DEVOPS_FILES = ("*.vsblob.vsassets.io", "*.blob.core.windows.net")

_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", re.IGNORECASE)
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_FEED_PATH = re.compile(r"(/[^/]+){0,2}/_packaging/[^/]+/pypi/simple/?")
_IMPOSSIBLE = {"store": ("stream", "cache"), "directory": ("redirect", "cache"), "blob": ("cache",)}
NO_PROXY = "none"


class SourceSettings(Section):
    """One place that lists projects. Its position is its precedence."""

    name: str
    type: Literal["store", "index", "devops", "blob", "directory", "github"]
    url: PlainUrl | None = None
    only: list[Pattern] | None = None
    delivery: Literal["redirect", "stream", "cache"] | None = None
    private: bool | None = None
    file_hosts: list[str] = []
    fresh: Seconds | None = None
    absent: Seconds = 60.0
    strict: bool = False
    cooldown: Cooldown | None = None
    offline: bool = False
    layout: Literal["any", "project"] = "any"
    writable: bool = False
    account_key: Reference | None = None
    outbound_proxy: str | None = None
    ca_file: Path | None = None
    repos: list[str] = []

    @property
    def is_remote(self) -> bool:
        """Whether it is asked over HTTP, and not through storage."""
        return self.type in ("index", "devops", "github")

    @property
    def is_private(self) -> bool:
        """Whether names it has are never asked of a public source."""
        return self.private if self.private is not None else self.type != "index"

    @property
    def fresh_s(self) -> float:
        """How long its pages are served without asking again."""
        if self.fresh is not None:
            return self.fresh
        return 60.0 if self.is_private else 600.0

    @property
    def index_url(self) -> str:
        """The URL of a source that is asked over HTTP; public PyPI's unless stated."""
        if self.type == "github":
            return self.url or GITHUB_API
        if self.type in ("devops", "blob"):
            return self.url or ""
        return PUBLIC_INDEX if self.url is None else self.url  # an empty one is a mistake, never public PyPI

    @property
    def all_file_hosts(self) -> tuple[str, ...]:
        """The hosts beside its own that it may fetch files from."""
        if self.type == "github":
            return (*self.file_hosts, *_GITHUB_FILES)
        if self.type == "devops":
            return (*self.file_hosts, *_DEVOPS_FILES)
        own = parse(self.index_url).host == parse(PUBLIC_INDEX).host
        return (*self.file_hosts, PUBLIC_FILES) if own else tuple(self.file_hosts)

    def contradictions(self) -> list[str]:
        """See :class:`Section`."""
        problems = []
        if not _SOURCE_NAME.fullmatch(self.name):
            problems.append("name: must be lower-case letters, digits and dashes")
        if problem := self._url_problem():
            problems.append(f"url: {problem}")
        problems += self._remote_problems()
        if self.type != "blob" and (self.account_key is not None or self.layout != "any"):
            problems.append(f"{'layout' if self.account_key is None else 'account_key'}: only a source of type blob has one")
        if self.writable and self.type != "blob":
            problems.append("writable: only a source of type blob has it; the store is always writable, other sources never")
        elif self.writable and self.layout != "project":
            problems.append('writable: needs layout = "project": an upload goes to <project>/<file>, and is on its page at once')
        elif self.writable and not self.is_private:
            problems.append("writable: a source that takes uploads cannot be public: whose names it has would be anybody's")
        problems += [
            f"file_hosts: {host!r} is not a host, such as files.example.com or *.example.com"
            for host in self.file_hosts
            if not _FILE_HOST.fullmatch(host)
        ]
        if self.delivery in _IMPOSSIBLE.get(self.type, ()):
            hint = "; how stored files leave is store.delivery" if self.type == "store" else ""
            problems.append(f"delivery: {self.delivery} is not possible for a {self.type}{hint}")
        return problems

    def _remote_problems(self) -> list[str]:
        problems = []
        if self.offline and not self.is_remote:
            problems.append("offline: only a source that is asked over HTTP can be: index, devops or github")
        if not self.is_remote and (self.outbound_proxy is not None or self.ca_file is not None):
            field = "outbound_proxy" if self.outbound_proxy is not None else "ca_file"
            problems.append(f"{field}: only a source that is asked over HTTP has one: index, devops or github")
        elif self.outbound_proxy not in (None, NO_PROXY) and (problem := proxy_problem(self.outbound_proxy or "")):
            problems.append(f'outbound_proxy: {problem}; "{NO_PROXY}" for no proxy')
        if self.type != "github" and self.repos:
            problems.append("repos: only a source of type github has some")
        elif self.type == "github" and not self.repos:
            problems.append('repos: is missing: the repositories whose releases have the files, such as ["acme/tools"]')
        return problems + [
            f"repos: {repo!r} is not a repository, such as acme/tools" for repo in self.repos if not _REPO.fullmatch(repo)
        ]

    def _url_problem(self) -> str | None:
        if self.type == "devops":
            return feed_problem(self.url or "")
        if self.type == "store":
            return "a source of type store has none; the store's own is store.url" if self.url is not None else None
        if self.type == "blob":
            return container_problem(self.url or "")
        if self.type == "directory":
            return None if self.url and self.url.startswith("file:") else 'must be a folder, such as "file:./wheels"'
        return url_problem(self.index_url)


def feed_problem(text: str) -> str | None:
    """Why a URL is none of a feed of Azure Artifacts, or ``None``."""
    hint = 'must be a feed, such as "https://pkgs.dev.azure.com/ORGANISATION/PROJECT/_packaging/FEED/pypi/simple/"'
    if problem := url_problem(text):
        return f"{hint}; this one {problem}"
    return None if _FEED_PATH.fullmatch(parse(text).raw_path) else hint

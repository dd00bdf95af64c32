"""The settings as frozen values. A section judges by itself what is wrong between its own values."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field

from proxy.config.connections import Connection, covers, ties
from proxy.config.policy import Policy
from proxy.config.references import References, SecretMissing
from proxy.config.section import Section
from proxy.config.values import (
    Bytes,
    Cooldown,
    Pattern,
    PlainUrl,
    Reference,
    Seconds,
    container_problem,
    proxy_problem,
    url_problem,
    vault_problem,
)
from proxy.errors import ConfigurationError
from proxy.secret import Secret
from proxy.urls import parse

# The one place where public PyPI stands: its pages, and the host its pages link files on.
PUBLIC_INDEX = "https://pypi.org/simple/"
PUBLIC_FILES = "files.pythonhosted.org"
GITHUB_API = "https://api.github.com/"
# Where the services redirect downloads to, by URLs that they signed.
_GITHUB_FILES = ("*.githubusercontent.com", "*.blob.core.windows.net")
_DEVOPS_FILES = ("*.vsblob.vsassets.io", "*.blob.core.windows.net")

_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", re.IGNORECASE)
_LONGEST_SAS_S = 86_400.0
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_FEED_PATH = re.compile(r"(/[^/]+){0,2}/_packaging/[^/]+/pypi/simple/?")
_IMPOSSIBLE = {"store": ("stream", "cache"), "directory": ("redirect", "cache"), "blob": ("cache",)}
NO_PROXY = "none"
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")


def _default_data_folder() -> Path:
    """The platform's folder for a user's data."""
    return Path(platformdirs.user_data_dir("wheelgate", appauthor=False))


class Server(Section):
    """How clients reach us."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    anonymous: Literal["none", "read"] | None = None
    offline: bool = False
    public_url: str | None = None
    path_prefix: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ca_file: Path | None = None
    outbound_proxy: str | None = None
    connections: Path | None = None
    key_vault: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def contradictions(self) -> list[str]:
        """See :class:`Section`."""
        problems = []
        if (self.tls_cert is None) != (self.tls_key is None):
            problems.append("tls_cert: needs tls_key, and the other way round: give both, or neither")
        if not _PREFIX.fullmatch(self.path_prefix):
            problems.append('path_prefix: must look like "/python", without a slash at the end')
        if self.public_url is not None and (problem := url_problem(self.public_url)):
            problems.append(f"public_url: {problem}")
        if self.anonymous is None and not self.is_loopback:
            problems.append(
                f'anonymous: say it, since {self.host} can be reached by others: anonymous = "read" (everybody who reaches the '
                'server may install) or anonymous = "none" (tokens are needed); or --anonymous on the command line'
            )
        if self.outbound_proxy is not None and (problem := proxy_problem(self.outbound_proxy)):
            problems.append(f"outbound_proxy: {problem}")
        if self.key_vault is not None and (problem := vault_problem(self.key_vault)):
            problems.append(f"key_vault: {problem}")
        if self.public_url is not None and not self.public_url.rstrip("/").endswith(self.path_prefix):
            problems.append(
                f"public_url: must end with path_prefix ({self.path_prefix}), since that is where people find the index"
            )
        return problems


class Store(Section):
    """What must survive."""

    url: str | None = None
    account_key: Reference | None = None
    delivery: Literal["redirect", "stream"] = "redirect"
    sas_window: Seconds = 900.0
    sas_life: Seconds = 2700.0
    cache_size: Bytes | None = None

    @property
    def is_azure(self) -> bool:
        """Whether it is a container rather than a folder."""
        return self.url is not None and not self.url.startswith("file:")

    def contradictions(self) -> list[str]:
        """See :class:`Section`."""
        problems = []
        if self.is_azure and (problem := container_problem(self.url or "")):
            problems.append(f"url: {problem}")
        if self.account_key is not None and not self.is_azure:
            problems.append("account_key: only a container in Azure has one")
        if self.cache_size is not None and self.is_azure:
            problems.append("cache_size: only a folder has one: give the container's account a lifecycle rule for cache/ instead")
        if self.sas_window < 10 or self.sas_life < self.sas_window + 600:
            problems.append("sas_life: must be at least 10m longer than sas_window, which must be at least 10s")
        elif self.sas_life > _LONGEST_SAS_S:
            problems.append("sas_life: must be at most 1d: whoever has a signed URL can read the file as long as it lives")
        return problems


class Source(Section):
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
            return _feed_problem(self.url or "")
        if self.type == "store":
            return "a source of type store has none; the store's own is store.url" if self.url is not None else None
        if self.type == "blob":
            return container_problem(self.url or "")
        if self.type == "directory":
            return None if self.url and self.url.startswith("file:") else 'must be a folder, such as "file:./wheels"'
        return url_problem(self.index_url)


def _feed_problem(text: str) -> str | None:
    hint = 'must be a feed, such as "https://pkgs.dev.azure.com/ORGANISATION/PROJECT/_packaging/FEED/pypi/simple/"'
    if problem := url_problem(text):
        return f"{hint}; this one {problem}"
    return None if _FEED_PATH.fullmatch(parse(text).raw_path) else hint


class Config(Section):
    """Everything the operator said, checked."""

    server: Server = Server()
    store: Store = Store()
    source: list[Source] = [Source(name="uploads", type="store"), Source(name="pypi", type="index")]
    connection: list[Connection] = []
    found_connections: list[Connection] = []
    """Those of the connections folder."""
    policy: Policy = Policy()
    data: Path = Field(default_factory=_default_data_folder)
    """The folder for what need not be shared (the spool), and for the store if it has no URL of its own."""
    folder: Path = Path()
    """Relative paths in the file start here."""

    @property
    def data_folder(self) -> Path:
        """Where this machine's own data lies."""
        return self.folder / self.data

    @property
    def store_folder(self) -> Path:
        """Where the local store lies."""
        if self.store.url is None:
            return self.data_folder / "store"
        return self.folder / self.store.url.removeprefix("file:")

    @property
    def store_place(self) -> str:
        """Where the store is, for people."""
        return self.store.url or "" if self.store.is_azure else str(self.store_folder)

    def is_offline(self, source: Source) -> bool:
        """Whether a source is never asked, so that only what the store holds of it is served."""
        return source.is_remote and (self.server.offline or source.offline)

    def source_folder(self, source: Source) -> Path:
        """The folder of a directory source."""
        return self.folder / (source.url or "").removeprefix("file:")

    def on_port(self, port: int) -> Config:
        """The same settings with the port that a socket really got (0 asks for any)."""
        return self.model_copy(update={"server": self.server.model_copy(update={"port": port})})

    @property
    def anonymous_read(self) -> bool:
        """Whether installing needs no token; uploading always does."""
        return self.server.anonymous != "none"

    def secret(self, reference: str, key: str) -> Secret:
        """What a reference stands for, read now. ``key``: the setting it stands in, for the sentence if it cannot be had.

        Raises:
            ConfigurationError: the variable or file is missing or empty.
        """
        try:
            return self.references.read(reference)
        except SecretMissing as error:
            raise ConfigurationError([f"{key}: {error}"]) from None

    @property
    def references(self) -> References:
        """Reads what references stand for."""
        return References(self.folder, self.connections_folder.parent / "secrets.toml")

    @property
    def connections(self) -> list[Connection]:
        """All of them, wherever they are stated."""
        return [*self.connection, *self.found_connections]

    def only_with(self, connection: Connection, url: str | None, scratch: Path) -> Config:
        """The same settings with only what a connection serves, or with one source at ``url``.

        ``scratch``: a folder for the store, unless that is what the connection serves: nothing else has to work, or is touched.

        Raises:
            ConfigurationError: the URL is not below the connection's target.
        """
        if url is None:
            served = [s for s in self.source if (s.is_remote or s.type == "blob") and covers([connection], s.index_url)]
        elif covers([connection], url):
            kind: Literal["devops", "index"] = "devops" if _feed_problem(url) is None else "index"
            served = [Source(name="asked", type=kind, url=url, private=True)]
        else:
            raise ConfigurationError([f"--url: is not below {connection.target}, so connection {connection.name} is not for it"])
        is_served = self.store.is_azure and covers([connection], self.store.url or "")
        store = self.store if is_served else Store(url=f"file:{scratch}")
        return self.model_copy(update={"source": served, "store": store})

    @property
    def connections_folder(self) -> Path:
        """Where connection documents lie, if there are any."""
        return self.folder / self.server.connections if self.server.connections else self.data_folder / "connections"

    @property
    def base_url(self) -> str:
        """What people put before ``/simple/``: as stated, or as this machine would say it."""
        server = self.server
        if server.public_url is not None:
            return server.public_url.rstrip("/")
        host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104 - compared, not bound
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}{server.path_prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.server.is_loopback

    def policy_doubts(self, now: datetime) -> list[str]:
        """See :meth:`~proxy.config.policy.Policy.doubts`."""
        cooldowns = [source.cooldown for source in self.source if source.cooldown is not None]
        return self.policy.doubts(now, cooldowns, [source.name for source in self.source if not source.is_private])

    def contradictions(self) -> list[str]:
        """What is wrong between sections; looked at once each of them is right."""
        names = [source.name for source in self.source]
        private = {source.name for source in self.source if source.is_private}
        problems = [
            f"source[{index}].name: {name} is the name of another source too"
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if sum(source.type == "store" for source in self.source) > 1:
            problems.append("source: only one may have the type store: there is one store")
        problems += ties(self.connection)
        return problems + [f"policy.{problem}" for problem in self.policy.misfits(names, private)]

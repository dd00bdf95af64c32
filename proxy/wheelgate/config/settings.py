"""Settings as frozen values: server, store, sources, connections and policy. Each section checks itself."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, PrivateAttr

from wheelgate.config.connections import Connection, covers, find_conflicts
from wheelgate.config.overlaps import Place, describe_overlap, find_folder_place, parse_container_place
from wheelgate.config.policy import PolicySettings
from wheelgate.config.references import References
from wheelgate.config.section import Section
from wheelgate.config.source import NO_PROXY, SourceSettings, check_feed_url
from wheelgate.config.value_types import (
    Bytes,
    Reference,
    Seconds,
    check_container_url,
    check_proxy_url,
    check_url,
    check_vault_url,
)
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.urls import is_loopback_host, parse_scope

_LONGEST_SAS_S = 86_400.0
_HOST_AND_PORT = re.compile(r"([^:/\[\]]+|\[[^\]/]*\]):\d+")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")


class ServerSettings(Section):
    """``[server]`` section: listening address, TLS, access, proxies."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    anonymous: Literal["none", "read"] | None = None
    offline: bool = False
    max_connections: int | None = Field(default=None, ge=16, le=65_536)
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
        """``True`` if only this machine can reach the server."""
        return is_loopback_host(self.host)

    def find_contradictions(self) -> list[str]:
        problems = []
        if (self.tls_cert is None) != (self.tls_key is None):
            problems.append("tls_cert: set both tls_cert and tls_key, or neither")
        if not _PREFIX.fullmatch(self.path_prefix):
            problems.append('path_prefix: must look like "/python", without a trailing slash')
        if self.public_url is not None and (problem := check_url(self.public_url)):
            problems.append(f"public_url: {problem}")
        if _HOST_AND_PORT.fullmatch(self.host):
            host, _, port = self.host.rpartition(":")
            problems.append(f"host: has a port in it: write {host}, and {port} as port (on the command line: --port {port})")
        elif "/" in self.host:
            problems.append("host: is a URL: write the address to listen on, such as 127.0.0.1, alone")
        elif self.anonymous is None and not self.is_loopback:
            problems.append(
                f'anonymous: must be set because other machines can reach {self.host}: anonymous = "read" (anyone who can '
                'reach the server may install) or anonymous = "none" (a token is required); or pass --anonymous'
            )
        if self.outbound_proxy not in (None, NO_PROXY) and (problem := check_proxy_url(self.outbound_proxy or "")):
            problems.append(f'outbound_proxy: {problem}; for no proxy, set it to "{NO_PROXY}"')
        if self.key_vault is not None and (problem := check_vault_url(self.key_vault)):
            problems.append(f"key_vault: {problem}")
        if self.public_url is not None and not self.public_url.rstrip("/").endswith(self.path_prefix):
            problems.append(f"public_url: must end with path_prefix ({self.path_prefix}), because clients find the index there")
        return problems


class StoreSettings(Section):
    """``[store]`` section: the blob container or folder for everything that must survive."""

    url: str | None = None
    account_key: Reference | None = None
    delivery: Literal["redirect", "stream"] = "redirect"
    sas_window: Seconds = 900.0
    sas_life: Seconds = 2700.0
    cache_size: Bytes | None = None

    @property
    def is_azure(self) -> bool:
        """``True`` for a container, ``False`` for a folder."""
        return self.url is not None and not self.url.startswith("file:")

    def find_contradictions(self) -> list[str]:
        problems = []
        if self.is_azure and (problem := check_container_url(self.url or "")):
            problems.append(f"url: {problem}")
        if self.account_key is not None and not self.is_azure:
            problems.append("account_key: applies only to a container in Azure")
        if self.cache_size is not None and self.is_azure:
            problems.append(
                "cache_size: applies only to a folder; for a container, add a lifecycle rule for cache/ to its storage account"
            )
        if self.sas_window < 10 or self.sas_life < self.sas_window + 600:
            problems.append("sas_life: must be at least 10m longer than sas_window, which must be at least 10s")
        elif self.sas_life > _LONGEST_SAS_S:
            problems.append(
                "sas_life: must be at most 1d, because anyone who has a signed URL can read the file until it expires"
            )
        return problems


class Config(Section):
    """All settings of one process, checked."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    source: list[SourceSettings] = [SourceSettings(name="uploads", type="store"), SourceSettings(name="pypi", type="index")]
    connection: list[Connection] = []
    found_connections: list[Connection] = []
    """Connections of the connections folder."""
    policy: PolicySettings = PolicySettings()
    data: Path = Field(default_factory=lambda: platformdirs.user_data_path("wheelgate", appauthor=False))
    """Folder for what need not be shared (the spool), and for the store if it has no URL of its own."""
    folder: Path = Path()
    """Folder that relative paths in the file start from."""
    _configured: list[SourceSettings] | None = PrivateAttr(default=None)

    @property
    def configured_sources(self) -> list[SourceSettings]:
        """All sources, in their order, also those that :meth:`limit_to_connection` left out: not asked, but known to be there."""
        return self.source if self._configured is None else self._configured

    @property
    def data_folder(self) -> Path:
        return self.folder / self.data

    @property
    def store_folder(self) -> Path:
        if self.store.url is None:
            return self.data_folder / "store"
        return self.folder / self.store.url.removeprefix("file:")

    @property
    def store_location(self) -> str:
        """URL or folder of the store, for people to read."""
        return self.store.url or "" if self.store.is_azure else str(self.store_folder)

    def is_offline(self, source: SourceSettings) -> bool:
        """Tell if a source is never asked, so that only what the store holds of it is served."""
        return source.is_remote and (self.server.offline or source.offline)

    def find_neighbours(self, source: SourceSettings) -> dict[str, str]:
        """Find the URLs of the other indexes, by their sources' names: where one of them sends a client, it means that one.

        None that is private and for some names alone: what it has beyond those is not asked for, and may not be asked in public.
        """
        others = (other for other in self.configured_sources if other.name != source.name and other.type in ("index", "devops"))
        return {other.name: other.index_url for other in others if other.only is None or not other.is_private}

    def get_source_folder(self, source: SourceSettings) -> Path:
        return self.folder / (source.url or "").removeprefix("file:")

    @property
    def store_place(self) -> Place | None:
        """Place of the store, to be compared with those of the sources."""
        return parse_container_place(self.store.url or "") if self.store.is_azure else find_folder_place(self.store_folder)

    def find_source_place(self, source: SourceSettings) -> Place | None:
        """Find the place in storage that a source lists; ``None``: it is asked over HTTP, or is the store."""
        if source.type == "blob":
            return parse_container_place(source.url or "")
        return find_folder_place(self.get_source_folder(source)) if source.type == "directory" else None

    def with_port(self, port: int) -> Config:
        """Copy the settings with the port that a socket really got (0 asks for any)."""
        return self.model_copy(update={"server": self.server.model_copy(update={"port": port})})

    @property
    def anonymous_read(self) -> bool:
        """``True`` if installing needs no token; uploading always does."""
        return self.server.anonymous != "none"

    @property
    def references(self) -> References:
        return References(self.folder, self.connections_folder.parent / "secrets.toml")

    @property
    def connections(self) -> list[Connection]:
        return [*self.connection, *self.found_connections]

    def limit_to_connection(self, connection: Connection, url: str | None, scratch: Path) -> Config:
        """The same settings with only what a connection serves, or with one source at ``url``.

        ``scratch``: a folder for the store, unless that is what the connection serves: nothing else has to work, or is touched.

        Raises:
            ConfigurationError: the URL is not below the connection's target.
        """
        if url is None:
            served = [s for s in self.source if (s.is_remote or s.type == "blob") and covers([connection], s.index_url)]
        elif covers([connection], url):
            kind: Literal["devops", "index"] = "devops" if check_feed_url(url) is None else "index"
            served = [SourceSettings(name="asked", type=kind, url=url, private=True)]
        else:
            raise ConfigurationError([f"--url: is not below {connection.target}, the target of connection {connection.name}"])
        is_served = self.store.is_azure and covers([connection], self.store.url or "")
        store = self.store if is_served else StoreSettings(url=f"file:{scratch}")
        limited = self.model_copy(update={"source": served, "store": store})
        limited._configured = [source for source in self.source if source.index_url != url]  # noqa: SLF001 - our own kind
        return limited

    @property
    def connections_folder(self) -> Path:
        """Folder of the connection documents; it may not exist."""
        return self.folder / self.server.connections if self.server.connections else self.data_folder / "connections"

    @property
    def base_url(self) -> str:
        """URL before ``/simple/``: as configured, or as clients on this machine reach it."""
        server = self.server
        if server.public_url is not None:
            return server.public_url.rstrip("/")
        host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104 - compared, not bound
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}{server.path_prefix}"

    def find_idle_policy(self, now: datetime) -> list[str]:
        cooldowns = [source.cooldown for source in self.source if source.cooldown is not None]
        may_be_public = [source for source in self.source if source.may_pass_through or source.may_be_mirror]
        public = [source.name for source in self.source if not source.is_private or source in may_be_public]
        return self.policy.find_idle_rules(now, cooldowns, public)

    def _is_below_public_url(self, url: str) -> bool:
        return self.server.public_url is not None and parse_scope(self.server.public_url).holds(parse_scope(url))

    def find_contradictions(self) -> list[str]:
        """Find contradictions between sections; checked only when each section is valid."""
        names = [source.name for source in self.source]
        private = {source.name for source in self.source if source.is_private}
        problems = [
            f"source[{index}].name: another source is also named {name}"
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if sum(source.type == "store" for source in self.source) > 1:
            problems.append("source: only one source may be of type store")
        problems += find_conflicts(self.connection)
        key = "data, store.url being unset" if self.store.url is None else "store.url"
        problems += [
            f"source[{index}].url: {problem}"
            for index, source in enumerate(self.source)
            if (problem := describe_overlap(self.find_source_place(source), self.store_place, key))
        ]
        problems += [
            f"source[{index}].url: is this server itself, as server.public_url says"
            for index, source in enumerate(self.source)
            if source.type == "index" and self._is_below_public_url(source.index_url)
        ]
        passing = {source.name for source in self.source if source.may_pass_through}
        return problems + [f"policy.{problem}" for problem in self.policy.find_misfits(names, private, passing)]

"""The settings as frozen values. A section judges by itself what is wrong between its own values."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field

from wheelgate.config.connections import Connection, covers, ties
from wheelgate.config.policy import PolicySettings
from wheelgate.config.references import References, SecretMissing
from wheelgate.config.section import Section
from wheelgate.config.source import NO_PROXY, SourceSettings, feed_problem
from wheelgate.config.values import Bytes, Reference, Seconds, container_problem, proxy_problem, url_problem, vault_problem
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret

_LONGEST_SAS_S = 86_400.0
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")


def _default_data_folder() -> Path:
    """The platform's folder for a user's data."""
    return Path(platformdirs.user_data_dir("wheelgate", appauthor=False))


class ServerSettings(Section):
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
        if self.outbound_proxy not in (None, NO_PROXY) and (problem := proxy_problem(self.outbound_proxy or "")):
            problems.append(f'outbound_proxy: {problem}; "{NO_PROXY}" for no proxy')
        if self.key_vault is not None and (problem := vault_problem(self.key_vault)):
            problems.append(f"key_vault: {problem}")
        if self.public_url is not None and not self.public_url.rstrip("/").endswith(self.path_prefix):
            problems.append(
                f"public_url: must end with path_prefix ({self.path_prefix}), since that is where people find the index"
            )
        return problems


class StoreSettings(Section):
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


class Config(Section):
    """Everything the operator said, checked."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    source: list[SourceSettings] = [SourceSettings(name="uploads", type="store"), SourceSettings(name="pypi", type="index")]
    connection: list[Connection] = []
    found_connections: list[Connection] = []
    """Those of the connections folder."""
    policy: PolicySettings = PolicySettings()
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

    def is_offline(self, source: SourceSettings) -> bool:
        """Whether a source is never asked, so that only what the store holds of it is served."""
        return source.is_remote and (self.server.offline or source.offline)

    def source_folder(self, source: SourceSettings) -> Path:
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
            kind: Literal["devops", "index"] = "devops" if feed_problem(url) is None else "index"
            served = [SourceSettings(name="asked", type=kind, url=url, private=True)]
        else:
            raise ConfigurationError([f"--url: is not below {connection.target}, so connection {connection.name} is not for it"])
        is_served = self.store.is_azure and covers([connection], self.store.url or "")
        store = self.store if is_served else StoreSettings(url=f"file:{scratch}")
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
        """See :meth:`~wheelgate.config.policy.PolicySettings.doubts`."""
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

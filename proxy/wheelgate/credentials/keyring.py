"""Keyring: connections, their secrets, vaults and identities, in one place and with one lifetime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any

from wheelgate.config import Config, Connection
from wheelgate.config.connections import find_conflicts
from wheelgate.config.connections_folder import fingerprint_folder, read_connections_folder
from wheelgate.core.errors import ConfigurationError, CredentialRefused
from wheelgate.core.protocols import Clock
from wheelgate.core.urls import parse
from wheelgate.credentials.auth_types import credential_for
from wheelgate.credentials.connections import Connections, SourceCredentials
from wheelgate.credentials.secrets import Secrets
from wheelgate.runtime.background import run_beside
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.hops import proxy_headers

if TYPE_CHECKING:
    from wheelgate.credentials.azure_transport import AzureTransport
    from wheelgate.credentials.entra import EntraIdentity
    from wheelgate.credentials.key_vault import KeyVault

_LOOK_S = 2.0
_log = logging.getLogger(__name__)


class Keyring:
    """The credentials of one process. Nothing is fetched before it is needed; close it when done."""

    def __init__(self, config: Config, clock: Clock, ca_file: str | None, metrics: Metrics | None = None) -> None:
        """``metrics``: show which vaults and identities are silent; ``None``: nobody looks."""
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._ca_file = ca_file
        self._vaults: dict[str, KeyVault] = {}
        self._identities: dict[Connection | str | None, EntraIdentity] = {}
        self._opened = AsyncExitStack()
        self.secrets = Secrets(config.references, clock=clock, vault=self.vault)
        self._connections = Connections(lambda connection: credential_for(connection, self.secrets, self._fetch_token))
        self._connections.replace(config.connections)

    async def close(self) -> None:
        await self.secrets.close()
        await self._opened.aclose()

    def of_page(self, url: str) -> SourceCredentials:
        """The credentials of a source whose pages are below this URL."""
        return self._connections.of_page(url)

    async def for_container(self, url: str) -> Any:
        """The credential for a container: its connection's identity or signature, or this machine's identity.

        Raises:
            CredentialRefused: the connection's secret is not available, or storage does not accept its auth_type.
        """
        connection = self._connections.settings_for(url)
        if connection is None or connection.auth_type == "None":
            return self._find_identity(None)
        if connection.auth_type == "SAS":
            from wheelgate.credentials.shared_signature import SharedAccessSignature

            secret = await self.secrets.read(connection.value or "")
            return SharedAccessSignature(secret, connection, lambda: self.find_connection(url), self.secrets, self._clock)
        if connection.auth_type not in ("ManagedIdentity", "ServicePrincipal"):
            raise CredentialRefused(
                f"connection {connection.name} has auth_type {connection.auth_type}, which storage does not accept: use "
                "ManagedIdentity, ServicePrincipal or SAS"
            )
        return self._find_identity(connection)

    async def vault(self, url: str | None) -> KeyVault:
        """A key vault, by its URL; ``None``: the configured one, or :class:`CredentialRefused` if there is none."""
        from wheelgate.credentials.key_vault import KeyVault

        url = (url or self._config.server.key_vault or "").rstrip("/")
        if not url:
            raise CredentialRefused("server.key_vault is not set: set it, or name the vault in the reference")
        if url not in self._vaults:
            vault = self._vaults[url] = KeyVault(url, self._find_identity(None), self._transport())
            if self._metrics is not None:
                gauge = self._metrics.vault_breaker_open.labels(parse(url).host or "")
                gauge.set_function(lambda: vault.is_silent)
            self._opened.push_async_callback(self._vaults[url].close)
        return self._vaults[url]

    def watching(self, changed: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Follow the changes of the connections folder, as long as the block runs; ``changed``: called when others are used."""
        return run_beside(self._watch(changed))

    def find_connection(self, url: str) -> Connection | None:
        """Find the connection that a URL belongs to; ``None``: none does."""
        return self._connections.settings_for(url)

    def _transport(self) -> AzureTransport:
        from wheelgate.credentials.azure_transport import AzureTransport

        return AzureTransport(self._ca_file, self._config.server.outbound_proxy, self._sign_in_to_proxy)

    async def _sign_in_to_proxy(self) -> Mapping[str, str] | None:
        """Headers for the outbound proxy on the way to Azure. Not by what lies beyond it: that would wait for itself."""
        proxy = self._config.server.outbound_proxy or ""
        connection = self._connections.settings_for(proxy)
        if (
            connection is None
            or connection.auth_type in ("ManagedIdentity", "ServicePrincipal")
            or (connection.value or "").startswith("keyvault:")
        ):
            return None
        return await proxy_headers(self.of_page(proxy), proxy)

    async def _fetch_token(self, connection: Connection) -> str:
        return await self._find_identity(connection).bearer(connection.entra_scope or "")

    def _find_identity(self, connection: Connection | None) -> EntraIdentity:
        """The identity that a connection names (``None``: this machine's own), made once, so that its tokens are fetched once."""
        from wheelgate.credentials.entra import ServicePrincipal, machine_identity  # heavy: 20 MB that a folder does not need

        client_id = None if connection is None else connection.client_id
        principal = connection if connection is not None and connection.auth_type == "ServicePrincipal" else None
        if (identity := self._identities.get(principal or client_id)) is None:
            if principal is not None:
                identity = ServicePrincipal(principal, self.secrets, self._clock, self._transport())
            else:
                identity = machine_identity(self._clock, self._transport(), client_id)
            self._identities[principal or client_id] = identity
            if self._metrics is not None:
                label = client_id or "this machine" if principal is None else f"connection {principal.name}"
                self._metrics.entra_breaker_open.labels(label).set_function(lambda: identity.is_silent)
            self._opened.push_async_callback(identity.close)
        return identity

    async def _watch(self, changed: Callable[[], None]) -> None:
        folder = self._config.connections_folder
        seen = await asyncio.to_thread(fingerprint_folder, folder)
        while True:
            await asyncio.sleep(_LOOK_S)
            now = await asyncio.to_thread(fingerprint_folder, folder)
            if now != seen:
                seen = now
                await self._reload(changed)

    async def _reload(self, changed: Callable[[], None]) -> None:
        """A folder that cannot be used changes nothing: half of a change could send a credential where it no longer belongs."""
        try:
            found, problems = await asyncio.to_thread(read_connections_folder, self._config.connections_folder)
            connections = [*self._config.connection, *found]
            problems += find_conflicts(connections)
        except ConfigurationError as error:
            problems, connections = error.problems, []
        if problems:
            _log.error("ignoring the changed connections folder (%s); keeping the previous connections", "; ".join(problems))
            return
        self._connections.replace(connections)
        changed()
        names = ", ".join(connection.name for connection in connections)
        _log.info("connections folder reloaded; active connections: %s", names or "none")

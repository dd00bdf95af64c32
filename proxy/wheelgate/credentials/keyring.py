"""Everything that signs in, in one place: connections, their secrets, vaults and identities, with one lifetime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wheelgate.config import Config, Connection, find_conflicts, fingerprint_folder, read_connections_folder
from wheelgate.core.errors import ConfigurationError, CredentialRefused
from wheelgate.core.protocols import Clock, Credential
from wheelgate.credentials.auth_types import credential_for
from wheelgate.credentials.connections import Connections, SourceCredentials
from wheelgate.credentials.secrets import Secrets
from wheelgate.upstream.hops import proxy_headers

if TYPE_CHECKING:
    from wheelgate.credentials.azure_transport import AzureTransport
    from wheelgate.credentials.entra import EntraIdentity, ServicePrincipal
    from wheelgate.credentials.key_vault import KeyVault

_LOOK_S = 2.0
_log = logging.getLogger(__name__)


class Keyring:
    """The credentials of one process. Nothing is fetched before it is needed; close it when done."""

    def __init__(self, config: Config, clock: Clock, ca_file: str | None) -> None:
        self._config = config
        self._clock = clock
        self._ca_file = ca_file
        self._vaults: dict[str, KeyVault] = {}
        self._our_identity: EntraIdentity | None = None
        self._assigned: dict[str, EntraIdentity] = {}
        self._principals: dict[Connection, ServicePrincipal] = {}
        self.secrets = Secrets(config.references, clock=clock, vault=self.vault)
        self._connections = Connections(self._credential)
        self._connections.replace(config.connections)

    async def close(self) -> None:
        """Close every connection."""
        await self.secrets.close()
        for vault in self._vaults.values():
            await vault.close()
        for principal in self._principals.values():
            await principal.close()
        for identity in [*self._assigned.values(), self._our_identity]:
            if identity is not None:
                await identity.close()

    def of_page(self, url: str) -> SourceCredentials:
        """The credentials of a source whose pages are below this URL."""
        return self._connections.of_page(url)

    async def our_identity(self) -> EntraIdentity:
        """This machine's own: one for the whole process, so that its tokens are fetched once."""
        if self._our_identity is None:
            from wheelgate.credentials.entra import machine_identity  # a tenth of a second and 20 MB that a folder does not need

            self._our_identity = machine_identity(self._clock, self._way())
        return self._our_identity

    async def for_container(self, url: str) -> Any:
        """What signs in to a container: its connection's identity or signature, or this machine's identity.

        Raises:
            CredentialRefused: the connection's secret cannot be had, or its kind is none that storage takes.
        """
        connection = self._connections.settings_for(url)
        if connection is None or connection.auth_type == "None":
            return await self.our_identity()
        if connection.auth_type == "SAS":
            from wheelgate.credentials.entra import SharedAccessSignature

            return SharedAccessSignature((await self.secrets.read(connection.value or "")).reveal())
        if connection.auth_type not in ("ManagedIdentity", "ServicePrincipal"):
            raise CredentialRefused(
                f"connection {connection.name} is of the kind {connection.auth_type}, which storage does not take: use "
                "ManagedIdentity, ServicePrincipal or SAS"
            )
        return await self._identity(connection)

    async def vault(self, url: str | None) -> KeyVault:
        """A key vault, by its URL; ``None``: the configured one.

        Raises:
            CredentialRefused: none is configured.
        """
        from wheelgate.credentials.key_vault import KeyVault

        url = (url or self._config.server.key_vault or "").rstrip("/")
        if not url:
            raise CredentialRefused("server.key_vault is not set: which vault is meant?")
        if url not in self._vaults:
            self._vaults[url] = KeyVault(url, await self.our_identity(), self._way())
        return self._vaults[url]

    @asynccontextmanager
    async def watching(self, admit: Callable[[Sequence[Connection]], None]) -> AsyncIterator[None]:
        """Go by what the connections folder says, as long as this runs.

        ``admit`` is told of connections before they are used, and may refuse them with a :class:`ConfigurationError`.
        """
        task = asyncio.create_task(self._watch(admit))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _way(self) -> AzureTransport:
        from wheelgate.credentials.azure_transport import AzureTransport

        return AzureTransport(self._ca_file, self._config.server.outbound_proxy, self._at_the_proxy)

    async def _at_the_proxy(self) -> Mapping[str, str] | None:
        """How we sign in to the outbound proxy on the way to Azure. Not by what lies beyond it: that would wait for itself."""
        proxy = self._config.server.outbound_proxy or ""
        connection = self._connections.settings_for(proxy)
        if (
            connection is None
            or connection.auth_type in ("ManagedIdentity", "ServicePrincipal")
            or (connection.value or "").startswith("keyvault:")
        ):
            return None
        return await proxy_headers(self.of_page(proxy), proxy)

    def _credential(self, connection: Connection) -> Credential | None:
        return credential_for(connection, self.secrets, self._identity)

    async def _identity(self, connection: Connection) -> EntraIdentity | ServicePrincipal:
        if connection.auth_type == "ManagedIdentity" and connection.client_id is None:
            return await self.our_identity()
        from wheelgate.credentials.entra import ServicePrincipal, assigned_identity

        if connection.auth_type == "ServicePrincipal":
            if connection not in self._principals:
                self._principals[connection] = ServicePrincipal(connection, self.secrets, self._clock, self._way())
            return self._principals[connection]
        client_id = connection.client_id or ""
        if client_id not in self._assigned:
            self._assigned[client_id] = assigned_identity(self._clock, client_id, self._way())
        return self._assigned[client_id]

    async def _watch(self, admit: Callable[[Sequence[Connection]], None]) -> None:
        folder = self._config.connections_folder
        seen = await asyncio.to_thread(fingerprint_folder, folder)
        while True:
            await asyncio.sleep(_LOOK_S)
            now = await asyncio.to_thread(fingerprint_folder, folder)
            if now != seen:
                seen = now
                await self._read_again(admit)

    async def _read_again(self, admit: Callable[[Sequence[Connection]], None]) -> None:
        """A folder that cannot be used changes nothing: half of a change could send a credential where it no longer belongs."""
        try:
            found, problems = await asyncio.to_thread(read_connections_folder, self._config.connections_folder)
            connections = [*self._config.connection, *found]
            problems += find_conflicts(connections)
            if not problems:
                admit(connections)
        except ConfigurationError as error:
            problems, connections = error.problems, []
        if problems:
            _log.error("the connections folder cannot be used, and what it said before holds: %s", "; ".join(problems))
            return
        self._connections.replace(connections)
        names = ", ".join(connection.name for connection in connections)
        _log.info("the connections folder has changed, and is gone by: %s", names or "no connection")

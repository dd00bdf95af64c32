"""Credentials by auth_type: what each puts into a request, nothing printable in any of them."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from wheelgate.config import Connection
from wheelgate.core.errors import CredentialRefused, UpstreamError
from wheelgate.core.protocols import Credential
from wheelgate.core.secret import Secret
from wheelgate.credentials.secrets import Secrets

_DEVOPS_USER = "wheelgate"
"""Azure DevOps takes any user name beside a PAT."""


class TokenIdentity(Protocol):
    """An identity that Microsoft Entra knows."""

    async def bearer(self, scope: str) -> str:
        """A token with some minutes left to live.

        Raises:
            CredentialRefused: Entra refused the request.
            UpstreamUnavailable: it cannot be reached.
        """
        ...


class ConnectionCredential:
    """Base of the credentials of connections: one that puts nothing into a request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        return f"<connection {self.connection}>"

    @property
    def connection(self) -> str:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        return self._connection.name

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        return {}

    async def sign_url(self, url: str) -> str:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        return url

    async def renew(self) -> bool:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        return False


class StoredCredential(ConnectionCredential):
    """Base of the credentials whose secret is stored."""

    def __init__(self, connection: Connection, secrets: Secrets) -> None:
        super().__init__(connection)
        self._secrets = secrets
        self._used: Secret | None = None

    async def renew(self) -> bool:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        if self._used is None:
            return False
        try:
            return await self._secrets.has_changed(self._connection.value or "", self._used)
        except UpstreamError:
            return False  # it was refused, and there is no other

    async def _read_secret(self) -> str:
        try:
            self._used = await self._secrets.read(self._connection.value or "")
        except UpstreamError as error:
            raise type(error)(f"connection {self.connection} has no secret: {error}") from None
        return self._used.reveal()


class BasicCredential(StoredCredential):
    """User name and password (RFC 7617). With a PAT the user name does not matter."""

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        pair = f"{self._connection.username or _DEVOPS_USER}:{await self._read_secret()}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class BearerCredential(StoredCredential):
    """A token that was given to us (RFC 6750)."""

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        token = await self._read_secret()
        if not token.isascii():
            raise CredentialRefused(f"connection {self.connection} has no secret: a bearer token is ASCII")
        return {"Authorization": f"Bearer {token}"}


class SasCredential(StoredCredential):
    """A shared access signature: the query of a URL of Azure Storage."""

    async def sign_url(self, url: str) -> str:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        query = (await self._read_secret()).removeprefix("?")
        return f"{url}{'&' if '?' in url else '?'}{query}"


class EntraCredential(ConnectionCredential):
    """A token of Microsoft Entra, as a managed identity, a workload or a service principal.

    It is renewed long before its end, so one that is refused is not the token's fault.
    """

    def __init__(self, connection: Connection, identity: Callable[[], Awaitable[TokenIdentity]]) -> None:
        super().__init__(connection)
        self._identity = identity

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        try:
            token = await (await self._identity()).bearer(self._connection.entra_scope or "")
        except UpstreamError as error:
            raise type(error)(f"connection {self.connection} has no token: {error}") from None
        return {"Authorization": f"Bearer {token}"}


def credential_for(
    connection: Connection, secrets: Secrets, identity: Callable[[Connection], Awaitable[TokenIdentity]]
) -> Credential | None:
    """The credential of a connection; ``None`` for one that says so. ``identity`` makes the identity of one that names it."""
    match connection.auth_type:
        case "None":
            return None
        case "PAT" if connection.category == "Git":
            return BearerCredential(connection, secrets)
        case "PAT" | "UsernamePassword":
            return BasicCredential(connection, secrets)
        case "Bearer":
            return BearerCredential(connection, secrets)
        case "SAS":
            return SasCredential(connection, secrets)
        case "ManagedIdentity" | "ServicePrincipal":
            return EntraCredential(connection, lambda: identity(connection))

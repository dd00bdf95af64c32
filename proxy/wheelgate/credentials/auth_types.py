"""What each kind of connection puts into a request: one class a kind, nothing printable in any of them."""

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
    """Somebody Microsoft Entra knows."""

    async def bearer(self, scope: str) -> str:
        """A token with some minutes left to live.

        Raises:
            CredentialRefused: Entra gives none.
            UpstreamUnavailable: it cannot be reached.
        """
        ...


class _Stored:
    """The part that all kinds with a stored secret share."""

    def __init__(self, connection: Connection, secrets: Secrets) -> None:
        self._connection = connection
        self._secrets = secrets
        self._used: Secret | None = None

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
        if self._used is None:
            return False
        try:
            return await self._secrets.has_changed(self._connection.value or "", self._used)
        except UpstreamError:
            return False  # it was refused, and there is no other to be had

    async def _secret(self) -> str:
        try:
            self._used = await self._secrets.read(self._connection.value or "")
        except UpstreamError as error:
            raise type(error)(f"connection {self.connection} has no secret: {error}") from None
        return self._used.reveal()


class BasicCredential(_Stored):
    """User name and password (RFC 7617). With a PAT the user name does not matter."""

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        pair = f"{self._connection.username or _DEVOPS_USER}:{await self._secret()}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class BearerCredential(_Stored):
    """A token that was given to us (RFC 6750)."""

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        token = await self._secret()
        if not token.isascii():
            raise CredentialRefused(f"connection {self.connection} has no secret: a bearer token is ASCII")
        return {"Authorization": f"Bearer {token}"}


class SasCredential(_Stored):
    """A shared access signature: the query of a URL of Azure Storage."""

    async def sign_url(self, url: str) -> str:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        query = (await self._secret()).removeprefix("?")
        return f"{url}{'&' if '?' in url else '?'}{query}"


class EntraCredential:
    """A token of Microsoft Entra, as a managed identity, a workload or a service principal."""

    def __init__(self, connection: Connection, identity: Callable[[], Awaitable[TokenIdentity]]) -> None:
        self._connection = connection
        self._identity = identity

    def __repr__(self) -> str:
        return f"<connection {self.connection}>"

    @property
    def connection(self) -> str:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        return self._connection.name

    async def headers(self) -> Mapping[str, str]:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        try:
            token = await (await self._identity()).bearer(self._connection.entra_scope or "")
        except UpstreamError as error:
            raise type(error)(f"connection {self.connection} has no token: {error}") from None
        return {"Authorization": f"Bearer {token}"}

    async def sign_url(self, url: str) -> str:
        """See :class:`~wheelgate.core.protocols.Credential`."""
        return url

    async def renew(self) -> bool:
        """A token is renewed long before its end; one that is refused is not the token's fault."""
        return False


def credential_for(
    connection: Connection, secrets: Secrets, identity: Callable[[Connection], Awaitable[TokenIdentity]]
) -> Credential | None:
    """What signs in for a connection; ``None`` for one that says so. ``identity`` makes the identity of one that names it."""
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

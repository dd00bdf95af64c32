"""Credentials by auth_type: what each puts into a request, nothing printable in any of them."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from wheelgate.config import Connection
from wheelgate.config.signature_limits import explain_refusal
from wheelgate.core.errors import CredentialRefused, UpstreamError
from wheelgate.core.protocols import Credential
from wheelgate.core.secret import Secret
from wheelgate.credentials.secrets import Secrets

_DEVOPS_USER = "wheelgate"
"""Azure DevOps takes any user name beside a PAT."""


BearerOf = Callable[[Connection], Awaitable[str]]
"""A token of the identity that a connection names, with some minutes left to live. Raises as ``EntraIdentity.bearer``."""


class ConnectionCredential:
    """Base of the credentials of connections: one that puts nothing into a request."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection.name
        self._connection = connection

    def __repr__(self) -> str:
        return f"<connection {self.connection}>"

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, code: str, now: datetime) -> str | None:  # noqa: ARG002 - of most kinds the answer says more
        return None


class StoredCredential(ConnectionCredential):
    """Base of the credentials whose secret is stored."""

    def __init__(self, connection: Connection, secrets: Secrets) -> None:
        super().__init__(connection)
        self._secrets = secrets
        self._used: Secret | None = None

    async def renew(self) -> bool:
        return self._used is not None and await self._secrets.has_changed(self._connection.value or "", self._used)

    async def _read_secret(self) -> str:
        try:
            self._used = await self._secrets.read(self._connection.value or "")
        except UpstreamError as error:
            raise type(error)(f"connection {self.connection} has no secret: {error}") from None
        return self._used.reveal()


class BasicCredential(StoredCredential):
    """User name and password (RFC 7617). With a PAT the user name does not matter."""

    async def headers(self) -> Mapping[str, str]:
        pair = f"{self._connection.username or _DEVOPS_USER}:{await self._read_secret()}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class BearerCredential(StoredCredential):
    """A token that was given to us (RFC 6750)."""

    async def headers(self) -> Mapping[str, str]:
        token = await self._read_secret()
        if not token.isascii():
            raise CredentialRefused(f"connection {self.connection} has no secret: a bearer token is ASCII")
        return {"Authorization": f"Bearer {token}"}


class SasCredential(StoredCredential):
    """A shared access signature: the query of a URL of Azure Storage."""

    async def sign_url(self, url: str) -> str:
        query = (await self._read_secret()).removeprefix("?")
        return f"{url}{'&' if '?' in url else '?'}{query}"

    def explain_refusal(self, code: str, now: datetime) -> str | None:
        if self._used is None:
            return None
        by_http = self._connection.place.origin[0] == "http"
        return f"its SAS {explain_refusal(self._used.reveal(), now, code, ('r',), by_http=by_http)}"


class EntraCredential(ConnectionCredential):
    """A token of Microsoft Entra, as a managed identity, a workload or a service principal.

    It is renewed long before its end, so one that is refused is not the token's fault.
    """

    def __init__(self, connection: Connection, bearer_of: BearerOf) -> None:
        super().__init__(connection)
        self._bearer_of = bearer_of

    async def headers(self) -> Mapping[str, str]:
        try:
            return {"Authorization": f"Bearer {await self._bearer_of(self._connection)}"}
        except UpstreamError as error:
            raise type(error)(f"connection {self.connection} has no token: {error}") from None


def credential_for(connection: Connection, secrets: Secrets, bearer_of: BearerOf) -> Credential | None:
    """The credential of a connection; ``None`` for one that says so."""
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
            return EntraCredential(connection, bearer_of)

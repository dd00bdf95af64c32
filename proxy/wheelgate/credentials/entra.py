"""Identities in Microsoft Entra: tokens fetched once however many ask, and renewed before they expire."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

from wheelgate.config import Connection
from wheelgate.core.errors import CredentialRefused, UpstreamUnavailable
from wheelgate.core.protocols import Clock
from wheelgate.core.secret import Secret
from wheelgate.credentials.azure_transport import AzureTransport
from wheelgate.credentials.secrets import Secrets
from wheelgate.runtime.singleflight import SingleFlight

_ENTRA_CODE = re.compile(r"AADSTS(\d+)")
_ENTRA_REASONS = {
    "7000215": "the client secret is wrong",
    "7000222": "the client secret has expired",
    "700016": "there is no such application in that tenant",
    "90002": "there is no such tenant",
    "700213": "no federated credential of that identity fits this workload",
    "70021": "no federated credential of that identity fits this workload",
}
_TOKEN_BUDGET_S = 10.0
_RENEW_EARLY_S = 300.0
_Key = tuple[str | None, ...]


class EntraIdentity:
    """The identity of this machine, workload, service principal or developer, as azure-identity finds it.

    azure-identity caches tokens but lets every concurrent caller fetch one: twenty cold requests would be twenty token
    requests. Here one caller fetches and the others wait. It has the shape of an azure-core asynchronous credential.
    """

    def __init__(self, clock: Clock, credential: Any, through: str = "") -> None:
        """``credential``: any of azure-identity. ``through``: its proxy, for the sentence if that leads nowhere."""
        self._clock = clock
        self._through = through
        self._credential = credential
        self._tokens: dict[_Key, AccessToken] = {}
        self._flights: SingleFlight[AccessToken] = SingleFlight()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the scopes with some minutes left to live, or the last one as long as it lives if no other is available.

        Raises ``ClientAuthenticationError`` if there is no identity here, or it was refused.
        """
        key, claims = (*scopes, options.get("tenant_id")), options.get("claims")
        known = self._tokens.get(key)
        if not claims and known is not None and self._left_s(known) >= _RENEW_EARLY_S:
            return known
        try:
            return await self._flights.run((*key, claims, id(self._credential)), lambda: self._fetch(key, scopes, options))
        except AzureError:
            if claims or known is None or self._left_s(known) <= 0:
                raise
            return known

    async def bearer(self, scope: str) -> str:
        """A token for one scope, as text.

        Raises:
            CredentialRefused: there is no identity here, or Entra refused it; the sentence says what is known.
            UpstreamUnavailable: Entra cannot be reached.
        """
        try:
            async with asyncio.timeout(_TOKEN_BUDGET_S):
                return (await self.get_token(scope)).token
        except ClientAuthenticationError as error:  # also what is raised where there is nobody to sign in as
            code = _ENTRA_CODE.search(str(error))
            if code is None:
                raise CredentialRefused(
                    "this machine has no identity: assign a managed identity, or name its client_id"
                ) from None
            raise CredentialRefused(
                f"Microsoft Entra refused the token request: {_ENTRA_REASONS.get(code[1], f'it says {code[0]}')}"
            ) from None
        except (AzureError, TimeoutError, OSError):
            raise UpstreamUnavailable(f"Microsoft Entra cannot be reached{self._through}") from None

    def _left_s(self, token: AccessToken) -> float:
        return token.expires_on - self._clock.now().timestamp()

    async def _fetch(self, key: _Key, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessToken:
        token: AccessToken = await self._credential.get_token(*scopes, **options)
        self._tokens[key] = token
        return token

    async def close(self) -> None:
        await self._flights.close()
        if self._credential is not None:
            await self._credential.close()


class SharedAccessSignature(AzureSasCredential):
    """A signature that somebody gave us for a container. It signs nothing: what it reads travels through us."""

    def __repr__(self) -> str:
        return "SharedAccessSignature(***)"


def machine_identity(clock: Clock, way: AzureTransport, client_id: str | None = None) -> EntraIdentity:
    """The identity of this machine, workload or developer; of one ``client_id`` a managed or workload identity, and no other."""
    settings: dict[str, Any] = {"disable_instance_discovery": True, **way.client()}
    if client_id is not None:
        settings |= {"managed_identity_client_id": client_id, "workload_identity_client_id": client_id}
        for other in ("environment", "developer_cli", "cli", "powershell", "shared_token_cache"):
            settings[f"exclude_{other}_credential"] = True
    return EntraIdentity(clock, DefaultAzureCredential(**settings), way.display_name)


class ServicePrincipal(EntraIdentity):
    """An application of Microsoft Entra with a client secret that may be rotated in its place."""

    def __init__(self, connection: Connection, secrets: Secrets, clock: Clock, way: AzureTransport) -> None:
        super().__init__(clock, None, way.display_name)
        self._connection = connection
        self._secrets = secrets
        self._way = way
        self._secret: Secret | None = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """See :meth:`EntraIdentity.get_token`; also :class:`CredentialRefused` if the client secret is not available."""
        reference = self._connection.value or ""
        await self._sign_in_with(secret := await self._secrets.read(reference))
        try:
            return await super().get_token(*scopes, **options)
        except ClientAuthenticationError:
            if not await self._secrets.has_changed(reference, secret):
                raise
        await self._sign_in_with(await self._secrets.read(reference))
        return await super().get_token(*scopes, **options)

    async def _sign_in_with(self, secret: Secret) -> None:
        if self._secret is not None and self._secret.reveal() == secret.reveal():
            return
        former, self._secret = self._credential, secret
        self._tokens.clear()
        self._credential = ClientSecretCredential(
            self._connection.tenant_id or "",
            self._connection.client_id or "",
            secret.reveal(),
            disable_instance_discovery=True,
            **self._way.client(),
        )
        if former is not None:
            await former.close()

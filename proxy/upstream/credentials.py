"""Who we are to others: tokens of Microsoft Entra, fetched once however many ask, and renewed before they end."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential

from proxy.protocols import Clock
from proxy.singleflight import SingleFlight

_RENEW_EARLY_S = 300.0
_Key = tuple[str | None, ...]


class EntraIdentity:
    """The identity of this machine, workload, service principal or developer, as azure-identity finds it.

    azure-identity caches tokens but lets every concurrent caller fetch one: twenty cold requests would be twenty token
    requests. Here one caller fetches and the others wait. It has the shape of an azure-core asynchronous credential.
    """

    def __init__(self, clock: Clock, credential: Any = None) -> None:  # any azure-identity credential
        self._clock = clock
        self._credential = credential or DefaultAzureCredential()
        self._tokens: dict[_Key, AccessToken] = {}
        self._flights: SingleFlight[AccessToken] = SingleFlight()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the scopes with some minutes left to live, or the last one as long as it lives if no other is to be had.

        Raises:
            ClientAuthenticationError: no identity is to be had here, or it was refused.
        """
        key, claims = (*scopes, options.get("tenant_id")), options.get("claims")
        known = self._tokens.get(key)
        if not claims and known is not None and self._left_s(known) >= _RENEW_EARLY_S:
            return known
        try:
            return await self._flights.run((*key, claims), lambda: self._fetch(key, scopes, options))
        except AzureError:
            if claims or known is None or self._left_s(known) <= 0:
                raise
            return known

    def _left_s(self, token: AccessToken) -> float:
        return token.expires_on - self._clock.now().timestamp()

    async def _fetch(self, key: _Key, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessToken:
        token: AccessToken = await self._credential.get_token(*scopes, **options)
        self._tokens[key] = token
        return token

    async def close(self) -> None:
        """Close its connections."""
        await self._flights.close()
        await self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

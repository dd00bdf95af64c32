"""Who we are to others: tokens of Microsoft Entra, fetched once however many ask, and renewed before they end."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.identity.aio import DefaultAzureCredential

from proxy.protocols import Clock

_RENEW_EARLY_S = 300.0


class EntraIdentity:
    """The identity of this machine, workload, service principal or developer, as azure-identity finds it.

    azure-identity caches tokens but lets every concurrent caller fetch one: twenty cold requests would be twenty token
    requests. Here one caller fetches and the others wait. It has the shape of an azure-core asynchronous credential.
    """

    def __init__(self, clock: Clock, credential: Any = None) -> None:  # any azure-identity credential
        self._clock = clock
        self._credential = credential or DefaultAzureCredential()
        self._tokens: dict[tuple[str, ...], AccessToken] = {}
        self._locks: dict[tuple[str, ...], asyncio.Lock] = {}

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the scopes with some minutes left to live.

        Raises:
            ClientAuthenticationError: no identity is to be had here, or it was refused.
        """
        if options.get("claims"):
            token: AccessToken = await self._credential.get_token(*scopes, **options)
            return token
        lock = self._locks.setdefault(scopes, asyncio.Lock())
        async with lock:
            known = self._tokens.get(scopes)
            if known is None or known.expires_on - self._clock.now().timestamp() < _RENEW_EARLY_S:
                known = self._tokens[scopes] = await self._credential.get_token(*scopes, **options)
            return known

    async def close(self) -> None:
        """Close its connections."""
        await self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

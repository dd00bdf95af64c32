"""Identities in Microsoft Entra: tokens fetched once however many ask, and renewed before they expire."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

from wheelgate.config import Connection
from wheelgate.core.errors import CredentialRefused, UpstreamUnavailable
from wheelgate.core.protocols import Clock
from wheelgate.core.secret import Secret
from wheelgate.credentials.azure_transport import UNANSWERED, AskedToWait, AzureTransport
from wheelgate.credentials.secrets import Secrets
from wheelgate.runtime.silence_breaker import SilenceBreaker
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
_RENEW_EARLY_S = 300.0
_PATIENCE_S = 10.0
"""For a token, by whatever azure-identity tries on a developer's machine; each of its requests ends sooner."""
_BESIDE_S = 1.0
"""How long somebody waits for a newer token while there is one that still serves."""
_LAST_S = 30.0
"""A token with less to live than that may end on its way."""
_AGAIN_S = 2.5
"""Who asks to be left alone is asked again after that, at the soonest and at the latest."""
_Key = tuple[str | None, ...]


class EntraIdentity:
    """The identity of this machine, workload, service principal or developer, as azure-identity finds it.

    azure-identity caches tokens but lets every concurrent caller fetch one: twenty cold requests would be twenty token
    requests. Here one caller fetches and the others wait. It has the shape of an azure-core asynchronous credential.
    """

    def __init__(self, clock: Clock, credential: Any, way: AzureTransport | None = None) -> None:
        """``credential``: any of azure-identity. ``way``: its transport, which knows why nobody answered."""
        self._clock = clock
        self._way = way
        self._unreachable = f"Microsoft Entra cannot be reached{'' if way is None else way.display_name}"
        self._credential = credential
        self._tokens: dict[_Key, AccessToken] = {}
        self._flights: SingleFlight[AccessToken] = SingleFlight()
        self._asked: tuple[_Key, tuple[str, ...], dict[str, Any]] = ((), (), {})
        """For what a token was wanted last."""
        self._left_alone_until_s = -math.inf
        self._breaker = SilenceBreaker("Microsoft Entra", probe=self._ask_again, unreachable=UNANSWERED, silence_s=_PATIENCE_S)
        if way is not None:
            way.on_answer = self._breaker.note_answer

    @property
    def is_silent(self) -> bool:
        """True while nobody answers this identity, and probes alone ask."""
        return self._breaker.is_open

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the scopes with some minutes left to live, or the last one as long as it lives if no other is available.

        Raises ``ClientAuthenticationError`` if there is no identity here, or it was refused; :class:`UpstreamUnavailable` if
        nobody answers.
        """
        key, claims = (*scopes, options.get("tenant_id")), options.get("claims")
        known = None if claims else self._tokens.get(key)
        if known is not None and self._left_s(known) >= _RENEW_EARLY_S:
            return known
        patience_s = _BESIDE_S if known is not None and self._left_s(known) >= _LAST_S else None
        try:
            async with asyncio.timeout(patience_s):
                return await self._flights.run((*key, claims, id(self._credential)), lambda: self._ask(key, scopes, options))
        except (AzureError, TimeoutError, UpstreamUnavailable) as error:
            if known is not None and self._left_s(known) > 0:
                return known
            if isinstance(error, (TimeoutError, *UNANSWERED)):
                raise UpstreamUnavailable(self._unreachable) from None
            raise

    async def bearer(self, scope: str) -> str:
        """A token for one scope, as text.

        Raises:
            CredentialRefused: there is no identity here, or Entra refused it; the sentence says what is known.
            UpstreamUnavailable: Entra cannot be reached.
        """
        try:
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
        except (AzureError, OSError):
            raise UpstreamUnavailable(self._unreachable) from None

    def _left_s(self, token: AccessToken) -> float:
        return token.expires_on - self._clock.now().timestamp()

    async def _ask(self, key: _Key, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessToken:
        """Ask for a token, unless it is known that nobody is answered now."""
        wait_s = self._left_alone_until_s - self._clock.monotonic()
        if wait_s > 0:
            raise UpstreamUnavailable(
                "Microsoft Entra asked us to wait before it is asked for a token again", retry_after_s=wait_s
            )
        self._asked = (key, scopes, options)
        try:
            return await self._breaker.ask(lambda: self._fetch(key, scopes, options), whom="Microsoft Entra")
        except AskedToWait as error:
            self._left_alone_until_s = self._clock.monotonic() + _AGAIN_S
            raise UpstreamUnavailable(f"Microsoft Entra {error}", retry_after_s=_AGAIN_S) from None

    async def _ask_again(self) -> None:
        """Ask as was asked last. That we are refused is an answer."""
        with contextlib.suppress(ClientAuthenticationError, AskedToWait):
            await self._fetch(*self._asked)

    async def _fetch(self, key: _Key, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessToken:
        try:
            token: AccessToken = await self._credential.get_token(*scopes, **options)
        except ClientAuthenticationError as error:
            failure = None if self._way is None else self._way.failure
            if failure is not None and _ENTRA_CODE.search(str(error)) is None:  # azure-identity says so of every failure
                raise failure from None
            raise
        self._tokens[key] = token
        return token

    async def close(self) -> None:
        await self._breaker.close()
        await self._flights.close()
        if self._credential is not None:
            await self._credential.close()


def machine_identity(clock: Clock, way: AzureTransport, client_id: str | None = None) -> EntraIdentity:
    """The identity of this machine, workload or developer; of one ``client_id`` a managed or workload identity, and no other."""
    settings: dict[str, Any] = {"disable_instance_discovery": True, **way.quick_client()}
    if client_id is not None:
        settings |= {"managed_identity_client_id": client_id, "workload_identity_client_id": client_id}
        for other in ("environment", "developer_cli", "cli", "powershell", "shared_token_cache"):
            settings[f"exclude_{other}_credential"] = True
    return EntraIdentity(clock, DefaultAzureCredential(**settings), way)


class ServicePrincipal(EntraIdentity):
    """An application of Microsoft Entra with a client secret that may be rotated in its place."""

    def __init__(self, connection: Connection, secrets: Secrets, clock: Clock, way: AzureTransport) -> None:
        super().__init__(clock, None, way)
        self._connection = connection
        self._secrets = secrets
        self._transport = way
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
            **self._transport.quick_client(),
        )
        if former is not None:
            await former.close()

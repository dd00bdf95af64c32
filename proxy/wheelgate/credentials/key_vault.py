"""Secrets from Azure Key Vault, read and written with this machine's identity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from wheelgate.core.errors import CredentialRefused, UpstreamUnavailable
from wheelgate.core.secret import Secret
from wheelgate.core.urls import is_loopback_host, parse
from wheelgate.credentials.azure_transport import UNANSWERED, AskedToWait, AzureTransport
from wheelgate.runtime.silence_breaker import SilenceBreaker

_PATIENCE_S = 10.0
"""For a secret, with the token that it takes. Silence ends each request of it sooner."""
# Codes of the service, and what they mean for whoever has to fix it.
_REASONS = {
    "ForbiddenByFirewall": "its firewall does not let this machine in",
    "SecretDisabled": "the secret is disabled",
    "ObjectIsDeletedButRecoverable": "a deleted secret still has the name: recover or purge it",
}


class KeyVault:
    """A client of one key vault."""

    def __init__(self, url: str, identity: Any, way: AzureTransport) -> None:
        """Take an asynchronous credential of azure-core; :class:`CredentialRefused` if the library for it is not installed."""
        try:
            from azure.keyvault.secrets.aio import SecretClient
        except ImportError:
            raise CredentialRefused(
                "keyvault: needs azure-keyvault-secrets: pip install '.[keyvault]' in a clone of Wheelgate"
            ) from None
        self._host = parse(url).host or ""
        self._way = way
        self._client = SecretClient(
            url,
            identity,
            # A vault that names another service as the one to sign in to is refused; an emulator cannot name the real one.
            verify_challenge_resource=not is_loopback_host(self._host),
            **way.quick_client(),
        )
        self._asked: tuple[str, str | None] = ("", None)
        """The secret that was read or written last."""
        self._breaker = SilenceBreaker(
            f"key vault {self._host}", probe=self._ask_again, unreachable=UNANSWERED, silence_s=_PATIENCE_S
        )
        way.on_answer = self._breaker.note_answer

    @property
    def is_silent(self) -> bool:
        """True while the vault answers nobody, and is asked by probes alone."""
        return self._breaker.is_open

    async def read(self, name: str, version: str | None = None) -> Secret:
        """The secret's current version, or the one given; :class:`UpstreamUnavailable` if the vault cannot be reached.

        Raises :class:`CredentialRefused` if there is none, or our identity may not read it.
        """
        self._asked = (name, version)
        found = await self._ask(partial(self._client.get_secret, name, version), name, "Key Vault Secrets User")
        return Secret(found.value or "")

    async def write(self, name: str, secret: Secret) -> None:
        """Store a new version of a secret. Raises as :meth:`read`."""
        self._asked = (name, None)
        await self._ask(partial(self._client.set_secret, name, secret.reveal()), name, "Key Vault Secrets Officer")

    async def _ask_again(self) -> None:
        """Ask for what was asked for last. That we are refused is an answer."""
        with suppress(HttpResponseError, AskedToWait):
            await self._client.get_secret(*self._asked)

    async def _ask(self, question: Callable[[], Awaitable[Any]], name: str, role: str) -> Any:
        try:
            return await self._breaker.ask(question, whom=f"key vault {self._host}")
        except AskedToWait as error:
            raise UpstreamUnavailable(f"key vault {self._host} {error}", retry_after_s=error.seconds) from None
        except ResourceNotFoundError:
            raise CredentialRefused(f"key vault {self._host} has no secret {name}") from None
        except ClientAuthenticationError:
            raise CredentialRefused(f"key vault {self._host} refused our identity: is one assigned to this machine?") from None
        except HttpResponseError as error:
            if error.status_code in (403, 409):
                text = str(error)
                why = next((words for code, words in _REASONS.items() if code in text), f"our identity needs the role {role}")
                raise CredentialRefused(f"key vault {self._host} refuses access to secret {name}: {why}") from None
            raise UpstreamUnavailable(f"key vault {self._host} answered {error.status_code or 'nothing'}") from None
        except (AzureError, TimeoutError, OSError):
            raise UpstreamUnavailable(f"key vault {self._host} cannot be reached{self._way.display_name}") from None

    async def close(self) -> None:
        await self._breaker.close()
        await self._client.close()

"""Secrets of connections: read by reference, cached for a while, and read again when they may have changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from wheelgate.config import References, SecretMissing
from wheelgate.config.value_types import check_vault_url
from wheelgate.core.errors import CredentialRefused, UpstreamError, UpstreamUnavailable
from wheelgate.core.protocols import Clock
from wheelgate.core.secret import Secret, reference_parts
from wheelgate.runtime.deadline import has_time
from wheelgate.runtime.singleflight import SingleFlight

_LOOK_S = 2.0
"""How long a file is taken as unchanged without looking."""
_VAULT_S = 300.0
_AGAIN_S = 10.0
"""A refusal, or a vault that gives none, makes us ask for a secret again at most this often: a vault counts its requests."""
_SOON_S = 2.0
"""The same after a failure that may be over in a moment."""
_VAULT_SECRET = re.compile(r"(https://[^/?#]+)/secrets/([A-Za-z0-9-]{1,127})(?:/([0-9a-f]{32}))?/?")
_VAULT_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")


class SecretVault(Protocol):
    """A :class:`~wheelgate.credentials.key_vault.KeyVault`, as far as it is needed here."""

    async def read(self, name: str, version: str | None = None) -> Secret: ...


class _ReadSecret(msgspec.Struct):
    secret: Secret
    read_s: float
    version: object
    """Of the file behind it."""


class Secrets:
    """Reads references; each is read once, however many ask."""

    def __init__(self, references: References, *, clock: Clock, vault: Callable[[str | None], Awaitable[SecretVault]]) -> None:
        """``vault``: the vault of a URL; of ``None``, the configured one (:class:`CredentialRefused`: there is none)."""
        self._references = references
        self._clock = clock
        self._vault = vault
        self._known: dict[str, _ReadSecret] = {}
        self._failed: dict[str, tuple[UpstreamError, float]] = {}
        """What a vault said instead of a secret, and when."""
        self._flights: SingleFlight[_ReadSecret] = SingleFlight()

    async def close(self) -> None:
        await self._flights.close()

    async def read(self, reference: str) -> Secret:
        """The secret, at most a few seconds old where it is a file, a few minutes where it is in a vault.

        Raises:
            CredentialRefused: it is not available; the sentence says why.
            UpstreamUnavailable: the vault cannot be reached, and it was not read before.
        """
        known = self._known.get(reference)
        ttl_s = _LOOK_S if self._is_file(reference) else _VAULT_S
        if known is not None and self._clock.monotonic() - known.read_s < ttl_s:
            return known.secret
        return (await self._flights.run(reference, lambda: self._read(reference, known))).secret

    async def has_changed(self, reference: str, refused: Secret) -> bool:
        """True if the secret is another now than the one an upstream refused. It is read again, but not at every refusal.

        One that is not available now is no other.
        """
        known = self._known.get(reference)
        if known is not None and known.secret.reveal() == refused.reveal():
            if self._clock.monotonic() - known.read_s < _AGAIN_S and not self._is_file(reference):
                return False
            try:
                known = await self._flights.run(reference, lambda: self._read(reference, None))
            except UpstreamError:
                return False
        return known is not None and known.secret.reveal() != refused.reveal()

    @staticmethod
    def _is_file(reference: str) -> bool:
        return reference.startswith(("file:", "secret:"))

    async def _read(self, reference: str, known: _ReadSecret | None) -> _ReadSecret:
        kind, where = reference_parts(reference) or ("", "")
        if kind == "keyvault":
            try:
                secret, version = await self._ask_vault(reference, where), None
            except UpstreamUnavailable:
                if known is None:
                    raise
                return known
        else:
            version = await asyncio.to_thread(self._references.version, reference)
            if known is not None and known.version == version:
                known.read_s = self._clock.monotonic()
                return known
            try:
                secret = await asyncio.to_thread(self._references.read, reference)
            except SecretMissing as error:
                raise CredentialRefused(str(error)) from None
        if not secret.reveal().isprintable() or not secret.reveal():
            raise CredentialRefused("the secret is empty, or has characters that no secret has")
        found = self._known[reference] = _ReadSecret(secret, self._clock.monotonic(), version)
        return found

    async def _ask_vault(self, reference: str, where: str) -> Secret:
        """Ask a vault; one that gave nothing is not asked again for every request that would need it."""
        failed, at_s = self._failed.get(reference, (None, 0.0))
        rest_s = _SOON_S if isinstance(failed, UpstreamUnavailable) else _AGAIN_S
        if failed is not None and self._clock.monotonic() - at_s < rest_s:
            raise type(failed)(str(failed))
        try:
            secret = await self._read_vault(where)
        except UpstreamError as error:
            if has_time():  # else it may have been our own haste
                self._failed[reference] = (error, self._clock.monotonic())
            raise
        self._failed.pop(reference, None)
        return secret

    async def _read_vault(self, where: str) -> Secret:
        if (match := _VAULT_SECRET.fullmatch(where)) and not check_vault_url(match[1]):
            return await (await self._vault(match[1])).read(match[2], match[3])
        if not _VAULT_NAME.fullmatch(where):
            raise CredentialRefused(
                "keyvault: must be followed by a secret's name, or its URL such as https://VAULT.vault.azure.net/secrets/NAME"
            )
        return await (await self._vault(None)).read(where)

"""Shared access signature of a connection, for clients of Azure Storage: renewed in its place, and explained when refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError

from wheelgate.config import Connection
from wheelgate.config.signature_limits import explain_refusal, find_form_problem
from wheelgate.core.errors import CredentialRefused, UpstreamError
from wheelgate.core.protocols import Clock
from wheelgate.core.secret import Secret
from wheelgate.credentials.secrets import Secrets

T = TypeVar("T")


class SharedAccessSignature(AzureSasCredential):
    """A signature that somebody gave us for a container. It signs nothing: what it reads travels through us."""

    def __init__(
        self, secret: Secret, connection: Connection, find: Callable[[], Connection | None], secrets: Secrets, clock: Clock
    ) -> None:
        """``find``: the connection that the container belongs to now."""
        super().__init__(secret.reveal())
        self._connection = connection
        self._find = find
        self._secrets = secrets
        self._clock = clock

    def __repr__(self) -> str:
        return "SharedAccessSignature(***)"

    async def ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask with the signature that is stored now; once it is refused, it is looked for anew, for the next question.

        Raises:
            CredentialRefused: what is stored is no signature, so nobody was asked.
        """
        await self._refresh()
        try:
            return await ask()
        except HttpResponseError as error:
            if error.status_code in (401, 403):
                await self._secrets.has_changed(self._connection.value or "", Secret(self.signature))
            raise

    def explain_refusal(self, code: str | None, needs: Sequence[str]) -> str:
        """Explain a refusal by the service's error code. ``needs``: what was asked for, as for :func:`explain_refusal`."""
        by_http = self._connection.place.origin[0] == "http"
        reason = explain_refusal(self.signature, self._clock.now(), code, needs, by_http=by_http)
        return f"the SAS of connection {self._connection.name} {reason}"

    async def _refresh(self) -> None:
        connection = self._find()
        if connection is not None and connection.auth_type == "SAS":
            self._connection = connection
            with suppress(UpstreamError):  # the one that we have may be good for a while
                self.update((await self._secrets.read(connection.value or "")).reveal())
        if (problem := find_form_problem(self.signature)) is not None:
            raise CredentialRefused(f"the SAS of connection {self._connection.name} {problem}")

"""Signed URLs of blobs, made without a server: for places where no Wheelgate may stand."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from wheelgate.config import Config
from wheelgate.core.errors import ConfigurationError, StoreError, UpstreamError
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.storage.containers import container_place

if TYPE_CHECKING:
    from wheelgate.credentials.keyring import Keyring

_WINDOW_S = 60.0


class Signing:
    """Signs by what the settings have for a container, else by our identity. Each container is opened once."""

    def __init__(self, config: Config, keyring: Keyring, clock: Clock, life_s: float) -> None:
        self._config = config
        self._keyring = keyring
        self._clock = clock
        self._life_s = life_s
        self._stack = AsyncExitStack()
        self._containers: dict[str, BlobStore] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def sign(self, url: str) -> str:
        """The URL of a blob that is there, with a signature that lets anybody read it for a while.

        Raises:
            BlobNotFound: it is not there.
            StoreError: storage cannot be reached, refused us, or gave us no right to sign.
            ConfigurationError: the container's credential cannot be had.
        """
        place = container_place(url)
        at = f"{place.account_url}/{place.container}"
        if at not in self._containers:
            self._containers[at] = await self._open(at)
        container, path = self._containers[at], unquote(place.prefix.removesuffix("/"))
        await container.info(path)
        signed = await container.signed_url(path)
        if signed is None:
            raise StoreError(f"{at} is read by somebody else's signature, which can sign nothing: use an identity")
        return signed

    async def _open(self, url: str) -> BlobStore:
        from wheelgate.storage.azure import azure_store

        ca_file = self._config.server.ca_file
        return await self._stack.enter_async_context(
            azure_store(
                url,
                name=url,
                credential=await self._credential(url),
                clock=self._clock,
                sas_window_s=_WINDOW_S,
                sas_life_s=self._life_s,
                ca_file=str(self._config.folder / ca_file) if ca_file is not None else None,
            )
        )

    async def _credential(self, url: str) -> Any:
        known = [("store.account_key", self._config.store.url, self._config.store.account_key)]
        known += [(f"source[{at}].account_key", source.url, source.account_key) for at, source in enumerate(self._config.source)]
        keyed = ((key, reference) for key, at, reference in known if reference and f"{at}/".startswith(f"{url}/"))
        key, reference = next(keyed, (f"connection for {url}", None))
        try:
            if reference is not None:
                return (await self._keyring.secrets.read(reference)).reveal()
            return await self._keyring.for_container(url)
        except UpstreamError as error:
            raise ConfigurationError([f"{key}: {error}"]) from None

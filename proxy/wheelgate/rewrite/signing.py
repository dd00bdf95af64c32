"""Signed URLs of blobs, made without a server, for places where no Wheelgate may run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from wheelgate.config import Config
from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.storage.containers import container_place
from wheelgate.storage.open_container import open_container

if TYPE_CHECKING:
    from wheelgate.credentials.keyring import Keyring

_WINDOW_S = 60.0


class BlobSigner:
    """A signer of blob URLs, with what the settings have for a container, else our identity. Each container is opened once."""

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
        """Sign the URL of a blob that is there, so that anybody can read it for a while.

        Raises:
            BlobNotFound: it is not there.
            StoreError: storage cannot be reached, refused us, or gave us no right to sign.
            ConfigurationError: the container's credential is not available.
        """
        place = container_place(url)
        container_url = f"{place.account_url}/{place.container}"
        if container_url not in self._containers:
            self._containers[container_url] = await self._open(container_url)
        container, path = self._containers[container_url], unquote(place.prefix.removesuffix("/"))
        await container.info(path)
        signed = await container.signed_url(path)
        if signed is None:
            raise StoreError(f"{container_url} is read with a shared access signature, which cannot sign: use an identity")
        return signed

    async def _open(self, url: str) -> BlobStore:
        known = [("store.account_key", self._config.store.url, self._config.store.account_key)]
        known += [(f"source[{at}].account_key", source.url, source.account_key) for at, source in enumerate(self._config.source)]
        keyed = ((key, reference) for key, at, reference in known if reference and f"{at}/".startswith(f"{url}/"))
        key, account_key = next(keyed, (f"connection for {url}", None))
        return await self._stack.enter_async_context(
            open_container(
                url,
                config=self._config,
                keyring=self._keyring,
                clock=self._clock,
                key=key,
                account_key=account_key,
                sas_window_s=_WINDOW_S,
                sas_life_s=self._life_s,
            )
        )
